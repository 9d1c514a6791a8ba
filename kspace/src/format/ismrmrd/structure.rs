//! Finds the headers and the readouts in the structure of an HDF5 file.

use hdf5_reader::dataset::Dataset;
use hdf5_reader::group::Group;

use super::record::Layout;
use crate::format::check_readouts;
use crate::format::hdf5::{Hdf5, damaged, explain};
use crate::{Error, Result};

/// Bytes that a readout takes at least: its samples are objects of the heap, which is never compressed.
const SMALLEST_READOUT: u64 = 24;
/// A study has some ten measurements.
const MAX_MEASUREMENTS: u64 = 256;

/// A group with a header and readouts.
pub(super) struct Measurement {
    /// Absent in files of programs that need none.
    pub(super) header: Option<Dataset>,
    readouts: Dataset,
}

/// The measurements of a file in the order of their names. Two names of one group are one measurement.
pub(super) fn measurements(file: &Hdf5) -> Result<Vec<Measurement>> {
    let (groups, datasets) = file.root()?.members().map_err(explain)?;
    let mut found: Vec<(String, Measurement)> = Vec::new();
    let mut headers = 0;
    let count = groups.len();
    for group in groups {
        let (_, inner) = group.member_names().map_err(explain)?;
        let has = |wanted: &str| inner.iter().any(|name| name == wanted);
        headers += usize::from(has("xml"));
        if has("data") {
            let Some(measurement) = Measurement::of(&group, has("xml"))? else { continue };
            let twin = |(_, other): &(String, Measurement)| other.readouts.address() == measurement.readouts.address();
            if !found.iter().any(twin) {
                found.push((group.name().to_owned(), measurement));
            }
            if found.len() as u64 > MAX_MEASUREMENTS {
                let what = "the number of measurements in a file";
                return Err(Error::Limit { what, found: found.len() as u64, limit: MAX_MEASUREMENTS });
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    match (found.is_empty(), headers) {
        (false, _) => Ok(found.into_iter().map(|(_, measurement)| measurement).collect()),
        (true, 0) => Err(Error::unsupported(
            format!(
                "the file is HDF5 but not k-space: {count} groups and {} datasets, none of them ISMRMRD (a group with `xml` \
                 and `data`) or fastMRI (a dataset `kspace`)",
                datasets.len()
            ),
            "send ISMRMRD HDF5, to which ge_to_ismrmrd converts the ScanArchive files of GE; images and other HDF5 files are \
             not reconstructed",
        )),
        (true, _) => Err(Error::unsupported(
            "the ISMRMRD file has a header but no readouts, as files of reconstructed images have",
            "send the file with the raw data",
        )),
    }
}

impl Measurement {
    /// A group without header is a measurement when its `data` are readouts.
    fn of(group: &Group, described: bool) -> Result<Option<Self>> {
        let readouts = group.dataset("data").map_err(explain)?;
        if !described && Layout::of(readouts.dtype()).is_err() {
            return Ok(None);
        }
        let header = described.then(|| group.dataset("xml").map_err(explain)).transpose()?;
        Ok(Some(Self { header, readouts }))
    }

    /// The type of a readout record.
    pub(super) fn record_type(&self) -> &hdf5_reader::Datatype {
        self.readouts.dtype()
    }

    /// Hands each record of `size` bytes to `take`, with its number; chunks are read one at a time.
    pub(super) fn each_record(&self, file: &Hdf5, size: usize, mut take: impl FnMut(usize, &[u8])) -> Result<()> {
        if let Some(span) = file.contiguous(&self.readouts)? {
            let bytes = &file.bytes()[span.start..span.start + span.length];
            bytes.chunks_exact(size).enumerate().for_each(|(number, record)| take(number, record));
            return Ok(());
        }
        match self.readouts.chunks() {
            Some(chunk) if chunk.len() == 1 => {}
            Some(_) => return Err(not_a_list()),
            // In the object header itself, or never written.
            None => return self.each_inline_record(file, size, take),
        }
        for chunk in self.readouts.iter_chunks().map_err(explain)? {
            let chunk = chunk.map_err(explain)?;
            let first = chunk.offsets().first().and_then(|&first| usize::try_from(first).ok());
            let first = first.ok_or_else(|| damaged("a chunk without a place"))?;
            chunk
                .bytes()
                .chunks_exact(size)
                .enumerate()
                .for_each(|(number, record)| take(first.saturating_add(number), record));
        }
        Ok(())
    }

    fn each_inline_record(&self, file: &Hdf5, size: usize, mut take: impl FnMut(usize, &[u8])) -> Result<()> {
        if self.readouts.raw_byte_len().map_err(explain)? > file.bytes().len() {
            return Err(damaged("more readouts than the file can hold"));
        }
        let bytes = self.readouts.read_raw_bytes().map_err(explain)?;
        bytes.chunks_exact(size).enumerate().for_each(|(number, record)| take(number, record));
        Ok(())
    }

    /// The number of readouts, checked against what a file of this length can hold besides `others`.
    pub(super) fn count(&self, file: &Hdf5, others: usize) -> Result<usize> {
        let [found] = *self.readouts.shape() else { return Err(not_a_list()) };
        check_readouts(found)?;
        let most = (file.bytes().len() as u64 / SMALLEST_READOUT).saturating_sub(others as u64);
        if found == 0 || found > most {
            return Err(Error::corrupt(
                "the number of readouts",
                found,
                format!("1 to {most} in a file of this length"),
            ));
        }
        Ok(found as usize)
    }
}

fn not_a_list() -> Error {
    Error::corrupt("the ISMRMRD readouts `data`", "another shape", "a list")
}
