//! Fills, transforms and combines, a group of entries at a time.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use contract::manifest::Timing;
use contract::prepared::Sampling;
use kspace::Complex32;
use kspace::image::geometry::Grid;
use kspace::numerics::{combine, fft, grappa};
use kspace::prepared::{ReadAt, Reader};
use ndarray::{Array2, Array3};
use rayon::prelude::*;

use super::plan::{Fill, Plan};
use super::source::read_ahead;
use crate::device::Chosen;
use crate::error::JobError;
use crate::progress::Progress;
use crate::raki::fill::{Entry, Filled};
use crate::raki::{Cpu, Fit, Problem};

/// What is known of an entry after it was computed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Computed {
    /// Loss of the last training step.
    pub(super) loss: Option<f64>,
    /// Squared norms of (predicted - acquired) and of acquired, over calibration lines off the grid.
    pub(super) calibration: Option<(f64, f64)>,
    /// Energy of the acquired lines.
    pub(super) acquired_energy: f64,
    /// Energy of the lines that were filled.
    pub(super) filled_energy: f64,
}

/// Images and numbers of all entries, in the order of the prepared file.
pub(super) struct All {
    /// `[y, x]`, cropped to the field of view.
    pub(super) images: Vec<Array2<f32>>,
    pub(super) entries: Vec<Computed>,
    pub(super) timings: Vec<Timing>,
}

/// Wall seconds of the stages.
#[derive(Default)]
struct Clock {
    train: f64,
    fill: f64,
    transform: f64,
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *seconds += started.elapsed().as_secs_f64();
    result
}

/// Computes every entry. While one group is computed the next is read.
pub(super) fn all<R: ReadAt>(
    reader: &Reader<R>,
    plan: &Plan,
    grid: &Grid,
    chosen: Option<&Chosen>,
    progress: &dyn Progress,
) -> Result<All, JobError> {
    let trained = plan.fills.iter().filter(|fill| **fill == Fill::Raki).count();
    let networks = 2 * reader.shape.coils;
    progress.stage("reconstruct", (plan.fills.len() + trained * networks * plan.training.iterations) as u64);
    let group = group_size(reader, plan, chosen);
    let compute = |entries: &Receiver<_>| {
        let mut worker = Worker { reader, plan, chosen, progress, grid, clock: Clock::default() };
        let (mut images, mut computed) = (Vec::new(), Vec::new());
        for start in (0..plan.fills.len()).step_by(group) {
            let end = (start + group).min(plan.fills.len());
            let mut kspaces = Vec::with_capacity(end - start);
            for _ in start..end {
                let entry = entries.recv().map_err(|_| JobError::Bug("fewer entries than announced".to_owned()))?;
                kspaces.push(entry?);
            }
            for (image, entry) in worker.group(start, kspaces)? {
                images.push(image);
                computed.push(entry);
            }
        }
        Ok((images, computed, worker.clock))
    };
    let ((images, entries, clock), read) = read_ahead(reader, group, compute)?;
    let timing = |stage: &str, seconds| Timing { stage: stage.to_owned(), seconds };
    let timings = vec![
        timing("read", read),
        timing("train", clock.train),
        timing("fill", clock.fill),
        timing("transform", clock.transform),
    ];
    Ok(All { images, entries, timings })
}

/// How many entries are computed together: what suits the device, and enough for every core.
fn group_size<R: ReadAt>(reader: &Reader<R>, plan: &Plan, chosen: Option<&Chosen>) -> usize {
    let largest = reader.meta.entries.iter().zip(&plan.fills).filter(|(_, fill)| **fill == Fill::Raki);
    let bytes = largest
        .map(|(entry, _)| {
            let layout = plan.training.layout(reader.shape.coils, entry.sampling.acceleration);
            let domain = layout.domain(entry.sampling.acs_lines, reader.shape.kx, layout.acceleration);
            Problem::size(layout, domain, &plan.training)
        })
        .max();
    match (bytes, chosen) {
        (Some(bytes), Some(chosen)) => chosen.backend.group(bytes),
        _ => rayon::current_num_threads(),
    }
    .max(1)
}

struct Worker<'a, R> {
    reader: &'a Reader<R>,
    plan: &'a Plan,
    chosen: Option<&'a Chosen>,
    progress: &'a dyn Progress,
    grid: &'a Grid,
    clock: Clock,
}

impl<R: ReadAt> Worker<'_, R> {
    fn sampling(&self, index: usize) -> Sampling {
        self.reader.meta.entries[index].sampling
    }

    fn mask(&self, index: usize) -> Vec<bool> {
        self.reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect()
    }

    /// Images and numbers of the entries from `start` on.
    fn group(
        &mut self,
        start: usize,
        kspaces: Vec<Array3<Complex32>>,
    ) -> Result<Vec<(Array2<f32>, Computed)>, JobError> {
        let masks: Vec<Vec<bool>> = (start..start + kspaces.len()).map(|index| self.mask(index)).collect();
        let fits = self.train(start, &kspaces, &masks)?;
        let mut results = Vec::with_capacity(kspaces.len());
        let linear = self.grappa(start, &kspaces, &masks)?;
        for (at, ((kspace, mask), linear)) in kspaces.into_iter().zip(&masks).zip(linear).enumerate() {
            if self.progress.cancelled() {
                return Err(JobError::Interrupted);
            }
            let index = start + at;
            let mut computed = Computed { loss: fits[at].as_ref().map(|fit| fit.loss), ..Computed::default() };
            let filled = match (linear, &fits[at]) {
                (Some(filled), _) => Some(filled),
                (None, Some(fit)) => {
                    let entry = Entry {
                        kspace: kspace.view(),
                        mask,
                        sampling: self.sampling(index),
                        number: index as u64,
                        parameters: self.plan.training,
                        lesson: None,
                    };
                    let backend = self.chosen.map_or(&Cpu as _, |chosen| chosen.backend.as_ref());
                    Some(timed(&mut self.clock.fill, || entry.fill(backend, fit))?)
                }
                (None, None) => None,
            };
            let kspace = match filled {
                Some(filled) => {
                    computed.calibration = Some((filled.calibration_error, filled.calibration_power));
                    filled.kspace
                }
                None => kspace,
            };
            (computed.acquired_energy, computed.filled_energy) = energies(&kspace, mask);
            let image = timed(&mut self.clock.transform, || self.grid.crop(&combine::rss(&fft::ifft2c(&kspace))));
            results.push((image, computed));
            self.progress.advance(1);
        }
        Ok(results)
    }

    /// Networks of the entries that want them. Entries of one size are trained together.
    fn train(
        &mut self,
        start: usize,
        kspaces: &[Array3<Complex32>],
        masks: &[Vec<bool>],
    ) -> Result<Vec<Option<Fit>>, JobError> {
        let mut fits: Vec<Option<Fit>> = vec![None; kspaces.len()];
        let Some(chosen) = self.chosen else { return Ok(fits) };
        let began = Instant::now();
        let mut waiting: Vec<(usize, Problem)> = Vec::new();
        for (at, (kspace, mask)) in kspaces.iter().zip(masks).enumerate() {
            let index = start + at;
            if self.plan.fills[index] != Fill::Raki {
                continue;
            }
            let entry = Entry {
                kspace: kspace.view(),
                mask,
                sampling: self.sampling(index),
                number: index as u64,
                parameters: self.plan.training,
                lesson: None,
            };
            if let Some(problem) = entry.problem()? {
                waiting.push((at, problem));
            }
        }
        while let Some((_, first)) = waiting.first() {
            let size = (first.layout, first.domain);
            let (batch, rest) = waiting.into_iter().partition(|(_, problem)| (problem.layout, problem.domain) == size);
            waiting = rest;
            let (places, problems): (Vec<usize>, Vec<Problem>) = Vec::into_iter(batch).unzip();
            let trained = chosen.backend.fit(&problems, &self.plan.training, self.progress)?;
            for (at, fit) in places.into_iter().zip(trained) {
                fits[at] = Some(fit);
            }
        }
        self.clock.train += began.elapsed().as_secs_f64();
        Ok(fits)
    }

    /// Linear kernels of the entries that want them, one entry a core.
    fn grappa(
        &mut self,
        start: usize,
        kspaces: &[Array3<Complex32>],
        masks: &[Vec<bool>],
    ) -> Result<Vec<Option<Filled>>, JobError> {
        let began = Instant::now();
        let filled = kspaces
            .par_iter()
            .zip(masks)
            .enumerate()
            .map(|(at, (kspace, mask))| {
                if self.plan.fills[start + at] != Fill::Grappa {
                    return Ok(None);
                }
                linear(kspace, mask, &self.sampling(start + at), &self.plan.grappa).map(Some)
            })
            .collect::<Result<_, JobError>>();
        self.clock.fill += began.elapsed().as_secs_f64();
        filled
    }
}

/// GRAPPA. Calibration lines off the grid are predicted like missing ones, compared, and put back.
fn linear(
    kspace: &Array3<Complex32>,
    mask: &[bool],
    sampling: &Sampling,
    options: &grappa::Options,
) -> Result<Filled, JobError> {
    let on_grid = |line: usize| line % sampling.acceleration == sampling.offset;
    let grid: Vec<bool> = mask.iter().enumerate().map(|(line, acquired)| *acquired && on_grid(line)).collect();
    let mut filled = Filled {
        kspace: grappa::Kernel::fit(kspace, mask, sampling, options)?.apply(kspace, &grid)?,
        calibration_error: 0.0,
        calibration_power: 0.0,
    };
    for line in (0..mask.len()).filter(|line| mask[*line] && !grid[*line]) {
        for (coil, samples) in kspace.outer_iter().enumerate() {
            for (kx, acquired) in samples.row(line).iter().enumerate() {
                let value = &mut filled.kspace[[coil, line, kx]];
                filled.calibration_error += f64::from((*value - acquired).norm_sqr());
                filled.calibration_power += f64::from(acquired.norm_sqr());
                *value = *acquired;
            }
        }
    }
    Ok(filled)
}

/// Energy of the acquired and of the other lines.
fn energies(kspace: &Array3<Complex32>, mask: &[bool]) -> (f64, f64) {
    let (mut acquired, mut other) = (0.0, 0.0);
    for coil in kspace.outer_iter() {
        for (line, taken) in coil.outer_iter().zip(mask) {
            let energy: f64 = line.iter().map(|sample| f64::from(sample.norm_sqr())).sum();
            *(if *taken { &mut acquired } else { &mut other }) += energy;
        }
    }
    (acquired, other)
}
