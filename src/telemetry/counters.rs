//! Every counter and gauge, declared once: the enum that code counts with, the names and help of
//! `/metrics`, and docs/metrics.md come from the table below.

use std::fmt::Write as _;

use super::histogram;

/// How a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up; a replaced worker goes on from where its predecessor was.
    Counter,
    /// Up and down; back to 0 when its worker ends.
    Gauge,
    /// 0 or 1; back to 0 when its worker ends.
    Flag,
}

impl Kind {
    /// The type's name in the exposition format.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::Flag => "gauge",
        }
    }
}

macro_rules! counters {
    ($($variant:ident, $kind:ident, $name:literal, $label:literal, $help:literal;)*) => {
        /// A number that each worker keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $(#[doc = $help] $variant,)* }

        impl Counter {
            /// All, those of one name next to each other.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The metric's name.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }

            /// The label that tells this one from others of its name (`store="redis"`), or nothing.
            pub fn label(self) -> &'static str {
                match self { $(Counter::$variant => $label,)* }
            }

            /// What is counted.
            pub fn help(self) -> &'static str {
                match self { $(Counter::$variant => $help,)* }
            }

            /// Whether it only goes up.
            pub fn kind(self) -> Kind {
                match self { $(Counter::$variant => Kind::$kind,)* }
            }
        }
    };
}

counters! {
    ConnectionsAccepted, Counter, "backendai_connections_accepted_total", "", "Connections accepted on the API port.";
    ConnectionsOpen, Gauge, "backendai_connections_open", "", "Open connections on the API port.";
    StreamsOpen, Gauge, "backendai_streams_open", "", "Open WebSockets and event streams.";
    RequestsInFlight, Gauge, "backendai_requests_in_flight", "", "Requests that wait for their answer.";
    RequestsAbandoned, Counter, "backendai_requests_abandoned_total", "", "Requests whose client went away before the answer.";

    AuthMalformed, Counter, "backendai_auth_failures_total", "reason=\"malformed\"", "Requests refused for their credentials, by reason.";
    AuthDate, Counter, "backendai_auth_failures_total", "reason=\"date\"", "Requests refused for their credentials, by reason.";
    AuthKey, Counter, "backendai_auth_failures_total", "reason=\"key\"", "Requests refused for their credentials, by reason.";
    AuthSignature, Counter, "backendai_auth_failures_total", "reason=\"signature\"", "Requests refused for their credentials, by reason.";
    AuthReplay, Counter, "backendai_auth_failures_total", "reason=\"replay\"", "Requests refused for their credentials, by reason.";
    AuthUnavailable, Counter, "backendai_auth_failures_total", "reason=\"unavailable\"", "Requests refused for their credentials, by reason.";
    KeyCacheHits, Counter, "backendai_key_cache_lookups_total", "result=\"hit\"", "Look-ups of key pairs in the worker's cache, by result.";
    KeyCacheMisses, Counter, "backendai_key_cache_lookups_total", "result=\"miss\"", "Look-ups of key pairs in the worker's cache, by result.";

    RateLimited, Counter, "backendai_rate_limited_total", "", "Requests refused because their key or address was over its limit.";
    RateRoundTrips, Counter, "backendai_rate_round_trips_total", "", "Calls to Redis for the rate limit; each asks for all requests that wait.";
    RateFallback, Flag, "backendai_rate_fallback", "", "1 while Redis is away and the worker admits its share of what was left.";

    PostgresUp, Flag, "backendai_store_up", "store=\"postgresql\"", "1 while the store answers.";
    RedisUp, Flag, "backendai_store_up", "store=\"redis\"", "1 while the store answers.";
    EtcdUp, Flag, "backendai_store_up", "store=\"etcd\"", "1 while the store answers.";
    Leader, Flag, "backendai_leader", "", "1 while the worker leads the namespace.";

    AgentConnections, Gauge, "backendai_agent_connections_open", "", "Open connections to agents.";
    AgentCalls, Counter, "backendai_agent_calls_total", "", "Calls to agents.";
    AgentTimeouts, Counter, "backendai_agent_errors_total", "reason=\"timeout\"", "Calls to agents that failed, by reason.";
    AgentUnreachable, Counter, "backendai_agent_errors_total", "reason=\"unreachable\"", "Calls to agents that failed, by reason.";
    AgentLost, Counter, "backendai_agent_errors_total", "reason=\"lost\"", "Calls to agents that failed, by reason.";
    AgentRemote, Counter, "backendai_agent_errors_total", "reason=\"remote\"", "Calls to agents that failed, by reason.";
    AgentMalformed, Counter, "backendai_agent_errors_total", "reason=\"malformed\"", "Calls to agents that failed, by reason.";

    EventsHandled, Counter, "backendai_events_total", "result=\"handled\"", "Agents' events, by what became of them.";
    EventsIgnored, Counter, "backendai_events_total", "result=\"ignored\"", "Agents' events, by what became of them.";
    EventsStray, Counter, "backendai_events_total", "result=\"unknown-kernel\"", "Agents' events, by what became of them.";
    EventsFailed, Counter, "backendai_events_total", "result=\"failed\"", "Agents' events, by what became of them.";
    EventsMalformed, Counter, "backendai_events_total", "result=\"malformed\"", "Agents' events, by what became of them.";
    EventsRefused, Counter, "backendai_events_total", "result=\"refused\"", "Agents' events, by what became of them.";
    Heartbeats, Counter, "backendai_heartbeats_total", "", "Agents' heartbeats.";

    SessionsCreated, Counter, "backendai_sessions_total", "result=\"created\"", "Sessions, by what became of them.";
    SessionsFailed, Counter, "backendai_sessions_total", "result=\"failed\"", "Sessions, by what became of them.";
    SessionsDestroyed, Counter, "backendai_sessions_total", "result=\"destroyed\"", "Sessions, by what became of them.";

    WorkerDrains, Counter, "backendai_worker_drains_total", "", "Times that the slot's worker was told to finish and end.";
    WorkerRestarts, Counter, "backendai_worker_restarts_total", "", "Times that the slot's worker ended by itself and was replaced.";
}

/// What `/metrics` has beside the counters: name, type, labels, help.
pub(super) const OTHERS: &[(&str, &str, &str, &str)] = &[
    ("backendai_requests_total", "counter", "method, path, status", "Requests answered, by route and class of status."),
    (
        "backendai_request_seconds",
        "histogram",
        "method, path",
        "Time from a request's head to the end of its answer, by route.",
    ),
    ("backendai_worker_cpu_seconds_total", "counter", "", "CPU time of the slot's processes, user and system."),
    ("backendai_worker_resident_bytes", "gauge", "", "Resident memory of the slot's processes."),
    ("backendai_worker_up", "gauge", "", "1 while the slot has a worker that serves."),
];

/// docs/metrics.md.
pub fn reference() -> String {
    let mut text =
        "# Metrics\n\nGenerated from the program's own definition; `UPDATE_GOLDENS=1 cargo test -p backendai \
        --lib telemetry` renews this page.\n\n`GET /metrics` on the operator's port (`--admin-port`) answers in \
        Prometheus' text format 0.0.4, for all workers of this gateway whichever of them answers. Every metric has a \
        label `worker`, the number of the slot. Counters go on when a worker is replaced (but not its CPU time) and \
        start at 0 when the gateway is started.\n\n| metric | type | labels beside `worker` | |\n|---|---|---|---|\n"
            .to_owned();
    let mut last = "";
    for counter in Counter::ALL.iter().filter(|c| std::mem::replace(&mut last, c.name()) != c.name()) {
        let _ = writeln!(text, "{}", row(counter.name(), counter.kind().name(), &labels(*counter), counter.help()));
    }
    for (name, kind, labels, help) in OTHERS {
        let _ = writeln!(text, "{}", row(name, kind, labels, help));
    }
    let _ = write!(
        text,
        "\n`status` is the class: `1xx` to `5xx`. The histogram's bounds are powers of two of a microsecond, from {} to \
         {} seconds. Routes that have had no request are left out.\n",
        histogram::bound_seconds(0),
        histogram::bound_seconds(histogram::BOUNDS - 1),
    );
    text
}

fn row(name: &str, kind: &str, labels: &str, help: &str) -> String {
    format!("| `{name}` | {kind} | {labels} | {help} |")
}

/// The label of a counter with all its values: `reason`: `date`, `key`.
fn labels(counter: Counter) -> String {
    let same = Counter::ALL.iter().filter(|c| c.name() == counter.name());
    let pairs: Vec<(&str, &str)> = same.filter_map(|c| c.label().split_once('=')).collect();
    let values: Vec<String> = pairs.iter().map(|(_, value)| format!("`{}`", value.trim_matches('"'))).collect();
    match pairs.first() {
        None => String::new(),
        Some((name, _)) => format!("{name}: {}", values.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_prometheus_names_and_those_alike_stand_together() {
        let mut seen: Vec<&str> = Vec::new();
        for counter in Counter::ALL {
            let name = counter.name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(name.ends_with("_total"), counter.kind() == Kind::Counter, "{name}");
            if seen.last() != Some(&name) {
                assert!(!seen.contains(&name), "{name} is scattered");
                seen.push(name);
            }
        }
    }

    #[test]
    fn no_two_have_both_name_and_label_alike() {
        for (i, a) in Counter::ALL.iter().enumerate() {
            assert_eq!(*a as usize, i);
            assert!(Counter::ALL.iter().skip(i + 1).all(|b| (a.name(), a.label()) != (b.name(), b.label())), "{a:?}");
        }
    }

    #[test]
    fn the_list_of_metrics_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert_eq!(page, reference(), "UPDATE_GOLDENS=1 cargo test renews docs/metrics.md");
    }
}
