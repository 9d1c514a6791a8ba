//! Calibration scans in measurements and files of their own.

use super::*;
use crate::prepare::{Compression, Options, plan};
use crate::prepared::Reader;

/// Noise, an accelerated image without calibration, and its calibration.
struct Parts {
    noise: Scan,
    image: Scan,
    calibration: Scan,
}

const LINES: u16 = 36;
const ACCELERATION: usize = 3;
/// Lines and points of the calibration scan, and the counter of its first line.
const OWN: [u16; 3] = [14, 12, 5];

fn parts(coils: u16, slices: u16) -> Parts {
    let wanted = |line: &u16| usize::from(*line).is_multiple_of(ACCELERATION);
    let mut image = slice_by_slice(coils, 20, (0..LINES).filter(wanted).collect(), slices);
    image.header.encodings[0].acceleration = Some([ACCELERATION as f64, 1.0]);
    image.header.encodings[0].recon.field_of_view_mm[0] = 100.0;
    let [lines, points, first] = OWN;
    let mut calibration = slice_by_slice(coils, points, (first..first + lines).collect(), slices);
    calibration.heads.iter_mut().for_each(|head| head.flags = Flags::default().with(Flags::CALIBRATION));
    calibration.header.encodings[0].encoded.matrix = [points.into(), lines.into(), 1];
    calibration.header.encodings[0].limits.step_1 =
        Some(crate::format::header::Limit { minimum: first, maximum: first + lines - 1, center: first + lines / 2 });
    let mut noise = noise(coils, names(0..coils.into()));
    for (at, samples) in noise.samples.iter_mut().enumerate() {
        // Every coil apart, and correlated with the next.
        samples.iter_mut().enumerate().for_each(|(sample, value)| {
            *value = Complex32::from_polar(1.0 + (sample % 7) as f32, (sample * sample + 3 * at) as f32);
        });
    }
    Parts { noise, image, calibration }
}

/// These lines of every slice; slices are 4 mm apart.
fn slice_by_slice(coils: u16, samples: u16, lines: Vec<u16>, slices: u16) -> Scan {
    let mut scan = Scan::new(coils, samples, LINES);
    (scan.heads, scan.samples) = (Vec::new(), Vec::new());
    scan.header.system.coil_names = names(0..coils.into());
    for (slice, line) in (0..slices).flat_map(|slice| lines.iter().map(move |line| (slice, *line))) {
        scan.push(coils, samples, line);
        let head = scan.heads.last_mut().unwrap();
        head.counters.slice = slice;
        head.position = [1.0, -2.0, 4.0 * f32::from(slice)];
        let turn = Complex32::cis(f32::from(slice));
        scan.samples.last_mut().unwrap().iter_mut().for_each(|sample| *sample *= turn);
    }
    scan
}

impl Parts {
    /// All in one measurement, as scanners with one encoding for each kind write it.
    fn merged(self) -> Scan {
        let Self { noise, mut image, calibration } = self;
        image.header.encodings.extend(calibration.header.encodings);
        let own = calibration.heads.into_iter().map(|head| ReadoutHead { encoding: 1, ..head });
        let noise_heads = noise.heads.into_iter().map(|head| ReadoutHead { encoding: 0, ..head });
        image.heads = noise_heads.chain(own).chain(image.heads).collect();
        image.samples = noise.samples.into_iter().chain(calibration.samples).chain(image.samples).collect();
        image
    }
}

/// k-space, calibration lines, and where these are from.
type Arrays = (Vec<ndarray::Array3<Complex32>>, Vec<ndarray::Array3<Complex32>>, serde_json::Value);

fn prepared(scan: &dyn RawScan, compression: Compression) -> Arrays {
    let plan = plan(scan, &Options { compression, ..Options::default() }).unwrap();
    let reader = Reader::open(plan.write(scan, Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
    let steps = ["prewhiten", "remove_oversampling", "separate_calibration"].map(|name| reader.meta.step(name));
    let [Some(_), Some(_), Some(apart)] = steps else { panic!("{:?}", reader.meta.steps) };
    let all = 0..reader.shape.entries;
    let kspace = all.clone().map(|entry| reader.entry(entry).unwrap()).collect();
    let acs = all.map(|entry| reader.calibration(entry).unwrap().unwrap()).collect();
    (kspace, acs, apart.parameters["source"].clone())
}

/// The only scan among files of measurements.
fn only(files: Vec<Vec<Scan>>) -> Measurement {
    let opened = files.into_iter().map(|scans| Ok(scans.into_iter().map(|scan| Box::new(scan) as Raw).collect()));
    let mut found = sort_out(&["image", "calibration", "noise"], opened.collect());
    assert_eq!((found.scans.len(), found.refused.len()), (1, 0));
    found.scans.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn calibration_of_its_own_measurement_or_file_calibrates_as_in_the_measurement(
        order in (1..=8_usize).prop_flat_map(|coils| Just((0..coils).collect::<Vec<_>>()).prop_shuffle()),
        slices in Just((0..3_u16).collect::<Vec<_>>()).prop_shuffle(),
        compressed in any::<bool>(),
        more in any::<bool>(),
    ) {
        let coils = order.len() as u16;
        let compression = if compressed { Compression::Coils(2) } else { Compression::None };
        let merged = only(vec![vec![parts(coils, 3).merged()]]);
        let (kspace, acs, source) = prepared(merged.scan.as_ref(), compression);
        prop_assert_eq!(source, "same_measurement");
        // Coils in another order, slices under other numbers, and a slice that the image does not have.
        let parts = || {
            let mut parts = parts(coils, 3);
            let own = &mut parts.calibration;
            let points = usize::from(OWN[1]);
            own.header.system.coil_names = names(order.iter().copied());
            for (head, samples) in own.heads.iter_mut().zip(&mut own.samples) {
                head.counters.slice = slices[usize::from(head.counters.slice)];
                *samples = order.iter().flat_map(|coil| &samples[coil * points..(coil + 1) * points]).copied().collect();
            }
            if more {
                own.push(coils, OWN[1], OWN[2]);
                let head = own.heads.last_mut().unwrap();
                (head.counters.slice, head.position[2], head.flags) = (9, 99.0, Flags::default().with(Flags::CALIBRATION));
            }
            own.heads.last_mut().unwrap().flags = own.heads[0].flags.with(Flags::LAST_IN_MEASUREMENT);
            parts
        };
        let Parts { noise, image, calibration } = parts();
        let groups = only(vec![vec![noise, calibration, image]]);
        let Parts { noise, image, calibration } = parts();
        let files = only(vec![vec![image], vec![calibration], vec![noise]]);
        for (scan, source) in [(groups, "other_measurement"), (files, "other_file")] {
            let (own_kspace, own_acs, from) = prepared(scan.scan.as_ref(), compression);
            prop_assert_eq!(&from, source);
            prop_assert_eq!(&own_kspace, &kspace);
            prop_assert_eq!(&own_acs, &acs);
            prop_assert_eq!(scan.scan.warnings(), &[] as &[String]);
            prop_assert!(!scan.scan.heads().iter().any(|head| head.flags.has(Flags::LAST_IN_MEASUREMENT)));
        }
    }
}

#[test]
fn noise_within_a_calibration_scan_serves_its_image() {
    let (expected, ..) = prepared(only(vec![vec![parts(4, 2).merged()]]).scan.as_ref(), Compression::None);
    let Parts { noise, image, mut calibration } = parts(4, 2);
    calibration.heads.splice(0..0, noise.heads.into_iter().map(|head| ReadoutHead { encoding: 0, ..head }));
    calibration.samples.splice(0..0, noise.samples);
    let (kspace, ..) = prepared(only(vec![vec![image], vec![calibration]]).scan.as_ref(), Compression::None);
    assert_eq!(kspace, expected);
}

/// Warnings of an image of four coils and three slices beside a calibration scan that was changed.
fn told(change: impl Fn(&mut Parts)) -> String {
    let mut parts = parts(4, 3);
    change(&mut parts);
    let scan = only(vec![vec![parts.noise, parts.image], vec![parts.calibration]]).scan;
    assert_eq!(scan.calibration_source(), CalibrationSource::SameMeasurement);
    assert!(!scan.heads().iter().any(ReadoutHead::is_calibration) || scan.warnings()[0].contains("of its own"));
    scan.warnings().join("; ")
}

#[test]
fn calibration_that_does_not_fit_is_not_used_and_said() {
    let shift = |parts: &mut Parts, axis: usize, mm: f32| {
        parts.calibration.heads.iter_mut().for_each(|head| head.position[axis] += mm);
    };
    let slices = "calibration scan lacks 3 of the 3 slices of the image: not used";
    assert_eq!(told(|parts| shift(parts, 2, 1.0)), slices);
    assert_eq!(told(|parts| shift(parts, 0, 1.0)), slices, "a shift within the slice");
    // By as much as the slices are apart: two of three are at places of others.
    assert_eq!(told(|parts| shift(parts, 2, 4.0)), "calibration scan lacks 1 of the 3 slices of the image: not used");
    let turned = |parts: &mut Parts| {
        parts.calibration.heads.iter_mut().for_each(|head| std::mem::swap(&mut head.read_dir, &mut head.phase_dir));
    };
    assert_eq!(told(turned), slices);
    assert_eq!(
        told(|parts| parts.calibration.header.system.coil_names = names(2..6)),
        "calibration scan lacks 2 of the 4 coils of the image: not used"
    );
    assert_eq!(
        told(|parts| parts.calibration.header.encodings[0].encoded.field_of_view_mm[1] = 300.0),
        "calibration scan covers another field of view than the image: not used"
    );
    let spiral = crate::format::header::Trajectory::Other("spiral".to_owned());
    assert_eq!(
        told(|parts| parts.calibration.header.encodings[0].trajectory = spiral.clone()),
        "calibration scan is not Cartesian: not used"
    );
    assert_eq!(
        told(|parts| parts.image.heads[0].flags = Flags::default().with(Flags::CALIBRATION_AND_IMAGING)),
        "calibration scan not used: the image has calibration lines of its own"
    );
}

#[test]
fn slices_without_a_known_place_go_by_their_numbers() {
    let mut parts = parts(2, 3);
    parts.calibration.heads.iter_mut().for_each(|head| head.slice_dir = [0.0; 3]);
    let scan = only(vec![vec![parts.image], vec![parts.calibration]]).scan;
    assert_eq!((scan.calibration_source(), scan.warnings().len()), (CalibrationSource::OtherFile, 0));
}

#[test]
fn the_dependency_of_the_header_decides_then_what_fits() {
    // Samples are told apart by their size.
    let other = |id: &str, size: f32| {
        let mut scan = parts(2, 1).calibration;
        scan.header.measurement_id = Some(id.to_owned());
        scan.samples.iter_mut().flatten().for_each(|sample| *sample = Complex32::from(size));
        scan
    };
    let chosen = |dependencies: &[&str], calibrations: Vec<Scan>| {
        let mut image = parts(2, 1).image;
        image.header.dependencies = dependencies.iter().map(|id| (*id).to_owned()).collect();
        let scan = only(vec![vec![image], calibrations]).scan;
        scan.samples(scan.heads().iter().position(ReadoutHead::is_calibration)?).ok().map(|samples| samples[0].re)
    };
    let both = || vec![other("a", 1.0), other("b", 2.0)];
    assert_eq!(chosen(&[], both()), Some(2.0));
    assert_eq!(chosen(&["noise", "a"], both()), Some(1.0));
    let mut elsewhere = other("b", 2.0);
    elsewhere.heads.iter_mut().for_each(|head| head.position[2] = 50.0);
    assert_eq!(chosen(&[], vec![other("a", 1.0), elsewhere]), Some(1.0), "the one that fits");
    let mut elsewhere = other("b", 2.0);
    elsewhere.heads.iter_mut().for_each(|head| head.position[2] = 50.0);
    assert_eq!(chosen(&["b"], vec![other("a", 1.0), elsewhere]), None, "the header is believed");
}

#[test]
fn images_that_need_no_calibration_do_not_speak_of_it() {
    let Parts { image, calibration, .. } = parts(2, 3);
    // Fully sampled and elsewhere: a localiser.
    let mut other = slice_by_slice(2, 20, (0..LINES).collect(), 2);
    other.heads.iter_mut().for_each(|head| head.position[2] += 1000.0);
    let found = sort_out(
        &["a", "b", "c"],
        [image, other, calibration].map(|scan| Ok(vec![Box::new(scan) as Raw])).into_iter().collect(),
    );
    let sources: Vec<_> = found.scans.iter().map(|scan| scan.scan.calibration_source()).collect();
    assert_eq!(sources, [CalibrationSource::OtherFile, CalibrationSource::SameMeasurement]);
    assert!(found.scans.iter().all(|scan| scan.scan.warnings().is_empty()));
}

#[test]
fn calibration_alone_is_refused_with_its_reason() {
    let Parts { noise, calibration, .. } = parts(2, 1);
    let found = sort_out(
        &["a", "b"],
        vec![Ok(vec![Box::new(noise) as Raw, Box::new(calibration) as Raw]), Ok(vec![Box::new(parts(2, 1).noise)])],
    );
    let reasons: Vec<_> = found.refused.iter().map(|(file, error)| (*file, error.to_string())).collect();
    assert!(found.scans.is_empty() && reasons.len() == 2, "{reasons:?}");
    assert!(reasons[0].1.contains("a calibration scan and no image") && reasons[0].1.contains("in one archive"));
    assert!(reasons[1].1.contains("a noise scan and no image"));
}
