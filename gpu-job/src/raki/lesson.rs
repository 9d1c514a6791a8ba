//! What networks can learn from besides the calibration lines: lines that another method has filled.

use std::ops::Range;

use kspace::Complex32;
use ndarray::{Array2, Array3};

use super::layout::Layout;
use crate::error::JobError;

/// Extent of the box, lines of ky and samples of kx, over which the power around a sample is averaged.
const BOX: [usize; 2] = [5, 7];
/// The least signal and noise that a sample is taken to have, as a part of the largest. It only keeps weights finite where
/// data are exactly zero and noise is said to be none.
const LEAST: f64 = 1e-12;

/// K-space filled by another method, from which networks learn.
///
/// The loss of plain calibration lines is dominated by the few samples at the centre of k-space. Here the residual of
/// a sample is multiplied by `(E + C s)^(-1/2)`, with E the signal energy around it summed over the C coils and s the
/// noise variance: every sample counts by its relative error, down to the noise.
#[derive(Debug, Clone)]
pub struct Lesson<'a> {
    /// `[coil, ky, kx]`, in the units of the entry; acquired lines in it.
    pub kspace: &'a Array3<Complex32>,
    /// The lines learnt from.
    pub lines: Range<usize>,
    /// Complex noise variance s of a sample, in squared units of the entry.
    pub noise_variance: f64,
}

impl Lesson<'_> {
    /// The lines, when this fits an entry of `[coil, ky, kx]`.
    pub(super) fn checked_lines(&self, shape: (usize, usize, usize)) -> Result<Range<usize>, JobError> {
        let found = self.kspace.dim();
        if found != shape || self.lines.end > shape.1 {
            return Err(JobError::Bug(format!(
                "a lesson of {found:?} samples and lines {:?} for an entry of {shape:?}, expected the same samples and lines in it",
                self.lines
            )));
        }
        if !(self.noise_variance >= 0.0 && self.noise_variance.is_finite()) {
            return Err(JobError::Bug(format!(
                "a noise variance of {}, expected a finite number not below 0",
                self.noise_variance
            )));
        }
        Ok(self.lines.clone())
    }

    /// Weights `[line, kx]` of the residuals, their mean square 1 over the samples that are targets of `layout`.
    ///
    /// Scaling the weights scales the loss and its gradient. Adam divides by the size of the gradient, so training does not
    /// change until that size nears Adam's epsilon; the mean square of 1 keeps it as far from there as without weights, at any scale of the data.
    pub(super) fn weights(&self, layout: Layout) -> Array2<f32> {
        let noise = self.kspace.dim().0 as f64 * self.noise_variance;
        let mut level = self.smoothed_power().mapv_into(|power| (power - noise).max(0.0) + noise);
        let least = LEAST * level.iter().copied().fold(0.0, f64::max);
        level.mapv_inplace(|level| 1.0 / level.max(least).max(f64::MIN_POSITIVE));
        let (lines, width) = level.dim();
        let margin = layout.margin();
        let targets = ndarray::s![1..lines - layout.acceleration - 1, margin..width - margin];
        let scale = level.slice(targets).mean().unwrap_or(1.0);
        level.mapv(|square| (square / scale).sqrt() as f32)
    }

    /// Power `[line, kx]` summed over the coils and averaged over the part of [`BOX`] that lies in the lines.
    fn smoothed_power(&self) -> Array2<f64> {
        let (_, _, width) = self.kspace.dim();
        let mut power = Array2::<f64>::zeros((self.lines.len(), width));
        for coil in self.kspace.outer_iter() {
            for (ky, mut sums) in self.lines.clone().zip(power.rows_mut()) {
                for (sum, sample) in sums.iter_mut().zip(coil.row(ky)) {
                    *sum += f64::from(sample.norm_sqr());
                }
            }
        }
        let around =
            |at: usize, extent: usize, end: usize| at.saturating_sub(extent / 2)..(at + extent / 2 + 1).min(end);
        let along_kx = Array2::from_shape_fn(power.dim(), |(line, kx)| {
            let near = around(kx, BOX[1], width);
            near.clone().map(|kx| power[[line, kx]]).sum::<f64>() / near.len() as f64
        });
        Array2::from_shape_fn(power.dim(), |(line, kx)| {
            let near = around(line, BOX[0], self.lines.len());
            near.clone().map(|line| along_kx[[line, kx]]).sum::<f64>() / near.len() as f64
        })
    }
}
