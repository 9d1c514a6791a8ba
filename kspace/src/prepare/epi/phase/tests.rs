use std::f64::consts::TAU;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::*;
use crate::numerics::fft::Centred;

fn narrow(value: Complex64) -> Complex32 {
    Complex32::new(value.re as f32, value.im as f32)
}

fn add_noise(samples: &mut [Complex32], deviation: f32, rng: &mut ChaCha8Rng) {
    let normal = Normal::new(0.0, deviation).unwrap();
    samples.iter_mut().for_each(|it| *it += Complex32::new(normal.sample(rng), normal.sample(rng)));
}

/// A line through an object in the middle third, of magnitude about 1, `[coil, x]`; every coil sees it with another
/// phase.
fn object(coils: usize, points: usize) -> Vec<Complex32> {
    let value = |coil: usize, x: usize| {
        let inside = x.abs_diff(points / 2) <= points / 6;
        let u = x as f64 / points as f64;
        narrow(Complex64::from_polar(
            f64::from(u8::from(inside)) * (1.0 + 0.3 * (9.0 * u).sin()),
            coil as f64 + 5.0 * u * u,
        ))
    };
    (0..coils * points).map(|at| value(at / points, at % points)).collect()
}

/// Gives `row` the phase of a reversed line, and the phase of its echo.
fn turn(row: &mut [Complex32], by: PhaseCorrection, echo: f64) {
    PhaseCorrection { constant: -by.constant - echo, slope: -by.slope }.apply(row);
}

fn angle_error(found: f64, expected: f64) -> f64 {
    Complex64::cis(found - expected).arg().abs()
}

/// Navigators in turn, the first reversed or not, with a phase that grows from echo to echo.
fn train(
    (coils, points, count): (usize, usize, usize),
    first_reversed: bool,
    phases: &[PhaseCorrection],
    (drift, deviation): (f64, f32),
    rng: &mut ChaCha8Rng,
) -> Vec<(bool, Vec<Complex32>)> {
    let line = |echo: usize| {
        let reversed = echo.is_multiple_of(2) == first_reversed;
        let mut rows = object(coils, points);
        for (row, phase) in rows.chunks_mut(points).zip(phases) {
            let phase = if reversed { *phase } else { PhaseCorrection::default() };
            turn(row, phase, drift * echo as f64);
        }
        (reversed, rows)
    };
    let mut lines: Vec<_> = (0..count).map(line).collect();
    lines.iter_mut().for_each(|(_, rows)| add_noise(rows, deviation, rng));
    lines
}

fn measure(lines: &[(bool, Vec<Complex32>)], points: usize) -> Option<ShotCorrection> {
    let navigators: Vec<_> = lines.iter().map(|(reversed, rows)| Navigator { reversed: *reversed, rows }).collect();
    estimate(&navigators, points)
}

proptest! {
    #[test]
    fn phases_between_directions_are_recovered(
        (points, coils, count) in (32usize..200, 1usize..5, 3usize..7),
        (constant, slope) in (-3.1f64..3.1, -0.2f64..0.2),
        drift in -1f64..1.0,
        (first_reversed, seed) in (any::<bool>(), 0u64..1000),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let expected = PhaseCorrection { constant, slope };
        let phases = vec![expected; coils];
        let lines = train((coils, points, count), first_reversed, &phases, (drift, 0.03), &mut rng);
        let found = measure(&lines, points).unwrap();
        prop_assert!(found.drift_cancelled && found.coherence > 0.95);
        prop_assert_eq!(found.coils.len(), coils);
        for coil in found.coils.iter().chain([&found.combined]) {
            prop_assert!(angle_error(coil.constant, constant) < 0.08, "{:?}", coil);
            prop_assert!((coil.slope - slope).abs() * (points as f64 / 6.0) < 0.15, "{:?}", coil);
        }
    }

    #[test]
    fn noise_is_no_navigator(seed in 0u64..100_000, coils in 1usize..4) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut lines: Vec<_> =
            [true, false, true].map(|it| (it, vec![Complex32::default(); 128 * coils])).into();
        prop_assert_eq!(measure(&lines, 128), None);
        lines.iter_mut().for_each(|(_, rows)| add_noise(rows, 1.0, &mut rng));
        prop_assert_eq!(measure(&lines, 128), None);
    }

    /// An object in the middle rows, so that its ghost lies on rows that are empty otherwise.
    #[test]
    fn ghosts_go(
        (rows, points) in (24usize..60, 32usize..90),
        (constant, slope) in (0.8f64..2.2, -0.03f64..0.03),
        (negative, seed) in (any::<bool>(), 0u64..1000),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let error = PhaseCorrection { constant: if negative { -constant } else { constant }, slope };
        let profile = object(1, points);
        let inside = |y: usize| y.abs_diff(rows / 2) <= rows / 8;
        // Hybrid space [x, ky], transformed along y.
        let mut hybrid: Vec<_> = (0..points * rows)
            .map(|at| if inside(at % rows) { profile[at / rows] } else { Complex32::default() })
            .collect();
        Centred::forward(rows).apply(&mut hybrid);
        add_noise(&mut hybrid, 0.01, &mut rng);
        let line = |ky: usize| (0..points).map(|x| hybrid[x * rows + ky]).collect::<Vec<_>>();
        let mut lines: Vec<_> = (0..rows).map(|ky| (ky % 2 == 1, line(ky))).collect();
        let mut navigators: Vec<_> = [true, false, true].map(|reversed| (reversed, line(rows / 2))).into();
        for (reversed, row) in lines.iter_mut().chain(&mut navigators) {
            if *reversed {
                turn(row, error, 0.0);
            }
            add_noise(row, 0.01, &mut rng);
        }
        let ghost = |lines: &[(bool, Vec<Complex32>)]| {
            let mut image: Vec<_> = (0..points * rows).map(|at| lines[at % rows].1[at / rows]).collect();
            Centred::inverse(rows).apply(&mut image);
            let energy = |wanted: &dyn Fn(usize) -> bool| -> f32 {
                image.iter().enumerate().filter(|(at, _)| wanted(at % rows)).map(|(_, it)| it.norm_sqr()).sum()
            };
            energy(&|y| !inside(y)) / energy(&|_| true)
        };
        prop_assert!(ghost(&lines) > 0.1, "{}", ghost(&lines));
        let shot = measure(&navigators, points).unwrap();
        for (_, row) in lines.iter_mut().filter(|it| it.0) {
            shot.coils[0].apply(row);
        }
        prop_assert!(ghost(&lines) < 0.01, "{}", ghost(&lines));
    }

    #[test]
    fn both_orders_of_a_row_are_corrected_alike(points in 1usize..60, constant in -3f64..3.0, slope in -1f64..1.0) {
        let correction = PhaseCorrection { constant, slope };
        let mut centred: Vec<_> = (0..points).map(|x| Complex32::new(1.0, x as f32)).collect();
        let mut origin_first = centred.clone();
        origin_first.rotate_left(points / 2);
        correction.apply(&mut centred);
        correction.apply_origin_first(&mut origin_first);
        origin_first.rotate_right(points / 2);
        for (x, (one, other)) in centred.iter().zip(&origin_first).enumerate() {
            let expected = Complex64::new(1.0, x as f64)
                * Complex64::cis(-constant - slope * (x as f64 - (points / 2) as f64));
            prop_assert!((one - narrow(expected)).norm() < 1e-4);
            prop_assert!((other - narrow(expected)).norm() < 1e-4);
        }
    }
}

#[test]
fn coils_with_a_clear_signal_keep_their_own_delay() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let phase = |slope| PhaseCorrection { constant: -0.1, slope };
    let mut lines = train((3, 160, 3), true, &[phase(0.006), phase(0.012), phase(0.012)], (0.1, 0.01), &mut rng);
    for (_, rows) in &mut lines {
        rows[320..].fill(Complex32::default());
        add_noise(&mut rows[320..], 0.01, &mut rng);
    }
    let found = measure(&lines, 160).unwrap();
    assert!((found.coils[0].slope - 0.006).abs() < 1e-3 && (found.coils[1].slope - 0.012).abs() < 1e-3);
    assert_eq!(found.coils[2], found.combined);
}

#[test]
fn a_pair_keeps_the_phase_of_its_echoes() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let phase = PhaseCorrection { constant: 0.5, slope: 0.01 };
    let lines = train((2, 64, 2), true, &[phase; 2], (0.3, 0.001), &mut rng);
    let found = measure(&lines, 64).unwrap();
    assert!(!found.drift_cancelled);
    assert!(angle_error(found.combined.constant, 0.2) < 0.01, "{:?}", found.combined);
    assert!((found.combined.slope - 0.01).abs() < 1e-3);
}

#[test]
fn lines_that_show_nothing_give_nothing() {
    let rows = object(1, 64);
    let navigator = |reversed| Navigator { reversed, rows: &rows };
    assert_eq!(estimate(&[], 64), None);
    assert_eq!(estimate(&[navigator(true)], 64), None);
    assert_eq!(estimate(&[navigator(true), navigator(true)], 64), None);
    assert_eq!(estimate(&[navigator(true), navigator(false)], 48), None);
    assert_eq!(estimate(&[navigator(true), Navigator { reversed: false, rows: &rows[..32] }], 32), None);
    let broken = vec![Complex32::new(f32::NAN, 0.0); 64];
    assert_eq!(estimate(&[navigator(true), Navigator { reversed: false, rows: &broken }], 64), None);
    let found = estimate(&[navigator(true), navigator(false)], 64).unwrap();
    assert!(found.combined.constant.abs() + found.combined.slope.abs() < TAU * 1e-6);
}
