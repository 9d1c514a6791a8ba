//! The work itself: a raw archive from the store, unpacked to a temporary folder, prepared, and streamed back.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use kspace::archive::{self, RawFile};
use kspace::format::RawScan;
use kspace::format::measurements::Measurement;
use kspace::opened::Opened;
use kspace::prepare::{self, Options, Plan};
use store::{PutOptions, PutOutcome, Reader, Store, Writer};
use tempfile::TempDir;

use crate::ports::{Found, OpenTask, PrepareTask};
use crate::{Error, Result, metadata};

/// An opened raw object. Cheap to clone; its folder goes with the last clone.
#[derive(Clone)]
pub struct Unpacked(Arc<Upload>);

struct Upload {
    scans: Vec<Measurement>,
    files: Vec<RawFile>,
    // Dropped last, after the files in it were closed.
    _folder: TempDir,
}

/// Runs blocking work on the threads for it. A panic ends there: the message stays, and the function lives on for the
/// next one.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Bug("preparing a scan panicked")))
}

/// Unpacks a raw object and opens the files in it.
///
/// # Errors
/// [`Error::Data`] for what is wrong with the data; [`Error::OutOfTime`], [`Error::NoSpace`]; [`Error::Store`]; [`Error::Bug`].
pub async fn open(store: &Store, task: OpenTask) -> Result<(Unpacked, Vec<Found>)> {
    let reader = store.reader_of(&task.raw, &task.raw_info)?;
    blocking(move || unpack(reader, &task)).await
}

fn unpack(mut reader: Reader, task: &OpenTask) -> Result<(Unpacked, Vec<Found>)> {
    let folder = TempDir::new().map_err(|error| disk(error, "creating a temporary folder"))?;
    let limits = archive::Limits {
        max_output_bytes: task.limits.max_raw_bytes,
        max_ratio: task.limits.max_ratio,
        max_entries: task.limits.max_entries,
        deadline: task.deadline,
        ..archive::Limits::default()
    };
    let extracted = match archive::extract(&mut reader, folder.path(), &limits) {
        Ok(extracted) => extracted,
        // A decoder reports a stream that broke off as bad data; the stream knows better.
        Err(error) => return Err(reader.take_failure().map_or_else(|| sort(error, task.deadline), Error::Store)),
    };
    let Opened { scans, refused, files } = Opened::of(extracted);
    let found = scans.iter().map(|scan| Found { name: scan.name.clone(), refused: None });
    let unread = refused.into_iter().map(|file| Found { name: file.name, refused: Some(file.error) });
    let found = found.chain(unread).collect();
    Ok((Unpacked(Arc::new(Upload { scans, files, _folder: folder })), found))
}

/// Prepares one of the scans of an opened raw object.
///
/// # Errors
/// As [`open`].
pub async fn prepare(store: &Store, opened: &Unpacked, number: usize, task: PrepareTask) -> Result<PutOutcome> {
    let (store, opened) = (store.clone(), opened.clone());
    blocking(move || write_scan(&store, &opened.0, number, &task)).await
}

fn write_scan(store: &Store, unpacked: &Upload, number: usize, task: &PrepareTask) -> Result<PutOutcome> {
    let missing = Error::Bug("a scan that was not found is to be prepared");
    let Measurement { file, scan: raw, .. } = unpacked.scans.get(number).ok_or(missing)?;
    let file = unpacked.files.get(*file).ok_or(Error::Bug("a scan is of a file that was not unpacked"))?;
    let sha256 = file.sha256.clone();
    let plan = prepare::plan(
        &**raw,
        &Options { scan: Some(task.scan.clone()), source_sha256: sha256.clone(), compression: task.compression },
    )
    .map_err(|error| file.explain(error))?;
    let mut metadata = task.metadata.clone();
    metadata.insert(metadata::SHA256.to_owned(), sha256);
    let options = PutOptions {
        metadata,
        condition: task.condition.clone(),
        content_type: Some("application/octet-stream".to_owned()),
    };
    let writer = store.writer(&task.prepared, options, Some(plan.byte_len()))?;
    write(&plan, &**raw, file, writer, task.deadline)
}

fn write(
    plan: &Plan,
    raw: &dyn RawScan,
    file: &RawFile,
    mut writer: Writer,
    deadline: Option<Instant>,
) -> Result<PutOutcome> {
    let written = plan.write(raw, Deadline { inner: &mut writer, deadline }, &mut |_, _| {}).map(drop);
    match written {
        Ok(()) => Ok(writer.finish()?),
        Err(error) => Err(writer.abort().map_or_else(|| sort(file.explain(error), deadline), Error::Store)),
    }
}

/// Whatever fails after the deadline failed because of it.
fn sort(error: kspace::Error, deadline: Option<Instant>) -> Error {
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Error::OutOfTime;
    }
    match error {
        kspace::Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Error::NoSpace,
        error => Error::Data(error),
    }
}

fn disk(error: io::Error, what: &str) -> Error {
    sort(kspace::Error::io(what)(error), None)
}

/// Refuses to write after the deadline, which is how a stream is stopped in the middle.
struct Deadline<W> {
    inner: W,
    deadline: Option<Instant>,
}

impl<W: Write> Write for Deadline<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
