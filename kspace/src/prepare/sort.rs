//! Lines to entries and rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

use super::Log;
use super::triage::Triage;
use super::volume::Axes;
use crate::format::header::{Encoding, Limit};
use crate::format::{Counters, Flags, RawScan, ReadoutHead};
use crate::prepared::SAMPLE_BYTES;
use crate::{Error, Result};

/// Cosine of the angle above which slices are not parallel: one degree.
const PARALLEL: f64 = 0.99985;

/// The counters that tell entries apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) slice: u16,
    pub(super) contrast: u16,
    pub(super) phase: u16,
    pub(super) repetition: u16,
    pub(super) set: u16,
}

impl From<&Counters> for Key {
    fn from(counters: &Counters) -> Self {
        let Counters { slice, contrast, phase, repetition, set, .. } = *counters;
        Self { slice, contrast, phase, repetition, set }
    }
}

/// A readout and its place in k-space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) readout: usize,
    /// Along the axis that stays k-space: the first phase direction, unless the axes are exchanged.
    pub(super) row: usize,
    /// Along the axis that is transformed; 0 for a 2-D scan.
    pub(super) partition: usize,
    /// Whether the line is marked as calibration.
    pub(super) calibrates: bool,
}

/// One 2-D or 3-D k-space.
pub(super) struct Sorted {
    pub(super) key: Key,
    /// Head of its first imaging line.
    pub(super) head: ReadoutHead,
    /// By partition and row, repeated places next to each other in the order of the file.
    pub(super) lines: Vec<Line>,
}

impl Sorted {
    /// Brings the lines in their order.
    pub(super) fn arrange(&mut self) {
        self.lines.sort_by_key(place);
    }
}

fn place(line: &Line) -> (usize, usize, usize) {
    (line.partition, line.row, line.readout)
}

/// Where counters of phase encoding lie in the encoded matrix.
struct Places {
    rows: usize,
    partitions: usize,
    centre_row: usize,
    centre_partition: usize,
}

impl Places {
    /// A counter lies at `counter + size / 2 - centre`, where `centre` is the counter at the centre of k-space. (Gadgetron places
    /// lines like this; taking the counter itself misplaces partial Fourier scans.)
    fn of(encoding: &Encoding) -> Self {
        let [_, rows, partitions] = encoding.encoded.matrix.map(|size| size.max(1));
        let centre = |limit: Option<Limit>, size: usize| limit.map_or(size / 2, |limit| usize::from(limit.center));
        // A 2-D scan has one partition, whatever centre the header states.
        let centre_partition = if partitions == 1 { 0 } else { centre(encoding.limits.step_2, partitions) };
        Self { rows, partitions, centre_row: centre(encoding.limits.step_1, rows), centre_partition }
    }

    fn line(&self, readout: usize, head: &ReadoutHead, calibrates: bool) -> Result<Line> {
        let place = |counter: u16, size: usize, centre: usize, name: &str| {
            let counter = usize::from(counter);
            (counter + size / 2).checked_sub(centre).filter(|at| *at < size).ok_or_else(|| {
                let found = format!("{name} step {counter} with the centre of k-space at step {centre}");
                Error::corrupt(format!("readout {readout}"), found, format!("a place in the encoded matrix of {size}"))
            })
        };
        let row = place(head.counters.step_1, self.rows, self.centre_row, "phase encoding")?;
        let partition = place(head.counters.step_2, self.partitions, self.centre_partition, "partition encoding")?;
        Ok(Line { readout, row, partition, calibrates })
    }
}

/// Sorts imaging and calibration lines. A line that is only for calibration fills a place that has no imaging line.
/// Entries are ordered by the place of their slice along the slice direction, since scanners number
/// slices in the order they excite them, then by contrast, phase, repetition and set.
///
/// # Errors
/// [`Error::Corrupt`] for a line outside the matrix, [`Error::Truncated`] when the end of the measurement is missing.
pub(super) fn sort(raw: &dyn RawScan, triage: &Triage<'_>, log: &mut Log) -> Result<Vec<Sorted>> {
    let places = Places::of(triage.encoding);
    let mut entries = BTreeMap::<Key, Sorted>::new();
    for index in &triage.imaging {
        let Some(head) = raw.heads().get(*index) else { continue };
        let line = places.line(*index, head, head.flags.has(Flags::CALIBRATION_AND_IMAGING))?;
        let key = Key::from(&head.counters);
        let entry = entries.entry(key).or_insert_with(|| Sorted { key, head: *head, lines: Vec::new() });
        entry.lines.push(line);
    }
    check_complete(raw, &mut entries, log)?;

    let at = |line: &Line| (line.partition, line.row);
    let imaged: HashMap<Key, BTreeSet<(usize, usize)>> =
        entries.iter().map(|(key, entry)| (*key, entry.lines.iter().map(at).collect())).collect();
    let (mut lost, mut doubled) = (0usize, 0usize);
    for index in &triage.calibration {
        let Some(head) = raw.heads().get(*index) else { continue };
        let line = places.line(*index, head, true)?;
        let key = Key::from(&head.counters);
        match entries.get_mut(&key) {
            None => lost += 1,
            Some(_) if imaged.get(&key).is_some_and(|taken| taken.contains(&at(&line))) => doubled += 1,
            Some(entry) => entry.lines.push(line),
        }
    }
    if lost > 0 {
        log.warn(format!("{lost} calibration lines belong to no image and are left out"));
    }
    if doubled > 0 {
        log.warn(format!("{doubled} calibration lines repeat lines of the image and are left out"));
    }
    let mut sorted: Vec<Sorted> = entries.into_values().collect();
    sorted.iter_mut().for_each(Sorted::arrange);
    order_slices(&mut sorted, log);
    compare_with_limits(&sorted, triage, log);
    log.step(
        "sort",
        [
            ("entries", json!(sorted.len())),
            ("rows", json!(places.rows)),
            ("partitions", json!(places.partitions)),
            ("centre_step", json!(places.centre_row)),
            ("calibration_lines_not_used", json!(lost + doubled)),
        ],
    );
    Ok(sorted)
}

/// Lines of a separate calibration scan. Their counters may begin anywhere, so rows and partitions count from the smallest one.
pub(super) struct Reference {
    pub(super) lines: BTreeMap<Key, Vec<Line>>,
    /// Row and partition that the header of the calibration scan states to be at the centre of k-space.
    pub(super) stated: [Option<usize>; 2],
}

impl Reference {
    /// Sorts the calibration lines of a scan.
    pub(super) fn sort(raw: &dyn RawScan, triage: &Triage<'_>) -> Self {
        let heads = || triage.reference.iter().filter_map(|index| Some((*index, raw.heads().get(*index)?)));
        let least = |counter: fn(&Counters) -> u16| heads().map(|(_, head)| counter(&head.counters)).min().unwrap_or(0);
        let (row, partition) = (least(|counters| counters.step_1), least(|counters| counters.step_2));
        let mut lines = BTreeMap::<Key, Vec<Line>>::new();
        for (readout, head) in heads() {
            let line = Line {
                readout,
                row: usize::from(head.counters.step_1 - row),
                partition: usize::from(head.counters.step_2 - partition),
                calibrates: true,
            };
            lines.entry(Key::from(&head.counters)).or_default().push(line);
        }
        // The limits of the image say nothing of lines that share its encoding.
        let own = !std::ptr::eq(triage.encoding, triage.reference_encoding);
        let limits = &triage.reference_encoding.limits;
        let stated = [(limits.step_1, row), (limits.step_2, partition)].map(|(limit, least)| {
            limit.filter(|_| own).and_then(|limit| limit.center.checked_sub(least)).map(usize::from)
        });
        Self { lines, stated }
    }

    /// Row at the centre of k-space, in the order of the axes: as the header states it, else the middle of the rows.
    pub(super) fn centre(&self, axes: &Axes) -> usize {
        let rows = self.lines.values().flatten().map(|line| axes.turn(*line).row + 1).max().unwrap_or(0);
        let stated = self.stated[usize::from(axes.exchanged)];
        stated.filter(|centre| (1..rows).contains(centre)).unwrap_or(rows / 2)
    }
}

/// Compares entries of the same contrast and set, which are acquired alike. In a measurement that was cut or stopped the short ones
/// are the beginning of a complete one, line by line. Of a series that was stopped, complete frames are kept.
fn check_complete(raw: &dyn RawScan, entries: &mut BTreeMap<Key, Sorted>, log: &mut Log) -> Result<()> {
    let ended = raw.has_ended();
    let mut fullest = HashMap::<(u16, u16), &Sorted>::new();
    for entry in entries.values() {
        let best = fullest.entry((entry.key.contrast, entry.key.set)).or_insert(entry);
        if entry.lines.len() > best.lines.len() {
            *best = entry;
        }
    }
    let (mut short, mut cut, mut found, mut expected) = (0usize, true, 0usize, 0usize);
    let mut unfinished = BTreeSet::new();
    for entry in entries.values() {
        let Some(full) = fullest.get(&(entry.key.contrast, entry.key.set)) else { continue };
        let beginning = entry.lines.iter().zip(&full.lines).all(|(a, b)| (a.row, a.partition) == (b.row, b.partition));
        found += entry.lines.len();
        expected += full.lines.len();
        if entry.lines.len() < full.lines.len() {
            short += 1;
            cut &= beginning;
            // Fewer averages are no hole.
            if places(entry) < places(full) {
                unfinished.insert(frame(&entry.key));
            }
        }
    }
    if short == 0 {
        return Ok(());
    }
    if cut && ended && leave_out(entries, &unfinished, log) {
        return Ok(());
    }
    if cut && !ended {
        let head = entries.values().next().map(|entry| entry.head).unwrap_or_default();
        let line = u64::from(head.samples) * u64::from(head.channels) * SAMPLE_BYTES;
        return Err(Error::Truncated {
            what: format!("measurement with {short} of {} slices incomplete", entries.len()),
            found: found as u64 * line,
            expected: expected as u64 * line,
        });
    }
    log.warn(format!("{short} of {} entries have fewer lines than the others", entries.len()));
    Ok(())
}

/// Places of k-space that an entry holds.
fn places(entry: &Sorted) -> usize {
    entry.lines.iter().map(|line| (line.row, line.partition)).collect::<BTreeSet<_>>().len()
}

/// What slices, contrasts and sets of one moment share: phase and repetition.
const fn frame(key: &Key) -> (u16, u16) {
    (key.repetition, key.phase)
}

/// Leaves the frames of a series out in which a measurement was stopped, which are those that were acquired last; `false` where there
/// are none, or no others.
fn leave_out(entries: &mut BTreeMap<Key, Sorted>, frames: &BTreeSet<(u16, u16)>, log: &mut Log) -> bool {
    let (stopped, whole): (Vec<&Sorted>, Vec<&Sorted>) =
        entries.values().partition(|entry| frames.contains(&frame(&entry.key)));
    let last = |entries: &[&Sorted]| entries.iter().flat_map(|entry| &entry.lines).map(|line| line.readout).max();
    if stopped.is_empty() || whole.is_empty() || last(&stopped) < last(&whole) {
        return false;
    }
    let complete = whole.iter().map(|entry| frame(&entry.key)).collect::<BTreeSet<_>>().len();
    log.warn(format!(
        "the measurement was stopped: {} of {} frames are incomplete and left out",
        frames.len(),
        frames.len() + complete
    ));
    entries.retain(|key, _| !frames.contains(&frame(key)));
    true
}

fn order_slices(sorted: &mut [Sorted], log: &mut Log) {
    let vector = |values: [f32; 3]| values.map(f64::from);
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let Some(axis) = sorted.first().map(|entry| vector(entry.head.slice_dir)) else { return };
    let mut place = BTreeMap::<u16, f64>::new();
    let mut parallel = true;
    for entry in sorted.iter() {
        let direction = vector(entry.head.slice_dir);
        parallel &= dot(axis, direction) >= PARALLEL * dot(axis, axis).max(dot(direction, direction));
        place.entry(entry.key.slice).or_insert_with(|| dot(axis, vector(entry.head.position)));
    }
    if !parallel {
        log.warn("slices are not parallel: they are kept in the order of their counter");
    }
    if !parallel || place.values().any(|place| !place.is_finite()) {
        return;
    }
    let place = |key: &Key| place.get(&key.slice).copied().unwrap_or(0.0);
    sorted.sort_by(|a, b| place(&a.key).total_cmp(&place(&b.key)).then(a.key.cmp(&b.key)));
}

fn compare_with_limits(sorted: &[Sorted], triage: &Triage<'_>, log: &mut Log) {
    let limits = &triage.encoding.limits;
    type Counter = fn(&Key) -> u16;
    let kinds: [(&str, Option<_>, Counter); 5] = [
        ("slices", limits.slice, |key| key.slice),
        ("contrasts", limits.contrast, |key| key.contrast),
        ("phases", limits.phase, |key| key.phase),
        ("repetitions", limits.repetition, |key| key.repetition),
        ("sets", limits.set, |key| key.set),
    ];
    for (name, limit, counter) in kinds {
        let found = sorted.iter().map(|entry| counter(&entry.key)).collect::<BTreeSet<_>>().len();
        let stated = limit.map(|limit| usize::from(limit.maximum.saturating_sub(limit.minimum)) + 1);
        if let Some(stated) = stated.filter(|stated| *stated > found) {
            log.warn(format!("the header states {stated} {name}, {found} were found"));
        }
    }
}

#[cfg(test)]
mod tests;
