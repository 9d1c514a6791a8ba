//! The missing samples, each with the weights of its step of energy.

use std::ops::Range;

use contract::prepared::Sampling;
use faer::{MatRef, c32};
use ndarray::{Array2, Array3, s};

use super::fit::Fit;
use super::local::{Energy, STRONG, bin};
use super::products::{Gaps, Products, Target};
use super::{Filled, whole_patches};
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
        on: &dyn Products,
    ) -> Result<Filled> {
        let (_, lines, points) = kspace.dim();
        let bins = self.bins(energy);
        let within = |line: usize| (sampling.first..=sampling.last).contains(&line);
        let predicted = self.predict((kspace, mask), &self.between(sampling, within), &bins, on)?;
        let understated = self.understated((kspace, mask), &predicted, energy, &bins);
        let mut filled = Filled {
            kspace: kspace.clone(),
            noise_variance: self.noise_variance,
            error_variance: Array2::from_shape_fn((lines, points), |at| {
                let signal = if mask[at.0] { 0.0 } else { energy.map[at] / self.coils as f64 };
                signal.max(self.noise_variance) as f32
            }),
            checked: understated.is_some(),
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
                self.expect(&mut filled.error_variance, line, energy, &bins);
                if let Some(understated) = &understated {
                    let variances = filled.error_variance.row_mut(line);
                    variances.into_iter().zip(bins.row(line)).for_each(|(to, bin)| *to *= understated[*bin] as f32);
                }
            }
        }
        Ok(filled)
    }

    /// By step of energy, the error energy of calibration lines off the grid over the expected one, at least 1; `None` without such lines. A fit
    /// tells the mean error of many equations; that of the strongest few can be far larger.
    fn understated(
        &self,
        (kspace, mask): (&Array3<Complex32>, &[bool]),
        predicted: &[(usize, Vec<Complex32>)],
        energy: &Energy,
        bins: &Array2<usize>,
    ) -> Option<Vec<f64>> {
        let points = kspace.dim().2;
        let mut energies = vec![(0.0, 0.0); self.kernels.len()];
        let known: Vec<_> = predicted.iter().filter(|(line, _)| mask[*line]).collect();
        for (line, values) in &known {
            for kx in whole_patches(points) {
                let error = |(coil, acquired): (usize, &Complex32)| {
                    f64::from((values[coil * points + kx] - acquired).norm_sqr()) - self.noise_variance
                };
                let bin = bins[[*line, kx]];
                let (found, expected) = &mut energies[bin];
                *found += kspace.slice(s![.., *line, kx]).iter().enumerate().map(error).sum::<f64>();
                *expected += self.coils as f64 * self.error_variance(energy.map[[*line, kx]], bin);
            }
        }
        let times = |(found, expected): (f64, f64)| if expected > 0.0 { (found / expected).max(1.0) } else { 1.0 };
        (!known.is_empty()).then(|| energies.into_iter().map(times).collect())
    }

    /// The lines `range` of `kspace` as [`Self::apply`] fills them, `[coil, line, kx]`.
    pub(super) fn lines(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        energy: &Energy,
        range: Range<usize>,
        on: &dyn Products,
    ) -> Result<Array3<Complex32>> {
        let wanted = |line: usize| range.contains(&line) && !mask[line];
        let mut lines = kspace.slice(s![.., range.clone(), ..]).to_owned();
        let bins = self.bins(energy);
        for (line, values) in self.predict((kspace, mask), &self.between(sampling, wanted), &bins, on)? {
            let to = lines.slice_mut(s![.., line - range.start, ..]);
            to.into_iter().zip(values).for_each(|(to, value)| *to = value);
        }
        Ok(lines)
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
        on: &dyn Products,
    ) -> Result<Vec<Complex32>> {
        let bins = self.bins(energy);
        let present: Vec<bool> = (0..mask.len()).map(|line| (sampling.first..=sampling.last).contains(&line)).collect();
        let outer_lines: Vec<usize> = outer_lines(mask, sampling).collect();
        let next = Sampling { offset: (sampling.offset + 1) % sampling.acceleration, ..*sampling };
        let outer = |line: usize| outer_lines.binary_search(&line).is_ok();
        let predicted = self.predict((filled, &present), &self.between(&next, outer), &bins, on)?;
        let points = filled.dim().2;
        let mut residual = Vec::with_capacity(predicted.len() * self.coils * points);
        for (line, values) in predicted {
            for (coil, values) in values.chunks_exact(points).enumerate() {
                residual.extend(values.iter().zip(filled.slice(s![coil, line, ..])).map(|(value, to)| value - to));
            }
        }
        Ok(residual)
    }

    /// The `wanted` lines between the lines of the grid.
    pub(super) fn between(&self, sampling: &Sampling, wanted: impl Fn(usize) -> bool) -> Vec<Target> {
        let spacing = self.acceleration as isize;
        let (first, last) = (sampling.first as isize, sampling.last as isize);
        let start = first - (first - sampling.offset as isize).rem_euclid(spacing);
        let of_anchor = |anchor: isize| {
            (0..self.reach.outputs(self.acceleration))
                .filter_map(move |output| self.reach.target(self.acceleration, anchor, output))
                .filter(|target| wanted(target.line))
        };
        (start..=last).step_by(self.acceleration).flat_map(of_anchor).collect()
    }

    /// The lines of `targets`, each `[coil, kx]`, read from the grid lines that `present` has.
    pub(super) fn predict(
        &self,
        (kspace, present): (&Array3<Complex32>, &[bool]),
        targets: &[Target],
        bins: &Array2<usize>,
        on: &dyn Products,
    ) -> Result<Vec<(usize, Vec<Complex32>)>> {
        let weights: Vec<MatRef<'_, c32>> = self.kernels.iter().map(|kernel| kernel.weights.as_ref()).collect();
        let gaps = Gaps { kspace, present, acceleration: self.acceleration, targets, bins, weights: &weights };
        Ok(targets.iter().map(|target| target.line).zip(on.predict(&gaps)?).collect())
    }

    /// Writes the expected variance of the error of the samples of a filled line.
    pub(super) fn expect(&self, variance: &mut Array2<f32>, line: usize, energy: &Energy, bins: &Array2<usize>) {
        for (kx, to) in variance.row_mut(line).iter_mut().enumerate() {
            *to = self.error_variance(energy.map[[line, kx]], bins[[line, kx]]) as f32;
        }
    }

    /// Expected variance of the error of a filled sample: what the model misses and the noise that the weights pass on.
    fn error_variance(&self, energy: f64, bin: usize) -> f64 {
        let kernel = &self.kernels[bin];
        let passed_on = self.noise_variance * kernel.norm / self.reach.outputs(self.acceleration) as f64;
        (energy * kernel.model_error + passed_on) / self.coils as f64
    }
}
