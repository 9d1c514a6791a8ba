//! Networks that learn from lines filled by another method, and sets of networks.

use gpu_job::progress::Silent;
use gpu_job::raki::fill::Lesson;
use gpu_job::raki::{Backend, Cpu, Fit, Parameters};
use kspace::Complex32;
use ndarray::Array3;
use proptest::prelude::*;

use crate::definition::{Wide, missing, random_kspace};
use crate::undersampled::{Scan, filled, scan, scans, size};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_lesson_fills_what_the_definition_predicts_from_acquired_lines(scan in scans(), lines in 0usize..4, noise in 0.0f64..2.0) {
        let taught = random_kspace(scan.kspace.dim().0, scan.mask.len(), scan.kspace.dim().2, 11);
        let first = scan.sampling.acs_first;
        let end = (first + scan.sampling.acs_lines + lines).min(scan.mask.len());
        let lesson = Lesson { kspace: taught.view(), lines: first..end, noise_variance: noise };
        let parameters = Parameters { iterations: 3, ensemble: 2, hidden: [12, 5], ..Parameters::weighted() };
        let entry = scan.with(0, parameters, Some(lesson));
        let problem = entry.problem().unwrap().unwrap();
        let fit = Cpu.fit(&[problem], &parameters, &Silent).unwrap().remove(0);
        let filled = entry.fill(&Cpu, &fit).unwrap();
        let channels = fit.weights.layout.channels();
        let sets = [0, channels].map(|at| Wide::new(&fit.weights.part(at..at + channels)));
        for (ky, acquired) in scan.mask.iter().enumerate() {
            if *acquired || ky < scan.sampling.first || ky > scan.sampling.last {
                let axis = ndarray::Axis(1);
                prop_assert_eq!(scan.kspace.index_axis(axis, ky), filled.kspace.index_axis(axis, ky));
                continue;
            }
            let (coil, kx) = (ky % scan.kspace.dim().0, ky % scan.kspace.dim().2);
            let both = sets.each_ref().map(|set| missing(set, &scan.kspace, &scan.mask, scan.sampling.offset, coil, ky, kx));
            let (re, im) = (0.5 * (both[0].0 + both[1].0), 0.5 * (both[0].1 + both[1].1));
            let found = filled.kspace[[coil, ky, kx]];
            let error = (f64::from(found.re) - re).hypot(f64::from(found.im) - im);
            prop_assert!(error < 1e-5 * (1.0 + re.hypot(im)), "line {ky}, kx {kx}: {found}, expected {re} {im}");
        }
    }

    #[test]
    fn the_scale_of_the_data_is_the_scale_of_the_fill(scan in scans(), power in -20i32..20, with_lesson: bool) {
        let parameters = Parameters { iterations: 5, ..Parameters::weighted() };
        let fill = |kspace: Array3<Complex32>, noise_variance: f64| {
            let scan = Scan { kspace, ..scan.clone() };
            let lines = scan.sampling.acs_first..scan.sampling.acs_first + scan.sampling.acs_lines;
            let lesson = with_lesson.then(|| Lesson { kspace: scan.kspace.view(), lines, noise_variance });
            filled(&scan.with(0, parameters, lesson)).kspace
        };
        // A power of two scales without rounding.
        let factor = 2f32.powi(power);
        let one = fill(scan.kspace.clone(), 0.3).mapv(|v| v * factor);
        let scaled = fill(scan.kspace.mapv(|v| v * factor), 0.3 * f64::from(factor).powi(2));
        let (error, whole) = (size(&(&one - &scaled)), size(&one));
        prop_assert!(error <= 1e-5 * whole, "{error} of {whole}");
    }

    #[test]
    fn even_noise_gives_weights_of_one(scan in scans()) {
        let lines = scan.sampling.acs_first..scan.sampling.acs_first + scan.sampling.acs_lines;
        // Noise far above any signal: every sample counts alike.
        let lesson = Lesson { kspace: scan.kspace.view(), lines, noise_variance: 1e30 };
        let taught = scan.with(0, Parameters::paper(), Some(lesson)).problem().unwrap().unwrap();
        let plain = scan.entry(0).problem().unwrap().unwrap();
        prop_assert_eq!(&taught.targets, &plain.targets);
        for (found, expected) in taught.weights.iter().zip(&plain.weights) {
            prop_assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

/// Targets in a quiet region weigh more, as the inverse root of its energy, and noise sets the floor.
#[test]
fn weights_follow_the_energy_down_to_the_noise() {
    let mut scan = scan(2, 60, 2, 0, (3, 3), (0, 0), 4);
    for ((_, _, kx), sample) in scan.kspace.indexed_iter_mut() {
        *sample = Complex32::new(if kx < 30 { 100.0 } else { 1.0 }, 0.0);
    }
    let lines = scan.sampling.acs_first..scan.sampling.acs_first + scan.sampling.acs_lines;
    let ratio = |noise_variance: f64| {
        let lesson = Lesson { kspace: scan.kspace.view(), lines: lines.clone(), noise_variance };
        let problem = scan.with(0, Parameters::paper(), Some(lesson)).problem().unwrap().unwrap();
        let columns = problem.domain.valid_columns();
        problem.weight(0, &(columns - 1..columns))[0] / problem.weight(0, &(0..1))[0]
    };
    assert!((ratio(0.0) - 100.0).abs() < 1e-3, "{}", ratio(0.0));
    assert!((ratio(0.5) - 100.0).abs() < 1e-3, "noise below the signal is part of its power: {}", ratio(0.5));
    assert!((ratio(100.0) - 10.0).abs() < 1e-3, "noise above a signal takes its place: {}", ratio(100.0));
}

#[test]
fn a_set_of_an_ensemble_is_what_it_is_alone() {
    let scan = scan(2, 20, 3, 1, (4, 4), (0, 0), 9);
    let fit = |ensemble: usize| {
        let parameters = Parameters { iterations: 6, ensemble, ..Parameters::paper() };
        let problem = scan.with(0, parameters, None).problem().unwrap().unwrap();
        Cpu.fit(&[problem], &parameters, &Silent).unwrap().remove(0)
    };
    let (one, three) = (fit(1), fit(3));
    assert_eq!(three.weights.networks, 3 * one.weights.networks);
    assert_eq!(three.weights.part(0..4), one.weights);
    assert_ne!(three.weights.part(4..8), one.weights);
    let sets = [0, 4, 8].map(|at| Fit { weights: three.weights.part(at..at + 4), ..three.clone() });
    let fills = sets.map(|fit| scan.entry(0).fill(&Cpu, &fit).unwrap().kspace);
    let mean = (&fills[0] + &fills[1] + &fills[2]).mapv(|v| v / 3.0);
    let together = scan.entry(0).fill(&Cpu, &three).unwrap().kspace;
    assert!(size(&(&mean - &together)) < 1e-6 * size(&mean));
}
