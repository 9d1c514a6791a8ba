//! Reports of real scans.

#![allow(clippy::disallowed_methods, reason = "tests are told by the environment where real data are")]

use kspace::inspect::{CalibrationKind, Report};
use kspace::{format, prepare};

/// Every raw file of the folder of real scans, where there is one, is told in full.
#[test]
fn real_files_are_told() {
    let Some(folder) = std::env::var_os("RAKI_CLOUD_DATA") else {
        eprintln!("skipped: RAKI_CLOUD_DATA does not name the folder of real scans");
        return;
    };
    let mut told = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if !path.extension().is_some_and(|ending| ending == "h5" || ending == "dat") {
            continue;
        }
        let scan = format::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let report = Report::of(scan.as_ref());
        assert_eq!(report.prepares, report.reason.is_none());
        assert!(report.coils.is_some_and(|coils| coils > 0) && report.readouts.imaging > 0, "{}", path.display());
        assert!(report.prepares, "{}: {:?}", path.display(), report.reason);
        assert!(report.image.is_some() && report.counts.images > 0 && !report.sampling.is_empty());
        let patterns = prepare::plan(scan.as_ref(), &prepare::Options::default()).unwrap().patterns();
        assert!(!patterns.is_empty());
        if let Some(acceleration) = path.file_stem().and_then(|name| name.to_str()?.strip_prefix("brain8_r")) {
            assert_eq!(report.acceleration.found, [acceleration.parse::<usize>().unwrap()]);
            assert_eq!(report.calibration.kind, Some(CalibrationKind::Embedded));
        }
        told += 1;
    }
    assert_eq!(told, 8);
}
