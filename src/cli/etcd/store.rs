//! etcd for one command: connect, do, leave. Keys are given and returned without `/sorna/<namespace>/`.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, DeleteOptions, Error, GetOptions, SortOrder, SortTarget, Txn, TxnOp};

use crate::{cli::CliError, config::Connections};

/// How long connecting, and how long one request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A client of one namespace.
pub struct Etcd {
    client: Client,
    prefix: String,
    addr: String,
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(String, String),
    /// Removes a key.
    Delete(String),
}

// === impl Change ===

impl Change {
    pub fn put(key: impl Into<String>, value: impl Into<String>) -> Change {
        Change::Put(key.into(), value.into())
    }
}

// === impl Etcd ===

impl Etcd {
    /// The client library connects with its first request, so that a server that is away is told there.
    pub async fn connect(to: &Connections) -> Result<Etcd, CliError> {
        let endpoints: Vec<String> = to.etcd_addr.iter().map(ToString::to_string).collect();
        let addr = endpoints.join(",");
        let options = ConnectOptions::new().with_connect_timeout(LIMIT).with_timeout(LIMIT);
        let prefix = format!("/sorna/{}/", to.namespace);
        match Client::connect(&endpoints, Some(options)).await {
            Ok(client) => Ok(Etcd { client, prefix, addr }),
            Err(error) => Err(problem(&addr, &error)),
        }
    }

    /// The value of a key.
    pub async fn get(&mut self, key: &str) -> Result<Option<String>, CliError> {
        let answer = self.client.get(self.full(key), None).await.map_err(|it| problem(&self.addr, &it))?;
        Ok(answer.kvs().first().map(|it| String::from_utf8_lossy(it.value()).into_owned()))
    }

    /// A key and those below it, in order, with their values. The empty key: all.
    pub async fn list(&mut self, key: &str) -> Result<Vec<(String, String)>, CliError> {
        let options = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Ascend);
        let answer = self.client.get(self.full(key), Some(options)).await.map_err(|it| problem(&self.addr, &it))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let pairs = answer.kvs().iter().map(|it| (self.short(&text(it.key())), text(it.value())));
        Ok(pairs.filter(|(found, _)| is_below(found, key)).collect())
    }

    /// Removes a key, and with `recursive` those below it; how many there were.
    pub async fn delete(&mut self, key: &str, recursive: bool) -> Result<usize, CliError> {
        let key = self.full(key);
        let mut steps = vec![TxnOp::delete(key.as_str(), None)];
        if recursive {
            steps.push(TxnOp::delete(format!("{key}/"), Some(DeleteOptions::new().with_prefix())));
        }
        let answer = self.client.txn(Txn::new().and_then(steps)).await.map_err(|it| problem(&self.addr, &it))?;
        let count = answer.op_responses().into_iter().map(|it| match it {
            etcd_client::TxnOpResponse::Delete(it) => usize::try_from(it.deleted()).unwrap_or_default(),
            _ => 0,
        });
        Ok(count.sum())
    }

    /// Makes all these changes or none.
    pub async fn commit(&mut self, changes: Vec<Change>) -> Result<(), CliError> {
        let steps: Vec<TxnOp> = changes
            .into_iter()
            .map(|change| match change {
                Change::Put(key, value) => TxnOp::put(self.full(&key), value, None),
                Change::Delete(key) => TxnOp::delete(self.full(&key), None),
            })
            .collect();
        let answer = self.client.txn(Txn::new().and_then(steps)).await;
        answer.map(drop).map_err(|it| problem(&self.addr, &it))
    }

    /// A key as etcd has it. One that was copied with its prefix is taken too.
    fn full(&self, key: &str) -> String {
        let key = key.strip_prefix(&self.prefix).unwrap_or(key);
        format!("{}{}", self.prefix, key.trim_start_matches('/'))
    }

    fn short(&self, key: &str) -> String {
        key.strip_prefix(&self.prefix).unwrap_or(key).to_owned()
    }
}

/// `images/py` is no parent of `images/python`.
fn is_below(key: &str, parent: &str) -> bool {
    let parent = parent.trim_matches('/');
    parent.is_empty() || key.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The library's message with its causes, each said once.
pub fn problem(addr: &str, error: &Error) -> CliError {
    let (first, source) = match error {
        Error::GRpcStatus(status) => (status.message().to_owned(), std::error::Error::source(status)),
        other => (other.to_string(), std::error::Error::source(other)),
    };
    let causes = std::iter::successors(source, |it| it.source()).map(ToString::to_string);
    let why = causes.fold(first, |why, cause| if why.contains(&cause) { why } else { format!("{why}: {cause}") });
    CliError::Etcd { addr: addr.to_owned(), why: why.replace('\n', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_the_parent_of_longer_names() {
        assert!(is_below("images/python/cpu", "images/python"));
        assert!(is_below("images/python", "images/python/"));
        assert!(is_below("images/python", ""));
        assert!(!is_below("images/python-tf", "images/python"));
    }
}
