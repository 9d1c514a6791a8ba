//! What linear kernels fill.

use contract::Method;
use contract::prepared::Sampling;
use kspace::Complex32;
use kspace::numerics::calibration::{self, Separate};
use kspace::numerics::{grappa, nwg, window};
use ndarray::{Array3, s};

use super::{Engine, Numbers, Slice, Work};
use crate::error::JobError;
use crate::raki::fill::finite;

/// Factor between the noise levels of the noise scan and of the data beyond which one of them is wrong.
const DOUBT: f64 = 2.0;
/// Lines at the edge of fully sampled k-space that tell its noise.
const EDGE_LINES: usize = 16;

impl Engine<'_> {
    /// What linear kernels fill.
    pub(super) fn linear(&self, mut slice: Slice) -> Result<Work, JobError> {
        finite(slice.kspace.view())?;
        let recipe = self.recipe;
        let empty = slice.kspace.iter().all(|sample| *sample == Complex32::default());
        let missing = slice.sampling.acceleration > 1 && recipe.method != Method::ZeroFilled && !empty;
        let calibration = slice.calibration.take();
        let numbers = Numbers::default();
        let mut work = Work { slice, separate: None, missing, nwg: None, plain: None, filled: None, numbers };
        if empty || self.progress.cancelled() {
            return Ok(work);
        }
        if let Some(lines) = calibration.filter(|_| missing) {
            let Slice { kspace, mask, sampling, noise_variance, .. } = &work.slice;
            let (sampling, separate) = separate(&lines, kspace, mask, sampling, *noise_variance)?;
            (work.slice.sampling, work.separate) = (sampling, Some(separate));
        }
        let Slice { kspace, mask, sampling, noise_variance, .. } = &work.slice;
        let separate = work.separate.as_ref();
        let nwg = missing && recipe.needs_nwg();
        let believed = believed(&work.slice, separate)?;
        work.numbers.noise_doubted = noise_variance.is_some() && believed != *noise_variance;
        if nwg {
            let options = nwg::Options { noise_variance: believed, ..recipe.nwg };
            let (filled, judge) =
                nwg::fill_and_judge(kspace, mask, sampling, separate, &options, self.backend.products())?;
            work.numbers.noise_variance = Some(filled.noise_variance);
            work.nwg = Some((filled, judge));
        } else {
            work.numbers.noise_variance = match believed {
                Some(believed) => Some(believed),
                None => of_data(&work.slice)?,
            };
        }
        if !missing {
            return Ok(work);
        }
        match recipe.method {
            Method::Grappa => {
                let plain = plain(&work.slice, separate, &recipe.grappa)?;
                work.numbers.calibration = measured(plain.calibration);
                (work.filled, work.plain) = (Some(plain.filled), Some(plain.kernel));
            }
            _ => work.numbers.calibration = work.nwg.as_ref().and_then(|(filled, _)| measured(filled.calibration)),
        }
        Ok(work)
    }
}

/// Errors and energies, where there were lines to measure them on.
pub(super) fn measured(calibration: (f64, f64)) -> Option<(f64, f64)> {
    (calibration.1 > 0.0).then_some(calibration)
}

/// Calibration lines of their own, in the energy of the image that they calibrate, and its sampling with the block that they
/// cover. `noise_variance` is that of the image where a noise scan gives it.
///
/// # Errors
/// [`JobError::BadData`] for lines that cannot calibrate.
pub(crate) fn separate(
    lines: &Array3<Complex32>,
    kspace: &Array3<Complex32>,
    mask: &[bool],
    sampling: &Sampling,
    noise_variance: Option<f64>,
) -> Result<(Sampling, Separate), JobError> {
    finite(lines.view())?;
    let sampling = calibration::covered(sampling, lines.dim().1, kspace.dim().1);
    let of_image = || Ok(window::noise_variance_of_image(kspace, mask, &sampling));
    let noise_variance = believable(noise_variance, of_image)?;
    Ok((sampling, Separate::new(lines, kspace, mask, &sampling, noise_variance)?))
}

/// The noise variance of the noise scan, where there is one that the slice does not contradict; separate calibration lines know it already.
pub(crate) fn believed(slice: &Slice, separate: Option<&Separate>) -> Result<Option<f64>, JobError> {
    match separate {
        Some(separate) => Ok(Some(separate.of_image)),
        None => believable(slice.noise_variance, || of_data(slice)),
    }
}

/// The given noise variance, if the data have about as much, or cannot tell. Headers state wrong dwell times, and noise
/// scans of other amplifier settings exist; filling stands a factor of [`DOUBT`] in the deviation, and not more.
fn believable(
    given: Option<f64>,
    found: impl FnOnce() -> Result<Option<f64>, JobError>,
) -> Result<Option<f64>, JobError> {
    let Some(given) = given else { return Ok(None) };
    let Some(found) = found()? else { return Ok(Some(given)) };
    let ratio = (found / given).sqrt();
    Ok((ratio > 1.0 / DOUBT && ratio < DOUBT).then_some(given))
}

/// Noise variance of the calibration lines or, of a fully sampled slice, of its first lines, where signal is weak; of an image without
/// either that of its outer lines. `None` where these are not enough to contradict a noise scan.
fn of_data(slice: &Slice) -> Result<Option<f64>, JobError> {
    let Slice { kspace, mask, sampling, .. } = slice;
    let lines = match (sampling.acceleration, sampling.acs_lines) {
        // The longest run of lines, which is all of them unless one was lost.
        (0 | 1, lines) => sampling.acs_first..sampling.acs_first + lines.min(EDGE_LINES),
        (_, 0) => return Ok(window::noise_variance_of_image(kspace, mask, sampling)),
        (_, lines) => sampling.acs_first..sampling.acs_first + lines,
    };
    if !window::tells_noise(kspace.dim().0, lines.len(), kspace.dim().2) {
        return Ok(None);
    }
    Ok(Some(window::noise_variance(&kspace.slice(s![.., lines, ..]).to_owned())?))
}

/// What GRAPPA fills.
pub(super) struct Plain {
    /// `[coil, ky, kx]`.
    pub(super) filled: Array3<Complex32>,
    pub(super) kernel: grappa::Kernel,
    /// Squared norms of (predicted - acquired) and of acquired calibration lines off the grid.
    calibration: (f64, f64),
}

/// GRAPPA. Calibration lines off the grid are predicted like missing ones, compared, and put back.
pub(super) fn plain(slice: &Slice, separate: Option<&Separate>, options: &grappa::Options) -> Result<Plain, JobError> {
    let Slice { kspace, mask, sampling, .. } = slice;
    let on_grid = |line: usize| line % sampling.acceleration == sampling.offset;
    let grid: Vec<bool> = mask.iter().enumerate().map(|(line, acquired)| *acquired && on_grid(line)).collect();
    let kernel = grappa::Kernel::fit(kspace, mask, sampling, separate, options)?;
    let mut filled = kernel.apply(kspace, &grid)?;
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
    Ok(Plain { filled, kernel, calibration: (error, power) })
}

#[cfg(test)]
mod tests {
    use kspace::numerics::fft::fft2c;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    /// A smooth object seen by four coils, one line in `acceleration` and `acs_lines` at the centre, with noise of complex variance 2.
    fn noisy(acceleration: usize, acs_lines: usize) -> Slice {
        let (lines, acs_first) = (96, 48 - acs_lines / 2);
        let images = Array3::from_shape_fn((4, lines, 80), |(coil, y, x)| {
            let (v, u) = (y as f32 / 48.0 - 1.0, x as f32 / 40.0 - 1.0);
            let turn = std::f32::consts::FRAC_PI_2 * coil as f32;
            let near = (u - turn.cos()).powi(2) + (v - turn.sin()).powi(2);
            Complex32::from(100.0 * (-6.0 * (u * u + v * v) - 0.3 * near).exp())
        });
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut part = || -> f32 { StandardNormal.sample(&mut random) };
        let mut kspace = fft2c(&images).mapv(|sample| sample + Complex32::new(part(), part()));
        let block = acs_first..acs_first + acs_lines;
        let mask: Vec<bool> = (0..lines).map(|line| line % acceleration == 0 || block.contains(&line)).collect();
        for line in (0..lines).filter(|line| !mask[*line]) {
            kspace.slice_mut(s![.., line, ..]).fill(Complex32::default());
        }
        let sampling = Sampling { acceleration, offset: 0, acs_first, acs_lines, first: 0, last: lines - 1 };
        Slice { kspace, mask, sampling, number: 0, noise_variance: None, calibration: None, compare: false }
    }

    #[test]
    fn data_tell_their_noise_however_they_are_sampled() {
        for (acceleration, acs_lines) in [(1, 96), (3, 24), (2, 0)] {
            let found = of_data(&noisy(acceleration, acs_lines)).unwrap().unwrap();
            assert!((found / 2.0 - 1.0).abs() < 0.25, "R = {acceleration}, {acs_lines} lines: {found}");
        }
        assert_eq!(of_data(&noisy(8, 0)).unwrap(), None);
    }

    #[test]
    fn a_noise_scan_is_believed_unless_the_slice_contradicts_it() {
        let slice = noisy(3, 24);
        let found = |noise_variance| believed(&Slice { noise_variance, ..slice.clone() }, None).unwrap();
        assert_eq!(found(None), None);
        for (given, expected) in [(2.0, Some(2.0)), (2.0 * 9.0, None), (2.0 / 9.0, None)] {
            assert_eq!(found(Some(given)), expected);
        }
        // Too few lines to contradict anything.
        assert_eq!(believed(&Slice { noise_variance: Some(18.0), ..noisy(8, 0) }, None).unwrap(), Some(18.0));
    }
}
