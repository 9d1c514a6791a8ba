//! Partitions of a 3-D scan to slices, by a centred transform along them.

use rayon::prelude::*;

use super::oversampling::Readout;
use super::sort::Line;
use super::stream::{Source, Take, plane, rows, spread};
use super::{Chain, Group};
use crate::numerics::fft::Centred;
use crate::{Complex32, Result};

/// Columns that are transformed together, so that a cache line fetched for one serves its neighbours.
const COLUMNS: usize = 16;

/// The slices of a group, `[coil, ky, kx]` each.
pub(super) fn slices(chain: &Chain, source: Source<'_>, group: &Group, take: &mut Take<'_>) -> Result<()> {
    let rows = rows(&group.lines);
    let (ky, kx) = (chain.shape.ky, chain.shape.kx);
    transformed(chain, source, (&chain.readout, &group.lines, &rows), &mut |samples| {
        take(&spread(samples.to_vec(), &rows, ky, kx))
    })
}

/// The acquired rows of each slice, `[coil, row, kx]`, of lines sorted by partition and row. Partitions without a line count as zero.
///
/// One slab is in memory: its acquired rows, of all partitions and coils.
pub(super) fn transformed(
    chain: &Chain,
    source: Source<'_>,
    (readout, lines, rows): (&Readout, &[Line], &[usize]),
    take: &mut Take<'_>,
) -> Result<()> {
    let (partitions, coils) = (chain.axes.partitions, chain.shape.coils);
    let size = rows.len() * readout.kept();
    let mut slab = vec![vec![Complex32::default(); partitions * size]; coils];
    for lines in lines.chunk_by(|a, b| a.partition == b.partition) {
        let samples = plane(chain, source, readout, lines, rows)?;
        let at = lines[0].partition * size;
        for (to, from) in slab.iter_mut().zip(samples.chunks_exact(size.max(1))) {
            to[at..at + size].copy_from_slice(from);
        }
    }
    slab.par_iter_mut().for_each_init(|| Centred::inverse(partitions), |transform, coil| along(coil, size, transform));
    let mut slice = Vec::with_capacity(coils * size);
    for partition in chain.axes.kept.clone() {
        slice.clear();
        slab.iter().for_each(|coil| slice.extend_from_slice(&coil[partition * size..(partition + 1) * size]));
        take(&slice)?;
    }
    Ok(())
}

/// Transforms `[partition, size]` along its partitions.
fn along(samples: &mut [Complex32], size: usize, transform: &mut Centred) {
    let partitions = samples.len() / size.max(1);
    let mut columns = vec![Complex32::default(); COLUMNS * partitions];
    for first in (0..size).step_by(COLUMNS) {
        let width = COLUMNS.min(size - first);
        let columns = &mut columns[..width * partitions];
        for (partition, row) in samples.chunks_exact(size).enumerate() {
            row[first..first + width]
                .iter()
                .enumerate()
                .for_each(|(at, value)| columns[at * partitions + partition] = *value);
        }
        transform.apply(columns);
        for (partition, row) in samples.chunks_exact_mut(size).enumerate() {
            row[first..first + width]
                .iter_mut()
                .enumerate()
                .for_each(|(at, value)| *value = columns[at * partitions + partition]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_column_is_transformed_by_itself(partitions in 1usize..12, size in 1usize..40) {
            let value = |at: usize| Complex32::from_polar(1.0 + (at % 5) as f32, at as f32 * 0.7);
            let before: Vec<_> = (0..partitions * size).map(value).collect();
            let mut after = before.clone();
            along(&mut after, size, &mut Centred::inverse(partitions));
            for column in 0..size {
                let mut expected: Vec<_> = before.iter().skip(column).step_by(size).copied().collect();
                Centred::inverse(partitions).apply(&mut expected);
                for (found, expected) in after.iter().skip(column).step_by(size).zip(expected) {
                    prop_assert_eq!(*found, expected);
                }
            }
        }
    }
}
