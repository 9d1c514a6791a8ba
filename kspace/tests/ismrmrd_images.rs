//! ISMRMRD images read back by the official Python package.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use contract::prepared::Header;
use kspace::Complex32;
use kspace::image::Frame;
use kspace::image::geometry::{Grid, stack};
use kspace::image::ismrmrd::{Study, Voxels, encode};
use ndarray::{Array2, Array4};
use serde::Deserialize;

#[derive(Deserialize)]
struct Found {
    vendor: String,
    field: f64,
    frequency: f64,
    echo: Vec<f64>,
    recon: [usize; 2],
    slices: usize,
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    matrix: [usize; 3],
    field_of_view: [f64; 3],
    directions: [[f64; 3]; 4],
    counters: [u16; 5],
    codes: [u16; 5],
    history: String,
    real: Vec<f32>,
    imaginary: Vec<f32>,
}

fn header() -> Header {
    Header {
        vendor: Some("Maker <& Sons>".to_owned()),
        field_strength_t: Some(3.0),
        te_ms: vec![10.0, 20.0],
        matrix: [20, 15, 1],
        field_of_view_mm: [200.0, 240.0, 5.0],
        recon_matrix: [20, 15, 1],
        recon_field_of_view_mm: [200.0, 240.0, 5.0],
        geometry_known: true,
        ..Header::default()
    }
}

/// Centre and directions of a slice, oblique and left-handed.
fn pose(slice: usize) -> [[f32; 3]; 4] {
    let (cos, sin, distance) = (0.8, 0.6, 6.0 * slice as f32);
    let position = [5.0 + distance * sin, 7.0, -9.0 - distance * cos];
    [position, [cos, 0.0, sin], [0.0, 1.0, 0.0], [sin, 0.0, -cos]]
}

/// Voxels `[frame, slice, y, x]`.
enum Volume {
    Magnitude(Array4<f32>),
    Complex(Array4<Complex32>),
}

fn read(volume: &Volume, frames: &[Frame]) -> Option<Found> {
    #[allow(clippy::disallowed_methods, reason = "the environment switches the comparison on")]
    let python = std::env::var_os("RAKI_CLOUD_PYTHON");
    #[allow(clippy::print_stderr, reason = "whoever runs the tests should know")]
    let Some(python) = python else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON does not name a Python with ismrmrd");
        return None;
    };
    let header = header();
    let geometry = Array2::from_shape_fn((3, 12), |(slice, at)| pose(slice)[at / 3][at % 3]);
    let grid = Grid::of(&header);
    let stack = stack(&header, &grid, geometry.view());
    let notes = [("ImageProcessingHistory", "nwg & sparse".to_owned())];
    let voxels = match volume {
        Volume::Magnitude(volume) => Voxels::Magnitude(volume.view()),
        Volume::Complex(volume) => Voxels::Complex(volume.view()),
    };
    let study = Study { header: &header, grid: &grid, stack: &stack, frames, notes: &notes, voxels };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.h5");
    std::fs::write(&path, encode(&study).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_ismrmrd_images.py");
    let output = Command::new(python).arg(script).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

const FRAMES: [Frame; 2] =
    [Frame { contrast: 0, phase: 0, repetition: 0, set: 0 }, Frame { contrast: 1, phase: 2, repetition: 3, set: 4 }];

#[test]
fn the_official_reader_finds_every_voxel_and_its_place() {
    let voxel =
        |(t, z, y, x): (usize, usize, usize, usize)| Complex32::new((x + 100 * y) as f32, (t + 10 * z) as f32 - 0.5);
    let volume = Volume::Complex(Array4::from_shape_fn((2, 3, 15, 20), voxel));
    let Some(found) = read(&volume, &FRAMES) else { return };
    assert_eq!((found.vendor.as_str(), found.field, found.echo), ("Maker <& Sons>", 3.0, vec![10.0, 20.0]));
    assert!((found.frequency - 127_732_436.0).abs() < 1.0, "{}", found.frequency);
    assert_eq!((found.recon, found.slices, found.images.len()), ([20, 15], 3, 6));
    for (number, image) in found.images.iter().enumerate() {
        let (frame, slice) = (number / 3, number % 3);
        assert_eq!((image.matrix, image.field_of_view), ([20, 15, 1], [200.0, 240.0, 5.0]));
        let Frame { contrast, phase, repetition, set } = FRAMES[frame];
        assert_eq!(image.counters, [slice as u16, contrast, phase, repetition, set]);
        assert_eq!(image.codes, [1, 7, 5, number as u16, 1]);
        for (found, expected) in image.directions.iter().flatten().zip(pose(slice).as_flattened()) {
            assert!((found - f64::from(*expected)).abs() < 1e-4, "{:?}", image.directions);
        }
        let values: Vec<Complex32> =
            image.real.iter().zip(&image.imaginary).map(|(re, im)| Complex32::new(*re, *im)).collect();
        let expected: Vec<Complex32> = (0..15 * 20).map(|at| voxel((frame, slice, at / 20, at % 20))).collect();
        assert_eq!(values, expected);
        assert_eq!(image.history, "nwg & sparse");
    }
}

#[test]
fn magnitudes_are_floats() {
    let volume = Array4::from_shape_fn((1, 3, 15, 20), |(_, z, y, x)| (x + 100 * y + 10_000 * z) as f32);
    let Some(found) = read(&Volume::Magnitude(volume), &FRAMES[..1]) else { return };
    assert_eq!(found.images.len(), 3);
    assert_eq!(found.images[2].codes, [1, 5, 1, 2, 1]);
    assert_eq!(found.images[2].real[7 + 20 * 3], 20_307.0);
    assert!(found.images[2].imaginary.iter().all(|it| *it == 0.0));
}

#[test]
fn nothing_to_write_is_refused() {
    let (header, empty) = (header(), Array4::<f32>::zeros((0, 3, 15, 20)));
    let grid = Grid::of(&header);
    let stack = stack(&header, &grid, Array2::zeros((0, 12)).view());
    let study = Study {
        header: &header,
        grid: &grid,
        stack: &stack,
        frames: &[],
        notes: &[],
        voxels: Voxels::Magnitude(empty.view()),
    };
    assert!(encode(&study).unwrap_err().to_string().contains("no voxels"));
}
