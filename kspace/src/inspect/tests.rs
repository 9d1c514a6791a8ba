use super::*;
use crate::format::Flags;
use crate::format::header::{Limit, Trajectory};
use crate::phantom::Phantom;
use crate::prepare::testing::Scan;

/// Marks the first readout as noise of another dwell time.
fn with_noise(mut scan: Scan, coils: u16) -> Scan {
    scan.push(coils, 64, 0);
    let head = scan.heads.last_mut().unwrap();
    head.flags = Flags::default().with(Flags::NOISE);
    head.sample_time_us = 10.0;
    scan
}

#[test]
fn a_phantom_is_told_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.h5");
    let phantom = Phantom { slices: 3, coils: 4, matrix: 64, acceleration: 2, acs: 16, snr: 40.0, seed: 1 };
    phantom.write_ismrmrd(&path).unwrap();
    let report = Report::of(crate::format::open(&path).unwrap().as_ref());
    assert!(report.prepares && report.reason.is_none(), "{:?}", report.reason);
    assert_eq!((report.coils, report.counts.images, report.counts.slices), (Some(4), 3, 3));
    assert_eq!((report.acceleration.found.as_slice(), report.acceleration.claimed), (&[2][..], Some([2.0, 1.0])));
    assert_eq!(report.acceleration.direction, Some("ky"));
    assert_eq!((report.calibration.kind, report.calibration.lines), (Some(CalibrationKind::Embedded), Some(17)));
    let image = report.image.unwrap();
    assert_eq!(image.matrix, [64, 64]);
    assert!((image.voxel_mm[0] - image.field_of_view_mm[0] / 64.0).abs() < 1e-9);
    assert_eq!((report.noise_scan.present, report.noise_scan.used), (true, Some(true)));
    assert_eq!((report.protocol.dimensions, report.protocol.trajectory), (2, "cartesian"));
    assert!(report.partial_fourier.is_empty() && report.asymmetric_echo.is_none());
    let snr = report.snr.unwrap();
    assert_eq!(snr.noise_from, "noise_scan");
    // The phantom's is the mean over the head, of one coil's mean signal; several coils see more.
    assert!((20.0..200.0).contains(&snr.value), "{}", snr.value);
    assert_eq!(report.steps.first().map(|step| step.name.as_str()), Some("triage"));
}

#[test]
fn a_scan_that_cannot_be_prepared_is_told_as_far_as_it_goes() {
    let mut scan = with_noise(Scan::new(3, 16, 8), 3);
    scan.header.encodings[0].trajectory = Trajectory::Other("John Doe's rosette".to_owned());
    scan.header.encodings[0].calibration_mode = Some("Jane Doe".to_owned());
    scan.header.patient_position = Some("Jane Doe".to_owned());
    scan.header.sequence.te_ms = vec![4.5, f64::NAN];
    let report = Report::of(&scan);
    assert!(!report.prepares && report.reason.as_ref().is_some_and(|reason| reason.contains("trajectory")));
    assert_eq!((report.coils, report.protocol.trajectory), (Some(3), "other"));
    assert_eq!(report.readouts, Readouts { total: 9, imaging: 8, noise: 1, ..Readouts::default() });
    assert_eq!((report.noise_scan.used, report.noise_scan.dwell_us), (None, Some(10.0)));
    assert_eq!(report.image.map(|image| image.matrix), Some([16, 8]));
    assert_eq!(report.protocol.te_ms, [4.5]);
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains("Doe"), "{json}");
    scan.header.encodings.clear();
    scan.heads.clear();
    let report = Report::of(&scan);
    assert_eq!((report.encoded, report.image, report.coils, report.counts.averages), (None, None, None, 0));
}

#[test]
fn partial_fourier_and_asymmetric_echoes_say_which_part_was_measured() {
    let mut scan = Scan::new(2, 48, 40);
    scan.header.encodings[0].encoded.matrix = [64, 64, 1];
    scan.header.encodings[0].limits.step_1 = Some(Limit { minimum: 0, maximum: 39, center: 8 });
    // The last 48 of 64 points.
    scan.heads.iter_mut().for_each(|head| head.center_sample = 16);
    let report = Report::of(&scan);
    assert_eq!(report.reason, None);
    assert_eq!(report.partial_fourier, [Part { direction: "ky", first: 24, last: 63, of: 64, fraction: 0.625 }]);
    let expected = Part { direction: "kx", first: 16, last: 63, of: 64, fraction: 0.75 };
    assert_eq!(report.asymmetric_echo, Some(expected));
}

#[test]
fn copies_and_a_noise_scan_that_is_not_used_are_said() {
    let mut scan = Scan::new(2, 16, 8);
    for average in 1..3 {
        for line in 0..8 {
            scan.push(2, 16, line);
            scan.heads.last_mut().unwrap().counters.average = average;
        }
    }
    let report = Report::of(&scan);
    assert_eq!((report.counts.averages, report.counts.images), (3, 1));
    assert_eq!((report.noise_scan.present, report.noise_scan.used), (false, None));
    assert_eq!(report.calibration.kind, Some(CalibrationKind::FullySampled));

    scan.push(2, 3, 0);
    scan.heads.last_mut().unwrap().flags = Flags::default().with(Flags::NOISE);
    let noise = Report::of(&scan).noise_scan;
    assert_eq!((noise.present, noise.samples, noise.used), (true, 3, Some(false)));
    assert!(noise.reason.is_some_and(|reason| reason.contains("too small")));
}

#[test]
fn volumes_and_separate_calibration_are_told() {
    let mut volume = Scan::new(2, 16, 12);
    volume.header.encodings[0].encoded.matrix[2] = 6;
    volume.header.encodings[0].recon.matrix[2] = 6;
    volume.header.encodings[0].limits.step_2 = Some(Limit { minimum: 0, maximum: 5, center: 3 });
    for partition in 1..6 {
        for line in 0..12 {
            volume.push(2, 16, line);
            volume.heads.last_mut().unwrap().counters.step_2 = partition;
        }
    }
    let report = Report::of(&volume);
    assert_eq!(report.reason, None);
    assert_eq!((report.protocol.dimensions, report.counts.images, report.counts.slices), (3, 6, 6));
    assert!((report.image.unwrap().voxel_mm[2] - 5.0 / 6.0).abs() < 1e-9);

    let mut own = Scan::new(2, 16, 24);
    let mut line = 0;
    own.heads.retain(|_| (line += 1, (line - 1) % 3 == 0).1);
    own.samples.truncate(own.heads.len());
    own.header.encodings[0].calibration_mode = Some("separate".to_owned());
    for line in 40..52 {
        own.push(2, 16, line);
        own.heads.last_mut().unwrap().flags = Flags::default().with(Flags::CALIBRATION);
    }
    let report = Report::of(&own);
    assert_eq!((report.reason, report.calibration.kind), (None, Some(CalibrationKind::Separate)));
    assert_eq!((report.calibration.lines, report.calibration.claimed), (Some(12), Some("separate")));
    assert_eq!(report.calibration.flagged_readouts, 12);
}
