//! Finds the header and the readouts in the structure of an HDF5 file.

use hdf5_reader::dataset::Dataset;
use hdf5_reader::group::Group;
use hdf5_reader::{BytesStorage, Datatype, Hdf5File, OpenOptions, StringSize};

use super::heap::{Heap, Reference};
use super::{Mapped, xml};
use crate::{Error, Result};

/// The largest object header of a sound file is a few kilobytes.
const MAX_OBJECT_HEADER_BYTES: usize = 1 << 20;
/// Chunks of readout records.
const MAX_CHUNK_BYTES: usize = 64 << 20;
/// Bytes that a readout takes at least: its samples are objects of the heap, which is never compressed.
const SMALLEST_READOUT: u64 = 24;
/// Readouts in memory: 128 bytes each.
const MAX_READOUTS: u64 = 8 << 20;

/// The opened structure.
pub(super) struct Structure {
    pub(super) header: Dataset,
    pub(super) readouts: Dataset,
    /// Where the superblock is; addresses count from here.
    pub(super) base: usize,
}

impl Structure {
    /// Opens the structure of a file and finds its one measurement.
    pub(super) fn of(map: &Mapped) -> Result<Self> {
        let length = map.as_ref().len();
        // Every chunk is read once, so none is kept.
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_read_bytes(length.max(xml::MAX_BYTES))
            .with_max_chunk_bytes(MAX_CHUNK_BYTES)
            .with_max_object_header_bytes(MAX_OBJECT_HEADER_BYTES);
        let storage = std::sync::Arc::new(BytesStorage::from_owner(map.clone()));
        let file = Hdf5File::from_storage_with_options(storage, options).map_err(|error| opening(error, length))?;
        let superblock = file.superblock();
        let (found, expected) = (length as u64, superblock.eof_address);
        if expected > found {
            return Err(Error::Truncated { what: "the HDF5 file".to_owned(), found, expected });
        }
        if superblock.offset_size != 8 || superblock.length_size != 8 {
            return Err(Error::unsupported("the HDF5 file has short addresses", "copy it with h5repack and send that"));
        }
        let base = usize::try_from(superblock.base_address).map_err(|_| damaged("an address that does not fit"))?;
        let group = measurement(&file.root_group().map_err(explain)?)?;
        let [header, readouts] = ["xml", "data"].map(|name| group.dataset(name).map_err(explain));
        Ok(Self { header: header?, readouts: readouts?, base })
    }

    /// The text of the header. It need not be UTF-8: names of patients are often Latin 1, and are not used.
    pub(super) fn header_text(&self, file: &[u8]) -> Result<String> {
        let bytes = self.header.read_raw_bytes().map_err(explain)?;
        let text = match self.header.dtype() {
            Datatype::String { size: StringSize::Fixed(length), .. } => bytes.get(..*length as usize),
            Datatype::String { size: StringSize::Variable, .. } | Datatype::VarLen { .. } => {
                let reference = bytes.first_chunk().map(|chunk| Reference::read(*chunk));
                let find = |reference: Reference| Heap::default().find(file, reference, reference.count as usize);
                let span = reference.map(find).transpose()?;
                span.map(|span| &file[span.start..span.start + span.length])
            }
            _ => return Err(Error::corrupt("the ISMRMRD header `xml`", "another type", "text")),
        };
        let text = text.ok_or_else(|| Error::corrupt("the ISMRMRD header `xml`", "no element", "one"))?;
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// Hands each record of `size` bytes to `take`, with its number; chunks are read one at a time.
    pub(super) fn each_record(&self, size: usize, mut take: impl FnMut(usize, &[u8])) -> Result<()> {
        let Some(chunk) = self.readouts.chunks() else {
            let bytes = self.readouts.read_raw_bytes().map_err(explain)?;
            bytes.chunks_exact(size).enumerate().for_each(|(number, record)| take(number, record));
            return Ok(());
        };
        if chunk.len() != 1 {
            return Err(not_a_list());
        }
        for chunk in self.readouts.iter_chunks().map_err(explain)? {
            let chunk = chunk.map_err(explain)?;
            let first = chunk.offsets().first().and_then(|&first| usize::try_from(first).ok());
            let first = first.ok_or_else(|| damaged("a chunk without a place"))?;
            chunk.bytes().chunks_exact(size).enumerate().for_each(|(number, record)| take(first + number, record));
        }
        Ok(())
    }

    /// The number of readouts, checked against what a file of this length can hold.
    pub(super) fn count(&self, length: usize) -> Result<usize> {
        let [found] = *self.readouts.shape() else { return Err(not_a_list()) };
        if found > MAX_READOUTS {
            return Err(Error::Limit { what: "the number of readouts", found, limit: MAX_READOUTS });
        }
        let most = length as u64 / SMALLEST_READOUT;
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

/// The one group with a header and readouts.
fn measurement(root: &Group) -> Result<Group> {
    let (groups, datasets) = root.members().map_err(explain)?;
    if datasets.iter().any(|dataset| dataset.name() == "kspace") {
        return Err(Error::unsupported(
            "the file is in the HDF5 format of fastMRI, which has no positions and no flags",
            "write it as ISMRMRD HDF5 with the Python package ismrmrd",
        ));
    }
    let mut found = Vec::new();
    let mut headers = 0;
    let count = groups.len();
    for group in groups {
        let (_, inner) = group.member_names().map_err(explain)?;
        let has = |wanted: &str| inner.iter().any(|name| name == wanted);
        headers += usize::from(has("xml"));
        if has("xml") && has("data") {
            found.push(group);
        }
    }
    match (found.len(), found.pop()) {
        (1, Some(group)) => Ok(group),
        (0, _) if headers > 0 => Err(Error::unsupported(
            "the ISMRMRD file has a header but no readouts, as files of reconstructed images have",
            "send the file with the raw data",
        )),
        (0, _) => Err(Error::unsupported(
            format!(
                "the file is HDF5 but not k-space: {count} groups and {} datasets, none of them ISMRMRD (a group with `xml` \
                 and `data`)",
                datasets.len()
            ),
            "send ISMRMRD HDF5; images and other HDF5 files are not reconstructed",
        )),
        (several, _) => Err(Error::unsupported(
            format!("the ISMRMRD file holds {several} measurements"),
            "send one file per measurement",
        )),
    }
}

/// A file too short for its superblock is cut, not damaged.
fn opening(error: hdf5_reader::error::Error, length: usize) -> Error {
    match error {
        hdf5_reader::error::Error::UnexpectedEof { offset, needed, .. } => Error::Truncated {
            what: "the HDF5 file".to_owned(),
            found: length as u64,
            expected: offset.saturating_add(needed),
        },
        other => explain(other),
    }
}

/// An error of the structure reader in our terms. Its own text may hold names of objects, which may be anything.
pub(super) fn explain(error: hdf5_reader::error::Error) -> Error {
    use hdf5_reader::error::Error as Source;
    match error {
        Source::Context { source, .. } => explain(*source),
        Source::Io(source) => Error::io("the HDF5 file cannot be read")(source),
        Source::UnsupportedFilter(_) | Source::UnsupportedFilterPipelineVersion(_) => Error::unsupported(
            "the HDF5 file uses a compression that is not read",
            "copy it with `h5repack -f GZIP=4` and send that",
        ),
        Source::UnsupportedEncoding(_)
        | Source::UnsupportedLayoutClass(_)
        | Source::UnsupportedLayoutVersion(_)
        | Source::UnsupportedSuperblockVersion(_)
        | Source::UnsupportedObjectHeaderVersion(_) => Error::unsupported(
            "the HDF5 file uses parts of HDF5 that are not read",
            "copy it with h5repack and send that",
        ),
        Source::UnexpectedEof { offset, .. } => damaged(&format!("a structure at byte {offset} that does not fit")),
        Source::OffsetOutOfBounds(offset) => damaged(&format!("an address outside the file, {offset}")),
        Source::ChecksumMismatch { .. } => damaged("a checksum that does not match"),
        Source::DecompressionError(_) | Source::FilterError(_) => damaged("a chunk that does not decompress"),
        Source::ResourceLimit(_) => damaged("a structure larger than any sound file has"),
        _ => damaged("a structure that is not valid"),
    }
}

fn damaged(found: &str) -> Error {
    Error::corrupt("the structure of the HDF5 file", found, "a sound HDF5 file")
}
