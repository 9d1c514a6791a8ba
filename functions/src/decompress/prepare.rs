//! The work itself: a raw archive from the store, unpacked to a temporary file, prepared, and streamed back.

use std::io::{self, Write};
use std::time::Instant;

use kspace::archive;
use kspace::format::{self, RawScan};
use kspace::prepare::{self, Options, Plan};
use store::{PutOptions, PutOutcome, Reader, Store, Writer};
use tempfile::NamedTempFile;

use crate::ports::PrepareTask;
use crate::{Error, Result, metadata};

/// Prepares a scan on the threads for blocking work.
///
/// # Errors
/// [`Error::Data`] for what is wrong with the data; [`Error::OutOfTime`], [`Error::NoSpace`]; [`Error::Store`]; [`Error::Bug`].
pub async fn prepare(store: &Store, task: PrepareTask) -> Result<PutOutcome> {
    let reader = store.reader_of(&task.raw, &task.raw_info)?;
    let store = store.clone();
    let done = tokio::task::spawn_blocking(move || blocking(&store, reader, &task)).await;
    // A panic ends here: the message stays, and the function lives on for the next one.
    done.unwrap_or(Err(Error::Bug("preparing a scan panicked")))
}

fn blocking(store: &Store, reader: Reader, task: &PrepareTask) -> Result<PutOutcome> {
    let mut file = NamedTempFile::new().map_err(|error| disk(error, "creating a temporary file"))?;
    let sha256 = unpack(reader, &mut file, task)?;
    let raw = format::open(file.path())?;
    let plan = prepare::plan(
        &*raw,
        &Options { scan: Some(task.scan.clone()), source_sha256: sha256.clone(), ..Options::default() },
    )?;
    let mut metadata = task.metadata.clone();
    metadata.insert(metadata::SHA256.to_owned(), sha256);
    let options = PutOptions {
        metadata,
        condition: task.condition.clone(),
        content_type: Some("application/octet-stream".to_owned()),
    };
    let writer = store.writer(&task.prepared, options, Some(plan.byte_len()))?;
    write(&plan, &*raw, writer, task.deadline)
}

/// Unpacks the one raw file of an archive and gives its SHA-256.
fn unpack(mut reader: Reader, file: &mut NamedTempFile, task: &PrepareTask) -> Result<String> {
    let limits = archive::Limits {
        max_output_bytes: task.limits.max_raw_bytes,
        max_ratio: task.limits.max_ratio,
        max_entries: task.limits.max_entries,
        deadline: task.deadline,
    };
    match archive::extract(&mut reader, file.as_file_mut(), &limits) {
        Ok(extracted) => Ok(extracted.sha256),
        // A decoder reports a stream that broke off as bad data; the stream knows better.
        Err(error) => Err(reader.take_failure().map_or_else(|| sort(error, task.deadline), Error::Store)),
    }
}

fn write(plan: &Plan, raw: &dyn RawScan, mut writer: Writer, deadline: Option<Instant>) -> Result<PutOutcome> {
    let written = plan.write(raw, Deadline { inner: &mut writer, deadline }, &mut |_, _| {}).map(drop);
    match written {
        Ok(()) => Ok(writer.finish()?),
        Err(error) => Err(writer.abort().map_or_else(|| sort(error, deadline), Error::Store)),
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
