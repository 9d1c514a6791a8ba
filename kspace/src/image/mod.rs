//! Images for people and programs.
//!
//! | module | what it does |
//! |---|---|
//! | [`dicom`] | MR images for viewers and archives |
//! | [`display`] | slices upright, with square pixels |
//! | [`geometry`] | voxel grid, crop to the field of view that was asked for, places of slices |
//! | [`ismrmrd`] | images for tools of the research community |
//! | [`mask`] | where k-space was sampled, as a picture |
//! | [`nifti`] | magnitude volumes as NIfTI-1 |
//! | [`png`] | a montage that a person can judge |
//!
//! Images are `[y, x]`: rows along the phase direction, columns along the readout direction.

pub mod dicom;
pub mod display;
pub mod geometry;
pub mod ismrmrd;
pub mod mask;
pub mod nifti;
pub mod png;

use contract::prepared::Entry;

/// What tells volumes of one slice stack apart, by their counters; in the order in which volumes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// Contrast (echo).
    pub contrast: u16,
    /// Cardiac phase.
    pub phase: u16,
    /// Repetition.
    pub repetition: u16,
    /// Set.
    pub set: u16,
}

impl From<&Entry> for Frame {
    fn from(entry: &Entry) -> Self {
        let Entry { contrast, phase, repetition, set, .. } = *entry;
        Self { contrast, phase, repetition, set }
    }
}
