//! The gateway of this machine, by its operator's listener.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::{check::bounded, finding::Finding};

/// Longest time for one answer.
const TIME: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 << 10;

/// Where the operator routes are: as the gateway is told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Admin {
    /// The address of the operator routes of this machine's gateway
    #[arg(long, env = "BACKEND_ADMIN_IP", default_value = "127.0.0.1", value_name = "IP")]
    pub admin_ip: IpAddr,

    /// The port of the operator routes
    #[arg(long, env = "BACKEND_ADMIN_PORT", default_value = "8081", value_name = "PORT")]
    pub admin_port: u16,
}

/// Looks at it; and whether one runs.
pub async fn checks(admin: Admin) -> (Vec<Finding>, bool) {
    let addr = SocketAddr::new(admin.admin_ip, admin.admin_port);
    let mut runs = false;
    let mut found = bounded("gateway", async {
        let (finding, lives) = alive(addr).await;
        runs = lives;
        Ok(vec![finding])
    })
    .await;
    found.extend(match runs {
        true => bounded("gateway-ready", async { Ok(vec![ready(addr).await]) }).await,
        false => {
            let what = "not looked at, as no gateway was found".to_owned();
            vec![Finding { what, ..Finding::skipped("gateway").of("gateway-ready") }]
        }
    });
    (found, runs)
}

async fn alive(addr: SocketAddr) -> (Finding, bool) {
    let other = "see that --admin-ip and --admin-port are the gateway's";
    match get(addr, "/livez").await {
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

async fn ready(addr: SocketAddr) -> Finding {
    match get(addr, "/readyz").await {
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

/// Status and JSON of `GET path`.
async fn get(addr: SocketAddr, path: &str) -> Result<(StatusCode, Value), String> {
    let asked = async {
        let stream = TcpStream::connect(addr).await.map_err(|it| it.to_string())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|it| it.to_string())?;
        let driver = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, addr.to_string())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|it| it.to_string())?;
        let answer = sender.send_request(request).await.map_err(|it| it.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|it| it.to_string())?.to_bytes();
        driver.abort();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    };
    timeout(TIME, asked).await.unwrap_or_else(|_| Err(format!("no answer within {} s", TIME.as_secs())))
}
