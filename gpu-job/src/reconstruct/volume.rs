//! Stacks images into volumes.

use std::collections::BTreeSet;

use contract::PreparedMeta;
use kspace::Complex32;
use kspace::image::{Frame, geometry};
use kspace::numerics::intensity;
use ndarray::{Array2, Array4, Axis, s};

use super::finish::{Finish, Image};
use crate::engine::{Compared, Numbers};
use crate::error::JobError;

/// Slices that are shown beside what plain methods make of them, at most.
const COMPARED: usize = 5;

/// Images of all entries as volumes.
pub(super) struct Stack {
    /// `[frame, slice, y, x]`, in the unit of the raw data; zero where an entry is missing.
    pub(super) images: Array4<Complex32>,
    /// `[frame, slice, y, x]`: deviation of the noise of the real part, before any refinement; `None` where it is not known of every entry.
    pub(super) noise: Option<Array4<f32>>,
    /// `[frame, slice, y, x]`: the factor by which undersampling costs more signal-to-noise ratio than fewer lines must, 1 where nothing was
    /// missing; `None` without linear kernels.
    pub(super) g_factor: Option<Array4<f32>>,
    /// What the frames are.
    pub(super) frames: Vec<Frame>,
    /// Number of the entry of each image that was acquired, by frame and in it by slice.
    pub(super) order: Vec<usize>,
    /// Slices of the first frame by plain methods, by their place in the volume.
    pub(super) compared: Vec<(usize, Compared)>,
    pub(super) placed: geometry::Stack,
    pub(super) warnings: Vec<String>,
}

impl Stack {
    /// `images` are in the order of the entries. Slices are ordered along their normal, so that
    /// interleaved acquisition does not matter; frames by contrast, phase, repetition and set.
    ///
    /// # Errors
    /// [`JobError::BadData`] when two entries are the same slice of the same frame.
    pub(super) fn new(
        meta: &PreparedMeta,
        finish: &Finish,
        positions: &Array2<f32>,
        images: Vec<Image>,
        numbers: &[Numbers],
    ) -> Result<Self, JobError> {
        let slices = ordered_slices(meta, positions);
        let frames: Vec<Frame> = meta.entries.iter().map(Frame::from).collect::<BTreeSet<_>>().into_iter().collect();
        let (rows, columns) = images.first().map_or((0, 0), |image| image.image.dim());
        let shape = (frames.len(), slices.len(), rows, columns);
        let mut volume = Array4::zeros(shape);
        let mut filled = vec![None; frames.len() * slices.len()];
        let mut noise = Some(Array4::zeros(shape));
        let mut g_factor = images.iter().any(|image| image.gain.is_some()).then(|| Array4::ones(shape));
        let mut compared = Vec::new();
        for (number, ((entry, image), numbers)) in meta.entries.iter().zip(images).zip(numbers).enumerate() {
            let at = frames.iter().position(|known| *known == Frame::from(entry));
            let slice = slices.iter().position(|(number, _)| *number == entry.slice);
            let (Some(at), Some(slice)) = (at, slice) else { continue };
            if filled[at * slices.len() + slice].replace(number).is_some() {
                return Err(JobError::BadData(format!(
                    "the prepared file holds slice {} twice for one contrast, phase, repetition and set: prepare the raw file again",
                    entry.slice
                )));
            }
            volume.slice_mut(s![at, slice, .., ..]).assign(&image.image);
            match (&mut noise, finish.noise(&image, numbers)) {
                (Some(noise), Some(of_image)) => noise.slice_mut(s![at, slice, .., ..]).assign(&of_image),
                _ => noise = None,
            }
            if let (Some(g_factor), Some(of_image)) = (&mut g_factor, Finish::g_factor(&image, numbers)) {
                g_factor.slice_mut(s![at, slice, .., ..]).assign(&of_image);
            }
            compared.extend(image.compared.map(|compared| (slice, compared)));
        }
        compared.sort_by_key(|(slice, _)| *slice);
        let rows: Vec<usize> = slices.iter().map(|(_, row)| *row).collect();
        let placed = geometry::stack(&meta.header, &finish.grid, positions.select(Axis(0), &rows).view());
        let mut warnings = placed.warnings.clone();
        let missing = filled.iter().filter(|filled| filled.is_none()).count();
        if missing > 0 {
            warnings.push(format!("{missing} of {} images were not acquired and are zero", filled.len()));
        }
        let order = filled.into_iter().flatten().collect();
        Ok(Self { images: volume, noise, g_factor, frames, order, compared, placed, warnings })
    }

    /// Magnitudes `[frame, slice, y, x]`.
    pub(super) fn magnitude(&self) -> Array4<f32> {
        self.images.mapv(Complex32::norm)
    }

    /// Phases `[frame, slice, y, x]`, radians.
    pub(super) fn phase(&self) -> Array4<f32> {
        self.images.mapv(Complex32::arg)
    }

    /// Place of each slice along the normal, for people; nothing where it is unknown.
    pub(super) fn labels(&self) -> Vec<String> {
        let slices = self.images.dim().1;
        let affine = &self.placed.affine;
        if !affine.known {
            return Vec::new();
        }
        let (rows, columns) = (self.images.dim().2, self.images.dim().3);
        let step = self.placed.voxel_mm[2].max(f64::MIN_POSITIVE);
        let place = |slice: usize| -> f64 {
            let voxel = [(columns / 2) as f64, (rows / 2) as f64, slice as f64, 1.0];
            let at = |axis: usize| -> f64 { affine.matrix[axis].iter().zip(voxel).map(|(a, b)| a * b).sum() };
            (0..3).map(|axis| at(axis) * affine.matrix[axis][2] / step).sum()
        };
        (0..slices).map(|slice| format!("{:.1} mm", place(slice))).collect()
    }

    /// What tells a frame from the others, for people.
    pub(super) fn frame_name(&self, frame: usize) -> String {
        let (first, of) = (self.frames[0], self.frames[frame]);
        let differs = |pick: fn(&Frame) -> u16| self.frames.iter().any(|other| pick(other) != pick(&first));
        let parts = [
            ("contrast", (|it| it.contrast) as fn(&Frame) -> u16),
            ("phase", |it| it.phase),
            ("repetition", |it| it.repetition),
            ("set", |it| it.set),
        ];
        let told = parts.into_iter().filter(|(_, pick)| differs(*pick));
        told.map(|(name, pick)| format!("{name} {}", pick(&of) + 1)).collect::<Vec<_>>().join(", ")
    }

    /// The same stack with the brightness near the coils evened out, by one gain for all that belongs to a slice.
    pub(super) fn flattened(mut self) -> Self {
        let gains = intensity::gains(&self.magnitude());
        self.images.zip_mut_with(&gains, |value, gain| *value *= *gain);
        if let Some(noise) = &mut self.noise {
            *noise *= &gains;
        }
        for (slice, compared) in &mut self.compared {
            let gain = gains.slice(s![0, *slice, .., ..]);
            compared.zero_filled *= &gain;
            if let Some(grappa) = &mut compared.grappa {
                *grappa *= &gain;
            }
        }
        self
    }
}

/// Entries to show beside what plain methods make of them: of the first frame, evenly spaced.
pub(super) fn shown(meta: &PreparedMeta, positions: &Array2<f32>) -> BTreeSet<usize> {
    let Some(first) = meta.entries.iter().map(Frame::from).min() else { return BTreeSet::new() };
    let slices = ordered_slices(meta, positions);
    let count = slices.len().min(COMPARED);
    let chosen = (0..count).map(|at| slices[(2 * at + 1) * slices.len() / (2 * count)].0);
    chosen
        .filter_map(|slice| meta.entries.iter().position(|it| Frame::from(it) == first && it.slice == slice))
        .collect()
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
    use contract::prepared::{Entry, Header, Sampling};

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
        let image = |value: usize| {
            let compared = Compared { zero_filled: Array2::from_elem((2, 2), value as f32), grappa: None };
            let compared = shown(&meta, &positions(z)).contains(&value).then_some(compared);
            Image { image: Array2::from_elem((2, 2), Complex32::new(0.0, value as f32 + 1.0)), gain: None, compared }
        };
        let images = (0..numbers.len()).map(image).collect();
        let known =
            |at: usize| Numbers { noise_variance: (at != 7).then_some(8.0), acquired: 0.25, ..Numbers::default() };
        let known: Vec<Numbers> = (0..numbers.len()).map(known).collect();
        let finish = Finish::new(&meta.header, false, Some(3.0));
        Stack::new(&meta, &finish, &positions(z), images, &known)
    }

    fn values(stack: &Stack) -> Vec<f32> {
        stack.magnitude().slice(s![.., .., 0, 0]).iter().copied().collect()
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
        assert_eq!(stack.order, [2, 0, 1]);
        assert!(stack.warnings.iter().any(|warning| warning.contains("1 of 4 images")), "{:?}", stack.warnings);
    }

    #[test]
    fn noise_is_that_of_the_real_part_and_unknown_unless_every_entry_knows_it() {
        let numbers: Vec<(u16, u16)> = (0..8).map(|at| (at, 0)).collect();
        let z: Vec<f32> = (0..8).map(|at| at as f32).collect();
        let seven = stack(&numbers[..7], &z[..7], true).unwrap();
        assert!(seven.noise.unwrap().iter().all(|deviation| *deviation == 3.0));
        assert!(stack(&numbers, &z, true).unwrap().noise.is_none());
    }

    #[test]
    fn shown_slices_are_spread_over_the_volume_in_space() {
        let numbers: Vec<(u16, u16)> = (0..8).map(|at| (at, 0)).collect();
        let backwards: Vec<f32> = (0..8).map(|at| -(at as f32)).collect();
        let stack = stack(&numbers, &backwards, true).unwrap();
        let shown: Vec<(usize, f32)> = stack.compared.iter().map(|(at, it)| (*at, it.zero_filled[[0, 0]])).collect();
        assert_eq!(shown, [(0, 7.0), (2, 5.0), (4, 3.0), (5, 2.0), (7, 0.0)]);
    }

    #[test]
    fn the_same_image_twice_is_refused() {
        assert!(matches!(stack(&[(0, 0), (0, 0)], &[0.0, 0.0], true), Err(JobError::BadData(_))));
    }
}
