//! MRI raw data in, images out, without a cloud and without a GPU.
//!
//! | module | what it does |
//! |---|---|
//! | [`archive`] | streams an archive of any accepted kind and stores the raw data files in it |
//! | [`format`] | opens raw data: headers, readouts and samples behind one trait, [`format::RawScan`] |
//! | [`opened`] | the scans of what was extracted, and the files that are not read |
//! | [`prepare`] | preprocessing in its order: triage, prewhitening, oversampling, sorting, averaging, detection |
//! | [`prepared`] | the prepared file of [`contract::prepared`], written as a stream, read slice by slice |
//! | [`numerics`] | centred Fourier transform, GRAPPA, coil combination, image metrics |
//! | [`undersample`] | keeps some lines of a fully sampled scan, to compare with all of them |
//! | [`image`] | geometry, NIfTI and PNG |
//! | [`inspect`] | what a physicist asks of a raw scan |
//! | [`phantom`] | an analytic scan with a known image, written as ISMRMRD |
//!
//! Arrays are row-major and named outermost axis first: `[coil, ky, kx]` has kx contiguous. Lengths are in mm,
//! patient directions in LPS, times in the unit their name says.

pub mod archive;
pub mod error;
pub mod format;
pub mod image;
pub mod inspect;
pub mod numerics;
pub mod opened;
pub mod phantom;
pub mod prepare;
pub mod prepared;
pub mod undersample;

pub use error::{Error, Result};

/// A complex sample, single precision.
pub type Complex32 = num_complex::Complex<f32>;
