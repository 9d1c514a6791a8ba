//! Markers of known places in the patient are found there in the images, whatever the orientation.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::f32::consts::{PI, TAU};

use contract::prepared::Header;
use contract::{PreparedMeta, ScanId};
use kspace::Complex32;
use kspace::image::Frame;
use kspace::image::dicom::{Study, classic, enhanced};
use kspace::image::geometry::{Grid, Stack, stack};
use kspace::numerics::fft::ifft2c;
use kspace::numerics::resample::resample;
use ndarray::{Array2, Array3, Array4, Axis, s};
use proptest::prelude::*;

mod placed;

use placed::{Placed, Vector, directions};

/// Width of a marker, mm.
const WIDTH: f64 = 5.0;
/// Distance of the slices, mm.
const STEP: f64 = 7.0;

fn along(origin: Vector, parts: &[(f64, Vector)]) -> Vector {
    std::array::from_fn(|axis| origin[axis] + parts.iter().map(|(by, direction)| by * direction[axis]).sum::<f64>())
}

/// What the scanner measures of a marker `(u, v)` mm from the centre of a slice along read and phase: the sample at k is the
/// integral of the object times `exp(-2 pi i k r)`, and k = 0 is at index n / 2.
fn measure(matrix: [usize; 2], field: [f64; 2], (u, v): (f64, f64)) -> Array3<Complex32> {
    Array3::from_shape_fn((1, matrix[1], matrix[0]), |(_, row, column)| {
        let frequency = |at: usize, axis: usize| (at as f64 - (matrix[axis] / 2) as f64) / field[axis];
        let (x, y) = (frequency(column, 0), frequency(row, 1));
        let size = (-2.0 * (f64::from(PI) * WIDTH).powi(2) * (x * x + y * y)).exp();
        Complex32::from_polar(size as f32, -TAU * (x * u + y * v) as f32)
    })
}

/// Where the marker is, as the mean place of what is above half of the largest value.
fn found<T: Copy + Into<f64>>(image: &Array2<T>) -> (f64, f64) {
    let image = image.mapv(Into::into);
    let half = 0.5 * image.iter().copied().fold(0.0, f64::max);
    let (mut sum, mut column_sum, mut row_sum) = (0.0, 0.0, 0.0);
    for ((row, column), value) in image.indexed_iter().filter(|(_, value)| **value > half) {
        sum += value;
        column_sum += value * column as f64;
        row_sum += value * row as f64;
    }
    (column_sum / sum, row_sum / sum)
}

fn apart(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The slices of a volume `[slice, y, x]`, read back from DICOM files, classic and enhanced.
fn written(header: &Header, stack: &Stack, volume: &Array3<f32>) -> [Vec<Placed>; 2] {
    let meta = PreparedMeta {
        schema: PreparedMeta::SCHEMA,
        scan: None,
        header: header.clone(),
        entries: Vec::new(),
        steps: Vec::new(),
        warnings: Vec::new(),
        source_sha256: String::new(),
        tool_version: String::new(),
    };
    let volume: Array4<f32> = volume.clone().insert_axis(Axis(0));
    let study = Study {
        scan: &ScanId::of_object("raw", "a", "1"),
        meta: &meta,
        method: "auto",
        options: "images default",
        version: "0.1.0",
        stack,
        frames: &[Frame { contrast: 0, phase: 0, repetition: 0, set: 0 }],
        volume: volume.view(),
    };
    let read = |files: Vec<(String, Vec<u8>)>| files.iter().flat_map(|(_, file)| placed::images(file)).collect();
    [read(classic(&study).unwrap()), read(enhanced(&study).unwrap())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn markers_are_where_the_patient_has_them(
        matrix in [48usize..73, 48usize..73], field in [180.0f64..260.0, 180.0f64..260.0], oversampled in prop::sample::select(vec![1.0, 1.25, 1.5]),
        quaternion in [-1.0f64..1.0, -1.0f64..1.0, -1.0f64..1.0, 0.2f64..1.0], left_handed: bool,
        centre in [-60.0f64..60.0, -60.0f64..60.0, -60.0f64..60.0], marker in (-0.3f64..0.3, -0.3f64..0.3), slices in 1usize..4,
        interpolated: bool,
    ) {
        let lines = (matrix[1] as f64 * oversampled).round() as usize;
        let encoded = field[1] * lines as f64 / matrix[1] as f64;
        let header = Header {
            matrix: [matrix[0], lines, 1],
            field_of_view_mm: [field[0], encoded, 5.0],
            recon_matrix: [matrix[0] + 31, matrix[1] + 40, 1],
            recon_field_of_view_mm: [field[0], field[1], 5.0],
            geometry_known: true,
            ..Header::default()
        };
        let [read, phase, slice] = directions(quaternion, left_handed);
        let centre_of = |number: usize| along(centre, &[(number as f64 * STEP, slice)]);
        let mut positions = Array2::<f32>::zeros((slices, 12));
        for (number, mut row) in positions.outer_iter_mut().enumerate() {
            let values = centre_of(number).into_iter().chain(read).chain(phase).chain(slice);
            row.iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
        }
        let grid = Grid::of(&header);
        let grid = if interpolated { grid.interpolated(&header) } else { grid };
        let placed = stack(&header, &grid, positions.view());
        prop_assert!(placed.affine.known && placed.warnings.is_empty(), "{:?}", placed.warnings);
        let voxel = placed.voxel_mm;

        let mut volume = Array3::zeros((slices, grid.rows, grid.columns));
        let mut places = Vec::new();
        for number in 0..slices {
            let (u, v) = (marker.0 * field[0], marker.1 * field[1] * (1.0 - 0.2 * number as f64));
            let image = ifft2c(&measure([matrix[0], lines], [field[0], encoded], (u, v)));
            let kept = grid.crop(&image.index_axis(Axis(0), 0).to_owned());
            let image = resample(&kept, grid.rows, grid.columns).mapv(Complex32::norm);
            prop_assert_eq!(image.dim(), (grid.rows, grid.columns));
            let (column, row) = found(&image);
            let index = [column, row, number as f64, 1.0];
            let at: Vector = placed.affine.matrix.map(|row| row.iter().zip(index).map(|(a, b)| a * b).sum());
            let expected = along(centre_of(number), &[(u, read), (v, phase)]);
            // RAS is LPS with x and y negated.
            let distance = apart([-at[0], -at[1], at[2]], expected);
            prop_assert!(distance < 0.5 * voxel[0].min(voxel[1]), "{distance} mm of {voxel:?}");
            volume.slice_mut(s![number, .., ..]).assign(&image);
            places.push(expected);
        }
        for images in written(&header, &placed, &volume) {
            prop_assert_eq!(images.len(), slices);
            for (image, expected) in images.iter().zip(&places) {
                let (column, row) = found(&image.pixels);
                let distance = apart(image.at(column, row), *expected);
                prop_assert!(distance < 0.5 * voxel[0].min(voxel[1]), "{distance} mm of {voxel:?} in DICOM");
                let [of_rows, of_columns] = image.spacing;
                prop_assert!((of_columns - voxel[0]).abs() < 1e-6 && (of_rows - voxel[1]).abs() < 1e-6);
            }
        }
    }
}
