//! Raw data of scanners behind one trait.
//!
//! A reader turns a file into a typed [`header::Header`], one [`ReadoutHead`] per readout and the samples on demand.
//! ISMRMRD names and flag numbers are used throughout; other formats are mapped to them.
//!
//! | module | what it does |
//! |---|---|
//! | [`header`] | the typed ISMRMRD XML header |
//! | [`xml`] | reads that header from text |
//! | `readout` | flags, counters and heads of readouts |
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
mod readout;
pub(crate) mod separate;
pub mod siemens;
mod stream;
pub mod xml;

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use readout::calibrates_only;
pub use readout::{Counters, Flags, Kind, ReadoutHead};

use crate::archive::Content;
use crate::{Complex32, Error, Result};

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
