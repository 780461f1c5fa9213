//! HTTP/1.1: framing, limits, time-outs, problem documents.
//!
//! hyper does the framing. This module adds what the contract asks for and hyper leaves open: a problem
//! document where hyper would answer with bare status lines ([`guard`]), limits on bodies in size and time
//! ([`request`]), request ids, refusals that reach a client which is still sending ([`unread`]), connections
//! that cost little while they wait ([`connection`]), and draining without a broken request ([`server`]).

mod answer;
mod body;
mod connection;
mod drain;
mod forwarded;
mod guard;
pub mod gzip;
pub mod multipart;
pub mod problem;
mod request;
mod request_id;
mod server;
mod tls;
mod unread;

pub use answer::Answer;
pub use body::{AnswerBody, Chunks, RequestBody, chunks};
pub use drain::Drain;
pub use forwarded::client_address;
pub use guard::CommonHeaders;
pub use problem::{Kind, Problem};
pub use request::Request;
pub use request_id::RequestId;
pub use server::{Limits, Served, Service, Serving, panicked, serve};
pub use tls::{Tls, TlsError};

#[cfg(test)]
mod tests;
