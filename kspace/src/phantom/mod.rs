//! An analytic scan with a known image: a head of ellipsoids seen by a ring of coils, written as ISMRMRD.
//!
//! Its k-space is evaluated in closed form, not transformed from an image, so that reconstructions are tested against
//! data nobody's Fourier transform has touched. Signal of the ellipses (Van de Walle et al., IEEE TMI 19:1160, 2000;
//! Guerquin-Kern et al., IEEE TMI 31:626, 2012, with plane waves for the coils).
//!
//! | module | what it does |
//! |---|---|
//! | `object` | the ellipsoids and their Fourier transform |
//! | `bessel` | J1 |
//! | `coils` | sensitivities of loops as sums of plane waves |
//! | `noise` | correlated receiver noise |
//! | `scan` | k-space lines, their order and their headers |
//! | `header` | the XML header |
//! | `record` | the file |

mod bessel;
mod coils;
mod header;
mod noise;
mod object;
mod record;
mod scan;

use std::path::Path;

use ndarray::Array2;

use crate::{Error, Result};

/// Thickness of a slice, mm.
const SLICE_THICKNESS_MM: f64 = 3.0;
/// Distance between the centres of neighbouring slices, mm.
const SLICE_DISTANCE_MM: f64 = 3.3;

/// A scan to make. Deterministic: equal values give files of equal bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phantom {
    /// Slices, 1 to 512. However many there are, they span the head.
    pub slices: usize,
    /// Coils, 1 to 128.
    pub coils: usize,
    /// Points of the image along x and y, even, 32 to 1024. The readout is twice oversampled.
    pub matrix: usize,
    /// Distance R of the acquired lines, 1 (fully sampled) to 16.
    pub acceleration: usize,
    /// Lines of the calibration block at the centre of k-space; not used with acceleration 1.
    pub acs: usize,
    /// Mean signal of the head in the middle slice (root sum of squares) over the standard deviation of a coil's noise.
    pub snr: f64,
    /// What the noise and the texture of the brain are drawn from.
    pub seed: u64,
}

impl Default for Phantom {
    fn default() -> Self {
        Self { slices: 4, coils: 8, matrix: 128, acceleration: 4, acs: 32, snr: 60.0, seed: 0 }
    }
}

impl Phantom {
    /// Whether the values make a scan.
    ///
    /// # Errors
    /// [`Error::Corrupt`] that names the first value out of range and the range.
    pub fn validate(&self) -> Result<()> {
        let Self { slices, coils, matrix, acceleration, acs, snr, .. } = *self;
        let check = |what: &str, found: String, fits: bool, expected: &str| {
            if fits { Ok(()) } else { Err(Error::corrupt(format!("phantom {what}"), found, expected)) }
        };
        check("slices", slices.to_string(), (1..=512).contains(&slices), "1 to 512")?;
        check("coils", coils.to_string(), (1..=128).contains(&coils), "1 to 128")?;
        let fits = (32..=1024).contains(&matrix) && matrix.is_multiple_of(2);
        check("matrix", matrix.to_string(), fits, "an even number from 32 to 1024")?;
        check("acceleration", acceleration.to_string(), (1..=16).contains(&acceleration), "1 to 16")?;
        check("calibration lines", acs.to_string(), acs <= matrix, "at most the matrix")?;
        check("SNR", snr.to_string(), snr.is_finite() && snr > 0.0, "a positive number")
    }

    /// Writes the scan as an ISMRMRD file.
    ///
    /// # Errors
    /// As [`Self::validate`], and [`Error::Io`] when the file cannot be written.
    pub fn write_ismrmrd(&self, path: &Path) -> Result<()> {
        scan::write(self, path, self.acceleration)
    }

    /// Writes the fully sampled twin: the same scan with every line, with the same noise in the lines both have.
    ///
    /// # Errors
    /// As [`Self::write_ismrmrd`].
    pub fn write_full_ismrmrd(&self, path: &Path) -> Result<()> {
        scan::write(self, path, 1)
    }

    /// The noise-free root sum of squares image of each slice, `[y, x]`, in the scale of a unitary inverse transform
    /// of the k-space in the file. In the order of the slice counter; rows lie along phase encoding. Empty for values
    /// that [`Self::validate`] refuses.
    #[must_use]
    pub fn truth(&self) -> Vec<Array2<f32>> {
        scan::Scan::new(self).map(|scan| (0..self.slices).map(|slice| scan.image(slice)).collect()).unwrap_or_default()
    }
}
