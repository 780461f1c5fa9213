//! The gateway on this machine, as its operator's listener tells of it.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::CliError;
use crate::telemetry::WorkerReport;

/// How long an answer may take, from connecting to its end.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// The longest answer that is read: that of 1024 slots with two processes each is below it.
const ANSWER_BYTES: usize = 4 << 20;

/// Where the gateway's operator listens.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Gateway")]
pub struct Gateway {
    /// The address of the gateway's operator routes
    #[arg(long, env = "BACKEND_ADMIN_IP", default_value = "127.0.0.1", value_name = "IP")]
    pub admin_ip: IpAddr,
    /// The port of the gateway's operator routes
    #[arg(long, env = "BACKEND_ADMIN_PORT", default_value = "8081", value_name = "PORT")]
    pub admin_port: u16,
}

/// What it tells.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether every store answers.
    pub ready: bool,
    /// The stores that do not.
    pub missing: Vec<String>,
    /// Its worker processes, by slot.
    pub workers: Vec<WorkerReport>,
}

/// `/readyz`.
#[derive(Deserialize)]
struct Readiness {
    ready: bool,
    missing: Vec<String>,
}

// === impl Gateway ===

impl Gateway {
    /// Where its operator's routes are.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.admin_ip, self.admin_port)
    }

    /// Workers and stores.
    ///
    /// # Errors
    /// Nobody answers there, or what answers is no gateway.
    pub async fn report(&self) -> Result<Report, CliError> {
        let asked = async {
            let Readiness { ready, missing } = self.get("/readyz").await?;
            Ok(Report { ready, missing, workers: self.get("/workers").await? })
        };
        let answer: Result<Report, String> = in_time(asked).await;
        answer.map_err(|why| CliError::Gateway { addr: self.addr(), why })
    }

    /// The status of a route, and its JSON, if that is what it gives.
    ///
    /// # Errors
    /// Nobody answers there, in words.
    pub async fn ask(&self, path: &str) -> Result<(StatusCode, Value), String> {
        let (status, body) = in_time(exchange(self.addr(), path)).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// What a route says, whatever its status.
    async fn get<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, String> {
        let (status, body) = exchange(self.addr(), path).await?;
        let strange = |_| format!("what answers there is no gateway's operator port: {path} gives {status}");
        serde_json::from_slice(&body).map_err(strange)
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(ANSWER_LIMIT, asked).await.unwrap_or_else(|_| Err("it does not answer in time".to_owned()))
}

/// One request on a connection of its own: the next may reach another worker.
async fn exchange(addr: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), String> {
    let stream = TcpStream::connect(addr).await.map_err(words)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let request = Request::get(path).header(header::HOST, addr.to_string()).header(header::CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(words)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(words)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(words)?;
        Ok((status, body.to_bytes()))
    };
    driven(connection, answer).await
}

/// The answer, while the connection is kept going; how that ends, the answer tells.
async fn driven<T>(connection: impl Future, answer: impl Future<Output = T>) -> T {
    let connection = async {
        connection.await;
        std::future::pending().await
    };
    tokio::select! { biased; answer = answer => answer, never = connection => never }
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// Answers connections with these bytes, one after the other, and then no more.
    fn listener(answers: Vec<Vec<u8>>) -> Gateway {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
            }
        });
        Gateway { admin_ip: addr.ip(), admin_port: addr.port() }
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn report(gateway: Gateway) -> Result<Report, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(gateway.report()).map_err(|it| it.to_string())
    }

    #[test]
    fn missing_stores_are_told_though_the_status_is_an_error_s() {
        let away = answer("503 Service Unavailable", r#"{"ready": false, "missing": ["redis"]}"#);
        let report = report(listener(vec![away, answer("200 OK", "[]")])).unwrap();
        assert_eq!((report.ready, report.missing, report.workers.len()), (false, vec!["redis".to_owned()], 0));
    }

    #[test]
    fn whoever_is_no_gateway_is_said_to_be_none() {
        let cases = [
            (answer("404 Not Found", "<html>"), "no gateway's operator port: /readyz gives 404"),
            (b"SSH-2.0-OpenSSH\r\n".to_vec(), "invalid HTTP"),
            (Vec::new(), "connection closed"),
        ];
        for (bytes, part) in cases {
            let message = report(listener(vec![bytes])).unwrap_err();
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_answer_without_end_is_not_read_to_its_end() {
        let endless = format!("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}", " ".repeat(ANSWER_BYTES + 1));
        assert!(report(listener(vec![endless.into_bytes()])).unwrap_err().contains("length limit exceeded"));
    }

    #[test]
    fn a_gateway_that_does_not_run_is_named_with_what_to_look_at() {
        let port = crate::testing::free_port();
        let message = report(Gateway { admin_ip: [127, 0, 0, 1].into(), admin_port: port }).unwrap_err();
        assert!(message.starts_with(&format!("no gateway answers at 127.0.0.1:{port} ")), "{message}");
        assert!(message.contains("refused") && message.contains("--admin-port"), "{message}");
    }
}
