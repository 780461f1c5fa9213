//! The agent's life: from its options to its last event.

use std::{io, path::Path, rc::Rc, time::Duration};

use backendai::wire::event::EventKind;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::spawn_local,
};

use crate::{
    agent::{Agent, Identity},
    etcd::{Etcd, Targets},
    events::Events,
    heartbeat,
    kernel::{
        self, Reason,
        mounts::Way,
        process::Reaper,
        runtime::{Python, Runtimes, Shell},
    },
    options::{Options, OptionsError, Slots},
    rpc, statistics,
};

/// How long the last events may take to be sent.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Why the agent does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The options forbid it.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The kernels' folder.
    #[error("the scratch root {0}: {1}")]
    Root(String, String),
    /// Something of the system.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
    /// etcd names no usable Redis.
    #[error("etcd names a Redis that cannot be: {0}")]
    Redis(redis::RedisError),
    /// etcd stopped answering during the start.
    #[error("etcd: {0}")]
    Etcd(#[from] etcd_client::Error),
}

/// Runs the agent until it is told to end.
///
/// # Errors
/// It cannot start.
pub fn serve(options: Options) -> Result<(), ServeError> {
    let ip = options.address()?;
    let python = Python { interpreter: options.interpreter()? };
    let runtimes = Runtimes { python, shell: Shell { ip, ports: options.terminal_ports } };
    let root = prepare_root(&options.scratch_root)?;
    let way = Way::of_machine(&root);
    let identity = Identity {
        id: options.id(),
        ip,
        port: options.agent_port,
        region: options.region.clone(),
        slots: Slots::resolve(options.slots.unwrap_or_default()),
    };
    let system = |what| move |error| ServeError::System(what, error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("the runtime"))?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(identity.address()).await.map_err(system("the port of calls"))?;
        let reaper = Reaper::start().map_err(system("child processes"))?;
        tracing::warn!("--insecure: kernels share this user's files, processes and network");
        let ends = ends().map_err(system("signals"))?;
        tokio::pin!(ends);
        tokio::select! {
            ended = live(&options, identity, (root, way), runtimes, listener, reaper) => match ended {
                Err(error) => Err(error),
                Ok((agent, etcd, events)) => {
                    ends.await;
                    leave(&agent, &etcd, &events).await;
                    Ok(())
                }
            },
            () = &mut ends => Ok(()), // told to end while still waiting for etcd
        }
    })
}

/// Comes up: recovers kernels, serves calls, tells gateways.
async fn live(
    options: &Options,
    identity: Identity,
    (root, way): (std::path::PathBuf, Way),
    runtimes: Runtimes,
    listener: TcpListener,
    reaper: Rc<Reaper>,
) -> Result<(Rc<Agent>, Etcd, Events), ServeError> {
    let etcd = Etcd::connect(&options.etcd_addr, &options.namespace).await;
    etcd.wait_for("nodes/manager").await;
    let redis = etcd.wait_for("nodes/redis").await;
    etcd.wait_for("nodes/manager/event_addr").await;
    let redis = redis::Client::open(format!("redis://{redis}/0")).map_err(ServeError::Redis)?;
    let volumes = etcd.get("volumes/_mount").await?.unwrap_or_else(|| "/mnt".to_owned());

    let id = identity.id.clone();
    etcd.put(&format!("nodes/agents/{id}"), "starting").await?;
    etcd.put(&format!("nodes/agents/{id}/ip"), &identity.ip.to_string()).await?;
    let events = Events::new(&id);
    let (targets, followed) = watch::channel(Targets::new());
    spawn_local(etcd.clone().follow_targets(targets));
    spawn_local(events.clone().run(followed));

    let agent =
        Agent::new(identity, root, (volumes.into(), way), options.keep_kernels, runtimes, events.clone(), reaper);
    agent.recover().await;
    heartbeat::tell(&agent);
    agent.tell(EventKind::Started);
    spawn_local(rpc::serve(agent.clone(), listener));
    spawn_local(heartbeat::run(agent.clone()));
    spawn_local(statistics::run(agent.clone(), redis));
    spawn_local(watch_idle(agent.clone(), Duration::from_secs(options.idle_timeout)));
    etcd.put(&format!("nodes/agents/{id}"), "running").await?;
    tracing::info!(id, address = %agent.identity.address(), "the agent serves");
    Ok((agent, etcd, events))
}

async fn watch_idle(agent: Rc<Agent>, timeout: Duration) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while !timeout.is_zero() {
        ticks.tick().await;
        agent.end_idle(timeout).await;
    }
}

/// Ends kernels (unless they are to stay), tells gateways, and leaves etcd as it was.
async fn leave(agent: &Agent, etcd: &Etcd, events: &Events) {
    tracing::info!("the agent ends");
    if !agent.keep {
        agent.end_all(Reason::Shutdown).await;
    }
    agent.tell(EventKind::Terminated { reason: "shutdown".to_owned() });
    let id = &agent.identity.id;
    for key in [format!("nodes/agents/{id}/ip"), format!("nodes/agents/{id}")] {
        if let Err(error) = etcd.delete(&key).await {
            tracing::warn!(%error, "etcd still names this agent");
        }
    }
    let _ = tokio::time::timeout(FLUSH_WITHIN, events.flushed()).await; // no gateway may be there
}

/// Until TERM or INT.
fn ends() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

fn prepare_root(root: &Path) -> Result<std::path::PathBuf, ServeError> {
    let bad = |why: String| ServeError::Root(root.display().to_string(), why);
    std::fs::create_dir_all(root).map_err(|error| bad(error.to_string()))?;
    let root = root.canonicalize().map_err(|error| bad(error.to_string()))?;
    match kernel::root_fits(&root) {
        true => Ok(root),
        false => Err(bad("the path is too long for the kernels' sockets (about 30 letters)".to_owned())),
    }
}
