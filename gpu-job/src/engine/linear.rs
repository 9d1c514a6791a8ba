//! What linear kernels fill.

use contract::Method;
use contract::prepared::Sampling;
use kspace::Complex32;
use kspace::numerics::{grappa, nwg, window};
use ndarray::{Array3, s};

use super::{Engine, Numbers, Slice, Work};
use crate::error::JobError;
use crate::raki::fill::finite;

/// Factor between the noise levels of the noise scan and of the calibration lines beyond which one of them is wrong.
const DOUBT: f64 = 2.0;

impl Engine<'_> {
    /// What linear kernels fill.
    pub(super) fn linear(&self, slice: Slice) -> Result<Work, JobError> {
        finite(slice.kspace.view())?;
        let recipe = self.recipe;
        let empty = slice.kspace.iter().all(|sample| *sample == Complex32::default());
        let missing = slice.sampling.acceleration > 1 && recipe.method != Method::ZeroFilled && !empty;
        let mut work = Work { slice, missing, nwg: None, filled: None, numbers: Numbers::default() };
        if !missing || self.progress.cancelled() {
            return Ok(work);
        }
        let Slice { kspace, mask, sampling, noise_variance, .. } = &work.slice;
        if recipe.needs_nwg() {
            let options = nwg::Options { noise_variance: believable(*noise_variance, kspace, sampling)?, ..recipe.nwg };
            work.numbers.noise_doubted = options.noise_variance != *noise_variance;
            let (filled, judge) = nwg::fill_and_judge(kspace, mask, sampling, &options)?;
            work.numbers.noise_variance = Some(filled.noise_variance);
            work.nwg = Some((filled, judge));
        }
        match recipe.method {
            Method::Grappa => {
                let (filled, calibration) = plain(kspace, mask, sampling, &recipe.grappa)?;
                work.filled = Some(filled);
                work.numbers.calibration = Some(calibration);
            }
            _ => work.numbers.calibration = work.nwg.as_ref().map(|(filled, _)| filled.calibration),
        }
        Ok(work)
    }
}

/// The given noise variance, if the calibration lines have about as much. Headers state wrong dwell times, and noise
/// scans of other amplifier settings exist; filling stands a factor of [`DOUBT`] in the deviation, and not more.
fn believable(given: Option<f64>, kspace: &Array3<Complex32>, sampling: &Sampling) -> Result<Option<f64>, JobError> {
    let Some(given) = given else { return Ok(None) };
    let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
    if !window::tells_noise(kspace.dim().0, block.len(), kspace.dim().2) {
        return Ok(Some(given));
    }
    let found = window::noise_variance(&kspace.slice(s![.., block, ..]).to_owned())?;
    let ratio = (found / given).sqrt();
    Ok((ratio > 1.0 / DOUBT && ratio < DOUBT).then_some(given))
}

/// GRAPPA. Calibration lines off the grid are predicted like missing ones, compared, and put back.
fn plain(
    kspace: &Array3<Complex32>,
    mask: &[bool],
    sampling: &Sampling,
    options: &grappa::Options,
) -> Result<(Array3<Complex32>, (f64, f64)), JobError> {
    let on_grid = |line: usize| line % sampling.acceleration == sampling.offset;
    let grid: Vec<bool> = mask.iter().enumerate().map(|(line, acquired)| *acquired && on_grid(line)).collect();
    let mut filled = grappa::Kernel::fit(kspace, mask, sampling, options)?.apply(kspace, &grid)?;
    let (mut error, mut power) = (0.0, 0.0);
    for line in (0..mask.len()).filter(|line| mask[*line] && !grid[*line]) {
        for (coil, samples) in kspace.outer_iter().enumerate() {
            for (kx, acquired) in samples.row(line).iter().enumerate() {
                let value = &mut filled[[coil, line, kx]];
                error += f64::from((*value - acquired).norm_sqr());
                power += f64::from(acquired.norm_sqr());
                *value = *acquired;
            }
        }
    }
    Ok((filled, (error, power)))
}
