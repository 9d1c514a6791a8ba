//! The missing samples, each with the weights of its step of energy.

use std::ops::Range;

use contract::prepared::Sampling;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par, c32};
use ndarray::{Array2, Array3, s};
use rayon::prelude::*;

use super::fit::{Fit, patch_index};
use super::local::{Energy, STRONG, bin};
use super::{Filled, TAPS};
use crate::{Complex32, Result};

/// Acquired lines outside the calibration block, which a line of another grid can predict.
pub fn outer_lines(mask: &[bool], sampling: &Sampling) -> impl Iterator<Item = usize> {
    let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
    (0..mask.len()).filter(move |line| mask[*line] && !block.contains(line))
}

impl Fit {
    /// Fills `kspace` from its grid lines. Sources outside the acquired range count as zero, so that no line and no
    /// point is left out at the edges.
    pub(super) fn apply(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        energy: &Energy,
    ) -> Result<Filled> {
        let (_, lines, points) = kspace.dim();
        let bins = self.bins(energy);
        let within = |line: usize| (sampling.first..=sampling.last).contains(&line);
        let predicted = self.predict(kspace, mask, sampling, sampling.offset, &bins, within);
        let mut filled = Filled {
            kspace: kspace.clone(),
            noise_variance: self.noise_variance,
            error_variance: Array2::from_elem((lines, points), self.noise_variance as f32),
            centre: Array2::from_shape_fn((lines, points), |at| bins[at] >= STRONG && !mask[at.0] && within(at.0)),
            calibration: (0.0, 0.0),
            region: (0, 0),
        };
        for (line, values) in predicted {
            for (coil, values) in values.chunks_exact(points).enumerate() {
                let mut to = filled.kspace.slice_mut(s![coil, line, ..]);
                for (to, value) in to.iter_mut().zip(values) {
                    if mask[line] {
                        filled.calibration.0 += f64::from((*value - *to).norm_sqr());
                        filled.calibration.1 += f64::from(to.norm_sqr());
                    } else {
                        *to = *value;
                    }
                }
            }
            if !mask[line] {
                for (kx, to) in filled.error_variance.row_mut(line).iter_mut().enumerate() {
                    *to = self.error_variance(energy.map[[line, kx]], bins[[line, kx]]) as f32;
                }
            }
        }
        Ok(filled)
    }

    /// The lines `range` of `kspace` as [`Self::apply`] fills them, `[coil, line, kx]`.
    pub(super) fn lines(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        energy: &Energy,
        range: Range<usize>,
    ) -> Array3<Complex32> {
        let wanted = |line: usize| range.contains(&line) && !mask[line];
        let mut lines = kspace.slice(s![.., range.clone(), ..]).to_owned();
        for (line, values) in self.predict(kspace, mask, sampling, sampling.offset, &self.bins(energy), wanted) {
            let to = lines.slice_mut(s![.., line - range.start, ..]);
            to.into_iter().zip(values).for_each(|(to, value)| *to = value);
        }
        lines
    }

    /// The step of energy of every sample, `[ky, kx]`: which weights fill it.
    pub(super) fn bins(&self, energy: &Energy) -> Array2<usize> {
        energy.map.mapv(|energy| bin(energy / self.energy, self.kernels.len()))
    }

    /// Acquired lines outside the calibration block as the filled lines after them and before them predict them, less what
    /// was acquired.
    pub(super) fn round_trip(
        &self,
        filled: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        energy: &Energy,
    ) -> Vec<Complex32> {
        let bins = self.bins(energy);
        let present: Vec<bool> = (0..mask.len()).map(|line| (sampling.first..=sampling.last).contains(&line)).collect();
        let outer_lines: Vec<usize> = outer_lines(mask, sampling).collect();
        let offset = (sampling.offset + 1) % sampling.acceleration;
        let outer = |line: usize| outer_lines.binary_search(&line).is_ok();
        let predicted = self.predict(filled, &present, sampling, offset, &bins, outer);
        let points = filled.dim().2;
        let mut residual = Vec::with_capacity(predicted.len() * self.coils * points);
        for (line, values) in predicted {
            for (coil, values) in values.chunks_exact(points).enumerate() {
                residual.extend(values.iter().zip(filled.slice(s![coil, line, ..])).map(|(value, to)| value - to));
            }
        }
        residual
    }

    /// The `wanted` lines between the lines of the grid at `offset`, each `[coil, kx]`, read from the grid lines that `mask` has.
    fn predict(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        offset: usize,
        bins: &Array2<usize>,
        wanted: impl Fn(usize) -> bool + Sync,
    ) -> Vec<(usize, Vec<Complex32>)> {
        let spacing = self.acceleration as isize;
        let (first, last) = (sampling.first as isize, sampling.last as isize);
        let start = first - (first - offset as isize).rem_euclid(spacing);
        let anchors: Vec<isize> = (start..=last).step_by(self.acceleration).collect();
        let gaps: Vec<Vec<(usize, Vec<Complex32>)>> =
            anchors.into_par_iter().map(|anchor| self.gap(kspace, mask, bins, anchor, &wanted)).collect();
        gaps.into_iter().flatten().collect()
    }

    /// Expected variance of the error of a filled sample: what the model misses and the noise that the weights pass on.
    fn error_variance(&self, energy: f64, bin: usize) -> f64 {
        let kernel = &self.kernels[bin];
        let passed_on = self.noise_variance * kernel.norm / (self.acceleration - 1) as f64;
        ((energy * kernel.model_error + passed_on) / self.coils as f64).max(self.noise_variance)
    }

    /// The `wanted` lines between the grid line `anchor` and the next one.
    fn gap(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        bins: &Array2<usize>,
        anchor: isize,
        wanted: impl Fn(usize) -> bool,
    ) -> Vec<(usize, Vec<Complex32>)> {
        let (coils, lines, points) = kspace.dim();
        let targets: Vec<(usize, usize)> = (1..self.acceleration)
            .filter_map(|missing| Some((missing - 1, usize::try_from(anchor + missing as isize).ok()?)))
            .filter(|(_, line)| wanted(*line))
            .collect();
        if targets.is_empty() {
            return Vec::new();
        }
        let patch = self.kernels[0].weights.ncols();
        let mut x = vec![c32::default(); patch * points];
        for (row, to) in x.chunks_exact_mut(points).enumerate() {
            let (coil, line, tap) = patch_index(row);
            let line = anchor + (line * self.acceleration) as isize;
            if line < 0 || line >= lines as isize || !mask[line as usize] {
                continue;
            }
            // Tap t of the target at kx reads kx + t - TAPS / 2; outside the readout there is nothing.
            let shift = tap as isize - (TAPS / 2) as isize;
            let (start, end) = ((-shift).max(0), (points as isize).min(points as isize - shift));
            let from = kspace.slice(s![coil, line, start + shift..end + shift]);
            to[start as usize..end as usize].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
        let mut gathered = vec![c32::default(); patch * points];
        let mut y = vec![c32::default(); coils * points];
        let fill = |(at, line): (usize, usize)| {
            let mut values = vec![Complex32::default(); coils * points];
            for (bin, kernel) in self.kernels.iter().enumerate() {
                let places: Vec<usize> = (0..points).filter(|kx| bins[[line, *kx]] == bin).collect();
                if places.is_empty() {
                    continue;
                }
                for (to, from) in gathered.chunks_exact_mut(places.len()).zip(x.chunks_exact(points)) {
                    to.iter_mut().zip(&places).for_each(|(to, kx)| *to = from[*kx]);
                }
                let y = &mut y[..coils * places.len()];
                matmul(
                    MatMut::from_row_major_slice_mut(y, coils, places.len()),
                    Accum::Replace,
                    kernel.weights.as_ref().subrows(at * coils, coils),
                    MatRef::from_row_major_slice(&gathered[..patch * places.len()], patch, places.len()),
                    c32::new(1.0, 0.0),
                    Par::Seq,
                );
                for (coil, from) in y.chunks_exact(places.len()).enumerate() {
                    places.iter().zip(from).for_each(|(kx, value)| values[coil * points + kx] = *value);
                }
            }
            (line, values)
        };
        targets.into_iter().map(fill).collect()
    }
}
