//! ISMRMRD (MRD v1) HDF5 files, read in place.
//!
//! The file is mapped; `hdf5-reader` walks its structure; samples are found by our own lookup in the global heap and
//! borrowed from the map, since copying them one readout at a time is what makes other readers slow.
//!
//! | module | what it does |
//! |---|---|
//! | `structure` | finds the header and the readouts |
//! | `record` | where each member of a readout record lies, by name, and what it says |
//! | `heap` | where variable-length data lie in the file |

mod heap;
mod record;
mod structure;

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use super::header::Header;
use super::{Flags, RawScan, ReadoutHead, xml};
use crate::archive::Content;
use crate::{Complex32, Error, Result};
use heap::{Heap, Reference};
use structure::Structure;

#[cfg(target_endian = "big")]
compile_error!("samples are borrowed from little-endian files");

/// An opened ISMRMRD file.
pub struct IsmrmrdFile {
    map: Mapped,
    /// Addresses count from here.
    base: usize,
    header: Header,
    heads: Vec<ReadoutHead>,
    references: Vec<Reference>,
    heap: Heap,
}

/// The mapped file, shared with the structure reader.
#[derive(Clone)]
struct Mapped(Arc<Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Opens an ISMRMRD file: its header and the heads of its readouts. Samples stay where they are.
///
/// # Errors
/// [`Error::Unsupported`] for files that are not ISMRMRD, naming what they are; [`Error::Truncated`] for a file that
/// ends before the length it states; [`Error::Corrupt`] for damaged structure or a readout whose samples are not as
/// many as its head says.
pub fn open(path: &Path) -> Result<IsmrmrdFile> {
    let file = File::open(path).map_err(Error::io("the raw data file cannot be opened"))?;
    check_kind(&file)?;
    // SAFETY: the map is read-only. A file that another process shortens meanwhile would fault; raw data files are
    // written once, and the functions map a private copy.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io("the raw data file cannot be mapped"))?;
    let map = Mapped(Arc::new(map));
    let structure = Structure::of(&map)?;
    let base = structure.base;
    let header = xml::parse(&structure.header_text(&map.as_ref()[base..])?)?;

    let layout = record::Layout::of(structure.readouts.dtype())?;
    let count = structure.count(map.as_ref().len())?;
    let mut heads = vec![ReadoutHead::default(); count];
    let mut references = vec![Reference { count: 0, address: 0, object: 0 }; count];
    let (mut filled, mut wrong) = (0, None);
    structure.each_record(layout.size, |number, record| {
        // The last chunk may reach beyond the last record.
        let (Some(head), Some(reference)) = (heads.get_mut(number), references.get_mut(number)) else { return };
        *head = layout.head(record);
        let (place, floats) = layout.samples(record);
        *reference = place;
        filled += 1;
        if wrong.is_none() && floats != floats_of(head) && !is_compressed(head) {
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
    Ok(IsmrmrdFile { map, base, header, heads, references, heap: Heap::default() })
}

/// Real and imaginary part of every sample of every channel.
fn floats_of(head: &ReadoutHead) -> u64 {
    2 * u64::from(head.samples) * u64::from(head.channels)
}

/// Compressed samples are refused by name later on, if they are needed.
fn is_compressed(head: &ReadoutHead) -> bool {
    (Flags::COMPRESSION_1..=Flags::COMPRESSION_4).any(|flag| head.flags.has(flag))
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

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let (Some(head), Some(&reference)) = (self.heads.get(readout), self.references.get(readout)) else {
            return Err(Error::corrupt("a readout number", readout, format!("less than {}", self.heads.len())));
        };
        if is_compressed(head) {
            return Err(Error::unsupported(
                format!("the samples of readout {readout} are compressed"),
                "send the scan without compression of samples",
            ));
        }
        let length = 4 * floats_of(head) as usize;
        if length == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let file = &self.map.as_ref()[self.base..];
        let span = self.heap.find(file, reference, length)?;
        let bytes = &file[span.start..span.start + span.length];
        // Floats need four bytes, the heap aligns to eight, so borrowing is the rule; a file that does not is copied.
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(samples) => Cow::Borrowed(samples),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
        })
    }
}

/// Tells by the first bytes whether it is worth looking for HDF5 structure.
fn check_kind(file: &File) -> Result<()> {
    let mut head = Vec::new();
    file.take(Content::HEAD_LENGTH).read_to_end(&mut head).map_err(Error::io("the raw data file cannot be read"))?;
    match Content::of(&head) {
        Content::Hdf5 => Ok(()),
        other => Err(other.refusal()),
    }
}
