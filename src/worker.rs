//! One worker: what it is given, how it starts, serves, drains.
//!
//! A worker has a core, a listener of each port, and a block of counters; it shares no memory with the others but
//! these blocks. It says that it is ready once its stores answer, or after a few seconds without one: a store that
//! is away must not keep a replaced worker from serving what it can.

use std::{
    cell::{Cell, RefCell},
    io::Write as _,
    os::fd::OwnedFd,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::oneshot;

use crate::{
    admin::{self, AdminService},
    agents::{self, AgentPool},
    api::{Api, ApiService, Cors, Settings, StandsOn},
    config,
    engine::{self, Engine, Listener},
    http::{self, Drain, Limits, Serving, Tls},
    ratelimit::Gate,
    registry::{Registry, Stores},
    store::{
        etcd::{Etcd, EtcdOptions, NodeInfo},
        keyring::{Keyring, Memory},
        postgres::{AGENTS_CHANNEL, Change, KEYPAIRS_CHANNEL, Postgres},
        redis::{Bells, LEDGER_DB, LIVENESS_DB, Ledger, Redis, STATISTICS_DB, session_events::SessionEvents},
    },
    stream::{self, Streams},
    telemetry::{self, Counter, CountersMap, LogFormat, RequestLog},
    vfolder::{Folders, Volumes},
};

/// Longest time to wait for the stores before serving without them.
const STORES_WAIT: Duration = Duration::from_secs(4);
/// How often the leader looks after folders, and after how many at once.
const TIDY_EVERY: Duration = Duration::from_secs(60);
const TIDY_BATCH: i64 = 100;
/// Longest time to tell Redis what it is owed, for a worker that ends.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// How often the log of requests is written out.
const LOG_EVERY: Duration = Duration::from_millis(100);

/// What the supervisor gives a worker.
pub struct Seat {
    /// The worker's number, from 0.
    pub slot: usize,
    /// What drives it.
    pub engine: Engine,
    /// The options.
    pub config: Arc<config::Gateway>,
    /// Its listeners.
    pub listeners: Listeners,
    /// A pipe: one byte says that it serves.
    pub ready: OwnedFd,
    /// The counters of all workers, and how many there are to be.
    pub counters: CountersMap,
}

/// Listening sockets that do not block, one for each port.
pub struct Listeners {
    /// The API's.
    pub api: OwnedFd,
    /// That of agents' events.
    pub events: OwnedFd,
    /// The operator's.
    pub admin: OwnedFd,
}

/// Serves until SIGTERM, then drains; the process ends with the code.
pub fn run(seat: Seat) -> ExitCode {
    telemetry::attach(seat.counters, seat.slot);
    let engine = seat.engine;
    let told = match told_to_end() {
        Ok(told) => told,
        Err(error) => return failed(&error),
    };
    match engine::block_on(engine, move || serve(seat, told)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    tracing::error!(error, "the worker does not start");
    ExitCode::FAILURE
}

/// Resolves on SIGTERM. A thread waits for it, since both engines take wakes from threads alike.
fn told_to_end() -> std::io::Result<oneshot::Receiver<()>> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.thread_block()?;
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let _ = mask.wait();
        let _ = sender.send(());
    })?;
    Ok(receiver)
}

async fn serve(seat: Seat, told: oneshot::Receiver<()>) -> std::io::Result<()> {
    let Seat { slot, config, listeners, ready, counters, .. } = seat;
    let worker = Worker::start(&config, slot, counters)?;
    let drain = Drain::new();
    let streams = Streams::new(drain.clone(), config.kernel_ip_override.clone());
    let tls = match (&config.ssl_cert, &config.ssl_key) {
        (Some(cert), Some(key)) => Some(Tls::load(cert, key).map_err(std::io::Error::other)?),
        _ => None,
    };
    let log = Rc::new(RefCell::new(RequestLog::new(LogFormat::of_stderr())));
    let api = Rc::new(ApiService::new(worker.api(&config, &streams), log.clone()));
    let admin = Rc::new(AdminService::new(worker.health(), counters));

    let events = Listener::from_fd(listeners.events)?;
    let registry = worker.registry.clone();
    let agent_port = config.agent_port;
    let hearing = agents::serve_events(events, config.agent_networks.clone(), drain.clone(), move |event| {
        registry.clone().hear(event.with_agent_port(agent_port))
    });
    let (heard_all, all_heard) = oneshot::channel();
    engine::spawn(async move {
        hearing.await;
        // Nobody waits if the drain time is over.
        let _ = heard_all.send(());
    });
    let writing = log.clone();
    engine::spawn_lasting(move || write_log(writing.clone()));
    worker.start_lasting();
    let operators = Listener::from_fd(listeners.admin)?;
    let serving = Serving { limits: Limits::default(), tls, drain, drain_time: config.drain_timeout };
    let plain = Serving { tls: None, drain_time: Duration::ZERO, ..serving.clone() };
    engine::spawn(http::serve(operators, admin, plain));
    let listener = Listener::from_fd(listeners.api)?;

    worker.stores_answer().await;
    // The supervisor is gone if nobody reads; then so are we.
    let _ = std::fs::File::from(ready).write_all(b"1");

    let draining = serving.drain.clone();
    let (begun, since) = oneshot::channel();
    engine::spawn(async move {
        let _ = told.await;
        telemetry::count(Counter::WorkerDrains);
        // Nobody asks before the listener has drained.
        let _ = begun.send(Instant::now());
        draining.begin();
    });
    http::serve(listener, api, serving).await;
    let gone = since.await.map_or(Duration::ZERO, |since| since.elapsed());
    let waits_for = Cell::new("streams");
    let settled = async {
        streams.settled().await;
        waits_for.set("events of agents");
        let _ = all_heard.await;
        waits_for.set("what sessions began");
        worker.registry.settled().await;
    };
    // Streams are told in turn, however short the drain time.
    let time = config.drain_timeout.max(stream::TOLD_WITHIN);
    if engine::timeout(time.saturating_sub(gone), settled).await.is_none() {
        tracing::warn!(what = waits_for.get(), "the drain time is over, the rest is broken off");
    }
    flush(&log);
    engine::timeout(SETTLE_TIME, worker.gate.settle()).await;
    worker.etcd.shutdown();
    Ok(())
}

/// What a worker stands on.
struct Worker {
    postgres: Postgres,
    keys: Memory,
    ledger: Redis,
    etcd: Rc<Etcd>,
    registry: Rc<Registry>,
    folders: Rc<Folders>,
    gate: Gate,
    counters: CountersMap,
}

impl Worker {
    fn start(config: &config::Gateway, slot: usize, counters: CountersMap) -> std::io::Result<Rc<Self>> {
        let to = &config.connections;
        let node = node_name(config);
        let etcd = Rc::new(Etcd::start(EtcdOptions {
            endpoints: to.etcd_addr.clone(),
            namespace: to.namespace.clone(),
            instance_id: format!("{node}-{slot}"),
            // One worker of the node speaks for it; if it dies, its replacement does.
            publish: (slot == 0).then(|| node_info(config, node.clone(), counters.workers())),
            campaign: true,
        })?);
        let keys = Memory::default();
        let heard = Rc::new(RefCell::new(None::<Rc<Registry>>));
        let postgres = Postgres::start(to.clone(), on_change(keys.clone(), heard.clone()));
        let redis = |db| Redis::connect(to.redis_addr.clone(), db);
        let ledger = redis(LEDGER_DB);
        let stores = Stores {
            postgres: postgres.clone(),
            etcd: etcd.clone(),
            ledger: Ledger::new(ledger.clone(), &to.namespace),
            events: SessionEvents::new(ledger.clone(), &to.namespace),
            bells: Bells::new(to.redis_addr.clone(), &to.namespace),
            stats: redis(STATISTICS_DB),
            liveness: redis(LIVENESS_DB),
        };
        let registry = Registry::new(stores, AgentPool::new(), &node, config.heartbeat_timeout);
        *heard.borrow_mut() = Some(registry.clone());
        let gate = Gate::new(ledger.clone(), &to.namespace, workers_everywhere(etcd.clone(), node, counters));
        let volumes = etcd.clone();
        let folders = Folders::new(postgres.clone(), move || Volumes::of(&volumes.snapshot()));
        Ok(Rc::new(Worker { postgres, keys, ledger, etcd, registry, folders, gate, counters }))
    }

    /// Starts what goes on beside requests.
    fn start_lasting(self: &Rc<Self>) {
        let (watching, leading, tidying) = (self.clone(), self.registry.clone(), self.clone());
        engine::spawn_lasting(move || watching.clone().watch());
        engine::spawn_lasting(move || leading.clone().lead());
        engine::spawn_lasting(move || tidying.clone().tidy_folders());
    }

    fn api(&self, config: &config::Gateway, streams: &Rc<Streams>) -> Rc<Api> {
        let settings = Settings {
            max_body: config.max_body,
            sign_methods: config.sign_methods,
            replay_protection: config.replay_protection,
            cors: Cors {
                origins: config.cors_origins.clone(),
                headers: config.cors_headers.clone(),
                methods: config.cors_methods.clone(),
            },
            anonymous_limit: config.anonymous_limit,
            trusted_proxies: config.trusted_proxies.clone(),
            introspection: !config.no_introspection,
            docker_registry: config.docker_registry.as_deref().map(Into::into),
        };
        let namespace = &config.connections.namespace;
        let keyring = Keyring::new(self.postgres.clone(), self.keys.clone(), config.auth_max_stale);
        let stands_on = StandsOn {
            registry: self.registry.clone(),
            folders: self.folders.clone(),
            keyring,
            gate: self.gate.clone(),
            replay: self.ledger.clone(),
            streams: streams.clone(),
        };
        Api::new(settings, stands_on, namespace)
    }

    fn health(self: &Rc<Self>) -> admin::Health {
        let worker = self.clone();
        Rc::new(move || {
            vec![
                ("postgresql", worker.postgres.is_up()),
                ("redis", !worker.gate.is_alone()),
                ("etcd", worker.etcd.healthy()),
            ]
        })
    }

    async fn stores_answer(&self) {
        let all = async {
            while !(self.postgres.is_up() && self.ledger.is_up() && self.etcd.healthy()) {
                engine::sleep(Duration::from_millis(5)).await;
            }
        };
        if engine::timeout(STORES_WAIT, all).await.is_none() {
            tracing::warn!(
                postgresql = self.postgres.is_up(),
                redis = self.ledger.is_up(),
                etcd = self.etcd.healthy(),
                "not all stores answer; serving what can be served without"
            );
        }
    }

    /// Mends, as the leader, what killed processes left in virtual folders.
    async fn tidy_folders(self: Rc<Self>) {
        let mut after = None;
        loop {
            engine::sleep(TIDY_EVERY).await;
            if !self.etcd.is_leader() || !self.postgres.is_up() {
                continue;
            }
            after = match self.folders.tidy(after, TIDY_BATCH).await {
                Ok(last) => last,
                Err(error) => {
                    tracing::warn!(%error, "folders could not be looked after; they are tried again");
                    after
                }
            };
            if after.is_none() {
                self.folders.clear_volumes().await;
            }
        }
    }

    /// Keeps the gauges that say how the stores are, and other nodes' knowledge of how many workers this one has.
    async fn watch(self: Rc<Self>) {
        loop {
            telemetry::set_gauge(Counter::RedisUp, self.ledger.is_up().into());
            telemetry::set_gauge(Counter::EtcdUp, self.etcd.healthy().into());
            telemetry::set_gauge(Counter::Leader, self.etcd.is_leader().into());
            self.etcd.set_workers(u32::try_from(self.counters.workers()).unwrap_or(u32::MAX));
            engine::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The node's name: its host's, and the port that tells gateways of one host apart.
fn node_name(config: &config::Gateway) -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("{}-{}", host.unwrap_or_else(|| "gateway".into()), config.service_addr().port())
}

fn node_info(config: &config::Gateway, node: String, workers: usize) -> NodeInfo {
    let advertised = |port| config::HostPort { host: config.advertised_host(), port };
    NodeInfo {
        node,
        events_addr: config.advertised_events(),
        redis_addr: advertised_redis(config),
        api_addr: advertised(config.service_addr().port()),
        workers: u32::try_from(workers).unwrap_or(u32::MAX),
    }
}

fn advertised_redis(config: &config::Gateway) -> config::HostPort {
    let (given, told) = (&config.connections.redis_addr, config.advertised_redis());
    if told != *given {
        tracing::info!(redis = %given, %told, "agents are told of Redis by the advertised host; it has to listen there \
            (--advertised-addr 127.0.0.1 for a cluster of one machine)");
    }
    told
}

/// How many workers all nodes have: this one as its supervisor says at this moment, the others as far as etcd says.
fn workers_everywhere(etcd: Rc<Etcd>, node: String, counters: CountersMap) -> impl Fn() -> usize {
    move || {
        let snapshot = etcd.snapshot();
        let others = snapshot.gateways.iter().filter(|(name, _)| **name != node).map(|(_, other)| other.workers);
        counters.workers().saturating_add(others.fold(0u32, u32::saturating_add) as usize)
    }
}

/// Hands on what PostgreSQL tells of changes.
fn on_change(keys: Memory, registry: Rc<RefCell<Option<Rc<Registry>>>>) -> impl Fn(Change) {
    move |change| match change {
        Change::Row { channel, key } if channel == KEYPAIRS_CHANNEL => keys.forget(&key),
        Change::Row { channel, key } if channel == AGENTS_CHANNEL => {
            if let Some(registry) = &*registry.borrow() {
                registry.agent_changed(&key);
            }
        }
        Change::Row { .. } => {}
        Change::Everything => {
            keys.forget_all();
            if let Some(registry) = &*registry.borrow() {
                registry.agents_changed();
            }
        }
    }
}

async fn write_log(log: Rc<RefCell<RequestLog>>) {
    loop {
        engine::sleep(LOG_EVERY).await;
        flush(&log);
    }
}

fn flush(log: &RefCell<RequestLog>) {
    // A log that cannot be written cannot be told of.
    let _ = log.borrow_mut().flush(&mut std::io::stderr());
}
