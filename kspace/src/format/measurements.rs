//! From files to scans: what is to be reconstructed, and which noise and calibration belong to it.
//!
//! A file can hold several measurements, and an archive several files. A measurement that is noise or calibration throughout
//! is no scan but belongs to scans that have none of their own; one with images in several encodings is several scans.
//!
//! | module | what it does |
//! |---|---|
//! | `encodings` | one scan for each encoding that holds an image |
//! | `noise` | finds the noise scan of an image |
//! | `calibration` | finds the calibration scan of an image, by coils, field of view and slices |
//! | `coils` | which channel of another scan each channel is |
//! | `lend` | puts readouts of another measurement behind those of an image |

mod calibration;
mod coils;
mod encodings;
mod lend;
mod noise;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use contract::keys::DistinctNames;

use super::{CalibrationSource, RawScan, calibrates_only, open_all};
use crate::Error;
use lend::{Fit, Joined, Lender, Loan, Loans};

/// A raw data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name without ending, which may hold the name of a person.
    pub name: &'a str,
    /// Where its bytes are.
    pub path: &'a Path,
}

/// A scan to reconstruct, with the noise and the calibration that belong to it.
pub struct Measurement {
    /// What tells it from the others of the same input, for names of results: the name of its file, numbered from the second
    /// scan of that name on; `scan` in a file without a name that holds several, and empty where it is the only one.
    pub name: String,
    /// Number of the file that it is from.
    pub file: usize,
    /// The scan; noise and calibration lines of other measurements are among its readouts.
    pub scan: Box<dyn RawScan>,
}

/// What is in the files of one input.
#[derive(Default)]
pub struct Measurements {
    /// The scans, in the order of the files.
    pub scans: Vec<Measurement>,
    /// Files that are not read, by number, and why.
    pub refused: Vec<(usize, Error)>,
}

/// Opens files that belong together.
#[must_use]
pub fn assemble(files: &[Source<'_>]) -> Measurements {
    let opened = files.iter().map(|source| open_all(source.path)).collect();
    let names: Vec<&str> = files.iter().map(|source| source.name).collect();
    sort_out(&names, opened)
}

/// A scan, and the file that it is from.
type Image = (usize, Box<dyn RawScan>);
/// The calibration lines that an image takes, and which calibration scan they are of; `None` where it needs none.
type Calibration = Option<Fit<(usize, Loan)>>;

/// What measurements are.
#[derive(Default)]
struct Sorted {
    images: Vec<Image>,
    noises: Vec<Lender>,
    calibrations: Vec<Lender>,
}

/// Tells scans, noise and calibration apart; `opened` are the measurements of each file.
fn sort_out(names: &[&str], opened: Vec<crate::Result<Vec<Box<dyn RawScan>>>>) -> Measurements {
    let mut found = Measurements::default();
    let mut sorted = Sorted::default();
    let mut all: Vec<Image> = Vec::new();
    for (file, measurements) in opened.into_iter().enumerate() {
        match measurements {
            Err(error) => found.refused.push((file, error)),
            Ok(measurements) => all.extend(measurements.into_iter().map(|scan| (file, scan))),
        }
    }
    let sources = noise::sources(&all);
    for ((file, scan), lends_noise) in all.into_iter().zip(sources) {
        sorted.add(file, scan, lends_noise);
    }
    if sorted.images.is_empty() {
        found.refused.extend(sorted.refusals());
        found.refused.sort_by_key(|(file, _)| *file);
    }
    let mut given = DistinctNames::default();
    let several = sorted.images.len() > 1;
    for (file, scan) in sorted.join() {
        let stem = names.get(file).copied().unwrap_or_default();
        let name = match stem {
            "" if several => given.give("scan", '-'),
            "" => String::new(),
            stem => given.give(stem, '-'),
        };
        found.scans.push(Measurement { name, file, scan });
    }
    found
}

impl Sorted {
    /// Adds a scan, which only `lends_noise` whatever else is in it, or is told by its readouts.
    fn add(&mut self, file: usize, scan: Box<dyn RawScan>, lends_noise: bool) {
        let lender = |scan| Lender { file, scan: Arc::from(scan) };
        if lends_noise {
            self.noises.push(lender(scan));
        } else if calibrates_only(scan.heads()) {
            let lender = lender(scan);
            if lender.scan.heads().iter().any(noise::is_noise) {
                // In front of scans that are noise throughout, which are chosen before it.
                self.noises.insert(0, Lender { file, scan: Arc::clone(&lender.scan) });
            }
            self.calibrations.push(lender);
        } else {
            self.images.extend(encodings::split(scan).into_iter().map(|scan| (file, scan)));
        }
    }

    /// Why files without an image are not read.
    fn refusals(&self) -> Vec<(usize, Error)> {
        let advice = "send it in one archive with the scan that it belongs to";
        let kinds = [(&self.noises, "a noise scan"), (&self.calibrations, "a calibration scan")];
        let named = kinds.into_iter().flat_map(|(lenders, kind)| lenders.iter().map(move |it| (it.file, kind)));
        // Noise beside calibration is not what a person would call the file by.
        let files: BTreeMap<usize, &str> = named.collect();
        let refusal = |(file, kind)| (file, Error::unsupported(format!("the file holds {kind} and no image"), advice));
        files.into_iter().map(refusal).collect()
    }

    /// Gives each image the noise and the calibration that it lacks. Where none fits, the image says so; a calibration scan that no
    /// image takes is named by all, since whoever sent it expects something of it.
    fn join(self) -> Vec<Image> {
        let Self { images, noises, calibrations } = self;
        let find = |(file, scan): &Image| calibration::find(scan.as_ref(), *file, &calibrations);
        let found: Vec<Calibration> = images.iter().map(find).collect();
        let taken: BTreeSet<usize> = found.iter().flatten().flatten().map(|(number, _)| *number).collect();
        let idle = taken.len() < calibrations.len();
        let join = |((file, scan), calibration): (Image, Calibration)| {
            let mut loans = Loans::default();
            match noise::find(scan.as_ref(), file, &noises) {
                Some(Ok(noise)) => loans.noise = Some(noise),
                Some(Err(reason)) => loans.warnings.push(format!("{reason}: not used")),
                None => {}
            }
            match calibration {
                Some(Ok((number, loan))) => {
                    let lender = &calibrations[number];
                    let of_it = |warning: &String| format!("calibration scan: {warning}");
                    loans.warnings.extend(lender.scan.warnings().iter().map(of_it));
                    let same = lender.file == file;
                    let other = CalibrationSource::OtherFile;
                    loans.calibration = Some((loan, if same { CalibrationSource::OtherMeasurement } else { other }));
                }
                Some(Err(reason)) if idle || calibration::is_accelerated(scan.as_ref()) => {
                    loans.warnings.push(format!("{reason}: not used"));
                }
                None if idle => {
                    let reason = "the image has calibration lines of its own";
                    loans.warnings.push(format!("calibration scan not used: {reason}"));
                }
                _ => {}
            }
            (file, Joined::of(scan, loans))
        };
        images.into_iter().zip(found).map(join).collect()
    }
}
