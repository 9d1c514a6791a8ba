//! Noise of a combined image whose missing lines were filled: analytic for linear fills (Breuer et al., MRM 62:739, 2009), by
//! pseudo-replicas for any other (Robson et al., MRM 60:895, 2008).
//!
//! **Noise gain**: deviation of the noise of a pixel over that of an acquired sample, with coils of equal and independent noise.
//! With the unitary transform it is 1 for a fully sampled image combined with unit vectors.
//!
//! A combined image is linear in the acquired samples. The sample of coil d at k adds, at pixel r,
//!
//! ```text
//! h_d(r) = conj(s_d(r)) + sum over the missing samples that k is a source of: exp(2 pi i r dk / n) sum_c conj(s_c(r)) w_cd
//! ```
//!
//! times its noise, so that the variance gain is `sum over k and d of |h_d(r)|² / (lines points)`. Samples with the same filled lines
//! around them and the same weights have the same h. Weights that change with the energy in k-space are taken to be the same all
//! around a source, as often as its missing neighbours use them; the weights of the few lines after the last one of a grid are left out.
//! Calibration lines that are nobody's source count as themselves. The sum is smooth in r: it is evaluated on a coarse grid of pixels and
//! interpolated.
//!
//! **g-factor**: the noise gain over [`ideal_gain`], that of a fully sampled scan of the same range in which only the time differs.

use std::collections::BTreeMap;

use contract::prepared::Sampling;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par, c32};
use ndarray::{Array2, Array3, ArrayView3, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::wide::wide;
use crate::{Complex32, Result};

/// Pixels along an axis that the gain is evaluated at, and those along y for each step of the acceleration.
const NODES: usize = 48;
const NODES_EACH: usize = 12;
/// Part of the acquired samples below which weights have no evaluation of their own.
const LEAST_SHARE: f64 = 5e-3;

/// Lines of the acquired range over acquired lines.
#[must_use]
pub fn effective_acceleration(mask: &[bool], sampling: &Sampling) -> f64 {
    let range = sampling.first..(sampling.last + 1).min(mask.len());
    let acquired = range.clone().filter(|line| mask[*line]).count();
    range.len() as f64 / acquired.max(1) as f64
}

/// Noise gain of as many lines with coils that part every folded place: `sqrt(f R)`, with the [effective
/// acceleration](effective_acceleration) R and the part f of the lines that are in the acquired range, since lines that are left empty add no noise.
#[must_use]
pub fn ideal_gain(mask: &[bool], sampling: &Sampling) -> f64 {
    let range = (sampling.last + 1 - sampling.first) as f64 / mask.len().max(1) as f64;
    (range * effective_acceleration(mask, sampling)).sqrt()
}

/// Noise gain `[y, x]` of any reconstruction: `image` of `kspace` (`[coil, ky, kx]`) with white noise of complex deviation
/// `deviation` added to the lines of `mask`, `count` times. The relative error of a pixel is about `1 / (2 sqrt(count))`.
///
/// # Errors
/// Those of `image`.
pub fn replicas(
    kspace: &Array3<Complex32>,
    mask: &[bool],
    deviation: f32,
    (count, seed): (usize, u64),
    image: impl Fn(&Array3<Complex32>) -> Result<Array2<Complex32>>,
) -> Result<Array2<f32>> {
    let plain = image(kspace)?;
    let mut sum = Array2::<Complex32>::zeros(plain.dim());
    let mut squares = Array2::<f32>::zeros(plain.dim());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let part = deviation * std::f32::consts::FRAC_1_SQRT_2;
    for _ in 0..count {
        let mut noisy = kspace.clone();
        for (mut line, _) in noisy.axis_iter_mut(Axis(1)).zip(mask).filter(|(_, acquired)| **acquired) {
            line.iter_mut().for_each(|value| {
                let (re, im): (f32, f32) = (StandardNormal.sample(&mut random), StandardNormal.sample(&mut random));
                *value += Complex32::new(re, im) * part;
            });
        }
        let noise = image(&noisy)? - &plain;
        squares.zip_mut_with(&noise, |sum, value| *sum += value.norm_sqr());
        sum += &noise;
    }
    let (count, freedom) = (count as f32, count.saturating_sub(1).max(1) as f32);
    squares.zip_mut_with(&sum, |squares, sum| {
        *squares = ((*squares - sum.norm_sqr() / count) / freedom).max(0.0).sqrt() / deviation;
    });
    Ok(squares)
}

/// Weights that fill missing lines from grid lines.
pub(super) struct Linear<'a> {
    pub(super) coils: usize,
    /// Acquired lines and readout points of a source patch; as many lines before the target as after it.
    pub(super) source_lines: usize,
    pub(super) taps: usize,
    /// One or several, each `[(R-1) coil, patch]`; the patch is ordered coil, line, point.
    pub(super) kernels: Vec<MatRef<'a, c32>>,
}

/// Which missing lines a grid line is a source of: pairs of its place in the patch and the line of the gap, from 1.
type Targets = Vec<(usize, usize)>;

impl Linear<'_> {
    /// Noise gain `[y, x]` with sensitivities `maps`, `[coil, y, x]`. `which` says which of the kernels fills the missing sample
    /// at ky and kx.
    pub(super) fn noise_gain(
        &self,
        maps: ArrayView3<'_, Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        which: impl Fn(usize, usize) -> usize,
    ) -> Array2<f32> {
        let (_, rows, columns) = maps.dim();
        let (plain, classes) = self.classes(mask, sampling, columns, which);
        let down = nodes(rows, NODES.max(NODES_EACH * sampling.acceleration));
        let across = nodes(columns, NODES);
        let turns = self.turns(&across, columns);
        let lines: Vec<Vec<f32>> = down
            .par_iter()
            .map(|row| {
                let row = Row::new(maps, *row, &across);
                let mut sum: Vec<f64> = row.energy().into_iter().map(|energy| plain * energy).collect();
                for (targets, kernel, share) in &classes {
                    let gain = row.gain(self, targets, *kernel, sampling.acceleration, &turns);
                    sum.iter_mut().zip(gain).for_each(|(sum, gain)| *sum += share * gain);
                }
                sum.into_iter().map(|variance| variance.sqrt() as f32).collect()
            })
            .collect();
        interpolate(&lines, (&down, &across), (rows, columns))
    }

    /// The acquired samples as parts of all samples: those that are nobody's source, and those that are, by what they are a source of
    /// and with which kernel.
    fn classes(
        &self,
        mask: &[bool],
        sampling: &Sampling,
        points: usize,
        which: impl Fn(usize, usize) -> usize,
    ) -> (f64, Vec<(Targets, usize, f64)>) {
        let spacing = sampling.acceleration as isize;
        let sample = 1.0 / (mask.len() * points) as f64;
        let mut plain = 0.0;
        let mut shares = BTreeMap::<Targets, Vec<f64>>::new();
        for line in (0..mask.len()).filter(|line| mask[*line]) {
            let mut targets = Targets::new();
            let mut lines = Vec::new();
            if line % sampling.acceleration == sampling.offset {
                for place in 0..self.source_lines {
                    let anchor = line as isize - self.ahead(place) * spacing;
                    for missing in 1..sampling.acceleration {
                        let target = usize::try_from(anchor + missing as isize).ok();
                        let filled = |line: &usize| (sampling.first..=sampling.last).contains(line) && !mask[*line];
                        if let Some(target) = target.filter(filled) {
                            targets.push((place, missing));
                            lines.push(target);
                        }
                    }
                }
            }
            if lines.is_empty() {
                plain += points as f64 * sample;
                continue;
            }
            let shares = shares.entry(targets).or_insert_with(|| vec![0.0; self.kernels.len()]);
            for kx in 0..points {
                lines.iter().for_each(|line| shares[which(*line, kx)] += sample / lines.len() as f64);
            }
        }
        let total: f64 = shares.values().flatten().sum();
        let classes = shares.into_iter().flat_map(|(targets, mut shares)| {
            // The rare ones have the weights of the most frequent ones.
            let most = (0..shares.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap_or_default();
            for kernel in (0..shares.len()).filter(|kernel| *kernel != most) {
                if shares[kernel] < LEAST_SHARE * total {
                    shares[most] += std::mem::take(&mut shares[kernel]);
                }
            }
            let used = shares.into_iter().enumerate().filter(|(_, share)| *share > 0.0);
            used.map(|(kernel, share)| (targets.clone(), kernel, share)).collect::<Vec<_>>()
        });
        (plain, classes.collect())
    }

    /// Phases of the distance along x from the target to each tap, `[tap, pixel]`, at these of `columns` pixels.
    fn turns(&self, across: &[usize], columns: usize) -> Vec<Complex32> {
        let distances = (0..self.taps).map(|tap| (self.taps / 2) as f32 - tap as f32);
        let turn = |distance: f32, x: usize| Complex32::cis(std::f32::consts::TAU * place(x, columns) * distance);
        distances.flat_map(|distance| across.iter().map(move |x| turn(distance, *x))).collect()
    }

    /// Grid lines from the first one of a gap to a place in the patch.
    const fn ahead(&self, place: usize) -> isize {
        place as isize - (self.source_lines / 2) as isize + 1
    }
}

/// Cycles of a pixel's phase per line of k-space, or per point.
fn place(at: usize, length: usize) -> f32 {
    (at as f32 - (length / 2) as f32) / length as f32
}

/// A row of pixels in which the gain is evaluated.
struct Row {
    /// Cycles per line.
    y: f32,
    pixels: usize,
    /// Conjugate sensitivities, `[coil, pixel]`.
    maps: Vec<Complex32>,
}

impl Row {
    fn new(maps: ArrayView3<'_, Complex32>, row: usize, across: &[usize]) -> Self {
        let (coils, rows, _) = maps.dim();
        let maps = (0..coils).flat_map(|coil| across.iter().map(move |x| maps[[coil, row, *x]].conj())).collect();
        Self { y: place(row, rows), pixels: across.len(), maps }
    }

    /// `sum |s|²` of each pixel.
    fn energy(&self) -> Vec<f64> {
        self.energies(&self.maps)
    }

    /// Sums over the coils of `|values|²`, `[coil, pixel]`.
    fn energies(&self, values: &[Complex32]) -> Vec<f64> {
        let mut sum = vec![0.0; self.pixels];
        for values in values.chunks_exact(self.pixels) {
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(value.norm_sqr()));
        }
        sum
    }

    /// `sum_d |h_d|²` of each pixel, for sources of `targets`. `turns` are those of [`Linear::turns`].
    fn gain(
        &self,
        of: &Linear<'_>,
        targets: &Targets,
        kernel: usize,
        acceleration: usize,
        turns: &[Complex32],
    ) -> Vec<f64> {
        let (coils, taps, pixels) = (of.coils, of.taps, self.pixels);
        // [tap, source coil, target coil]: weights times the phase of the distance along y.
        let mut weights = vec![Complex32::default(); taps * coils * coils];
        for (place, missing) in targets {
            let distance = *missing as f32 - (of.ahead(*place) * acceleration as isize) as f32;
            let turn = Complex32::cis(std::f32::consts::TAU * self.y * distance);
            for coil in 0..coils {
                for tap in 0..taps {
                    let from = of.kernels[kernel].col((coil * of.source_lines + place) * taps + tap);
                    let to = &mut weights[(tap * coils + coil) * coils..][..coils];
                    for (target, to) in to.iter_mut().enumerate() {
                        *to += from[(missing - 1) * coils + target] * turn;
                    }
                }
            }
        }
        let mut spread = vec![Complex32::default(); taps * coils * pixels];
        matmul(
            MatMut::from_row_major_slice_mut(&mut spread, taps * coils, pixels),
            Accum::Replace,
            MatRef::from_row_major_slice(&weights, taps * coils, coils),
            MatRef::from_row_major_slice(&self.maps, coils, pixels),
            c32::new(1.0, 0.0),
            Par::Seq,
        );
        let mut sums = self.maps.clone();
        wide(|| {
            for (spread, turns) in spread.chunks_exact(coils * pixels).zip(turns.chunks_exact(pixels)) {
                for (sums, spread) in sums.chunks_exact_mut(pixels).zip(spread.chunks_exact(pixels)) {
                    for ((sum, value), turn) in sums.iter_mut().zip(spread).zip(turns) {
                        *sum += value * turn;
                    }
                }
            }
        });
        self.energies(&sums)
    }
}

/// At most `count` pixels, evenly spaced from the first one.
fn nodes(length: usize, count: usize) -> Vec<usize> {
    let count = count.min(length);
    (0..count).map(|node| node * length / count).collect()
}

/// Between nodes linearly; beyond the last one the image begins again.
fn interpolate(
    lines: &[Vec<f32>],
    (down, across): (&[usize], &[usize]),
    (rows, columns): (usize, usize),
) -> Array2<f32> {
    let (down, across) = (between(down, rows), between(across, columns));
    let mut image = Array2::zeros((rows, columns));
    for (mut to, (above, below, share)) in image.outer_iter_mut().zip(down) {
        let line: Vec<f32> = lines[above].iter().zip(&lines[below]).map(|(a, b)| a + (b - a) * share).collect();
        for (to, (before, after, share)) in to.iter_mut().zip(&across) {
            *to = line[*before] + (line[*after] - line[*before]) * share;
        }
    }
    image
}

/// The nodes before and after each pixel, and the share of the second.
fn between(nodes: &[usize], length: usize) -> Vec<(usize, usize, f32)> {
    let mut between = Vec::with_capacity(length);
    for (node, start) in nodes.iter().enumerate() {
        let next = nodes.get(node + 1).copied().unwrap_or(length);
        let after = (node + 1) % nodes.len();
        between.extend((*start..next).map(|at| (node, after, (at - start) as f32 / (next - start) as f32)));
    }
    between
}

#[cfg(test)]
mod tests;
