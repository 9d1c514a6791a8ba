//! What is refined, and what its samples count.

use ndarray::{Array2, Array3, Array4};

use super::Options;
use crate::Complex32;
use crate::numerics::nwg::whole_patches;

/// What is refined. k-space is `[coil, ky, kx]`.
pub struct Problem<'a> {
    /// Acquired and filled samples.
    pub kspace: &'a Array3<Complex32>,
    /// Acquired lines.
    pub mask: &'a [bool],
    /// First and last of the lines that the image has, see [`nwg::range`](crate::numerics::nwg::range); beyond them k-space stays empty.
    pub range: (usize, usize),
    /// Noise variance of an acquired sample.
    pub noise_variance: f64,
    /// `[ky, kx]`: error variance of a filled sample, mean over the coils.
    pub error_variance: &'a Array2<f32>,
    /// Whether it is known well enough for filled lines to be put back.
    pub checked: bool,
    /// `[map, coil, y, x]`, at most unit length over the coils.
    pub maps: &'a Array4<Complex32>,
}

impl Problem<'_> {
    /// `[ky, kx]`: what the residual of a sample counts; 1 for acquired ones, and for those beyond the range, which are to stay empty.
    #[must_use]
    pub fn trust(&self, options: &Options) -> Vec<f32> {
        let trust = |((ky, _), error): ((usize, usize), &f32)| {
            // No more than an acquired one, however little error is expected.
            let error = error.max(self.noise_variance as f32).max(f32::MIN_POSITIVE);
            if self.is_missing(ky) { options.trust * self.noise_variance as f32 / error } else { 1.0 }
        };
        self.error_variance.indexed_iter().map(trust).collect()
    }

    /// `[ky, kx]`: 1 for acquired samples, 0 for others.
    #[must_use]
    pub fn acquired(&self) -> Vec<f32> {
        let (_, _, _, columns) = self.maps.dim();
        let line = |acquired: &bool| std::iter::repeat_n(f32::from(u8::from(*acquired)), columns);
        self.mask.iter().flat_map(line).collect()
    }

    /// `[ky, kx]`: 1 for the samples by which filled lines and an image are compared, 0 for others. `None` if none of them is to be put back.
    #[must_use]
    pub fn compared(&self) -> Option<Vec<f32>> {
        let (lines, points) = self.error_variance.dim();
        let whole = whole_patches(points);
        let counts = |line: usize, kx: usize| self.is_missing(line) && whole.contains(&kx);
        self.checked
            .then(|| (0..lines * points).map(|at| f32::from(u8::from(counts(at / points, at % points)))).collect())
    }

    /// `[ky, kx]`: the part of the difference between a filled line and the image that is put back; `None` if that is nothing. `apart` is the energy
    /// of the difference by line, of the samples that are [compared](Self::compared), the lines in the order of the plain transform.
    #[must_use]
    pub fn returned(&self, mut apart: Vec<f64>) -> Option<Vec<f32>> {
        let (coils, lines, points) = self.kspace.dim();
        apart.rotate_right(lines / 2);
        let part = |line: usize| {
            let expected: f64 = whole_patches(points).map(|kx| f64::from(self.error_variance[[line, kx]])).sum();
            let (expected, apart) = (coils as f64 * expected, apart[line]);
            if self.checked && self.is_missing(line) && apart > expected { 1.0 - expected / apart } else { 0.0 }
        };
        let parts: Vec<f32> = (0..lines).map(|line| part(line) as f32).collect();
        let any = parts.iter().any(|part| *part > 0.0);
        any.then(|| parts.into_iter().flat_map(|part| std::iter::repeat_n(part, points)).collect())
    }

    fn is_missing(&self, line: usize) -> bool {
        line >= self.range.0 && line <= self.range.1 && !self.mask[line]
    }
}
