//! From a raw file to images: a marker of a known place in the patient is found there in NIfTI and DICOM, whatever the orientation, the
//! order in which slices were excited, and the kind of scan.

use std::f64::consts::{PI, TAU};
use std::path::Path;

use contract::Method;
use gpu_job::{Request, Silent, engine, reconstruct};
use kspace::{Complex32, format, prepare};
use ndarray::Ix3;
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};
use proptest::prelude::*;

use crate::placed::{Vector, directions, images};
use crate::twix::{self, Block, Layout, Measurement, PATIENT, Readout, elements, protocol};

/// Deviation of the marker in space, mm.
const WIDTH: f64 = 6.0;
/// What each of the coils sees of it, real and imaginary part.
const COILS: [[f64; 2]; 2] = [[1.0, 0.0], [0.0, 0.6]];

/// A scan of the marker.
#[derive(Debug, Clone)]
struct Scan {
    matrix: [usize; 3],
    voxel_mm: Vector,
    /// Whether the third direction is encoded, too.
    three: bool,
    /// Readout, phase and slice direction, LPS.
    directions: [Vector; 3],
    /// Centre of the slices, LPS.
    centre: Vector,
    /// The marker, LPS.
    marker: Vector,
    /// Slice of each counter.
    order: Vec<usize>,
}

fn dot(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Scan {
    /// From the middle of the stack to slice `number`.
    fn height(&self, number: usize) -> f64 {
        (number as f64 - (self.matrix[2] / 2) as f64) * self.voxel_mm[2]
    }

    /// Where the marker is along readout, phase and slice from the centre.
    fn seen(&self) -> Vector {
        let from: Vector = std::array::from_fn(|axis| self.marker[axis] - self.centre[axis]);
        self.directions.map(|direction| dot(from, direction))
    }

    /// In the order of acquisition what a line is of: its number along the third direction, and the counters of partition and slice.
    fn excited(&self) -> Vec<(usize, [usize; 2])> {
        let of =
            |counter: usize| if self.three { (counter, [counter, 0]) } else { (self.order[counter], [0, counter]) };
        (0..self.matrix[2]).map(of).collect()
    }

    /// Centre of a slice, or of the slab.
    fn position(&self, third: usize) -> Vector {
        let off = if self.three { 0.0 } else { self.height(third) };
        std::array::from_fn(|axis| self.centre[axis] + off * self.directions[2][axis])
    }

    /// Samples `[coil, kx]` of a line, so many times as dense along kx as the field of view asks for; `third` is the number of its slice
    /// or, of a slab, of its partition.
    fn line(&self, ky: usize, third: usize, oversampling: usize) -> Vec<Complex32> {
        let [u, v, w] = self.seen();
        let points = [oversampling * self.matrix[0], self.matrix[1], self.matrix[2]];
        let k = |at: usize, axis: usize| {
            (at as f64 - (points[axis] / 2) as f64) / (points[axis] as f64 * self.voxel_mm[axis])
        };
        let blur = |k: f64| (-2.0 * (PI * WIDTH * k).powi(2)).exp();
        let (y, z) = (k(ky, 1), if self.three { k(third, 2) } else { 0.0 });
        let off = if self.three { 0.0 } else { (self.height(third) - w) / WIDTH };
        let size = 1000.0 * blur(y) * blur(z) * (-0.5 * off * off).exp();
        let sample = |coil: [f64; 2], kx: usize| {
            let x = k(kx, 0);
            let (sin, cos) = (-TAU * (x * u + y * v + z * w)).sin_cos();
            let size = size * blur(x);
            let (re, im) = (size * (coil[0] * cos - coil[1] * sin), size * (coil[0] * sin + coil[1] * cos));
            Complex32::new(re as f32, im as f32)
        };
        COILS.iter().flat_map(|coil| (0..points[0]).map(|kx| sample(*coil, kx))).collect()
    }

    fn xml(&self) -> String {
        let [x, y, z] = self.matrix;
        let depth = if self.three { z } else { 1 };
        let [wide, high, _]: Vector = std::array::from_fn(|axis| self.matrix[axis] as f64 * self.voxel_mm[axis]);
        let thick = depth as f64 * self.voxel_mm[2];
        let space = |name: &str| {
            format!(
                "<{name}><matrixSize><x>{x}</x><y>{y}</y><z>{depth}</z></matrixSize><fieldOfView_mm><x>{wide}</x><y>{high}</y>\
                 <z>{thick}</z></fieldOfView_mm></{name}>"
            )
        };
        let limit = |name: &str, count: usize| {
            let (last, middle) = (count - 1, count / 2);
            format!("<{name}><minimum>0</minimum><maximum>{last}</maximum><center>{middle}</center></{name}>")
        };
        let slices = if self.three { 1 } else { z };
        let limits =
            [limit("kspace_encoding_step_1", y), limit("kspace_encoding_step_2", depth), limit("slice", slices)]
                .concat();
        format!(
            "<ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\"><experimentalConditions>\
             <H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions><encoding>{}{}\
             <encodingLimits>{limits}</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>",
            space("encodedSpace"),
            space("reconSpace")
        )
    }

    /// The scan as a stream of ISMRMRD messages.
    fn stream(&self) -> Vec<u8> {
        let (x, xml) = (self.matrix[0] as u16, self.xml());
        let mut bytes = [&3u16.to_le_bytes(), &(xml.len() as u32).to_le_bytes()[..], xml.as_bytes()].concat();
        for (third, [partition, slice]) in self.excited() {
            let position = self.position(third);
            for ky in 0..self.matrix[1] {
                let mut head = [0u8; 340];
                let mut put = |at: usize, value: &[u8]| head[at..at + value.len()].copy_from_slice(value);
                put(0, &1u16.to_le_bytes());
                for (at, value) in [(34, x), (36, COILS.len() as u16), (38, COILS.len() as u16), (172, x / 2)] {
                    put(at, &value.to_le_bytes());
                }
                put(178, &5f32.to_le_bytes());
                for (number, vector) in [position].iter().chain(&self.directions).enumerate() {
                    for (axis, value) in vector.iter().enumerate() {
                        put(182 + 12 * number + 4 * axis, &(*value as f32).to_le_bytes());
                    }
                }
                for (at, value) in [(242, ky), (244, partition), (248, slice)] {
                    put(at, &(value as u16).to_le_bytes());
                }
                bytes.extend(1008u16.to_le_bytes());
                bytes.extend(head);
                let samples = self.line(ky, third, 1);
                bytes.extend(samples.iter().flat_map(|it| [it.re.to_le_bytes(), it.im.to_le_bytes()].concat()));
            }
        }
        bytes.extend(4u16.to_le_bytes());
        bytes
    }

    /// The scan as Siemens raw data, with the usual readout oversampling.
    fn siemens(&self, layout: Layout) -> Vec<u8> {
        let [x, y, z] = self.matrix;
        let sizes: Vector = std::array::from_fn(|axis| self.matrix[axis] as f64 * self.voxel_mm[axis]);
        let slab = format!("sKSpace.ucDimension = 0x4\nsKSpace.lPartitions = {z}\nsKSpace.lImagesPerSlab = {z}\n");
        let buffers = protocol(&format!(
            "sKSpace.lBaseResolution = {x}\nsKSpace.lPhaseEncodingLines = {y}\n{}sSliceArray.asSlice[0].dReadoutFOV = {}\n\
             sSliceArray.asSlice[0].dPhaseFOV = {}\nsSliceArray.asSlice[0].dThickness = {}\nsRXSPEC.alDwellTime[0] = 2500\n{}",
            if self.three { &slab } else { "" },
            sizes[0],
            sizes[1],
            if self.three { sizes[2] } else { self.voxel_mm[2] },
            elements("sCoilSelectMeas.aRxCoilSelectData[0]", COILS.len() as u16)
        ));
        let quaternion = quaternion(self.directions);
        let mut blocks = Vec::new();
        for (third, [partition, slice]) in self.excited() {
            for ky in 0..y {
                let mut readout = Readout::new(COILS.len() as u16, 2 * x as u16, 0);
                readout.counters[0] = ky as u16;
                (readout.counters[2], readout.counters[3]) = (slice as u16, partition as u16);
                readout.center = [y as u16 / 2, if self.three { z as u16 / 2 } else { 0 }];
                (readout.position, readout.quaternion) = (self.position(third).map(|it| it as f32), quaternion);
                readout.data = self.line(ky, third, 2);
                blocks.push(Block::Readout(readout));
            }
        }
        twix::write(layout, &[Measurement { buffers, blocks, ended: true }], PATIENT)
    }

    /// Asserts that the marker of the results in `out` is where it is, to half a voxel.
    fn check(&self, out: &Path) {
        let smallest = self.voxel_mm.iter().copied().fold(f64::INFINITY, f64::min);
        for (name, found) in [("NIfTI", in_nifti(&out.join("image.nii.gz"))), ("DICOM", in_dicom(&out.join("dicom")))] {
            let apart: Vector = std::array::from_fn(|axis| found[axis] - self.marker[axis]);
            let distance = dot(apart, apart).sqrt();
            assert!(distance < 0.5 * smallest, "{name}: {found:?}, {distance} mm from the marker, {self:?}");
        }
    }
}

/// W, X, Y, Z of the rotation whose columns are the directions of the phase, read and slice gradient, which the pixels of an image run
/// against.
fn quaternion([read, phase, slice]: [Vector; 3]) -> [f32; 4] {
    let [a, b, c] = [phase, read, slice].map(|direction| direction.map(|part| -part));
    // The outer product of the quaternion with itself, four times; its longest row is the best known.
    let products = [
        [1.0 + a[0] + b[1] + c[2], b[2] - c[1], c[0] - a[2], a[1] - b[0]],
        [b[2] - c[1], 1.0 + a[0] - b[1] - c[2], a[1] + b[0], c[0] + a[2]],
        [c[0] - a[2], a[1] + b[0], 1.0 - a[0] + b[1] - c[2], b[2] + c[1]],
        [a[1] - b[0], c[0] + a[2], b[2] + c[1], 1.0 - a[0] - b[1] + c[2]],
    ];
    let size = |row: &[f64; 4]| row.iter().map(|part| part * part).sum::<f64>().sqrt();
    let best = products.iter().max_by(|a, b| size(a).total_cmp(&size(b))).unwrap();
    best.map(|part| (part / size(best)) as f32)
}

/// Mean place of what is above half of the largest value of `(value, place)`.
fn middle(voxels: &[(f64, Vector)]) -> Vector {
    let half = 0.5 * voxels.iter().map(|(value, _)| *value).fold(0.0, f64::max);
    let bright = || voxels.iter().filter(|(value, _)| *value > half);
    let sum: f64 = bright().map(|(value, _)| value).sum();
    std::array::from_fn(|axis| bright().map(|(value, at)| value * at[axis]).sum::<f64>() / sum)
}

/// Where the marker of a volume is, LPS.
fn in_nifti(path: &Path) -> Vector {
    let object = ReaderOptions::new().read_file(path).unwrap();
    let head = object.header().clone();
    assert_eq!((head.sform_code, head.qform_code), (1, 1));
    let rows = [head.srow_x, head.srow_y, head.srow_z];
    let values = object.into_volume().into_ndarray::<f32>().unwrap().into_dimensionality::<Ix3>().unwrap();
    let place = |(x, y, z): (usize, usize, usize)| -> Vector {
        let index = [x as f64, y as f64, z as f64, 1.0];
        let [x, y, z] = rows.map(|row| row.iter().zip(index).map(|(a, b)| f64::from(*a) * b).sum::<f64>());
        [-x, -y, z]
    };
    middle(&values.indexed_iter().map(|(at, value)| (f64::from(*value), place(at))).collect::<Vec<_>>())
}

/// Where the marker of a series is, LPS, from what each file says of its own slice.
fn in_dicom(folder: &Path) -> Vector {
    let mut voxels = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        for image in images(&std::fs::read(entry.unwrap().path()).unwrap()) {
            let place = |(row, column): (usize, usize)| image.at(column as f64, row as f64);
            voxels.extend(image.pixels.indexed_iter().map(|(at, value)| (*value, place(at))));
        }
    }
    middle(&voxels)
}

/// Prepares a raw file and makes images of it in `folder`.
fn reconstructed(raw: &Path, folder: &Path) {
    let scan = format::open(raw).unwrap();
    let plan = prepare::plan(scan.as_ref(), &prepare::Options::default()).unwrap();
    let prepared = folder.join("prepared.safetensors");
    plan.write(scan.as_ref(), std::fs::File::create(&prepared).unwrap(), &mut |_, _| {}).unwrap();
    let mut request = Request::new(prepared.to_str().unwrap(), folder.join("out").to_str().unwrap()).unwrap();
    request.recipe = engine::Recipe::new(Method::Auto, None, 0);
    reconstruct(&request, &Silent).unwrap();
}

/// Readout, phase and slice direction of a transverse, a sagittal and a coronal slice and of oblique ones, left-handed where asked for.
fn orientations(left_handed: impl Strategy<Value = bool>) -> impl Strategy<Value = [Vector; 3]> {
    let planes = prop::sample::select(vec![
        [1.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.5, 0.5],
        [0.5f64.sqrt(), 0.5f64.sqrt(), 0.0, 0.0],
    ]);
    let quaternion = prop_oneof![planes, [-1.0f64..1.0, -1.0f64..1.0, -1.0f64..1.0, 0.2f64..1.0]];
    (quaternion, left_handed).prop_map(|(quaternion, left_handed)| directions(quaternion, left_handed))
}

fn scan(orientations: impl Strategy<Value = [Vector; 3]>) -> impl Strategy<Value = Scan> {
    let sizes = ([24usize..34, 24usize..34, 6usize..10], [4.0f64..7.0, 4.0f64..7.0, 4.0f64..7.0]);
    let place = ([-60.0f64..60.0, -60.0f64..60.0, -60.0f64..60.0], [-0.25f64..0.25, -0.25f64..0.25, -0.15f64..0.15]);
    (sizes, any::<bool>(), orientations, place).prop_flat_map(
        |((matrix, voxel_mm), three, directions, (centre, at))| {
            let order: Vec<usize> = (0..matrix[2]).collect();
            Just(order).prop_shuffle().prop_map(move |order| {
                let off: Vector = std::array::from_fn(|axis| at[axis] * matrix[axis] as f64 * voxel_mm[axis]);
                let marker = std::array::from_fn(|axis| {
                    centre[axis] + (0..3).map(|number| off[number] * directions[number][axis]).sum::<f64>()
                });
                Scan { matrix, voxel_mm, three, directions, centre, marker, order }
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn markers_of_an_ismrmrd_file_are_where_the_patient_has_them(scan in scan(orientations(any::<bool>()))) {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw.ismrmrd");
        std::fs::write(&raw, scan.stream()).unwrap();
        reconstructed(&raw, folder.path());
        scan.check(&folder.path().join("out"));
    }

    #[test]
    fn markers_of_a_siemens_file_are_where_the_patient_has_them(
        scan in scan(orientations(Just(false))), layout in prop::sample::select(vec![Layout::Vb, Layout::Vd, Layout::VdOpen]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw.dat");
        std::fs::write(&raw, scan.siemens(layout)).unwrap();
        reconstructed(&raw, folder.path());
        scan.check(&folder.path().join("out"));
    }
}
