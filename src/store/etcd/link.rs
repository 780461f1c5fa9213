//! One connection to one etcd member, with a bound on every call.
//!
//! The client library can balance over several endpoints, but then a call waits as long as none of them is
//! there, and a watch, a lease and a write may sit on different members of which one is cut off. One connection
//! to one member fails as a whole, and whoever holds it goes on to the next endpoint.
//!
//! A dead peer is noticed by calls, not by HTTP/2 pings: etcd closes connections that ping more often than every
//! five seconds (its `--grpc-keepalive-min-time`), and that is too slow for us.

use std::{future::Future, time::Duration};

use etcd_client::{
    ConnectOptions, EventType, GetOptions, GetResponse, KvClient, LeaseKeepAliveStream, LeaseKeeper, Txn, TxnResponse,
    WatchOptions, WatchResponse, WatchStream,
};

use super::error::{EtcdError, explain};
use crate::config::HostPort;

/// How long any call may take.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_millis(1500);
/// The largest message we take; the library's limit of 4 MiB would end at some tens of thousands of keys.
const MESSAGE_LIMIT: usize = 64 << 20;

/// A connection to one member.
pub(super) struct Link {
    endpoint: HostPort,
    client: etcd_client::Client,
    kv: KvClient,
}

/// A watch of all keys below a prefix.
pub(super) struct Watch {
    endpoint: HostPort,
    stream: WatchStream,
}

/// One key that changed. No value: it is gone.
pub(super) struct Change {
    pub key: Vec<u8>,
    pub value: Option<Stored>,
}

/// A key's value with what conditions on it need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub value: String,
    pub mod_revision: i64,
    pub lease: i64,
}

/// Everything that changed up to a revision.
pub(super) struct Batch {
    pub revision: i64,
    pub changes: Vec<Change>,
}

// === impl Link ===

impl Link {
    /// Connects, which is only proved by the first call. A member that has lost its cluster counts as away.
    pub async fn connect(endpoint: &HostPort) -> Result<Link, EtcdError> {
        let options = ConnectOptions::new().with_connect_timeout(CONNECT_LIMIT).with_require_leader(true);
        let url = format!("http://{endpoint}");
        let client = bounded(endpoint, etcd_client::Client::connect([url], Some(options))).await?;
        let kv = client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
        Ok(Link { endpoint: endpoint.clone(), client, kv })
    }

    /// Gets one key, or by options several.
    pub async fn get(&mut self, key: &str, options: GetOptions) -> Result<GetResponse, EtcdError> {
        bounded(&self.endpoint, self.kv.get(key, Some(options))).await
    }

    /// Everything below a prefix, at one revision.
    pub async fn read(&mut self, prefix: &str) -> Result<Batch, EtcdError> {
        let mut answer = self.get(prefix, GetOptions::new().with_prefix()).await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(Batch { revision, changes: answer.take_kvs().into_iter().map(|kv| Change::put(&kv)).collect() })
    }

    /// Runs a transaction.
    pub async fn txn(&mut self, txn: Txn) -> Result<TxnResponse, EtcdError> {
        bounded(&self.endpoint, self.kv.txn(txn)).await
    }

    /// Watches everything below a prefix from a revision on; returns when etcd says that the watch is there.
    pub async fn watch(&mut self, prefix: &str, from: i64) -> Result<Watch, EtcdError> {
        let mut client = self.client.watch_client().max_decoding_message_size(MESSAGE_LIMIT);
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        let stream = bounded(&self.endpoint, client.watch(prefix, Some(options))).await?;
        let mut watch = Watch { endpoint: self.endpoint.clone(), stream };
        let first = tokio::time::timeout(CALL_LIMIT, watch.message()).await;
        first.map_err(|_| silent(&self.endpoint))??;
        Ok(watch)
    }

    /// Grants a lease; its id.
    pub async fn grant(&mut self, ttl: Duration) -> Result<i64, EtcdError> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let answer = bounded(&self.endpoint, self.client.lease_client().grant(seconds, None)).await?;
        Ok(answer.id())
    }

    /// Whether a lease is still there.
    pub async fn lives(&mut self, lease: i64) -> Result<bool, EtcdError> {
        let answer = bounded(&self.endpoint, self.client.lease_client().time_to_live(lease, None)).await?;
        Ok(answer.ttl() > 0)
    }

    /// Starts keeping a lease alive, which renews it once.
    pub async fn keep(&mut self, lease: i64) -> Result<(LeaseKeeper, LeaseKeepAliveStream), EtcdError> {
        bounded(&self.endpoint, self.client.lease_client().keep_alive(lease)).await
    }

    /// Ends a lease and all keys under it.
    pub async fn revoke(&mut self, lease: i64) -> Result<(), EtcdError> {
        bounded(&self.endpoint, self.client.lease_client().revoke(lease)).await.map(drop)
    }

    /// Proves that the member answers and has its cluster.
    pub async fn probe(&mut self, key: &str) -> Result<(), EtcdError> {
        self.get(key, GetOptions::new().with_keys_only()).await.map(drop)
    }

    /// The error of an answer that does not come.
    pub fn silent(&self) -> EtcdError {
        silent(&self.endpoint)
    }

    /// Whom we talk to.
    pub fn endpoint(&self) -> &HostPort {
        &self.endpoint
    }
}

// === impl Watch ===

impl Watch {
    /// The next changes. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Batch, EtcdError> {
        let message = self.message().await?;
        let revision = message.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(Batch { revision, changes: message.events().iter().filter_map(Change::of).collect() })
    }

    async fn message(&mut self) -> Result<WatchResponse, EtcdError> {
        let message = self.stream.message().await.map_err(|error| failed(&self.endpoint, &error))?;
        match message {
            Some(message) if message.canceled() => Err(self.ended(&reason(&message))),
            Some(message) => Ok(message),
            None => Err(self.ended("the stream is closed")),
        }
    }

    fn ended(&self, reason: &str) -> EtcdError {
        EtcdError::WatchEnded { endpoint: self.endpoint.clone(), reason: reason.into() }
    }
}

fn reason(message: &WatchResponse) -> String {
    match message.compact_revision() {
        0 if message.cancel_reason().is_empty() => "it is cancelled".into(),
        0 => message.cancel_reason().into(),
        revision => format!("revisions before {revision} are compacted"),
    }
}

// === impl Change ===

impl Change {
    fn put(kv: &etcd_client::KeyValue) -> Change {
        let value = String::from_utf8_lossy(kv.value()).into_owned();
        let value = Some(Stored { value, mod_revision: kv.mod_revision(), lease: kv.lease() });
        Change { key: kv.key().to_vec(), value }
    }

    fn of(event: &etcd_client::Event) -> Option<Change> {
        let kv = event.kv()?;
        match event.event_type() {
            EventType::Put => Some(Change::put(kv)),
            EventType::Delete => Some(Change { key: kv.key().to_vec(), value: None }),
        }
    }
}

/// Waits for a call at most [`CALL_LIMIT`].
pub(super) async fn bounded<T>(
    endpoint: &HostPort,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    let answer = tokio::time::timeout(CALL_LIMIT, call).await.map_err(|_| silent(endpoint))?;
    answer.map_err(|error| failed(endpoint, &error))
}

fn silent(endpoint: &HostPort) -> EtcdError {
    EtcdError::Silent { endpoint: endpoint.clone() }
}

fn failed(endpoint: &HostPort, error: &etcd_client::Error) -> EtcdError {
    EtcdError::Failed { endpoint: endpoint.clone(), reason: explain(error) }
}
