//! What the agent tells every 3 s: where it is, what it has, which kernels.

use std::{rc::Rc, time::Duration};

use backendai::wire::{
    event::{EventKind, Heartbeat},
    value,
};
use rmpv::Value;

use crate::{
    agent::Agent,
    kernel::{mounts::Way, runtime::IMAGES},
};

/// The time from one heartbeat to the next.
const EVERY: Duration = Duration::from_secs(3);

/// Tells the first heartbeat at once and goes on for ever.
pub async fn run(agent: Rc<Agent>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&agent);
    }
}

/// Tells one heartbeat.
pub fn tell(agent: &Agent) {
    let identity = &agent.identity;
    agent.tell(EventKind::Heartbeat(Heartbeat {
        ip: identity.ip.to_string(),
        region: identity.region.clone(),
        addr: format!("tcp://{}", identity.address()),
        mem_slots: i64::try_from(identity.slots.mem).unwrap_or(i64::MAX),
        cpu_slots: identity.slots.cpu,
        gpu_slots: identity.slots.gpu,
        images: Some(images()),
        kernels: Some(agent.kernels().iter().map(|kernel| kernel.id.clone()).collect()),
        read_only_mounts: agent.way == Way::Namespace,
    }));
}

/// The images as releases from 1.1 send them: msgpack of `[[name, hash], …]` in Snappy's format.
/// There are no files behind these images, so the runtime's name stands for the hash.
fn images() -> Value {
    let list: Value = IMAGES.into_iter().map(|name| Value::Array(vec![name.into(), "process".into()])).collect();
    Value::Binary(snappy(&value::encode(&list)))
}

/// Snappy's block format with literals alone: the length in base 128, then pieces of at most 60
/// bytes, each with its length less one above two zero bits
/// (github.com/google/snappy/blob/main/format_description.txt).
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    for piece in bytes.chunks(60) {
        out.push(((piece.len() - 1) as u8) << 2);
        out.extend_from_slice(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snappy_is_the_length_and_literal_pieces() {
        assert_eq!(snappy(b"abc"), [3, 2 << 2, b'a', b'b', b'c']);
        let long = snappy(&[7; 200]);
        assert_eq!(&long[..3], [0xc8, 0x01, 59 << 2]);
        assert_eq!(long.len(), 2 + 200 + 4);
    }
}
