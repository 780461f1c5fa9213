//! `POST /kernel/{id}/upload`: files for the kernel, one after the other.
//!
//! No more than one file is in memory at a time: the next one is read once the agent has the last.

use http::StatusCode;

use super::{Call, parts::Parts, translate::to_problem};
use crate::{
    http::{Answer, Kind, Problem, multipart::PartHead},
    registry::{Error, WorkPath},
};

/// Most files of a request.
const FILES: usize = 20;
/// Largest file, in bytes.
const FILE_BYTES: usize = 1 << 20;
/// Largest body: that many files with their heads.
const BODY_BYTES: u64 = (FILES * (FILE_BYTES + (16 << 10))) as u64;

/// Takes the files and gives each to the agent. What came before a file that is refused stays.
///
/// # Errors
/// 400: it is no multipart body, has too many files, one too large, a name that leads out, or one in a folder that may
/// only be read. The agent fails.
pub async fn upload(mut call: Call) -> Result<Answer, Problem> {
    let mut parts = Parts::of(&mut call, BODY_BYTES)?;
    take(&call, &mut parts).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

async fn take(call: &Call, parts: &mut Parts) -> Result<(), Problem> {
    let mut files = 0;
    while let Some(head) = parts.next().await? {
        let path = file_path(&head)?;
        files += 1;
        if files > FILES {
            return Err(Kind::InvalidApiParams.because(format!("more than {FILES} files")));
        }
        let content = content(parts, &path).await?;
        let uploaded = call.api.registry.upload(call.session()?, &path, content).await;
        uploaded.map_err(|error| match error {
            Error::Agent(_, fault) if fault.is_read_only() => {
                Kind::InvalidApiParams.because(format!("{path} is in a folder that may only be read"))
            }
            error => to_problem(error),
        })?;
    }
    match files {
        0 => Err(Kind::InvalidApiParams.because("the body has no files")),
        _ => Ok(()),
    }
}

/// The bytes of the file that has begun.
async fn content(parts: &mut Parts, path: &WorkPath) -> Result<Vec<u8>, Problem> {
    let mut content = Vec::new();
    while let Some(bytes) = parts.data().await? {
        if content.len() + bytes.len() > FILE_BYTES {
            return Err(Kind::InvalidApiParams.because(format!("{path} is larger than {FILE_BYTES} bytes")));
        }
        content.extend_from_slice(&bytes);
    }
    Ok(content)
}

fn file_path(head: &PartHead) -> Result<WorkPath, Problem> {
    let name = head.disposition.filename.as_deref();
    let name = name.ok_or_else(|| Kind::InvalidApiParams.because("a part has no file name"))?;
    let name = std::str::from_utf8(name).map_err(|_| Kind::InvalidApiParams.because("a file name is not UTF-8"))?;
    WorkPath::of_file(name).map_err(|why| Kind::InvalidApiParams.because(format!("a file name {why}")))
}
