//! Siemens raw data ("twix", `.dat`), read in place: VB, and VD, VE and XA, which share a layout.
//!
//! The file is mapped and walked once, from header to header; samples stay where they are until they are asked for. What
//! a reconstruction needs comes from the headers of the readouts, and from a handful of values of the protocol, whose
//! absence is a warning: software versions move values around and leave the headers of readouts alone.
//!
//! | module | what it does |
//! |---|---|
//! | `raid` | finds the measurements of a file |
//! | `walk` | goes from readout to readout |
//! | `mdh` | the header of a readout and its flags |
//! | `orientation` | directions in the patient |
//! | `protocol` | finds values in the header of a measurement |
//! | `matrix` | size and centre of k-space, from lines and protocol |
//! | `receive` | coil elements and dwell times |
//! | `header` | the typed header |
//!
//! The patient's name stands in the table of measurements, in the protocol and often in the file's name. Nothing of these is
//! read into memory of ours but the values that `protocol` lists.

mod header;
mod matrix;
mod mdh;
mod orientation;
mod protocol;
mod raid;
mod receive;
mod walk;

use std::borrow::Cow;

use self::header::Notes;
use self::mdh::{Generation, bit, has};
use self::protocol::Protocol;
use self::raid::Measurement;
use self::receive::Role;
use self::walk::Walk;
use super::header::Header;
use super::mapped::{self, Mapped};
use super::{Flags, RawScan, ReadoutHead, calibrates_only};
use crate::{Complex32, Error, Result};

/// A measurement of a Siemens raw data file.
pub struct TwixScan {
    file: Mapped,
    generation: Generation,
    header: Header,
    heads: Vec<ReadoutHead>,
    /// Where each readout starts in the file.
    places: Vec<usize>,
    warnings: Vec<String>,
}

/// Opens the measurements of a file: the noise readouts of each adjustment that has some, measurements that only calibrate, then
/// the scan, which is the last measurement of the file.
///
/// # Errors
/// [`Error::Truncated`] for a file that ends early; [`Error::Corrupt`] for bytes that are not what the layout requires,
/// naming where they are, and for a scan without readouts.
pub(super) fn open_all(file: Mapped) -> Result<Vec<TwixScan>> {
    let bytes = file.bytes();
    let (generation, measurements) = raid::measurements(bytes)?;
    let Some((last, adjustments)) = measurements.split_last() else { return Ok(Vec::new()) };

    let mut scans = Vec::new();
    let mut notes = Notes::default();
    for (number, measurement) in adjustments.iter().enumerate() {
        match walk::walk(bytes, *measurement, generation) {
            Ok(mut walk) => {
                let role = if calibrates_only(&walk.heads) { Role::Calibration } else { Role::Adjustment };
                if role == Role::Adjustment {
                    walk.retain(|head| head.flags.has(Flags::NOISE));
                }
                if !walk.heads.is_empty() {
                    scans.push(TwixScan::new(&file, *measurement, generation, walk, role, Notes::default()));
                }
            }
            Err(error) => notes.warn(format!("adjustment {number} of the file is left out: {error}")),
        }
    }
    let walk = walk::walk(bytes, *last, generation)?;
    if walk.heads.is_empty() {
        let what = format!("the measurement at byte {}", last.start);
        // Its readouts may still be on their way.
        let (found, expected) = (bytes.len() as u64, (last.readouts + generation.header()) as u64);
        return Err(if !walk.ended && found < expected {
            Error::Truncated { what, found, expected }
        } else {
            Error::corrupt(what, "no readouts", "at least one")
        });
    }
    scans.push(TwixScan::new(&file, *last, generation, walk, Role::Image, notes));
    Ok(scans)
}

impl TwixScan {
    fn new(
        file: &Mapped,
        measurement: Measurement,
        generation: Generation,
        mut walk: Walk,
        role: Role,
        mut notes: Notes,
    ) -> Self {
        let protocol = Protocol::of(&file.bytes()[measurement.start..measurement.readouts]);
        if role == Role::Image {
            mark_end(&mut walk, &mut notes);
        }
        if walk.empty > 0 {
            notes.warn(format!("{} readouts have no samples or no channels and are passed over", walk.empty));
        }
        receive::dwell_times(&mut walk.heads, &protocol, generation, role, &mut notes);
        // Readouts of other kinds may use other channels: those of the image count.
        let line = walk.heads.iter().position(|head| !head.flags.has(Flags::NOISE)).unwrap_or(0);
        let coil_names = match (walk.heads.get(line), walk.places.get(line)) {
            (Some(head), Some(place)) => {
                let ids = walk::channel_ids(file.bytes(), *place, head, generation);
                receive::coil_names(&protocol, &ids, &mut notes)
            }
            _ => Vec::new(),
        };
        let header = header::describe(&protocol, &walk, coil_names, &mut notes);
        let Walk { mut heads, places, .. } = walk;
        if header.encodings.len() > 1 {
            let calibrates = |head: &&mut ReadoutHead| head.is_calibration();
            heads.iter_mut().filter(calibrates).for_each(|head| head.encoding = 1);
        }
        Self { file: file.clone(), generation, header, heads, places, warnings: notes.close() }
    }
}

/// What the walk through the scan tells of it as a whole.
fn mark_end(walk: &mut Walk, notes: &mut Notes) {
    match walk.heads.last_mut() {
        // Sequences of researchers do not always mark their last readout.
        Some(head) if walk.ended => head.flags = head.flags.with(Flags::LAST_IN_MEASUREMENT),
        _ => notes.warn(
            "the end of the measurement is not marked: it may have been stopped, or the file cut between readouts",
        ),
    }
    if has(walk.bits, bit::RAW_DATA_CORRECTION) {
        notes.warn("the scanner would correct the gain of each channel by factors of its own, which is not done");
    }
    if has(walk.bits, bit::SIGN_REVERSAL) {
        notes.warn("the scanner would change the sign of some readouts, which is not done");
    }
}

impl RawScan for TwixScan {
    fn format(&self) -> &'static str {
        match self.generation {
            Generation::Vb => "Siemens raw data (VB)",
            Generation::Vd => "Siemens raw data (VD, VE or XA)",
        }
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let (Some(head), Some(&place)) = (self.heads.get(readout), self.places.get(readout)) else {
            return Err(super::no_such_readout(readout, self.heads.len()));
        };
        let (channels, bytes) = (usize::from(head.channels), 8 * usize::from(head.samples));
        let first = place + self.generation.lead() + self.generation.channel_header();
        let step = self.generation.channel_header() + bytes;
        let file = self.file.bytes();
        let run = |channel: usize| &file[first + channel * step..first + channel * step + bytes];
        if channels == 1 {
            return Ok(mapped::samples(run(0)));
        }
        let mut samples = Vec::with_capacity(channels * usize::from(head.samples));
        (0..channels).for_each(|channel| samples.extend_from_slice(&mapped::samples(run(channel))));
        Ok(Cow::Owned(samples))
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
