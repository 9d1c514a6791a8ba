//! What a file is, told by its first bytes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;

/// Signature of HDF5.
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// HDF5, the container of ISMRMRD.
    Hdf5,
    /// Siemens raw data.
    SiemensDat,
    /// A tar archive.
    Tar,
    /// A compressed stream that is read.
    Compressed(Codec),
    /// A compressed stream or archive that is not read.
    OtherArchive(&'static str),
    /// A file of a known kind that holds no k-space.
    Other(&'static str),
    /// No bytes at all.
    Empty,
    /// Printable text.
    Text,
    /// Anything else.
    Unknown,
}

/// A compression that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
}

impl Codec {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
        }
    }

    pub(super) fn decoder<'a>(self, stream: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(stream)),
            Self::Zstd => Box::new(zstd::Decoder::new(stream)?),
            Self::Xz => Box::new(XzDecoder::new_multi_decoder(stream)),
        })
    }
}

impl Content {
    /// Bytes that are enough to tell: an HDF5 file may start after a user block of up to 2048 bytes.
    pub const HEAD_LENGTH: u64 = 2048 + 8;

    /// Judges the first bytes of a file; 2056 of them are enough for every kind.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        let known: [(usize, &[u8], Self); 12] = [
            (257, b"ustar", Self::Tar),
            (0, b"\x1f\x8b", Self::Compressed(Codec::Gzip)),
            (0, b"\x28\xb5\x2f\xfd", Self::Compressed(Codec::Zstd)),
            (0, b"\xfd7zXZ\0", Self::Compressed(Codec::Xz)),
            (0, b"BZh", Self::OtherArchive("a bzip2 archive")),
            (0, b"PK\x03\x04", Self::OtherArchive("a zip archive")),
            (0, b"7z\xbc\xaf\x27\x1c", Self::OtherArchive("a 7z archive")),
            (128, b"DICM", Self::Other("a DICOM file")),
            (344, b"n+1\0", Self::Other("a NIfTI file")),
            (0, b"\x89PNG", Self::Other("a PNG image")),
            (0, b"\xff\xd8\xff", Self::Other("a JPEG image")),
            (0, b"%PDF", Self::Other("a PDF document")),
        ];
        if head.is_empty() {
            return Self::Empty;
        }
        // A tar archive whose first member is HDF5 has that signature at 512 too: a user block comes last.
        if at(0, HDF5) {
            return Self::Hdf5;
        }
        if let Some((_, _, content)) = known.iter().find(|(offset, magic, _)| at(*offset, magic)) {
            return *content;
        }
        if [512, 1024, 2048].iter().any(|&offset| at(offset, HDF5)) {
            return Self::Hdf5;
        }
        if is_siemens(head) {
            return Self::SiemensDat;
        }
        let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
        if head.iter().all(printable) && std::str::from_utf8(&head[..head.len().min(512)]).is_ok_and(|t| !t.is_empty())
        {
            return Self::Text;
        }
        Self::Unknown
    }

    /// Whether the file may hold k-space. Reading it decides.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::Hdf5 | Self::SiemensDat)
    }

    /// A name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hdf5 => "an HDF5 file",
            Self::SiemensDat => "a Siemens raw data file",
            Self::Tar => "a tar archive",
            Self::Compressed(codec) => codec.name(),
            Self::OtherArchive(name) | Self::Other(name) => name,
            Self::Empty => "an empty file",
            Self::Text => "a text file",
            Self::Unknown => "a file of unknown kind",
        }
    }
}

/// VD/VE/XA files start with a small id and the number of measurements (1 to 64), whose first entry holds two
/// identifiers and an offset that is a multiple of 512 after the 10,240 bytes of the superheader.
fn is_siemens(head: &[u8]) -> bool {
    let word = |at: usize| head.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (Some(id), Some(count), Some(offset), Some(high)) = (word(0), word(4), word(16), word(20)) else {
        return false;
    };
    id < 10_000 && (1..=64).contains(&count) && high == 0 && offset >= 10_240 && offset % 512 == 0
}
