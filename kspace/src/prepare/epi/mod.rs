//! Echo planar readouts: samples taken on the ramps of the gradient, lines travelled from right to left, and the
//! difference of phase between the two directions, which without correction puts a ghost of the object half a field of
//! view away.
//!
//! | module | what it does |
//! |---|---|
//! | [`regrid`] | samples of a trapezoidal gradient to points evenly spaced in k-space, always from left to right |
//! | [`phase`] | constant and linear phase between the directions from navigator lines, and its removal |
//!
//! Both see a line from left to right. A line that was travelled from right to left is mirrored in time: the last sample
//! becomes the first, the falling ramp becomes the rising one, and the time between the last sample and the end of the
//! gradient becomes the delay. Either way k-space is zero where half of the area of the trapezoid is passed.

pub mod phase;
pub mod regrid;

pub use phase::{Navigator, PhaseCorrection, ShotCorrection};
pub use regrid::Regrid;

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::Complex32;
    use crate::format::header::Ramp;
    use crate::numerics::fft::Centred;

    /// Both directions of an asymmetric gradient, the forward one late by part of a sample: after regridding nothing but a
    /// linear phase tells them apart.
    #[test]
    fn a_delayed_gradient_is_found_through_the_ramps() {
        let (samples, points, shift) = (150, 128, 0.4);
        let ramp =
            Ramp { up_us: 80.0, flat_us: 300.0, down_us: 120.0, delay_us: 20.0, dwell_us: 3.0, ..Ramp::default() };
        let area = |time: f64| {
            let (rising, rest) = (time.min(80.0), (time - 380.0).max(0.0));
            rising * rising / 160.0 + (time - 80.0).clamp(0.0, 300.0) + rest - rest * rest / 240.0
        };
        let spacing = (area(470.0) - area(20.0)) / points as f64;
        let position = |sample: usize| (area(20.0 + 3.0 * (sample as f64 + 0.5)) - 200.0) / spacing;
        let object = [(0.1, 0.0), (-0.15, 1.0), (0.02, 2.0)];
        let signal = |k: f64| -> Complex32 {
            let turn = |(x, phase): &(f64, f64)| Complex32::cis((phase - TAU * k * x) as f32);
            object.iter().map(turn).sum::<Complex32>() * (-(k / 25.0).powi(2)).exp() as f32
        };
        let regrid = Regrid::new(&ramp, samples, points).unwrap();
        let hybrid = |reversed: bool| {
            let k = |sample| if reversed { -position(sample) } else { position(sample) + shift };
            let taken: Vec<_> = (0..samples).map(|it| signal(k(it))).collect();
            let mut row = vec![Complex32::default(); points];
            regrid.apply(reversed, 0.0, &taken, &mut row);
            Centred::inverse(points).apply(&mut row);
            row
        };
        let [there, back] = [hybrid(false), hybrid(true)];
        let navigators =
            [(true, &back), (false, &there), (true, &back)].map(|(reversed, rows)| Navigator { reversed, rows });
        let found = phase::estimate(&navigators, points).unwrap().combined;
        assert!((found.slope - TAU * shift / points as f64).abs() < 1e-3, "{found:?}");
        assert!(found.constant.abs() < 0.01, "{found:?}");
        let mut corrected = back.clone();
        found.apply(&mut corrected);
        let rest = |row: &[Complex32]| row.iter().zip(&there).map(|(a, b)| (a - b).norm_sqr()).sum::<f32>();
        assert!(rest(&corrected) < 0.01 * rest(&back), "{} of {}", rest(&corrected), rest(&back));
    }
}
