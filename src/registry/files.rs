//! A kernel's files and log: calls that the agent answers from what it has.

use std::time::Duration;

use rmpv::Value;

use super::{AgentOp, Error, Registry, Session, WorkPath, time_limits};
use crate::{agents::CallError, wire::value};

/// A folder of a kernel, as its agent lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// A JSON text: a list of `{mode, size, ctime, mtime, atime, filename}`.
    pub files: String,
    /// What could not be listed.
    pub errors: String,
    /// The folder's path as the kernel has it.
    pub folder: String,
}

impl Registry {
    /// Interrupts what runs in a session, as Ctrl-C would.
    ///
    /// # Errors
    /// The agent fails.
    pub async fn interrupt(&self, session: &Session) -> Result<(), Error> {
        self.ask(session, "interrupt_kernel", vec![], time_limits::INTERRUPT).await.map(drop)
    }

    /// What the kernel logged.
    ///
    /// # Errors
    /// The agent fails, or is of release 1.0.
    pub async fn logs(&self, session: &Session) -> Result<String, Error> {
        let answer = self.ask(session, "get_logs", vec![], time_limits::LOGS).await?;
        text(&answer, "logs").ok_or_else(|| malformed("get_logs answered no logs"))
    }

    /// Puts a file into the kernel's folder.
    ///
    /// # Errors
    /// The agent fails.
    pub async fn upload(&self, session: &Session, path: &WorkPath, content: Vec<u8>) -> Result<(), Error> {
        let args = vec![path.as_str().into(), Value::Binary(content)];
        self.ask(session, "upload_file", args, time_limits::UPLOAD).await.map(drop)
    }

    /// A file or folder of the kernel as a tar archive.
    ///
    /// # Errors
    /// The agent fails, or is older than release 1.4.
    pub async fn download(&self, session: &Session, path: &WorkPath) -> Result<Vec<u8>, Error> {
        match self.ask(session, "download_file", vec![path.as_str().into()], time_limits::FILES).await? {
            Value::Binary(archive) => Ok(archive),
            _ => Err(malformed("download_file answered no bytes")),
        }
    }

    /// A folder of the kernel.
    ///
    /// # Errors
    /// The agent fails, or is older than release 1.4.
    pub async fn files(&self, session: &Session, path: &WorkPath) -> Result<Listing, Error> {
        let answer = self.ask(session, "list_files", vec![path.as_str().into()], time_limits::FILES).await?;
        listing(&answer).ok_or_else(|| malformed("list_files answered no files"))
    }

    /// Calls a method about a session's kernel, whose id is the first argument of each.
    async fn ask(&self, session: &Session, method: &str, rest: Vec<Value>, limit: Duration) -> Result<Value, Error> {
        let mut args = vec![Value::from(session.id.to_string())];
        args.extend(rest);
        let answer = self.agents.call(&session.agent_addr, method, args, limit).await;
        answer.map_err(|error| Error::Agent(AgentOp::Execute, error))
    }
}

fn malformed(why: &str) -> Error {
    Error::Agent(AgentOp::Execute, CallError::Malformed(why.to_owned()))
}

fn listing(answer: &Value) -> Option<Listing> {
    let errors = text(answer, "errors").unwrap_or_default();
    Some(Listing { files: text(answer, "files")?, errors, folder: text(answer, "abspath").unwrap_or_default() })
}

/// A member that is text; kernels' logs come as bytes too, of no certain encoding.
fn text(answer: &Value, name: &str) -> Option<String> {
    match value::get(answer, name)? {
        Value::String(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        Value::Binary(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_needs_its_files() {
        let map = |pairs: &[(&str, &str)]| Value::Map(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
        let found = listing(&map(&[("files", "[]"), ("errors", "e"), ("abspath", "/home/work")]));
        assert_eq!(found, Some(Listing { files: "[]".into(), errors: "e".into(), folder: "/home/work".into() }));
        assert_eq!(listing(&map(&[("errors", "e")])), None);
        assert_eq!(listing(&Value::Nil), None);
    }

    #[test]
    fn logs_may_be_bytes() {
        let answer = Value::Map(vec![("logs".into(), Value::Binary(b"a\xff".to_vec()))]);
        assert_eq!(text(&answer, "logs").unwrap(), "a\u{fffd}");
    }
}
