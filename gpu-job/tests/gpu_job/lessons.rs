//! Networks that learn from lines filled by another method, and sets of networks.

use std::ops::Range;

use contract::prepared::Sampling;
use gpu_job::JobError;
use gpu_job::progress::Silent;
use gpu_job::raki::fill::{Entry, Lesson};
use gpu_job::raki::linear::{Linear, PART};
use gpu_job::raki::{Backend, Cpu, Fit, Parameters, Problem};
use kspace::Complex32;
use ndarray::{Array3, Axis};
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
        let lesson = Lesson { kspace: &taught, lines: first..end, noise_variance: noise };
        let parameters = Parameters { iterations: 3, ensemble: 2, hidden: [12, 5], ..Parameters::weighted() };
        let entry = scan.with(0, parameters, Some(lesson));
        let problem = entry.problem().unwrap().unwrap();
        let fit = Cpu.fit(&[problem], &parameters, &Silent).unwrap().remove(0);
        let filled = entry.fill(&Cpu, &fit).unwrap();
        let channels = fit.weights.layout.channels();
        let sets = [0, channels].map(|at| Wide::new(&fit.weights.part(at..at + channels)));
        for (ky, acquired) in scan.mask.iter().enumerate() {
            let beyond = ky < scan.sampling.first || ky > scan.sampling.last;
            if *acquired || beyond {
                let expected = if beyond { &taught } else { &scan.kspace };
                prop_assert_eq!(expected.index_axis(Axis(1), ky), filled.kspace.index_axis(Axis(1), ky));
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
            let lesson = with_lesson.then_some(Lesson { kspace: &scan.kspace, lines, noise_variance });
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
        let lesson = Lesson { kspace: &scan.kspace, lines, noise_variance: 1e30 };
        let taught = scan.with(0, Parameters::paper(), Some(lesson)).problem().unwrap().unwrap();
        let plain = scan.entry(0).problem().unwrap().unwrap();
        prop_assert_eq!(&taught.targets, &plain.targets);
        for (found, expected) in taught.weights.iter().zip(&plain.weights) {
            prop_assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

/// Each line is the one that its source grid has before it, times its distance from there.
struct Before;

impl Before {
    fn line(kspace: &Array3<Complex32>, mask: &[bool], line: usize, distance: usize) -> Vec<Complex32> {
        let source = line.checked_sub(distance).filter(|source| mask[*source]);
        let samples = kspace.index_axis(Axis(1), source.unwrap_or_default());
        samples.iter().map(|sample| sample * if source.is_some() { distance as f32 } else { 0.0 }).collect()
    }
}

impl Linear for Before {
    fn predict(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        lines: Range<usize>,
    ) -> Result<Vec<(usize, Vec<Complex32>)>, JobError> {
        let distance = |line: usize| (line + sampling.acceleration - sampling.offset) % sampling.acceleration;
        let between = lines.filter(|line| distance(*line) > 0);
        Ok(between.map(|line| (line, Self::line(kspace, mask, line, distance(line)))).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn networks_learn_and_add_what_a_linear_method_leaves(scan in scans(), lines in 0usize..4) {
        let (coils, count, width) = scan.kspace.dim();
        let taught = random_kspace(coils, count, width, 11);
        let Sampling { acs_first, acs_lines, first, last, .. } = scan.sampling;
        let learnt = acs_first..(acs_first + acs_lines + lines).min(count);
        let lesson = || Some(Lesson { kspace: &taught, lines: learnt.clone(), noise_variance: 0.1 });
        let parameters = Parameters { iterations: 2, ..Parameters::weighted() };
        let alone = scan.with(0, parameters, lesson());
        let beside = Entry { linear: Some(&Before), ..alone.clone() };
        let (without, with) = (alone.problem().unwrap().unwrap(), beside.problem().unwrap().unwrap());
        let largest = scan.kspace.iter().map(|sample| sample.norm()).fold(0.0, f32::max);
        let (layout, domain) = (with.layout, with.domain);
        let inside: Vec<bool> = (0..count).map(|line| (first..=last).contains(&line)).collect();
        let columns = 0..domain.valid_columns();
        for row in 0..domain.valid_rows() {
            for output in 0..layout.outputs() {
                let line = learnt.start + row + 1 + output;
                let left = Before::line(&taught, &inside, line, output + 1);
                for coil in 0..coils {
                    for column in columns.clone() {
                        let value = left[coil * width + column + layout.margin()] * (PART * 0.015 / largest);
                        for (channel, value) in [(coil, value.re), (coils + coil, value.im)] {
                            let target = |problem: &Problem| problem.target(channel, output, &columns)[column * domain.rows() + row];
                            let error = (target(&without) - value - target(&with)).abs();
                            prop_assert!(error < 1e-6, "row {row}, output {output}: {error}");
                        }
                    }
                }
            }
        }
        let fit = Cpu.fit(&[with], &parameters, &Silent).unwrap().remove(0);
        let (networks, both) = (alone.fill(&Cpu, &fit).unwrap().kspace, beside.fill(&Cpu, &fit).unwrap().kspace);
        for line in 0..count {
            let distance = (line + layout.acceleration - scan.sampling.offset) % layout.acceleration;
            let missing = inside[line] && !scan.mask[line];
            let left = Before::line(&scan.kspace, &scan.mask, line, distance);
            for ((coil, kx), value) in both.index_axis(Axis(1), line).indexed_iter() {
                let part = if missing { PART } else { 0.0 };
                let error = (networks[[coil, line, kx]] + left[coil * width + kx] * part - value).norm();
                prop_assert!(error < 1e-5 * largest, "line {line}: {error}");
            }
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
        let lesson = Lesson { kspace: &scan.kspace, lines: lines.clone(), noise_variance };
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
