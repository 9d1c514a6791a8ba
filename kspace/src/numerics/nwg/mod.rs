//! nwG: GRAPPA whose calibration knows the noise.
//!
//! Plain GRAPPA minimises the error of the calibration lines, nearly all of which is in the few samples around the
//! centre of k-space. Here every equation of the calibration counts by the signal around it, and every missing sample is filled
//! with the ridge that its own signal asks for:
//!
//! 1. **Weights.** An equation with local signal energy E (summed over the C coils, noise taken off) has the weight
//!    `w = (E + 3 C s)^-0.7`, scaled to a mean of 1; s is the complex noise variance of a sample.
//! 2. **Ridge.** With `A = sum(w x xᴴ)` and `B = sum(w y xᴴ)`, weights `V = B (A + l)⁻¹` minimise the expected error where
//!    the energy is E for `l(E) = s (sum(w E_i) / E - sum(w))`: the fit's error scales with the signal, the noise that V passes on does not.
//! 3. **Local.** The energy around every missing sample is read from the acquired lines; ten logarithmic steps of it have
//!    a V each, with half the ridge above.
//! 4. **Refit.** The centre of the filled k-space is a larger calibration region, in which acquired outer lines are targets. Steps
//!    1 to 3 are repeated on it, twice. Sources are always acquired samples.
//! 5. **Ends.** The up to R - 1 lines between the last one of a grid and the end of k-space have weights of their own, fitted like those
//!    of the last refit, from the two grid lines before them; likewise before the first one.
//!
//! Calibration lines of their own ([`Separate`]) have a noise variance s' of their own, `l(E) = sum(w E_i) s / E - sum(w) s'`, and are part
//! of the region of every refit. The centre of k-space is missing then. Its samples are up to a hundred times as strong as their
//! neighbours and make nearly all of the error of an image, so that those above 6 times the mean energy of the calibration lines
//! have weights that are fitted to strong equations, `w = (E + 3 C s)^0.3`.
//!
//! k-space is `[coil, ky, kx]`. All of it is deterministic, and nothing is tuned to a scan.

mod apply;
mod beyond;
mod fit;
mod local;
mod products;

use std::ops::Range;

use contract::prepared::Sampling;
use ndarray::{Array2, Array3, ArrayView3, s};

pub use self::apply::outer_lines;
use self::beyond::Beyond;
pub use self::beyond::range;
use self::fit::{Fit, Region};
use self::local::Energy;
pub use self::products::{Equations, Gaps, Products, Reach, Sums, Target};
use super::Host;
use super::calibration::Separate;
use super::gfactor::Linear;
use super::window;
use crate::{Complex32, Error, Result};

/// Readout points in a source patch.
pub const TAPS: usize = 7;
/// Acquired lines in a source patch.
pub const SOURCE_LINES: usize = 2;
/// Lines of the region of a refit, at least.
const REFIT_LINES: usize = 64;

/// How the weights are fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Complex noise variance of a sample; `None` reads it from the calibration lines.
    pub noise_variance: Option<f64>,
    /// Times the weights are fitted again to the centre of the filled k-space.
    pub refits: usize,
    /// Whether equations count by the energy around them. Without, and without refits, this is GRAPPA with a local ridge.
    pub energy_weights: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { noise_variance: None, refits: 2, energy_weights: true }
    }
}

/// The weights of a slice, to measure other fills of it with.
pub struct Judge {
    fit: Fit,
    beyond: Option<Beyond>,
    energy: Energy,
}

impl Judge {
    /// Predicts acquired lines outside the calibration block from the filled lines next to them and returns predicted less
    /// acquired, `[line, coil, kx]` in one row: what the measurement says of a fill. `filled` is `[coil, ky, kx]` with
    /// the acquired samples in it, `mask` and `sampling` those of [`fill`].
    ///
    /// # Errors
    /// Those of [`Products::predict`].
    pub fn residual(
        &self,
        filled: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        on: &dyn Products,
    ) -> Result<Vec<Complex32>> {
        self.fit.round_trip(filled, mask, sampling, &self.energy, on)
    }

    /// Lines within `wanted` between those of the grid of `sampling`, each `[coil, kx]`, predicted from the grid lines of `kspace` that are
    /// in `mask`; others count as zeros. The grid need not be the one that was acquired.
    ///
    /// # Errors
    /// Those of [`Products::predict`].
    pub fn predict(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        wanted: Range<usize>,
        on: &dyn Products,
    ) -> Result<Vec<(usize, Vec<Complex32>)>> {
        let bins = self.fit.bins(&self.energy);
        let targets = self.fit.between(sampling, |line| wanted.contains(&line));
        self.fit.predict((kspace, mask), &targets, &bins, on)
    }

    /// Fills any `kspace` with these weights, which are linear in it: noise alone, for instance.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the shape is not that of the slice.
    pub fn apply(&self, kspace: &Array3<Complex32>, mask: &[bool], sampling: &Sampling) -> Result<Array3<Complex32>> {
        let (coils, lines, points) = kspace.dim();
        if coils != self.fit.coils || (lines, points) != self.energy.map.dim() || mask.len() != lines {
            return Err(Error::corrupt(
                "k-space of a slice",
                format!("{coils} coils, {lines} lines and {points} points"),
                "the shape that the weights were fitted to",
            ));
        }
        Ok(self.fill(kspace, mask, sampling, &Host)?.kspace)
    }

    fn fill(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        on: &dyn Products,
    ) -> Result<Filled> {
        let mut filled = self.fit.apply(kspace, mask, sampling, &self.energy, on)?;
        if let Some(beyond) = &self.beyond {
            beyond.apply(&mut filled, mask, &self.energy, on)?;
        }
        Ok(filled)
    }

    /// Noise gain `[y, x]` of an image that is filled with these weights and combined with sensitivities `maps`, `[coil, y, x]`, see
    /// [`gfactor`](super::gfactor).
    #[must_use]
    pub fn noise_gain(&self, maps: ArrayView3<'_, Complex32>, mask: &[bool], sampling: &Sampling) -> Array2<f32> {
        let bins = self.fit.bins(&self.energy);
        let kernels = self.fit.kernels.iter().map(|kernel| kernel.weights.as_ref()).collect();
        let linear = Linear { coils: self.fit.coils, source_lines: SOURCE_LINES, taps: TAPS, kernels };
        linear.noise_gain(maps, mask, sampling, |ky, kx| bins[[ky, kx]])
    }
}

/// A filled slice and what is known of its error.
#[derive(Debug, Clone)]
pub struct Filled {
    /// `[coil, ky, kx]`: acquired lines bit for bit, missing ones of the [`range`] filled as [`fill`] says, others as they were.
    pub kspace: Array3<Complex32>,
    /// Complex noise variance of an acquired sample.
    pub noise_variance: f64,
    /// `[ky, kx]`: expected variance of a filled sample's error, mean over the coils, from the fit and what calibration lines off the grid say of
    /// it; the noise variance on acquired lines, the signal where neither is.
    pub error_variance: Array2<f32>,
    /// Whether there were such lines; there are none in separate calibration, and what the fit expects is too little then.
    pub checked: bool,
    /// `[ky, kx]`: samples of the centre of k-space that were filled with the weights of the strongest ones, none with embedded
    /// calibration.
    pub centre: Array2<bool>,
    /// Squared norms of (predicted - acquired) and of acquired over the calibration lines off the grid, before they are put back.
    pub calibration: (f64, f64),
    /// Lines `first..last` of the last calibration region.
    pub region: (usize, usize),
}

/// Points of a line whose patches lie within the readout. Beyond its ends sources count as zero, which no expected error knows of.
pub(super) const fn whole_patches(points: usize) -> Range<usize> {
    TAPS / 2..points.saturating_sub(TAPS / 2)
}

/// Calibration lines that the kernel and the window of the noise level need.
#[must_use]
pub const fn least_calibration_lines(acceleration: usize) -> usize {
    let kernel = (SOURCE_LINES - 1) * acceleration + 1;
    if kernel < window::NOISE_WINDOW.0 { window::NOISE_WINDOW.0 } else { kernel }
}

/// Fills the missing lines of `kspace` in its [`range`]; those beyond the first and the last acquired one only where the signal there is above
/// the noise, the grid lines next to them were acquired and at least 3 R - 1 lines calibrate. `mask` says which lines were acquired; the
/// calibration lines are among them.
///
/// # Errors
/// [`Error::Unsupported`] when there are too few calibration lines or they hold no signal, [`Error::Corrupt`] when shapes
/// and sampling do not fit together.
pub fn fill(kspace: &Array3<Complex32>, mask: &[bool], sampling: &Sampling, options: &Options) -> Result<Filled> {
    fill_and_judge(kspace, mask, sampling, None, options, &Host).map(|(filled, _)| filled)
}

/// As [`fill`], with what other fills of the slice can be measured with. Separate calibration lines are what the weights are fitted
/// to first; they know the noise, and the block of `sampling` is what they cover. `on` carries out the large products.
///
/// # Errors
/// Those of [`fill`] and of `on`.
pub fn fill_and_judge(
    kspace: &Array3<Complex32>,
    mask: &[bool],
    sampling: &Sampling,
    separate: Option<&Separate>,
    options: &Options,
    on: &dyn Products,
) -> Result<(Filled, Judge)> {
    check(kspace, mask, sampling, separate)?;
    window::one_thread();
    let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
    let calibration = kspace.slice(s![.., block, ..]).to_owned();
    let noise_variance = match (separate, options.noise_variance) {
        (Some(separate), _) => separate.of_image,
        (None, Some(known)) => known,
        (None, None) => window::noise_variance(&calibration)?,
    };
    let calibration = match separate {
        Some(separate) => Region::separate(separate),
        None => Region { lines: &calibration, noise_variance },
    };
    let energy = Energy::of(kspace, mask, sampling.acceleration, noise_variance);
    let mut region = (sampling.acs_first, sampling.acs_first + sampling.acs_lines);
    let centre = separate.is_some();
    let reach = (sampling.acceleration, Reach::Between);
    let mut regions = vec![calibration];
    let mut fit = Fit::new(&regions, reach, noise_variance, centre, options, on)?;
    let mut lines;
    for _ in 0..options.refits {
        region = refit_region(sampling);
        lines = fit.lines(kspace, mask, sampling, &energy, region.0..region.1, on)?;
        regions = vec![Region { lines: &lines, noise_variance }];
        // Without acquired lines next to each other, the fill alone would confirm its own errors.
        regions.extend(separate.map(Region::separate));
        fit = Fit::new(&regions, reach, noise_variance, centre, options, on)?;
    }
    let beyond = Beyond::new(&regions, mask, sampling, &energy, &fit, options, on)?;
    let judge = Judge { fit, beyond, energy };
    let filled = judge.fill(kspace, mask, sampling, on)?;
    Ok((Filled { region, ..filled }, judge))
}

/// The lines of a refit: around the calibration block, inside the acquired range.
#[must_use]
pub fn refit_region(sampling: &Sampling) -> (usize, usize) {
    let range = sampling.last + 1 - sampling.first;
    let lines = REFIT_LINES.max(sampling.acs_lines + 2 * sampling.acceleration).min(range);
    let centre = sampling.acs_first + sampling.acs_lines / 2;
    let first = centre.saturating_sub(lines / 2).clamp(sampling.first, sampling.last + 1 - lines);
    (first, first + lines)
}

fn check(kspace: &Array3<Complex32>, mask: &[bool], sampling: &Sampling, separate: Option<&Separate>) -> Result<()> {
    let (coils, lines, points) = kspace.dim();
    let misfit = |found: String, expected: String| Err(Error::corrupt("sampling of a slice", found, expected));
    if mask.len() != lines || coils == 0 || points < TAPS {
        return misfit(
            format!("k-space of {coils} coils, {lines} lines and {points} points with a mask of {} lines", mask.len()),
            format!("one mask value a line and at least {TAPS} points"),
        );
    }
    let block = sampling.acs_first.checked_add(sampling.acs_lines);
    if sampling.acceleration < 2
        || sampling.offset >= sampling.acceleration
        || sampling.first > sampling.last
        || sampling.last >= lines
        || block.is_none_or(|end| end > lines)
    {
        return misfit(
            format!("{sampling:?}"),
            format!("every 2nd line or fewer of a regular grid within {lines} lines"),
        );
    }
    let needed = least_calibration_lines(sampling.acceleration);
    let (found, width) =
        separate.map_or((sampling.acs_lines, points), |separate| (separate.lines.dim().1, separate.lines.dim().2));
    if found < needed || width < TAPS {
        return Err(Error::unsupported(
            format!("{found} calibration lines of {width} points at acceleration {}", sampling.acceleration),
            format!(
                "at least {needed} neighbouring lines of {TAPS} points at the centre of k-space are needed, or choose the method \
                 zero-filled"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
