//! Where voxels are.
//!
//! Raw data give the centre of each slice and its directions in LPS (x to the patient's left, y to the back, z to the
//! head). The centre of k-space lies at index `n / 2`, so voxel `n / 2` of each in-plane axis is at that centre. NIfTI wants
//! RAS, which is LPS with x and y negated.

use contract::prepared::{GEOMETRY_LENGTH, Header};
use ndarray::{Array2, ArrayView2, s};

/// Fields of view closer than this are the same.
const SAME: f64 = 0.01;
/// Cosine of the angle above which slices are not parallel: one degree.
const PARALLEL: f64 = 0.99985;
/// Slice distances that differ by more than this share are uneven.
const UNEVEN: f64 = 0.02;
pub(super) type Vector = [f64; 3];

pub(super) fn dot(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// The grid of an image and the part of a reconstructed slice it covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Points along x, the readout.
    pub columns: usize,
    /// Points along y, the phase direction.
    pub rows: usize,
    /// First row of the reconstructed slice that is kept.
    pub first_row: usize,
    /// Size of a voxel along x, y and through the slice, mm.
    pub voxel_mm: [f64; 3],
    /// Rows of a reconstructed slice that are kept; fewer than `rows` where the image is interpolated.
    pub kept_rows: usize,
}

impl Grid {
    /// The grid that covers the field of view the scanner would reconstruct. Phase oversampling, an encoded field of view
    /// wider than that along y, is cropped around the centre.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        let [columns, lines, _] = header.matrix;
        let [x, y, z] = header.field_of_view_mm;
        let wanted = header.recon_field_of_view_mm[1];
        let mut rows = lines;
        if wanted > 0.0 && y > wanted * (1.0 + SAME) {
            rows = ((lines as f64 * wanted / y).round() as usize).clamp(1, lines.max(1));
        }
        let voxel_mm = [x / columns.max(1) as f64, y / lines.max(1) as f64, z];
        Self { columns, rows, first_row: lines / 2 - rows / 2, voxel_mm, kept_rows: rows }
    }

    /// The same field of view with the matrix that the scanner would reconstruct, where the header states one.
    #[must_use]
    pub fn interpolated(self, header: &Header) -> Self {
        let [columns, rows, _] = header.recon_matrix;
        if columns == 0 || rows == 0 {
            return self;
        }
        let [x, y, z] = self.voxel_mm;
        let voxel_mm = [x * self.columns as f64 / columns as f64, y * self.rows as f64 / rows as f64, z];
        Self { columns, rows, voxel_mm, ..self }
    }

    /// The kept part of a reconstructed slice, `[y, x]`. An image that is smaller is returned as it is.
    #[must_use]
    pub fn crop<T: Clone>(&self, image: &Array2<T>) -> Array2<T> {
        let end = (self.first_row + self.kept_rows).min(image.nrows());
        image.slice(s![self.first_row.min(end)..end, ..]).to_owned()
    }
}

/// Voxel index to patient coordinates, RAS, mm: `p = matrix[..][..3] * (column, row, slice) + matrix[..][3]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Three rows of four numbers.
    pub matrix: [[f64; 4]; 3],
    /// Whether it comes from the scanner. If not, only the voxel sizes are meaningful.
    pub known: bool,
}

impl Affine {
    /// A column in LPS, which is RAS with x and y negated: the step of an axis, or the place of the first voxel.
    #[must_use]
    pub fn lps(&self, column: usize) -> [f64; 3] {
        std::array::from_fn(|axis| if axis < 2 { -1.0 } else { 1.0 } * self.matrix[axis][column])
    }
}

/// Where the image of one slice is, LPS, mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Centre of the first voxel.
    pub first: [f64; 3],
    /// Unit vectors along a row and along a column of the image.
    pub directions: [[f64; 3]; 2],
    /// Unit vector through the slice.
    pub normal: [f64; 3],
}

/// A stack of slices in space.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Voxel to RAS.
    pub affine: Affine,
    /// Size of a voxel along x, y and from slice to slice, mm.
    pub voxel_mm: [f64; 3],
    /// Every slice as the scanner states it, also where no affine holds for all of them; empty where orientation is unknown.
    pub poses: Vec<Pose>,
    /// What a person should know before trusting the geometry.
    pub warnings: Vec<String>,
}

impl Stack {
    /// Where a slice is: as stated, else as the affine has it.
    #[must_use]
    pub fn pose(&self, slice: usize) -> Pose {
        if let Some(pose) = self.poses.get(slice) {
            return *pose;
        }
        let [across, down, through, first] = [0, 1, 2, 3].map(|column| self.affine.lps(column));
        let first = std::array::from_fn(|axis| first[axis] + through[axis] * slice as f64);
        Pose { first, directions: [unit(across), unit(down)], normal: unit(through) }
    }
}

fn unit(v: Vector) -> Vector {
    v.map(|value| value / dot(v, v).sqrt().max(f64::MIN_POSITIVE))
}

/// Places a stack of slices: `geometry` has a row of [`GEOMETRY_LENGTH`] numbers for each slice of the volume, in its order.
#[must_use]
pub fn stack(header: &Header, grid: &Grid, geometry: ArrayView2<'_, f32>) -> Stack {
    let mut warnings = Vec::new();
    let mut voxel_mm = grid.voxel_mm;
    let poses: Vec<[Vector; 4]> = geometry
        .outer_iter()
        .filter(|row| row.len() == GEOMETRY_LENGTH)
        .map(|row| std::array::from_fn(|part| std::array::from_fn(|axis| f64::from(row[3 * part + axis]))))
        .collect();
    let parallel = poses.iter().all(|pose| dot(unit(pose[3]), unit(poses[0][3])) > PARALLEL);
    let (Some(first), Some(last), true) = (poses.first(), poses.last(), header.geometry_known) else {
        warnings.push("orientation unknown: the images have voxel sizes but no place in the patient".to_owned());
        return Stack { affine: centred(grid, voxel_mm, poses.len()), voxel_mm, poses: Vec::new(), warnings };
    };
    let (centre_x, centre_y) = ((grid.columns / 2) as f64, (grid.rows / 2) as f64);
    let pose = |[position, read, phase, slice]: &[Vector; 4]| {
        let directions = [unit(*read), unit(*phase)];
        let [x, y] = [voxel_mm[0] * centre_x, voxel_mm[1] * centre_y];
        let first = std::array::from_fn(|axis| position[axis] - directions[0][axis] * x - directions[1][axis] * y);
        Pose { first, directions, normal: unit(*slice) }
    };
    let placed: Vec<Pose> = poses.iter().map(pose).collect();
    if !parallel {
        warnings.push(
            "slices are not parallel: one volume cannot hold their orientation, which the DICOM files have".to_owned(),
        );
        return Stack { affine: centred(grid, voxel_mm, poses.len()), voxel_mm, poses: placed, warnings };
    }

    let [position, read, phase, slice] = [first[0], unit(first[1]), unit(first[2]), unit(first[3])];
    if poses.len() > 1 {
        let along = difference(last[0], position);
        let step = dot(along, slice) / (poses.len() - 1) as f64;
        if step.abs() < SAME * voxel_mm[2].max(SAME) {
            warnings.push("all slices state the same place: their distance is taken from the field of view".to_owned());
        } else {
            let steps = poses.windows(2).map(|pair| dot(difference(pair[1][0], pair[0][0]), slice));
            if steps.into_iter().any(|it| (it - step).abs() > UNEVEN * step.abs()) {
                warnings.push(
                    "slices are unevenly spaced: the volume has their mean distance, the DICOM files have their places"
                        .to_owned(),
                );
            }
            let sideways = dot(along, along) - dot(along, slice).powi(2);
            if sideways.max(0.0).sqrt() > 0.5 * voxel_mm[0].min(voxel_mm[1]) {
                warnings.push(
                    "slices are shifted against each other in their plane: only the first is in place in the volume"
                        .to_owned(),
                );
            }
            voxel_mm[2] = step;
        }
    }
    let lps: [Vector; 3] =
        [read.map(|v| v * voxel_mm[0]), phase.map(|v| v * voxel_mm[1]), slice.map(|v| v * voxel_mm[2])];
    voxel_mm[2] = voxel_mm[2].abs();
    let matrix = std::array::from_fn(|axis| {
        let sign = if axis < 2 { -1.0 } else { 1.0 };
        let origin = position[axis] - lps[0][axis] * centre_x - lps[1][axis] * centre_y;
        // Adding zero turns -0 into 0.
        [lps[0][axis], lps[1][axis], lps[2][axis], origin].map(|value| sign * value + 0.0)
    });
    Stack { affine: Affine { matrix, known: true }, voxel_mm, poses: placed, warnings }
}

/// Voxel sizes along the axes, the middle voxel at the origin.
fn centred(grid: &Grid, voxel_mm: [f64; 3], slices: usize) -> Affine {
    let centre = [grid.columns / 2, grid.rows / 2, slices / 2];
    let matrix = std::array::from_fn(|axis| {
        let mut row = [0.0; 4];
        row[axis] = voxel_mm[axis];
        row[3] = -voxel_mm[axis] * centre[axis] as f64;
        row
    });
    Affine { matrix, known: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(matrix: [usize; 3], encoded_y: f64) -> Header {
        Header {
            matrix,
            field_of_view_mm: [240.0, encoded_y, 4.0],
            recon_matrix: matrix,
            recon_field_of_view_mm: [240.0, 200.0, 4.0],
            geometry_known: true,
            ..Header::default()
        }
    }

    fn rows(poses: &[[f32; 12]]) -> Array2<f32> {
        Array2::from_shape_vec((poses.len(), 12), poses.concat()).unwrap()
    }

    fn at(affine: &Affine, voxel: [f64; 3]) -> Vector {
        std::array::from_fn(|axis| {
            let row = affine.matrix[axis];
            row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]
        })
    }

    const TRANSVERSE: [f32; 9] = [1., 0., 0., 0., 1., 0., 0., 0., 1.];

    fn pose(position: [f32; 3], directions: [f32; 9]) -> [f32; 12] {
        let mut row = [0.0; 12];
        row[..3].copy_from_slice(&position);
        row[3..].copy_from_slice(&directions);
        row
    }

    #[test]
    fn the_voxel_at_half_the_size_is_the_stated_position_in_ras() {
        for (columns, lines) in [(120, 100), (121, 99)] {
            let header = header([columns, lines, 1], 200.0);
            let grid = Grid::of(&header);
            let poses = rows(&[pose([10., -20., 30.], TRANSVERSE), pose([10., -20., 36.], TRANSVERSE)]);
            let stack = stack(&header, &grid, poses.view());
            assert!(stack.affine.known && stack.warnings.is_empty(), "{:?}", stack.warnings);
            let centre = [(columns / 2) as f64, (lines / 2) as f64, 0.0];
            assert_eq!(at(&stack.affine, centre).map(|v| (v * 1e6).round() / 1e6), [-10.0, 20.0, 30.0]);
            let next = at(&stack.affine, [centre[0] + 1.0, centre[1], 1.0]);
            assert!((next[0] - (-10.0 - 240.0 / columns as f64)).abs() < 1e-9 && (next[2] - 36.0).abs() < 1e-9);
            assert_eq!(stack.voxel_mm[2], 6.0);
        }
    }

    #[test]
    fn phase_oversampling_is_cropped_around_the_centre() {
        let header = header([60, 100, 1], 400.0);
        let grid = Grid::of(&header);
        assert_eq!((grid.rows, grid.first_row, grid.voxel_mm[1]), (50, 25, 4.0));
        let image = Array2::from_shape_fn((100, 60), |(y, _)| y as f32);
        let cropped = grid.crop(&image);
        assert_eq!(cropped.dim(), (50, 60));
        // Line 50 is the centre before, line 25 afterwards.
        assert_eq!(cropped[[25, 0]], 50.0);
    }

    #[test]
    fn one_slice_has_the_thickness_of_the_field_of_view_and_doubts_are_said() {
        let header = header([60, 50, 1], 200.0);
        let grid = Grid::of(&header);
        let one = stack(&header, &grid, rows(&[pose([0.; 3], TRANSVERSE)]).view());
        assert_eq!(one.voxel_mm[2], 4.0);
        let said = |poses: &[[f32; 12]]| stack(&header, &grid, rows(poses).view()).warnings.join(" ");
        assert!(said(&[pose([0.; 3], TRANSVERSE), pose([0.; 3], TRANSVERSE)]).contains("same place"));
        let z = |z: f32| pose([0., 0., z], TRANSVERSE);
        assert!(said(&[z(0.), z(5.), z(11.)]).contains("unevenly"));
        assert!(said(&[z(0.), pose([0., 9., 5.], TRANSVERSE)]).contains("shifted"));
        let tilted = pose([0., 0., 5.], [1., 0., 0., 0., 0., 1., 0., -1., 0.]);
        assert!(said(&[z(0.), tilted]).contains("not parallel"));
        // Each slice keeps its own place all the same.
        let uneven = stack(&header, &grid, rows(&[z(0.), z(5.), tilted]).view());
        let firsts: Vec<Vector> = uneven.poses.iter().map(|pose| pose.first).collect();
        assert_eq!(firsts, [[-120.0, -100.0, 0.0], [-120.0, -100.0, 5.0], [-120.0, 0.0, -95.0]]);
        assert_eq!(uneven.poses[2].directions, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
        let unknown = Header { geometry_known: false, ..header.clone() };
        let unknown = stack(&unknown, &grid, rows(&[z(0.)]).view());
        assert!(!unknown.affine.known && unknown.warnings.len() == 1);
        assert_eq!(unknown.affine.matrix[0], [4.0, 0.0, 0.0, -120.0]);
    }
}
