//! From filled k-space to an image: transform, refinement, what partial Fourier left out, combination of the coils.

use contract::images::Combine;
use contract::prepared::Sampling;
use contract::{Method, Refine};
use kspace::Complex32;
use kspace::numerics::calibration::Separate;
use kspace::numerics::partial_fourier::Asymmetry;
use kspace::numerics::{combine, espirit, gfactor, nwg, partial_fourier, window};
use ndarray::{Array2, Array3, Array4, Axis, s};

use super::{Engine, Reconstructed, Slice, Work, linear};
use crate::error::JobError;

/// Lines around the centre of a fully sampled slice that tell its sensitivities.
const CENTRE_LINES: usize = 32;

/// The same slice by methods that everyone knows, `[y, x]`, combined with the same sensitivities.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Magnitude of the acquired lines alone.
    pub zero_filled: Array2<f32>,
    /// Magnitude of plain GRAPPA; `None` where it cannot be fitted, or nothing is missing.
    pub grappa: Option<Array2<f32>>,
}

/// Coil images and the sensitivities that combine them.
struct Combination {
    /// `[map, coil, y, x]`.
    maps: Array4<Complex32>,
    how: Combine,
}

impl Combination {
    /// `[y, x]`.
    fn apply(&self, images: &Array3<Complex32>) -> Array2<Complex32> {
        match self.how {
            Combine::Rss => combine::rss(images).mapv(|value| Complex32::new(value, 0.0)),
            _ => combine::merge(&combine::apply(&self.maps, images)),
        }
    }
}

impl Engine<'_> {
    /// The image of a filled slice.
    pub(super) fn image(&self, mut work: Work) -> Result<Reconstructed, JobError> {
        if self.progress.cancelled() {
            return Err(JobError::Interrupted);
        }
        let nwg = work.nwg.as_ref().map(|(filled, _)| filled);
        let filled = work.filled.as_ref().or(nwg.map(|nwg| &nwg.kspace)).unwrap_or(&work.slice.kspace);
        let numbers = &mut work.numbers;
        (numbers.acquired_energy, numbers.filled_energy) = energies(filled, &work.slice.mask);
        let mask = &work.slice.mask;
        numbers.acquired = mask.iter().filter(|acquired| **acquired).count() as f64 / mask.len().max(1) as f64;
        numbers.ideal_gain = gfactor::ideal_gain(&work.slice.mask, &work.slice.sampling);
        let refined = match nwg {
            Some(nwg) if self.recipe.refine == Refine::Sparse => {
                self.refine(&work.slice, work.separate.as_ref(), filled, nwg, numbers)?
            }
            _ => None,
        };
        let (images, found) = match refined {
            Some((images, maps)) => (images, Some(maps)),
            None => (self.backend.imaging().transform(filled)?, None),
        };
        let asymmetry = asymmetry(&work.slice, nwg.is_some());
        let Sampling { first, last, .. } = work.slice.sampling;
        numbers.partial = asymmetry.map(|_| (last + 1 - first) as f64 / images.dim().1 as f64);
        numbers.left_zero = asymmetry
            .is_some_and(|it| partial_fourier::way(&it, self.recipe.partial_fourier) != self.recipe.partial_fourier);
        let images = self.complete(images, asymmetry);
        let refined = found.is_some();
        let combination = self.combination(&work, &images, found)?;
        work.numbers.uncalibrated = self.recipe.combine == Combine::Espirit && combination.how == Combine::Adaptive;
        work.numbers.combined = combination.how;
        let mut image = combination.apply(&images);
        if refined && combination.maps.dim().0 > 1 && combination.how != Combine::Rss {
            // Maps of two places are shorter where the second fades, so their sum of squares is not that of the coil images.
            let magnitude = combine::rss(&images);
            image.zip_mut_with(&magnitude, |value, size| *value = Complex32::from_polar(*size, value.arg()));
        }
        let gain = self.gain(&work, &combination);
        let compared = work.slice.compare.then(|| self.compared(&work, asymmetry, &combination)).transpose()?;
        self.progress.advance(1);
        Ok(Reconstructed { image, gain, compared, numbers: work.numbers })
    }

    /// Coil images with what is done about lines that were never measured.
    fn complete(&self, images: Array3<Complex32>, asymmetry: Option<Asymmetry>) -> Array3<Complex32> {
        match asymmetry {
            Some(asymmetry) => partial_fourier::complete(&images, &asymmetry, self.recipe.partial_fourier),
            None => images,
        }
    }

    /// The sensitivities that combine `images`. Those of a refinement are at hand; those of the calibration lines are taken where
    /// they are asked for and found; else the images tell them.
    fn combination(
        &self,
        work: &Work,
        images: &Array3<Complex32>,
        found: Option<espirit::Maps>,
    ) -> Result<Combination, JobError> {
        let wanted = self.recipe.combine;
        let found = match found {
            None if wanted == Combine::Espirit => self.calibrated(work)?,
            found => found,
        };
        let (maps, how) = match found {
            Some(found) => (found.maps, Combine::Espirit),
            None => (combine::adaptive::maps(images), Combine::Adaptive),
        };
        Ok(Combination { maps, how: if wanted == Combine::Rss { wanted } else { how } })
    }

    /// Sensitivities from calibration lines.
    fn calibrated(&self, work: &Work) -> Result<Option<espirit::Maps>, JobError> {
        let (_, rows, columns) = work.slice.kspace.dim();
        let sampling = match work.slice.sampling {
            complete if complete.acceleration == 1 => centre(&complete, rows),
            found => found,
        };
        let slice = &work.slice;
        let noise = work.numbers.noise_variance;
        let noise = noise.or_else(|| window::noise_variance(&block(slice, &sampling).to_owned()).ok());
        let Some(noise) = noise else { return Ok(None) };
        self.sensitivities(slice, &sampling, work.separate.as_ref(), noise, (rows, columns))
    }

    /// Sensitivities of an image of this many rows and columns; `None` when they cannot be found, as in a slice of air.
    /// `noise_variance` is that of the image; separate lines know their own.
    pub(super) fn sensitivities(
        &self,
        slice: &Slice,
        sampling: &Sampling,
        separate: Option<&Separate>,
        noise_variance: f64,
        shape: (usize, usize),
    ) -> Result<Option<espirit::Maps>, JobError> {
        let (lines, noise_variance) = match separate {
            Some(separate) => (separate.lines.view(), separate.noise_variance),
            None => (block(slice, sampling), noise_variance),
        };
        match espirit::maps(lines, noise_variance, shape, &self.recipe.maps, self.backend.imaging()) {
            Ok(maps) => Ok(Some(maps)),
            Err(kspace::Error::Unsupported { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deviation of the noise of the image over that of a k-space sample, as the linear kernels pass it on, `[y, x]`. Networks learn
    /// from the fill of these kernels; what they and a refinement take away is not in it.
    fn gain(&self, work: &Work, combination: &Combination) -> Option<Array2<f32>> {
        let maps = combination.maps.index_axis(Axis(0), 0);
        let (mask, sampling) = (&work.slice.mask, &work.slice.sampling);
        match (&work.plain, &work.nwg) {
            (Some(kernel), _) => Some(kernel.noise_gain(maps, mask)),
            (None, Some((_, judge))) => Some(judge.noise_gain(maps, mask, sampling)),
            (None, None) => None,
        }
    }

    fn compared(
        &self,
        work: &Work,
        asymmetry: Option<Asymmetry>,
        combination: &Combination,
    ) -> Result<Compared, JobError> {
        let slice = &work.slice;
        let magnitude = |kspace: &Array3<Complex32>| {
            let images = self.complete(self.backend.imaging().transform(kspace)?, asymmetry);
            Ok::<_, JobError>(combination.apply(&images).mapv(Complex32::norm))
        };
        let grappa = match (self.recipe.method, &work.filled) {
            (Method::Grappa, Some(filled)) => Some(magnitude(filled)?),
            _ if !work.missing => None,
            _ => linear::plain(slice, work.separate.as_ref(), &self.recipe.grappa)
                .ok()
                .map(|plain| magnitude(&plain.filled))
                .transpose()?,
        };
        Ok(Compared { zero_filled: magnitude(&slice.kspace)?, grappa })
    }
}

/// The lines of fully sampled k-space of `rows` rows that are nearest to its centre, none of which was lost on its way.
fn centre(sampling: &Sampling, rows: usize) -> Sampling {
    let lines = sampling.acs_lines.min(CENTRE_LINES);
    let latest = sampling.acs_first + sampling.acs_lines - lines;
    let first = (rows / 2).saturating_sub(lines / 2).clamp(sampling.acs_first, latest);
    Sampling { acs_first: first, acs_lines: lines, ..*sampling }
}

/// How the acquired lines of a slice are not symmetric, where partial Fourier left some out. Lines after the last one of a grid, which the
/// kernels of `nwg` fill, are kept as measured ones are; whether there is partial Fourier is not theirs to say.
fn asymmetry(slice: &Slice, nwg: bool) -> Option<Asymmetry> {
    let Slice { sampling, mask, .. } = slice;
    let found = partial_fourier::missing((sampling.first, sampling.last), mask.len(), sampling.acceleration)?;
    Some(if nwg { Asymmetry { range: nwg::range(sampling, mask.len()), ..found } } else { found })
}

/// Calibration lines `[coil, line, kx]` within k-space.
fn block<'a>(slice: &'a Slice, sampling: &Sampling) -> ndarray::ArrayView3<'a, Complex32> {
    slice.kspace.slice(s![.., sampling.acs_first..sampling.acs_first + sampling.acs_lines, ..])
}

/// Energy of the acquired and of the other lines.
fn energies(kspace: &Array3<Complex32>, mask: &[bool]) -> (f64, f64) {
    let (mut acquired, mut other) = (0.0, 0.0);
    for coil in kspace.outer_iter() {
        for (line, taken) in coil.outer_iter().zip(mask) {
            let energy: f64 = line.iter().map(|sample| f64::from(sample.norm_sqr())).sum();
            *(if *taken { &mut acquired } else { &mut other }) += energy;
        }
    }
    (acquired, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_the_last_of_a_grid_are_kept_and_make_no_partial_fourier() {
        let of = |acceleration, offset, lines, (first, last)| {
            let sampling = Sampling { acceleration, offset, acs_first: lines / 2, acs_lines: 20, first, last };
            let (kspace, mask) = (Array3::zeros((1, lines, 7)), vec![true; lines]);
            let slice =
                Slice { kspace, mask, sampling, number: 0, noise_variance: None, calibration: None, compare: false };
            [false, true].map(|nwg| asymmetry(&slice, nwg).map(|it| it.range))
        };
        // 53 lines before the centre and 57 after it, 60 with those that were filled.
        assert_eq!(of(5, 3, 122, (8, 118)), [None, None]);
        assert_eq!(of(4, 0, 120, (40, 116)), [Some((40, 116)), Some((40, 119))]);
        assert_eq!(of(4, 3, 120, (3, 83)), [Some((3, 83)), Some((0, 83))]);
    }

    #[test]
    fn sensitivities_are_read_from_lines_that_were_all_acquired() {
        let complete = Sampling { acceleration: 1, offset: 0, acs_first: 0, acs_lines: 128, first: 0, last: 127 };
        let of = |acs_first, acs_lines| {
            let found = centre(&Sampling { acs_first, acs_lines, ..complete }, 128);
            (found.acs_first, found.acs_lines)
        };
        assert_eq!(of(0, 128), (48, 32));
        // Line 60 was lost, or 70, or most lines before the centre were never measured.
        assert_eq!((of(61, 67), of(0, 70), of(56, 72)), ((61, 32), (38, 32), (56, 32)));
        assert_eq!(of(3, 20), (3, 20));
    }
}
