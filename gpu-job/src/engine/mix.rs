//! Two fills of a slice, mixed as the acquired lines say.

use contract::Refine;
use kspace::Complex32;
use kspace::numerics::nwg;
use ndarray::{Array3, Zip, s};

use super::{Numbers, Slice};

/// Least and largest share of the networks. Between methods that are within a few dB of each other the round trip was seen to favour
/// the worse one, so that neither is left out. Found with scans of 4 to 32 coils and SNR 30 to 400.
const SHARES: (f64, f64) = (0.3, 0.7);
/// The same above acceleration 2. The more lines are missing, the more the round trip favours `nwg`, whose kernels find what they filled
/// themselves more consistent than it is: networks that seem to err half as much again, in energy, can have the better image.
const SHARES_ABOVE: (f64, f64) = (0.8, 0.9);
/// The same where a refinement follows. It takes away what networks do better, so that the two fills differ less.
const SHARES_REFINED: (f64, f64) = (0.65, 0.8);
/// Ratio of the error energies beyond which the other fill may be left out. At ratios up to 2.3 the round trip was seen to be wrong about
/// the better one.
const TOLD: f64 = 3.0;

/// Mixes the fills of `nwg` and of the networks. Each method predicts the acquired outer lines from the lines that it filled (round
/// trip); `residuals` are these predictions less the measurement. The mix `(1 - a) nwg + a networks` whose predictions err
/// least has a closed form in the two residuals r and q, `a = <r, r - q> / |r - q|²`; it is kept within bounds.
/// Errors of the two that are independent make the mix better than both.
pub(super) fn mix(
    slice: &Slice,
    refine: Refine,
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
    let (least, most) = bounds(slice.sampling.acceleration, refine, of_nwg, of_networks);
    let share = if apart > 0.0 { (along / apart).clamp(least, most) } else { 0.5 * (least + most) };
    let of_mix = of_nwg - 2.0 * share * along + share * share * apart;
    let power = outer_power(slice).max(f64::MIN_POSITIVE);
    numbers.networks = Some(share);
    numbers.round_trip = Some([of_nwg, of_networks, of_mix].map(|error| (error.max(0.0) / power).sqrt()));
    let mut mixed = nwg.clone();
    let share = share as f32;
    Zip::from(&mut mixed).and(networks).for_each(|to, other| *to += (other - *to) * share);
    // Rounding of equal values must not touch what was acquired.
    for (line, _) in slice.mask.iter().enumerate().filter(|(_, acquired)| **acquired) {
        mixed.slice_mut(s![.., line, ..]).assign(&slice.kspace.slice(s![.., line, ..]));
    }
    mixed
}

/// Least and largest share of the networks, given the error energies.
fn bounds(acceleration: usize, refine: Refine, of_nwg: f64, of_networks: f64) -> (f64, f64) {
    let (least, most) = match (acceleration, refine) {
        (..=2, _) => SHARES,
        (_, Refine::None) => SHARES_ABOVE,
        (_, Refine::Sparse) => SHARES_REFINED,
    };
    (if of_networks > TOLD * of_nwg { 0.0 } else { least }, if of_nwg > TOLD * of_networks { 1.0 } else { most })
}

/// Energy of the acquired lines outside the calibration block.
fn outer_power(slice: &Slice) -> f64 {
    let energy = |line: usize| {
        let samples = slice.kspace.slice(s![.., line, ..]);
        samples.iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>()
    };
    nwg::outer_lines(&slice.mask, &slice.sampling).map(energy).sum()
}

#[cfg(test)]
mod tests {
    use contract::prepared::Sampling;
    use proptest::prelude::*;

    use super::*;

    fn slice() -> Slice {
        let kspace = Array3::from_shape_fn((2, 9, 3), |(coil, line, kx)| match line % 2 {
            0 => Complex32::new((coil + line) as f32, kx as f32),
            _ => Complex32::default(),
        });
        let sampling = Sampling { acceleration: 2, offset: 0, acs_first: 4, acs_lines: 1, first: 0, last: 8 };
        let mask = (0..9).map(|line| line % 2 == 0).collect();
        Slice { kspace, mask, sampling, number: 0, noise_variance: None, calibration: None, compare: false }
    }

    proptest! {
        #[test]
        fn the_share_errs_least_within_its_bounds_and_acquired_lines_stay(
            values in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 6), fill in (-5f32..5.0, -5f32..5.0),
        ) {
            let (r, q): (Vec<_>, Vec<_>) =
                values.into_iter().map(|(r, q)| (Complex32::new(r, 0.5), Complex32::new(q, -r))).unzip();
            let slice = slice();
            let mut fills = [slice.kspace.clone(), slice.kspace.clone()];
            for (kspace, value) in fills.iter_mut().zip([fill.0, fill.1]) {
                for line in [1, 3, 5, 7] {
                    kspace.slice_mut(s![.., line, ..]).fill(Complex32::new(value, value));
                }
            }
            let mut numbers = Numbers::default();
            let mixed = mix(&slice, Refine::None, &fills[0], &fills[1], &[r.clone(), q.clone()], &mut numbers);
            let share = numbers.networks.unwrap();
            let [of_nwg, of_networks, _] = numbers.round_trip.unwrap().map(|error| error * error);
            let (least, most) = bounds(2, Refine::None, of_nwg, of_networks);
            prop_assert!((least..=most).contains(&share));
            let error = |share: f32| r.iter().zip(&q).map(|(r, q)| (r * (1.0 - share) + q * share).norm_sqr()).sum::<f32>();
            for other in [least, 0.5 * (least + most), most] {
                prop_assert!(error(share as f32) <= error(other as f32) * (1.0 + 1e-4) + 1e-5);
            }
            let expected = fill.0 + (fill.1 - fill.0) * share as f32;
            for line in 0..9 {
                match slice.mask[line] {
                    true => prop_assert_eq!(mixed.slice(s![.., line, ..]), slice.kspace.slice(s![.., line, ..])),
                    false => prop_assert!((mixed[[1, line, 2]].re - expected).abs() < 1e-4),
                }
            }
        }
    }

    #[test]
    fn the_round_trip_rules_where_one_fill_errs_far_more() {
        let cases = [
            (2, Refine::None, SHARES),
            (2, Refine::Sparse, SHARES),
            (3, Refine::None, SHARES_ABOVE),
            (6, Refine::Sparse, SHARES_REFINED),
        ];
        for (acceleration, refine, (least, most)) in cases {
            let bounds = |of_nwg: f64, of_networks: f64| bounds(acceleration, refine, of_nwg, of_networks);
            assert_eq!((bounds(1.0, 2.9), bounds(2.9, 1.0)), ((least, most), (least, most)));
            assert_eq!((bounds(1.0, 3.1), bounds(3.1, 1.0)), ((0.0, most), (least, 1.0)));
        }
    }

    #[test]
    fn fills_that_predict_alike_are_averaged() {
        let slice = slice();
        let mut numbers = Numbers::default();
        let same = vec![Complex32::new(1.0, 0.0)];
        mix(&slice, Refine::Sparse, &slice.kspace, &slice.kspace, &[same.clone(), same], &mut numbers);
        assert_eq!(numbers.networks, Some(0.5));
    }
}
