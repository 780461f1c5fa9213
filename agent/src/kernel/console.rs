//! What a kernel wrote and nobody has fetched yet: bounded, in order, given out in pieces.

use std::collections::VecDeque;

use rmpv::Value;

/// Most bytes of console in one answer; a single larger record still goes out whole.
pub const ANSWER_LIMIT: usize = 1 << 20;
/// From so many unread bytes on, the runner is no longer read, and so whoever prints waits.
pub const UNREAD_LIMIT: usize = 2 << 20;
/// Bytes of text kept for `get_logs`.
const LOG_LIMIT: usize = 256 << 10;

/// A record of the console.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `stdout`, `stderr`, `html`, `media` or `log`.
    pub kind: String,
    /// A text.
    pub text: String,
    /// For `media`: the MIME type.
    pub mime: Option<String>,
}

/// Unread records.
#[derive(Debug, Default)]
pub struct Console {
    records: VecDeque<Record>,
    bytes: usize,
}

/// The last text of a kernel, whoever read it.
#[derive(Debug, Default)]
pub struct Log {
    pieces: VecDeque<String>,
    bytes: usize,
}

// === impl Record ===

impl Record {
    /// As `[kind, data]`, where the data of media is `[mime, data]`.
    pub fn into_value(self) -> Value {
        let data = match self.mime {
            Some(mime) => Value::Array(vec![mime.into(), self.text.into()]),
            None => self.text.into(),
        };
        Value::Array(vec![self.kind.into(), data])
    }

    fn is_stream(&self) -> bool {
        matches!(self.kind.as_str(), "stdout" | "stderr")
    }

    fn size(&self) -> usize {
        self.text.len() + self.mime.as_ref().map_or(0, String::len)
    }
}

// === impl Console ===

impl Console {
    /// Appends a record; text joins text of the same stream before it.
    pub fn push(&mut self, record: Record) {
        self.bytes += record.size();
        match self.records.back_mut() {
            Some(last) if joins(last, &record) => last.text.push_str(&record.text),
            _ => self.records.push_back(record),
        }
    }

    /// Takes records from the front, at least one if there is any, up to [`ANSWER_LIMIT`] bytes.
    pub fn take(&mut self) -> Vec<Record> {
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some(next) = self.records.front().map(Record::size) {
            if !taken.is_empty() && size + next > ANSWER_LIMIT {
                break;
            }
            size += next;
            taken.extend(self.records.pop_front());
        }
        self.bytes -= size;
        taken
    }

    /// Unread bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn joins(last: &Record, next: &Record) -> bool {
    last.kind == next.kind && last.is_stream() && last.text.len() + next.text.len() <= ANSWER_LIMIT
}

// === impl Log ===

impl Log {
    /// Remembers a record's text.
    pub fn push(&mut self, record: &Record) {
        if record.is_stream() {
            self.bytes += record.text.len();
            self.pieces.push_back(record.text.clone());
        }
        while self.bytes > LOG_LIMIT && self.pieces.len() > 1 {
            self.bytes -= self.pieces.pop_front().map_or(0, |piece| piece.len());
        }
    }

    /// All that is remembered.
    pub fn text(&self) -> String {
        self.pieces.iter().map(String::as_str).collect()
    }
}
