//! What agent and runner tell each other: a 4-byte big-endian length and JSON, over a Unix socket.
//!
//! The Python runner has its own side of it; the shell's ([`crate::shell`]) uses this one.
//!
//! User code lives in the runner's process and could write frames of its own: nothing that comes from
//! there is believed further than the kernel itself.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::console::Record;

/// Longest frame from a runner, in bytes: rich output of 8 Mi characters, escaped.
const FRAME_LIMIT: u32 = 64 << 20;

/// A frame to the runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum ToRunner {
    /// Run code.
    Query {
        /// The run.
        run: String,
        /// The code.
        code: String,
    },
    /// Run a command of a batch.
    Step {
        /// The run.
        run: String,
        /// `clean`, `build` or `exec`.
        step: String,
        /// The command.
        command: String,
    },
    /// A line of input.
    Input {
        /// The line, without its end.
        d: String,
    },
    /// Complete a word.
    Complete {
        /// Comes back with the answer.
        id: u64,
        /// The code up to the cursor.
        text: String,
        /// `line`, `row`, `col`, `post`.
        options: serde_json::Value,
    },
    /// Press Ctrl-C: for kernels with a terminal, where the terminal knows whom that is for.
    Interrupt,
}

/// A frame from the runner.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum FromRunner {
    /// The first frame of a connection.
    Hello {
        /// The run that is going on.
        run: Option<String>,
        /// `idle`, `running`, `waiting` or `ending`.
        state: String,
        /// While waiting: whether for a password.
        password: bool,
        /// The ports of the terminal, if there is one: what is typed goes to the first, what is
        /// shown comes from the second.
        #[serde(default)]
        ports: Option<[u16; 2]>,
    },
    /// Console output.
    Out {
        /// The record's kind.
        k: String,
        /// Its data.
        d: Data,
    },
    /// The run waits for input.
    Waiting {
        /// The run.
        run: Option<String>,
        /// Whether for a password.
        password: bool,
    },
    /// An interrupt ended the wait for input; the code may have caught it and go on.
    Running {
        /// The run.
        run: Option<String>,
    },
    /// A query or step is done.
    Done {
        /// The run.
        run: String,
        /// The exit code.
        exit: Option<i64>,
    },
    /// Completions.
    Completions {
        /// Of which request.
        id: u64,
        /// The words.
        d: Vec<String>,
    },
    /// Somebody uses the terminal, or a program runs in it.
    Active,
}

/// The data of an output record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Data {
    /// A text.
    Text(String),
    /// MIME type and data.
    Media(String, String),
}

// === impl Data ===

impl Data {
    /// As a console record of this kind.
    pub fn into_record(self, kind: String) -> Record {
        match self {
            Data::Text(text) => Record { kind, text, mime: None },
            Data::Media(mime, text) => Record { kind, text, mime: Some(mime) },
        }
    }
}

/// The bytes of a frame.
pub fn encode(frame: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_vec(frame).unwrap_or_default();
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads a frame.
///
/// # Errors
/// The connection ended, or what came is no frame.
pub async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let size = stream.read_u32().await?;
    if size > FRAME_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
    }
    let mut body = Vec::new();
    stream.take(u64::from(size)).read_to_end(&mut body).await?;
    if body.len() != size as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&body)?)
}
