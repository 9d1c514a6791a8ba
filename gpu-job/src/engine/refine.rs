//! Refinement of a filled slice.

use kspace::Complex32;
use kspace::numerics::calibration::Separate;
use kspace::numerics::{combine, espirit, nwg, sparse};
use ndarray::Array3;

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
        let problem = sparse::Problem {
            kspace: filled,
            mask: &slice.mask,
            range: nwg::range(sampling, rows),
            noise_variance: nwg.noise_variance,
            error_variance: &nwg.error_variance,
            maps: &maps.maps,
        };
        let refined = self.backend.imaging().refine(&problem, &self.recipe.sparse)?;
        numbers.refinement_steps = Some(refined.steps);
        Ok(Some((combine::spread(&maps.maps, &refined.images), maps)))
    }
}
