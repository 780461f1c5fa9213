//! Files of kernels. The work is done on other threads: disks may be slow.

use std::{path::PathBuf, rc::Rc};

use rmpv::Value;
use tokio::task::spawn_blocking;

use super::{
    call::{Call, text_of},
    joined,
};
use crate::{
    agent::Agent,
    exception::{self, Answer, Exception},
    kernel::files::WorkFolder,
};

/// The work folder of a kernel. A kernel that is not here has no files.
fn work(agent: &Agent, id: &Value) -> Result<PathBuf, Exception> {
    let kernel = agent.kernel(&text_of(id)).ok_or_else(|| exception::errno(nix::errno::Errno::ENOENT))?;
    Ok(kernel.scratch.work())
}

pub(super) async fn upload(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, name, content] = call.bind(["kernel_id", "filename", "filedata"], 3)?;
    let (work, name) = (work(agent, id)?, text_of(name));
    let content = match content {
        Value::Binary(bytes) => bytes.clone(),
        other => text_of(other).into_bytes(),
    };
    let write = move || WorkFolder::open(&work)?.upload(&name, &content).map(|()| Value::Nil);
    joined(spawn_blocking(write).await)
}

pub(super) async fn download(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, path] = call.bind(["kernel_id", "filepath"], 2)?;
    let (work, path) = (work(agent, id)?, text_of(path));
    joined(spawn_blocking(move || WorkFolder::open(&work)?.archive(&path).map(Value::Binary)).await)
}

pub(super) async fn list(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, path] = call.bind(["kernel_id", "path"], 1)?;
    let (work, path) = (work(agent, id)?, text_of(path));
    let path = if path.is_empty() { ".".to_owned() } else { path };
    let list = move || {
        let (files, absolute) = WorkFolder::open(&work)?.list(&path)?;
        let pairs = [("files", files), ("errors", String::new()), ("abspath", absolute)];
        Ok(Value::Map(pairs.map(|(key, value)| (key.into(), value.into())).into()))
    };
    joined(spawn_blocking(list).await)
}
