//! Markers of known places in the patient are found there in DICOM files, from raw readouts through the whole job.

use std::borrow::Cow;
use std::f32::consts::TAU;
use std::path::Path;

use contract::images::Dicom;
use contract::{ImageOptions, Method};
use gpu_job::{Request, Silent, engine, reconstruct};
use kspace::format::header::{Encoding, Header, Limit, Space};
use kspace::format::{Counters, Flags, RawScan, ReadoutHead};
use kspace::prepare::{Options, plan};
use kspace::{Complex32, Error, Result};

use crate::placed::{Vector, images};

/// Deviation of a marker, mm.
const WIDTH: f64 = 6.0;
/// Steps along read, phase, and partitions or slices.
const MATRIX: [usize; 3] = [48, 40, 16];
/// Size of a voxel along them, mm.
const VOXEL: Vector = [4.0, 5.0, 6.0];
/// Centre of the scan, LPS, mm.
const CENTRE: Vector = [11.0, -23.0, 37.0];
/// Place of the marker from there along read, phase and slice, mm.
const MARKER: Vector = [-31.0, 42.0, 13.0];

fn along(origin: Vector, parts: Vector, directions: [Vector; 3]) -> Vector {
    std::array::from_fn(|axis| origin[axis] + (0..3).map(|part| parts[part] * directions[part][axis]).sum::<f64>())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Slices of their own, every other one first.
    Interleaved,
    /// A slab.
    Slab,
    /// A slab in which the partitions are undersampled, so that images are slices along the first phase direction.
    Exchanged,
}

/// Readouts of a marker.
struct Scan {
    header: Header,
    heads: Vec<ReadoutHead>,
    samples: Vec<Vec<Complex32>>,
}

impl RawScan for Scan {
    fn format(&self) -> &'static str {
        "memory"
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let samples = self.samples.get(readout).map(|samples| Cow::Borrowed(samples.as_slice()));
        samples.ok_or_else(|| Error::corrupt("readout", readout, "an existing one"))
    }
}

impl Scan {
    fn of(kind: Kind, directions: [Vector; 3]) -> Self {
        let [_, ky, kz] = MATRIX;
        let slab: Vector = std::array::from_fn(|axis| MATRIX[axis] as f64 * VOXEL[axis]);
        let (matrix, field_of_view_mm) = match kind {
            Kind::Interleaved => ([MATRIX[0], ky, 1], [slab[0], slab[1], VOXEL[2]]),
            _ => (MATRIX, slab),
        };
        let space = Space { matrix, field_of_view_mm };
        let mut encoding = Encoding { encoded: space, recon: space, ..Encoding::default() };
        let limit = |size: usize| Some(Limit { minimum: 0, maximum: size as u16 - 1, center: size as u16 / 2 });
        encoding.limits.step_1 = limit(ky);
        if kind != Kind::Interleaved {
            encoding.limits.step_2 = limit(kz);
        }
        let header = Header { encodings: vec![encoding], ..Header::default() };
        let mut scan = Self { header, heads: Vec::new(), samples: Vec::new() };
        match kind {
            Kind::Interleaved => {
                let order = (0..kz).step_by(2).chain((1..kz).step_by(2));
                for (number, place) in order.enumerate() {
                    // Thin slices: each has what is in its middle.
                    let from_centre = (place as f64 - (kz / 2) as f64) * VOXEL[2];
                    let size = (-0.5 * ((MARKER[2] - from_centre) / WIDTH).powi(2)).exp();
                    let position = along(CENTRE, [0.0, 0.0, from_centre], directions);
                    (0..ky).for_each(|row| scan.read([row, 0, number], (position, directions), size as f32));
                }
            }
            Kind::Slab | Kind::Exchanged => {
                let wanted = |partition: usize| {
                    kind == Kind::Slab || partition.is_multiple_of(2) || partition.abs_diff(kz / 2) < 5
                };
                for partition in (0..kz).filter(|partition| wanted(*partition)) {
                    (0..ky).for_each(|row| scan.read([row, partition, 0], (CENTRE, directions), 1.0));
                }
            }
        }
        scan
    }

    /// Appends a line. The sample at k is the integral of the object times `exp(-2 pi i k r)`, and k = 0 is at index n / 2.
    fn read(&mut self, [row, partition, slice]: [usize; 3], (position, directions): (Vector, [Vector; 3]), size: f32) {
        let three = self.header.encodings[0].encoded.matrix[2] > 1;
        let frequency =
            |at: usize, axis: usize| (at as f64 - (MATRIX[axis] / 2) as f64) / (MATRIX[axis] as f64 * VOXEL[axis]);
        let [y, z] = [frequency(row, 1), if three { frequency(partition, 2) } else { 0.0 }];
        let sample = |column: usize| {
            let k = [frequency(column, 0), y, z];
            let envelope: f64 = k.iter().map(|k| (-0.5 * (std::f64::consts::TAU * WIDTH * k).powi(2)).exp()).product();
            let turn: f64 = k.iter().zip(MARKER).map(|(k, at)| k * at).sum();
            Complex32::from_polar(size * envelope as f32, -TAU * turn as f32)
        };
        self.samples.push((0..MATRIX[0]).map(sample).collect());
        let [read_dir, phase_dir, slice_dir] = directions.map(|direction| direction.map(|it| it as f32));
        self.heads.push(ReadoutHead {
            flags: Flags::default(),
            samples: MATRIX[0] as u16,
            channels: 1,
            center_sample: MATRIX[0] as u16 / 2,
            position: position.map(|it| it as f32),
            read_dir,
            phase_dir,
            slice_dir,
            counters: Counters {
                step_1: row as u16,
                step_2: partition as u16,
                slice: slice as u16,
                ..Counters::default()
            },
            ..ReadoutHead::default()
        });
    }
}

/// How many images the DICOM files hold, and the mean place of what is above half of their largest value, LPS, mm.
fn found(folder: &Path) -> (usize, Vector) {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all: Vec<_> = files.iter().flat_map(|path| images(&std::fs::read(path).unwrap())).collect();
    let largest = all.iter().flat_map(|image| &image.pixels).copied().fold(0.0, f64::max);
    let (mut sum, mut place) = (0.0, [0.0; 3]);
    for image in &all {
        for ((row, column), value) in image.pixels.indexed_iter().filter(|(_, value)| **value > 0.5 * largest) {
            sum += value;
            let at = image.at(column as f64, row as f64);
            (0..3).for_each(|axis| place[axis] += value * at[axis]);
        }
    }
    (all.len(), place.map(|it| it / sum))
}

#[test]
fn markers_are_where_the_patient_has_them_in_dicom_files() {
    let (s, c) = 25f64.to_radians().sin_cos();
    let planes = [
        ("transverse", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        ("sagittal", [[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        ("coronal", [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
        ("oblique", [[c, s, 0.0], [-s * c, c * c, s], [s * s, -s * c, c]]),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, directions) in planes {
        for left_handed in [false, true] {
            let [read, phase, slice] = directions;
            let directions = [read, phase, if left_handed { slice.map(|it| -it) } else { slice }];
            for kind in [Kind::Interleaved, Kind::Slab, Kind::Exchanged] {
                let scan = Scan::of(kind, directions);
                let prepared = folder.path().join("prepared.safetensors");
                let plan = plan(&scan, &Options::default()).unwrap();
                std::fs::write(&prepared, plan.write(&scan, Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
                for dicom in [Dicom::Classic, Dicom::Enhanced] {
                    let case = format!("{name} {left_handed} {kind:?} {dicom}");
                    let out = folder.path().join(&case);
                    let mut request = Request::new(prepared.to_str().unwrap(), out.to_str().unwrap()).unwrap();
                    request.recipe = engine::Recipe::new(Method::ZeroFilled, None, 0);
                    request.images = ImageOptions { dicom, ..ImageOptions::default() };
                    reconstruct(&request, &Silent).unwrap();
                    let (count, found) = found(&out.join("dicom"));
                    assert_eq!(count, if kind == Kind::Exchanged { MATRIX[1] } else { MATRIX[2] }, "{case}");
                    let expected = along(CENTRE, MARKER, directions);
                    for (axis, direction) in directions.into_iter().enumerate() {
                        let apart: f64 = (0..3).map(|at| (found[at] - expected[at]) * direction[at]).sum();
                        assert!(apart.abs() < 0.5 * VOXEL[axis], "{case}: {apart} mm along axis {axis}");
                    }
                }
            }
        }
    }
}
