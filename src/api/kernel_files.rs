//! `/kernel/{id}/files`, `/upload`, `/download`: the kernel's files.

use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::{Call, query, translate::to_problem};
use crate::{
    engine,
    http::{
        Answer, Chunks, Kind, Problem, chunks,
        multipart::{Boundary, MixedWriter, attachment},
    },
    registry::{Registry, Session, WorkPath},
};

/// Most paths of a download.
const PATHS: usize = 5;
/// Bytes of an archive that are given to the client's connection at once.
const PIECE: usize = 64 << 10;

/// `GET /kernel/{id}/files`: what is in a folder of the kernel.
///
/// # Errors
/// 400: the path leads out. The agent fails, or is too old.
pub async fn list(call: Call) -> Result<Answer, Problem> {
    let mut named = parameters(&call, "path")?;
    let path = named.pop().filter(|path| !path.is_empty());
    let path = work_path("path", path.as_deref().unwrap_or("."))?;
    let listing = call.api.registry.files(call.session()?, &path).await.map_err(to_problem)?;
    let document = json!({
        "files": listing.files,
        "errors": listing.errors,
        "folder_path": listing.folder,
        // Clients from 1.4 on read it under this name.
        "abspath": listing.folder,
    });
    Ok(Answer::json(StatusCode::OK, &document))
}

/// `GET /kernel/{id}/download`: files and folders of the kernel, each as a tar archive in a part of its own.
///
/// The first one is fetched before anything is answered, so that what is wrong with it can be told; where a later
/// one fails, the answer breaks off. The next one is fetched when the client has taken the last, but for what hyper
/// and the system buffer: no more than one is in memory at a time, and, for a moment, what it is decoded from.
///
/// # Errors
/// 400: no path, too many, or one that leads out. The agent fails with the first, or is too old.
pub async fn download(call: Call) -> Result<Answer, Problem> {
    let named = parameters(&call, "files")?;
    if !(1..=PATHS).contains(&named.len()) {
        return Err(Kind::InvalidApiParams.because(format!("files names not 1 to {PATHS} paths")));
    }
    let paths = named.iter().map(|path| work_path("files", path)).collect::<Result<Vec<_>, _>>()?;
    let Some((first, rest)) = paths.split_first() else { return Err(Kind::InvalidApiParams.into()) };
    let session = call.session()?.clone();
    let archive = call.api.registry.download(&session, first).await.map_err(to_problem)?;
    let writer = MixedWriter::new(Boundary::random(rand::random()));
    let content_type = writer.content_type();
    let (chunks, body) = chunks();
    let sending = Sending { registry: call.api.registry.clone(), session, writer, chunks };
    let (first, rest) = (first.clone(), rest.to_vec());
    engine::spawn(async move {
        // A client that is gone has nobody to be told by.
        let _ = sending.all(first, archive, rest).await;
    });
    Ok(Answer::stream(StatusCode::OK, content_type, body))
}

/// A download on its way.
struct Sending {
    registry: Rc<Registry>,
    session: Rc<Session>,
    writer: MixedWriter,
    chunks: Chunks,
}

/// The client is gone.
struct Gone;

impl Sending {
    async fn all(&self, first: WorkPath, archive: Vec<u8>, rest: Vec<WorkPath>) -> Result<(), Gone> {
        self.part(&first, archive).await?;
        for path in rest {
            match self.registry.download(&self.session, &path).await {
                Ok(archive) => self.part(&path, archive).await?,
                Err(error) => {
                    tracing::warn!(%error, session = %self.session.id, "a download is broken off");
                    let broken = std::io::Error::other("the agent failed");
                    return self.chunks.send(Err(broken)).await.map_err(|_| Gone);
                }
            }
        }
        self.send(self.writer.end()).await
    }

    async fn part(&self, path: &WorkPath, archive: Vec<u8>) -> Result<(), Gone> {
        let archive = Bytes::from(archive);
        let (name, length) = (attachment(path.as_str()), archive.len().to_string());
        // Clients of release 1.5 take what does not begin with `Content-` for the archive.
        let headers = [
            ("Content-Type", "application/x-tar"),
            ("Content-Length", length.as_str()),
            ("Content-Disposition", name.as_str()),
        ];
        self.send(self.writer.head(&headers)).await?;
        send_whole(&self.chunks, archive).await?;
        self.send(MixedWriter::PART_END).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        self.chunks.send(Ok(bytes)).await.map_err(|_| Gone)
    }
}

/// Sends bytes piece by piece, and waits until the last is taken: the memory is free then.
async fn send_whole(chunks: &Chunks, mut bytes: Bytes) -> Result<(), Gone> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        chunks.send(Ok(piece)).await.map_err(|_| Gone)?;
    }
    chunks.reserve_many(chunks.max_capacity()).await.map(drop).map_err(|_| Gone)
}

/// A parameter's values. Clients of different releases put it into the query, a JSON body, or a body that is written
/// like a query.
pub(super) fn parameters(call: &Call, name: &str) -> Result<Vec<String>, Problem> {
    let found = query::values(call.request.path_and_query().split_once('?').map_or("", |(_, query)| query), name);
    if !found.is_empty() {
        return Ok(found);
    }
    match call.body.trim_ascii() {
        [b'{', ..] => {
            let fields = call.fields()?;
            match fields.text(name) {
                Ok(text) => Ok(text.into_iter().map(str::to_owned).collect()),
                Err(_) => fields.texts(name),
            }
        }
        form => Ok(query::values(&String::from_utf8_lossy(form), name)),
    }
}

fn work_path(name: &str, text: &str) -> Result<WorkPath, Problem> {
    WorkPath::parse(text).map_err(|why| Kind::InvalidApiParams.because(format!("{name} {why}")))
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, sync::Arc};

    use http_body_util::BodyExt;

    use super::*;

    struct Archive(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl AsRef<[u8]> for Archive {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[test]
    fn an_archive_is_out_of_memory_before_the_next_is_fetched() {
        let run = || async {
            let (chunks, mut body) = chunks();
            let (held, sent) = (Arc::new(()), Rc::new(Cell::new(0)));
            let (count, done) = (held.clone(), sent.clone());
            engine::spawn(async move {
                for number in 1..=3 {
                    let archive = Bytes::from_owner(Archive(vec![number; 10 * PIECE + 1], count.clone()));
                    assert!(send_whole(&chunks, archive).await.is_ok());
                    done.set(number);
                }
            });
            // A client that reads nothing: the first goes no further than its connection's room.
            for _ in 0..100 {
                engine::yield_now().await;
            }
            assert_eq!((sent.get(), Arc::strong_count(&held)), (0, 3));
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                read += frame.unwrap().into_data().unwrap().len();
                // The task's own, this test's, and one archive's at most.
                assert!(Arc::strong_count(&held) <= 3);
            }
            assert_eq!((sent.get(), read), (3, 3 * (10 * PIECE + 1)));
        };
        engine::block_on(engine::Engine::Epoll, run).unwrap();
    }
}
