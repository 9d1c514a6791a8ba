//! Calibration lines of a slice that are not part of its k-space.
//!
//! A calibration scan of its own sees the same coils and the same field of view as the image, but its flip angle, contrast,
//! bandwidth and readout length may differ, so that its samples have another energy and another noise. Kernels and sensitivities are
//! linear and do not mind; a ridge, the weight of an equation and the weights of a network compare energies and noise of calibration
//! and image, and do. So [`Separate`] brings the lines to the energy that the image has at the centre of k-space, and
//! knows the noise of both.

use contract::prepared::Sampling;
use ndarray::{Array3, ArrayView3, s};

use super::window;
use crate::{Complex32, Error, Result};

/// Calibration lines in the energy of the image, and the noise of both.
#[derive(Debug, Clone)]
pub struct Separate {
    /// `[coil, line, kx]`.
    pub lines: Array3<Complex32>,
    /// Complex noise variance of a sample of `lines`.
    pub noise_variance: f64,
    /// Complex noise variance of an acquired sample of the image.
    pub of_image: f64,
}

impl Separate {
    /// Scales `lines` (`[coil, line, kx]`, centred) to the lines of `kspace` (`[coil, ky, kx]`, acquired where `mask` says) that
    /// they stand for. `of_image` is the noise variance of the image where it is known; otherwise its outer lines give it, or
    /// where these are too few the calibration lines.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for another number of coils, [`Error::Unsupported`] for lines that are too few or hold no signal.
    pub fn new(
        lines: &Array3<Complex32>,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        of_image: Option<f64>,
    ) -> Result<Self> {
        if lines.dim().0 != kspace.dim().0 {
            return Err(Error::corrupt(
                "calibration lines of a slice",
                format!("{} coils", lines.dim().0),
                format!("{} coils as the image", kspace.dim().0),
            ));
        }
        let own = window::noise_variance(lines)?;
        let known = of_image.or_else(|| window::noise_variance_of_image(kspace, mask, sampling));
        let ratio = energy_ratio(lines.view(), own, kspace.view(), mask, known.unwrap_or(0.0)).ok_or_else(|| {
            Error::unsupported("calibration lines", "they hold no usable signal; check the calibration scan")
        })?;
        let noise_variance = ratio * own;
        let scale = ratio.sqrt() as f32;
        Ok(Self { lines: lines * scale, noise_variance, of_image: known.unwrap_or(noise_variance) })
    }
}

/// The sampling of an image of `rows` lines whose calibration block is where `lines` separate calibration lines are, or reaches
/// as far as the lines of its own.
#[must_use]
pub fn covered(sampling: &Sampling, lines: usize, rows: usize) -> Sampling {
    let first = (rows / 2).saturating_sub(lines / 2);
    let end = (first + lines).min(rows);
    match sampling.acs_lines {
        0 => Sampling { acs_first: first, acs_lines: end - first, ..*sampling },
        own => {
            let (first, end) = (first.min(sampling.acs_first), end.max(sampling.acs_first + own));
            Sampling { acs_first: first, acs_lines: end - first, ..*sampling }
        }
    }
}

/// Signal energy of the acquired lines of the image at the centre over that of the calibration lines in their place, over the
/// points that both have.
fn energy_ratio(
    calibration: ArrayView3<'_, Complex32>,
    of_calibration: f64,
    image: ArrayView3<'_, Complex32>,
    mask: &[bool],
    of_image: f64,
) -> Option<f64> {
    let (coils, lines, points) = calibration.dim();
    let (_, rows, columns) = image.dim();
    let width = points.min(columns);
    let signal = |of: ArrayView3<'_, Complex32>, line: usize, noise: f64| {
        let first = of.dim().2 / 2 - width / 2;
        let samples = of.slice(s![.., line, first..first + width]);
        samples.iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>() - (coils * width) as f64 * noise
    };
    let (mut of_both, mut calibrating) = (0.0, 0.0);
    for line in 0..lines {
        let row = (rows / 2 + line).checked_sub(lines / 2).filter(|row| mask.get(*row) == Some(&true));
        if let Some(row) = row {
            of_both += signal(image, row, of_image);
            calibrating += signal(calibration, line, of_calibration);
        }
    }
    let ratio = of_both / calibrating;
    (of_both > 0.0 && calibrating > 0.0 && ratio.is_finite()).then_some(ratio)
}

#[cfg(test)]
mod tests;
