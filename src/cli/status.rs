//! `status`: the gateway on this machine, its workers and the stores that it misses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    CliError, Format, Out, amount,
    gateway::{Gateway, Report},
    listing::{Listing, Output, Row},
};
use crate::telemetry::WorkerReport;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    gateway: Gateway,
    #[command(flatten)]
    output: Output,
}

const COLUMNS: [&str; 13] =
    ["slot", "pid", "state", "core", "up", "requests", "failed", "p50", "p99", "conns", "cpu", "memory", "restarts"];

pub async fn run(args: &Args, out: Out<'_>) -> Result<(), CliError> {
    let report = args.gateway.report().await?;
    match args.output.output {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from)?;
            Ok(writeln!(out)?)
        }
        Format::Table => {
            writeln!(out, "gateway at {}: {}", args.gateway.addr(), summary(&report))?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let rows = report.workers.iter().map(|worker| row(worker, now)).collect();
            Listing::new(&COLUMNS, rows).write(args.output, out)
        }
    }
}

fn summary(report: &Report) -> String {
    let ready = report.workers.iter().filter(|it| it.state == "ready").count();
    let stores = match report.missing.as_slice() {
        [] => "all stores answer".to_owned(),
        missing => format!("missing: {}", missing.join(", ")),
    };
    format!("{ready} of {} workers ready, {stores}", report.workers.len())
}

/// A worker at that time since 1970.
fn row(worker: &WorkerReport, now: Duration) -> Row {
    let up = now.saturating_sub(Duration::from_millis(worker.started_at_ms));
    let cells = [
        worker.slot.into(),
        worker.pid.into(),
        worker.state.as_ref().into(),
        worker.core.into(),
        amount::span(up).into(),
        worker.requests.into(),
        worker.failed_requests.into(),
        amount::micros(worker.p50_us).into(),
        amount::micros(worker.p99_us).into(),
        worker.connections.into(),
        amount::span(Duration::from_secs_f64(worker.cpu_seconds.clamp(0.0, 1e9))).into(),
        amount::bytes(worker.resident_bytes).into(),
        worker.restarts.into(),
    ];
    COLUMNS.iter().map(|it| (*it).to_owned()).zip(cells).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_missing_stores_are_told() {
        let worker: WorkerReport = serde_json::from_value(serde_json::json!({
            "slot": 0, "pid": 42, "state": "ready", "core": null, "started_at_ms": 1000, "cpu_seconds": 61.5,
            "resident_bytes": 12 << 20, "requests": 1234, "failed_requests": 2, "p50_us": 64, "p99_us": 8192,
            "connections": 7, "restarts": 1
        }))
        .unwrap();
        let cells: Vec<String> = row(&worker, Duration::from_secs(61)).values().map(ToString::to_string).collect();
        let expected = r#"0 42 "ready" null "1m00s" 1234 2 "64µs" "8.2ms" 7 "1m01s" "12MiB" 1"#;
        assert_eq!(cells.join(" "), expected);
        let drained = WorkerReport { state: "draining".into(), ..worker.clone() };
        let mut report = Report { ready: true, missing: Vec::new(), workers: vec![worker, drained] };
        assert_eq!(summary(&report), "1 of 2 workers ready, all stores answer");
        report.missing = vec!["redis".to_owned(), "etcd".to_owned()];
        assert_eq!(summary(&report), "1 of 2 workers ready, missing: redis, etcd");
    }
}
