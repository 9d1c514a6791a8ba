//! Images for people and programs.
//!
//! | module | what it does |
//! |---|---|
//! | [`dicom`] | MR images for viewers and archives |
//! | [`geometry`] | voxel grid, crop to the field of view that was asked for, affine, upright display |
//! | [`mask`] | where k-space was sampled, as a picture |
//! | [`nifti`] | magnitude volumes as NIfTI-1 |
//! | [`png`] | a montage that a person can judge |
//!
//! Images are `[y, x]`: rows along the phase direction, columns along the readout direction.

pub mod dicom;
pub mod geometry;
pub mod mask;
pub mod nifti;
pub mod png;
