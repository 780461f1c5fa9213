//! What a gateway needs before it starts: three stores that answer, and a schema of its own time.
//!
//! A store that goes away later ends nothing; one that is not there at the start is a mistake of the set-up, which
//! the operator should be told in one line with what mends it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    config::{Connections, HostPort},
    store::{
        etcd,
        postgres::{connect, migrate},
    },
};

/// Longest time for Redis to answer.
const REDIS_TIME: Duration = Duration::from_secs(3);

/// What is missing, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What, in one line.
    pub what: String,
    /// What mends it.
    pub mend: String,
}

/// Everything that is missing. Runs a tokio runtime of its own, so that a supervisor calls it in a child process.
pub fn stores(to: &Connections) -> Vec<Missing> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![missing(error, "look at the limits of this process (ulimit -a)")],
    };
    runtime.block_on(async {
        let (postgres, redis, etcd) = tokio::join!(postgres(to), redis(&to.redis_addr), etcd(to));
        [postgres, redis, etcd].into_iter().filter_map(Result::err).collect()
    })
}

fn missing(what: impl std::fmt::Display, mend: &str) -> Missing {
    Missing { what: what.to_string().replace('\n', " "), mend: mend.to_owned() }
}

async fn postgres(to: &Connections) -> Result<(), Missing> {
    let options = "look at --db-addr, --db-name, --db-user and --db-password";
    let client = connect::connect(to, "backendai-gateway").await.map_err(|error| missing(error, options))?;
    // The message itself names the command.
    migrate::check(&client).await.map_err(|error| missing(error, ""))
}

async fn redis(addr: &HostPort) -> Result<(), Missing> {
    let ask = async {
        let mut stream = TcpStream::connect((addr.host.as_str(), addr.port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let options = "start it, or look at --redis-addr";
    match timeout(REDIS_TIME, ask).await {
        Ok(Ok(answer)) if answer == *b"+PONG" => Ok(()),
        Ok(Ok(_)) => Err(missing(format!("what listens at {addr} does not let us in as Redis"), options)),
        Ok(Err(error)) => Err(missing(format!("cannot reach Redis at {addr}: {error}"), options)),
        Err(_) => Err(missing(format!("Redis at {addr} does not answer"), options)),
    }
}

async fn etcd(to: &Connections) -> Result<(), Missing> {
    let connected = etcd::client::Client::connect(&to.etcd_addr, &to.namespace).await;
    connected.map(drop).map_err(|error| missing(error, "start it, or look at --etcd-addr"))
}
