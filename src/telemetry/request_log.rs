//! One line for each request, formatted into a buffer of the worker's own and written out many at a
//! time: a call to `tracing` for each would cost a write and several allocations.
//!
//! What a line never has: a query string (tickets travel in it), a header, a signature.

use std::{
    io::{self, IsTerminal as _, Write},
    net::IpAddr,
    time::SystemTime,
};

use jiff::Timestamp;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged of a request.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRequest<'a> {
    /// When its answer was complete.
    pub at: SystemTime,
    /// Its id, which its answer has too.
    pub id: &'a str,
    /// `GET`.
    pub method: &'a str,
    /// Its path; what follows a `?` is left out.
    pub path: &'a str,
    /// The answer's status.
    pub status: u16,
    /// Time from its head to the end of its answer.
    pub micros: u64,
    /// The access key that it was signed with, once that is known to be right.
    pub access_key: Option<&'a str>,
    /// Size of the answer's body.
    pub bytes: u64,
    /// The client's address.
    pub remote: IpAddr,
}

/// The worker's buffer of lines.
#[derive(Debug)]
pub struct RequestLog {
    format: LogFormat,
    buffer: Vec<u8>,
    /// The last line's second, and how it is written: `2026-11-22T12:00:00`.
    second: (i64, [u8; 19]),
}

/// The buffer's size at which it wants to be written out.
const FULL: usize = 48 << 10;

// === impl LogFormat ===

impl LogFormat {
    /// The format of the rest of the log: text where standard error is a terminal.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json }
    }
}

// === impl RequestLog ===

impl RequestLog {
    /// An empty log.
    pub fn new(format: LogFormat) -> Self {
        RequestLog { format, buffer: Vec::with_capacity(FULL + (16 << 10)), second: (i64::MIN, [b'0'; 19]) }
    }

    /// Adds a request's line.
    pub fn record(&mut self, request: &LoggedRequest<'_>) {
        // Writing into a Vec cannot fail.
        let _ = match self.format {
            LogFormat::Text => self.text(request),
            LogFormat::Json => self.json(request),
        };
    }

    /// Whether it is time to write it out, whatever the caller's timer says.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= FULL
    }

    /// Writes all lines out, in as few writes as `to` takes.
    ///
    /// # Errors
    /// Those of `to`; the lines are lost then, so that a broken log cannot fill the memory.
    pub fn flush(&mut self, to: &mut impl Write) -> io::Result<()> {
        let result = if self.buffer.is_empty() { Ok(()) } else { to.write_all(&self.buffer) };
        self.buffer.clear();
        result
    }

    fn text(&mut self, r: &LoggedRequest<'_>) -> io::Result<()> {
        self.time(r.at)?;
        write!(self.buffer, " {} {} ", r.status, r.method)?;
        self.escaped(path(r.path));
        write!(self.buffer, " {}us {}B {}", r.micros, r.bytes, r.remote)?;
        if let Some(key) = r.access_key {
            self.buffer.extend(b" key=");
            self.escaped(key);
        }
        self.buffer.extend(b" id=");
        self.escaped(r.id);
        self.buffer.push(b'\n');
        Ok(())
    }

    fn json(&mut self, r: &LoggedRequest<'_>) -> io::Result<()> {
        self.buffer.extend(b"{\"timestamp\":\"");
        self.time(r.at)?;
        self.buffer.extend(b"\",\"level\":\"INFO\",\"message\":\"request\",\"request_id\":\"");
        self.escaped(r.id);
        self.buffer.extend(b"\",\"method\":\"");
        self.escaped(r.method);
        self.buffer.extend(b"\",\"path\":\"");
        self.escaped(path(r.path));
        write!(self.buffer, "\",\"status\":{},\"micros\":{},\"bytes\":{}", r.status, r.micros, r.bytes)?;
        if let Some(key) = r.access_key {
            self.buffer.extend(b",\"access_key\":\"");
            self.escaped(key);
            self.buffer.push(b'"');
        }
        writeln!(self.buffer, ",\"remote\":\"{}\"}}", r.remote)
    }

    /// `2026-11-22T12:00:00.123456Z`; the part up to the second is kept from line to line.
    fn time(&mut self, at: SystemTime) -> io::Result<()> {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or_default();
        if self.second.0 != second {
            let mut text = [b'0'; 19];
            write!(text.as_mut_slice(), "{:.0}", Timestamp::from_second(second).unwrap_or_default()).or_else(cut)?;
            self.second = (second, text);
        }
        self.buffer.extend(self.second.1);
        write!(self.buffer, ".{:06}Z", since.subsec_micros())
    }

    /// A text inside of quotes: no quote, backslash, space or control character of its own.
    fn escaped(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' | ..=b' ' | 0x7f => self.escape(byte),
                _ => self.buffer.push(byte),
            }
        }
    }

    fn escape(&mut self, byte: u8) {
        // As JSON has it, which people can read as well.
        let _ = write!(self.buffer, "\\u{byte:04x}");
    }
}

fn path(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// The `Z` at the end of a time does not fit into the buffer for its seconds, and is not wanted there.
fn cut(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WriteZero { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REQUEST: LoggedRequest<'_> = LoggedRequest {
        at: SystemTime::UNIX_EPOCH,
        id: "01J",
        method: "GET",
        path: "/v4/stream/kernel/a/pty?_auth=secret",
        status: 200,
        micros: 412,
        access_key: Some("AKIAIOSFODNN7EXAMPLE"),
        bytes: 17,
        remote: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    };

    fn lines(format: LogFormat, requests: &[LoggedRequest<'_>]) -> String {
        let mut log = RequestLog::new(format);
        requests.iter().for_each(|request| log.record(request));
        let mut out = Vec::new();
        log.flush(&mut out).unwrap();
        log.flush(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_of_text_has_everything_but_the_query() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042);
        assert_eq!(
            lines(LogFormat::Text, &[LoggedRequest { at, ..REQUEST }]),
            "2023-11-14T22:13:20.000042Z 200 GET /v4/stream/kernel/a/pty 412us 17B 127.0.0.1 \
             key=AKIAIOSFODNN7EXAMPLE id=01J\n"
        );
    }

    #[test]
    fn a_line_of_json_is_json_whatever_the_client_sent() {
        let hostile = LoggedRequest { path: "/a\"b\\c\n{}", access_key: None, id: "x\ty", ..REQUEST };
        let text = lines(LogFormat::Json, &[REQUEST, hostile]);
        let values: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(values.len(), 2);
        assert_eq!(values[0]["access_key"], "AKIAIOSFODNN7EXAMPLE");
        assert_eq!((&values[0]["status"], &values[0]["path"]), (&200.into(), &"/v4/stream/kernel/a/pty".into()));
        assert_eq!((values[1]["path"].as_str(), values[1].get("access_key")), (Some("/a\"b\\c\n{}"), None));
        assert_eq!(values[0]["timestamp"], "1970-01-01T00:00:00.000000Z");
        assert!(!text.contains("secret"));
    }

    #[test]
    fn the_buffer_keeps_its_memory_and_says_when_it_is_full() {
        let mut log = RequestLog::new(LogFormat::Json);
        let memory = log.buffer.as_ptr();
        while !log.is_full() {
            log.record(&REQUEST);
        }
        assert!(log.flush(&mut io::sink()).is_ok() && !log.is_full());
        assert_eq!(log.buffer.as_ptr(), memory);
    }
}
