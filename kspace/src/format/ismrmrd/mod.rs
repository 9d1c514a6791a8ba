//! ISMRMRD (MRD v1) HDF5 files, read in place.
//!
//! The file is mapped; `hdf5-reader` walks its structure; samples are found by our own lookup in the global heap and
//! borrowed from the map, since copying them one readout at a time is what makes other readers slow.
//!
//! | module | what it does |
//! |---|---|
//! | `record` | where each member of a readout record lies, by name, and what it says |
//! | `heap` | where variable-length data lie in the file |

mod heap;
mod record;

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use hdf5_reader::dataset::Dataset;
use hdf5_reader::group::Group;
use hdf5_reader::{BytesStorage, Hdf5File, OpenOptions};
use memmap2::Mmap;

use super::header::Header;
use super::{RawScan, ReadoutHead, xml};
use crate::archive::Content;
use crate::{Complex32, Error, Result};

/// Records of a readout take 376 bytes: room for 5 million of them.
const MAX_RECORD_BYTES: usize = 2 << 30;
/// The largest object header of a sound file is a few kilobytes.
const MAX_OBJECT_HEADER_BYTES: usize = 1 << 20;
/// Chunks of readout records.
const MAX_CHUNK_BYTES: usize = 64 << 20;

#[cfg(target_endian = "big")]
compile_error!("samples are borrowed from little-endian files");

/// An opened ISMRMRD file.
pub struct IsmrmrdFile {
    map: Mapped,
    header: Header,
    heads: Vec<ReadoutHead>,
    samples: Vec<heap::Span>,
}

/// The mapped file, shared with the structure reader.
#[derive(Clone)]
struct Mapped(Arc<Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Opens an ISMRMRD file.
///
/// # Errors
/// [`Error::Unsupported`] for files that are not ISMRMRD, naming what they are; [`Error::Truncated`] for a file that
/// ends before the length it states; [`Error::Corrupt`] for damaged structure.
pub fn open(path: &Path) -> Result<IsmrmrdFile> {
    let file = File::open(path).map_err(Error::io("the raw data file cannot be opened"))?;
    check_kind(&file)?;
    // SAFETY: the map is read-only. A file that another process shortens meanwhile would fault; raw data files are
    // written once, and the functions map a private copy.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io("the raw data file cannot be mapped"))?;
    let map = Mapped(Arc::new(map));
    let mut options = OpenOptions::default();
    options.max_read_bytes = MAX_RECORD_BYTES;
    options.max_chunk_bytes = MAX_CHUNK_BYTES;
    options.max_object_header_bytes = MAX_OBJECT_HEADER_BYTES;
    let storage = Arc::new(BytesStorage::from_owner(map.clone()));
    let hdf5 = Hdf5File::from_storage_with_options(storage, options).map_err(|e| explain(&e))?;

    let length = map.as_ref().len() as u64;
    let (base, stated) = (hdf5.superblock().base_address, hdf5.superblock().eof_address);
    if stated.saturating_add(base) > length {
        return Err(Error::Truncated { what: "the HDF5 file".to_owned(), found: length, expected: stated + base });
    }

    let group = find_group(&hdf5.root_group().map_err(|e| explain(&e))?)?;
    let header = xml::parse(&read_header(&group.dataset("xml").map_err(|e| explain(&e))?)?)?;
    let data = group.dataset("data").map_err(|e| explain(&e))?;
    let layout = record::Layout::of(data.dtype())?;
    let records = data.read_raw_bytes().map_err(|e| explain(&e))?;
    let mut heap = heap::Heap::new(map.as_ref(), base);
    let mut heads = Vec::new();
    let mut samples = Vec::new();
    for (index, record) in records.chunks_exact(layout.size).enumerate() {
        let head = layout.head(record);
        // Real and imaginary part of every sample of every channel.
        let floats = 2 * u64::from(head.samples) * u64::from(head.channels);
        samples.push(heap.find(layout.samples(record), floats, index)?);
        heads.push(head);
    }
    if heads.is_empty() {
        return Err(Error::corrupt("the ISMRMRD file", "no readout", "at least one"));
    }
    Ok(IsmrmrdFile { map, header, heads, samples })
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
        let span = self
            .samples
            .get(readout)
            .ok_or_else(|| Error::corrupt("a readout number", readout, format!("less than {}", self.samples.len())))?;
        let bytes = &self.map.as_ref()[span.start..span.start + span.length];
        // The heap aligns to eight bytes, so borrowing is the rule; a file that does not is copied.
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
    let advice = "send ISMRMRD HDF5";
    match Content::of(&head) {
        Content::Hdf5 => Ok(()),
        Content::SiemensDat => Err(Error::unsupported(
            "the file is Siemens raw data (.dat)",
            "convert it to ISMRMRD with siemens_to_ismrmrd and send that",
        )),
        other => Err(Error::unsupported(format!("the file is {}, not k-space", other.name()), advice)),
    }
}

/// The one group with a header and readouts.
fn find_group(root: &Group) -> Result<Group> {
    let (groups, datasets) = root.members().map_err(|e| explain(&e))?;
    let named = |name: &str| datasets.iter().any(|dataset| dataset.name() == name);
    if named("kspace") {
        return Err(Error::unsupported(
            "the file is a fastMRI HDF5 file",
            "convert it to ISMRMRD, since positions and flags are not in it",
        ));
    }
    let mut found = Vec::new();
    for group in groups {
        let (_, inner) = group.member_names().map_err(|e| explain(&e))?;
        if ["xml", "data"].iter().all(|wanted| inner.iter().any(|name| name == wanted)) {
            found.push(group);
        }
    }
    match (found.len(), found.pop()) {
        (1, Some(group)) => Ok(group),
        (0, _) => Err(Error::unsupported(
            "the HDF5 file holds no ISMRMRD group (one with `xml` and `data`)",
            "send ISMRMRD HDF5; images and other HDF5 files are not k-space",
        )),
        (count, _) => Err(Error::unsupported(
            format!("the ISMRMRD file holds {count} measurements"),
            "send one file per measurement",
        )),
    }
}

fn read_header(dataset: &Dataset) -> Result<String> {
    let mut texts = dataset.read_strings().map_err(|e| explain(&e))?;
    match (texts.len(), texts.pop()) {
        (1, Some(text)) => Ok(text),
        (count, _) => Err(Error::corrupt("the XML header", format!("{count} texts"), "one")),
    }
}

/// An error of the structure reader in our terms. Its text names addresses and sizes, never content.
fn explain(error: &hdf5_reader::error::Error) -> Error {
    Error::corrupt("the HDF5 structure is damaged", error, "a sound HDF5 file")
}
