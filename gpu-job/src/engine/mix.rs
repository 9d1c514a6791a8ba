//! Two fills of a slice, mixed as the acquired lines say.

use kspace::Complex32;
use kspace::numerics::nwg::Judge;
use ndarray::{Array3, Zip};

use super::{Numbers, Slice};

/// Mixes the fills of `nwg` and of the networks. Acquired outer lines are predicted from either (round trip), which is
/// linear in the fill, so the mix `(1 - a) nwg + a networks` of the least error has a closed form in the two residuals:
/// `a = <r, r - q> / |r - q|²`, kept within 0 and 1. Errors of the two that are independent make the mix better than both.
pub(super) fn mix(
    slice: &Slice,
    judge: &Judge,
    nwg: &Array3<Complex32>,
    networks: &Array3<Complex32>,
    numbers: &mut Numbers,
) -> Array3<Complex32> {
    let (mask, sampling) = (&slice.mask, &slice.sampling);
    let (r, q) = (judge.residual(nwg, mask, sampling), judge.residual(networks, mask, sampling));
    let (mut along, mut apart) = (0.0, 0.0);
    let (mut of_nwg, mut of_networks) = (0.0, 0.0);
    for (r, q) in r.iter().zip(&q) {
        let difference = r - q;
        along += f64::from((r * difference.conj()).re);
        apart += f64::from(difference.norm_sqr());
        of_nwg += f64::from(r.norm_sqr());
        of_networks += f64::from(q.norm_sqr());
    }
    let share = if apart > 0.0 { (along / apart).clamp(0.0, 1.0) } else { 0.0 };
    let of_mix = of_nwg - 2.0 * share * along + share * share * apart;
    let power = outer_power(slice).max(f64::MIN_POSITIVE);
    numbers.networks = Some(share);
    numbers.round_trip = Some([of_nwg, of_networks, of_mix].map(|error| (error.max(0.0) / power).sqrt()));
    let mut mixed = nwg.clone();
    let share = share as f32;
    Zip::from(&mut mixed).and(networks).for_each(|to, other| *to += (other - *to) * share);
    // Rounding of equal values must not touch what was acquired.
    for (line, _) in mask.iter().enumerate().filter(|(_, acquired)| **acquired) {
        mixed.slice_mut(ndarray::s![.., line, ..]).assign(&slice.kspace.slice(ndarray::s![.., line, ..]));
    }
    mixed
}

/// Energy of the acquired lines outside the calibration block.
fn outer_power(slice: &Slice) -> f64 {
    let sampling = &slice.sampling;
    let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
    let lines = (0..slice.mask.len()).filter(|line| slice.mask[*line] && !block.contains(line));
    lines
        .map(|line| {
            let samples = slice.kspace.slice(ndarray::s![.., line, ..]);
            samples.iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>()
        })
        .sum()
}
