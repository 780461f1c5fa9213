//! The budgets that are ratios: the gateway on both engines and nginx, in turn, on the same cores.
//!
//! Each round loads nginx and then the gateway with each kind of request, so that whatever else happens on the
//! machine happens to all of them; a row's number is the median of the rounds. Two gateways never run at once.

use std::{rc::Rc, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    budget::{self, NGINX_LUA, PYTHON, Row, median},
    error::Error,
    load::{self, End, Plan, Report, Shot},
    results::{self, Machine},
    rig::{self, Engine, Gateway, Rig},
    workload::{self, Session, Workload},
};

/// Options of `compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    rig: rig::Place,
    #[command(flatten)]
    results: results::Destination,

    /// How often each server is measured; the median counts
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: usize,

    /// Seconds of each load
    #[arg(long, value_name = "SECONDS", default_value = "3")]
    seconds: f64,

    /// Connections, each with a session and a request under way
    #[arg(long, value_name = "N", default_value = "64")]
    connections: usize,

    /// Key pairs that the connections are spread over
    #[arg(long, value_name = "N", default_value = "16")]
    keys: usize,
}

/// What one engine's gateway showed: a list of reports for each kind of request, and for nginx beside it.
struct Measured {
    engine: Engine,
    nginx: Vec<Report>,
    gateway: Vec<(Workload, Vec<Report>)>,
    first_answer: Duration,
}

const WORKLOADS: [Workload; 4] = [Workload::Version, Workload::Auth, Workload::Kernel, Workload::Execute];
/// The load before each one that counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures, prints and writes the table. True if every budget is held.
///
/// # Errors
/// Something is missing or does not work: then there is no result.
pub fn run(options: &Options) -> Result<bool, Error> {
    let machine = Machine::now();
    let rig = Rig::start(&options.rig)?;
    let keys = rig.keys(options.keys.max(1))?;
    let sessions = workload::sessions(&keys, options.connections);
    let mut all = Vec::new();
    for engine in Engine::ALL {
        let gateway = rig.gateway(engine, rig.cores())?;
        let fleet = rig.fleet()?;
        workload::begin(gateway.api, &sessions)?;
        all.push(measure(options, &rig, engine, &gateway, &sessions)?);
        workload::end(gateway.api, &sessions)?;
        drop(fleet);
    }
    let rows: Vec<Row> = all.iter().flat_map(rows).collect();
    let details: Map<String, Value> = all.iter().map(|one| (one.engine.name().to_owned(), one.to_json())).collect();
    let details = json!({"engines": details, "connections": options.connections, "rounds": options.rounds});
    let title = "CPU time of a request, against nginx on the same cores";
    results::publish(&options.results, "compare", title, &machine, &rows, &details)?;
    Ok(budget::all_hold(&rows))
}

fn measure(
    options: &Options,
    rig: &Rig,
    engine: Engine,
    gateway: &Gateway,
    sessions: &[Session],
) -> Result<Measured, Error> {
    // The same body, byte for byte.
    let body = rig::get(gateway.api, "/v4").map(|(_, body)| String::from_utf8_lossy(&body).into_owned());
    let (nginx, beside) = rig.nginx(&body.unwrap_or_default())?;
    let first_answer = gateway.first_answer;
    let none: Vec<(Workload, Vec<Report>)> = WORKLOADS.map(|workload| (workload, Vec::new())).into();
    let mut measured = Measured { engine, nginx: Vec::new(), gateway: none, first_answer };
    for round in 1..=options.rounds.max(1) {
        eprintln!("{}, round {round}: nginx", engine.name());
        let scripts = scripts(Workload::Version, &beside.to_string(), sessions);
        measured.nginx.push(one(options, &rig.watched(&nginx)?, beside, scripts)?);
        for (workload, reports) in &mut measured.gateway {
            eprintln!("{}, round {round}: {}", engine.name(), workload.title());
            let scripts = self::scripts(*workload, &gateway.api.to_string(), sessions);
            reports.push(one(options, &rig.watched(&gateway.child)?, gateway.api, scripts)?);
        }
    }
    Ok(measured)
}

fn scripts(workload: Workload, host: &str, sessions: &[Session]) -> Vec<Rc<[Shot]>> {
    sessions.iter().map(|session| workload.script(host, session, false)).collect()
}

/// One load that counts, after one that does not. Answers that are not as expected make it no measurement.
fn one(
    options: &Options,
    watched: &[load::Watched],
    target: std::net::SocketAddr,
    scripts: Vec<Rc<[Shot]>>,
) -> Result<Report, Error> {
    let plan = |time| Plan {
        target,
        connections: options.connections,
        keep_alive: true,
        scripts: scripts.clone(),
        end: End::Time(time),
    };
    load::run(plan(WARM_UP))?;
    let report = Report::of(watched, || load::run(plan(Duration::from_secs_f64(options.seconds))))?;
    match report.failed() {
        0 => Ok(report),
        _ => Err(Error::failed(format!("not every request was answered:\n{report}"))),
    }
}

/// The budgets of one engine.
fn rows(measured: &Measured) -> Vec<Row> {
    let engine = measured.engine;
    let of = |workload, group: &str| measured.micros(workload, group);
    let nginx = median(measured.nginx.iter().map(|report| report.micros("server")).collect());
    let named = |what: &str| format!("{what}, {}", engine.name());
    let [version, auth, kernel, execute] = WORKLOADS.map(|workload| of(workload, "server"));
    let first = measured.first_answer.as_secs_f64() * 1e3;
    vec![
        Row::at_most(
            named("`GET /v4` against nginx `return 200`"),
            version / nginx,
            "",
            if engine == Engine::Epoll { 1.1 } else { 1.3 },
        ),
        Row::at_most(named("signed `GET /v4/auth` against nginx `return 200`"), auth / nginx, "", 2.0),
        Row::at_most(named("signed `GET /v4/auth`, 1/80 of the Python manager's"), auth, "µs", PYTHON.0 / 80.0),
        Row::at_most(named("signed `GET /v4/auth`, half of nginx + Lua's"), auth, "µs", NGINX_LUA / 2.0),
        Row::at_most(named("Redis for a signed `GET /v4/auth`"), of(Workload::Auth, "redis"), "µs", 4.0),
        Row::at_most(named("signed `GET /v3/kernel/{id}` against nginx `return 200`"), kernel / nginx, "", 2.2),
        Row::at_most(named("execute, 1/100 of the Python manager's"), execute, "µs", PYTHON.1 / 100.0),
        Row::at_most(named("start to first answer"), first, "ms", 300.0),
    ]
}

// === impl Measured ===

impl Measured {
    fn micros(&self, workload: Workload, group: &str) -> f64 {
        let reports = self.gateway.iter().filter(|(of, _)| *of == workload).flat_map(|(_, reports)| reports);
        median(reports.map(|report| report.micros(group)).collect())
    }

    fn to_json(&self) -> Value {
        let list = |reports: &[Report]| reports.iter().map(Report::to_json).collect::<Vec<_>>();
        let mut map: Map<String, Value> = self
            .gateway
            .iter()
            .map(|(workload, reports)| (workload.title().to_owned(), json!(list(reports))))
            .collect();
        map.insert("nginx return 200".to_owned(), json!(list(&self.nginx)));
        map.insert("milliseconds to first answer".to_owned(), json!(self.first_answer.as_millis()));
        Value::Object(map)
    }
}

/// Options of `scaling`.
#[derive(Clone, Debug, clap::Args)]
pub struct ScalingOptions {
    #[command(flatten)]
    compare: Options,

    /// The engine
    #[arg(long, value_enum, default_value = "epoll")]
    engine: Engine,
}

/// Two workers against one: how many requests two get done in the CPU time of one and one.
///
/// # Errors
/// Something is missing or does not work.
pub fn scaling(options: &ScalingOptions) -> Result<bool, Error> {
    let ScalingOptions { compare, engine } = options;
    let machine = Machine::now();
    let rig = Rig::start(&compare.rig)?;
    let keys = rig.keys(compare.keys.max(1))?;
    let sessions = workload::sessions(&keys, compare.connections);
    let mut used = Vec::new();
    for workers in [1, 2] {
        let gateway = rig.gateway(*engine, workers)?;
        let watched = rig.watched(&gateway.child)?;
        let round =
            || one(compare, &watched, gateway.api, scripts(Workload::Auth, &gateway.api.to_string(), &sessions));
        let reports = (0..compare.rounds.max(1)).map(|_| round()).collect::<Result<Vec<_>, _>>()?;
        used.push(median(reports.iter().map(|report| report.micros("server")).collect()));
    }
    let (one, two) = (used.first().copied().unwrap_or(f64::NAN), used.last().copied().unwrap_or(f64::NAN));
    let what = format!("signed `GET /v4/auth`: requests of two workers in the CPU time of one, {}", engine.name());
    let rows = [Row::at_least(what, 2.0 * one / two, "", 1.9)];
    let details = json!({"cpu_micros_per_request": {"one worker": one, "two workers": two}});
    results::publish(&compare.results, "scaling", "Two workers against one", &machine, &rows, &details)?;
    Ok(budget::all_hold(&rows))
}
