//! What agents tell without being asked: that they live, and what became of their kernels.
//!
//! A message of three frames: the event's name, the agent's id, a msgpack array of arguments. Agents
//! push them to the gateway's events port, which anyone who reaches it can write to, so nothing here
//! trusts a length or a type. Arguments beyond those known are ignored: later releases append some.

mod heartbeat;

use bytes::Bytes;
pub use heartbeat::Heartbeat;
use rmpv::Value;

use super::value::{self, ValueError};

/// Most values in an event's arguments: statistics of thousands of kernels have tens of each.
const MOST_VALUES: usize = 1 << 17;
/// Longest id of an agent, in characters; the database's column has as many.
const AGENT_ID_MAX: usize = 64;

/// An event and the agent that sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The agent's id, such as `i-0123abcd`.
    pub agent: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Any may come twice, late, or for something unknown.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The agent lives; every 3 s, the first one before [`EventKind::Started`].
    Heartbeat(Heartbeat),
    /// The agent has started, or started anew.
    Started,
    /// The agent ends, or sees that it ended without a word before.
    Terminated {
        /// `shutdown`, `agent-lost` or `agent-restart`.
        reason: String,
    },
    /// A kernel is being created; comes also when the creation then fails.
    KernelCreating {
        /// The kernel's id.
        id: String,
    },
    /// A kernel is gone.
    KernelTerminated {
        /// The kernel's id.
        id: String,
        /// Why, such as `self-terminated`.
        reason: String,
        /// Its last statistics, a map, if they came along.
        stats: Option<Value>,
    },
    /// Statistics by kernel id, a map.
    Stats(Value),
    /// An event of another name.
    Unknown(String),
}

/// Why a message is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A message of so many frames.
    #[error("a message of {0} frames")]
    Frames(usize),
    /// The event's name or the agent's id is not text, empty or too long.
    #[error("the {0} is no name")]
    Name(&'static str),
    /// The arguments are not msgpack, or are refused.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// An argument is missing or of the wrong type.
    #[error("the argument {0} is missing or of a wrong type")]
    Argument(&'static str),
}

// === impl Event ===

impl Event {
    /// Reads an event's frames.
    ///
    /// # Errors
    /// They are none, or hold what we refuse. An event of an unknown name is no error.
    pub fn parse(frames: &[Bytes]) -> Result<Event, EventError> {
        let [name, agent, args] = frames else { return Err(EventError::Frames(frames.len())) };
        let name = short_text(name).ok_or(EventError::Name("event"))?;
        let agent = short_text(agent).ok_or(EventError::Name("agent"))?.to_owned();
        let args = match value::decode(args, MOST_VALUES)? {
            Value::Array(args) => args,
            _ => return Err(EventError::Argument("list")),
        };
        Ok(Event { agent, kind: EventKind::parse(name, args)? })
    }

    /// The same, where a heartbeat without a place for calls means this port of its address.
    #[must_use]
    pub fn with_agent_port(self, port: u16) -> Event {
        match self {
            Event { agent, kind: EventKind::Heartbeat(beat) } => {
                Event { agent, kind: EventKind::Heartbeat(beat.or_at(port)) }
            }
            other => other,
        }
    }

    /// The frames of this event.
    pub fn frames(&self) -> [Vec<u8>; 3] {
        let args = value::encode(&Value::Array(self.kind.args()));
        [self.kind.name().as_bytes().to_vec(), self.agent.as_bytes().to_vec(), args]
    }
}

// === impl EventKind ===

impl EventKind {
    /// The name on the wire.
    pub fn name(&self) -> &str {
        match self {
            EventKind::Heartbeat(_) => "instance_heartbeat",
            EventKind::Started => "instance_started",
            EventKind::Terminated { .. } => "instance_terminated",
            EventKind::KernelCreating { .. } => "kernel_creating",
            EventKind::KernelTerminated { .. } => "kernel_terminated",
            EventKind::Stats(_) => "instance_stats",
            EventKind::Unknown(name) => name,
        }
    }

    fn parse(name: &str, args: Vec<Value>) -> Result<EventKind, EventError> {
        let mut args = args.into_iter();
        Ok(match name {
            "instance_heartbeat" => EventKind::Heartbeat(Heartbeat::from_value(next_map(&mut args, "heartbeat")?)?),
            "instance_started" => EventKind::Started,
            "instance_terminated" => EventKind::Terminated { reason: next_text(&mut args, "reason")? },
            "kernel_creating" => EventKind::KernelCreating { id: next_text(&mut args, "kernel id")? },
            "kernel_terminated" => EventKind::KernelTerminated {
                id: next_text(&mut args, "kernel id")?,
                reason: next_text(&mut args, "reason")?,
                stats: args.next().filter(Value::is_map),
            },
            "instance_stats" => EventKind::Stats(next_map(&mut args, "statistics")?),
            other => EventKind::Unknown(other.to_owned()),
        })
    }

    fn args(&self) -> Vec<Value> {
        match self {
            EventKind::Heartbeat(heartbeat) => vec![heartbeat.to_value()],
            EventKind::Started | EventKind::Unknown(_) => vec![],
            EventKind::Terminated { reason } => vec![reason.as_str().into()],
            EventKind::KernelCreating { id } => vec![id.as_str().into()],
            EventKind::KernelTerminated { id, reason, stats } => {
                vec![id.as_str().into(), reason.as_str().into(), stats.clone().unwrap_or(Value::Nil)]
            }
            EventKind::Stats(stats) => vec![stats.clone()],
        }
    }
}

/// A name as events and agents have: visible, and no longer than the database keeps.
fn short_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let good = !text.is_empty() && text.chars().count() <= AGENT_ID_MAX && !text.contains(char::is_control);
    good.then_some(text)
}

/// A text that PostgreSQL can keep: it takes no NUL.
fn next_text(args: &mut impl Iterator<Item = Value>, what: &'static str) -> Result<String, EventError> {
    let text = args.next().and_then(|value| value.as_str().map(str::to_owned));
    text.filter(|text| !text.contains('\0')).ok_or(EventError::Argument(what))
}

fn next_map(args: &mut impl Iterator<Item = Value>, what: &'static str) -> Result<Value, EventError> {
    args.next().filter(Value::is_map).ok_or(EventError::Argument(what))
}

#[cfg(test)]
mod tests;
