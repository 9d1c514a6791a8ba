//! Refinement of a filled slice.

use std::borrow::Cow;

use contract::Method;
use kspace::Complex32;
use kspace::numerics::calibration::Separate;
use kspace::numerics::{combine, espirit, nwg, sparse};
use ndarray::{Array2, Array3, Zip};

use super::{Engine, Numbers, Slice};
use crate::error::JobError;

impl Engine<'_> {
    /// Coil images `[coil, y, x]` of the refined slice and its sensitivities; `None` when these cannot be found, as in a slice of air.
    pub(super) fn refine(
        &self,
        slice: &Slice,
        separate: Option<&Separate>,
        filled: &Array3<Complex32>,
        nwg: &nwg::Filled,
        numbers: &mut Numbers,
    ) -> Result<Option<(Array3<Complex32>, espirit::Maps)>, JobError> {
        let sampling = &slice.sampling;
        let (_, rows, columns) = filled.dim();
        let Some(maps) = self.sensitivities(slice, sampling, separate, nwg.noise_variance, (rows, columns))? else {
            numbers.unrefined = true;
            return Ok(None);
        };
        numbers.maps = Some((maps.maps.dim().0, maps.wrapped.into()));
        let error_variance = error_variance(self.recipe.method, filled, nwg);
        let problem = sparse::Problem {
            kspace: filled,
            mask: &slice.mask,
            range: nwg::range(sampling, rows),
            noise_variance: nwg.noise_variance,
            error_variance: &error_variance,
            checked: nwg.checked,
            maps: &maps.maps,
        };
        let refined = self.backend.imaging().refine(&problem, &self.recipe.sparse)?;
        numbers.refinement_steps = Some(refined.steps);
        Ok(Some((combine::spread(&maps.maps, &refined.images), maps)))
    }
}

/// `[ky, kx]`: expected variance of the error of a sample that `method` filled, mean over the coils.
fn error_variance<'a>(method: Method, filled: &Array3<Complex32>, nwg: &'a nwg::Filled) -> Cow<'a, Array2<f32>> {
    // Mixes and networks with a weighted loss err less than `nwg`, or not much more; these can err far more.
    if !matches!(method, Method::Grappa | Method::RakiPaper) {
        return Cow::Borrowed(&nwg.error_variance);
    }
    let mut variance = nwg.error_variance.clone();
    let coils = filled.dim().0 as f32;
    for (coil, better) in filled.outer_iter().zip(nwg.kspace.outer_iter()) {
        Zip::from(&mut variance).and(coil).and(better).for_each(|to, value, better| {
            *to += (value - better).norm_sqr() / coils;
        });
    }
    Cow::Owned(variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_that_may_err_more_than_nwg_answer_for_what_they_differ_by() {
        let value = |coil: usize, ky: usize, kx: usize| Complex32::new((coil + kx) as f32, (ky * kx) as f32);
        let kspace = Array3::from_shape_fn((2, 3, 4), |(coil, ky, kx)| value(coil, ky, kx));
        let nwg = nwg::Filled {
            kspace: kspace.clone(),
            noise_variance: 1.0,
            error_variance: Array2::from_shape_fn((3, 4), |(ky, kx)| (1 + ky + kx) as f32),
            checked: true,
            centre: Array2::from_elem((3, 4), false),
            calibration: (0.0, 1.0),
            region: (0, 1),
        };
        let mut filled = kspace;
        filled[[0, 1, 2]] += Complex32::new(3.0, 4.0);
        filled[[1, 1, 2]] += Complex32::new(0.0, -1.0);
        for method in Method::ALL {
            let found = error_variance(method, &filled, &nwg);
            let mut expected = nwg.error_variance.clone();
            if matches!(method, Method::Grappa | Method::RakiPaper) {
                expected[[1, 2]] += (25.0 + 1.0) / 2.0;
            }
            assert_eq!(*found, expected, "{method}");
        }
    }
}
