//! Groups of slices beside each other, as on a device of its own, against one after another.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use contract::Method;
use gpu_job::engine::{Clock, Engine, Recipe as Engaged, Reconstructed, Slice};
use gpu_job::raki::{Backend, Cpu, Fit, Parameters, Planes, Problem, Weights};
use gpu_job::{JobError, Progress, Silent};

use crate::scans::Recipe;

/// The CPU as if it were elsewhere.
struct Elsewhere;

impl Backend for Elsewhere {
    fn apart(&self) -> bool {
        true
    }

    fn group(&self, problem_bytes: usize, kspace_bytes: usize) -> usize {
        Cpu.group(problem_bytes, kspace_bytes)
    }

    fn gradient(&self, problem: &Problem, weights: &Weights, window: Range<usize>) -> Result<(f64, Weights), JobError> {
        Cpu.gradient(problem, weights, window)
    }

    fn fit(
        &self,
        problems: &[Problem],
        parameters: &Parameters,
        progress: &dyn Progress,
    ) -> Result<Vec<Fit>, JobError> {
        Cpu.fit(problems, parameters, progress)
    }

    fn predict(&self, weights: &Weights, planes: &Planes) -> Result<Vec<f32>, JobError> {
        Cpu.predict(weights, planes)
    }
}

/// Asks for an end once so many groups are done.
struct Until {
    groups: u64,
    done: AtomicU64,
}

impl Progress for Until {
    fn cancelled(&self) -> bool {
        self.done.load(Ordering::SeqCst) >= self.groups
    }
}

const GROUPS: usize = 4;

fn scan() -> Recipe {
    Recipe { slices: 2 * GROUPS, coils: 4, lines: 64, samples: 40, acceleration: 3, acs_lines: 20, ..Recipe::default() }
}

fn slice(scan: &Recipe, number: usize) -> Slice {
    Slice {
        kspace: scan.kspace(number),
        mask: scan.mask(),
        sampling: scan.sampling(),
        number: number as u64,
        noise_variance: None,
        calibration: None,
        compare: number == 1,
    }
}

/// The slices that were handed over, with `broken` changing the slices of a group first.
fn run(
    backend: &dyn Backend,
    progress: &dyn Progress,
    broken: impl Fn(usize, Vec<Slice>) -> Result<Vec<Slice>, JobError> + Send + Sync,
    each: impl Fn() + Send + Sync,
) -> (Result<(), JobError>, Vec<Reconstructed>) {
    let scan = scan();
    let mut engaged = Engaged::new(Method::Auto, None, 0);
    engaged.training.iterations = 20;
    let engine = Engine { recipe: &engaged, backend, progress };
    let (mut all, mut groups) = (Vec::new(), 0..GROUPS);
    let next = || groups.next().map(|at| broken(at, vec![slice(&scan, 2 * at), slice(&scan, 2 * at + 1)]));
    let done = |group: Vec<Reconstructed>| {
        all.extend(group);
        each();
    };
    let outcome = engine.groups(next, done, &mut Clock::default());
    (outcome, all)
}

#[test]
fn groups_beside_each_other_have_the_same_bits() {
    let of = |backend: &dyn Backend| {
        let (outcome, all) = run(backend, &Silent, |_, slices| Ok(slices), || {});
        outcome.unwrap();
        all
    };
    let (one, other) = (of(&Cpu), of(&Elsewhere));
    assert_eq!((one.len(), other.len()), (2 * GROUPS, 2 * GROUPS));
    for (a, b) in one.iter().zip(&other) {
        assert_eq!((&a.image, &a.gain, &a.compared, &a.numbers), (&b.image, &b.gain, &b.compared, &b.numbers));
    }
    assert!(other[1].compared.is_some());
}

#[test]
fn what_goes_wrong_in_a_group_is_reported_after_those_before_it() {
    for backend in [&Cpu as &dyn Backend, &Elsewhere] {
        let spoilt = |at, mut slices: Vec<Slice>| {
            if at == 2 {
                slices[0].kspace[[0, 0, 0]].re = f32::NAN;
            }
            Ok(slices)
        };
        let (outcome, all) = run(backend, &Silent, spoilt, || {});
        assert!(matches!(outcome, Err(JobError::BadData(_))), "{outcome:?}");
        assert_eq!(all.len(), 4);
        let unread = |at, slices| if at == 1 { Err(JobError::Transient("gone".to_owned())) } else { Ok(slices) };
        let (outcome, all) = run(backend, &Silent, unread, || {});
        assert!(matches!(outcome, Err(JobError::Transient(_))), "{outcome:?}");
        assert_eq!(all.len(), 2);
    }
}

#[test]
fn an_end_that_was_asked_for_keeps_finished_groups() {
    for backend in [&Cpu as &dyn Backend, &Elsewhere] {
        let until = Until { groups: 1, done: AtomicU64::new(0) };
        let each = || {
            until.done.fetch_add(1, Ordering::SeqCst);
        };
        let (outcome, all) = run(backend, &until, |_, slices| Ok(slices), each);
        assert!(matches!(outcome, Err(JobError::Interrupted)), "{outcome:?}");
        assert!(!all.is_empty() && all.len() < 2 * GROUPS && all.len().is_multiple_of(2), "{}", all.len());
    }
}
