//! Calibration lines that are not part of the image: of a separate scan, of a small block of a 3-D scan, or of frames that
//! were acquired in turns.

use std::collections::BTreeMap;

use contract::prepared::Step;
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
        Step::SEPARATE_CALIBRATION,
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
mod tests;
