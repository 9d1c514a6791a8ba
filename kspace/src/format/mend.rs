//! Where a header is incomplete or contradicts the readouts, the readouts are followed, and a warning says so.
//!
//! Converters leave matrices, fields of view and limits out, or write those of the protocol where the scanner did
//! something else. The counters and lengths of the readouts are never wrong.

use std::collections::BTreeMap;

use super::header::{Encoding, Header, Limit, Limits, Space, Trajectory};
use super::{Flags, ReadoutHead};

/// Fields of view closer than this, relatively, are the same.
const SAME_FIELD_OF_VIEW: f64 = 0.01;
/// Thickness of a slice over the distance to the next one: beyond the first value it is that of several slices, unless their share
/// in it falls below the second.
const THICKEST: f64 = 1.5;
const THINNEST: f64 = 0.5;

/// Completes `header` from `heads`. Readouts that belong to an encoding which the header lacks come to the first one,
/// where that has none of its own.
pub(super) fn mend(header: &mut Header, heads: &mut [ReadoutHead], warnings: &mut Vec<String>) {
    if header.encodings.is_empty() {
        warnings.push("the header has no encoding: a Cartesian one is derived from the readouts".to_owned());
        header.encodings.push(Encoding::default());
    }
    adopt(header.encodings.len(), heads, warnings);
    let several = header.encodings.len() > 1;
    for (index, encoding) in header.encodings.iter_mut().enumerate() {
        let of = if several { format!(" of encoding {}", index + 1) } else { String::new() };
        // Other trajectories are refused later on, by their names.
        if matches!(encoding.trajectory, Trajectory::Other(_)) {
            continue;
        }
        warnings.extend(flatten(encoding, index, heads, &of));
        let Some(seen) = Seen::of(heads, index) else { continue };
        let mut say = |text: String| warnings.push(text);
        mend_readout(encoding, &seen, &of, &mut say);
        for axis in [1, 2] {
            mend_steps(encoding, axis, &seen, &of, &mut say);
        }
        mend_field_of_view(encoding, &of, &mut say);
    }
    let found = heads.iter().find(|head| head.is_imaging()).map(|head| u32::from(head.channels));
    if let (Some(stated), Some(found)) = (header.system.channels, found.filter(|found| *found > 0))
        && stated != found
    {
        warnings.push(format!("the header states {stated} channels, the readouts have {found}: these are used"));
        header.system.channels = Some(found);
    }
}

/// Gives readouts of an encoding that the header lacks to its first one.
fn adopt(encodings: usize, heads: &mut [ReadoutHead], warnings: &mut Vec<String>) {
    let mut imaging = heads.iter().filter(|head| head.is_imaging()).map(|head| usize::from(head.encoding)).peekable();
    let Some(first) = imaging.peek().copied() else { return };
    if imaging.any(|encoding| encoding < encodings) {
        return;
    }
    heads.iter_mut().filter(|head| usize::from(head.encoding) == first).for_each(|head| head.encoding = 0);
    warnings.push(format!(
        "readouts refer to encoding {} of a header that has {encodings}: the first one is taken for them",
        first + 1
    ));
}

/// What the readouts of one encoding say.
struct Seen<'a> {
    /// Lines of the image, or of the calibration where there are no others.
    lines: Vec<&'a ReadoutHead>,
    /// Smallest and largest step 1 and step 2.
    steps: [(u16, u16); 2],
}

impl<'a> Seen<'a> {
    fn of(heads: &'a [ReadoutHead], encoding: usize) -> Option<Self> {
        let of = |kind: fn(&ReadoutHead) -> bool| -> Vec<&ReadoutHead> {
            heads.iter().filter(|head| usize::from(head.encoding) == encoding && kind(head)).collect()
        };
        let mut lines = of(ReadoutHead::is_imaging);
        if lines.is_empty() {
            lines = of(ReadoutHead::is_calibration);
        }
        let range = |step: fn(&ReadoutHead) -> u16| {
            let steps = || lines.iter().map(|head| step(head));
            Some((steps().min()?, steps().max()?))
        };
        let steps = [range(|head| head.counters.step_1)?, range(|head| head.counters.step_2)?];
        Some(Self { lines, steps })
    }

    /// Points of the longest readout, those to discard left out.
    fn points(&self) -> usize {
        self.lines.iter().map(|head| Echo::of(head).points).max().unwrap_or(0)
    }

    /// Points of a readout around whose middle every echo fits.
    fn symmetric(&self) -> usize {
        let width = |head: &&ReadoutHead| {
            let Echo { points, centre } = Echo::of(head);
            centre.map_or(points, |centre| 2 * centre.max(points - centre))
        };
        self.lines.iter().map(width).max().unwrap_or(0)
    }
}

/// Where the centre of k-space lies on a readout.
#[derive(Clone, Copy)]
struct Echo {
    points: usize,
    /// Absent where a writer never filled it in.
    centre: Option<usize>,
}

impl Echo {
    fn of(head: &ReadoutHead) -> Self {
        let [samples, mut pre, mut post, mut centre] =
            [head.samples, head.discard_pre, head.discard_post, head.center_sample].map(usize::from);
        let filled = centre > 0;
        if head.flags.has(Flags::REVERSE) {
            std::mem::swap(&mut pre, &mut post);
            centre = samples.saturating_sub(centre);
        }
        let points = samples.saturating_sub(pre + post);
        Self { points, centre: centre.checked_sub(pre).filter(|centre| filled && *centre <= points) }
    }

    fn fits(self, encoded: usize) -> bool {
        let placed = |centre: usize| centre <= encoded / 2 && self.points - centre <= encoded - encoded / 2;
        self.points == encoded || self.centre.is_some_and(placed)
    }
}

fn mend_readout(encoding: &mut Encoding, seen: &Seen<'_>, of: &str, say: &mut impl FnMut(String)) {
    let stated = encoding.encoded.matrix[0];
    let points = seen.points();
    if points == 0 {
        return;
    }
    // Echoes on the ramps are put on the grid of the header later on.
    if encoding.trajectory == Trajectory::Epi && stated > 0 {
        return;
    }
    let fits = |encoded: usize| seen.lines.iter().all(|head| Echo::of(head).fits(encoded));
    // Writers round the centre in either way.
    let middle = |head: &&ReadoutHead| {
        let Echo { points, centre } = Echo::of(head);
        centre.is_none_or(|centre| centre.abs_diff(points / 2) <= 1)
    };
    let complete = seen.lines.iter().all(middle);
    let found = if complete { points } else { seen.symmetric() };
    if stated == 0 {
        encoding.encoded.matrix[0] = found;
        say(format!("the header has no matrix along the readout{of}: the {found} samples of the readouts are taken"));
        return;
    }
    let ([encoded_fov, recon_fov], recon) =
        ([&encoding.encoded, &encoding.recon].map(|space| space.field_of_view_mm[0]), encoding.recon.matrix[0]);
    if points == recon && points < stated && complete {
        encoding.encoded.matrix[0] = points;
        if recon_fov > 0.0 {
            encoding.encoded.field_of_view_mm[0] = recon_fov;
        }
        say(format!(
            "the header states {stated} samples along the readout{of}, the readouts have {points}, those of the image: readout \
             oversampling was removed already"
        ));
    } else if !fits(stated) {
        encoding.encoded.matrix[0] = found;
        let same = (encoded_fov - recon_fov).abs() <= SAME_FIELD_OF_VIEW * recon_fov;
        let doubled = found == 2 * stated && same && encoded_fov > 0.0;
        if doubled {
            encoding.encoded.field_of_view_mm[0] = 2.0 * encoded_fov;
        }
        let guess = if doubled { ", and twofold readout oversampling is assumed" } else { "" };
        say(format!(
            "the header states {stated} samples along the readout{of}, the readouts need {found}: the readouts are followed{guess}"
        ));
    }
}

/// Takes the partitions from an encoding all of whose lines share one step of partition encoding: a transform along them would
/// spread one slice over all. Some converters write the number of slices there, or that of an unused transform.
fn flatten(encoding: &mut Encoding, index: usize, heads: &mut [ReadoutHead], of: &str) -> Option<String> {
    let own = |head: &ReadoutHead| usize::from(head.encoding) == index && head.is_line();
    let mut lines = heads.iter().filter(|head| own(head));
    let step = lines.next()?.counters.step_2;
    let stated = encoding.encoded.matrix[2];
    if (stated <= 1 && step == 0) || lines.any(|head| head.counters.step_2 != step) {
        return None;
    }
    let thickness = thickness(encoding, heads.iter().filter(|head| own(head)));
    for space in [&mut encoding.encoded, &mut encoding.recon] {
        (space.matrix[2], space.field_of_view_mm[2]) = (1, thickness);
    }
    encoding.limits.step_2 = None;
    heads.iter_mut().filter(|head| own(head)).for_each(|head| head.counters.step_2 = 0);
    Some(format!(
        "the header states {stated} steps of partition encoding{of}, all lines have step {step}: the scan is taken for 2-D, with \
         slices of {thickness:.1} mm"
    ))
}

/// Thickness of the slices of an encoding without partitions, mm: the field of view along them, unless that covers several slices.
fn thickness<'a>(encoding: &Encoding, lines: impl Iterator<Item = &'a ReadoutHead>) -> f64 {
    let [stated, encoded] = [&encoding.recon, &encoding.encoded].map(|space| space.field_of_view_mm[2]);
    let stated = if stated.is_finite() && stated > 0.0 { stated } else { encoded };
    let mut places = BTreeMap::new();
    for head in lines {
        let along = |axis: usize| f64::from(head.position[axis]) * f64::from(head.slice_dir[axis]);
        places.entry(head.counters.slice).or_insert_with(|| (0..3).map(along).sum::<f64>());
    }
    let slices = places.len();
    let mut places: Vec<f64> = places.into_values().collect();
    places.sort_by(f64::total_cmp);
    let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let share = stated / slices as f64;
    // Slices hardly overlap, nor are they much thinner than the distance between them.
    let covers_all = nearest > 0.0 && stated > THICKEST * nearest && share > THINNEST * nearest;
    if covers_all { share } else { stated }
}

/// Matrix and limits along phase (1) or partition (2) encoding.
fn mend_steps(encoding: &mut Encoding, axis: usize, seen: &Seen<'_>, of: &str, say: &mut impl FnMut(String)) {
    let name = ["phase encoding", "partition encoding"][axis - 1];
    let (first, last) = seen.steps[axis - 1];
    let Limits { step_1, step_2, .. } = &mut encoding.limits;
    let limit = if axis == 1 { step_1 } else { step_2 };
    let matrix = &mut encoding.encoded.matrix[axis];
    if *matrix == 0 {
        let stated = limit.map_or(0, |limit| limit.maximum);
        *matrix = usize::from(last.max(stated)) + 1;
        if *matrix > 1 || axis == 1 {
            say(format!("the header has no matrix along {name}{of}: {matrix} steps are taken from the readouts"));
        }
    }
    // One partition needs no limits.
    if axis == 2 && *matrix == 1 && last == 0 {
        return;
    }
    let fits = |matrix: usize, centre: u16| {
        let row = |step: u16| (usize::from(step) + matrix / 2).checked_sub(centre.into()).filter(|row| *row < matrix);
        row(first).is_some() && row(last).is_some()
    };
    let middle = |matrix: usize| u16::try_from(matrix / 2).unwrap_or(u16::MAX);
    let stated = limit.unwrap_or(Limit { minimum: first, maximum: last, center: middle(*matrix) });
    let mut mended = stated;
    if limit.is_none() {
        say(format!(
            "the header has no limits of {name}{of}: step {} is taken as the centre of k-space",
            middle(*matrix)
        ));
    }
    if !fits(*matrix, mended.center) && fits(*matrix, middle(*matrix)) {
        mended.center = middle(*matrix);
        say(format!(
            "with the centre of k-space at step {} of {name}{of}, as the header states, steps {first} to {last} do not fit \
             {matrix} lines: step {} is taken",
            stated.center, mended.center
        ));
    } else if !fits(*matrix, mended.center) {
        let found = usize::from(last) + 1;
        mended.center = middle(found);
        say(format!(
            "the header states {matrix} lines along {name}{of}, the readouts go from step {first} to {last}: {found} lines are \
             taken"
        ));
        *matrix = found;
    }
    if first < stated.minimum || last > stated.maximum {
        mended.minimum = first.min(stated.minimum);
        mended.maximum = last.max(stated.maximum);
        say(format!(
            "the header limits {name}{of} to steps {} to {}, the readouts go from {first} to {last}: the readouts are followed",
            stated.minimum, stated.maximum
        ));
    }
    *limit = Some(mended);
}

/// One field of view gives the other, by the size of the matrices. Where both are missing, preparation says what it assumes.
fn mend_field_of_view(encoding: &mut Encoding, of: &str, say: &mut impl FnMut(String)) {
    let Encoding { encoded, recon, .. } = encoding;
    let sound = |value: f64| value.is_finite() && value > 0.0;
    let scaled = |axis: usize, from: &Space, to: &Space| {
        let ratio = match (from.matrix[axis], to.matrix[axis]) {
            (0, _) | (_, 0) => 1.0,
            (from, to) => to as f64 / from as f64,
        };
        from.field_of_view_mm[axis] * ratio
    };
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        let known = [encoded.field_of_view_mm[axis], recon.field_of_view_mm[axis]].map(sound);
        let missing = match known {
            [false, true] => {
                encoded.field_of_view_mm[axis] = scaled(axis, recon, encoded);
                "encodedSpace"
            }
            [true, false] => {
                recon.field_of_view_mm[axis] = scaled(axis, encoded, recon);
                "reconSpace"
            }
            _ => continue,
        };
        say(format!("the header has no {missing}/fieldOfView_mm/{letter}{of}: it is derived from the other space"));
    }
}

#[cfg(test)]
mod tests;
