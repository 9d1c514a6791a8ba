//! ISMRMRD (MRD v1) HDF5 files, read in place.
//!
//! The file is mapped; `hdf5-reader` walks its structure; samples are found by our own lookup in the global heap and
//! borrowed from the map, since copying them one readout at a time is what makes other readers slow.
//!
//! | module | what it does |
//! |---|---|
//! | `structure` | finds the headers and the readouts |
//! | `record` | where each member of a readout record lies, by name, and what it says |

mod record;
mod structure;

use std::borrow::Cow;
use std::sync::Arc;

use super::hdf5::Hdf5;
use super::hdf5::heap::{Heap, Reference};
use super::header::Header;
use super::{RawScan, ReadoutHead, mapped, mend, xml};
use crate::{Complex32, Error, Result};
use structure::Measurement;

const FLOAT_BYTES: u64 = 4;

/// A measurement of an ISMRMRD file.
pub(super) struct IsmrmrdFile {
    file: Arc<Hdf5>,
    header: Header,
    heads: Vec<ReadoutHead>,
    references: Vec<Reference>,
    heap: Heap,
    warnings: Vec<String>,
}

/// Opens every measurement of an ISMRMRD file, in the order of the names of their groups: its header and the heads of its
/// readouts. Samples stay where they are; images and waveforms are passed over.
///
/// # Errors
/// [`Error::Unsupported`] for HDF5 that is not k-space; [`Error::Corrupt`] for damaged structure or a readout whose
/// samples are not as many as its head says.
pub(super) fn open_all(file: Hdf5) -> Result<Vec<IsmrmrdFile>> {
    let file = Arc::new(file);
    let (mut readouts, mut claimed) = (0, 0);
    let mut scans = Vec::new();
    for measurement in structure::measurements(&file)? {
        let scan = open(&file, &measurement, readouts, &mut claimed)?;
        readouts += scan.heads.len();
        scans.push(scan);
    }
    Ok(scans)
}

/// Opens one measurement of a file, of which `others` readouts are known already, whose samples have `claimed` bytes.
fn open(file: &Arc<Hdf5>, measurement: &Measurement, others: usize, claimed: &mut u64) -> Result<IsmrmrdFile> {
    let (mut header, mut warnings) = match &measurement.header {
        Some(text) => xml::parse(&file.text(text)?)?,
        None => (Header::default(), vec!["the ISMRMRD file has no header".to_owned()]),
    };
    let layout = record::Layout::of(measurement.record_type())?;
    let count = measurement.count(file, others)?;
    let mut heads = vec![ReadoutHead::default(); count];
    let mut references = vec![Reference { count: 0, address: 0, object: 0 }; count];
    let (mut filled, mut wrong) = (0, None);
    measurement.each_record(file, layout.size, |number, record| {
        // The last chunk may reach beyond the last record.
        let (Some(head), Some(reference)) = (heads.get_mut(number), references.get_mut(number)) else { return };
        *head = layout.head(record);
        let (place, floats) = layout.samples(record);
        *reference = place;
        *claimed = claimed.saturating_add(FLOAT_BYTES * floats);
        filled += 1;
        if wrong.is_none() && floats != floats_of(head) && !head.is_compressed() {
            wrong = Some((number, floats, floats_of(head)));
        }
    })?;
    if filled != count {
        return Err(Error::corrupt("the ISMRMRD readouts", format!("{filled} records"), format!("{count}")));
    }
    if let Some((number, found, expected)) = wrong {
        let found = format!("{found} values");
        let expected = format!("{expected}, two for each sample of each channel");
        return Err(Error::corrupt(format!("readout {number}"), found, expected));
    }
    // The heap is never compressed, so that readouts with more samples than that refer to the same ones.
    let length = file.bytes().len() as u64;
    if *claimed > length {
        let expected =
            format!("at most {length}, the length of the file, in which every readout has samples of its own");
        return Err(Error::corrupt("the samples of all ISMRMRD readouts", format!("{claimed} bytes"), expected));
    }
    mend::mend(&mut header, &mut heads, &mut warnings);
    Ok(IsmrmrdFile { file: Arc::clone(file), header, heads, references, heap: Heap::default(), warnings })
}

/// Real and imaginary part of every sample of every channel.
fn floats_of(head: &ReadoutHead) -> u64 {
    2 * u64::from(head.samples) * u64::from(head.channels)
}

impl RawScan for IsmrmrdFile {
    fn format(&self) -> &'static str {
        "ISMRMRD HDF5"
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn has_ended(&self) -> bool {
        // A file that was cut would not have opened.
        true
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let (Some(head), Some(&reference)) = (self.heads.get(readout), self.references.get(readout)) else {
            return Err(super::no_such_readout(readout, self.heads.len()));
        };
        if head.is_compressed() {
            return Err(super::compressed(readout));
        }
        let length = 4 * floats_of(head) as usize;
        if length == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let file = self.file.bytes();
        let span = self.heap.find(file, reference, length)?;
        // The heap aligns to eight bytes, so borrowing is the rule.
        Ok(mapped::samples(&file[span.start..span.start + span.length]))
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
