//! Files of kernels. The work is done on other threads: disks may be slow.

use std::rc::Rc;

use rmpv::Value;
use tokio::task::spawn_blocking;

use super::{
    call::{Call, text_of},
    joined,
};
use crate::{
    agent::Agent,
    exception::{self, Answer, Exception},
    kernel::{files::WorkFolder, mounts},
};

/// Does something with a path of a kernel: in its work folder, or in the virtual folder that the path begins with. A
/// kernel that is not here has no files.
async fn on_path<F>(agent: &Agent, id: &Value, path: String, work_on: F) -> Answer
where
    F: FnOnce(&WorkFolder, &str) -> Result<Value, Exception> + Send + 'static,
{
    let kernel = agent.kernel(&text_of(id)).ok_or_else(|| exception::errno(nix::errno::Errno::ENOENT))?;
    let (work, all) = (kernel.scratch.work(), kernel.mounts.clone());
    let work_on = move || {
        let place = mounts::place(&all, &path);
        let folder = match place.mount {
            Some(mount) => WorkFolder::open_mount(&work, mount)?,
            None => WorkFolder::open(&work)?,
        };
        work_on(&folder, &place.below.to_string_lossy())
    };
    joined(spawn_blocking(work_on).await)
}

pub(super) async fn upload(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, name, content] = call.bind(["kernel_id", "filename", "filedata"], 3)?;
    let content = match content {
        Value::Binary(bytes) => bytes.clone(),
        other => text_of(other).into_bytes(),
    };
    let write = move |folder: &WorkFolder, name: &str| folder.upload(name, &content).map(|()| Value::Nil);
    on_path(agent, id, text_of(name), write).await
}

pub(super) async fn download(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, path] = call.bind(["kernel_id", "filepath"], 2)?;
    on_path(agent, id, text_of(path), |folder, path| folder.archive(path).map(Value::Binary)).await
}

pub(super) async fn list(agent: &Rc<Agent>, call: &Call) -> Answer {
    let [id, path] = call.bind(["kernel_id", "path"], 1)?;
    let path = text_of(path);
    let path = if path.is_empty() { ".".to_owned() } else { path };
    let list = |folder: &WorkFolder, path: &str| {
        let (files, absolute) = folder.list(path)?;
        let pairs = [("files", files), ("errors", String::new()), ("abspath", absolute)];
        Ok(Value::Map(pairs.map(|(key, value)| (key.into(), value.into())).into()))
    };
    on_path(agent, id, path, list).await
}
