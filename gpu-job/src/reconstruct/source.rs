//! Opens the prepared file and reads ahead.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use kspace::Complex32;
use kspace::prepared::{ReadAt, Reader};
use ndarray::Array3;
use store::{Location, RangeSource, Store};
use tokio::runtime::Handle;

use crate::error::JobError;

/// A prepared file on disk or in a bucket.
pub(super) struct Prepared(store::Source);

impl ReadAt for Prepared {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }

    fn len(&self) -> u64 {
        self.0.len()
    }
}

/// Opens a prepared file and checks all that it claims.
pub(super) fn open(runtime: &Handle, store: &Store, at: &Location) -> Result<Reader<Prepared>, JobError> {
    let source = runtime.block_on(store.range_source(at)).map_err(|error| match error {
        store::Error::NotFound { .. } => {
            JobError::Usage("there is no prepared file at the given place: prepare the raw file first".to_owned())
        }
        other => other.into(),
    })?;
    Ok(Reader::open(Prepared(source))?)
}

/// k-space of an entry, and its calibration lines where they are not part of it.
pub(super) type Read = (Array3<Complex32>, Option<Array3<Complex32>>);

/// Entries from `first` on in their order; at most `ahead` wait in memory. `work` gets them and returns its result, next to the seconds spent reading.
pub(super) fn read_ahead<R: ReadAt, T>(
    reader: &Reader<R>,
    first: usize,
    ahead: usize,
    work: impl FnOnce(Receiver<Result<Read, kspace::Error>>) -> Result<T, JobError>,
) -> Result<(T, f64), JobError> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(ahead);
        let reading = scope.spawn(move || {
            let mut seconds = 0.0;
            for index in first..reader.shape.entries {
                let started = Instant::now();
                let entry = reader.entry(index).and_then(|kspace| Ok((kspace, reader.calibration(index)?)));
                seconds += started.elapsed().as_secs_f64();
                let last = entry.is_err();
                // A closed channel means that the work has failed; its error is the one to report.
                if sender.send(entry).is_err() || last {
                    break;
                }
            }
            seconds
        });
        let result = work(receiver);
        let seconds = reading.join().map_err(|_| JobError::Bug("reading the prepared file panicked".to_owned()))?;
        Ok((result?, seconds))
    })
}
