//! Streams and ranges for blocking code.
//!
//! One connection to S3 carries some 90 MB/s, so several ranges are in flight at once
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-guidelines.html>). Memory is bounded
//! by [`PART`] times the parts in flight and waiting.
//!
//! Never call these from asynchronous code: they wait for the runtime and would panic there. Use `spawn_blocking`, or
//! threads outside the runtime.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_sdk_s3::Client;
use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::{Error, ObjectInfo, Result, s3};

/// Bytes of one ranged request.
pub const PART: u64 = 8 << 20;
/// Ranged requests in flight of one stream.
pub const IN_FLIGHT: usize = 4;
/// Parts that wait for the reader besides those in flight.
const WAITING: usize = 1;

/// The parts of `range`, in order.
fn parts(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range.step_by(usize::try_from(PART).unwrap_or(usize::MAX)).map(move |start| start..end.min(start + PART))
}

/// Fetches `range` in order, several parts at a time, of the object with `etag` and no other.
fn fetch(
    client: Client,
    bucket: String,
    key: String,
    etag: String,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes>> {
    stream::iter(parts(range))
        .map(move |part| {
            let (client, bucket, key, etag) = (client.clone(), bucket.clone(), key.clone(), etag.clone());
            async move { s3::get_range(&client, &bucket, &key, part, Some(&etag)).await }
        })
        .buffered(IN_FLIGHT)
}

/// An object as a stream.
#[derive(Debug)]
pub struct Reader {
    inner: Inner,
    failure: Option<Error>,
}

#[derive(Debug)]
enum Inner {
    File(File),
    Parts { parts: mpsc::Receiver<Result<Bytes>>, current: Bytes, task: AbortHandle },
}

impl Reader {
    pub(crate) fn path(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("opening a file", &error))?;
        Ok(Self { inner: Inner::File(file), failure: None })
    }

    pub(crate) fn s3(handle: &Handle, client: Client, bucket: String, key: String, info: &ObjectInfo) -> Self {
        let (sender, parts) = mpsc::channel(WAITING);
        let (etag, len) = (info.etag.clone(), info.len);
        let task = handle.spawn(async move {
            let mut fetched = std::pin::pin!(fetch(client, bucket, key, etag, 0..len));
            while let Some(part) = fetched.next().await {
                let last = part.is_err();
                if sender.send(part).await.is_err() || last {
                    return;
                }
            }
        });
        let current = Bytes::new();
        Self { inner: Inner::Parts { parts, current, task: task.abort_handle() }, failure: None }
    }

    /// The error that ended the stream early, if one did. Decoders above may have wrapped what they were given, so ask
    /// here before believing that the data are bad.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::File(file) => file.read(buf).inspect_err(|error| {
                self.failure = Some(Error::io("reading a file", error));
            }),
            Inner::Parts { parts, current, .. } => {
                while current.is_empty() {
                    match parts.blocking_recv() {
                        Some(Ok(part)) => *current = part,
                        Some(Err(error)) => {
                            let shown = io::Error::other(error.to_string());
                            self.failure = Some(error);
                            return Err(shown);
                        }
                        None if self.failure.is_some() => return Err(io::Error::other("the stream has failed")),
                        None => return Ok(0),
                    }
                }
                let count = buf.len().min(current.len());
                current.copy_to_slice(&mut buf[..count]);
                Ok(count)
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Inner::Parts { task, .. } = &self.inner {
            task.abort();
        }
    }
}

/// Random access.
pub trait RangeSource: Send + Sync {
    /// Fills `buf` with the bytes from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] beyond the end; else an error around a [`crate::Error`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Random access to an object.
#[derive(Debug)]
pub struct Source {
    place: Place,
    len: u64,
}

#[derive(Debug)]
enum Place {
    File(File),
    S3 { handle: Handle, client: Client, bucket: String, key: String, etag: String },
}

impl Source {
    pub(crate) fn path(path: &Path) -> Result<Self> {
        const WHAT: &str = "opening a file";
        let file = File::open(path).map_err(|error| Error::io(WHAT, &error))?;
        let len = file.metadata().map_err(|error| Error::io(WHAT, &error))?.len();
        Ok(Self { place: Place::File(file), len })
    }

    pub(crate) fn s3(handle: Handle, client: Client, bucket: String, key: String, info: &ObjectInfo) -> Self {
        Self { place: Place::S3 { handle, client, bucket, key, etag: info.etag.clone() }, len: info.len }
    }
}

impl RangeSource for Source {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.len);
        let Some(end) = end else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        match &self.place {
            Place::File(file) => file.read_exact_at(buf, offset),
            Place::S3 { handle, client, bucket, key, etag } => handle.block_on(async {
                let parts = fetch(client.clone(), bucket.clone(), key.clone(), etag.clone(), offset..end);
                let mut parts = std::pin::pin!(parts);
                let mut rest = buf;
                while let Some(part) = parts.next().await {
                    let part = part.map_err(io::Error::other)?;
                    let (filled, left) = rest.split_at_mut(part.len());
                    filled.copy_from_slice(&part);
                    rest = left;
                }
                Ok(())
            }),
        }
    }

    fn len(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_range_once_and_in_order() {
        for range in [0..0, 0..1, 5..PART, 0..PART, 7..3 * PART + 9] {
            let all: Vec<_> = parts(range.clone()).collect();
            assert!(all.iter().all(|part| part.end - part.start <= PART && !part.is_empty()));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(all.iter().map(|part| part.end - part.start).sum::<u64>(), range.end - range.start);
            assert_eq!(all.first().map_or(range.start, |part| part.start), range.start);
        }
    }
}
