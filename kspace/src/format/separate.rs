//! Whether calibration lines are a scan of their own, told by the places of k-space that they share with lines of the image.
//!
//! A line that calibrates and belongs to the image carries the flag of both. Where lines for calibration alone lie on places
//! that the image holds too, these places were acquired twice: by two scans, whose contrast and phase differ.

use std::collections::{HashMap, HashSet};

use super::{Counters, ReadoutHead};

/// The counters of one k-space, and the encoding.
type Frame = [u16; 6];
/// Step 1 and step 2.
type Place = (u16, u16);

const fn frame(head: &ReadoutHead) -> Frame {
    let Counters { slice, contrast, phase, repetition, set, .. } = head.counters;
    [head.encoding, slice, contrast, phase, repetition, set]
}

const fn place(head: &ReadoutHead) -> Place {
    (head.counters.step_1, head.counters.step_2)
}

/// The calibration lines of one k-space, and the lines of its image among them.
struct Block {
    calibration: HashSet<Place>,
    /// Smallest and largest step of each direction.
    range: [(u16, u16); 2],
    image: HashSet<Place>,
}

impl Block {
    fn new() -> Self {
        Self { calibration: HashSet::new(), range: [(u16::MAX, 0); 2], image: HashSet::new() }
    }

    fn calibrate(&mut self, place: Place) {
        self.calibration.insert(place);
        for ((least, most), step) in self.range.iter_mut().zip([place.0, place.1]) {
            (*least, *most) = ((*least).min(step), (*most).max(step));
        }
    }

    fn surrounds(&self, place: Place) -> bool {
        self.range.iter().zip([place.0, place.1]).all(|((least, most), step)| (*least..=*most).contains(&step))
    }
}

/// Whether the lines for calibration alone among `heads` are a scan of their own: they repeat most of the lines of the image
/// that lie between them, in the same slice, contrast, phase, repetition and set.
pub(crate) fn is_separate(heads: &[ReadoutHead]) -> bool {
    let lines = || heads.iter().filter(|head| head.is_line());
    let mut blocks = HashMap::<Frame, Block>::new();
    for head in lines().filter(|head| head.is_calibration()) {
        blocks.entry(frame(head)).or_insert_with(Block::new).calibrate(place(head));
    }
    if blocks.is_empty() {
        return false;
    }
    for head in lines().filter(|head| !head.is_calibration()) {
        if let Some(block) = blocks.get_mut(&frame(head)).filter(|block| block.surrounds(place(head))) {
            block.image.insert(place(head));
        }
    }
    let sum = |count: fn(&Block) -> usize| blocks.values().map(count).sum::<usize>();
    let doubled = sum(|block| block.image.intersection(&block.calibration).count());
    // A line or two may have been acquired again.
    2 * doubled > sum(|block| block.image.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::Flags;

    fn line(step_1: u16, repetition: u16, flags: &[u32]) -> ReadoutHead {
        ReadoutHead {
            flags: flags.iter().fold(Flags::default(), |all, flag| all.with(*flag)),
            counters: Counters { step_1, repetition, ..Counters::default() },
            ..ReadoutHead::default()
        }
    }

    proptest! {
        #[test]
        fn lines_on_the_places_of_the_image_are_of_another_scan(
            acceleration in 2u16..7, offset in 0u16..7, first in 0u16..40, lines in 8u16..40, again in 0u16..2,
        ) {
            let grid = |row: &u16| row % acceleration == offset % acceleration;
            let block = first..first + lines;
            let image: Vec<_> = (0..80).filter(grid).map(|row| line(row, 0, &[])).collect();
            let separate = block.clone().map(|row| line(row, 0, &[Flags::CALIBRATION]));
            prop_assert!(is_separate(&image.iter().copied().chain(separate.clone()).collect::<Vec<_>>()));
            // Those of another repetition share no place.
            let other: Vec<_> = separate.map(|mut head| { head.counters.repetition = 1; head }).collect();
            prop_assert!(!is_separate(&image.iter().copied().chain(other).collect::<Vec<_>>()));
            // Embedded: lines of the grid carry both flags. One of them may have been acquired again.
            let both = [Flags::CALIBRATION, Flags::CALIBRATION_AND_IMAGING];
            let mut embedded: Vec<_> = (0..80)
                .filter_map(|row| match (grid(&row), block.contains(&row)) {
                    (true, true) => Some(line(row, 0, &both)),
                    (true, false) => Some(line(row, 0, &[])),
                    (false, true) => Some(line(row, 0, &[Flags::CALIBRATION])),
                    (false, false) => None,
                })
                .collect();
            let inside = block.clone().filter(grid).count();
            if inside > 4 {
                embedded.extend(block.clone().filter(grid).take(again.into()).map(|row| line(row, 0, &[Flags::CALIBRATION])));
            }
            prop_assert!(!is_separate(&embedded));
        }
    }

    #[test]
    fn lines_of_the_image_alone_are_no_calibration() {
        assert!(!is_separate(&[line(0, 0, &[]), line(0, 0, &[])]));
        assert!(!is_separate(&[line(0, 0, &[Flags::CALIBRATION]), line(0, 0, &[Flags::NOISE])]));
    }
}
