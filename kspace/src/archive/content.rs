//! What a file is, told by its first bytes.

mod scanner;

use super::codec::Codec;
use crate::Error;

/// Signature of HDF5.
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// HDF5, the container of ISMRMRD and of fastMRI.
    Hdf5,
    /// A stream of ISMRMRD messages.
    IsmrmrdStream,
    /// The header of a BART array, whose samples lie in another file.
    BartHeader,
    /// Siemens raw data.
    SiemensDat,
    /// k-space of a kind that is not read, and what converts it.
    OtherRaw(&'static OtherRaw),
    /// A tar archive.
    Tar,
    /// A zip archive.
    Zip,
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

/// Whether the first block is the header of a member as tar wrote them before POSIX: a name, and the sum of all bytes, those of the
/// sum itself taken as spaces, in octal digits.
fn is_tar_without_signature(head: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let Some(block) = head.get(..512).filter(|block| block[0] != 0) else { return false };
    let stated = block[CHECKSUM].iter().copied().skip_while(|byte| *byte == b' ');
    let digits: Vec<u8> = stated.take_while(|byte| matches!(byte, b'0'..=b'7')).collect();
    let stated = digits.iter().fold(0, |sum, digit| 8 * sum + u32::from(digit - b'0'));
    let own: u32 = block[CHECKSUM].iter().map(|byte| u32::from(*byte)).sum();
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    !digits.is_empty() && stated == sum - own + 8 * u32::from(b' ')
}

/// A format of k-space that is not read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherRaw {
    name: &'static str,
    advice: &'static str,
}

const MRD2: OtherRaw = OtherRaw { name: "an MRD 2 file", advice: "convert it to ISMRMRD HDF5 with mrd_to_ismrmrd" };
const BRUKER: OtherRaw =
    OtherRaw { name: "a Bruker parameter file", advice: "convert the scan to ISMRMRD HDF5 with bruker_to_ismrmrd" };
const PHILIPS: OtherRaw =
    OtherRaw { name: "a file of Philips raw data", advice: "convert the scan to ISMRMRD HDF5 with philips_to_ismrmrd" };
const GE: OtherRaw = OtherRaw { name: "a P-file of GE", advice: "convert it to ISMRMRD HDF5 with ge_to_ismrmrd" };
const VARIAN: OtherRaw = OtherRaw {
    name: "a parameter file of Agilent or Varian",
    advice: "no converter is known: write the data as ISMRMRD HDF5 with the Python package ismrmrd",
};

impl Content {
    /// Bytes that are enough to tell: an HDF5 file may start after a user block of up to 2048 bytes.
    pub const HEAD_LENGTH: u64 = 2048 + 8;

    /// Judges the first bytes of a file; 2056 of them are enough for every kind.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        let known: [(usize, &[u8], Self); 26] = [
            (257, b"ustar", Self::Tar),
            (0, b"\x1f\x8b", Self::Compressed(Codec::Gzip)),
            (0, b"\x28\xb5\x2f\xfd", Self::Compressed(Codec::Zstd)),
            (0, b"\xfd7zXZ\0", Self::Compressed(Codec::Xz)),
            (0, b"BZh", Self::Compressed(Codec::Bzip2)),
            // Zip archives too, by the name of their first member.
            (30, b"[Content_Types].xml", Self::Other("an office document")),
            (30, b"mimetype", Self::Other("an office document")),
            (0, b"PK\x03\x04", Self::Zip),
            (0, b"PK\x05\x06", Self::Zip),
            (0, b"7z\xbc\xaf\x27\x1c", Self::OtherArchive("a 7z archive")),
            (0, b"Rar!", Self::OtherArchive("a rar archive")),
            (0, b"yardl", Self::OtherRaw(&MRD2)),
            (0, b"# Dimensions", Self::BartHeader),
            (0, b"##TITLE=", Self::OtherRaw(&BRUKER)),
            (0, b"# === DATA DESCRIPTION FILE", Self::OtherRaw(&PHILIPS)),
            (34, b"GE_MED_NMR", Self::OtherRaw(&GE)),
            (34, b"INVALIDNMR", Self::OtherRaw(&GE)),
            (128, b"DICM", Self::Other("a DICOM file")),
            (344, b"n+1\0", Self::Other("a NIfTI file")),
            (344, b"ni1\0", Self::Other("a NIfTI header")),
            (4, b"n+2\0\r\n\x1a\n", Self::Other("a NIfTI file")),
            (0, b"MATLAB 5.0 MAT-file", Self::Other("a MATLAB file")),
            (0, b"\x93NUMPY", Self::Other("a NumPy array")),
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
        // Before tar had a signature: the checksum of the header tells. A first member of HDF5 would look like a user block.
        if is_tar_without_signature(head) {
            return Self::Tar;
        }
        if [512, 1024, 2048].iter().any(|&offset| at(offset, HDF5)) {
            return Self::Hdf5;
        }
        if scanner::is_siemens(head) {
            return Self::SiemensDat;
        }
        if is_stream(head) {
            return Self::IsmrmrdStream;
        }
        if scanner::is_philips_labels(head) {
            return Self::OtherRaw(&PHILIPS);
        }
        if scanner::is_p_file(head) {
            return Self::OtherRaw(&GE);
        }
        let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
        if head.iter().all(printable) && std::str::from_utf8(&head[..head.len().min(512)]).is_ok_and(|t| !t.is_empty())
        {
            return scanner::text(head);
        }
        Self::Unknown
    }

    /// Whether the file may hold k-space. Reading it decides.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::Hdf5 | Self::SiemensDat | Self::IsmrmrdStream | Self::BartHeader)
    }

    /// Ending of the name under which raw data of this kind are stored.
    pub(super) const fn ending(self) -> &'static str {
        match self {
            Self::Hdf5 => "h5",
            Self::SiemensDat => "dat",
            Self::IsmrmrdStream => "mrd",
            Self::BartHeader => "hdr",
            _ => "raw",
        }
    }

    /// A name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hdf5 => "an HDF5 file",
            Self::IsmrmrdStream => "an ISMRMRD stream",
            Self::BartHeader => "a BART header",
            Self::SiemensDat => "a Siemens raw data file",
            Self::Tar => "a tar archive",
            Self::Zip => "a zip archive",
            Self::Compressed(Codec::Gzip) => "a gzip archive",
            Self::Compressed(Codec::Zstd) => "a zstd archive",
            Self::Compressed(Codec::Xz) => "an xz archive",
            Self::Compressed(Codec::Bzip2) => "a bzip2 archive",
            Self::OtherRaw(format) => format.name,
            Self::OtherArchive(name) | Self::Other(name) => name,
            Self::Empty => "an empty file",
            Self::Text => "a text file",
            Self::Unknown => "a file of unknown kind",
        }
    }

    /// Why a file of this kind, sent by itself, is not reconstructed, and what to send instead.
    #[must_use]
    pub fn refusal(self) -> Error {
        let what = format!("the file is {}", self.name());
        match self {
            Self::OtherRaw(format) => Error::unsupported(what, format!("{} and send that", format.advice)),
            Self::OtherArchive(_) => Error::unsupported(
                what,
                "unpack it and send the raw files alone, or pack them as .tar.gz, .tar.zst or .zip",
            ),
            _ => Error::unsupported(
                format!("{what}, not k-space data"),
                "send the raw data of the scanner as ISMRMRD HDF5",
            ),
        }
    }
}

/// An ISMRMRD stream starts with message 1 (a name in 1024 bytes), 2 or 3 (a length, then text), the header being XML.
fn is_stream(head: &[u8]) -> bool {
    let Some([low, high]) = head.first_chunk() else { return false };
    match u16::from_le_bytes([*low, *high]) {
        1 => matches!(head.get(1026..1028), Some([2 | 3, 0])) && is_xml(head, 1032),
        2 | 3 => is_xml(head, 6),
        _ => false,
    }
}

fn is_xml(head: &[u8], at: usize) -> bool {
    head.get(at..).is_some_and(|text| text.trim_ascii_start().starts_with(b"<"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_by_their_first_message() {
        let header = [&3_u16.to_le_bytes()[..], &20_u32.to_le_bytes(), b"<?xml version=\"1.0\"?>"].concat();
        assert_eq!(Content::of(&header), Content::IsmrmrdStream);
        let named = [&1_u16.to_le_bytes()[..], &[0; 1024], &header].concat();
        assert_eq!(Content::of(&named), Content::IsmrmrdStream);
    }

    #[test]
    fn an_archive_of_an_hdf5_file_is_not_a_user_block() {
        let mut head = vec![0; 520];
        head[512..].copy_from_slice(HDF5);
        assert_eq!(Content::of(&head), Content::Hdf5);
        head[257..262].copy_from_slice(b"ustar");
        assert_eq!(Content::of(&head), Content::Tar);
    }

    #[test]
    fn an_office_document_is_no_archive() {
        let head = |name: &[u8]| [&b"PK\x03\x04"[..], &[0; 26], name].concat();
        assert_eq!(Content::of(&head(b"[Content_Types].xml")), Content::Other("an office document"));
        assert_eq!(Content::of(&head(b"mimetypeapplication/vnd.oasis")), Content::Other("an office document"));
        assert_eq!(Content::of(&head(b"scan.h5")), Content::Zip);
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let kinds = [Content::OtherRaw(&MRD2), Content::OtherArchive("a rar archive")];
        let expected = ["mrd_to_ismrmrd", ".tar.gz"];
        for (kind, expected) in kinds.into_iter().zip(expected) {
            assert!(kind.refusal().to_string().contains(expected), "{kind:?}");
        }
        assert!(Content::Other("a DICOM file").refusal().to_string().contains("a DICOM file, not k-space data"));
    }
}
