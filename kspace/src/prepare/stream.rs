//! Samples to the prepared file: a group of entries is computed while the one before it is written.

use std::borrow::Cow;
use std::io::Write;

use rayon::prelude::*;

use super::Plan;
use super::sort::Line;
use crate::format::RawScan;
use crate::prepared::{Writer, all_finite};
use crate::{Complex32, Error, Result};

/// Memory for the entries of a group, which are held about four times over and for two groups at once.
const GROUP_BYTES: u64 = 128 << 20;

pub(super) fn write<W: Write>(
    plan: &Plan,
    raw: &dyn RawScan,
    out: W,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<W> {
    let mut writer = Writer::new(out, &plan.meta, plan.shape, plan.small.clone())?;
    let fitting = usize::try_from(GROUP_BYTES / plan.shape.entry_bytes()?.max(1)).unwrap_or(usize::MAX);
    let group = fitting.clamp(1, 2 * rayon::current_num_threads());
    let compute = |lines: &[Vec<Line>]| -> Result<Vec<Vec<Complex32>>> {
        lines.par_iter().map(|lines| entry(plan, raw, lines)).collect()
    };
    let mut groups = plan.lines.chunks(group);
    let mut ready = groups.next().map(compute).transpose()?;
    let mut done = 0;
    while let Some(entries) = ready {
        let mut next = None;
        let upcoming = groups.next();
        // The output need not be `Send`, so it is written here while the pool computes.
        let written = rayon::in_place_scope(|scope| {
            if let Some(lines) = upcoming {
                scope.spawn(|_| next = Some(compute(lines)));
            }
            for samples in entries {
                writer.entry(&samples)?;
                done += 1;
                progress(done, plan.shape.entries);
            }
            Ok::<_, Error>(())
        });
        written?;
        ready = next.transpose()?;
    }
    writer.finish()
}

/// k-space of one entry, `[coil, ky, kx]`.
fn entry(plan: &Plan, raw: &dyn RawScan, lines: &[Line]) -> Result<Vec<Complex32>> {
    let (coils, kx) = (plan.shape.coils, plan.shape.kx);
    let mut readouts = Vec::with_capacity(lines.len());
    for copies in lines.chunk_by(|a, b| a.row == b.row) {
        for line in copies {
            readouts.push((readout(plan, raw, line)?, 1.0 / copies.len() as f32));
        }
    }
    // Acquired rows only, next to each other: what was not acquired is neither transformed nor whitened.
    let rows: Vec<usize> = lines.chunk_by(|a, b| a.row == b.row).map(|copies| copies[0].row).collect();
    let slots: Vec<usize> = lines
        .chunk_by(|a, b| a.row == b.row)
        .enumerate()
        .flat_map(|(slot, copies)| std::iter::repeat_n(slot, copies.len()))
        .collect();
    let plane = rows.len() * kx;
    let mut compact = vec![Complex32::default(); coils * plane];
    compact.par_chunks_mut(plane).enumerate().for_each_init(
        || plan.readout.worker(),
        |worker, (coil, plane)| {
            for (((samples, placement), weight), slot) in readouts.iter().zip(&slots) {
                let count = samples.len() / coils;
                let row = &mut plane[slot * kx..(slot + 1) * kx];
                worker.add(&samples[coil * count..(coil + 1) * count], *placement, *weight, row);
            }
        },
    );
    drop(readouts);

    if let Some(whitening) = &plan.whitening {
        let mut white = vec![Complex32::default(); compact.len()];
        whitening.apply(&compact, &mut white);
        compact = white;
    }
    if !all_finite(&compact) {
        return Err(Error::corrupt("samples of a slice", "values that are not finite numbers", "numbers"));
    }
    if rows.len() == plan.shape.ky {
        return Ok(compact);
    }
    let mut samples = vec![Complex32::default(); coils * plan.shape.ky * kx];
    for (to, from) in samples.chunks_exact_mut(plan.shape.ky * kx).zip(compact.chunks_exact(plane)) {
        for (row, from) in rows.iter().zip(from.chunks_exact(kx)) {
            to[row * kx..(row + 1) * kx].copy_from_slice(from);
        }
    }
    Ok(samples)
}

type Placed<'a> = (Cow<'a, [Complex32]>, super::oversampling::Placement);

fn readout<'a>(plan: &Plan, raw: &'a dyn RawScan, line: &Line) -> Result<Placed<'a>> {
    let changed = || Error::corrupt("raw data", "another scan than the one that was planned", "the same scan");
    let head = raw.heads().get(line.readout).ok_or_else(changed)?;
    let placement = plan.readout.place(head).map_err(|_| changed())?;
    let samples = raw.samples(line.readout)?;
    let expected = usize::from(head.samples) * plan.shape.coils;
    if samples.len() != expected || usize::from(head.channels) != plan.shape.coils {
        return Err(Error::corrupt(
            format!("readout {}", line.readout),
            format!("{} samples", samples.len()),
            format!("{expected} samples, as its head states"),
        ));
    }
    Ok((samples, placement))
}
