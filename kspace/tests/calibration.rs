//! A real scan whose calibration lines are in its measurement, in a measurement of their own and in a file of their own gives the
//! same prepared data.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests are told by the environment what they may use"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use kspace::archive::{self, Limits};
use kspace::format::CalibrationSource;
use kspace::format::measurements::{Source, assemble};
use kspace::inspect::{CalibrationKind, Report};
use kspace::prepare::{Options, plan};
use kspace::prepared::Reader;
use kspace::{Complex32, Result};
use ndarray::Array3;

/// k-space and calibration lines of the only scan of some files, and what is told of its calibration.
fn prepared(files: &[PathBuf]) -> Result<([Array3<Complex32>; 2], Report)> {
    let sources: Vec<_> = files.iter().map(|path| Source { name: "scan", path }).collect();
    let mut found = assemble(&sources);
    if let Some((_, error)) = found.refused.pop() {
        return Err(error);
    }
    assert_eq!(found.scans.len(), 1);
    let scan = found.scans[0].scan.as_ref();
    let plan = plan(scan, &Options::default())?;
    let reader = Reader::open(plan.write(scan, Vec::new(), &mut |_, _| {})?)?;
    Ok(([reader.entry(0)?, reader.calibration(0)?.unwrap()], Report::new(scan, Ok(&plan))))
}

#[test]
fn calibration_of_a_real_scan_is_found_wherever_it_lies() {
    let [Some(folder), Some(python)] = ["RAKI_CLOUD_DATA", "RAKI_CLOUD_PYTHON"].map(std::env::var_os) else {
        eprintln!("skipped: RAKI_CLOUD_DATA and RAKI_CLOUD_PYTHON name no real scans and no interpreter with h5py");
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/split_calibration.py");
    let source = Path::new(&folder).join("brain8_r4.h5");
    let output = Command::new(python).arg(script).arg(source).arg(out.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = |names: &[&str]| names.iter().map(|name| out.path().join(name)).collect::<Vec<_>>();

    let (expected, report) = prepared(&files(&["one.h5"])).unwrap();
    assert_eq!(expected[1].dim(), (8, 32, 160));
    assert_eq!(report.calibration.kind, Some(CalibrationKind::Separate));
    assert_eq!(report.calibration.source, Some(CalibrationSource::SameMeasurement));
    for (names, source) in [
        (&["groups.h5"][..], CalibrationSource::OtherMeasurement),
        (&["image.h5", "calibration.h5"], CalibrationSource::OtherFile),
        (&["calibration.h5", "image.h5"], CalibrationSource::OtherFile),
    ] {
        let (found, told) = prepared(&files(names)).unwrap();
        assert!(found == expected, "{names:?}");
        assert_eq!((told.calibration.source, told.warnings), (Some(source), report.warnings.clone()), "{names:?}");
    }
    let alone = prepared(&files(&["calibration.h5"])).err().unwrap().to_string();
    assert!(alone.contains("a calibration scan and no image"), "{alone}");

    // As an upload: one archive of both.
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["calibration.h5", "image.h5"] {
        tar.append_path_with_name(out.path().join(name), format!("day/{name}")).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let upload = tar.into_inner().unwrap();
    let extracted = archive::extract(upload.as_slice(), scratch.path(), &Limits::default()).unwrap();
    let paths: Vec<PathBuf> = extracted.files.into_iter().map(|file| file.path).collect();
    assert!(prepared(&paths).unwrap().0 == expected);
}
