//! Raw data of scanners behind one trait.
//!
//! A reader turns a file into a typed [`header::Header`], one [`ReadoutHead`] per readout and the samples on demand.
//! ISMRMRD names and flag numbers are used throughout; other formats are mapped to them.
//!
//! | module | what it does |
//! |---|---|
//! | [`header`] | the typed ISMRMRD XML header |
//! | [`xml`] | reads that header from text |
//! | `mend` | follows the readouts where that header is incomplete or contradicts them |
//! | `separate` | whether calibration lines are a scan of their own |
//! | `ismrmrd` | ISMRMRD HDF5 files, read in place |
//! | `stream` | streams of ISMRMRD messages |
//! | `fastmri` | the HDF5 files of the fastMRI data set |
//! | [`bart`] | BART's `.cfl` and `.hdr`, read and written |
//! | `hdf5` | the structure of HDF5 files |
//! | [`siemens`] | Siemens raw data, read in place |
//! | `mapped` | files in memory, read in place |
//! | [`measurements`] | which measurements of one or more files are scans, and which noise and calibration belong to them |

pub mod bart;
mod fastmri;
pub(crate) mod hdf5;
pub mod header;
mod ismrmrd;
mod mapped;
pub mod measurements;
mod mend;
pub(crate) mod separate;
pub mod siemens;
mod stream;
pub mod xml;

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use crate::archive::Content;
use crate::{Complex32, Error, Result};

/// Flags of a readout, numbered from 1 as in the ISMRMRD standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

impl Flags {
    /// First readout of a slice.
    pub const FIRST_IN_SLICE: u32 = 7;
    /// Last readout of a slice.
    pub const LAST_IN_SLICE: u32 = 8;
    /// Noise measurement.
    pub const NOISE: u32 = 19;
    /// Calibration line that is not part of the image.
    pub const CALIBRATION: u32 = 20;
    /// Calibration line that is also part of the image.
    pub const CALIBRATION_AND_IMAGING: u32 = 21;
    /// Line acquired from right to left.
    pub const REVERSE: u32 = 22;
    /// Navigator.
    pub const NAVIGATION: u32 = 23;
    /// Phase correction line.
    pub const PHASE_CORRECTION: u32 = 24;
    /// Last readout of the measurement.
    pub const LAST_IN_MEASUREMENT: u32 = 25;
    /// High-priority feedback.
    pub const HP_FEEDBACK: u32 = 26;
    /// Dummy scan.
    pub const DUMMY: u32 = 27;
    /// Real-time feedback.
    pub const RT_FEEDBACK: u32 = 28;
    /// Surface coil correction scan.
    pub const SURFACE_COIL_CORRECTION: u32 = 29;
    /// Phase stabilisation reference.
    pub const PHASE_STABILISATION_REFERENCE: u32 = 30;
    /// Phase stabilisation.
    pub const PHASE_STABILISATION: u32 = 31;
    /// First of the four flags of compressed samples.
    pub const COMPRESSION_1: u32 = 53;
    /// Last of the four flags of compressed samples.
    pub const COMPRESSION_4: u32 = 56;

    /// Readouts that belong to no image and correct none, with their names.
    pub const LEFT_OUT: [(u32, &str); 7] = [
        (Self::NAVIGATION, "navigator"),
        (Self::HP_FEEDBACK, "feedback"),
        (Self::DUMMY, "dummy"),
        (Self::RT_FEEDBACK, "real-time feedback"),
        (Self::SURFACE_COIL_CORRECTION, "surface coil correction"),
        (Self::PHASE_STABILISATION_REFERENCE, "phase stabilisation reference"),
        (Self::PHASE_STABILISATION, "phase stabilisation"),
    ];

    /// The name of what it is that belongs to no image, if it is that.
    #[must_use]
    pub fn left_out(self) -> Option<&'static str> {
        Self::LEFT_OUT.iter().find(|(number, _)| self.has(*number)).map(|(_, name)| *name)
    }

    /// Whether flag `number` is set.
    #[must_use]
    pub const fn has(self, number: u32) -> bool {
        self.0 & (1 << (number - 1)) != 0
    }

    /// These flags and flag `number`.
    #[must_use]
    pub const fn with(self, number: u32) -> Self {
        Self(self.0 | 1 << (number - 1))
    }

    /// These flags without flag `number`.
    #[must_use]
    pub const fn without(self, number: u32) -> Self {
        Self(self.0 & !(1 << (number - 1)))
    }
}

/// Encoding counters of a readout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Phase encoding step.
    pub step_1: u16,
    /// Partition encoding step.
    pub step_2: u16,
    /// Average.
    pub average: u16,
    /// Slice.
    pub slice: u16,
    /// Contrast (echo).
    pub contrast: u16,
    /// Cardiac phase.
    pub phase: u16,
    /// Repetition.
    pub repetition: u16,
    /// Set.
    pub set: u16,
    /// Segment.
    pub segment: u16,
}

/// What is known of a readout besides its samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReadoutHead {
    /// What kind of readout it is.
    pub flags: Flags,
    /// Running number.
    pub scan_counter: u32,
    /// Complex samples per channel.
    pub samples: u16,
    /// Channels with data.
    pub channels: u16,
    /// Samples to ignore at the start.
    pub discard_pre: u16,
    /// Samples to ignore at the end.
    pub discard_post: u16,
    /// Index of the sample at the centre of k-space.
    pub center_sample: u16,
    /// Which encoding of the header it belongs to.
    pub encoding: u16,
    /// Dimensions of a stored trajectory, 0 for none.
    pub trajectory_dimensions: u16,
    /// Dwell time, us.
    pub sample_time_us: f32,
    /// Centre of the slice or slab, LPS, mm.
    pub position: [f32; 3],
    /// Readout direction, LPS.
    pub read_dir: [f32; 3],
    /// Phase encoding direction, LPS.
    pub phase_dir: [f32; 3],
    /// Slice direction, LPS.
    pub slice_dir: [f32; 3],
    /// Encoding counters.
    pub counters: Counters,
}

impl ReadoutHead {
    /// Whether its samples are stored in a compressed form.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        (Flags::COMPRESSION_1..=Flags::COMPRESSION_4).any(|flag| self.flags.has(flag))
    }

    /// Whether it is a line of an image or of its calibration: no noise and no correction.
    #[must_use]
    pub fn is_line(&self) -> bool {
        let flags = self.flags;
        !flags.has(Flags::NOISE) && !flags.has(Flags::PHASE_CORRECTION) && flags.left_out().is_none()
    }

    /// Whether it is a line of an image: no noise, no correction and not for calibration alone.
    #[must_use]
    pub fn is_imaging(&self) -> bool {
        self.is_line() && !self.is_calibration()
    }

    /// Whether it is a calibration line that is not part of the image.
    #[must_use]
    pub const fn is_calibration(&self) -> bool {
        self.flags.has(Flags::CALIBRATION) && !self.flags.has(Flags::CALIBRATION_AND_IMAGING)
    }
}

/// Whether there are calibration lines and no lines of an image.
fn calibrates_only(heads: &[ReadoutHead]) -> bool {
    let mut lines = heads.iter().filter(|head| head.is_line()).peekable();
    lines.peek().is_some() && lines.all(ReadoutHead::is_calibration)
}

/// Where the calibration lines of a scan of their own are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationSource {
    /// The measurement that the image is of.
    #[default]
    SameMeasurement,
    /// Another measurement of its file.
    OtherMeasurement,
    /// Another file of the upload.
    OtherFile,
}

/// An opened raw data file.
pub trait RawScan: Send + Sync {
    /// Name of the format, for people.
    fn format(&self) -> &'static str;

    /// The typed header.
    fn header(&self) -> &header::Header;

    /// Every readout, in the order of the file.
    fn heads(&self) -> &[ReadoutHead];

    /// Whether nothing of the measurement can be on its way any more: its end is marked, or the file is known to be complete.
    fn has_ended(&self) -> bool {
        self.heads().iter().any(|head| head.flags.has(Flags::LAST_IN_MEASUREMENT))
    }

    /// Samples of one readout, `[channel][sample]`, borrowed from the file where its layout allows.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] or [`crate::Error::Truncated`] when the file does not hold them.
    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>>;

    /// What the reader had to guess or to leave out, for the manifest.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Where the calibration lines are from that are not of the first encoding.
    fn calibration_source(&self) -> CalibrationSource {
        CalibrationSource::SameMeasurement
    }
}

/// Opens every measurement of a raw data file, of a kind told by its content, in the order of the file. The two files of
/// BART lie beside each other; the path of either will do.
///
/// # Errors
/// [`crate::Error::Unsupported`] for a file that is not k-space or of a kind that is not read.
pub fn open_all(path: &Path) -> Result<Vec<Box<dyn RawScan>>> {
    let map = mapped::Mapped::open(path)?;
    let head = map.bytes().get(..Content::HEAD_LENGTH as usize).unwrap_or(map.bytes());
    if bart::is_samples(path) {
        return Ok(vec![Box::new(bart::open(path)?)]);
    }
    match Content::of(head) {
        Content::Hdf5 => {
            let file = hdf5::Hdf5::of(map)?;
            if fastmri::is(&file)? {
                return Ok(vec![Box::new(fastmri::open(file)?)]);
            }
            let scans = ismrmrd::open_all(file)?;
            Ok(scans.into_iter().map(|scan| Box::new(scan) as Box<dyn RawScan>).collect())
        }
        Content::SiemensDat => {
            Ok(siemens::open_all(map)?.into_iter().map(|scan| Box::new(scan) as Box<dyn RawScan>).collect())
        }
        Content::IsmrmrdStream => Ok(vec![Box::new(stream::open(map)?)]),
        Content::BartHeader => Ok(vec![Box::new(bart::open(path)?)]),
        other => Err(other.refusal()),
    }
}

/// Readouts in memory: 128 bytes each.
const MAX_READOUTS: u64 = 8 << 20;

/// Checks the number of readouts before their heads are made.
fn check_readouts(found: u64) -> Result<()> {
    if found > MAX_READOUTS {
        return Err(Error::Limit { what: "the number of readouts", found, limit: MAX_READOUTS });
    }
    Ok(())
}

/// Marks the last readout of an array that is complete, however few lines its last slice has.
fn end(heads: &mut [ReadoutHead]) {
    if let Some(last) = heads.last_mut() {
        last.flags = last.flags.with(Flags::LAST_IN_MEASUREMENT);
    }
}

/// A readout was asked for that the scan does not have.
fn no_such_readout(readout: usize, readouts: usize) -> Error {
    Error::corrupt("a readout number", readout, format!("less than {readouts}"))
}

/// Samples were asked for that are not stored as such.
fn compressed(readout: usize) -> Error {
    Error::unsupported(
        format!("the samples of readout {readout} are compressed"),
        "send the scan without compression of samples",
    )
}

/// Opens the one scan of a raw data file, with its noise scan.
///
/// # Errors
/// Those of [`open_all`], and [`crate::Error::Unsupported`] for a file with several scans.
pub fn open(path: &Path) -> Result<Box<dyn RawScan>> {
    let mut found = measurements::assemble(&[measurements::Source { name: "", path }]);
    match (found.scans.pop(), found.scans.len(), found.refused.pop()) {
        (Some(measurement), 0, _) => Ok(measurement.scan),
        (Some(_), more, _) => Err(Error::unsupported(
            format!("the file holds {} scans", more + 1),
            "reconstruct it as a whole, or send one file per scan",
        )),
        (None, _, Some((_, error))) => Err(error),
        (None, _, None) => Err(Error::corrupt("the raw data file", "no scan", "at least one")),
    }
}
