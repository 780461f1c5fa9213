//! Virtual folders: files that outlive sessions, and that sessions and the API share.
//!
//! [`Folders`] has one method for each thing that the API does; it knows no HTTP. Rows are in PostgreSQL, files on
//! volumes that an operator mounted below one place. All work on files is done by [`fs`] and off the worker's thread
//! ([`engine::offload`](crate::engine::offload)), in pieces, so that neither a slow disk nor a large file or tree
//! holds up other requests.
//!
//! What always holds: no path leads outside of its folder; a folder has at most as many files and KiB as it may, also
//! when several workers write at once (what is uploaded is counted before it takes its place); an upload is there
//! with all its files or not at all. A process that is killed may leave a folder's counts too high or temporary files
//! behind; [`Folders::tidy`] mends both.

mod aside;
mod download;
mod error;
mod folders;
pub mod fs;
mod names;
mod path;
mod remove;
mod sharing;
#[cfg(test)]
mod tests;
mod tidy;
mod upload;
mod volumes;

pub use download::{Download, MAX_DOWNLOAD_FILES, PIECE, Source};
pub use error::{Error, Limit};
pub use folders::{Folders, Info};
pub use names::{BadName, BadPermission, FolderName, Permission};
pub use path::{BadPath, FolderPath, PART_MAX, PATH_MAX};
pub use upload::{FileUpload, MAX_UPLOAD_FILES, Upload};
pub use volumes::Volumes;

pub use crate::store::postgres::{vfolder_sharing::Invitation, vfolders::Accessible};
