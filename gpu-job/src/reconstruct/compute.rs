//! Reconstructs all entries, a group at a time.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use contract::manifest::Timing;
use contract::prepared::Sampling;
use kspace::prepared::{ReadAt, Reader};

use super::checkpoint::{Checkpoint, Finished, Identity};
use super::finish::Finish;
use super::plan::Plan;
use super::source::{Read, read_ahead};
use crate::device::Chosen;
use crate::engine::{Clock, Engine, Reconstructed, Slice};
use crate::error::JobError;
use crate::progress::Progress;
use crate::raki::Cpu;

/// How often a running job saves what is finished, for an end without notice.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// Images and numbers of all entries, in the order of the prepared file.
pub(super) struct All {
    pub(super) finished: Finished,
    pub(super) timings: Vec<Timing>,
}

/// Computes every entry that no interrupted job has finished. While one group is computed the next is read. When asked to stop,
/// what is finished is saved.
pub(super) fn all<R: ReadAt>(
    reader: &Reader<R>,
    plan: &Plan,
    finish: &Finish,
    chosen: Option<&Chosen>,
    progress: &dyn Progress,
    (checkpoint, identity): (&Checkpoint<'_>, Identity),
) -> Result<All, JobError> {
    let backend = chosen.map_or(&Cpu as _, |chosen| chosen.backend);
    let engine = Engine { recipe: &plan.recipe, backend, progress };
    let samplings: Vec<Sampling> = reader.meta.entries.iter().map(|entry| entry.sampling).collect();
    let coils = reader.shape.coils;
    progress.stage("reconstruct", samplings.iter().map(|sampling| engine.steps(sampling, coils)).sum());
    let group = engine.group_size(&samplings, &reader.shape);
    let identity = Identity { group, ..identity };
    let mut finished = checkpoint.load(&identity)?;
    // Groups begin where they would have begun in a job that was never stopped.
    let first = finished.images.len().min(samplings.len()) / group * group;
    finished.images.truncate(first);
    finished.numbers.truncate(first);
    progress.advance(samplings[..first].iter().map(|sampling| engine.steps(sampling, coils)).sum());
    let mut clock = Clock::default();
    let compute = |entries: Receiver<_>| {
        let mut saved = Instant::now();
        let mut starts = (first..samplings.len()).step_by(group);
        let mut read = move |index| {
            let entry = entries.recv().map_err(|_| JobError::Bug("fewer entries than announced".to_owned()))?;
            Ok(slice(reader, plan, index, entry?))
        };
        let next = || starts.next().map(|start| (start..(start + group).min(samplings.len())).map(&mut read).collect());
        let done = |group: Vec<Reconstructed>| {
            for (image, numbers) in group.into_iter().map(|reconstructed| finish.apply(reconstructed)) {
                finished.images.push(image);
                finished.numbers.push(numbers);
            }
            if saved.elapsed() > SAVE_EVERY {
                checkpoint.save(&identity, &finished);
                saved = Instant::now();
            }
        };
        let computed = engine.groups(next, done, &mut clock);
        if matches!(computed, Err(JobError::Interrupted)) && !finished.images.is_empty() {
            checkpoint.save(&identity, &finished);
        }
        computed.map(|()| finished)
    };
    let (finished, read) = read_ahead(reader, first, group, compute)?;
    if progress.cancelled() {
        checkpoint.save(&identity, &finished);
        return Err(JobError::Interrupted);
    }
    let timings = vec![
        // Beside the others, whose CPU time has this in it.
        Timing { stage: "read".to_owned(), seconds: read, cpu_seconds: None },
        clock.fill.by("fill"),
        clock.train.by("train"),
        clock.image.by("image"),
    ];
    Ok(All { finished, timings })
}

fn slice<R>(reader: &Reader<R>, plan: &Plan, index: usize, (kspace, calibration): Read) -> Slice {
    Slice {
        kspace,
        mask: reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect(),
        sampling: reader.meta.entries[index].sampling,
        number: index as u64,
        noise_variance: plan.noise_variance,
        calibration,
        compare: plan.compared.contains(&index),
    }
}
