//! Uploads: any number of files in one request, which are all there at its end, or none.

use std::rc::Rc;

use bytes::BytesMut;
use uuid::Uuid;

use super::{
    Error, FolderPath, Folders, Limit, Permission,
    aside::{Aside, to_the_end},
    fs::{Folder, FsError, Incoming, Staged, Usage},
};
use crate::{
    engine,
    store::postgres::vfolders::{self, Moment, Quota},
};

/// Most files of one upload.
pub const MAX_UPLOAD_FILES: usize = 1000;

/// How many bytes are collected before a thread is asked to write them.
const BUFFER: usize = 256 << 10;

/// One request's files. Dropping it leaves nothing.
pub struct Upload {
    folders: Rc<Folders>,
    id: Uuid,
    files: Folder,
    quota: Quota,
    planned: Usage,
    staged: Aside<Vec<Staged>>,
}

/// A file of an upload while it arrives. Dropping it leaves nothing.
pub struct FileUpload {
    incoming: Aside<Incoming>,
    buffer: BytesMut,
    /// What the files before it add to the folder.
    planned: Usage,
    quota: Quota,
}

// === impl Folders ===

impl Folders {
    /// Begins an upload into a folder.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotPermitted`].
    pub async fn upload(self: &Rc<Self>, key: &str, name: &str) -> Result<Upload, Error> {
        let (id, files) = self.open(key, name, Permission::ReadWrite).await?;
        let quota = vfolders::quota(&self.postgres, id).await?.ok_or(Error::NotFound)?;
        let (planned, staged) = (Usage::default(), Aside::new(Vec::new()));
        Ok(Upload { folders: self.clone(), id, files, quota, planned, staged })
    }
}

// === impl Upload ===

impl Upload {
    /// Begins the next file.
    ///
    /// # Errors
    /// A directory is at its place, the place is outside, or there are too many files.
    pub async fn begin(&self, path: FolderPath) -> Result<FileUpload, Error> {
        if self.staged.get().len() >= MAX_UPLOAD_FILES {
            return Err(Error::TooManyFiles(MAX_UPLOAD_FILES));
        }
        let files = self.files.clone();
        let incoming = engine::offload(move || files.begin_upload(path)).await?;
        let file = FileUpload {
            incoming: Aside::new(incoming),
            buffer: BytesMut::new(),
            planned: self.planned,
            quota: self.quota,
        };
        file.check_quota()?;
        Ok(file)
    }

    /// The file has all its bytes.
    ///
    /// # Errors
    /// The folder may not hold it, or the volume fails.
    pub async fn finish(&mut self, file: FileUpload) -> Result<(), Error> {
        let file = file.flush().await?;
        let incoming = file.incoming.into_inner();
        self.planned = self.planned.plus(incoming.change());
        let staged = engine::offload(move || incoming.finish()).await?;
        self.staged.get_mut().push(staged);
        Ok(())
    }

    /// Puts all files where they belong; how many they are. Goes on to its end if the future is dropped.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`], or of a path: then none is there.
    pub async fn commit(self) -> Result<usize, Error> {
        let staged = self.staged.into_inner();
        let count = staged.len();
        let work = Commit { folders: self.folders, id: self.id };
        to_the_end(async move { work.run(staged).await.map(|()| count) }).await
    }
}

// === impl FileUpload ===

impl FileUpload {
    /// Takes the next bytes. They are on their way to the disk when the buffer is full.
    ///
    /// # Errors
    /// The folder may not hold as much, or the volume fails: then the file is gone.
    pub async fn write(mut self, bytes: &[u8]) -> Result<FileUpload, Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush().await } else { Ok(self) }
    }

    async fn flush(self) -> Result<FileUpload, Error> {
        let (mut incoming, bytes) = (self.incoming.into_inner(), self.buffer);
        let incoming = engine::offload(move || incoming.write(&bytes).map(|()| incoming)).await?;
        let file = FileUpload { incoming: Aside::new(incoming), buffer: BytesMut::new(), ..self };
        file.check_quota()?;
        Ok(file)
    }

    /// Ends early what could not be counted in the end. That decides, this only saves the disk.
    fn check_quota(&self) -> Result<(), Error> {
        let planned = self.planned.plus(self.incoming.get().change());
        let over = |plus: i64, now: i64, most: Option<i64>| plus > 0 && most.is_some_and(|most| now + plus > most);
        if over(planned.files, self.quota.num_files, self.quota.max_files) {
            return Err(Error::QuotaExceeded(Limit::Files));
        }
        if over(planned.kib, self.quota.cur_size, self.quota.max_size) {
            return Err(Error::QuotaExceeded(Limit::Size));
        }
        Ok(())
    }
}

/// The end of an upload. All files are counted in full, then placed, then what they replaced is counted off. In a
/// folder that cannot hold both, what is to be replaced goes first: only then is there a moment without either.
struct Commit {
    folders: Rc<Folders>,
    id: Uuid,
}

// === impl Commit ===

impl Commit {
    async fn run(self, staged: Vec<Staged>) -> Result<(), Error> {
        let total = staged.iter().fold(Usage::default(), |sum, it| sum.plus(it.usage()));
        let (staged, counted) = match self.folders.count(self.id, total, Moment::Begin).await {
            Ok(()) => (staged, Ok(total)),
            Err(Error::QuotaExceeded(_)) => self.count_with_room(staged, total).await?,
            Err(error) => return Err(error),
        };
        let (so_far, refused) = match counted {
            Ok(counted) => (counted, None),
            Err(error) => (Usage::default(), Some(error)),
        };
        let place_them = refused.is_none();
        let (gone, problem) = engine::offload(move || place_or_take_back(staged, place_them)).await;
        self.folders.end_change(self.id, so_far.plus(gone).minus(total)).await;
        refused.or(problem.map(Error::Files)).map_or(Ok(()), Err)
    }

    /// Makes room and counts what does not fit into it.
    async fn count_with_room(
        &self,
        staged: Vec<Staged>,
        total: Usage,
    ) -> Result<(Vec<Staged>, Result<Usage, Error>), Error> {
        self.folders.count(self.id, Usage::default(), Moment::Begin).await?;
        let (staged, room) = engine::offload(move || make_room(staged)).await;
        let needed = match room {
            Ok(room) => total.minus(room).at_least_none(),
            Err(error) => return Ok((staged, Err(error.into()))),
        };
        let counted = self.folders.count(self.id, needed, Moment::Middle).await;
        Ok((staged, counted.map(|()| needed)))
    }
}

fn make_room(mut staged: Vec<Staged>) -> (Vec<Staged>, Result<Usage, FsError>) {
    let sum = |sum: Usage, it: &mut Staged| it.make_room().map(|room| sum.plus(room));
    let room = staged.iter_mut().try_fold(Usage::default(), sum);
    (staged, room)
}

/// Places all files, or, if that is not wanted or one cannot be placed, takes all back. What is gone of all that is
/// or was to be counted: what was replaced, or the files themselves.
fn place_or_take_back(mut staged: Vec<Staged>, place: bool) -> (Usage, Option<FsError>) {
    let problem = if place { staged.iter_mut().find_map(|it| it.place().err()) } else { None };
    if problem.is_some() || !place {
        staged.iter_mut().rev().for_each(Staged::take_back);
    }
    let gone = staged.into_iter().fold(Usage::default(), |sum, it| sum.plus(it.end()));
    (gone, problem)
}
