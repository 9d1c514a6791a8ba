//! Calibration lines that are not part of the image: of a separate scan, of a small block of a 3-D scan, or of frames that
//! were acquired in turns.

use std::collections::BTreeMap;

use serde_json::json;

use super::sort::{Key, Line, Reference};
use super::triage::Triage;
use super::volume::{Axes, block};
use super::{Group, Log};
use crate::{Error, Result};

/// Where the calibration lines of a group come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Readouts like those of the image.
    Image,
    /// Readouts of the separate scan.
    Reference,
}

/// Calibration lines of one group, rows counting from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) origin: Origin,
    pub(super) lines: Vec<Line>,
}

impl Apart {
    /// A block of neighbouring rows, cut so that the row at the centre of k-space is at half of them. A block that lies so far to
    /// one side that less than half would be left stays whole: what it is taken for its centre then is not.
    pub(super) fn new(origin: Origin, mut lines: Vec<Line>, centre: usize) -> Self {
        let (first, end) =
            lines.iter().fold((usize::MAX, 0), |(first, end), line| (first.min(line.row), end.max(line.row + 1)));
        let below = centre.saturating_sub(first);
        let above = end.saturating_sub(centre);
        // With n rows, n / 2 lie below the centre and the rest, the centre among them, from it on.
        let balanced = (2 * below + 1).min(2 * above);
        let range = match 2 * balanced >= end.saturating_sub(first) {
            true => centre - balanced / 2..centre - balanced / 2 + balanced,
            false => first..end,
        };
        lines.retain(|line| range.contains(&line.row));
        lines.iter_mut().for_each(|line| line.row -= range.start);
        Self { origin, lines }
    }

    /// Whether the lines are of a separate scan.
    pub(super) fn is_separate(&self) -> bool {
        self.origin == Origin::Reference
    }

    fn rows(&self) -> usize {
        self.lines.iter().map(|line| line.row + 1).max().unwrap_or(0)
    }

    /// The `count` rows around the one at half of them, which comes to lie at half of `count`.
    fn middle(mut self, count: usize) -> Self {
        let rows = self.rows();
        let first = rows / 2 - count.min(rows) / 2;
        self.lines.retain(|line| (first..first + count).contains(&line.row));
        self.lines.iter_mut().for_each(|line| line.row -= first);
        self
    }
}

/// Gives every group calibration lines of its own where some group has too few within its image; the number of lines, or
/// `None` where all have enough.
///
/// # Errors
/// [`Error::Unsupported`] when an accelerated group has no calibration lines at all while others have separate ones.
pub(super) fn assign(
    groups: &mut [Group],
    mut reference: Reference,
    axes: &Axes,
    triage: &Triage<'_>,
    log: &mut Log,
) -> Result<Option<usize>> {
    let accelerated = |group: &Group| group.sampling.acceleration > 1;
    if !groups.iter().any(accelerated) {
        groups.iter_mut().for_each(|group| group.calibration = None);
        return Ok(None);
    }
    let flat = reference.lines.values().flatten().all(|line| line.partition == 0);
    if !reference.lines.is_empty() && (!same_spacing(triage, axes) || axes.partitions == 1 && !flat) {
        log.warn("the separate calibration scan covers another field of view than the image and is left out");
        reference.lines.clear();
    }
    let reference_centre = reference.centre(axes);
    let frames = frames(groups, axes);
    let once = once(groups, axes);
    let mut borrowed = 0usize;
    let mut used = [0usize; 2];
    for group in groups.iter_mut() {
        let embedded = group.sampling.acs_lines;
        let separate = matching(&reference.lines, &group.key).map(|lines| {
            let mut lines: Vec<Line> = lines.iter().map(|line| axes.turn(*line)).collect();
            centre_partitions(&mut lines, axes.partitions);
            Apart::new(Origin::Reference, block(&lines), reference_centre)
        });
        let frames = frames.get(&frame(&group.key)).cloned();
        let best = [separate, group.calibration.take(), frames].into_iter().flatten().max_by_key(Apart::rows);
        group.calibration = best.filter(|apart| accelerated(group) && apart.rows() > embedded);
        if group.calibration.is_none() && lacks_lines(group) {
            group.calibration = once.get(&frame(&group.key)).cloned();
            borrowed += usize::from(group.calibration.is_some());
        }
        if let Some(apart) = &group.calibration {
            used[usize::from(apart.origin == Origin::Reference)] += 1;
        }
    }
    if used == [0, 0] {
        if !reference.lines.is_empty() {
            log.warn("calibration lines of a separate scan are left out: the image has as many of its own");
        }
        return Ok(None);
    }
    if borrowed > 0 {
        log.warn(format!(
            "{} of {} images have too few calibration lines of their own and take those of another phase or repetition \
             of their slice",
            borrowed * axes.depth(),
            groups.len() * axes.depth()
        ));
    }
    let lines = complete(groups, axes.rows / 2)?;
    let source = (used[1] > 0).then_some(triage.reference_source);
    log.step(
        "separate_calibration",
        [
            ("lines", json!(lines)),
            ("of_the_image", json!(used[0])),
            ("of_a_separate_scan", json!(used[1])),
            ("source", json!(source)),
        ],
    );
    Ok(Some(lines))
}

/// Brings the calibration lines of all groups to one number, taking those within the image where there are no others.
fn complete(groups: &mut [Group], centre: usize) -> Result<usize> {
    for group in groups.iter_mut().filter(|group| group.calibration.is_none()) {
        group.calibration = Some(embedded(group, centre));
    }
    let rows = |group: &Group| group.calibration.as_ref().map_or(0, Apart::rows);
    let lines = groups.iter().map(rows).min().unwrap_or(0);
    if lines == 0 {
        return Err(Error::unsupported(
            "a scan of which some slices have calibration lines and others have none",
            "acquire calibration lines for every slice",
        ));
    }
    for group in groups {
        group.calibration = group.calibration.take().map(|apart| apart.middle(lines));
    }
    Ok(lines)
}

/// Whether separate calibration lines are as far apart in k-space as those of the image.
fn same_spacing(triage: &Triage<'_>, axes: &Axes) -> bool {
    let same = |axis| triage.reference_encoding.encoded.has_spacing_of(&triage.encoding.encoded, axis);
    same(axes.row_axis()) && (axes.partitions == 1 || same(axes.slice_axis()))
}

/// The separate lines of a group: of its own counters, else of its slice and contrast, else of its slice, since calibration is
/// often acquired once for all repetitions.
fn matching<'a>(reference: &'a BTreeMap<Key, Vec<Line>>, key: &Key) -> Option<&'a Vec<Line>> {
    let alike: [fn(&Key, &Key) -> bool; 3] =
        [|a, b| a == b, |a, b| (a.slice, a.contrast) == (b.slice, b.contrast), |a, b| a.slice == b.slice];
    alike.iter().find_map(|alike| reference.iter().find(|(other, _)| alike(other, key)).map(|(_, lines)| lines))
}

/// Moves partitions to the middle of the axis; where they lie only turns the phase of all coils alike.
fn centre_partitions(lines: &mut Vec<Line>, partitions: usize) {
    let most = lines.iter().map(|line| line.partition + 1).max().unwrap_or(0);
    let (cut, shift) = (most.saturating_sub(partitions) / 2, partitions.saturating_sub(most) / 2);
    lines.retain(|line| (cut..cut + partitions).contains(&line.partition));
    lines.iter_mut().for_each(|line| line.partition = line.partition - cut + shift);
}

/// What frames of one image share.
type Still = (u16, u16, u16);

const fn frame(key: &Key) -> Still {
    (key.slice, key.contrast, key.set)
}

/// Blocks of rows that frames give together which were acquired in turns, each on a grid with another offset (TGRAPPA, Breuer et
/// al., MRM 53:981, 2005): the first frame of each offset. All of them would tell more, and cost more with every frame.
fn frames(groups: &[Group], axes: &Axes) -> BTreeMap<Still, Apart> {
    let mut together = BTreeMap::<Still, BTreeMap<usize, &Group>>::new();
    for group in groups.iter().filter(|group| group.sampling.acceleration > 1) {
        together.entry(frame(&group.key)).or_default().entry(group.sampling.offset).or_insert(group);
    }
    let merged = |frames: BTreeMap<usize, &Group>| {
        let lines: Vec<Line> = frames.values().flat_map(|group| &group.lines).copied().collect();
        Apart::new(Origin::Image, block(&lines), axes.rows / 2)
    };
    together.into_iter().filter(|(_, frames)| frames.len() > 1).map(|(key, frames)| (key, merged(frames))).collect()
}

/// Whether an accelerated group cannot be calibrated with the lines within its image.
const fn lacks_lines(group: &Group) -> bool {
    group.sampling.acceleration > 1 && group.sampling.acs_lines <= group.sampling.acceleration
}

/// The calibration lines within an image of each slice, contrast and set, for frames that lack them: dynamic scans often
/// acquire them in their first frame alone.
fn once(groups: &[Group], axes: &Axes) -> BTreeMap<Still, Apart> {
    let mut best = BTreeMap::<Still, &Group>::new();
    for group in groups.iter().filter(|group| group.sampling.acceleration > 1 && !lacks_lines(group)) {
        let most = best.entry(frame(&group.key)).or_insert(group);
        if group.sampling.acs_lines > most.sampling.acs_lines {
            *most = group;
        }
    }
    let lacking = groups.iter().filter(|group| lacks_lines(group)).map(|group| frame(&group.key));
    let of = |still: Still| Some((still, embedded(best.get(&still)?, axes.rows / 2)));
    lacking.filter_map(of).collect()
}

/// The calibration lines within the image of a group.
fn embedded(group: &Group, centre: usize) -> Apart {
    let sampling = group.sampling;
    let range = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
    let lines: Vec<Line> = group.lines.iter().filter(|line| range.contains(&line.row)).copied().collect();
    Apart::new(Origin::Image, block(&lines), centre)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ReadoutHead;
    use crate::prepare::sampling;
    use crate::prepare::testing::Scan;
    use crate::prepare::triage::triage;

    const ROWS: usize = 32;

    fn axes() -> Axes {
        Axes { rows: ROWS, partitions: 1, kept: 0..1, exchanged: false }
    }

    fn line(readout: usize, row: usize) -> Line {
        Line { readout, row, partition: 0, calibrates: false }
    }

    fn group(slice: u16, repetition: u16, acquired: impl Fn(usize) -> bool) -> Group {
        let mask: Vec<bool> = (0..ROWS).map(acquired).collect();
        let rows = (0..ROWS).filter(|row| mask[*row]);
        Group {
            key: Key { slice, contrast: 0, phase: 0, repetition, set: 0 },
            head: ReadoutHead::default(),
            lines: rows.map(|row| line(100 * usize::from(repetition) + row, row)).collect(),
            calibration: None,
            sampling: sampling::find(&mask, None).unwrap(),
        }
    }

    fn run(groups: &mut [Group], reference: &[(u16, usize)]) -> (Result<Option<usize>>, Log) {
        let scan = Scan::new(1, 8, ROWS as u16);
        let mut log = Log::default();
        let triage = triage(&scan, &mut log).unwrap();
        let of = |(slice, rows): &(u16, usize)| {
            let key = Key { slice: *slice, contrast: 0, phase: 0, repetition: 0, set: 0 };
            (key, (0..*rows).map(|row| line(1000 + row, row)).collect())
        };
        let reference = Reference { lines: reference.iter().map(of).collect(), stated: [None; 2] };
        let found = assign(groups, reference, &axes(), &triage, &mut log);
        (found, log)
    }

    #[test]
    fn separate_lines_calibrate_every_repetition_of_their_slice() {
        let mut groups =
            [group(0, 0, |row| row % 3 == 0), group(0, 1, |row| row % 3 == 0), group(1, 0, |row| row % 3 == 0)];
        let (found, log) = run(&mut groups, &[(0, 12), (1, 9)]);
        // Row 6 of twelve is the centre of k-space, so that nine rows have two after it.
        assert_eq!(found.unwrap(), Some(6));
        for group in &groups {
            let apart = group.calibration.as_ref().unwrap();
            assert_eq!((apart.origin, apart.rows(), apart.lines.len()), (Origin::Reference, 6, 6));
            assert_eq!(apart.lines[0].readout, 1003);
        }
        assert_eq!(log.steps.last().unwrap().parameters["of_a_separate_scan"], 3);
    }

    #[test]
    fn lines_of_the_image_are_preferred_where_they_are_as_many() {
        let embedded = |row: usize| row.is_multiple_of(3) || (10..22).contains(&row);
        let mut groups = [group(0, 0, embedded)];
        let (found, log) = run(&mut groups, &[(0, 12)]);
        assert_eq!((found.unwrap(), groups[0].calibration.is_none()), (None, true));
        assert!(log.warnings.iter().any(|warning| warning.contains("left out")));

        // A slice that the separate scan lacks gives its own.
        let mut groups = [group(0, 0, |row| row % 3 == 0), group(1, 0, embedded)];
        // Rows 9 to 21 with the centre at row 16: 10 to 21 of them lie evenly around it.
        assert_eq!(run(&mut groups, &[(0, 16)]).0.unwrap(), Some(12));
        assert_eq!(groups[1].calibration.as_ref().unwrap().origin, Origin::Image);
        let mut groups = [group(0, 0, |row| row % 3 == 0), group(1, 0, |row| row % 3 == 0)];
        assert!(run(&mut groups, &[(0, 16)]).0.is_err());
    }

    #[test]
    fn frames_on_shifted_grids_calibrate_each_other() {
        let mut groups = [group(0, 0, |row| row % 2 == 0), group(0, 1, |row| row % 2 == 1)];
        assert_eq!(run(&mut groups, &[]).0.unwrap(), Some(ROWS));
        let apart = groups[0].calibration.as_ref().unwrap();
        assert_eq!((apart.origin, apart.lines.len()), (Origin::Image, ROWS));
        assert_eq!(apart.lines[3].readout, 103);
        let mut still = [group(0, 0, |row| row % 2 == 0), group(0, 1, |row| row % 2 == 0)];
        assert_eq!(run(&mut still, &[]).0.unwrap(), None);
    }

    #[test]
    fn lines_of_the_first_frame_calibrate_those_without_any() {
        let first = |row: usize| row.is_multiple_of(3) || (10..22).contains(&row);
        let mut groups = [group(0, 0, first), group(0, 1, |row| row % 3 == 0), group(0, 2, |row| row % 3 == 0)];
        let (found, log) = run(&mut groups, &[]);
        // Rows 9 to 21: 10 to 21 lie evenly around row 16.
        assert_eq!(found.unwrap(), Some(12));
        for group in &groups {
            let apart = group.calibration.as_ref().unwrap();
            assert_eq!((apart.origin, apart.lines.len(), apart.lines[0].readout), (Origin::Image, 12, 10));
        }
        assert!(log.warnings[0].starts_with("2 of 3 images have too few calibration lines"), "{:?}", log.warnings);
        // Another slice has other coils, and as few lines as before.
        let mut groups = [group(0, 0, first), group(1, 0, |row| row % 3 == 0)];
        assert_eq!(run(&mut groups, &[]).0.unwrap(), None);
        // A separate scan comes first.
        let mut groups = [group(0, 0, first), group(0, 1, |row| row % 3 == 0)];
        run(&mut groups, &[(0, 12)]).0.unwrap();
        assert_eq!(groups[1].calibration.as_ref().unwrap().origin, Origin::Reference);
    }

    #[test]
    fn the_centre_of_k_space_is_at_half_of_the_rows_whatever_the_block() {
        for (rows, centre) in [(3..12, 7), (0..9, 6), (5..6, 5), (2..20, 3), (4..21, 12)] {
            let lines: Vec<Line> = rows.clone().map(|row| line(row, row)).collect();
            let apart = Apart::new(Origin::Image, lines, centre);
            let whole = apart.rows() == rows.len();
            for count in 1..=apart.rows() {
                let middle = apart.clone().middle(count);
                assert_eq!(middle.rows(), count);
                let at_half = middle.lines.iter().find(|line| line.row == count / 2).unwrap();
                assert!(whole || at_half.readout == centre, "{rows:?} {count}");
            }
        }
        // Far to one side: nothing is cut.
        assert_eq!(Apart::new(Origin::Image, (2..20).map(|row| line(row, row)).collect(), 3).rows(), 18);
        assert_eq!(Apart::new(Origin::Image, (3..12).map(|row| line(row, row)).collect(), 7).rows(), 9);
    }

    #[test]
    fn partitions_of_a_smaller_scan_move_to_the_middle() {
        let at = |partition| Line { partition, ..line(0, 0) };
        let mut lines = vec![at(0), at(1), at(3)];
        centre_partitions(&mut lines, 10);
        assert_eq!(lines.iter().map(|line| line.partition).collect::<Vec<_>>(), [3, 4, 6]);
        centre_partitions(&mut lines, 3);
        assert_eq!(
            lines.iter().map(|line| line.partition).collect::<Vec<_>>(),
            [1, 2],
            "more than fit lose their ends"
        );
    }
}
