//! A gateway node's entry in etcd: what it is told, and the JSON that others read.

use serde::{Deserialize, Serialize};

use crate::config::HostPort;

/// What a gateway node tells others about itself, and agents about Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node's name, unique in the namespace, without `/`.
    pub node: String,
    /// Where agents on other machines can send events.
    pub events_addr: HostPort,
    /// Where agents on other machines reach Redis.
    pub redis_addr: HostPort,
    /// Where clients reach the API.
    pub api_addr: HostPort,
    /// How many workers serve.
    pub workers: u32,
}

/// A gateway node that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayNode {
    /// Where agents can send events.
    pub events_addr: HostPort,
    /// Where clients reach the API.
    pub api_addr: HostPort,
    /// How many workers serve.
    pub workers: u32,
}

/// The JSON of `nodes/gateways/<node>`; fields that a later release adds are ignored.
#[derive(Serialize, Deserialize)]
struct Json {
    events_addr: String,
    api_addr: String,
    workers: u32,
}

// === impl NodeInfo ===

impl NodeInfo {
    /// The entry of this node.
    #[must_use]
    pub fn gateway(&self) -> GatewayNode {
        GatewayNode { events_addr: self.events_addr.clone(), api_addr: self.api_addr.clone(), workers: self.workers }
    }
}

// === impl GatewayNode ===

impl GatewayNode {
    /// Reads an entry's value. None: it is not the JSON of a gateway node.
    #[must_use]
    pub fn from_json(text: &str) -> Option<GatewayNode> {
        let json: Json = serde_json::from_str(text).ok()?;
        let (events_addr, api_addr) = (json.events_addr.parse().ok()?, json.api_addr.parse().ok()?);
        Some(GatewayNode { events_addr, api_addr, workers: json.workers })
    }

    /// The entry's value.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "events_addr": self.events_addr.to_string(),
            "api_addr": self.api_addr.to_string(),
            "workers": self.workers,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_garbage_is_none() {
        let addr = |text: &str| text.parse().unwrap();
        let node = GatewayNode { events_addr: addr("10.0.0.1:5002"), api_addr: addr("[::1]:8081"), workers: 4 };
        let text = r#"{"events_addr":"10.0.0.1:5002","api_addr":"[::1]:8081","workers":4}"#;
        assert_eq!(node.to_json(), text);
        assert_eq!(GatewayNode::from_json(text), Some(node));
        for text in ["", "1", "{}", r#"{"events_addr":"10.0.0.1","api_addr":"[::1]:8081","workers":4}"#] {
            assert_eq!(GatewayNode::from_json(text), None, "{text}");
        }
    }
}
