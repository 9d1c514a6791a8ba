//! Filled k-space: what is kept, what is predicted, and that seeds decide everything.

use contract::prepared::Sampling;
use gpu_job::JobError;
use gpu_job::progress::{Progress, Silent};
use gpu_job::raki::fill::Lesson;
use gpu_job::raki::{Backend, Cpu, Parameters, TensorBackend};
use kspace::Complex32;
use ndarray::Array3;
use proptest::prelude::*;

use crate::definition::{Wide, missing};
use crate::undersampled::{Scan, scan, scans, size, train};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn acquired_lines_stay_and_all_missing_ones_between_them_are_predicted(scan in scans()) {
        let fit = train(&Cpu, &scan, 2, 0);
        let filled = scan.entry(0).fill(&Cpu, &fit).unwrap();
        let Sampling { first, last, offset, .. } = scan.sampling;
        let weights = Wide::new(&fit.weights);
        for (ky, acquired) in scan.mask.iter().enumerate() {
            let (before, after) =
                (scan.kspace.index_axis(ndarray::Axis(1), ky), filled.kspace.index_axis(ndarray::Axis(1), ky));
            if *acquired {
                prop_assert_eq!(before, after, "line {} was acquired", ky);
            } else if ky < first || ky > last {
                prop_assert!(after.iter().all(|value| *value == Complex32::default()), "line {ky} was never measured");
            } else {
                let width = after.dim().1;
                for kx in [0, width / 2, width - 1] {
                    let coil = ky % after.dim().0;
                    let (re, im) = missing(&weights, &scan.kspace, &scan.mask, offset, coil, ky, kx);
                    let found = after[[coil, kx]];
                    let error = (f64::from(found.re) - re).hypot(f64::from(found.im) - im);
                    prop_assert!(error < 1e-5 * (1.0 + re.hypot(im)), "line {ky}, kx {kx}: {found}, expected {re} {im}");
                }
                prop_assert!(after.iter().any(|value| *value != Complex32::default()), "line {ky} is empty");
            }
        }
    }

    #[test]
    fn backends_train_to_the_same_networks(scan in scans(), seed: u64, with_lesson: bool, ensemble in 1usize..3) {
        let lines = scan.sampling.acs_first..scan.sampling.acs_first + scan.sampling.acs_lines;
        let lesson = with_lesson.then_some(Lesson { kspace: &scan.kspace, lines, noise_variance: 0.1 });
        let parameters = Parameters { iterations: 4, seed, ensemble, ..Parameters::weighted() };
        let entry = scan.with(0, parameters, lesson);
        let problem = [entry.problem().unwrap().unwrap()];
        let tensor_backend = TensorBackend::new(candle_core::Device::Cpu).unwrap();
        let backends = [&Cpu as &dyn Backend, &tensor_backend];
        let [cpu, tensor] = backends.map(|backend| backend.fit(&problem, &parameters, &Silent).unwrap().remove(0));
        prop_assert!((cpu.loss / tensor.loss - 1.0).abs() < 1e-3, "{} {}", cpu.loss, tensor.loss);
        let [a, b] = backends.map(|backend| entry.fill(backend, &cpu).unwrap());
        let (error, whole) = (size(&(&a.kspace - &b.kspace)), size(&a.kspace));
        prop_assert!(error < 1e-5 * whole, "{error} of {whole}");
        prop_assert!((a.calibration_error / b.calibration_error - 1.0).abs() < 1e-4);
    }
}

#[test]
fn a_training_that_fails_says_so() {
    let scan = scan(2, 30, 2, 0, (4, 4), (0, 0), 2);
    let problem = scan.entry(0).problem().unwrap().unwrap();
    let tensor = TensorBackend::new(candle_core::Device::Cpu).unwrap();
    for backend in [&Cpu as &dyn Backend, &tensor] {
        let fit = |iterations, learning_rate| {
            let parameters = Parameters { iterations, learning_rate, ..Parameters::published() };
            backend.fit(std::slice::from_ref(&problem), &parameters, &Silent).unwrap().remove(0)
        };
        let good = fit(200, 3e-3);
        assert!(!good.diverged && good.loss < problem.loss_of_zeros());
        assert!(fit(20, 1e6).diverged, "steps that are far too long");
        assert!(fit(20, 1e30).diverged, "steps beyond all numbers");
    }
}

#[test]
fn a_seed_gives_the_same_bits_on_any_number_of_threads() {
    let scan = scan(6, 33, 3, 1, (7, 8), (0, 0), 3);
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let fit = train(&Cpu, &scan, 20, seed);
            let filled = scan.entry(0).fill(&Cpu, &fit).unwrap();
            (fit.loss.to_bits(), filled.kspace)
        })
    };
    let one = run(1, 0);
    assert_eq!(one, run(1, 0));
    assert_eq!(one, run(2, 0));
    assert_eq!(one, run(5, 0));
    assert_ne!(one, run(1, 1));
}

#[test]
fn tensors_give_the_same_bits_twice_and_alone_or_in_a_group() {
    let scan = scan(3, 21, 2, 0, (4, 4), (0, 0), 3);
    let backend = TensorBackend::new(candle_core::Device::Cpu).unwrap();
    let problems: Vec<_> = (0..3).map(|number| scan.entry(number).problem().unwrap().unwrap()).collect();
    let parameters = Parameters { iterations: 10, ..Parameters::paper() };
    let fit = |problems: &[_]| -> Vec<_> {
        backend.fit(problems, &parameters, &Silent).unwrap().into_iter().map(|fit| fit.weights).collect()
    };
    let group = fit(&problems);
    assert_eq!(group, fit(&problems));
    for (problem, weights) in problems.iter().zip(&group) {
        let alone = fit(std::slice::from_ref(problem)).remove(0);
        let error = alone.layers[0].iter().zip(&weights.layers[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 1e-5, "{error}");
    }
    assert_ne!(group[0], group[1], "entries have seeds of their own");
}

/// Lines that a network can learn: every line is a fixed mixture of its neighbours.
#[test]
fn training_learns_what_can_be_learnt() {
    let (coils, lines, width, r) = (4, 61, 40, 2);
    let kspace = Array3::from_shape_fn((coils, lines, width), |(coil, ky, kx)| {
        let (y, x) = (ky as f32 - 30.0, kx as f32 - 20.0);
        let turn = 0.05 * y * (1.0 + 0.2 * coil as f32) + 0.11 * x + coil as f32;
        Complex32::from_polar((-0.004 * (x * x + y * y)).exp(), turn)
    });
    let mask: Vec<bool> = (0..lines).map(|ky| ky % r == 0 || (20..42).contains(&ky)).collect();
    let mut sampled = kspace.clone();
    for ky in (0..lines).filter(|ky| !mask[*ky]) {
        sampled.index_axis_mut(ndarray::Axis(1), ky).fill(Complex32::default());
    }
    let sampling = Sampling { acceleration: r, offset: 0, acs_first: 20, acs_lines: 22, first: 0, last: 60 };
    let scan = Scan { kspace: sampled, mask, sampling };
    let filled = scan.entry(0).fill(&Cpu, &train(&Cpu, &scan, 300, 0)).unwrap();
    let energy = |a: &Array3<Complex32>| a.iter().map(|v| v.norm_sqr()).sum::<f32>();
    let left = energy(&(&filled.kspace - &kspace)) / energy(&(&scan.kspace - &kspace));
    assert!(left < 0.02, "{left} of the missing energy is wrong");
    assert!((filled.calibration_error / filled.calibration_power).sqrt() < 0.1);
}

#[test]
fn data_that_cannot_be_filled_are_refused_with_a_reason() {
    let mut bad = scan(2, 9, 3, 0, (3, 3), (0, 0), 1);
    bad.sampling.acs_lines = 6;
    let error = bad.entry(0).problem().unwrap_err().to_string();
    assert!(error.contains("found 6 calibration lines for acceleration 3") && error.contains("at least 7"), "{error}");

    let narrow = scan(2, 6, 3, 0, (3, 3), (0, 0), 1);
    assert!(matches!(narrow.entry(0).problem(), Err(JobError::BadData(_))));

    let scan_9 = scan(2, 9, 3, 0, (3, 3), (0, 0), 1);
    let lesson = |lines, noise_variance| Some(Lesson { kspace: &scan_9.kspace, lines, noise_variance });
    let refused = |lesson| scan_9.with(0, Parameters::paper(), lesson).problem().unwrap_err();
    assert!(matches!(refused(lesson(2..8, 0.0)), JobError::BadData(_)), "six lines");
    assert!(matches!(refused(lesson(2..99, 0.0)), JobError::Bug(_)), "lines that are not there");
    assert!(matches!(refused(lesson(2..9, f64::NAN)), JobError::Bug(_)), "noise that is no number");

    let mut broken = scan(2, 9, 3, 0, (3, 3), (0, 0), 1);
    broken.kspace[[1, 4, 4]].im = f32::NAN;
    assert!(matches!(broken.entry(0).problem(), Err(JobError::BadData(_))));
}

#[test]
fn an_entry_of_zeros_has_nothing_to_fill() {
    let mut empty = scan(2, 9, 3, 0, (3, 3), (0, 0), 1);
    empty.kspace.fill(Complex32::default());
    assert!(empty.entry(0).problem().unwrap().is_none());
}

struct Stop;

impl Progress for Stop {
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn training_stops_when_asked_to() {
    let scan = scan(2, 9, 3, 0, (3, 3), (0, 0), 1);
    let problems = [scan.entry(0).problem().unwrap().unwrap()];
    let tensor = TensorBackend::new(candle_core::Device::Cpu).unwrap();
    for backend in [&Cpu as &dyn Backend, &tensor] {
        let stopped = backend.fit(&problems, &Parameters::default(), &Stop);
        assert!(matches!(stopped, Err(JobError::Interrupted)));
    }
}
