//! The phantom as others see it: its own reader, the official ISMRMRD programs, and the image that must come out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "opt-in tests read the environment and panic"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use kspace::format::{self, Flags, RawScan};
use kspace::numerics::{combine, fft, metrics};
use kspace::phantom::Phantom;
use kspace::{Complex32, Error};
use ndarray::{Array2, Array3, s};
use serde_json::{Value, json};

const SMALL: Phantom = Phantom { slices: 3, coils: 4, matrix: 48, acceleration: 3, acs: 12, snr: 50.0, seed: 7 };

/// The accelerated scan and its twin in a folder that goes away.
fn files(phantom: &Phantom) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (under, full) = (folder.path().join("under.h5"), folder.path().join("full.h5"));
    phantom.write_ismrmrd(&under).unwrap();
    phantom.write_full_ismrmrd(&full).unwrap();
    (folder, under, full)
}

/// `[coil, ky, kx]` of a slice as acquired, zero where it was not.
fn kspace(raw: &dyn RawScan, phantom: &Phantom, slice: u16) -> Array3<Complex32> {
    let mut kspace = Array3::zeros((phantom.coils, phantom.matrix, 2 * phantom.matrix));
    for (index, head) in raw.heads().iter().enumerate() {
        if head.counters.slice == slice && !head.flags.has(Flags::NOISE) {
            let samples = raw.samples(index).unwrap();
            let line = ndarray::ArrayView2::from_shape((phantom.coils, 2 * phantom.matrix), &samples).unwrap();
            kspace.slice_mut(s![.., usize::from(head.counters.step_1), ..]).assign(&line);
        }
    }
    kspace
}

/// Root sum of squares, cropped to the field of view.
fn image(kspace: &Array3<Complex32>, matrix: usize) -> Array2<f32> {
    combine::rss(&fft::ifft2c(kspace).slice(s![.., .., matrix / 2..matrix / 2 + matrix]).to_owned())
}

fn mean_over_head(image: &Array2<f32>) -> f64 {
    let largest = image.iter().copied().fold(0.0, f32::max);
    let head: Vec<f64> = image.iter().filter(|v| **v > 0.2 * largest).map(|v| f64::from(*v)).collect();
    head.iter().sum::<f64>() / head.len() as f64
}

#[test]
fn twins_agree_on_common_lines_and_differ_in_sampling_only() {
    let (_folder, under, full) = files(&SMALL);
    let (under, full) = (format::open(&under).unwrap(), format::open(&full).unwrap());
    // The grid goes through the centre, 24: 0, 3, .. 45; the block is 18..30.
    assert_eq!(under.heads().len(), 1 + 3 * (16 + 8));
    assert_eq!(full.heads().len(), 1 + 3 * 48);
    assert_eq!(under.samples(0).unwrap(), full.samples(0).unwrap());
    for (index, head) in under.heads().iter().enumerate().skip(1) {
        let same = |other: &format::ReadoutHead| other.counters == head.counters && !other.flags.has(Flags::NOISE);
        let twin = full.heads().iter().position(same).unwrap();
        assert_eq!(under.samples(index).unwrap(), full.samples(twin).unwrap());
        let ky = usize::from(head.counters.step_1);
        let (grid, block) = (ky % 3 == 0, (18..30).contains(&ky));
        assert_eq!(head.flags.has(Flags::CALIBRATION), block && !grid);
        assert_eq!(head.flags.has(Flags::CALIBRATION_AND_IMAGING), block && grid);
        assert!(block || grid);
    }
    let order: Vec<u16> = full.heads().iter().skip(1).step_by(48).map(|head| head.counters.slice).collect();
    assert_eq!(order, [0, 2, 1]);
    let flagged = |flag: u32| under.heads().iter().filter(|head| head.flags.has(flag)).count();
    assert_eq!((flagged(Flags::NOISE), flagged(7), flagged(8), flagged(Flags::LAST_IN_MEASUREMENT)), (1, 3, 3, 1));
    assert!(under.heads().last().unwrap().flags.has(Flags::LAST_IN_MEASUREMENT));
    let positions: Vec<f32> = [0, 2, 1].map(|n| full.heads()[1 + 48 * n].position[2]).to_vec();
    assert_eq!(positions, [-3.3, 0.0, 3.3]);
    assert!(full.header().encodings[0].acceleration.is_none());
    assert_eq!(under.header().encodings[0].acceleration, Some([3.0, 1.0]));
}

#[test]
fn the_image_is_the_truth_with_the_stated_noise() {
    let (_folder, _, full) = files(&SMALL);
    let raw = format::open(&full).unwrap();
    let truth = SMALL.truth();
    assert_eq!(truth.len(), 3);
    for (slice, truth) in truth.iter().enumerate() {
        let found = image(&kspace(&*raw, &SMALL, slice as u16), SMALL.matrix);
        let psnr = metrics::psnr(&found, truth);
        assert!(psnr > 30.0, "slice {slice}: {psnr} dB");
    }
    // The noise scan has the noise of the data.
    let scan = raw.samples(0).unwrap();
    let deviation = (scan.iter().map(|z| f64::from(z.norm_sqr())).sum::<f64>() / scan.len() as f64).sqrt();
    let snr = mean_over_head(&truth[1]) / deviation;
    assert!((snr / SMALL.snr - 1.0).abs() < 0.05, "SNR {snr}");
}

#[test]
fn data_have_the_noise_of_the_noise_scan() {
    let (_folder, _, full) = files(&SMALL);
    // The same noise at half the size: the difference of the two is that half.
    let (_other, _, quieter) = files(&Phantom { snr: 2.0 * SMALL.snr, ..SMALL });
    let (full, quieter) = (format::open(&full).unwrap(), format::open(&quieter).unwrap());
    let deviation = |readouts: std::ops::Range<usize>| {
        let (mut sum, mut count) = (0.0, 0);
        for index in readouts {
            for (a, b) in full.samples(index).unwrap().iter().zip(quieter.samples(index).unwrap().iter()) {
                sum += f64::from((a - b).norm_sqr());
                count += 1;
            }
        }
        (sum / f64::from(count)).sqrt()
    };
    let (scan, data) = (deviation(0..1), deviation(1..full.heads().len()));
    assert!((data / scan - 1.0).abs() < 0.05, "{data} in the data, {scan} in the noise scan");
}

#[test]
fn slices_are_different_images() {
    let truth = SMALL.truth();
    let difference = (&truth[0] - &truth[1]).mapv(f32::abs).sum() / truth[1].sum();
    assert!(difference > 0.02, "{difference}");
}

#[test]
fn equal_phantoms_are_equal_files() {
    let (_folder, first, _) = files(&SMALL);
    let (_other, second, _) = files(&SMALL);
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    let cases = [
        (Phantom { slices: 0, ..SMALL }, "slices"),
        (Phantom { coils: 129, ..SMALL }, "coils"),
        (Phantom { matrix: 49, ..SMALL }, "matrix"),
        (Phantom { acceleration: 17, ..SMALL }, "acceleration"),
        (Phantom { acs: 49, ..SMALL }, "calibration lines"),
        (Phantom { snr: f64::NAN, ..SMALL }, "SNR"),
    ];
    for (phantom, name) in cases {
        let error = phantom.write_ismrmrd(Path::new("/nonexistent")).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains(name), "{error}");
        assert!(phantom.truth().is_empty());
    }
}

/// Every header field and sample against the official Python package, where an interpreter with it is named.
#[test]
fn the_official_python_package_reads_the_same() {
    let Some(python) = std::env::var_os("RAKI_CLOUD_PYTHON") else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON names no interpreter with the ismrmrd package");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_ismrmrd.py");
    let (_folder, under, full) = files(&SMALL);
    for (path, accelerated) in [(under, true), (full, false)] {
        let output = Command::new(&python).arg(&script).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let raw = format::open(&path).unwrap();
        let header = [
            ("encodings", json!(1)),
            ("encoded", json!([96, 48, 1, 440.0, 220.0, 3.0])),
            ("recon", json!([48, 48, 1, 220.0, 220.0, 3.0])),
            ("trajectory", json!("cartesian")),
            ("step_1", json!([0, 47, 24])),
            ("slice", json!([0, 2, 1])),
            ("acceleration", if accelerated { json!(3) } else { Value::Null }),
            ("calibration", if accelerated { json!("embedded") } else { Value::Null }),
            ("patient_position", json!("HFS")),
            ("receiver_channels", json!(4)),
            ("coil_labels", json!([0, 1, 2, 3])),
            ("h1_frequency_hz", json!(123_200_000)),
            ("tr", json!([500.0])),
        ];
        for (name, expected) in header {
            assert_eq!(found[name], expected, "{name}");
        }
        let readouts = found["readouts"].as_array().unwrap();
        assert_eq!(readouts.len(), raw.heads().len());
        for (index, readout) in readouts.iter().enumerate() {
            check_readout(readout, &*raw, index);
        }
    }
}

fn check_readout(found: &Value, raw: &dyn RawScan, index: usize) {
    let head = raw.heads()[index];
    let c = head.counters;
    let fields = [
        ("version", json!(1)),
        ("flags", json!(head.flags.0)),
        ("noise", json!(index == 0)),
        ("scan_counter", json!(index)),
        ("samples", json!(head.samples)),
        ("channels", json!(4)),
        ("available_channels", json!(4)),
        ("mask_bits", json!(4)),
        ("center_sample", json!(head.samples / 2)),
        ("trajectory_dimensions", json!(0)),
        ("trajectory_samples", json!(0)),
        ("sample_time_us", json!(5.0)),
        ("position", json!(head.position)),
        ("read_dir", json!([1.0, 0.0, 0.0])),
        ("phase_dir", json!([0.0, 1.0, 0.0])),
        ("slice_dir", json!([0.0, 0.0, 1.0])),
        (
            "counters",
            json!([c.step_1, c.step_2, c.average, c.slice, c.contrast, c.phase, c.repetition, c.set, c.segment]),
        ),
    ];
    for (name, expected) in fields {
        assert_eq!(found[name], expected, "readout {index}, {name}");
    }
    let (mut weighted, mut energy) = ([0.0; 2], 0.0);
    for (at, sample) in raw.samples(index).unwrap().iter().enumerate() {
        let weight = (1 + at) as f64;
        weighted[0] += weight * f64::from(sample.re);
        weighted[1] += weight * f64::from(sample.im);
        energy += f64::from(sample.re).powi(2) + f64::from(sample.im).powi(2);
    }
    let close = |found: &Value, expected: f64, size: f64| (found.as_f64().unwrap() - expected).abs() < 1e-9 * size;
    let size = (1 + raw.samples(index).unwrap().len()) as f64 * (1.0 + energy);
    assert!(close(&found["energy"], energy, energy), "readout {index}");
    assert!((0..2).all(|part| close(&found["weighted"][part], weighted[part], size)), "readout {index}");
}

/// The C++ library's programs and HDF5's own, where they are installed.
#[test]
fn the_official_programs_accept_the_file() {
    let (_folder, under, full) = files(&SMALL);
    let (under, full) = (under.to_str().unwrap(), full.to_str().unwrap());
    let dataset = format!("{under}/dataset");
    let runs: [(&str, &str, &[&str]); 3] = [
        ("ismrmrd_read_timing_test", under, &["READ TIMER"]),
        ("h5ls", &dataset, &["data                     Dataset {73/Inf}", "xml                      Dataset {1}"]),
        // Opens the file for writing and puts an image into it.
        ("ismrmrd_recon_cartesian_2d", full, &["[96, 48, 1]", "Number of acquisitions      : 145"]),
    ];
    for (program, argument, parts) in runs {
        let output = match Command::new(program).arg(argument).output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: {program} is not installed");
                continue;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        for part in parts {
            assert!(text.contains(part), "{program} prints {text}, without {part}");
        }
    }
}
