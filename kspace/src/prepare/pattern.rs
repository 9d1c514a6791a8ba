//! Where k-space was sampled, place by place, for pictures and for people.

use std::collections::HashMap;

use ndarray::Array2;

use super::calibration::{Apart, Origin};
use super::sort::Line;
use super::{Group, Plan};

/// What a place of k-space holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Nothing: to be filled, or never to be measured.
    Missing,
    /// A line of the image.
    Image,
    /// A line that calibrates, whether or not it is part of the image too.
    Calibration,
}

/// One way in which k-spaces of a scan were sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// `[ky, kz]`; one place along kz for a 2-D scan. Of a separate calibration scan the lines only, without what is around them.
    pub places: Array2<Place>,
    /// Whether this is a calibration scan of its own.
    pub separate: bool,
    /// K-spaces sampled like this.
    pub count: usize,
}

impl Plan {
    /// Whether the acceleration is along kz. The images are slices along the first phase direction then.
    #[must_use]
    pub const fn accelerates_kz(&self) -> bool {
        self.chain.axes.exchanged
    }

    /// The distinct samplings in the order of their first entry, and those of separate calibration scans after them.
    #[must_use]
    pub fn patterns(&self) -> Vec<Pattern> {
        let groups = &self.chain.groups;
        // A block that is made of several frames is not acquired in any of them.
        let owners: HashMap<usize, usize> = match groups.iter().any(|group| group.calibration.is_some()) {
            true => groups.iter().enumerate().flat_map(|(at, group)| readouts(group).map(move |it| (it, at))).collect(),
            false => HashMap::new(),
        };
        let images = groups
            .iter()
            .enumerate()
            .map(|(at, group)| self.image(group, |readout| owners.get(&readout).is_none_or(|owner| *owner == at)));
        let separate = groups.iter().filter_map(|group| group.calibration.as_ref().filter(|apart| apart.is_separate()));
        let mut patterns = self.distinct(images, false);
        patterns.extend(self.distinct(separate.map(|apart| block(&apart.lines)), true));
        patterns
    }

    /// A k-space as `[row, partition]`. `own` tells the readouts of this k-space from those of others.
    fn image(&self, group: &Group, own: impl Fn(usize) -> bool) -> Array2<Place> {
        let (axes, sampling) = (&self.chain.axes, group.sampling);
        let mut places = Array2::from_elem((axes.rows, axes.partitions), Place::Missing);
        let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
        for line in &group.lines {
            let calibrates = line.calibrates || sampling.acceleration > 1 && block.contains(&line.row);
            let place = if calibrates { Place::Calibration } else { Place::Image };
            set(&mut places, (line.row, line.partition), place);
        }
        if let Some(Apart { origin: Origin::Image, lines }) = &group.calibration
            && lines.iter().all(|line| own(line.readout))
        {
            // Rows of the block count from its first, which a line that is part of the image too tells.
            let rows: HashMap<usize, usize> = group.lines.iter().map(|line| (line.readout, line.row)).collect();
            let first = lines.iter().find_map(|line| rows.get(&line.readout)?.checked_sub(line.row));
            for line in lines {
                if let Some(first) = first {
                    set(&mut places, (first + line.row, line.partition), Place::Calibration);
                }
            }
        }
        places
    }

    /// Each of these `[row, partition]` once, as `[ky, kz]`.
    fn distinct(&self, all: impl Iterator<Item = Array2<Place>>, separate: bool) -> Vec<Pattern> {
        let mut known = HashMap::<Array2<Place>, usize>::new();
        let mut patterns = Vec::<Pattern>::new();
        for places in all {
            if let Some(pattern) = known.get(&places).and_then(|at| patterns.get_mut(*at)) {
                pattern.count += 1;
                continue;
            }
            let turned = if self.chain.axes.exchanged { places.t().to_owned() } else { places.clone() };
            known.insert(places, patterns.len());
            patterns.push(Pattern { places: turned, separate, count: 1 });
        }
        patterns
    }
}

fn readouts(group: &Group) -> impl Iterator<Item = usize> {
    group.lines.iter().map(|line| line.readout)
}

/// A separate calibration block, its partitions next to each other.
fn block(lines: &[Line]) -> Array2<Place> {
    let mut partitions: Vec<usize> = lines.iter().map(|line| line.partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let rows = lines.iter().map(|line| line.row + 1).max().unwrap_or(0);
    let mut places = Array2::from_elem((rows, partitions.len()), Place::Missing);
    for line in lines {
        let at = partitions.binary_search(&line.partition).unwrap_or_default();
        set(&mut places, (line.row, at), Place::Calibration);
    }
    places
}

fn set(places: &mut Array2<Place>, at: (usize, usize), place: Place) {
    if let Some(value) = places.get_mut(at) {
        *value = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Flags;
    use crate::prepare::testing::Scan;
    use crate::prepare::{Options, plan};

    fn scan(rows: u16, partitions: u16, acquired: impl Fn(u16, u16) -> bool) -> Scan {
        Scan::volume(8, rows, partitions, acquired)
    }

    fn patterns(scan: &Scan) -> Vec<Pattern> {
        plan(scan, &Options::default()).unwrap().patterns()
    }

    #[test]
    fn lines_of_the_grid_and_of_the_block_are_told_apart() {
        let found = patterns(&scan(16, 1, |ky, _| ky % 4 == 0 || (6..11).contains(&ky)));
        assert_eq!((found.len(), found[0].count, found[0].separate), (1, 1, false));
        let expected = |ky: usize| match ky {
            6..=10 => Place::Calibration,
            _ if ky.is_multiple_of(4) => Place::Image,
            _ => Place::Missing,
        };
        assert_eq!(found[0].places, Array2::from_shape_fn((16, 1), |(ky, _)| expected(ky)));
    }

    #[test]
    fn a_small_block_lies_where_it_was_acquired_whichever_axis_is_accelerated() {
        let in_block = |a: u16, b: u16| (5..12).contains(&a) && (2..6).contains(&b);
        let expected = |a: usize, b: usize| match (a, b) {
            // With the lines of the grid that follow on the block.
            (4..13, 2..6) => Place::Calibration,
            _ if a.is_multiple_of(4) => Place::Image,
            _ => Place::Missing,
        };
        let along_y = patterns(&scan(16, 8, move |ky, kz| ky % 4 == 0 || in_block(ky, kz)));
        assert_eq!(along_y[0].places, Array2::from_shape_fn((16, 8), |(ky, kz)| expected(ky, kz)));
        let along_z = scan(8, 16, move |ky, kz| kz % 4 == 0 || in_block(kz, ky));
        assert_eq!(patterns(&along_z)[0].places, Array2::from_shape_fn((8, 16), |(ky, kz)| expected(kz, ky)));
        assert!(plan(&along_z, &Options::default()).unwrap().accelerates_kz());
    }

    #[test]
    fn frames_in_turns_have_a_pattern_each_and_a_separate_scan_has_its_own() {
        let mut turns = scan(16, 1, |ky, _| ky % 2 == 0);
        for repetition in 1..4 {
            for ky in (0..16).filter(|ky| ky % 2 == repetition % 2) {
                turns.push(1, 8, ky);
                turns.heads.last_mut().unwrap().counters.repetition = repetition;
            }
        }
        let found = patterns(&turns);
        assert_eq!(found.iter().map(|pattern| pattern.count).collect::<Vec<_>>(), [2, 2]);
        for (offset, pattern) in found.iter().enumerate() {
            assert!(
                pattern.places.indexed_iter().all(|((ky, _), place)| (*place == Place::Missing) == (ky % 2 != offset))
            );
        }

        let mut own = scan(16, 1, |ky, _| ky % 2 == 0);
        own.header.encodings[0].calibration_mode = Some("separate".to_owned());
        for ky in 20..29 {
            own.push(1, 8, ky);
            own.heads.last_mut().unwrap().flags = Flags::default().with(Flags::CALIBRATION);
        }
        let found = patterns(&own);
        assert_eq!((found.len(), found[1].separate), (2, true));
        assert_eq!(found[1].places, Array2::from_elem((9, 1), Place::Calibration));
    }
}
