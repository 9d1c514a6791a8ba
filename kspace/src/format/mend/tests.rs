use proptest::prelude::*;

use super::*;
use crate::format::Counters;

/// One slice of `lines` lines by `samples` points, as its header says.
fn scan(samples: u16, lines: u16) -> (Header, Vec<ReadoutHead>) {
    let encoded = Space { matrix: [samples.into(), lines.into(), 1], field_of_view_mm: [400.0, 200.0, 5.0] };
    let recon = Space { matrix: [usize::from(samples) / 2, lines.into(), 1], field_of_view_mm: [200.0, 200.0, 5.0] };
    let mut encoding = Encoding { encoded, recon, ..Encoding::default() };
    encoding.limits.step_1 = Some(Limit { minimum: 0, maximum: lines - 1, center: lines / 2 });
    let head = |line| ReadoutHead {
        samples,
        channels: 4,
        center_sample: samples / 2,
        counters: Counters { step_1: line, ..Counters::default() },
        ..ReadoutHead::default()
    };
    (Header { encodings: vec![encoding], ..Header::default() }, (0..lines).map(head).collect())
}

/// What the header becomes, and what is said.
fn mended(mut header: Header, mut heads: Vec<ReadoutHead>) -> (Header, Vec<ReadoutHead>, Vec<String>) {
    let mut warnings = Vec::new();
    mend(&mut header, &mut heads, &mut warnings);
    (header, heads, warnings)
}

/// Changes the encoding of a sound scan of 512 by 100, mends it and hands the encoding out, with the one thing said.
fn changed(change: impl FnOnce(&mut Encoding, &mut Vec<ReadoutHead>)) -> (Encoding, String) {
    let (mut header, mut heads) = scan(512, 100);
    change(&mut header.encodings[0], &mut heads);
    let (mut header, _, warnings) = mended(header, heads);
    (header.encodings.remove(0), warnings.join("; "))
}

#[test]
fn a_sound_header_is_left_alone() {
    for (samples, lines) in [(512, 100), (511, 101), (2, 1)] {
        let (header, heads) = scan(samples, lines);
        let (after, same, warnings) = mended(header.clone(), heads.clone());
        assert_eq!((after, same, warnings), (header, heads, Vec::new()));
    }
}

#[test]
fn a_header_without_encoding_is_derived_from_the_readouts() {
    let (header, heads) = scan(512, 100);
    let (after, _, warnings) = mended(Header::default(), heads);
    assert_eq!(after.encodings[0].encoded.matrix, header.encodings[0].encoded.matrix);
    assert_eq!(after.encodings[0].limits.step_1, header.encodings[0].limits.step_1);
    assert!(warnings[0].contains("no encoding"));
}

#[test]
fn missing_matrices_fields_of_view_and_limits_are_derived() {
    let (encoding, said) = changed(|encoding, _| encoding.encoded.matrix = [0; 3]);
    assert_eq!(encoding.encoded.matrix, [512, 100, 1]);
    assert!(said.contains("no matrix along the readout") && said.contains("no matrix along phase"), "{said}");
    let (encoding, said) = changed(|encoding, _| encoding.encoded.field_of_view_mm[0] = 0.0);
    assert_eq!(encoding.encoded.field_of_view_mm, [400.0, 200.0, 5.0]);
    assert!(said.contains("encodedSpace/fieldOfView_mm/x"), "{said}");
    let (encoding, said) = changed(|encoding, _| encoding.recon.field_of_view_mm[0] = 0.0);
    assert_eq!(encoding.recon.field_of_view_mm, [200.0, 200.0, 5.0]);
    assert!(said.contains("reconSpace/fieldOfView_mm/x"), "{said}");
    let (encoding, said) = changed(|encoding, _| encoding.limits.step_1 = None);
    assert_eq!(encoding.limits.step_1, Some(Limit { minimum: 0, maximum: 99, center: 50 }));
    assert!(said.contains("no limits of phase encoding") && said.contains("step 50"), "{said}");
}

#[test]
fn the_readouts_win_over_the_matrix_of_the_readout() {
    let (encoding, said) = changed(|encoding, _| {
        encoding.encoded = Space { matrix: [256, 100, 1], field_of_view_mm: [200.0, 200.0, 5.0] };
    });
    assert_eq!((encoding.encoded.matrix[0], encoding.encoded.field_of_view_mm[0]), (512, 400.0));
    assert!(said.contains("256") && said.contains("twofold readout oversampling"), "{said}");

    let (encoding, said) = changed(|_, heads| {
        heads.iter_mut().for_each(|head| (head.samples, head.center_sample) = (256, 128));
    });
    assert_eq!((encoding.encoded.matrix[0], encoding.encoded.field_of_view_mm[0]), (256, 200.0));
    assert!(said.contains("oversampling was removed"), "{said}");

    let (encoding, said) = changed(|_, heads| {
        heads.iter_mut().for_each(|head| (head.samples, head.center_sample) = (500, 200));
    });
    assert_eq!(encoding.encoded.matrix[0], 600);
    assert!(said.contains("need 600"), "{said}");
}

#[test]
fn asymmetric_echoes_and_discarded_samples_are_no_contradiction() {
    let (_, said) =
        changed(|_, heads| heads.iter_mut().for_each(|head| (head.samples, head.center_sample) = (400, 144)));
    assert_eq!(said, "");
    let (_, said) = changed(|_, heads| {
        for head in heads {
            (head.samples, head.center_sample, head.discard_pre, head.discard_post) = (520, 260, 4, 4);
        }
    });
    assert_eq!(said, "");
    let (_, said) = changed(|_, heads| {
        for head in heads {
            (head.samples, head.center_sample) = (400, 400 - 144);
            head.flags = head.flags.with(Flags::REVERSE);
        }
    });
    assert_eq!(said, "");
}

#[test]
fn the_counters_win_over_limits_and_matrix() {
    let (encoding, said) = changed(|encoding, _| encoding.limits.step_1 = Some(Limit::default()));
    assert_eq!(encoding.limits.step_1, Some(Limit { minimum: 0, maximum: 99, center: 50 }));
    assert!(said.contains("at step 0") && said.contains("step 50 is taken"), "{said}");
    let (encoding, said) = changed(|encoding, _| encoding.encoded.matrix[1] = 64);
    assert_eq!((encoding.encoded.matrix[1], encoding.limits.step_1.unwrap().center), (100, 50));
    assert!(said.contains("64 lines"), "{said}");
    // Partial Fourier: the centre of the header is right and the first rows are empty.
    let (encoding, said) = changed(|encoding, heads| {
        heads.truncate(70);
        encoding.limits.step_1 = Some(Limit { minimum: 0, maximum: 69, center: 20 });
    });
    assert_eq!((encoding.limits.step_1.unwrap().center, said.as_str()), (20, ""));
    let (encoding, said) = changed(|_, heads| heads[3].counters.step_2 = 7);
    assert_eq!(encoding.encoded.matrix[2], 8);
    assert!(said.contains("partition encoding"), "{said}");
}

#[test]
fn partitions_that_no_line_was_encoded_in_are_not_transformed() {
    let slices = |heads: &mut Vec<ReadoutHead>, count: u16, distance: f32| {
        let one = heads.clone();
        heads.clear();
        for slice in 0..count {
            heads.extend(one.iter().map(|head| {
                let mut head = ReadoutHead { slice_dir: [0.0, 0.0, 1.0], ..*head };
                (head.counters.slice, head.position[2]) = (slice, distance * f32::from(slice));
                head
            }));
        }
    };
    let set = |encoding: &mut Encoding, partitions: usize, mm: f64| {
        for space in [&mut encoding.encoded, &mut encoding.recon] {
            (space.matrix[2], space.field_of_view_mm[2]) = (partitions, mm);
        }
        encoding.limits.step_2 = Some(Limit { minimum: 0, maximum: partitions as u16 - 1, center: 1 });
    };
    // (partitions stated, field of view, slices, their distance, step of all lines, thickness)
    let cases = [
        (2, 5.0, 1, 0.0, 0, 5.0),
        (10, 5.0, 10, 6.0, 0, 5.0),
        (10, 60.0, 10, 6.0, 0, 6.0),
        (10, 50.0, 10, 6.0, 0, 5.0),
        (4, 5.0, 3, 0.0, 0, 5.0),
        (10, 5.0, 10, 2.0, 0, 5.0),
        (1, 5.0, 1, 0.0, 3, 5.0),
    ];
    for (partitions, mm, count, distance, step, expected) in cases {
        let (mut header, mut heads) = scan(512, 100);
        slices(&mut heads, count, distance);
        heads.iter_mut().for_each(|head| head.counters.step_2 = step);
        set(&mut header.encodings[0], partitions, mm);
        let (header, heads, warnings) = mended(header, heads);
        let Encoding { encoded, recon, limits, .. } = &header.encodings[0];
        assert_eq!((encoded.matrix, recon.matrix, limits.step_2), ([512, 100, 1], [256, 100, 1], None));
        assert_eq!([encoded.field_of_view_mm[2], recon.field_of_view_mm[2]], [expected; 2]);
        assert!(heads.iter().all(|head| head.counters.step_2 == 0));
        assert!(warnings.len() == 1 && warnings[0].contains("is taken for 2-D"), "{warnings:?}");
    }
    // Partitions of a 3-D scan, of which calibration lines have others than the image.
    let (encoding, said) = changed(|encoding, heads| {
        set(encoding, 2, 5.0);
        heads[0].counters.step_2 = 1;
        heads[0].flags = heads[0].flags.with(Flags::CALIBRATION);
    });
    assert_eq!((encoding.encoded.matrix[2], said.as_str()), (2, ""));
}

#[test]
fn channels_and_encodings_of_the_readouts_are_taken() {
    let (mut header, mut heads) = scan(64, 8);
    header.system.channels = Some(20);
    heads.iter_mut().for_each(|head| head.encoding = 3);
    let (header, heads, warnings) = mended(header, heads);
    assert_eq!((header.system.channels, heads[7].encoding), (Some(4), 0));
    assert!(warnings[0].contains("encoding 4") && warnings[1].contains("20 channels"), "{warnings:?}");
}

proptest! {
    /// Whatever a header claims, afterwards every line has a row and every readout a place.
    #[test]
    fn afterwards_the_readouts_fit(
        matrix in prop::array::uniform3(0_usize..70_000), maximum: u16, center: u16, missing: bool,
        samples in 1_u16..600, centre in 0_u16..600, lines in 1_u16..50, from in 0_u16..u16::MAX - 50,
    ) {
        let (mut header, mut heads) = scan(samples, lines);
        heads.iter_mut().for_each(|head| {
            head.center_sample = centre.min(samples);
            head.counters.step_1 += from;
        });
        header.encodings[0].encoded.matrix = matrix;
        header.encodings[0].limits.step_1 = (!missing).then_some(Limit { minimum: 0, maximum, center });
        let (header, heads, _) = mended(header, heads);
        let encoding = &header.encodings[0];
        let rows = encoding.encoded.matrix[1];
        let limit = encoding.limits.step_1.unwrap();
        for head in &heads {
            prop_assert!((limit.minimum..=limit.maximum).contains(&head.counters.step_1));
            let row = (usize::from(head.counters.step_1) + rows / 2).checked_sub(limit.center.into());
            prop_assert!(row.is_some_and(|row| row < rows), "{row:?} of {rows}");
            prop_assert!(Echo::of(head).fits(encoding.encoded.matrix[0]));
        }
    }
}
