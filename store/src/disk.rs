//! Objects in folders.
//!
//! A write goes to a hidden temporary file in the same folder and is moved into place, so that a reader sees the old
//! object or the new one. Conditional writes hold a lock on the folder while they look and move; `IfAbsent` is a hard
//! link, which the file system itself refuses when the name exists.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::{Condition, Error, Object, ObjectInfo, PutOutcome, Result};

/// Runs blocking file work away from the async threads.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| Error::io(what, &error)),
        Err(_) => Err(Error::task(what)),
    }
}

fn optional<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every write makes a new inode, so inode, length and time together change with each.
fn info_of(metadata: &fs::Metadata) -> io::Result<ObjectInfo> {
    if metadata.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(ObjectInfo {
        len: metadata.len(),
        etag: format!("{:x}-{:x}-{:x}.{:x}", metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()),
        modified: metadata.modified().ok(),
        ..ObjectInfo::default()
    })
}

pub(crate) async fn head(path: PathBuf) -> Result<Option<ObjectInfo>> {
    optional(blocking("looking for a file", move || info_of(&fs::metadata(path)?)).await)
}

pub(crate) async fn get(path: PathBuf) -> Result<Option<Object>> {
    let read = move || {
        // One handle for both, so that the ETag belongs to these bytes even if the name is replaced meanwhile.
        let mut file = File::open(path)?;
        let info = info_of(&file.metadata()?)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Object { bytes: bytes.into(), info })
    };
    optional(blocking("reading a file", read).await)
}

pub(crate) async fn get_range(path: PathBuf, range: Range<u64>) -> Result<Bytes> {
    let read = move || {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        if range.start > range.end || range.end > len {
            let message = format!("bytes {}..{} of a file of {len} bytes", range.start, range.end);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    };
    blocking("reading a range of a file", read).await
}

pub(crate) async fn put(path: PathBuf, bytes: Bytes, condition: Condition) -> Result<PutOutcome> {
    let write = move || {
        let mut draft = Draft::new(&path)?;
        draft.file.write_all(&bytes)?;
        draft.commit(&condition)
    };
    blocking("writing a file", write).await
}

/// A file that is not in its place yet; removed when dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) file: File,
    temporary: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

impl Draft {
    pub(crate) fn new(target: &Path) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&folder)?;
        loop {
            // The name must not contain the target's: with an ending it could pass the limit of a file name.
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(format!(".raki-{}-{count}.part", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(Self { file, temporary, target: target.to_owned(), folder }),
                // Left behind by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves the file into its place if the condition holds.
    pub(crate) fn commit(self, condition: &Condition) -> io::Result<PutOutcome> {
        self.file.sync_data()?;
        let info = info_of(&self.file.metadata()?)?;
        let folder = File::open(&self.folder)?;
        folder.lock()?;
        let conflict = match condition {
            Condition::Always => {
                fs::rename(&self.temporary, &self.target)?;
                false
            }
            Condition::IfAbsent => match fs::hard_link(&self.temporary, &self.target) {
                Ok(()) => false,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
                Err(error) => return Err(error),
            },
            Condition::IfMatch(etag) => {
                let current = match fs::metadata(&self.target) {
                    Ok(metadata) => Some(info_of(&metadata)?.etag),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(error),
                };
                let holds = current.as_ref() == Some(etag);
                if holds {
                    fs::rename(&self.temporary, &self.target)?;
                }
                !holds
            }
        };
        Ok(if conflict { PutOutcome::Conflict } else { PutOutcome::Written { etag: info.etag } })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename the name is gone already, which is as good.
        let _ = fs::remove_file(&self.temporary);
    }
}
