use contract::PreparedMeta;
use contract::prepared::{Entry, GEOMETRY_LENGTH, Header, Sampling};
use proptest::prelude::*;

use super::*;

fn meta(shape: &Shape) -> PreparedMeta {
    let sampling = Sampling { acceleration: 2, offset: 0, acs_first: 1, acs_lines: 2, first: 0, last: shape.ky - 1 };
    let entry = |slice| Entry { slice, contrast: 0, phase: 0, repetition: 0, set: 0, sampling };
    PreparedMeta {
        schema: PreparedMeta::SCHEMA,
        scan: None,
        header: Header { matrix: [shape.kx, shape.ky, 1], ..Header::default() },
        entries: (0..shape.entries as u16).map(entry).collect(),
        steps: Vec::new(),
        warnings: vec!["an \"umlaut\" \u{fc}".to_owned()],
        source_sha256: "00".to_owned(),
        tool_version: "0".to_owned(),
    }
}

fn sample(at: usize) -> Complex32 {
    Complex32::new(at as f32, -0.5 * at as f32)
}

fn write(shape: Shape, with_noise: bool) -> Vec<u8> {
    let small = SmallArrays {
        mask: Array2::from_shape_fn((shape.entries, shape.ky), |(_, ky)| u8::from(ky < 3 || ky % 2 == 0)),
        geometry: Array2::from_shape_fn((shape.entries, GEOMETRY_LENGTH), |(entry, at)| (entry * 12 + at) as f32),
        noise_cov: with_noise.then(|| Array2::from_shape_fn((shape.coils, shape.coils), |(a, b)| sample(a * 10 + b))),
    };
    let mut writer = Writer::new(Vec::new(), &meta(&shape), shape, small).unwrap();
    let count = shape.entry_samples().unwrap();
    for entry in 0..shape.entries {
        writer.entry(&(0..count).map(|at| sample(entry * count + at)).collect::<Vec<_>>()).unwrap();
    }
    if shape.acs.is_some() {
        let count = shape.calibration_samples().unwrap();
        for entry in 0..shape.entries {
            writer.calibration(&(0..count).map(|at| -sample(entry * count + at)).collect::<Vec<_>>()).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn read_all(bytes: Vec<u8>) -> Result<()> {
    let reader = Reader::open(bytes)?;
    (0..reader.shape.entries).try_for_each(|entry| {
        reader.entry(entry)?;
        reader.calibration(entry).map(drop)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in 1usize..4, coils in 1usize..4, ky in 3usize..9, kx in 1usize..6, noise: bool,
        acs in prop::option::of((1usize..5, 1usize..7)),
    ) {
        let shape = Shape { entries, coils, ky, kx, acs };
        let bytes = write(shape, noise);
        prop_assert_eq!(Layout::new(&meta(&shape), &shape, noise).unwrap().byte_len(), bytes.len() as u64);
        let header = u64::from_le_bytes(*bytes.first_chunk().unwrap());
        prop_assert_eq!(header % 8, 0);

        let reader = Reader::open(bytes.clone()).unwrap();
        prop_assert_eq!(&reader.meta, &meta(&shape));
        prop_assert_eq!(reader.shape, shape);
        prop_assert_eq!(reader.noise_cov.is_some(), noise);
        prop_assert_eq!(reader.geometry[[entries - 1, 11]], (entries * 12 - 1) as f32);
        let last = reader.entry(entries - 1).unwrap();
        prop_assert_eq!(last.dim(), (coils, ky, kx));
        let count = shape.entry_samples().unwrap();
        prop_assert!(last.iter().enumerate().all(|(at, value)| *value == sample((entries - 1) * count + at)));
        prop_assert!(reader.entry(entries).is_err());
        let last = reader.calibration(entries - 1).unwrap();
        prop_assert_eq!(last.as_ref().map(|last| last.dim()), acs.map(|(lines, points)| (coils, lines, points)));
        let count = shape.calibration_samples().unwrap();
        let mut samples = last.iter().flatten().enumerate();
        prop_assert!(samples.all(|(at, value)| *value == -sample((entries - 1) * count + at)));
        prop_assert_eq!(reader.calibration(entries).is_err(), acs.is_some());

        // The reference reader of the format agrees.
        let peer = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let kspace = peer.tensor(contract::prepared::KSPACE).unwrap();
        prop_assert_eq!(kspace.shape(), [entries, coils, ky, kx]);
        prop_assert_eq!(kspace.dtype(), safetensors::Dtype::C64);
        let lines = peer.tensor(contract::prepared::ACS).ok().map(|tensor| tensor.shape().to_vec());
        prop_assert_eq!(lines, acs.map(|(lines, points)| vec![entries, coils, lines, points]));
    }

    #[test]
    fn damaged_files_give_errors_and_never_panics(at in any::<prop::sample::Index>(), value: u8, cut in any::<prop::sample::Index>()) {
        let bytes = write(Shape { entries: 2, coils: 2, ky: 4, kx: 3, acs: Some((2, 3)) }, true);
        let mut changed = bytes.clone();
        let at = at.index(changed.len());
        changed[at] = value;
        let _ = read_all(changed);
        let mut short = bytes;
        short.truncate(cut.index(short.len()));
        prop_assert!(read_all(short).is_err());
    }

    #[test]
    fn hostile_headers_give_errors(
        axes in prop::collection::vec(any::<u64>(), 4), ends in prop::collection::vec(any::<u64>(), 2), length: u64,
    ) {
        let tensor = format!(r#"{{"dtype":"C64","shape":{axes:?},"data_offsets":[0,{}]}}"#, ends[0]);
        let json = format!(r#"{{"__metadata__":{{"schema":"1"}},"kspace":{tensor},"mask":{tensor},"acs":{tensor}}}"#);
        for length in [json.len() as u64, length] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(json.bytes());
            prop_assert!(read_all(bytes).is_err());
        }
    }

    #[test]
    fn calibration_lines_that_do_not_fit_their_entries_are_refused(
        axes in prop::sample::select(vec![
            vec![2u64, 2, 6], vec![2, 2, 0, 6], vec![2, 2, 3, 1], vec![1, 2, 3, 2], vec![2, 1, 3, 2], vec![4, 1, 1, 3],
            vec![u64::MAX, 2, 3, 2], vec![2, 2, u64::MAX, u64::MAX], vec![2, 2, 1 << 62, 2], vec![2, 2, 2, 3, 1],
        ]),
    ) {
        let bytes = write(Shape { entries: 2, coils: 2, ky: 4, kx: 3, acs: Some((3, 2)) }, true);
        let (header, arrays) = bytes[8..].split_at(u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize);
        let header = std::str::from_utf8(header).unwrap();
        let changed = header.replace("\"shape\":[2,2,3,2]", &format!("\"shape\":{axes:?}"));
        prop_assert_ne!(header, &changed);
        let mut file = (changed.len() as u64).to_le_bytes().to_vec();
        file.extend(changed.bytes());
        file.extend(arrays);
        prop_assert!(Reader::open(file).is_err());
    }
}

#[test]
fn a_cut_file_may_still_be_arriving_and_a_long_one_is_corrupt() {
    let mut bytes = write(Shape { entries: 2, coils: 2, ky: 4, kx: 3, acs: Some((1, 2)) }, false);
    let whole = bytes.clone();
    bytes.pop();
    assert!(matches!(Reader::open(bytes), Err(Error::Truncated { .. })));
    let mut long = whole;
    long.push(0);
    assert!(matches!(Reader::open(long), Err(Error::Corrupt { .. })));
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let shape = Shape { entries: 1, coils: 1, ky: 4, kx: 2, acs: None };
    let small =
        SmallArrays { mask: Array2::ones((1, 4)), geometry: Array2::zeros((1, GEOMETRY_LENGTH)), noise_cov: None };
    let writer = || Writer::new(Vec::new(), &meta(&shape), shape, small.clone()).unwrap();
    assert!(writer().finish().is_err());
    assert!(writer().entry(&[sample(0); 7]).is_err());
    assert!(writer().entry(&[Complex32::new(f32::NAN, 0.0); 8]).is_err());
    let wrong = SmallArrays { mask: Array2::zeros((1, 4)), ..small.clone() };
    assert!(Writer::new(Vec::new(), &meta(&shape), shape, wrong).is_err());

    assert!(writer().calibration(&[]).is_err(), "none are announced");
    let empty = Shape { acs: Some((0, 2)), ..shape };
    assert!(Writer::new(Vec::new(), &meta(&shape), empty, small.clone()).is_err());
    let with_lines = Shape { acs: Some((3, 1)), ..shape };
    let mut writer = Writer::new(Vec::new(), &meta(&shape), with_lines, small.clone()).unwrap();
    assert!(writer.calibration(&[sample(0); 3]).is_err(), "entries come first");
    writer.entry(&[sample(0); 8]).unwrap();
    assert!(writer.calibration(&[sample(0); 4]).is_err());
    assert!(writer.calibration(&[Complex32::new(0.0, f32::INFINITY); 3]).is_err());
    writer.calibration(&[sample(0); 3]).unwrap();
    assert!(writer.calibration(&[sample(0); 3]).is_err(), "one too many");
    writer.finish().unwrap();
    let mut writer = Writer::new(Vec::new(), &meta(&shape), with_lines, small).unwrap();
    writer.entry(&[sample(0); 8]).unwrap();
    assert!(writer.finish().is_err(), "calibration lines are missing");
}
