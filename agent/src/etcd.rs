//! What the agent reads from and writes to etcd, all below `/sorna/<namespace>/`.

use std::{collections::BTreeMap, time::Duration};

use backendai::config::HostPort;
use etcd_client::{Client, ConnectOptions, EventType, GetOptions, WatchOptions};
use tokio::sync::watch;

/// How long to wait before trying again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The namespace's keys.
#[derive(Clone)]
pub struct Etcd {
    client: Client,
    prefix: String,
}

/// Where events go: addresses by the name of who takes them.
pub type Targets = BTreeMap<String, HostPort>;

// === impl Etcd ===

impl Etcd {
    /// Connects; while no endpoint answers, says so and goes on trying.
    pub async fn connect(endpoints: &[HostPort], namespace: &str) -> Etcd {
        let endpoints: Vec<String> = endpoints.iter().map(HostPort::to_string).collect();
        let mut told = false;
        loop {
            match try_connect(&endpoints).await {
                Ok(client) => return Etcd { client, prefix: format!("/sorna/{namespace}/") },
                Err(error) if !told => {
                    tracing::warn!(endpoints = endpoints.join(","), %error, "waiting for etcd");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// The value of a key, once there is one.
    pub async fn wait_for(&self, key: &str) -> String {
        let mut told = false;
        loop {
            match self.get(key).await {
                Ok(Some(value)) => return value,
                Ok(None) if !told => {
                    tracing::warn!(key = self.prefix.clone() + key, "waiting for a gateway to write this key")
                }
                Err(error) if !told => tracing::warn!(%error, "waiting for etcd"),
                _ => {}
            }
            told = true;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<String>, etcd_client::Error> {
        let answer = self.client.kv_client().get(self.prefix.clone() + key, None).await?;
        Ok(answer.kvs().first().map(|pair| String::from_utf8_lossy(pair.value()).into_owned()))
    }

    /// Writes a key.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn put(&self, key: &str, value: &str) -> Result<(), etcd_client::Error> {
        self.client.kv_client().put(self.prefix.clone() + key, value, None).await.map(drop)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), etcd_client::Error> {
        self.client.kv_client().delete(self.prefix.clone() + key, None).await.map(drop)
    }

    /// Keeps `targets` at what `nodes/manager/event_addr` and `nodes/gateways/` say, for ever.
    pub async fn follow_targets(self, targets: watch::Sender<Targets>) {
        loop {
            if let Err(error) = self.follow_once(&targets).await {
                tracing::debug!(%error, "following the gateways in etcd");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn follow_once(&self, targets: &watch::Sender<Targets>) -> Result<(), etcd_client::Error> {
        let nodes = format!("{}nodes/", self.prefix);
        let answer = self.client.kv_client().get(nodes.clone(), Some(GetOptions::new().with_prefix())).await?;
        let mut found = Targets::new();
        for pair in answer.kvs() {
            self.take(&mut found, pair.key(), Some(pair.value()));
        }
        targets.send_if_modified(|known| std::mem::replace(known, found.clone()) != found);
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let options = WatchOptions::new().with_prefix().with_start_revision(revision + 1);
        let mut changes = self.client.watch_client().watch(nodes, Some(options)).await?;
        while let Some(change) = changes.message().await? {
            for event in change.events() {
                let Some(pair) = event.kv() else { continue };
                let value = (event.event_type() == EventType::Put).then(|| pair.value());
                self.take(&mut found, pair.key(), value);
            }
            targets.send_if_modified(|known| std::mem::replace(known, found.clone()) != found);
        }
        Ok(())
    }

    /// Takes what a key says of where events go.
    fn take(&self, targets: &mut Targets, key: &[u8], value: Option<&[u8]>) {
        let key = String::from_utf8_lossy(key);
        let Some(name) = key.strip_prefix(&self.prefix) else { return };
        if name != "nodes/manager/event_addr" && !name.starts_with("nodes/gateways/") {
            return;
        }
        let text = value.map(String::from_utf8_lossy);
        match text.and_then(|text| address_in(&text)) {
            Some(address) => targets.insert(name.to_owned(), address),
            None => targets.remove(name),
        };
    }
}

/// An address as plain text, or as `events_addr` of a gateway's JSON.
fn address_in(text: &str) -> Option<HostPort> {
    let json = serde_json::from_str::<serde_json::Value>(text).ok();
    let listed = json.as_ref().and_then(|value| value.get("events_addr")?.as_str());
    listed.unwrap_or(text).trim().parse().ok()
}

async fn try_connect(endpoints: &[String]) -> Result<Client, etcd_client::Error> {
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(2))
        .with_timeout(Duration::from_secs(5))
        .with_keep_alive(Duration::from_secs(5), Duration::from_secs(2));
    let mut client = Client::connect(endpoints, Some(options)).await?;
    client.status().await?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_as_text_and_in_gateways_json() {
        let expected = Some("10.0.0.1:5002".parse().unwrap());
        assert_eq!(address_in("10.0.0.1:5002"), expected);
        assert_eq!(address_in(r#"{"events_addr":"10.0.0.1:5002","pid":1}"#), expected);
        assert_eq!(address_in(r#"{"pid":1}"#), None);
    }
}
