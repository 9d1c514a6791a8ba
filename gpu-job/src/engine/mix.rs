//! Two fills of a slice, mixed as the acquired lines say.

use kspace::Complex32;
use ndarray::{Array3, Zip};

use super::{Numbers, Slice};

/// The least share of either fill. The round trip sees a part of the error only: between methods that are within 1 dB of each
/// other it was seen to favour the worse one, and a mix near the mean is hardly worse than the better.
const LEAST_SHARE: f64 = 0.3;

/// Mixes the fills of `nwg` and of the networks. Each method predicts the acquired outer lines from the lines that it filled (round
/// trip); `residuals` are these predictions less the measurement. The mix `(1 - a) nwg + a networks` whose predictions err
/// least has a closed form in the two residuals r and q, `a = <r, r - q> / |r - q|²`; it is kept from [`LEAST_SHARE`] to the rest.
/// Errors of the two that are independent make the mix better than both.
pub(super) fn mix(
    slice: &Slice,
    nwg: &Array3<Complex32>,
    networks: &Array3<Complex32>,
    [r, q]: &[Vec<Complex32>; 2],
    numbers: &mut Numbers,
) -> Array3<Complex32> {
    let (mut along, mut apart) = (0.0, 0.0);
    let (mut of_nwg, mut of_networks) = (0.0, 0.0);
    for (r, q) in r.iter().zip(q) {
        let difference = r - q;
        along += f64::from((r * difference.conj()).re);
        apart += f64::from(difference.norm_sqr());
        of_nwg += f64::from(r.norm_sqr());
        of_networks += f64::from(q.norm_sqr());
    }
    let share = if apart > 0.0 { (along / apart).clamp(LEAST_SHARE, 1.0 - LEAST_SHARE) } else { 0.5 };
    let of_mix = of_nwg - 2.0 * share * along + share * share * apart;
    let power = outer_power(slice).max(f64::MIN_POSITIVE);
    numbers.networks = Some(share);
    numbers.round_trip = Some([of_nwg, of_networks, of_mix].map(|error| (error.max(0.0) / power).sqrt()));
    let mut mixed = nwg.clone();
    let share = share as f32;
    Zip::from(&mut mixed).and(networks).for_each(|to, other| *to += (other - *to) * share);
    // Rounding of equal values must not touch what was acquired.
    for (line, _) in slice.mask.iter().enumerate().filter(|(_, acquired)| **acquired) {
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
