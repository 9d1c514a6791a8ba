//! ISMRMRD streams hold what the file holds that they were made of, and cut or damaged ones say so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use kspace::format::{RawScan, open};
use kspace::phantom::Phantom;
use kspace::{Error, Result};
use proptest::prelude::*;

const XML: &str =
    "<?xml version=\"1.0\"?><ismrmrdHeader><encoding><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>";

#[expect(clippy::disallowed_methods, reason = "tests with programs of others are switched on by the environment")]
fn python() -> Option<OsString> {
    let value = std::env::var_os("RAKI_CLOUD_PYTHON");
    if value.is_none() {
        eprintln!("skipped: RAKI_CLOUD_PYTHON does not name an interpreter with the package ismrmrd");
    }
    value
}

fn open_bytes(bytes: &[u8]) -> Result<Box<dyn RawScan>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

/// A readout of two channels with three samples, of which the first is `line`.
fn acquisition(line: u16, flags: u64) -> Vec<u8> {
    let mut head = vec![0; 340];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(2, &flags.to_le_bytes());
    put(34, &3_u16.to_le_bytes());
    put(38, &2_u16.to_le_bytes());
    put(172, &1_u16.to_le_bytes());
    put(178, &2.5_f32.to_le_bytes());
    put(242, &line.to_le_bytes());
    let samples = (0..12).map(|value| f32::from(line) + value as f32).flat_map(f32::to_le_bytes);
    [&1008_u16.to_le_bytes()[..], &head, &samples.collect::<Vec<_>>()].concat()
}

/// A stream of four readouts; where each message begins, and its end.
fn stream(last: u64, close: bool) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = [&3_u16.to_le_bytes()[..], &(XML.len() as u32).to_le_bytes(), XML.as_bytes()].concat();
    let mut places = vec![0];
    for line in 0..4 {
        places.push(bytes.len());
        bytes.extend(acquisition(line, if line == 3 { last } else { 0 }));
    }
    places.push(bytes.len());
    if close {
        bytes.extend(4_u16.to_le_bytes());
    }
    (bytes, places)
}

#[test]
fn a_stream_of_the_official_package_is_the_file() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("scan.h5");
    let small = Phantom { slices: 2, coils: 3, matrix: 34, acceleration: 2, acs: 8, ..Phantom::default() };
    small.write_ismrmrd(&source).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/write_stream.py");
    let output = Command::new(python).arg(script).arg(&source).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = open(&source).unwrap();
    for name in ["plain", "mixed"] {
        let stream = open(&folder.path().join(name).with_extension("ismrmrd")).unwrap();
        assert_eq!(stream.format(), "ISMRMRD stream");
        assert_eq!(stream.header(), file.header());
        assert_eq!(stream.heads().len(), file.heads().len());
        let (mut borrowed, mut copied) = (0, 0);
        for (index, head) in file.heads().iter().enumerate() {
            // Readout 4 of the mixed stream got a trajectory and lost the rest of its head.
            if name == "plain" || index != 4 {
                assert_eq!(stream.heads()[index], *head, "{name}, readout {index}");
            }
            let samples = stream.samples(index).unwrap();
            assert_eq!(samples, file.samples(index).unwrap(), "{name}, readout {index}");
            *(if matches!(samples, std::borrow::Cow::Borrowed(_)) { &mut borrowed } else { &mut copied }) += 1;
        }
        if name == "mixed" {
            assert_eq!(stream.heads()[4].trajectory_dimensions, 2);
            assert!(borrowed > 0 && copied > 0, "{borrowed} borrowed, {copied} copied");
        }
        assert!(stream.samples(file.heads().len()).is_err());
        assert!(stream.warnings().is_empty(), "{:?}", stream.warnings());
    }
}

#[test]
fn the_matrix_of_a_bare_header_comes_from_the_readouts() {
    let scan = open_bytes(&stream(0, true).0).unwrap();
    assert_eq!(scan.header().encodings[0].encoded.matrix, [3, 4, 1]);
    assert!(!scan.warnings().is_empty());
    assert_eq!(scan.samples(2).unwrap()[5].re, 12.0);
}

#[test]
fn a_cut_stream_is_truncated_wherever_it_is_cut() {
    let (bytes, _) = stream(0, true);
    for length in 60..bytes.len() {
        let error = open_bytes(&bytes[..length]).err().expect("an error");
        assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
    }
    // Without its end message, a stream is whole when the scanner marked the last readout.
    assert!(open_bytes(&stream(1 << 24, false).0).is_ok());
    let trailing = [&stream(0, true).0[..], b"rest"].concat();
    assert!(open_bytes(&trailing).unwrap().warnings().iter().any(|warning| warning.contains("4 bytes after the end")));
}

#[test]
fn messages_out_of_place_are_named_with_their_offset() {
    let (bytes, places) = stream(0, true);
    let mut unknown = bytes.clone();
    unknown[places[2]..places[2] + 2].copy_from_slice(&77_u16.to_le_bytes());
    let error = open_bytes(&unknown).err().unwrap().to_string();
    assert!(error.contains(&format!("at byte {}", places[2])) && error.contains("message 77"), "{error}");
    let twice = [&bytes[..places[1]], &bytes].concat();
    assert!(open_bytes(&twice).err().unwrap().to_string().contains("a second header"));
    let empty = [&bytes[..places[1]], &4_u16.to_le_bytes()].concat();
    assert!(open_bytes(&empty).err().unwrap().to_string().contains("no readouts"));
    let compressed = open_bytes(&stream(1 << 52, true).0).err().unwrap().to_string();
    assert!(compressed.contains("compressed"), "{compressed}");
}

proptest! {
    #[test]
    fn damaged_streams_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(),
        cuts: bool,
    ) {
        let (mut bytes, _) = stream(0, true);
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(scan) = open_bytes(&bytes) {
            for index in 0..scan.heads().len() {
                let _ = scan.samples(index);
            }
        }
    }
}
