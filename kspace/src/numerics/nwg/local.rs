//! Signal energy around every sample of k-space.

use ndarray::{Array2, Array3, Axis};

use crate::Complex32;
use crate::numerics::resample::mirrored;

/// Readout points that an energy is averaged over.
const READOUT: usize = 15;
/// Steps from the weakest energy to that of the calibration lines, which have weights of their own.
pub(super) const BINS: usize = 10;
/// Steps that there are where the centre of k-space is missing: to 6 times the mean energy of the calibration lines, and from there, where
/// the weights are fitted to the strongest samples, to 250 times.
pub(super) const STRONG: usize = 12;
pub(super) const STRONGEST: usize = 16;
/// The weakest energy told apart, relative to the calibration lines.
const WEAKEST: f64 = 1e-4;

/// Energies of one slice.
pub(super) struct Energy {
    /// `[ky, kx]`: signal energy of a sample, summed over the coils, without noise.
    pub(super) map: Array2<f64>,
}

impl Energy {
    /// Smooths the power of the acquired lines: a box along the readout, a Gaussian of R lines along ky.
    pub(super) fn of(kspace: &Array3<Complex32>, mask: &[bool], acceleration: usize, noise_variance: f64) -> Self {
        let (coils, lines, points) = kspace.dim();
        let mut power = Array2::<f64>::zeros((lines, points));
        for coil in kspace.axis_iter(Axis(0)) {
            power.zip_mut_with(&coil, |sum, value| *sum += f64::from(value.norm_sqr()));
        }
        for mut line in power.outer_iter_mut() {
            let smooth = box_mean(&line.to_vec(), READOUT);
            line.iter_mut().zip(smooth).for_each(|(to, from)| *to = from);
        }
        let reach = 4 * acceleration;
        let kernel: Vec<f64> = (0..=reach).map(|at| (-0.5 * (at as f64 / acceleration as f64).powi(2)).exp()).collect();
        let noise = coils as f64 * noise_variance;
        let mut map = Array2::zeros((lines, points));
        for (ky, mut to) in map.outer_iter_mut().enumerate() {
            let mut total = 0.0f64;
            for near in ky.saturating_sub(reach)..(ky + reach + 1).min(lines) {
                if mask[near] {
                    let weight = kernel[ky.abs_diff(near)];
                    total += weight;
                    to.zip_mut_with(&power.row(near), |sum, value| *sum += weight * value);
                }
            }
            // Far from every acquired line there is nothing to fill either.
            to.mapv_inplace(|sum: f64| (sum / total.max(1e-30) - noise).max(0.0));
        }
        Self { map }
    }
}

/// Step, of so many, of an energy relative to that of the calibration lines.
pub(super) fn bin(relative: f64, steps: usize) -> usize {
    let depth = relative.max(WEAKEST).ln() / WEAKEST.ln();
    (((1.0 - depth) * BINS as f64) as usize).min(steps - 1)
}

/// Relative energy in the middle of a step.
pub(super) fn middle(bin: usize) -> f64 {
    WEAKEST.powf(1.0 - (bin as f64 + 0.5) / BINS as f64)
}

/// Mean over `width` neighbours, odd; at the ends the values are mirrored.
pub(super) fn box_mean(values: &[f64], width: usize) -> Vec<f64> {
    let (length, half) = (values.len() as isize, (width / 2) as isize);
    let value = |at: isize| values[mirrored(at, values.len())];
    (0..length).map(|at| (at - half..=at + half).map(value).sum::<f64>() / width as f64).collect()
}
