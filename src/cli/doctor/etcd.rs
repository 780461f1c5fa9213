//! etcd: whether every endpoint answers, is of the right age, lets us read and write, and has room.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, GetOptions, StatusResponse, Txn, TxnOp};

use super::{
    check::{Checks, Needed, Outcome, bounded, check},
    finding::{Finding, or_ok},
};
use crate::{
    cli::{CliError, etcd::problem},
    config::{Connections, HostPort},
    store::etcd::{Snapshot, keys, parse},
};

/// Longest time for a connection, and for a call.
const TIME: Duration = Duration::from_secs(3);
/// The largest answer that is taken.
const MESSAGE_LIMIT: usize = 64 << 20;

/// What one endpoint answered.
pub struct Member {
    addr: HostPort,
    client: Client,
    status: Option<StatusResponse>,
}

/// A cluster of which at least one member answered.
pub struct Cluster {
    members: Vec<Member>,
    root: String,
}

/// Connects to every endpoint.
pub async fn reach(to: &Connections) -> (Vec<Finding>, Option<Cluster>) {
    let mut members = Vec::new();
    let found = bounded("etcd", async {
        let answers = futures_util::future::join_all(to.etcd_addr.iter().map(member)).await;
        let mut away = Vec::new();
        for answer in answers {
            match answer {
                Ok(member) => members.push(member),
                Err(error) => away.push(error.to_string()),
            }
        }
        let mend = "start it, or look at --etcd-addr";
        Ok(match members.is_empty() {
            true => away.into_iter().map(|why| Finding::failed(why, mend)).collect(),
            false => {
                let names: Vec<String> = members.iter().map(|it| it.addr.to_string()).collect();
                let away = away.into_iter().map(|why| Finding::warning(why, mend));
                [Finding::ok(format!("etcd at {}", names.join(", ")))].into_iter().chain(away).collect()
            }
        })
    })
    .await;
    let cluster = (!members.is_empty()).then(|| Cluster { members, root: keys::root(&to.namespace) });
    (found, cluster)
}

pub fn checks(cluster: Needed<'_, Cluster>) -> Checks<'_> {
    vec![
        check("etcd-version", cluster, async |it| Ok(version(it))),
        check("etcd-health", cluster, async |it| Ok(health(it))),
        check("etcd-rights", cluster, rights),
    ]
}

async fn member(addr: &HostPort) -> Result<Member, CliError> {
    let options = ConnectOptions::new().with_connect_timeout(TIME).with_timeout(TIME);
    let named = |error: &etcd_client::Error| problem(&addr.to_string(), error);
    let client = Client::connect([addr.to_string()], Some(options)).await.map_err(|it| named(&it))?;
    // With the first call it is known whether anybody is there. One that asks who we are answers this too late, but
    // is there.
    let status = match client.maintenance_client().status().await {
        Ok(status) => Some(status),
        Err(error) if denies(&error) => None,
        Err(error) => return Err(named(&error)),
    };
    Ok(Member { addr: addr.clone(), client, status })
}

/// Whether etcd has its authentication on, and we are nobody.
fn denies(error: &etcd_client::Error) -> bool {
    let text = error.to_string();
    ["user name is empty", "permission denied", "invalid auth token"].iter().any(|it| text.contains(it))
}

fn version(cluster: &Cluster) -> Vec<Finding> {
    let found = cluster.members.iter().map(|it| match it.status.as_ref().map(StatusResponse::version) {
        None => Finding::note(format!("etcd at {} does not tell us its version", it.addr), "see etcd-rights"),
        Some(version) if version.starts_with("3.") => Finding::ok(format!("{version} at {}", it.addr)),
        Some(version) => Finding::failed(format!("etcd {version} at {}: 3.x is needed", it.addr), "install etcd 3"),
    });
    found.collect()
}

fn health(cluster: &Cluster) -> Vec<Finding> {
    let statuses = cluster.members.iter().filter_map(|it| Some((&it.addr, it.status.as_ref()?)));
    let found = statuses.flat_map(|(addr, status)| {
        let full = "raise --quota-backend-bytes, or `etcdctl compact`, `defrag`, then `alarm disarm`";
        let leaderless = (status.leader() == 0).then(|| {
            let mend = "start the other members, or look at their log";
            Finding::failed(format!("etcd at {addr} has no leader, and takes no writes"), mend)
        });
        let alarms = status.errors().iter().map(move |it| Finding::failed(format!("etcd at {addr} says: {it}"), full));
        leaderless.into_iter().chain(alarms).collect::<Vec<_>>()
    });
    or_ok(found.collect(), "a leader is there, and no alarm")
}

/// Whether we may read and write below the namespace. Nothing is written: etcd looks at the rights of both branches.
async fn rights(cluster: &Cluster) -> Outcome {
    let Some(member) = cluster.members.first() else { return Ok(Vec::new()) };
    let mut kv = member.client.kv_client();
    let key = format!("{}doctor", cluster.root);
    let never = Compare::version(key.as_str(), CompareOp::Less, 0);
    let reads = kv.get(cluster.root.as_str(), Some(GetOptions::new().with_prefix().with_limit(1))).await.map(drop);
    let writes = kv.txn(Txn::new().when([never]).and_then([TxnOp::put(key, "", None)])).await.map(drop);
    let found = [("read", reads), ("write", writes)].into_iter().filter_map(|(what, answer)| {
        let error = answer.err()?;
        let why = problem(&member.addr.to_string(), &error);
        let mend = match denies(&error) {
            true => {
                "this release gives no user name: `etcdctl auth disable`, and let only gateways and agents reach it"
            }
            false => "look at its log",
        };
        Some(Finding::failed(format!("cannot {what} below {}: {why}", cluster.root), mend))
    });
    Ok(or_ok(found.collect(), format!("reads and writes below {} are allowed", cluster.root)))
}

// === impl Cluster ===

impl Cluster {
    /// The namespace's configuration, as a gateway reads it, or the name of the check that tells why not.
    pub async fn settings(&self) -> Result<Snapshot, &'static str> {
        let member = self.members.first().ok_or("etcd")?;
        let mut kv = member.client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
        let answer =
            kv.get(self.root.as_str(), Some(GetOptions::new().with_prefix())).await.map_err(|_| "etcd-rights")?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let pairs: Vec<(String, String)> = answer
            .kvs()
            .iter()
            .filter_map(|kv| Some((text(kv.key()).strip_prefix(&self.root)?.to_owned(), text(kv.value()))))
            .collect();
        Ok(parse(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())), 0))
    }
}
