//! GRAPPA (Griswold et al., MRM 47:1202, 2002): missing lines as a linear combination of their acquired neighbours,
//! with the weights fitted to the calibration lines.
//!
//! One fit gives the weights of all coils and of all R-1 missing lines between two acquired ones. A source patch is
//! `source_lines` grid lines by `taps` readout points by all coils; every place of the calibration block where a patch
//! and its targets fit is one equation. With the patches as the columns of X and the targets as those of Y the weights
//! are `V = Y Xᴴ (X Xᴴ + ridge)⁻¹`, in double precision, because X Xᴴ squares the condition number.

use std::fmt;
use std::str::FromStr;

use contract::prepared::Sampling;
use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side, c64};
use ndarray::{Array2, Array3, ArrayView3, Axis, s};

use super::calibration::Separate;
use super::gfactor::Linear;
use super::nwg::outer_lines;
use super::patch::Patch;
use super::window::{add_outer, frobenius_of_lower, noise_floor, one_thread, wide};
use crate::{Complex32, Error, Result};

/// The weakest outer k-space assumed, relative to the calibration block, in energy.
const WEAKEST_OUTER_ENERGY: f64 = 1e-4;
/// Relative ridge below which the solution is rounding error.
const SMALLEST_RIDGE: f64 = 1e-9;

/// The kernel and its regularisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Acquired lines in a source patch, 2 or 4, half of them on each side of the target.
    pub source_lines: usize,
    /// Readout points in a source patch, odd.
    pub taps: usize,
    /// How strongly large weights are avoided.
    pub ridge: Ridge,
}

impl Options {
    const fn patch(&self) -> Patch {
        Patch { lines: self.source_lines, taps: self.taps }
    }
}

impl Default for Options {
    /// 2 lines by 5 points, ridge from the noise found in the data.
    fn default() -> Self {
        Self { source_lines: 2, taps: 5, ridge: Ridge::Noise }
    }
}

/// What is added to the diagonal of the normal matrix A of K rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ridge {
    /// This factor times `|A|_F / sqrt(K)`.
    Relative(f64),
    /// The factor that balances the error of the fit against the noise the weights pass on. The calibration block is
    /// far stronger than the lines to be filled, so a fit that is right there follows noise elsewhere. For P
    /// equations, noise variances s and mean energies E of the calibration block and of the outer lines:
    /// `P (s_outer E_calibration / E_outer - s_calibration)`. With separate calibration the centre of k-space is filled as well,
    /// and the outer lines are all that were acquired.
    Noise,
}

impl fmt::Display for Ridge {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(factor) => write!(to, "{factor}"),
            Self::Noise => to.write_str("noise"),
        }
    }
}

impl FromStr for Ridge {
    type Err = String;

    /// `noise`, or a positive factor.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "noise" {
            return Ok(Self::Noise);
        }
        let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
        factor.map(Self::Relative).ok_or_else(|| "expected noise, or a positive number such as 0.01".to_owned())
    }
}

/// Fitted weights.
pub struct Kernel {
    sampling: Sampling,
    options: Options,
    coils: usize,
    /// `[(R-1) coil, patch]`; the patch is ordered coil, line, point.
    pub(super) weights: Mat<faer::c32>,
    /// The ridge used, relative to `|A|_F / sqrt(K)`.
    pub relative_ridge: f64,
    /// Complex noise variance of a sample of the calibration lines; `None` with a given ridge.
    pub noise_variance: Option<f64>,
}

/// Fills the missing lines of `kspace` (`[coil, ky, kx]`) between the first and the last acquired one. `mask` says which
/// lines were acquired; those are returned bit for bit, and lines outside `first..=last` as they are. Sources outside
/// the acquired range count as zero, so that no line and no readout point is left out at the edges.
///
/// # Errors
/// [`Error::Unsupported`] when there are too few calibration lines, [`Error::Corrupt`] when shapes and sampling do not
/// fit together.
pub fn fill(
    kspace: &Array3<Complex32>,
    mask: &[bool],
    sampling: &Sampling,
    options: &Options,
) -> Result<Array3<Complex32>> {
    check(kspace, mask, sampling, options)?;
    if sampling.acceleration == 1 {
        return Ok(kspace.clone());
    }
    Kernel::fit(kspace, mask, sampling, None, options)?.apply(kspace, mask)
}

fn check(kspace: &Array3<Complex32>, mask: &[bool], sampling: &Sampling, options: &Options) -> Result<()> {
    let (coils, lines, points) = kspace.dim();
    let misfit = |found: String, expected: String| Err(Error::corrupt("sampling of a slice", found, expected));
    if mask.len() != lines || coils == 0 || points < options.taps {
        return misfit(
            format!("k-space of {coils} coils, {lines} lines and {points} points with a mask of {} lines", mask.len()),
            format!("one mask value a line and at least {} points", options.taps),
        );
    }
    let block = sampling.acs_first.checked_add(sampling.acs_lines);
    if sampling.acceleration == 0
        || sampling.offset >= sampling.acceleration
        || sampling.first > sampling.last
        || sampling.last >= lines
        || block.is_none_or(|end| end > lines)
    {
        return misfit(format!("{sampling:?}"), format!("a regular grid within {lines} lines"));
    }
    if !matches!(options.source_lines, 2 | 4) || options.taps.is_multiple_of(2) {
        return Err(Error::unsupported(
            format!("GRAPPA kernel of {} lines by {} points", options.source_lines, options.taps),
            "use 2 or 4 lines and an odd number of points",
        ));
    }
    Ok(())
}

impl Kernel {
    /// Fits the weights to the calibration lines of `kspace`, `[coil, ky, kx]`, or to separate ones; the block of `sampling`
    /// is what these cover.
    ///
    /// # Errors
    /// As [`fill`].
    pub fn fit(
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        separate: Option<&Separate>,
        options: &Options,
    ) -> Result<Self> {
        check(kspace, mask, sampling, options)?;
        one_thread();
        let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
        let region = separate.map_or_else(|| kspace.slice(s![.., block, ..]), |separate| separate.lines.view());
        let (coils, lines, points) = region.dim();
        let acceleration = sampling.acceleration;
        let needed = (options.source_lines - 1) * acceleration + 1;
        if lines < needed || points < options.taps {
            return Err(Error::unsupported(
                format!("{lines} calibration lines of {points} points at acceleration {acceleration}"),
                format!(
                    "GRAPPA needs at least {needed} neighbouring lines of {} points at the centre of k-space",
                    options.taps
                ),
            ));
        }
        let shifts = lines - needed + 1;
        let places = points - options.taps + 1;
        let patch = coils * options.source_lines * options.taps;
        let targets = coils * (acceleration - 1);
        let before = (options.source_lines / 2 - 1) * acceleration;

        let mut normal = Mat::<c64>::zeros(patch, patch);
        let mut cross = Mat::<c64>::zeros(patch, targets);
        let mut x = vec![c64::default(); patch * places];
        let mut y = vec![c64::default(); targets * places];
        for shift in 0..shifts {
            for (row, to) in x.chunks_exact_mut(places).enumerate() {
                let (coil, line, tap) = options.patch().place(row);
                let from = region.slice(s![coil, shift + line * acceleration, tap..tap + places]);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = wide(*from));
            }
            for (row, to) in y.chunks_exact_mut(places).enumerate() {
                let (missing, coil) = (row / coils + 1, row % coils);
                let centre = options.taps / 2;
                let from = region.slice(s![coil, shift + before + missing, centre..centre + places]);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = wide(*from));
            }
            add_outer(&mut normal, &x, places);
            let x = MatRef::from_row_major_slice(&x, patch, places);
            let y = MatRef::from_row_major_slice(&y, targets, places);
            matmul(cross.as_mut(), Accum::Add, x, y.adjoint(), c64::new(1.0, 0.0), Par::Seq);
        }

        let scale = frobenius_of_lower(normal.as_ref()) / (patch as f64).sqrt();
        let failed = |_| Error::unsupported("calibration lines", "they hold no usable signal; check the acquisition");
        let (relative_ridge, noise_variance) = match options.ridge {
            Ridge::Relative(factor) => (factor, None),
            Ridge::Noise => {
                let equations = (shifts * places) as f64;
                let (variance, outside) = match separate {
                    Some(separate) => (separate.noise_variance, separate.of_image),
                    None => {
                        let values = normal.self_adjoint_eigenvalues(Side::Lower).map_err(|_| failed(()))?;
                        let variance = noise_floor(&values, equations);
                        (variance, variance)
                    }
                };
                let inside = region.iter().map(|value| f64::from(value.norm_sqr())).sum::<f64>() / region.len() as f64;
                let block = if separate.is_some() { 0 } else { sampling.acs_lines };
                let outer = Sampling { acs_lines: block, ..*sampling };
                let ratio = energy_ratio(inside - variance, kspace, mask, &outer, outside);
                (equations * (outside * ratio - variance).max(0.0) / scale, Some(variance))
            }
        };
        let relative_ridge = relative_ridge.max(SMALLEST_RIDGE);
        if !(scale > 0.0 && relative_ridge.is_finite()) {
            return Err(failed(()));
        }
        for row in 0..patch {
            normal[(row, row)] += c64::new(relative_ridge * scale, 0.0);
        }
        let solution = normal.llt(Side::Lower).map_err(|_| failed(()))?.solve(&cross);
        let weights = Mat::from_fn(targets, patch, |target, row| {
            let value = solution[(row, target)];
            faer::c32::new(value.re as f32, -value.im as f32)
        });
        Ok(Self { sampling: *sampling, options: *options, coils, weights, relative_ridge, noise_variance })
    }

    /// Noise gain `[y, x]` of an image that is filled with these weights and combined with sensitivities `maps`, `[coil, y, x]`, see
    /// [`gfactor`](super::gfactor).
    #[must_use]
    pub fn noise_gain(&self, maps: ArrayView3<'_, Complex32>, mask: &[bool]) -> Array2<f32> {
        let Options { source_lines, taps, .. } = self.options;
        let linear = Linear { coils: self.coils, source_lines, taps, kernels: vec![self.weights.as_ref()] };
        linear.noise_gain(maps, mask, &self.sampling, |_, _| 0)
    }

    /// Fills the missing lines of `kspace`, `[coil, ky, kx]`, see [`fill`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the shape is not the one the weights were fitted to.
    pub fn apply(&self, kspace: &Array3<Complex32>, mask: &[bool]) -> Result<Array3<Complex32>> {
        check(kspace, mask, &self.sampling, &self.options)?;
        let (coils, _, points) = kspace.dim();
        if coils != self.coils {
            return Err(Error::corrupt(
                "k-space of a slice",
                format!("{coils} coils"),
                format!("{} coils", self.coils),
            ));
        }
        let Sampling { acceleration, offset, first, last, .. } = self.sampling;
        let (spacing, patch) = (acceleration as isize, self.options.patch());
        let before = (self.options.source_lines / 2 - 1) as isize * spacing;
        let mut output = kspace.clone();
        let mut x = vec![Complex32::default(); self.weights.ncols() * points];
        let mut y = vec![Complex32::default(); self.weights.nrows() * points];
        // The grid line at or below `first`, which is not itself on the grid when calibration lines reach further.
        let mut anchor = first as isize - (first as isize - offset as isize).rem_euclid(spacing);
        while anchor <= last as isize {
            let between = |missing: usize| {
                let line = anchor + missing as isize;
                (line >= first as isize && line <= last as isize && !mask[line as usize]).then_some(line as usize)
            };
            if (1..acceleration).any(|missing| between(missing).is_some()) {
                patch.gather(kspace, mask, (anchor - before, acceleration), &mut x);
                matmul(
                    MatMut::from_row_major_slice_mut(&mut y, self.weights.nrows(), points),
                    Accum::Replace,
                    self.weights.as_ref(),
                    MatRef::from_row_major_slice(&x, self.weights.ncols(), points),
                    faer::c32::new(1.0, 0.0),
                    Par::Seq,
                );
                for (row, from) in y.chunks_exact(points).enumerate() {
                    if let Some(line) = between(row / coils + 1) {
                        let mut to = output.slice_mut(s![row % coils, line, ..]);
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    }
                }
            }
            anchor += spacing;
        }
        Ok(output)
    }
}

/// Energy `inside` of a sample of the calibration lines over that of the other acquired lines, both without noise.
fn energy_ratio(inside: f64, kspace: &Array3<Complex32>, mask: &[bool], sampling: &Sampling, variance: f64) -> f64 {
    let (mut energy, mut samples) = (0.0, 0usize);
    for line in outer_lines(mask, sampling) {
        let line = kspace.index_axis(Axis(1), line);
        energy += line.iter().map(|value| f64::from(value.norm_sqr())).sum::<f64>();
        samples += line.len();
    }
    let inside = inside.max(0.0);
    let outside = (energy / samples.max(1) as f64 - variance).max(WEAKEST_OUTER_ENERGY * inside);
    if outside > 0.0 { inside / outside } else { 1.0 }
}

#[cfg(test)]
mod tests;
