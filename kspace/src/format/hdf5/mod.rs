//! HDF5 as raw data files use it: structure by `hdf5-reader`, payload in place.
//!
//! | module | what it does |
//! |---|---|
//! | `heap` | where variable-length data lie in the file |
//! | `writer`, `types` | writes such files, of phantoms and of images |

pub(super) mod heap;
pub(crate) mod types;
pub(crate) mod writer;

use hdf5_reader::dataset::Dataset;
use hdf5_reader::group::Group;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::layout::DataLayout;
use hdf5_reader::{BytesStorage, Datatype, Hdf5File, OpenOptions, StringSize};

use super::mapped::Mapped;
use super::xml;
use crate::{Error, Result};
use heap::{Heap, Reference, Span};

/// The largest object header of a sound file is a few kilobytes.
const MAX_OBJECT_HEADER_BYTES: usize = 1 << 20;
/// A chunk of readout records, or of several coils of a slice.
const MAX_CHUNK_BYTES: usize = 256 << 20;
/// Bytes after decompression for each byte of the file, as for archives: k-space itself never exceeds 3, the zeros of
/// undersampled k-space some ten.
pub(super) const MAX_RATIO: usize = 100;
/// Chunks of files of a few kilobytes are larger than the file when they are all zero.
const SMALLEST_BUDGET: usize = 1 << 20;

/// An opened HDF5 file.
pub(super) struct Hdf5 {
    map: Mapped,
    file: Hdf5File,
    /// Where the superblock is; addresses count from here.
    base: usize,
}

impl Hdf5 {
    /// Opens the structure of a file.
    ///
    /// # Errors
    /// [`Error::Truncated`] for a file that ends before the length it states, [`Error::Corrupt`] and
    /// [`Error::Unsupported`] for structure that is damaged or not read.
    pub(super) fn of(map: Mapped) -> Result<Self> {
        let length = map.bytes().len();
        let budget = length.saturating_mul(MAX_RATIO).max(SMALLEST_BUDGET);
        // Chunks are read once, or kept by their reader, so none is kept here.
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_read_bytes(budget.max(xml::MAX_BYTES))
            .with_max_chunk_bytes(budget.min(MAX_CHUNK_BYTES))
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
        let base = usize::try_from(superblock.base_address).ok().filter(|base| *base <= length);
        let base = base.ok_or_else(|| damaged("an address outside the file"))?;
        Ok(Self { map, file, base })
    }

    /// The root group.
    pub(super) fn root(&self) -> Result<Group> {
        self.file.root_group().map_err(explain)
    }

    /// The file from where its addresses count.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map.bytes()[self.base..]
    }

    /// The text in a dataset of one element. It need not be UTF-8: names of patients are often Latin 1, and are not used.
    pub(super) fn text(&self, dataset: &Dataset) -> Result<String> {
        let broken = |found: &str, expected: &str| Error::corrupt("the XML header in the HDF5 file", found, expected);
        let size = dataset.raw_byte_len().map_err(explain)?;
        if size > xml::MAX_BYTES {
            let (found, limit) = (size as u64, xml::MAX_BYTES as u64);
            return Err(Error::Limit { what: "the length of the XML header", found, limit });
        }
        let bytes = dataset.read_raw_bytes().map_err(explain)?;
        let text = match dataset.dtype() {
            Datatype::String { size: StringSize::Fixed(length), .. } => bytes.get(..*length as usize),
            Datatype::String { size: StringSize::Variable, .. } | Datatype::VarLen { .. } => {
                let reference = bytes.first_chunk().map(|chunk| Reference::read(*chunk));
                let file = self.bytes();
                let find = |reference: Reference| Heap::default().find(file, reference, reference.count as usize);
                let span = reference.map(find).transpose()?;
                span.map(|span| &file[span.start..span.start + span.length])
            }
            _ => return Err(broken("another type", "text")),
        };
        let text = text.ok_or_else(|| broken("no element", "one"))?;
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// Where in [`Self::bytes`] the elements of a dataset lie, one after the other; `None` for one in chunks or in another
    /// file, or one that was never written.
    pub(super) fn contiguous(&self, dataset: &Dataset) -> Result<Option<Span>> {
        let header = self.file.get_or_parse_header(dataset.address()).map_err(explain)?;
        if header.messages.iter().any(|message| matches!(message, HdfMessage::ExternalFiles(_))) {
            return Ok(None);
        }
        let layout = header.messages.iter().find_map(|message| match message {
            HdfMessage::DataLayout(layout) => Some(&layout.layout),
            _ => None,
        });
        let Some(DataLayout::Contiguous { address, .. }) = layout else { return Ok(None) };
        if *address == u64::MAX {
            return Ok(None);
        }
        let length = dataset.raw_byte_len().map_err(explain)?;
        let start = usize::try_from(*address).map_err(|_| damaged("an address that does not fit"))?;
        match start.checked_add(length) {
            Some(end) if end <= self.bytes().len() => Ok(Some(Span { start, length })),
            _ => Err(Error::Truncated {
                what: "an array of the HDF5 file".to_owned(),
                found: self.bytes().len() as u64,
                expected: (start as u64).saturating_add(length as u64),
            }),
        }
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

pub(super) fn damaged(found: &str) -> Error {
    Error::corrupt("the structure of the HDF5 file", found, "a sound HDF5 file")
}
