//! Refinement of a filled slice.

use kspace::Complex32;
use kspace::numerics::calibration::Separate;
use kspace::numerics::{combine, espirit, nwg, sparse};
use ndarray::Array3;

use super::image::sensitivities;
use super::{Numbers, Recipe, Slice};

/// Coil images `[coil, y, x]` of the refined slice and its sensitivities; `None` when these cannot be found, as in a slice of air.
pub(super) fn refine(
    recipe: &Recipe,
    slice: &Slice,
    separate: Option<&Separate>,
    filled: &Array3<Complex32>,
    nwg: &nwg::Filled,
    numbers: &mut Numbers,
) -> Option<(Array3<Complex32>, espirit::Maps)> {
    let sampling = &slice.sampling;
    let (_, rows, columns) = filled.dim();
    let found = sensitivities(&recipe.maps, slice, sampling, separate, nwg.noise_variance, (rows, columns));
    let Some(maps) = found else {
        numbers.unrefined = true;
        return None;
    };
    numbers.maps = Some((maps.maps.dim().0, maps.wrapped.into()));
    let problem = sparse::Problem {
        kspace: filled,
        mask: &slice.mask,
        range: (sampling.first, sampling.last),
        noise_variance: nwg.noise_variance,
        error_variance: &nwg.error_variance,
        maps: &maps.maps,
    };
    let images = combine::spread(&maps.maps, &sparse::refine(&problem, &recipe.sparse));
    Some((images, maps))
}
