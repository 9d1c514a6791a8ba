//! Stacks images into volumes.

use std::collections::BTreeSet;

use contract::PreparedMeta;
use contract::prepared::Entry;
use kspace::image::geometry::{self, Display, Grid};
use ndarray::{Array2, Array4, Axis, s};

use crate::error::JobError;

/// What tells volumes of one slice stack apart: contrast, phase, repetition, set.
type Frame = (u16, u16, u16, u16);

const fn frame(entry: &Entry) -> Frame {
    (entry.contrast, entry.phase, entry.repetition, entry.set)
}

/// Images of all entries as one volume.
pub(super) struct Stack {
    /// `[frame, slice, y, x]`; zero where an entry is missing.
    pub(super) volume: Array4<f32>,
    pub(super) placed: geometry::Stack,
    pub(super) warnings: Vec<String>,
}

impl Stack {
    /// `images` are `[y, x]`, cropped, in the order of the entries. Slices are ordered along their normal, so that
    /// interleaved acquisition does not matter; frames by contrast, phase, repetition and set.
    ///
    /// # Errors
    /// [`JobError::BadData`] when two entries are the same slice of the same frame.
    pub(super) fn new(
        meta: &PreparedMeta,
        grid: &Grid,
        positions: &Array2<f32>,
        images: Vec<Array2<f32>>,
    ) -> Result<Self, JobError> {
        let slices = ordered_slices(meta, positions);
        let frames: Vec<Frame> = meta.entries.iter().map(frame).collect::<BTreeSet<_>>().into_iter().collect();
        let (rows, columns) = images.first().map_or((0, 0), |image| image.dim());
        let mut volume = Array4::zeros((frames.len(), slices.len(), rows, columns));
        let mut filled = vec![false; frames.len() * slices.len()];
        for (entry, image) in meta.entries.iter().zip(images) {
            let at = frames.iter().position(|known| *known == frame(entry));
            let slice = slices.iter().position(|(number, _)| *number == entry.slice);
            let (Some(at), Some(slice)) = (at, slice) else { continue };
            if std::mem::replace(&mut filled[at * slices.len() + slice], true) {
                return Err(JobError::BadData(format!(
                    "the prepared file holds slice {} twice for one contrast, phase, repetition and set: prepare the raw file again",
                    entry.slice
                )));
            }
            volume.slice_mut(s![at, slice, .., ..]).assign(&image);
        }
        let rows: Vec<usize> = slices.iter().map(|(_, row)| *row).collect();
        let placed = geometry::stack(&meta.header, grid, positions.select(Axis(0), &rows).view());
        let mut warnings = placed.warnings.clone();
        let missing = filled.iter().filter(|filled| !**filled).count();
        if missing > 0 {
            warnings.push(format!("{missing} of {} images were not acquired and are zero", filled.len()));
        }
        Ok(Self { volume, placed, warnings })
    }

    /// The first frame, turned as a radiologist expects it.
    pub(super) fn preview(&self) -> Vec<Array2<f32>> {
        let display = Display::of(&self.placed);
        self.volume.index_axis(Axis(0), 0).outer_iter().map(|slice| display.apply(&slice.to_owned())).collect()
    }
}

/// Slice numbers and a row of `positions` each, along the normal of the first slice; by number where positions are unknown.
fn ordered_slices(meta: &PreparedMeta, positions: &Array2<f32>) -> Vec<(u16, usize)> {
    let mut slices: Vec<(u16, usize)> = Vec::new();
    for (row, entry) in meta.entries.iter().enumerate() {
        if !slices.iter().any(|(number, _)| *number == entry.slice) {
            slices.push((entry.slice, row));
        }
    }
    slices.sort_by_key(|(number, _)| *number);
    if let (true, Some((_, first))) = (meta.header.geometry_known, slices.first().copied()) {
        let along =
            |row: usize| -> f32 { (0..3).map(|axis| positions[[row, axis]] * positions[[first, 9 + axis]]).sum() };
        // Stable, so that slices in one place stay in the order of their numbers.
        slices.sort_by(|a, b| along(a.1).total_cmp(&along(b.1)));
    }
    slices
}

#[cfg(test)]
mod tests {
    use contract::prepared::{Header, Sampling};

    use super::*;

    fn meta(numbers: &[(u16, u16)], known: bool) -> PreparedMeta {
        let sampling = Sampling { acceleration: 1, offset: 0, acs_first: 0, acs_lines: 0, first: 0, last: 1 };
        let entry =
            |&(slice, contrast): &(u16, u16)| Entry { slice, contrast, phase: 0, repetition: 0, set: 0, sampling };
        let header = Header {
            matrix: [2, 2, 1],
            field_of_view_mm: [2.0, 2.0, 3.0],
            recon_matrix: [2, 2, 1],
            recon_field_of_view_mm: [2.0, 2.0, 3.0],
            geometry_known: known,
            ..Header::default()
        };
        PreparedMeta {
            schema: PreparedMeta::SCHEMA,
            scan: None,
            header,
            entries: numbers.iter().map(entry).collect(),
            steps: Vec::new(),
            warnings: Vec::new(),
            source_sha256: String::new(),
            tool_version: String::new(),
        }
    }

    fn positions(z: &[f32]) -> Array2<f32> {
        let row = |z: &f32| [0., 0., *z, 1., 0., 0., 0., 1., 0., 0., 0., 1.];
        Array2::from_shape_vec((z.len(), 12), z.iter().flat_map(row).collect()).unwrap()
    }

    fn stack(numbers: &[(u16, u16)], z: &[f32], known: bool) -> Result<Stack, JobError> {
        let meta = meta(numbers, known);
        let images = (0..numbers.len()).map(|value| Array2::from_elem((2, 2), value as f32 + 1.0)).collect();
        Stack::new(&meta, &Grid::of(&meta.header), &positions(z), images)
    }

    fn values(stack: &Stack) -> Vec<f32> {
        stack.volume.slice(s![.., .., 0, 0]).iter().copied().collect()
    }

    #[test]
    fn slices_are_ordered_in_space_where_positions_are_known() {
        let numbers = [(0, 0), (1, 0), (2, 0)];
        assert_eq!(values(&stack(&numbers, &[3.0, -3.0, 0.0], true).unwrap()), [2.0, 3.0, 1.0]);
        assert_eq!(values(&stack(&numbers, &[3.0, -3.0, 0.0], false).unwrap()), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn frames_come_first_and_holes_are_zero_and_said() {
        let stack = stack(&[(1, 0), (0, 1), (0, 0)], &[5.0, 0.0, 0.0], true).unwrap();
        assert_eq!(values(&stack), [3.0, 1.0, 2.0, 0.0]);
        assert!(stack.warnings.iter().any(|warning| warning.contains("1 of 4 images")), "{:?}", stack.warnings);
    }

    #[test]
    fn the_same_image_twice_is_refused() {
        assert!(matches!(stack(&[(0, 0), (0, 0)], &[0.0, 0.0], true), Err(JobError::BadData(_))));
    }
}
