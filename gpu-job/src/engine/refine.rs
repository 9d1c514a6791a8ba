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
        let error_variance = self.error_variance(filled, nwg);
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

    /// `[ky, kx]`: expected variance of the error of a filled sample, mean over the coils.
    fn error_variance<'a>(&self, filled: &Array3<Complex32>, nwg: &'a nwg::Filled) -> Cow<'a, Array2<f32>> {
        // Mixes and networks with a weighted loss err less than `nwg`, or not much more; these can err far more.
        if !matches!(self.recipe.method, Method::Grappa | Method::RakiPaper) {
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
}
