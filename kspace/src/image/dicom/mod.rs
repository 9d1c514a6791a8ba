//! MR images for viewers and archives (DICOM PS3.3).
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@classic`] | MR Image Storage (A.4), a file for each slice |
//! | [`mod@enhanced`] | Enhanced MR Image Storage (A.36.2), a file for each series |
//! | [`common`] | what both hold: patient, study, series, equipment, place, voxels |
//! | [`identity`] | who the patient is, put back where names may be |
//! | [`item`] | data elements |
//!
//! Values come from an allow-list: nothing in a file names a person, the patient is the scan id. Identifiers are made of the scan id, so
//! that the same scan, method and seed give the same bytes. One scale holds for all images of a scan: 4095 is the 99.9 percentile, and rescale
//! slope and intercept lead back to the unit of the raw data.

mod classic;
mod common;
mod enhanced;
pub mod identity;
mod item;

use std::collections::BTreeMap;

use contract::prepared::{Entry, Header, Step};
use contract::{PreparedMeta, ScanId};
use ndarray::ArrayView4;

pub use classic::classic;
pub use enhanced::enhanced;

use super::Frame;
use super::geometry::Stack;
use crate::{Error, Result};

/// What is written.
pub struct Study<'a> {
    /// The scan.
    pub scan: &'a ScanId,
    /// How it was acquired.
    pub meta: &'a PreparedMeta,
    /// Method and what tells one reconstruction of a scan from another, such as `auto, sparse, seed 0`.
    pub method: &'a str,
    /// What else the voxels depend on, such as image options: told by identifiers and in words.
    pub options: &'a str,
    /// Release of the software.
    pub version: &'a str,
    /// Where the slices are.
    pub stack: &'a Stack,
    /// What the frames are.
    pub frames: &'a [Frame],
    /// Magnitude `[frame, slice, y, x]`.
    pub volume: ArrayView4<'a, f32>,
}

/// Volumes of one contrast and set, which differ by their time only.
pub(crate) struct Series {
    contrast: u16,
    set: u16,
    /// From 1.
    number: usize,
    /// Frames in the order of time: repetitions, and cardiac phases in each.
    frames: Vec<usize>,
    /// Cardiac phases.
    phases: usize,
}

impl Study<'_> {
    const fn header(&self) -> &Header {
        &self.meta.header
    }

    /// The series, by contrast and set.
    ///
    /// # Errors
    /// [`Error::Limit`] for images that are larger than DICOM can hold, [`Error::Corrupt`] for ones without voxels.
    fn series(&self) -> Result<Vec<Series>> {
        let (frames, _, rows, columns) = self.volume.dim();
        if self.volume.is_empty() || self.frames.len() != frames {
            return Err(Error::corrupt("image", "no voxels, or volumes without counters", "at least one image"));
        }
        let largest = rows.max(columns);
        if largest > usize::from(u16::MAX) {
            return Err(Error::Limit {
                what: "rows or columns of a DICOM image",
                found: largest as u64,
                limit: u16::MAX.into(),
            });
        }
        let mut series = BTreeMap::<(u16, u16), Vec<usize>>::new();
        for (at, frame) in self.frames.iter().enumerate() {
            series.entry((frame.contrast, frame.set)).or_default().push(at);
        }
        let described = series.into_iter().zip(1..).map(|(((contrast, set), mut frames), number)| {
            frames.sort_by_key(|at| (self.frames[*at].repetition, self.frames[*at].phase));
            let mut phases: Vec<u16> = frames.iter().map(|at| self.frames[*at].phase).collect();
            phases.sort_unstable();
            phases.dedup();
            Series { contrast, set, number, frames, phases: phases.len() }
        });
        Ok(described.collect())
    }

    /// Path of a file, counted from 1. Of its scan, so that what an older scan left in the folder is not taken for a part of this one.
    fn name(&self, number: usize) -> String {
        format!("dicom/{}-{number:06}.dcm", self.scan)
    }

    /// Whether the slices are partitions of a slab.
    fn is_volume(&self) -> bool {
        self.meta.step(Step::PARTITIONS).is_some()
    }

    /// How often each line was acquired, where all were as often.
    fn averages(&self) -> Option<f64> {
        self.meta.step(Step::AVERAGE).map_or(Some(1.0), |step| step.number("copies"))
    }

    /// The value of a contrast, where there is one for each, or the only one.
    fn of_contrast(values: &[f64], series: &Series) -> Option<f64> {
        values.get(usize::from(series.contrast)).or(values.first()).copied()
    }

    /// How the k-space of a series was sampled.
    fn sampled(&self, series: &Series) -> Option<&Entry> {
        self.meta.entries.iter().find(|entry| (entry.contrast, entry.set) == (series.contrast, series.set))
    }
}
