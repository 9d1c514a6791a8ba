//! Refinement of a filled slice.

use kspace::Complex32;
use kspace::numerics::calibration::Separate;
use kspace::numerics::{combine, espirit, nwg, sparse};
use ndarray::{Array3, s};

use super::{Numbers, Recipe, Slice};

/// Coil images `[coil, y, x]` of the refined slice; `None` when its sensitivities cannot be found, as in a slice of air.
pub(super) fn refine(
    recipe: &Recipe,
    slice: &Slice,
    separate: Option<&Separate>,
    filled: &Array3<Complex32>,
    nwg: &nwg::Filled,
    numbers: &mut Numbers,
) -> Option<Array3<Complex32>> {
    let sampling = &slice.sampling;
    let (_, rows, columns) = filled.dim();
    let (block, noise_variance) = match separate {
        Some(separate) => (separate.lines.view(), separate.noise_variance),
        None => {
            let lines = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
            (slice.kspace.slice(s![.., lines, ..]), nwg.noise_variance)
        }
    };
    let Ok(maps) = espirit::maps(block, noise_variance, (rows, columns), &recipe.maps) else {
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
    Some(combine::spread(&maps.maps, &sparse::refine(&problem, &recipe.sparse)))
}
