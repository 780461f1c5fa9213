//! multipart/form-data, read piece by piece, and multipart/mixed, written piece by piece (RFC 2046, RFC 7578).
//!
//! Neither does I/O and neither holds more than a part's head: a file of any length passes through in the pieces
//! that the connection gives. What is read is hostile, so that heads are bounded and anything odd is an error.

mod boundary;
mod disposition;
mod reader;
mod writer;

pub use boundary::{BadBoundary, Boundary};
pub use disposition::{Disposition, attachment};
pub use reader::{Event, Malformed, PartHead, Reader};
pub use writer::MixedWriter;
