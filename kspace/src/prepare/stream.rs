//! Samples to the prepared file: some images are computed while those before them are written.

use std::borrow::Cow;
use std::io::Write;

use rayon::prelude::*;

use super::average::copies;
use super::calibration::Apart;
use super::echo::Placement;
use super::epi::PhaseCorrection;
use super::oversampling::Readout;
use super::slab;
use super::sort::Line;
use super::{Chain, Group, Plan};
use crate::format::RawScan;
use crate::prepared::{Writer, all_finite};
use crate::{Complex32, Error, Result};

/// Memory for the images that are computed together, which are held about four times over and for two batches at once.
const BATCH_BYTES: u64 = 128 << 20;

/// Samples of readouts that are held together while they are added to a plane: many averages do not fit at once.
const BLOCK_BYTES: usize = 16 << 20;

/// A scan that was planned.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) raw: &'a dyn RawScan,
    /// Channels of every line.
    pub(super) coils: usize,
}

pub(super) fn write<W: Write>(
    plan: &Plan,
    raw: &dyn RawScan,
    out: W,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<W> {
    let chain = &plan.chain;
    let source = Source { raw, coils: chain.coils };
    let mut writer = Writer::new(out, &plan.meta, chain.shape, plan.small.clone())?;
    let mut done = 0;
    let mut tell = |samples: &[Complex32], writer: &mut Writer<W>| {
        writer.entry(samples)?;
        done += 1;
        progress(done, chain.shape.entries);
        Ok(())
    };
    if chain.axes.partitions == 1 {
        flat(chain, source, &mut |samples| tell(samples, &mut writer))?;
    } else {
        for group in &chain.groups {
            // The slices of a slab exist all at once, so they are written one by one, and one slab after the other.
            slab::slices(chain, source, group, &mut |samples| tell(samples, &mut writer))?;
        }
    }
    if chain.shape.acs.is_some() {
        for apart in chain.groups.iter().filter_map(|group| group.calibration.as_ref()) {
            calibration(chain, source, apart, &mut |samples| writer.calibration(samples))?;
        }
    }
    writer.finish()
}

/// What takes the images of a scan, or their calibration lines, in their order.
pub(super) type Take<'a> = dyn FnMut(&[Complex32]) -> Result<()> + 'a;

/// The images of a 2-D scan, `[coil, ky, kx]`.
fn flat(chain: &Chain, source: Source<'_>, take: &mut Take<'_>) -> Result<()> {
    let fitting = usize::try_from(BATCH_BYTES / chain.shape.entry_bytes()?.max(1)).unwrap_or(usize::MAX);
    let size = fitting.clamp(1, 2 * rayon::current_num_threads());
    let compute = |groups: &[Group]| -> Result<Vec<Vec<Complex32>>> {
        groups.par_iter().map(|group| image(chain, source, group)).collect()
    };
    let mut batches = chain.groups.chunks(size);
    let mut ready = batches.next().map(compute).transpose()?;
    while let Some(images) = ready {
        let mut next = None;
        let upcoming = batches.next();
        // The output need not be `Send`, so it is written here while the pool computes.
        let written = rayon::in_place_scope(|scope| {
            if let Some(groups) = upcoming {
                scope.spawn(|_| next = Some(compute(groups)));
            }
            images.iter().try_for_each(|samples| take(samples))
        });
        written?;
        ready = next.transpose()?;
    }
    Ok(())
}

fn image(chain: &Chain, source: Source<'_>, group: &Group) -> Result<Vec<Complex32>> {
    let rows = rows(&group.lines);
    let compact = plane(chain, source, &chain.readout, &group.lines, &rows)?;
    Ok(spread(compact, &rows, chain.shape.ky, chain.shape.kx))
}

/// Acquired rows `[coil, row, kx]` in their places, `[coil, ky, kx]`.
pub(super) fn spread(compact: Vec<Complex32>, rows: &[usize], ky: usize, kx: usize) -> Vec<Complex32> {
    if rows.len() == ky {
        return compact;
    }
    let coils = compact.len() / (rows.len() * kx).max(1);
    let mut samples = vec![Complex32::default(); coils * ky * kx];
    for (to, from) in samples.chunks_exact_mut(ky * kx).zip(compact.chunks_exact(rows.len() * kx)) {
        for (row, from) in rows.iter().zip(from.chunks_exact(kx)) {
            to[row * kx..(row + 1) * kx].copy_from_slice(from);
        }
    }
    samples
}

/// The separate calibration lines of the images of a group, each `[coil, line, point]`.
fn calibration(chain: &Chain, source: Source<'_>, apart: &Apart, take: &mut Take<'_>) -> Result<()> {
    let Some((lines, points)) = chain.shape.acs else { return Ok(()) };
    let readout = chain.readout_of(apart.origin);
    let width = readout.kept();
    let rows: Vec<usize> = (0..lines).collect();
    let mut crop = |samples: &[Complex32]| {
        let first = width / 2 - points / 2;
        let rows = samples.chunks_exact(width).flat_map(|row| &row[first..first + points]);
        take(&rows.copied().collect::<Vec<_>>())
    };
    if chain.axes.partitions > 1 {
        return slab::transformed(chain, source, (readout, &apart.lines, &rows), &mut crop);
    }
    crop(&plane(chain, source, readout, &apart.lines, &rows)?)
}

/// The rows of some lines, ascending.
pub(super) fn rows(lines: &[Line]) -> Vec<usize> {
    let mut rows: Vec<usize> = lines.iter().map(|line| line.row).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Lines of one partition, sorted by row, as `[coil, row, kx]` with one row for each of `rows`: placed, without oversampling, averaged,
/// mixed and scaled. Rows without a line are zero. What was not acquired is neither transformed nor mixed.
pub(super) fn plane(
    chain: &Chain,
    source: Source<'_>,
    readout: &Readout,
    lines: &[Line],
    rows: &[usize],
) -> Result<Vec<Complex32>> {
    let (coils, kx) = (source.coils, readout.kept());
    // A slope counts points across one field of view, which another readout divides into more or fewer.
    let stretch = chain.readout.encoded() as f64 / readout.encoded() as f64;
    let stretched = |it: &PhaseCorrection| PhaseCorrection { slope: it.slope * stretch, ..*it };
    let size = rows.len() * kx;
    let mut compact = vec![Complex32::default(); coils * size];
    let mut add = |block: &mut Vec<Added<'_>>| {
        compact.par_chunks_mut(size.max(1)).enumerate().for_each_init(
            || readout.worker(),
            |worker, (coil, plane)| {
                for ((samples, placement), phase, weight, slot) in block.iter() {
                    let count = samples.len() / coils;
                    let row = &mut plane[slot * kx..(slot + 1) * kx];
                    let phase = phase.as_ref().and_then(|coils| coils.get(coil));
                    worker.add(&samples[coil * count..(coil + 1) * count], *placement, phase, *weight, row);
                }
            },
        );
        block.clear();
    };
    let (mut block, mut bytes) = (Vec::new(), 0);
    for copies in copies(lines) {
        let Ok(slot) = rows.binary_search(&copies[0].row) else { continue };
        for line in copies {
            let phase = chain.shots.of(line.readout).map(|coils| coils.iter().map(stretched).collect::<Vec<_>>());
            let placed = read(source, readout, line)?;
            bytes += size_of_val(&*placed.0);
            block.push((placed, phase, chain.scale / copies.len() as f32, slot));
            if bytes >= BLOCK_BYTES {
                add(&mut block);
                bytes = 0;
            }
        }
    }
    add(&mut block);
    drop(block);
    if let Some(mixing) = &chain.mixing {
        let mut mixed = vec![Complex32::default(); mixing.channels() * size];
        mixing.apply(&compact, &mut mixed);
        compact = mixed;
    }
    if !all_finite(&compact) {
        return Err(Error::corrupt("samples of a slice", "values that are not finite numbers", "numbers"));
    }
    Ok(compact)
}

type Placed<'a> = (Cow<'a, [Complex32]>, Placement);
/// A readout, the phase of each coil, its weight and the row that it is added to.
type Added<'a> = (Placed<'a>, Option<Vec<PhaseCorrection>>, f32, usize);

fn read<'a>(source: Source<'a>, readout: &Readout, line: &Line) -> Result<Placed<'a>> {
    let changed = || Error::corrupt("raw data", "another scan than the one that was planned", "the same scan");
    let head = source.raw.heads().get(line.readout).ok_or_else(changed)?;
    let placement = readout.place(head).map_err(|_| changed())?;
    let samples = source.raw.samples(line.readout)?;
    let expected = usize::from(head.samples) * source.coils;
    if samples.len() != expected || usize::from(head.channels) != source.coils {
        return Err(Error::corrupt(
            format!("readout {}", line.readout),
            format!("{} samples", samples.len()),
            format!("{expected} samples, as its head states"),
        ));
    }
    Ok((readout.straighten(head, samples), placement))
}
