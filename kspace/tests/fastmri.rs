//! fastMRI files in every layout give the columns that were acquired, and damage never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use kspace::format::header::Limit;
use kspace::format::{RawScan, open};
use kspace::prepare::{Options, plan};
use proptest::prelude::*;
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "tests with programs of others are switched on by the environment")]
fn python() -> Option<OsString> {
    let value = std::env::var_os("RAKI_CLOUD_PYTHON");
    if value.is_none() {
        eprintln!("skipped: RAKI_CLOUD_PYTHON does not name an interpreter with the package h5py");
    }
    value
}

/// Writes the files and hands out what is in them.
fn files(folder: &Path) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/write_fastmri.py");
    let output = Command::new(python()?).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn check(name: &str, scan: &dyn RawScan, expected: &Value) {
    let expected = expected.as_array().unwrap();
    assert_eq!(scan.heads().len(), expected.len(), "{name}");
    for (index, (head, expected)) in scan.heads().iter().zip(expected).enumerate() {
        let expected: Vec<f64> = expected.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(
            (f64::from(head.counters.slice), f64::from(head.counters.step_1)),
            (expected[0], expected[1]),
            "{name}"
        );
        let samples = scan.samples(index).unwrap();
        assert_eq!(samples.len(), usize::from(head.channels) * usize::from(head.samples), "{name}");
        let mut sum = [0.0; 2];
        for (sample, weight) in samples.iter().zip(1..) {
            sum[0] += f64::from(sample.re) * f64::from(weight);
            sum[1] += f64::from(sample.im) * f64::from(weight);
        }
        assert!((sum[0] - expected[2]).abs() + (sum[1] - expected[3]).abs() < 1e-6, "{name}, readout {index}");
    }
}

#[test]
fn every_layout_gives_the_acquired_columns() {
    let folder = tempfile::tempdir().unwrap();
    let Some(expected) = files(folder.path()) else { return };
    let opened = |name: &str| open(&folder.path().join(name).with_extension("h5")).map_err(|error| error.to_string());
    let cases = [
        ("contiguous", "full", ""),
        ("undersampled", "under", ""),
        ("float_mask", "under", ""),
        ("chunked", "under", ""),
        ("chunks_across_slices", "under", ""),
        ("fixed_text", "under", ""),
        ("user_block", "under", ""),
        ("no_header", "under", "no header"),
        ("single_coil", "single", ""),
        ("single_coil_chunked", "single", ""),
        ("other_mask", "under", "the mask leaves out"),
        ("short_mask", "under", "the mask has 19 values for 20 columns"),
    ];
    for (name, content, warning) in cases {
        let scan = opened(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(scan.format(), "fastMRI HDF5");
        check(name, &*scan, &expected[content]);
        let said = scan.warnings().join("; ");
        assert!(if warning.is_empty() { said.is_empty() } else { said.contains(warning) }, "{name}: {said}");
        let encoding = &scan.header().encodings[0];
        assert_eq!(encoding.encoded.matrix, [24, 20, 1], "{name}");
        if warning != "no header" {
            assert_eq!(encoding.limits.step_1, Some(Limit { minimum: 2, maximum: 18, center: 10 }), "{name}");
            assert_eq!(encoding.recon.matrix, [12, 12, 1], "{name}");
        }
        assert!(scan.samples(scan.heads().len()).is_err());
        // Rows are where the columns were, and no orientation is made up.
        let plan = plan(&*scan, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!plan.meta().header.geometry_known, "{name}");
        let sampling = plan.meta().entries[0].sampling;
        if content == "full" {
            assert_eq!((sampling.acceleration, sampling.first, sampling.last), (1, 2, 18));
        } else {
            assert_eq!((sampling.acceleration, sampling.offset, sampling.acs_first, sampling.acs_lines), (3, 2, 8, 4));
        }
    }
    let outside = opened("samples_outside").unwrap();
    assert_eq!(outside.heads().len(), 5 * 18);
    assert!(outside.warnings()[0].contains("1 columns that pad the matrix"));
    let refused = [
        ("doubles", "single precision"),
        ("zeros", "nothing but zeros"),
        ("five_axes", "5 axes"),
        ("empty", "an empty axis"),
        ("huge", "the number of readouts is"),
        ("never_written", "the size of `kspace` for a file of this length"),
        ("never_written_contiguous", "the size of `kspace` for a file of this length"),
    ];
    for (name, reason) in refused {
        let error = opened(name).err().unwrap_or_else(|| panic!("{name} opens"));
        assert!(error.contains(reason) && !error.contains("Jane"), "{name}: {error}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    if files(folder.path()).is_none() {
        return;
    }
    let originals = ["undersampled", "chunks_across_slices"];
    let originals = originals.map(|name| std::fs::read(folder.path().join(name).with_extension("h5")).unwrap());
    let damaged = folder.path().join("damaged.h5");
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let cases = (0..2_usize, changes, any::<Option<prop::sample::Index>>());
    let ran = runner.run(&cases, |(which, changes, cut)| {
        let mut bytes = originals[which].clone();
        for (place, byte) in changes {
            // Structure lies in front, and where chunks are indexed; samples in between matter less.
            let at = place.index(bytes.len().min(12_000));
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(&damaged, &bytes).unwrap();
        if let Ok(scan) = open(&damaged) {
            for index in 0..scan.heads().len() {
                let _ = scan.samples(index);
            }
        }
        Ok(())
    });
    ran.unwrap();
}
