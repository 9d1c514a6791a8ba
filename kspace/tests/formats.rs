//! Raw data files of many writers are read alike; everything else is refused by name, and damage never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::Disposition;
use kspace::archive::Content;
use kspace::format::{Flags, RawScan, open, open_all};
use kspace::phantom::Phantom;
use kspace::{Error, Result};
use proptest::prelude::*;
use serde_json::{Value, json};

#[expect(
    clippy::disallowed_methods,
    reason = "tests with programs and data of others are switched on by the environment"
)]
fn switched_on(variable: &str, what: &str) -> Option<OsString> {
    let value = std::env::var_os(variable);
    if value.is_none() {
        eprintln!("skipped: {variable} does not name {what}");
    }
    value
}

/// A small scan by our own writer.
fn phantom() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.h5");
    let small = Phantom { slices: 1, coils: 2, matrix: 32, acceleration: 2, acs: 8, ..Phantom::default() };
    small.write_ismrmrd(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn open_bytes(bytes: &[u8]) -> Result<Box<dyn RawScan>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    // The map outlives the name.
    open(file.path())
}

fn refusal(bytes: &[u8]) -> String {
    let error = open_bytes(bytes).err().expect("a refusal");
    assert_eq!(error.disposition(), Disposition::Reject, "{error}");
    error.to_string()
}

/// What `write_ismrmrd.py` prints of each readout.
fn describe(scan: &dyn RawScan, index: usize) -> Value {
    let head = &scan.heads()[index];
    let samples = scan.samples(index).unwrap();
    let mut weighted = [0.0; 2];
    for (sample, weight) in samples.iter().zip(1..) {
        weighted[0] += f64::from(sample.re) * f64::from(weight);
        weighted[1] += f64::from(sample.im) * f64::from(weight);
    }
    let c = &head.counters;
    json!({
        "flags": head.flags.0,
        "samples": head.samples,
        "channels": head.channels,
        "discard": [head.discard_pre, head.discard_post],
        "center": head.center_sample,
        "position": head.position,
        "phase_dir": head.phase_dir,
        "counters": [c.step_1, c.step_2, c.average, c.slice, c.contrast, c.phase, c.repetition, c.set, c.segment],
        "weighted": weighted,
    })
}

/// Equal but for the order in which sums were rounded.
fn agree(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| agree(value, other)))
        }
        _ => found == expected,
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn layouts_of_other_writers_hold_the_same_scan() {
    let Some(python) = switched_on("RAKI_CLOUD_PYTHON", "an interpreter with the package h5py") else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/write_ismrmrd.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let readouts: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(readouts.len(), 40);

    let good = files_in(&folder.path().join("good"));
    assert_eq!(good.len(), 15);
    for path in good {
        let name = path.file_stem().unwrap().display().to_string();
        let scan = open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(scan.heads().len(), readouts.len(), "{name}");
        assert!(scan.has_ended(), "{name}: a whole file, though no readout is marked as the last");
        // Partitions 0 to 4 are in the counters, which the header of one partition does not know of.
        assert_eq!(scan.header().encodings[0].encoded.matrix, [16, 40, 5], "{name}");
        assert_eq!(scan.warnings().len(), 3, "{name}: {:?}", scan.warnings());
        for (index, expected) in readouts.iter().enumerate() {
            let found = describe(&*scan, index);
            assert!(agree(&found, expected), "{name}, readout {index}: {found} for {expected}");
        }
    }

    let reasons = [
        ("doubles", "single-precision"),
        ("empty", "number of readouts: found 0"),
        ("fewer_samples", "readout 7: found 64 values, expected 68"),
        ("images_only", "no readouts"),
        ("lzf", "h5repack"),
        ("never_written", "found 0 records, expected 40"),
        ("plain", "1 groups and 1 datasets, none of them ISMRMRD"),
    ];
    let other = files_in(&folder.path().join("other"));
    assert_eq!(other.len(), reasons.len());
    for (path, (name, reason)) in other.iter().zip(reasons) {
        assert_eq!(path.file_stem().unwrap(), name);
        let error = refusal(&std::fs::read(path).unwrap());
        assert!(error.contains(reason), "{name}: {error}");
        assert!(!error.contains("Jane") && !error.contains("ller"), "{name}: {error}");
    }

    let bare = open(&folder.path().join("bare/bare.h5")).unwrap();
    assert_eq!(bare.header().encodings[0].encoded.matrix, [16, 40, 5]);
    assert!(bare.warnings()[0].contains("no header") && bare.warnings()[1].contains("no encoding"));

    // The noise of group `a` belongs to the scan of group `b`, of which `c` is another name.
    let groups = folder.path().join("several/groups.h5");
    assert_eq!(open_all(&groups).unwrap().len(), 2);
    let scan = open(&groups).unwrap();
    let own = |index: usize| describe(&*scan, index);
    assert_eq!(scan.heads().len(), 40, "a scan with noise of its own needs no other");
    assert!((0..40).all(|index| agree(&own(index), &readouts[index])));
}

#[test]
fn what_is_not_ismrmrd_is_refused_by_name() {
    let at = |offset: usize, magic: &[u8]| [vec![0; offset], magic.to_vec(), vec![0; 600]].concat();
    let cases = [
        (b"yardl\x01\0\0".to_vec(), "mrd_to_ismrmrd"),
        (b"# Dimensions\n256 256 1 8\n".to_vec(), "send the .hdr and the .cfl file together"),
        (b"# === DATA DESCRIPTION FILE ====\n# CAUTION\n".to_vec(), "philips_to_ismrmrd"),
        (at(34, b"GE_MED_NMR"), "ge_to_ismrmrd"),
        (b"##TITLE=Parameter List".to_vec(), "bruker_to_ismrmrd"),
        ([[0; 14].as_slice(), &[1, 0x7f], &[0; 48]].concat().repeat(50), "philips_to_ismrmrd"),
        ([&26.002_f32.to_le_bytes()[..], &[0; 12], b"09/12/124\x0014:05\0\0\0"].concat(), "ge_to_ismrmrd"),
        (at(128, b"DICM"), "a DICOM file, not k-space data"),
        (at(344, b"n+1\0"), "a NIfTI file, not k-space data"),
        (b"Rar!\x1a\x07\x01".to_vec(), ".tar.gz"),
        (b"a letter".to_vec(), "a text file, not k-space data"),
        (vec![0; 5000], "a file of unknown kind, not k-space data"),
        (Vec::new(), "an empty file, not k-space data"),
    ];
    for (bytes, reason) in cases {
        let error = refusal(&bytes);
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_no_judgement_of_the_data() {
    let error = open(Path::new("/nonexistent/scan.h5")).err().expect("an error");
    assert!(matches!(error, Error::Io { .. }) && !error.to_string().contains("scan.h5"), "{error}");
}

#[test]
fn samples_are_borrowed_from_the_file() {
    let scan = open_bytes(&phantom()).unwrap();
    for index in 0..scan.heads().len() {
        assert!(matches!(scan.samples(index).unwrap(), std::borrow::Cow::Borrowed(_)));
    }
    assert!(scan.samples(scan.heads().len()).is_err());
}

#[test]
fn samples_off_their_alignment_are_copied() {
    let mut file = phantom();
    let plain = open_bytes(&file).unwrap();
    // The first collection holds the header, the second readout 0. A copy of it goes to the end, two bytes off, and
    // the reference and the length of the file are changed accordingly.
    let collections: Vec<usize> = (0..file.len() - 16).filter(|&at| file[at..].starts_with(b"GCOL\x01")).collect();
    let collection = file[collections[1]..collections[2]].to_vec();
    let old = [(collections[1] as u64).to_le_bytes().as_slice(), &1_u32.to_le_bytes()].concat();
    let reference = (0..file.len() - 12).find(|&at| file[at..].starts_with(&old)).unwrap();
    file.resize(file.len().next_multiple_of(8) + 2, 0);
    let place = file.len() as u64;
    file.extend(collection);
    let end = file.len() as u64;
    file[reference..reference + 8].copy_from_slice(&place.to_le_bytes());
    file[40..48].copy_from_slice(&end.to_le_bytes());
    let moved = open_bytes(&file).unwrap();
    assert!(matches!(moved.samples(0).unwrap(), std::borrow::Cow::Owned(_)));
    for index in 0..plain.heads().len() {
        assert_eq!(moved.samples(index).unwrap(), plain.samples(index).unwrap());
    }
}

#[test]
fn a_cut_file_is_truncated_wherever_it_is_cut() {
    let file = phantom();
    let lengths = (8..200).chain((200..file.len()).step_by(997)).chain([file.len() - 1]);
    for length in lengths {
        let error = open_bytes(&file[..length]).err().expect("an error");
        assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
        assert_eq!(error.disposition(), Disposition::Retry);
    }
}

#[test]
fn real_scans_are_read_and_others_named() {
    let Some(folder) = switched_on("RAKI_CLOUD_DATA", "the folder of real scans") else { return };
    let folder = PathBuf::from(folder);
    let full = open(&folder.join("brain8_full.h5")).unwrap();
    assert_eq!(full.heads().len(), 168);
    for (name, count, acceleration) in [("brain8_r3.h5", 77, 3.0), ("brain8_r4.h5", 66, 4.0)] {
        let scan = open(&folder.join(name)).unwrap();
        assert_eq!(scan.heads().len(), count);
        assert_eq!(scan.header().encodings[0].acceleration, Some([acceleration, 1.0]));
        assert!(scan.heads().iter().any(|head| head.flags.has(Flags::CALIBRATION)));
        for (index, head) in scan.heads().iter().enumerate() {
            let twin = full.heads().iter().position(|other| other.counters == head.counters).unwrap();
            assert_eq!(scan.samples(index).unwrap(), full.samples(twin).unwrap(), "{name}, readout {index}");
        }
    }
    let archive = std::fs::File::open(folder.join("brain8_r4.tar.gz")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let extracted = kspace::archive::extract(archive, scratch.path(), &Default::default()).unwrap();
    assert_eq!((extracted.files.len(), extracted.files[0].container.as_slice()), (1, ["gzip", "tar"].as_slice()));
    let direct = std::fs::read(folder.join("brain8_r4.h5")).unwrap();
    assert!(std::fs::read(&extracted.files[0].path).unwrap() == direct);
}

/// Every real scan, and whatever begins like the files of other writers, keeps its kind: none is one of another vendor.
#[test]
fn files_that_are_read_are_of_no_other_vendor() {
    let kind = |bytes: &[u8]| Content::of(&bytes[..bytes.len().min(Content::HEAD_LENGTH as usize)]);
    for matrix in [32, 48, 64] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.h5");
        Phantom { slices: 1, coils: 1, matrix, ..Phantom::default() }.write_ismrmrd(&path).unwrap();
        assert_eq!(kind(&std::fs::read(path).unwrap()), Content::Hdf5);
    }
    let Some(folder) = switched_on("RAKI_CLOUD_DATA", "the folder of real scans") else { return };
    for path in files_in(Path::new(&folder)) {
        let expected = match path.extension().and_then(|ending| ending.to_str()) {
            Some("h5") => Content::Hdf5,
            Some("dat") => Content::SiemensDat,
            _ => continue,
        };
        assert_eq!(kind(&std::fs::read(&path).unwrap()), expected, "{}", path.display());
    }
}

/// Opens the file and reads everything in it.
fn read_all(bytes: &[u8]) -> Result<usize> {
    let scan = open_bytes(bytes)?;
    (0..scan.heads().len()).try_fold(0, |sum, index| Ok(sum + scan.samples(index)?.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The samples of a BART array are floats, those of streams follow a header: neither is a list or a P-file, whatever they hold.
    #[test]
    fn samples_are_no_files_of_other_vendors(samples in prop::collection::vec(-1e6_f32..1e6, 600)) {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let header = b"<?xml version=\"1.0\"?><ismrmrdHeader/>";
        let stream = [&3_u16.to_le_bytes()[..], &(header.len() as u32).to_le_bytes(), header, &bytes].concat();
        prop_assert_eq!(Content::of(&stream[..2056]), Content::IsmrmrdStream);
        prop_assert!(!matches!(Content::of(&bytes[..2056]), Content::OtherRaw(_)));
    }

    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_structure in any::<bool>(),
    ) {
        thread_local! { static FILE: Vec<u8> = phantom(); }
        let mut file = FILE.with(Clone::clone);
        // Most bytes are samples, which nothing depends on: half of the time only the rest is damaged.
        let structure = file.len() - 40_000;
        let places: Vec<usize> = (0..96).chain(96..2500).chain(structure..file.len()).collect();
        for (place, byte) in changes {
            let at = if in_structure { places[place.index(places.len())] } else { place.index(file.len()) };
            file[at] = byte;
        }
        let before = std::time::Instant::now();
        let _ = read_all(&file);
        prop_assert!(before.elapsed().as_secs() < 5);
    }
}
