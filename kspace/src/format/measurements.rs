//! From files to scans: what is to be reconstructed, and which noise belongs to it.
//!
//! A file can hold several measurements, and an archive several files. Some of them are scans, others are noise that a scan
//! refers to.

use std::path::Path;

use super::{RawScan, open_all};
use crate::Error;

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
    /// What tells it from the others of the same input, for names of results; empty where it is the only one.
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
    let mut found = Measurements::default();
    for (file, source) in files.iter().enumerate() {
        match open_all(source.path) {
            Err(error) => found.refused.push((file, error)),
            Ok(scans) => found.scans.extend(scans.into_iter().map(|scan| Measurement {
                name: if files.len() > 1 { source.name.to_owned() } else { String::new() },
                file,
                scan,
            })),
        }
    }
    found
}
