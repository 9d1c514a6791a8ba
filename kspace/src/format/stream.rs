//! Streams of ISMRMRD messages, as clients send them to a reconstruction, kept in a file.
//!
//! A message is a number of two bytes and what belongs to it: 1 a configuration by name (1024 bytes), 2 a configuration and
//! 5 other text (a length of four bytes, then text), 3 the XML header (likewise), 1008 a readout (its head of 340 bytes,
//! trajectory, samples), 1022 an image, 1026 a waveform, 1030 an array, 4 the end. (ISMRMRD documentation, "Streaming
//! protocol"; `ismrmrd.serialization` of the Python package.)

use std::borrow::Cow;

use super::header::Header;
use super::mapped::{self, Mapped};
use super::{Counters, Flags, RawScan, ReadoutHead, mend, xml};
use crate::{Complex32, Error, Result};

const CONFIG_NAME: u16 = 1;
const CONFIG_TEXT: u16 = 2;
const HEADER: u16 = 3;
const CLOSE: u16 = 4;
const TEXT: u16 = 5;
const ACQUISITION: u16 = 1008;
const IMAGE: u16 = 1022;
const WAVEFORM: u16 = 1026;
const ARRAY: u16 = 1030;

const CONFIG_NAME_BYTES: u64 = 1024;
/// AcquisitionHeader of `ismrmrd.h`, packed.
const HEAD_BYTES: usize = 340;
/// ImageHeader of `ismrmrd.h`, packed; the length of the attributes follows.
const IMAGE_HEAD_BYTES: usize = 198;
/// WaveformHeader of `ismrmrd.h`, aligned.
const WAVEFORM_HEAD_BYTES: usize = 40;
/// Dimensions of an array.
const MAX_DIMENSIONS: u16 = 16;

/// An opened stream.
pub(super) struct IsmrmrdStream {
    map: Mapped,
    header: Header,
    heads: Vec<ReadoutHead>,
    /// Where the samples of each readout begin.
    places: Vec<usize>,
    warnings: Vec<String>,
}

/// Opens a stream. Samples stay where they are.
///
/// # Errors
/// [`Error::Truncated`] for a stream that ends within a message, or without the message that ends it before the readout
/// that is marked as the last; [`Error::Corrupt`] for messages that are not known or out of order.
pub(super) fn open(map: Mapped) -> Result<IsmrmrdStream> {
    let mut at = Cursor { bytes: map.bytes(), at: 0 };
    let mut header = None;
    let (mut heads, mut places, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let start = at.at;
        if at.is_at_end() {
            let ended = heads.last().is_some_and(|head: &ReadoutHead| head.flags.has(Flags::LAST_IN_MEASUREMENT));
            if !ended {
                return Err(at.cut(2));
            }
            break;
        }
        match at.u16()? {
            CLOSE => break,
            CONFIG_NAME => at.skip(CONFIG_NAME_BYTES)?,
            CONFIG_TEXT | TEXT => {
                let length = at.u32()?;
                at.skip(length.into())?;
            }
            HEADER if header.is_some() => return Err(misplaced(start, "a second header", "one header in a stream")),
            HEADER => {
                let length = at.u32()?;
                let text = String::from_utf8_lossy(at.take(length.into())?);
                let (parsed, log) = xml::parse(text.trim_end_matches('\0'))?;
                header = Some(parsed);
                warnings.extend(log);
            }
            ACQUISITION => {
                let head = acquisition(at.array()?);
                at.skip(4 * u64::from(head.trajectory_dimensions) * u64::from(head.samples))?;
                places.push(at.at);
                if head.is_compressed() {
                    return Err(super::compressed(heads.len()));
                }
                at.skip(sample_bytes(&head))?;
                heads.push(head);
                super::check_readouts(heads.len() as u64)?;
            }
            IMAGE => skip_image(&mut at)?,
            WAVEFORM => {
                let head: [u8; WAVEFORM_HEAD_BYTES] = at.array()?;
                // number_of_samples and channels; a value has four bytes.
                at.skip(4 * u64::from(u16_of(&head, 28)) * u64::from(u16_of(&head, 30)))?;
            }
            ARRAY => skip_array(&mut at)?,
            other => return Err(misplaced(start, &format!("message {other}"), "a message of the ISMRMRD protocol")),
        }
    }
    let rest = at.bytes.len() - at.at;
    if rest > 0 {
        warnings.push(format!("{rest} bytes after the end of the stream are not read"));
    }
    let Some(mut header) = header else {
        return Err(Error::corrupt("the ISMRMRD stream", "no header", "a header before the readouts"));
    };
    if heads.is_empty() {
        return Err(Error::unsupported("the ISMRMRD stream holds no readouts", "send the stream with the raw data"));
    }
    mend::mend(&mut header, &mut heads, &mut warnings);
    Ok(IsmrmrdStream { map, header, heads, places, warnings })
}

fn sample_bytes(head: &ReadoutHead) -> u64 {
    8 * u64::from(head.samples) * u64::from(head.channels)
}

/// An image: its head, the length of its attributes, these, the pixels.
fn skip_image(at: &mut Cursor<'_>) -> Result<()> {
    let start = at.at;
    let head: [u8; IMAGE_HEAD_BYTES] = at.array()?;
    let attributes = u64::from_le_bytes(at.array()?);
    let size =
        element_bytes(u16_of(&head, 2)).ok_or_else(|| misplaced(start, "an image of unknown type", "a known one"))?;
    let axes = [16, 18, 20, 34].map(|at| u64::from(u16_of(&head, at)));
    at.skip(attributes)?;
    at.skip(axes.into_iter().fold(size, u64::saturating_mul))
}

/// An array: type, version, number of axes, their lengths, the elements.
fn skip_array(at: &mut Cursor<'_>) -> Result<()> {
    let start = at.at;
    let [kind, _, axes] = [at.u16()?, at.u16()?, at.u16()?];
    let size = element_bytes(kind).filter(|_| axes <= MAX_DIMENSIONS);
    let mut bytes = size.ok_or_else(|| misplaced(start, "an array of unknown type", "a known one"))?;
    for _ in 0..axes {
        bytes = bytes.saturating_mul(u64::from_le_bytes(at.array()?));
    }
    at.skip(bytes)
}

/// Bytes of an element by the data types of `ismrmrd.h`: 16 and 32 bit integers, floats, doubles, complex ones.
const fn element_bytes(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 => Some(2),
        3..=5 => Some(4),
        6 | 7 => Some(8),
        8 => Some(16),
        _ => None,
    }
}

fn acquisition(head: [u8; HEAD_BYTES]) -> ReadoutHead {
    let u16_at = |at: usize| u16_of(&head, at);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let f32_at = |at: usize| f32::from_bits(u32_at(at));
    let vector = |at: usize| [f32_at(at), f32_at(at + 4), f32_at(at + 8)];
    ReadoutHead {
        flags: Flags(u64::from(u32_at(2)) | u64::from(u32_at(6)) << 32),
        scan_counter: u32_at(14),
        samples: u16_at(34),
        channels: u16_at(38),
        discard_pre: u16_at(168),
        discard_post: u16_at(170),
        center_sample: u16_at(172),
        encoding: u16_at(174),
        trajectory_dimensions: u16_at(176),
        sample_time_us: f32_at(178),
        position: vector(182),
        read_dir: vector(194),
        phase_dir: vector(206),
        slice_dir: vector(218),
        counters: Counters {
            step_1: u16_at(242),
            step_2: u16_at(244),
            average: u16_at(246),
            slice: u16_at(248),
            contrast: u16_at(250),
            phase: u16_at(252),
            repetition: u16_at(254),
            set: u16_at(256),
            segment: u16_at(258),
        },
    }
}

/// Two bytes at a place that lies within every head.
fn u16_of(head: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([head[at], head[at + 1]])
}

fn misplaced(at: usize, found: &str, expected: &str) -> Error {
    Error::corrupt(format!("the ISMRMRD stream at byte {at}"), found, expected)
}

/// Reads forward and stops at the end of the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn cut(&self, length: u64) -> Error {
        let (found, expected) = (self.bytes.len() as u64, (self.at as u64).saturating_add(length));
        Error::Truncated { what: "the ISMRMRD stream".to_owned(), found, expected }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let taken = taken.ok_or_else(|| self.cut(length))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        self.take(length).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

impl RawScan for IsmrmrdStream {
    fn format(&self) -> &'static str {
        "ISMRMRD stream"
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn has_ended(&self) -> bool {
        // A stream without its end would not have opened.
        true
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let (Some(head), Some(&place)) = (self.heads.get(readout), self.places.get(readout)) else {
            return Err(super::no_such_readout(readout, self.heads.len()));
        };
        // Messages have any length, so every other readout lies off the alignment of floats.
        Ok(mapped::samples(&self.map.bytes()[place..place + sample_bytes(head) as usize]))
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
