//! Calls between gateway and agent, as aiozmq's RPC frames them.
//!
//! A request is four frames: a header of 16 bytes, the method's name, its arguments as a msgpack
//! array, keyword arguments as a msgpack map. An answer is two: the header with one byte more, that
//! tells an error from a result, and the value. Header fields are little-endian: `u16` process id,
//! `u16` random, `u32` request id, `f64` Unix time. An answer is matched by the request id alone; the
//! other fields are its sender's own. There is no empty delimiter frame.
//!
//! Both directions are here: the gateway encodes requests and parses answers, this project's agent
//! the other way round.

mod error;
mod repr;

use bytes::Bytes;
pub use error::RemoteError;
use rmpv::Value;

use super::value::{self, ValueError};

/// Most values in the arguments or the result of a call.
const MOST_VALUES: usize = 1 << 20;
/// Longest name of a method, in bytes.
const METHOD_MAX: usize = 256;

const REQUEST_HEADER: usize = 16;
const ANSWER_HEADER: usize = 17;

/// What begins a request, and (all but the last byte) an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Header {
    /// The low 16 bits of the sender's process id.
    pub pid: u16,
    /// A random number of the sender's.
    pub random: u16,
    /// Tells the calls of a connection apart.
    pub id: u32,
    /// When it was sent, in seconds since 1970.
    pub time: f64,
}

/// A call, as an agent gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its `id` goes back in the answer.
    pub header: Header,
    /// The method's name.
    pub method: String,
    /// The positional arguments.
    pub args: Vec<Value>,
    /// The keyword arguments; gateways send none.
    pub kwargs: Vec<(Value, Value)>,
}

/// An answer, as the gateway gets it. Its value is decoded by [`Answer::result`], so that the answer
/// to a call that nobody waits for any more costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its `id` is the request's.
    pub header: Header,
    /// Whether `body` is an error.
    pub is_error: bool,
    /// The result or the error, as msgpack.
    pub body: Bytes,
}

/// Why frames are no call or no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// A message of so many frames.
    #[error("a message of {0} frames")]
    Frames(usize),
    /// A header of so many bytes.
    #[error("a header of {0} bytes")]
    Header(usize),
    /// The method's name is too long or not UTF-8.
    #[error("the method's name is not text")]
    Method,
    /// Arguments that are no array, keyword arguments that are no map, or an error that is not
    /// `[type, [args], repr]`.
    #[error("a value of another shape than expected")]
    Shape,
    /// A value that is not msgpack, or that we refuse.
    #[error(transparent)]
    Value(#[from] ValueError),
}

// === impl Header ===

impl Header {
    /// The header of a request.
    pub fn to_bytes(&self) -> [u8; REQUEST_HEADER] {
        let fields = u128::from(self.pid)
            | u128::from(self.random) << 16
            | u128::from(self.id) << 32
            | u128::from(self.time.to_bits()) << 64;
        fields.to_le_bytes()
    }

    /// Reads the first 16 bytes of a header.
    pub fn parse(bytes: &[u8]) -> Result<Header, RpcError> {
        let fields = bytes.first_chunk::<REQUEST_HEADER>().ok_or(RpcError::Header(bytes.len()))?;
        let fields = u128::from_le_bytes(*fields);
        Ok(Header {
            pid: fields as u16,
            random: (fields >> 16) as u16,
            id: (fields >> 32) as u32,
            time: f64::from_bits((fields >> 64) as u64),
        })
    }
}

// === impl Request ===

impl Request {
    /// The frames of a call without keyword arguments.
    pub fn frames(header: &Header, method: &str, args: Vec<Value>) -> [Vec<u8>; 4] {
        let args = value::encode(&Value::Array(args));
        [header.to_bytes().to_vec(), method.as_bytes().to_vec(), args, vec![0x80]]
    }

    /// Reads the frames of a call.
    ///
    /// # Errors
    /// It is none, or holds what we refuse; [`Header::parse`] of the first frame may still tell whom
    /// to answer so.
    pub fn parse(frames: &[Bytes]) -> Result<Request, RpcError> {
        let [header, method, args, kwargs] = frames else { return Err(RpcError::Frames(frames.len())) };
        if header.len() != REQUEST_HEADER {
            return Err(RpcError::Header(header.len()));
        }
        let method = Some(method).filter(|name| name.len() <= METHOD_MAX).ok_or(RpcError::Method)?;
        Ok(Request {
            header: Header::parse(header)?,
            method: std::str::from_utf8(method).map_err(|_| RpcError::Method)?.to_owned(),
            args: array(value::decode(args, MOST_VALUES)?)?,
            kwargs: map(value::decode(kwargs, MOST_VALUES)?)?,
        })
    }
}

// === impl Answer ===

impl Answer {
    /// The frames of an answer; `header.id` is the request's.
    pub fn frames(header: &Header, result: Result<&Value, &RemoteError>) -> [Vec<u8>; 2] {
        let mut start = header.to_bytes().to_vec();
        start.push(result.is_err().into());
        let body = match result {
            Ok(value) => value::encode(value),
            Err(error) => value::encode(&error.to_value()),
        };
        [start, body]
    }

    /// Reads the frames of an answer.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(frames: &[Bytes]) -> Result<Answer, RpcError> {
        let [header, body] = frames else { return Err(RpcError::Frames(frames.len())) };
        let is_error = match (header.len(), header.last()) {
            (ANSWER_HEADER, Some(flag)) => *flag != 0,
            (len, _) => return Err(RpcError::Header(len)),
        };
        Ok(Answer { header: Header::parse(header)?, is_error, body: body.clone() })
    }

    /// What the call gave: its result, or the exception that the agent raised.
    ///
    /// # Errors
    /// The value is not msgpack, is refused, or is no error although the header says so.
    pub fn result(&self) -> Result<Result<Value, RemoteError>, RpcError> {
        let value = value::decode(&self.body, MOST_VALUES)?;
        if self.is_error { RemoteError::from_value(value).map(Err) } else { Ok(Ok(value)) }
    }
}

fn array(value: Value) -> Result<Vec<Value>, RpcError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(RpcError::Shape),
    }
}

fn map(value: Value) -> Result<Vec<(Value, Value)>, RpcError> {
    match value {
        Value::Map(pairs) => Ok(pairs),
        _ => Err(RpcError::Shape),
    }
}

#[cfg(test)]
mod tests;
