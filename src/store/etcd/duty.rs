//! What a worker has to write, decided from nothing but the tree as the watch shows it.
//!
//! Nothing is remembered of what was written: a write shows in the tree when the watch brings it back, and until
//! then doing it again is harmless, because every write is conditional on the revisions that it was decided from.
//! That is also why any publisher may write the manager's keys without asking who leads: of those that see the
//! same stale keys etcd lets one write, and the others then see keys that need no write. It would not help to
//! leave it to the leader, who may be a worker that publishes nothing and so knows no address to write.

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};

use super::{keys, node::NodeInfo, snapshot::Snapshot, tree::Tree};

/// Who we are.
pub(super) struct Role {
    /// Unique among all candidates and publishers that live.
    pub instance_id: String,
    /// What to publish, if we are to.
    pub publish: Option<NodeInfo>,
    /// Whether to try to lead.
    pub campaign: bool,
    /// Whether this process has written its node's entry, which it does once whatever is there.
    pub announced: bool,
    /// Likewise the manager's keys.
    pub directed: bool,
}

/// One thing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Our node's entry.
    Announce,
    /// The keys that agents read at start.
    Direct,
    /// The leader's key.
    Lead,
}

// === impl Role ===

impl Role {
    /// Whether anything is to be written under a lease.
    pub fn needs_lease(&self) -> bool {
        self.campaign || self.publish.is_some()
    }

    /// Takes note of how many workers the node has; another number is announced.
    pub fn has_workers(&mut self, count: u32) {
        if let Some(node) = self.publish.as_mut().filter(|node| node.workers != count) {
            node.workers = count;
            self.announced = false;
        }
    }

    /// What to write now.
    pub fn due(&self, tree: &Tree, snapshot: &Snapshot) -> Vec<Duty> {
        let mut due = Vec::new();
        if let Some(node) = &self.publish {
            let entry = tree.get(&keys::gateway(&node.node));
            match entry {
                Some(_) if self.announced => {}
                _ => due.push(Duty::Announce),
            }
            // Not before our entry shows: until then our address would be one of no gateway that lives.
            if entry.is_some() && self.announced && (!self.directed || misleads(tree, snapshot)) {
                due.push(Duty::Direct);
            }
        }
        if self.campaign && tree.get(keys::LEADER).is_none() {
            due.push(Duty::Lead);
        }
        due
    }

    /// The write of a duty, conditional on what the tree shows. None: not ours.
    pub fn txn(&self, duty: Duty, tree: &Tree, lease: i64) -> Option<Txn> {
        let under_lease = || Some(PutOptions::new().with_lease(lease));
        let puts = match (duty, &self.publish) {
            (Duty::Lead, _) => vec![(keys::LEADER.to_owned(), self.instance_id.clone(), under_lease())],
            (Duty::Announce, Some(node)) => vec![(keys::gateway(&node.node), node.gateway().to_json(), under_lease())],
            // In this order: agents wait for the last.
            (Duty::Direct, Some(node)) => vec![
                (keys::REDIS.to_owned(), node.redis_addr.to_string(), None),
                (keys::MANAGER_EVENT_ADDR.to_owned(), node.events_addr.to_string(), None),
                (keys::MANAGER.to_owned(), self.instance_id.clone(), None),
            ],
            (Duty::Announce | Duty::Direct, None) => return None,
        };
        let full = |key: &str| format!("{}{key}", tree.root());
        let unchanged = |key: &str| Compare::mod_revision(full(key), CompareOp::Equal, tree.mod_revision(key));
        let conditions: Vec<_> = puts.iter().map(|(key, ..)| unchanged(key)).collect();
        let puts: Vec<_> =
            puts.into_iter().map(|(key, value, options)| TxnOp::put(full(&key), value, options)).collect();
        Some(Txn::new().when(conditions).and_then(puts))
    }

    /// Takes note that a duty was done.
    pub fn done(&mut self, duty: Duty) {
        match duty {
            Duty::Announce => self.announced = true,
            Duty::Direct => self.directed = true,
            Duty::Lead => {}
        }
    }
}

/// Whether an agent that starts now would wait for ever, or send its events to nobody.
fn misleads(tree: &Tree, snapshot: &Snapshot) -> bool {
    let missing = [keys::MANAGER, keys::MANAGER_EVENT_ADDR, keys::REDIS].iter().any(|key| tree.get(key).is_none());
    let events_addr = snapshot.manager.events_addr.as_ref();
    missing || !snapshot.gateways.values().any(|gateway| Some(&gateway.events_addr) == events_addr)
}
