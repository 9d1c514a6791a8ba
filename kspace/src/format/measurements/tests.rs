mod calibration;

use proptest::prelude::*;

use super::*;
use crate::Complex32;
use crate::format::header::Encoding;
use crate::format::{Flags, ReadoutHead};
use crate::prepare::testing::Scan;

type Raw = Box<dyn RawScan>;

/// Coils named after their numbers.
fn names(coils: impl IntoIterator<Item = usize>) -> Vec<String> {
    coils.into_iter().map(|coil| format!("H{coil}")).collect()
}

fn image(coils: u16, names: Vec<String>) -> Scan {
    let mut scan = Scan::new(coils, 8, 4);
    scan.header.system.coil_names = names;
    scan
}

/// Noise whose samples are the numbers of their channels.
fn noise(coils: u16, names: Vec<String>) -> Scan {
    let mut scan = image(coils, names);
    scan.heads.iter_mut().for_each(|head| {
        head.flags = Flags::default().with(Flags::NOISE);
        head.encoding = 1;
    });
    let channels = |samples: &mut Vec<Complex32>| {
        samples.iter_mut().enumerate().for_each(|(at, sample)| *sample = Complex32::new((at / 8) as f32, 1.0));
    };
    scan.samples.iter_mut().for_each(channels);
    scan
}

fn one_file(scans: Vec<Scan>) -> Measurements {
    sort_out(&["study"], vec![Ok(scans.into_iter().map(|scan| Box::new(scan) as Raw).collect())])
}

/// The noise channel that each coil of the only scan has; empty without noise.
fn noise_channels(found: &Measurements) -> Vec<usize> {
    assert_eq!(found.scans.len(), 1);
    let scan = &found.scans[0].scan;
    let Some(first) = scan.heads().iter().position(|head| head.flags.has(Flags::NOISE)) else { return Vec::new() };
    assert_eq!((first, scan.heads().len(), scan.heads()[first].encoding), (4, 8, 0));
    let samples = scan.samples(first).unwrap();
    assert_eq!(samples.len(), usize::from(scan.heads()[first].channels) * 8);
    assert_eq!(scan.heads()[first].channels, scan.heads()[0].channels);
    samples.chunks(8).map(|channel| channel[7].re as usize).collect()
}

fn warnings(found: &Measurements) -> String {
    found.scans[0].scan.warnings().join("; ")
}

proptest! {
    #[test]
    fn noise_channels_follow_the_names_of_the_image(
        order in (1..=64_usize).prop_flat_map(|coils| Just((0..coils).collect::<Vec<_>>()).prop_shuffle()), kept in 1..=64_usize,
    ) {
        let coils = order.len() as u16;
        let kept: Vec<usize> = order.iter().copied().take(kept).collect();
        let found = one_file(vec![noise(coils, names(0..order.len())), image(kept.len() as u16, names(kept.clone()))]);
        prop_assert_eq!(noise_channels(&found), kept);
        prop_assert_eq!(warnings(&found), "");
    }
}

#[test]
fn noise_is_borrowed_where_the_channels_are_in_order() {
    let found = one_file(vec![noise(4, names(0..4)), image(4, names(0..4))]);
    assert_eq!(noise_channels(&found), [0, 1, 2, 3]);
    assert!(matches!(found.scans[0].scan.samples(4).unwrap(), std::borrow::Cow::Borrowed(_)));
    assert!(found.scans[0].scan.samples(8).is_err());
    let unnamed = one_file(vec![image(4, Vec::new()), noise(4, Vec::new())]);
    assert_eq!(noise_channels(&unnamed), [0, 1, 2, 3]);
}

#[test]
fn noise_that_does_not_fit_is_not_used_and_said() {
    let cases = [
        (noise(20, Vec::new()), image(16, Vec::new()), "noise scan has 20 channels, the image 16: not used"),
        (noise(4, names(0..4)), image(4, names(2..6)), "noise scan lacks 2 of the 4 coils of the image: not used"),
        (noise(4, names(0..4)), image(4, Vec::new()), "noise scan names its coils, the image does not: not used"),
        // A name that stands twice tells nothing.
        (
            noise(2, names([0, 0])),
            image(2, names([0, 1])),
            "noise scan does not name its coils as the image does: not used",
        ),
    ];
    for (noise, image, expected) in cases {
        let found = one_file(vec![noise, image]);
        assert!(noise_channels(&found).is_empty());
        assert_eq!(warnings(&found), expected);
    }
}

#[test]
fn the_dependency_of_the_header_decides_then_the_file() {
    let other = |id: &str, coils: u16, first: f32| {
        let mut scan = noise(coils, Vec::new());
        scan.header.measurement_id = Some(id.to_owned());
        scan.samples.iter_mut().for_each(|samples| samples.iter_mut().for_each(|sample| sample.re += first));
        Box::new(scan) as Raw
    };
    let with = |dependency: Option<&str>, noises: [Vec<Raw>; 2]| {
        let mut scan = image(4, Vec::new());
        scan.header.noise_dependency = dependency.map(str::to_owned);
        let [mut first, second] = noises;
        first.push(Box::new(scan));
        sort_out(&["a", "b"], vec![Ok(first), Ok(second)])
    };
    let both = || [vec![other("x", 4, 0.0), other("y", 4, 10.0)], vec![other("z", 4, 20.0)]];
    assert_eq!(noise_channels(&with(Some("z"), both()))[0], 20);
    assert_eq!(noise_channels(&with(Some("x"), both()))[0], 0);
    assert_eq!(noise_channels(&with(Some("elsewhere"), both()))[0], 10);
    assert_eq!(noise_channels(&with(None, both()))[0], 10);
    let wrong = with(Some("x"), [vec![other("x", 5, 0.0), other("y", 4, 0.0)], Vec::new()]);
    assert!(noise_channels(&wrong).is_empty() && warnings(&wrong).contains("5 channels"));
    // Of two that are not named, the one that fits.
    assert_eq!(noise_channels(&with(None, [vec![other("x", 4, 0.0), other("y", 5, 10.0)], Vec::new()]))[0], 0);
}

#[test]
fn a_scan_keeps_the_noise_of_its_own() {
    let mut own = image(4, Vec::new());
    own.heads[0].flags = own.heads[0].flags.with(Flags::NOISE);
    let found = one_file(vec![noise(4, Vec::new()), own]);
    assert_eq!((found.scans[0].scan.heads().len(), warnings(&found).as_str()), (4, ""));
}

#[test]
fn names_are_unique_and_bad_files_stand_aside() {
    let scans = |count: usize| Ok((0..count).map(|_| Box::new(image(2, Vec::new())) as Raw).collect());
    let bad = || Err(Error::corrupt("a file", "damage", "none"));
    let found = sort_out(&["a", "b", "a", ""], vec![scans(2), bad(), scans(1), scans(1)]);
    let given: Vec<&str> = found.scans.iter().map(|scan| scan.name.as_str()).collect();
    assert_eq!(given, ["a", "a-2", "a-3", "scan"]);
    assert_eq!(found.scans.iter().map(|scan| scan.file).collect::<Vec<_>>(), [0, 0, 2, 3]);
    assert_eq!(found.refused.iter().map(|(file, _)| *file).collect::<Vec<_>>(), [1]);
    // The only good scan beside a file that is refused keeps its name; one without a name has none to keep.
    let lone = sort_out(&["a", "b"], vec![bad(), scans(1)]);
    assert_eq!((lone.scans[0].name.as_str(), lone.refused[0].0), ("b", 0));
    assert_eq!(sort_out(&[""], vec![scans(1)]).scans[0].name, "");
}

#[test]
fn noise_alone_is_refused_with_its_reason() {
    let found = one_file(vec![noise(2, Vec::new()), noise(2, Vec::new())]);
    assert!(found.scans.is_empty());
    assert_eq!(found.refused.len(), 1);
    assert!(found.refused[0].1.to_string().contains("noise scan and no image"));
}

/// Noise of two sets of coils and a line of each, as an adjustment of the coils has them.
fn adjustment(names: Vec<String>) -> Scan {
    let mut scan = noise(4, names);
    for (at, coils) in [(0, 2_u16), (2, 4), (3, 2)] {
        scan.heads[at].channels = coils;
        scan.samples[at].truncate(8 * usize::from(coils));
        if at > 1 {
            scan.heads[at].flags = Flags::default();
            (scan.heads[at].encoding, scan.heads[at].counters.step_1) = (0, 0);
        }
    }
    scan
}

#[test]
fn an_adjustment_with_lines_of_several_coil_sets_lends_its_noise() {
    let lent = |found: &Measurements| -> Vec<(u16, usize)> {
        assert_eq!((found.scans.len(), found.refused.len()), (1, 0));
        let scan = &found.scans[0].scan;
        let noise = scan.heads().iter().enumerate().filter(|(_, head)| head.flags.has(Flags::NOISE));
        noise.map(|(at, head)| (head.channels, scan.samples(at).unwrap().len())).collect()
    };
    // The one noise readout that has the coils of the image.
    assert_eq!(lent(&one_file(vec![adjustment(names(0..4)), image(4, names(0..4))])), [(4, 32)]);
    assert_eq!(lent(&one_file(vec![adjustment(names(0..4)), image(3, names(1..4))])), [(3, 24)]);
    assert_eq!(lent(&one_file(vec![image(2, Vec::new()), adjustment(Vec::new())])), [(2, 16)]);
    let found = one_file(vec![adjustment(Vec::new()), image(3, Vec::new())]);
    assert!(lent(&found).is_empty() && warnings(&found).contains("noise scan has 4 channels, the image 3"));

    // An image with noise of its own beside it, whose header names the adjustment.
    let with_noise = |dependency: Option<&str>| {
        let mut own = image(4, Vec::new());
        own.heads[0].flags = own.heads[0].flags.with(Flags::NOISE);
        own.header.noise_dependency = dependency.map(str::to_owned);
        let mut adjustment = adjustment(Vec::new());
        adjustment.header.measurement_id = Some("x".to_owned());
        one_file(vec![adjustment, own]).scans.len()
    };
    assert_eq!((with_noise(Some("x")), with_noise(None)), (1, 2));
    // Images with noise stay images.
    let mut own = image(4, Vec::new());
    own.heads[0].flags = own.heads[0].flags.with(Flags::NOISE);
    assert_eq!(one_file(vec![own, image(4, Vec::new())]).scans.len(), 2);
}

/// Four lines in each encoding, with these flags.
fn in_encodings(flags: &[&[u32]]) -> Scan {
    let mut scan = Scan::new(2, 8, 4 * flags.len() as u16);
    for (index, head) in scan.heads.iter_mut().enumerate() {
        head.encoding = (index / 4) as u16;
        head.flags = flags[index / 4].iter().fold(Flags::default(), |all, flag| all.with(*flag));
    }
    scan.header.encodings = (0..flags.len())
        .map(|number| {
            let mut encoding = Encoding::default();
            encoding.encoded.matrix = [8, 4, number + 1];
            encoding
        })
        .collect();
    scan
}

#[test]
fn images_in_several_encodings_are_scans_of_their_own() {
    let calibration: &[u32] = &[Flags::CALIBRATION];
    let found = one_file(vec![in_encodings(&[&[], calibration, &[Flags::CALIBRATION_AND_IMAGING], &[Flags::NOISE]])]);
    assert_eq!(found.scans.len(), 2);
    assert_eq!(found.scans[1].name, "study-2");
    for (scan, (own, first)) in found.scans.iter().zip([(1, 0), (3, 8)]) {
        let scan = &scan.scan;
        // Its image, the calibration and the noise.
        assert_eq!(scan.heads().len(), 12);
        assert_eq!(scan.header().encodings.iter().map(|it| it.encoded.matrix[2]).collect::<Vec<_>>(), [own, 2, 4]);
        let encodings: Vec<u16> = scan.heads().iter().map(|head| head.encoding).collect();
        assert_eq!(encodings.iter().filter(|encoding| **encoding == 1).count(), 4);
        assert!(scan.heads().iter().all(|head| head.flags.has(Flags::CALIBRATION) == (head.encoding == 1)));
        let at = scan.heads().iter().position(ReadoutHead::is_imaging).unwrap();
        assert_eq!(scan.heads()[at].counters.step_1, first);
        let expected = Scan::new(2, 8, 16).samples[usize::from(first)].clone();
        assert_eq!(*scan.samples(at).unwrap(), expected);
        assert!(scan.samples(12).is_err());
        assert!(scan.warnings()[0].contains("images in 2 encodings"));
    }
}

#[test]
fn separate_calibration_stays_with_its_image() {
    let usual = one_file(vec![in_encodings(&[&[], &[Flags::CALIBRATION]])]);
    assert_eq!((usual.scans.len(), usual.scans[0].scan.heads().len()), (1, 8));
    assert_eq!(usual.scans[0].scan.heads()[7].encoding, 1);
    let swapped = one_file(vec![in_encodings(&[&[Flags::CALIBRATION], &[]])]);
    assert_eq!(swapped.scans.len(), 1);
    let scan = &swapped.scans[0].scan;
    assert_eq!((scan.heads()[0].encoding, scan.heads()[4].encoding, scan.warnings().len()), (1, 0, 0));
    assert_eq!(scan.header().encodings[0].encoded.matrix[2], 2);
}
