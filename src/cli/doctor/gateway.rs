//! The gateway of this machine, by its operator's listener.

use http::StatusCode;
use serde_json::Value;

use super::{check::bounded, finding::Finding};
use crate::cli::gateway::Gateway;

/// Looks at it; and whether one runs.
pub async fn checks(gateway: Gateway) -> (Vec<Finding>, bool) {
    let mut runs = false;
    let mut found = bounded("gateway", async {
        let (finding, lives) = alive(gateway).await;
        runs = lives;
        Ok(vec![finding])
    })
    .await;
    found.extend(match runs {
        true => bounded("gateway-ready", async { Ok(vec![ready(gateway).await]) }).await,
        false => {
            let what = "not looked at, as no gateway was found".to_owned();
            vec![Finding { what, ..Finding::skipped("gateway").of("gateway-ready") }]
        }
    });
    (found, runs)
}

async fn alive(gateway: Gateway) -> (Finding, bool) {
    let addr = gateway.addr();
    let other = "see that --admin-ip and --admin-port are the gateway's";
    match gateway.ask("/livez").await {
        Ok((StatusCode::OK, body)) if body.get("alive") == Some(&Value::Bool(true)) => {
            (Finding::ok(format!("one runs here; its operator routes are at {addr}")), true)
        }
        Ok((status, _)) => {
            (Finding::warning(format!("what listens at {addr} is no gateway: it answers {status}"), other), false)
        }
        Err(why) => {
            let what = format!("no gateway runs on this machine, or its operator routes are not at {addr}: {why}");
            (Finding::warning(what, format!("start one (backendai-gateway), or {other}")), false)
        }
    }
}

async fn ready(gateway: Gateway) -> Finding {
    match gateway.ask("/readyz").await {
        Ok((StatusCode::OK, _)) => Finding::ok("it can serve"),
        Ok((_, body)) => {
            let missing = body.get("missing").and_then(Value::as_array).cloned().unwrap_or_default();
            let missing: Vec<&str> = missing.iter().filter_map(Value::as_str).collect();
            let what = format!("the gateway lacks {}, and serves no more than it can without", missing.join(", "));
            Finding::failed(what, "mend that; it finds it again by itself")
        }
        Err(why) => Finding::failed(format!("the gateway does not say whether it can serve: {why}"), "see its log"),
    }
}
