//! Networks of a group of slices: trained together, each filling its own slice.

use std::collections::BTreeMap;
use std::ops::Range;

use contract::Method;
use contract::prepared::Sampling;
use kspace::Complex32;
use kspace::numerics::calibration;
use kspace::numerics::nwg::{self, Judge, Products};
use kspace::prepared::Shape;
use ndarray::{Array3, s};
use rayon::prelude::*;

use super::linear::{believed, measured};
use super::{Engine, Numbers, Recipe, Work, mix};
use crate::error::JobError;
use crate::raki::fill::Entry;
use crate::raki::lesson::Lesson;
use crate::raki::linear::Linear;
use crate::raki::{Fit, Parameters, Problem, Weights};

/// Peak of the learning rate of networks that begin trained: the full one would undo what they know.
const WARM_RATE: f64 = 3e-3;

/// Why a slice of this sampling cannot train networks.
pub(super) fn check(recipe: &Recipe, sampling: &Sampling, shape: &Shape) -> Result<(), String> {
    let layout = recipe.training.layout(shape.coils, sampling.acceleration);
    let (lines, points) = learnt(recipe, sampling, shape);
    layout.domain(lines, points, sampling.acceleration).check(layout)
}

/// Lines that the networks learn from, and points of one of them.
fn learnt(recipe: &Recipe, sampling: &Sampling, shape: &Shape) -> (usize, usize) {
    match (recipe.method, shape.acs) {
        (Method::RakiPaper, own) => own.unwrap_or((sampling.acs_lines, shape.kx)),
        (_, own) => {
            let covered = own.map_or(*sampling, |(lines, _)| calibration::covered(sampling, lines, shape.ky));
            let (first, end) = nwg::refit_region(&covered);
            (end - first, shape.kx)
        }
    }
}

/// Bytes that the largest of these slices needs in training.
pub(super) fn problem_bytes(recipe: &Recipe, samplings: &[Sampling], shape: &Shape) -> Option<usize> {
    let size = |sampling: &Sampling| {
        let (lines, points) = learnt(recipe, sampling, shape);
        let layout = recipe.training.layout(shape.coils, sampling.acceleration);
        Problem::size(layout, layout.domain(lines, points, sampling.acceleration), &recipe.training)
    };
    samplings.iter().filter(|sampling| sampling.acceleration > 1).map(size).max()
}

impl Work {
    /// What the networks of the slice learn from and fill; `beside` is the linear method beside them.
    fn entry<'a>(&'a self, recipe: &Recipe, beside: &'a Option<Beside<'a>>) -> Entry<'a> {
        let lesson = match (recipe.method, &self.nwg) {
            (Method::Auto | Method::Raki, Some((filled, _))) => Some(Lesson {
                kspace: &filled.kspace,
                lines: filled.region.0..filled.region.1,
                noise_variance: filled.noise_variance,
            }),
            _ => None,
        };
        Entry {
            kspace: &self.slice.kspace,
            mask: &self.slice.mask,
            sampling: self.slice.sampling,
            number: self.slice.number,
            parameters: recipe.training,
            calibration: self.separate.as_ref().map(|separate| separate.lines.view()),
            lesson,
            linear: beside.as_ref().map(|beside| beside as _),
        }
    }

    /// The linear method beside the networks that learn from its fill.
    fn beside<'a>(&'a self, recipe: &Recipe, on: &'a dyn Products) -> Option<Beside<'a>> {
        let (_, judge) = self.nwg.as_ref()?;
        matches!(recipe.method, Method::Auto | Method::Raki).then_some(Beside { judge, on })
    }
}

/// `nwg` beside networks.
pub(crate) struct Beside<'a> {
    pub(crate) judge: &'a Judge,
    pub(crate) on: &'a dyn Products,
}

impl Linear for Beside<'_> {
    fn predict(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        lines: Range<usize>,
    ) -> Result<Vec<(usize, Vec<Complex32>)>, JobError> {
        Ok(self.judge.predict(kspace, mask, sampling, lines, self.on)?)
    }
}

/// Leaves a missing centre of k-space to `nwg`, which has weights for it: networks with a weighted loss learn relative errors, which there are
/// large absolute ones.
pub(crate) fn keep_centre(filled: &mut Array3<Complex32>, nwg: &nwg::Filled) {
    for ((line, kx), _) in nwg.centre.indexed_iter().filter(|(_, strong)| **strong) {
        filled.slice_mut(s![.., line, kx]).assign(&nwg.kspace.slice(s![.., line, kx]));
    }
}

/// Which slice's networks fill each slice: the middle one's of every `slab` slices that follow each other, if it is sampled
/// alike. `None` for a slice that misses nothing.
fn trainers(works: &[Work], slab: usize) -> Vec<Option<usize>> {
    let slab_of = |at: usize| works[at].slice.number / slab as u64;
    let alike = |a: usize, b: usize| works[a].slice.sampling.acceleration == works[b].slice.sampling.acceleration;
    let trainer = |at: usize| {
        let members: Vec<usize> =
            (0..works.len()).filter(|other| works[*other].missing && slab_of(*other) == slab_of(at)).collect();
        let middle = members.get(members.len() / 2).copied()?;
        works[at].missing.then(|| if alike(at, middle) { middle } else { at })
    };
    (0..works.len()).map(trainer).collect()
}

impl Engine<'_> {
    /// Trains the networks of the slices that miss lines, those of one size together, and fills. Slices that share networks
    /// fill with those of their trainer, or with what a short training makes of them.
    pub(super) fn networks(&self, works: &mut [Work]) -> Result<(), JobError> {
        let recipe = self.recipe;
        let trainers = trainers(works, recipe.slab.max(1));
        let mut fits = BTreeMap::new();
        let cold: Vec<usize> = (0..works.len()).filter(|at| trainers[*at] == Some(*at)).collect();
        let mut steps = self.train(works, &cold, &recipe.training, |_| None, &mut fits)?;
        if recipe.warm > 0 {
            // Networks that did not converge are nothing to begin with: `nwg` fills their whole slab.
            let start: BTreeMap<usize, Weights> = (0..works.len())
                .filter(|at| trainers[*at] != Some(*at))
                .filter_map(|at| {
                    let fit = fits.get(&trainers[at]?)?;
                    (!fit.diverged).then(|| (at, fit.weights.clone()))
                })
                .collect();
            let warm: Vec<usize> = start.keys().copied().collect();
            let training = Parameters {
                iterations: recipe.warm.min(recipe.training.iterations),
                learning_rate: WARM_RATE,
                ..recipe.training
            };
            steps += self.train(works, &warm, &training, |at| start.get(&at).cloned(), &mut fits)?;
        }
        // Side by side: beside a GPU, most of a fill is on one core.
        works.par_iter_mut().zip(trainers).enumerate().try_for_each(|(at, (work, trainer))| {
            let fit = trainer.and_then(|trainer| fits.get(&at).or_else(|| fits.get(&trainer)));
            fit.map_or(Ok(()), |fit| self.fill(work, fit))
        })?;
        // Slices that shared networks or had nothing to fill are done as well.
        let share = |work: &Work| self.training_steps(&work.slice.sampling, work.slice.kspace.dim().0);
        self.progress.advance(works.iter().map(share).sum::<u64>().saturating_sub(steps));
        Ok(())
    }

    /// Trains the slices numbered `which`, each from the weights that `start` gives; returns the steps done.
    fn train(
        &self,
        works: &[Work],
        which: &[usize],
        training: &Parameters,
        start: impl Fn(usize) -> Option<Weights>,
        fits: &mut BTreeMap<usize, Fit>,
    ) -> Result<u64, JobError> {
        let problem = |at: &usize| -> Result<Option<(usize, Problem)>, JobError> {
            let beside = works[*at].beside(self.recipe, self.backend.products());
            Ok(works[*at].entry(self.recipe, &beside).problem()?.map(|problem| (*at, problem)))
        };
        let problems: Vec<_> = which.par_iter().map(problem).collect::<Result<_, _>>()?;
        let mut waiting: Vec<(usize, Problem)> = problems.into_iter().flatten().collect();
        waiting.iter_mut().for_each(|(at, problem)| problem.start = start(*at));
        let mut steps = 0;
        while let Some((_, first)) = waiting.first() {
            let size = (first.layout, first.domain);
            let (batch, rest) = waiting.into_iter().partition(|(_, problem)| (problem.layout, problem.domain) == size);
            waiting = rest;
            let (places, problems): (Vec<usize>, Vec<Problem>) = Vec::into_iter(batch).unzip();
            let trained = self.backend.fit(&problems, training, self.progress)?;
            steps += (places.len() * training.networks(size.0) * training.iterations) as u64;
            fits.extend(places.into_iter().zip(trained));
        }
        Ok(steps)
    }

    /// Fills with trained networks; with those that did not converge, `nwg` fills.
    fn fill(&self, work: &mut Work, fit: &Fit) -> Result<(), JobError> {
        work.numbers.loss = fit.loss.is_finite().then_some(fit.loss);
        work.numbers.curve = fit.curve.iter().filter(|(_, loss)| loss.is_finite()).copied().collect();
        if fit.diverged {
            work.numbers.diverged = true;
            if work.nwg.is_none() {
                let slice = &work.slice;
                let separate = work.separate.as_ref();
                let options = nwg::Options { noise_variance: believed(slice, separate)?, ..self.recipe.nwg };
                work.nwg = Some(nwg::fill_and_judge(
                    &slice.kspace,
                    &slice.mask,
                    &slice.sampling,
                    separate,
                    &options,
                    self.backend.products(),
                )?);
            }
            work.numbers.calibration = work.nwg.as_ref().and_then(|(filled, _)| measured(filled.calibration));
            return Ok(());
        }
        let beside = work.beside(self.recipe, self.backend.products());
        let mut filled = work.entry(self.recipe, &beside).fill(self.backend, fit)?;
        if let (Some((nwg, _)), Method::Auto | Method::Raki) = (&work.nwg, self.recipe.method) {
            keep_centre(&mut filled.kspace, nwg);
        }
        let Numbers { calibration, .. } = &mut work.numbers;
        *calibration = measured((filled.calibration_error, filled.calibration_power));
        work.filled = Some(match (&work.nwg, self.recipe.method) {
            (Some((nwg, judge)), Method::Auto) => {
                let (mask, sampling) = (&work.slice.mask, &work.slice.sampling);
                let of_nwg = judge.residual(&nwg.kspace, mask, sampling, self.backend.products())?;
                let residuals = [of_nwg, self.round_trip(work, fit, &filled.kspace)?];
                mix::mix(&work.slice, self.recipe.refine, &nwg.kspace, &filled.kspace, &residuals, &mut work.numbers)
            }
            _ => filled.kspace,
        });
        Ok(())
    }

    /// Acquired lines outside the calibration block as the networks predict them from the lines that they filled, less what was
    /// acquired, `[line, coil, kx]` in one row.
    fn round_trip(&self, work: &Work, fit: &Fit, filled: &Array3<Complex32>) -> Result<Vec<Complex32>, JobError> {
        let sampling = work.slice.sampling;
        let range = sampling.first..=sampling.last;
        let offset = (sampling.offset + 1) % sampling.acceleration;
        let on_grid = |line: usize| line % sampling.acceleration == offset && range.contains(&line);
        let mask: Vec<bool> = (0..work.slice.mask.len()).map(on_grid).collect();
        let beside = work.beside(self.recipe, self.backend.products());
        let shifted = Entry {
            kspace: filled,
            mask: &mask,
            sampling: Sampling { offset, ..sampling },
            ..work.entry(self.recipe, &beside)
        };
        let predicted = shifted.fill(self.backend, fit)?.kspace;
        let mut residual = Vec::new();
        for line in nwg::outer_lines(&work.slice.mask, &sampling) {
            let apart = &predicted.slice(s![.., line, ..]) - &work.slice.kspace.slice(s![.., line, ..]);
            residual.extend(apart);
        }
        Ok(residual)
    }
}
