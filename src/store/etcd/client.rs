//! For tools: one connection, plain calls, and errors that fit on one line.

use std::collections::BTreeMap;

use etcd_client::{GetOptions, Txn, TxnOp};

use super::{error::EtcdError, keys, link::Link};
use crate::config::HostPort;

/// A connection to a namespace, for use within a tokio runtime. All keys are relative to the namespace, as in
/// [`keys`]. Every call is bounded by two seconds.
pub struct Client {
    link: Link,
    root: String,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Sets a key.
    Put(String, String),
    /// Removes a key.
    Delete(String),
}

// === impl Client ===

impl Client {
    /// Connects to the first of the endpoints that answers.
    ///
    /// # Errors
    /// None answers; the message says for each why.
    pub async fn connect(endpoints: &[HostPort], namespace: &str) -> Result<Client, EtcdError> {
        let root = keys::root(namespace);
        let mut reasons = Vec::new();
        for endpoint in endpoints {
            match connect_one(endpoint, &root).await {
                Ok(link) => return Ok(Client { link, root }),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        if reasons.is_empty() { Err(EtcdError::NoEndpoint) } else { Err(EtcdError::Unreachable(reasons.join("; "))) }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// etcd does not answer, or refuses.
    pub async fn get(&mut self, key: &str) -> Result<Option<String>, EtcdError> {
        let answer = self.link.get(&self.full(key), GetOptions::new()).await?;
        Ok(answer.kvs().first().map(|kv| String::from_utf8_lossy(kv.value()).into_owned()))
    }

    /// Sets a key.
    ///
    /// # Errors
    /// etcd does not answer, or refuses.
    pub async fn put(&mut self, key: &str, value: &str) -> Result<(), EtcdError> {
        self.apply(&[Edit::Put(key.to_owned(), value.to_owned())]).await
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    /// etcd does not answer, or refuses.
    pub async fn delete(&mut self, key: &str) -> Result<bool, EtcdError> {
        let there = self.get(key).await?.is_some();
        self.apply(&[Edit::Delete(key.to_owned())]).await?;
        Ok(there)
    }

    /// All keys that begin with a text, with their values, at one revision.
    ///
    /// # Errors
    /// etcd does not answer, or refuses.
    pub async fn list(&mut self, prefix: &str) -> Result<BTreeMap<String, String>, EtcdError> {
        let read = self.link.read(&self.full(prefix)).await?;
        let entry = |change: super::link::Change| {
            let key = String::from_utf8_lossy(&change.key).strip_prefix(&self.root)?.to_owned();
            Some((key, change.value?.value))
        };
        Ok(read.changes.into_iter().filter_map(entry).collect())
    }

    /// Makes all edits, or none. A key may occur once.
    ///
    /// # Errors
    /// etcd does not answer, or refuses, as it does for more edits than its `--max-txn-ops` (128 unless set).
    pub async fn apply(&mut self, edits: &[Edit]) -> Result<(), EtcdError> {
        let op = |edit: &Edit| match edit {
            Edit::Put(key, value) => TxnOp::put(self.full(key), value.as_str(), None),
            Edit::Delete(key) => TxnOp::delete(self.full(key), None),
        };
        let ops: Vec<_> = edits.iter().map(op).collect();
        self.link.txn(Txn::new().and_then(ops)).await.map(drop)
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }
}

async fn connect_one(endpoint: &HostPort, root: &str) -> Result<Link, EtcdError> {
    let mut link = Link::connect(endpoint).await?;
    link.probe(root).await?;
    Ok(link)
}
