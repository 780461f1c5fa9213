//! What an agent says of itself every 3 s.

use rmpv::Value;

use super::{EventError, value};
use crate::config::HostPort;

/// The member that says that folders can be mounted read-only.
const READ_ONLY_MOUNTS: &str = "read_only_mounts";

/// The argument of `instance_heartbeat`. Slots may come as integers or floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// The agent's address, as it sees itself.
    pub ip: String,
    /// Where it runs, such as `local/unknown`.
    pub region: String,
    /// Where it takes calls: `tcp://ip:port`; empty if it did not say.
    pub addr: String,
    /// Memory for kernels, in MiB.
    pub mem_slots: i64,
    /// Cores for kernels.
    pub cpu_slots: f64,
    /// GPUs for kernels.
    pub gpu_slots: f64,
    /// The images it has: compressed msgpack, which nobody reads here. Releases 1.0 send none, and
    /// that is how they are told from later ones.
    pub images: Option<Value>,
    /// The ids of its kernels: only this project's agent says so.
    pub kernels: Option<Vec<String>>,
    /// Whether it can mount a folder read-only: only this project's agent says so, and where it can.
    pub read_only_mounts: bool,
}

// === impl Heartbeat ===

impl Heartbeat {
    /// The same, with a place for calls: its address and this port, if it did not say where.
    #[must_use]
    pub fn or_at(mut self, port: u16) -> Heartbeat {
        if self.addr.is_empty() {
            self.addr = format!("tcp://{}", HostPort { host: self.ip.clone(), port });
        }
        self
    }

    pub(super) fn from_value(map: Value) -> Result<Heartbeat, EventError> {
        Ok(Heartbeat {
            ip: text(&map, "ip", 64)?,
            region: text(&map, "region", 64)?,
            addr: if is_said(&map, "addr") { text(&map, "addr", 128)? } else { String::new() },
            mem_slots: slots(&map, "mem_slots", value::as_i64)?,
            cpu_slots: slots(&map, "cpu_slots", value::as_f64)?,
            gpu_slots: slots(&map, "gpu_slots", value::as_f64)?,
            images: value::get(&map, "images").filter(|images| !images.is_nil()).cloned(),
            kernels: kernels(&map)?,
            read_only_mounts: value::get(&map, READ_ONLY_MOUNTS).and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    pub(super) fn to_value(&self) -> Value {
        let mut pairs: Vec<(Value, Value)> = vec![
            ("ip".into(), self.ip.as_str().into()),
            ("region".into(), self.region.as_str().into()),
            ("addr".into(), self.addr.as_str().into()),
            ("mem_slots".into(), self.mem_slots.into()),
            ("cpu_slots".into(), self.cpu_slots.into()),
            ("gpu_slots".into(), self.gpu_slots.into()),
        ];
        if let Some(images) = &self.images {
            pairs.push(("images".into(), images.clone()));
        }
        if let Some(kernels) = &self.kernels {
            pairs.push(("kernels".into(), kernels.iter().map(|id| Value::from(id.as_str())).collect()));
        }
        if self.read_only_mounts {
            pairs.push((READ_ONLY_MOUNTS.into(), true.into()));
        }
        Value::Map(pairs)
    }
}

fn is_said(map: &Value, key: &str) -> bool {
    value::get(map, key).is_some_and(|value| !value.is_nil())
}

/// A text of at most as many characters as the database's column has.
fn text(map: &Value, key: &'static str, most: usize) -> Result<String, EventError> {
    let text = value::get(map, key).and_then(Value::as_str);
    let good = text.filter(|text| text.chars().count() <= most && !text.contains(char::is_control));
    good.map(str::to_owned).ok_or(EventError::Argument(key))
}

fn slots<T: PartialOrd + Default>(
    map: &Value,
    key: &'static str,
    read: fn(&Value) -> Option<T>,
) -> Result<T, EventError> {
    let count = value::get(map, key).and_then(read).filter(|count| *count >= T::default());
    count.ok_or(EventError::Argument(key))
}

fn kernels(map: &Value) -> Result<Option<Vec<String>>, EventError> {
    let Some(list) = value::get(map, "kernels").filter(|list| !list.is_nil()) else { return Ok(None) };
    let ids = list.as_array().and_then(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)).collect());
    ids.map(Some).ok_or(EventError::Argument("kernels"))
}
