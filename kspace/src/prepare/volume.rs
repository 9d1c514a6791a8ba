//! The axis along which a 3-D scan is fully sampled, and the slices that a transform along it gives.
//!
//! A 3-D scan encodes two phase directions. Along one of them every step between the first and the last was acquired, so a
//! centred transform along it turns the scan into independent 2-D problems, one a slice. Where only the second direction
//! is accelerated, the two change places, and the images are slices along the first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use contract::prepared::Step;
use serde_json::json;

use super::Log;
use super::sampling;
use super::sort::{Line, Sorted};
use super::triage::Triage;
use crate::format::header::Encoding;
use crate::{Error, Result};

/// Fields of view closer than this are the same.
const SAME_FIELD_OF_VIEW: f64 = 0.01;
/// Part of the partitions of its neighbours on the grid below which a line between them is there for calibration only.
const COMPLETE: f64 = 0.9;

/// What the axes of the arrays are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    /// Lines of the axis that stays k-space.
    pub(super) rows: usize,
    /// Length of the transform along the other one; 1 for a 2-D scan.
    pub(super) partitions: usize,
    /// The slices that are kept of it; the rest is slice oversampling.
    pub(super) kept: Range<usize>,
    /// Whether rows are steps of the second phase direction.
    pub(super) exchanged: bool,
}

impl Axes {
    /// Slices that one k-space gives.
    pub(super) fn depth(&self) -> usize {
        self.kept.len()
    }

    /// Place of the rows among x, y and z of the header.
    pub(super) const fn row_axis(&self) -> usize {
        if self.exchanged { 2 } else { 1 }
    }

    /// Place of the slices among x, y and z of the header.
    pub(super) const fn slice_axis(&self) -> usize {
        if self.exchanged { 1 } else { 2 }
    }

    /// A line in the order of these axes.
    pub(super) fn turn(&self, line: Line) -> Line {
        if self.exchanged { Line { row: line.partition, partition: line.row, ..line } } else { line }
    }
}

/// Finds the axes of a scan and brings the lines of `sorted` into their order.
///
/// # Errors
/// [`Error::Unsupported`] for acceleration along both phase directions, and for partitions that are not neighbours.
pub(super) fn arrange(sorted: &mut [Sorted], triage: &Triage<'_>, log: &mut Log) -> Result<Axes> {
    let encoding = triage.encoding;
    let [_, rows, partitions] = encoding.encoded.matrix.map(|size| size.max(1));
    if partitions == 1 {
        return Ok(Axes { rows, partitions, kept: 0..1, exchanged: false });
    }
    let acceleration = |size: usize, stated: usize, along: fn(&Line) -> usize| {
        let mut acquired = vec![false; size];
        sorted.iter().flat_map(|entry| &entry.lines).for_each(|line| acquired[along(line)] = true);
        let stated = encoding.acceleration.map(|factors| factors[stated].round() as usize);
        sampling::find(&acquired, stated).map(|found| found.acceleration)
    };
    let along = [acceleration(rows, 0, |line| line.row)?, acceleration(partitions, 1, |line| line.partition)?];
    if along[0] > 1 && along[1] > 1 {
        return Err(Error::unsupported(
            format!("3-D data accelerated along both phase directions, R = {} x {}", along[0], along[1]),
            "only acceleration along one of them is reconstructed: acquire with the other one fully sampled",
        ));
    }
    let exchanged = along[1] > 1;
    let (rows, partitions) = if exchanged { (partitions, rows) } else { (rows, partitions) };
    let mut axes = Axes { rows, partitions, kept: 0..partitions, exchanged };
    axes.kept = kept(encoding, &axes);
    let (mut least, mut incomplete) = (partitions, false);
    for entry in sorted.iter_mut() {
        entry.lines.iter_mut().for_each(|line| *line = axes.turn(*line));
        entry.arrange();
        for range in ranges(&entry.lines)?.values() {
            incomplete |= range.len() < partitions;
            least = least.min(range.len());
        }
    }
    if incomplete {
        log.warn(format!(
            "not every line has all {partitions} partitions (partial Fourier, elliptical scanning or a calibration block): what \
             is missing stays zero"
        ));
    }
    log.step(
        Step::PARTITIONS,
        [
            ("partitions", json!(partitions)),
            ("slices", json!(axes.depth())),
            ("axis", json!(if exchanged { "first phase direction" } else { "second phase direction" })),
            ("fewest_partitions_of_a_line", json!(least)),
        ],
    );
    Ok(axes)
}

/// The slices inside the field of view that is wanted.
fn kept(encoding: &Encoding, axes: &Axes) -> Range<usize> {
    let [from, to] = [encoding.encoded, encoding.recon].map(|space| space.field_of_view_mm[axes.slice_axis()]);
    let ratio = from / to;
    let mut count = axes.partitions;
    if ratio.is_finite() && ratio > 1.0 + SAME_FIELD_OF_VIEW {
        count = ((axes.partitions as f64 / ratio).round() as usize).clamp(1, axes.partitions);
    }
    let first = axes.partitions / 2 - count / 2;
    first..first + count
}

/// First partition of each row and the one after its last.
///
/// # Errors
/// [`Error::Unsupported`] for a row with holes, as shifted sampling of both phase directions leaves them.
fn ranges(lines: &[Line]) -> Result<BTreeMap<usize, Range<usize>>> {
    let mut found = BTreeMap::<usize, Range<usize>>::new();
    // By partition: a row grows by one at its end.
    for line in lines {
        let range = found.entry(line.row).or_insert(line.partition..line.partition);
        if line.partition > range.end {
            return Err(Error::unsupported(
                format!("3-D data with partitions {} to {} of a line missing", range.end, line.partition - 1),
                "shifted (CAIPIRINHA) and irregular sampling are not reconstructed: acquire with acceleration along one direction",
            ));
        }
        range.end = range.end.max(line.partition + 1);
    }
    Ok(found)
}

/// Takes the lines out of `lines` that are there for calibration only, because they lie between lines of the grid and were acquired for
/// fewer partitions than these. Gives the calibration block that they complete: neighbouring rows with the same partitions, with
/// rows where they are.
pub(super) fn split(lines: &mut Vec<Line>, axes: &Axes, stated: Option<usize>) -> Result<Vec<Line>> {
    if axes.partitions == 1 {
        return Ok(Vec::new());
    }
    let ranges = ranges(lines)?;
    let mut acquired = vec![false; axes.rows];
    ranges.keys().for_each(|row| acquired[*row] = true);
    let found = sampling::find(&acquired, stated)?;
    let on_grid = |row: usize| row % found.acceleration == found.offset;
    let reduced = |row: usize| {
        let near = |mut rows: Box<dyn Iterator<Item = usize>>| {
            rows.find(|near| on_grid(*near)).and_then(|near| ranges.get(&near)).map(Range::len)
        };
        let (below, above) = (near(Box::new((0..row).rev())), near(Box::new(row + 1..axes.rows)));
        let neighbours = below.into_iter().chain(above).min();
        let own = ranges.get(&row).map_or(0, Range::len);
        !on_grid(row) && neighbours.is_some_and(|other| (own as f64) < COMPLETE * other as f64)
    };
    let reduced: Vec<usize> = ranges.keys().copied().filter(|row| reduced(*row)).collect();
    if reduced.is_empty() {
        return Ok(Vec::new());
    }
    let block = block(lines);
    lines.retain(|line| reduced.binary_search(&line.row).is_err());
    Ok(block)
}

/// The largest calibration block in `lines`: the longest run of neighbouring rows and the partitions that all of them have.
/// Rows stay where they are.
pub(super) fn block(lines: &[Line]) -> Vec<Line> {
    let mut rows = BTreeMap::<usize, BTreeSet<usize>>::new();
    for line in lines {
        rows.entry(line.row).or_default().insert(line.partition);
    }
    let numbers: Vec<usize> = rows.keys().copied().collect();
    let run = numbers.chunk_by(|a, b| b - a == 1).max_by_key(|run| run.len()).unwrap_or_default();
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Vec::new() };
    let of_run = rows.range(first..=last).map(|(_, partitions)| partitions.clone());
    let common = of_run.reduce(|common, own| &common & &own).unwrap_or_default();
    let inside = |line: &&Line| (first..=last).contains(&&line.row) && common.contains(&line.partition);
    let mut block: Vec<Line> = lines.iter().filter(inside).copied().collect();
    block.sort_by_key(|line| (line.partition, line.row, line.readout));
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::sort::sort;
    use crate::prepare::testing::Scan;
    use crate::prepare::triage::triage;

    fn scan(rows: u16, partitions: u16, acquired: impl Fn(u16, u16) -> bool) -> Scan {
        Scan::volume(4, rows, partitions, acquired)
    }

    fn run(scan: &Scan) -> Result<(Vec<Sorted>, Axes, Log)> {
        let mut log = Log::default();
        let triage = triage(scan, &mut log)?;
        let mut sorted = sort(scan, &triage, &mut log)?;
        let axes = arrange(&mut sorted, &triage, &mut log)?;
        Ok((sorted, axes, log))
    }

    #[test]
    fn the_axis_without_acceleration_is_transformed() {
        let (sorted, axes, _) = run(&scan(16, 6, |ky, _| ky % 2 == 0)).unwrap();
        assert_eq!(axes, Axes { rows: 16, partitions: 6, kept: 0..6, exchanged: false });
        assert_eq!(sorted[0].lines.len(), 48);
        let (sorted, axes, _) = run(&scan(6, 16, |_, kz| kz % 2 == 0 || (6..11).contains(&kz))).unwrap();
        assert_eq!(axes, Axes { rows: 16, partitions: 6, kept: 0..6, exchanged: true });
        assert!(sorted[0].lines.iter().all(|line| line.partition < 6));
        assert!(sorted[0].lines.is_sorted_by_key(|line| (line.partition, line.row)));
    }

    #[test]
    fn slice_oversampling_is_left_out_around_the_centre() {
        let mut scan = scan(8, 10, |_, _| true);
        scan.header.encodings[0].encoded.field_of_view_mm[2] = 50.0;
        scan.header.encodings[0].recon.field_of_view_mm[2] = 30.0;
        assert_eq!(run(&scan).unwrap().1.kept, 2..8);
    }

    #[test]
    fn acceleration_in_both_directions_and_shifted_sampling_are_refused() {
        let error = |acquired: fn(u16, u16) -> bool| run(&scan(16, 16, acquired)).err().unwrap().to_string();
        assert!(error(|ky, kz| ky % 2 == 0 && kz % 3 == 0).contains("R = 2 x 3"));
        let shifted = error(|ky, kz| (ky + kz) % 2 == 0);
        assert!(shifted.contains("CAIPIRINHA"), "{shifted}");
    }

    #[test]
    fn a_small_calibration_block_leaves_the_grid_and_calibrates_apart() {
        let in_block = |ky: u16, kz: u16| (6..11).contains(&ky) && (2..6).contains(&kz);
        let (mut sorted, axes, log) = run(&scan(16, 8, move |ky, kz| ky % 2 == 0 || in_block(ky, kz))).unwrap();
        assert!(log.warnings.iter().any(|warning| warning.contains("all 8 partitions")), "{:?}", log.warnings);
        let lines = &mut sorted[0].lines;
        let calibration = split(lines, &axes, None).unwrap();
        assert!(lines.iter().all(|line| line.row % 2 == 0) && lines.len() == 64);
        // Rows 6 to 10 and partitions 2 to 5.
        assert_eq!(calibration.len(), 20);
        assert!(calibration.iter().all(|line| (6..11).contains(&line.row) && (2..6).contains(&line.partition)));
    }

    #[test]
    fn an_elliptical_scan_keeps_all_its_lines() {
        let inside = |ky: u16, kz: u16| (i32::from(ky) - 8).pow(2) + 4 * (i32::from(kz) - 4).pow(2) <= 64;
        let (mut sorted, axes, _) = run(&scan(17, 9, move |ky, kz| ky % 2 == 0 && inside(ky, kz))).unwrap();
        let before = sorted[0].lines.len();
        assert!(split(&mut sorted[0].lines, &axes, None).unwrap().is_empty());
        assert_eq!(sorted[0].lines.len(), before);
    }
}
