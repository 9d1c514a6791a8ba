//! From files to scans: what is to be reconstructed, and which noise belongs to it.
//!
//! A file can hold several measurements, and an archive several files. A measurement that is noise throughout is no scan
//! but belongs to scans that have no noise of their own; one with images in several encodings is several scans.
//!
//! | module | what it does |
//! |---|---|
//! | `encodings` | one scan for each encoding that holds an image |
//! | `noise` | finds the noise scan of an image and puts its channels in the order of the image |

mod encodings;
mod noise;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Flags, RawScan, open_all};
use crate::Error;
use noise::NoiseScan;

/// A raw data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name without ending, which may hold the name of a person.
    pub name: &'a str,
    /// Where its bytes are.
    pub path: &'a Path,
}

/// A scan to reconstruct, with the noise that belongs to it.
pub struct Measurement {
    /// What tells it from the others of the same input, for names of results: the name of its file, numbered from the second
    /// scan of that name on; `scan` in a file without a name that holds several, and empty where it is the only one.
    pub name: String,
    /// Number of the file that it is from.
    pub file: usize,
    /// The scan; noise of another measurement is among its readouts.
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

/// Tells scans and noise apart; `opened` are the measurements of each file.
fn sort_out(names: &[&str], opened: Vec<crate::Result<Vec<Box<dyn RawScan>>>>) -> Measurements {
    let mut found = Measurements::default();
    let (mut images, mut noises) = (Vec::new(), Vec::new());
    for (file, measurements) in opened.into_iter().enumerate() {
        match measurements {
            Err(error) => found.refused.push((file, error)),
            Ok(measurements) => {
                for scan in measurements {
                    if scan.heads().iter().all(|head| head.flags.has(Flags::NOISE)) {
                        noises.push(NoiseScan { file, scan: Arc::from(scan) });
                    } else {
                        images.extend(encodings::split(scan).into_iter().map(|scan| (file, scan)));
                    }
                }
            }
        }
    }
    if images.is_empty() {
        let files: BTreeSet<usize> = noises.iter().map(|noise| noise.file).collect();
        found.refused.extend(files.into_iter().map(|file| {
            let advice = "send it in one archive with the scan that it belongs to";
            (file, Error::unsupported("the file holds a noise scan and no image", advice))
        }));
        found.refused.sort_by_key(|(file, _)| *file);
    }
    let mut given = BTreeSet::new();
    let several = images.len() > 1;
    for (file, scan) in images {
        let stem = names.get(file).copied().unwrap_or_default();
        let name = if several || !stem.is_empty() { name(stem, &mut given) } else { String::new() };
        found.scans.push(Measurement { name, file, scan: noise::attach(scan, file, &noises) });
    }
    found
}

/// `stem`, or where that is taken `stem-2` and so on.
fn name(stem: &str, given: &mut BTreeSet<String>) -> String {
    let stem = if stem.is_empty() { "scan" } else { stem };
    let mut name = stem.to_owned();
    let mut number = 2_u64;
    while !given.insert(name.clone()) {
        name = format!("{stem}-{number}");
        number += 1;
    }
    name
}
