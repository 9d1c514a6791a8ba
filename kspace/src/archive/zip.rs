//! The directory of a zip archive, and the members it points to.
//!
//! The directory lies at the end, so the archive must be a file. Only the directory is read by the zip reader; members
//! are decoded here, with the same decoders and limits as everything else.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use zip::CompressionMethod;
use zip::read::Config;
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use super::codec::Codec;
use super::meter::{Credit, Meter};
use crate::{Error, Result};

/// The mark of the end of the directory. A comment of up to 64 KiB may follow its 22 bytes.
const END_MARK: &[u8] = b"PK\x05\x06";
const END_BYTES: u64 = 22 + 65_535;
/// Mark and length of the header in front of a member's data, without its name and extra field.
const LOCAL_MARK: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: u64 = 30;

/// One member.
pub(super) struct Entry {
    /// Its path.
    pub(super) name: String,
    /// Whether it is a file.
    pub(super) is_file: bool,
    /// Its length once unpacked, as stated.
    pub(super) size: u64,
    encrypted: bool,
    method: CompressionMethod,
    start: u64,
    data: u64,
    packed: u64,
    crc: u32,
}

/// Reads the directory of the archive in `file` and checks that its members lie apart from each other and inside it.
pub(super) fn entries(file: &File, meter: &Meter) -> Result<Vec<Entry>> {
    let length = file.metadata().map_err(Error::io("the archive cannot be read"))?.len();
    if !has_end(file, length).map_err(Error::io("the archive cannot be read"))? {
        return Err(meter.truncated());
    }
    let mut directory =
        ZipIterable::try_new(meter.spooled(file), Config::default()).map_err(|error| explain(error, meter))?;
    meter.count_entries(directory.len() as u64)?;
    let mut entries = Vec::new();
    for entry in directory.files().map_err(|error| explain(error, meter))? {
        let entry = entry.map_err(|error| explain(error, meter))?;
        entries.push(Entry {
            name: entry.name().map_err(|error| explain(error, meter))?.into_owned(),
            is_file: entry.is_file(),
            size: entry.size(),
            encrypted: entry.encrypted(),
            method: entry.compression(),
            start: entry.header_start(),
            data: 0,
            packed: entry.compressed_size(),
            crc: entry.crc32(),
        });
    }
    for entry in &mut entries {
        entry.data = data_start(file, entry.start, meter)?;
    }
    check_ranges(&entries, length)?;
    Ok(entries)
}

/// Whether the mark of the end is there. An archive that was cut has lost it.
fn has_end(mut file: &File, length: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    let mut tail = Vec::new();
    file.take(END_BYTES).read_to_end(&mut tail)?;
    Ok(tail.windows(END_MARK.len()).any(|window| window == END_MARK))
}

/// Where the data of the member begin whose header is at `start`.
fn data_start(file: &File, start: u64, meter: &Meter) -> Result<u64> {
    let mut spooled = meter.spooled(file);
    let mut header = [0; LOCAL_BYTES as usize];
    let read = spooled.seek(SeekFrom::Start(start)).and_then(|_| spooled.read_exact(&mut header));
    match read {
        Ok(()) if header.starts_with(LOCAL_MARK) => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(meter.explain(error)),
        _ => {
            return Err(Error::corrupt(
                "the zip archive",
                format!("a directory that points to offset {start}"),
                "the header of a member there",
            ));
        }
    }
    let [.., n0, n1, x0, x1] = header;
    Ok(start + LOCAL_BYTES + u64::from(u16::from_le_bytes([n0, n1])) + u64::from(u16::from_le_bytes([x0, x1])))
}

/// Members that share bytes unpack to far more than the archive holds.
fn check_ranges(entries: &[Entry], length: u64) -> Result<()> {
    let mut ranges: Vec<_> =
        entries.iter().map(|entry| (entry.start, entry.data.saturating_add(entry.packed))).collect();
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(Error::corrupt("the zip archive", "members that share bytes", "members one after the other"));
    }
    match ranges.last() {
        Some(&(_, end)) if end > length => Err(Error::corrupt(
            "the zip archive",
            format!("a member that ends at byte {end}"),
            format!("members within its {length} bytes"),
        )),
        _ => Ok(()),
    }
}

/// The zip reader's texts can hold the name of a member.
fn explain(error: ZipError, meter: &Meter) -> Error {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => meter.explain_member(error),
        _ => Error::corrupt("the zip archive", "a directory that is not valid", "an intact directory at its end"),
    }
}

/// The content of a member, checked against its stated length and checksum when it ends. What is unpacked counts beyond `credit`.
///
/// # Errors
/// [`Error::Unsupported`] for a member that is encrypted or packed by a method that is not read.
pub(super) fn content<'a>(file: &'a File, entry: &Entry, meter: &Meter, credit: &Credit) -> Result<Box<dyn Read + 'a>> {
    if entry.encrypted {
        return Err(Error::unsupported("the file in the zip archive is encrypted", "send it without a password"));
    }
    let mut spooled = meter.spooled(file);
    spooled.seek(SeekFrom::Start(entry.data)).map_err(Error::io("the archive cannot be read"))?;
    let packed: Box<dyn Read + 'a> = Box::new(spooled.take(entry.packed));
    let codec = match entry.method {
        CompressionMethod::STORE | CompressionMethod::DEFLATE => None,
        CompressionMethod::BZIP2 => Some(Codec::Bzip2),
        CompressionMethod::ZSTD => Some(Codec::Zstd),
        CompressionMethod::XZ => Some(Codec::Xz),
        _ => {
            let advice = "pack it again with the default settings, or as .tar.gz";
            return Err(Error::unsupported("the file in the zip archive has a compression that is not read", advice));
        }
    };
    let inner = match codec {
        None if entry.method == CompressionMethod::STORE => packed,
        None => Box::new(DeflateDecoder::new(BufReader::new(packed))),
        Some(codec) => codec.decoder(packed).map_err(|error| meter.explain(error))?,
    };
    let inner = meter.guard(inner, credit.clone());
    Ok(Box::new(Checked { inner, crc: Crc::new(), left: entry.size, expected: entry.crc }))
}

/// Compares what passes with what the directory says of it.
struct Checked<R> {
    inner: R,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let length = match self.inner.read(buffer) {
            // The directory is there, so nothing of the archive is still to come.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return wrong("a member that ends early"),
            result => result?,
        };
        let Some(left) = self.left.checked_sub(length as u64) else {
            return wrong("a member longer than its directory says");
        };
        self.left = left;
        self.crc.update(&buffer[..length]);
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        match (left, self.crc.sum() == self.expected) {
            (0, true) => Ok(0),
            (0, false) => wrong("a member with another checksum than its directory says"),
            _ => wrong("a member shorter than its directory says"),
        }
    }
}
