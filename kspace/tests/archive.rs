//! Archives as users send them: every accepted kind gives the raw file back, everything else a reason.

use std::io::{Read, Seek, SeekFrom, Write};

use contract::Disposition;
use kspace::archive::{Extracted, Limits, extract};
use kspace::{Error, Result};
use proptest::prelude::*;

/// Bytes that look like an HDF5 file and do not compress.
fn raw(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    b"\x89HDF\r\n\x1a\n".iter().copied().chain(noise).take(length.max(8)).collect()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const CODECS: [(&str, fn(&[u8]) -> Vec<u8>); 3] = [("gzip", gzip), ("zstd", zstd), ("xz", xz)];

fn run(archive: &[u8], limits: &Limits) -> (Result<Extracted>, Vec<u8>) {
    let mut output = tempfile::tempfile().unwrap();
    let result = extract(archive, &mut output, limits);
    output.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).unwrap();
    (result, bytes)
}

fn gives(archive: &[u8], expected: &[u8], container: &[&str]) {
    let (result, bytes) = run(archive, &Limits::default());
    let extracted = result.unwrap();
    assert_eq!(extracted.container, container);
    assert_eq!(extracted.bytes, expected.len() as u64);
    assert!(bytes == expected, "{container:?}: other bytes");
}

fn refusal(archive: &[u8]) -> String {
    let (result, _) = run(archive, &Limits::default());
    let error = result.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Reject, "{error}");
    error.to_string()
}

#[test]
fn every_accepted_kind_gives_the_raw_file_back() {
    let file = raw(300_000);
    gives(&file, &file, &[]);
    gives(&tar(&[("a/scan.h5", &file)]), &file, &["tar"]);
    for (name, codec) in CODECS {
        gives(&codec(&file), &file, &[name]);
        let members: [(&str, &[u8]); 4] =
            [("read me.txt", b"notes"), ("._scan.h5", &file), ("__MACOSX/scan.h5", &file), ("scan.h5", &file)];
        gives(&codec(&tar(&members)), &file, &[name, "tar"]);
        gives(&tar(&[("scan.h5.x", &codec(&file))]), &file, &["tar", name]);
    }
}

#[test]
fn gzip_of_several_members_is_one_stream() {
    let file = raw(200_000);
    let mut joined = gzip(&file[..70_000]);
    joined.extend(gzip(&file[70_000..]));
    gives(&joined, &file, &["gzip"]);
}

#[test]
fn the_hash_is_that_of_the_raw_file() {
    let file = raw(1000);
    let digest = |bytes: &[u8]| run(bytes, &Limits::default()).0.unwrap().sha256;
    assert_eq!(digest(&gzip(&tar(&[("scan", &file)]))), digest(&file));
    assert_ne!(digest(&file), digest(&raw(1001)));
}

#[test]
fn what_holds_no_raw_file_is_refused_by_what_it_holds() {
    let found = refusal(&gzip(&tar(&[("a.txt", b"hello"), ("b.txt", b"you"), ("c.pdf", b"%PDF-1.4")])));
    assert!(found.contains("1 × a PDF document, 2 × a text file"), "{found}");
    assert!(!found.contains("a.txt"), "a member's name may be a person's");
    assert!(refusal(b"just some words").contains("a text file"));
    assert!(refusal(b"").contains("an empty file"));
    assert!(refusal(b"PK\x03\x04rest of a zip file").contains("zip"));
    let file = raw(1000);
    assert!(refusal(&tar(&[("a.h5", &file), ("b.h5", &file)])).contains("2 raw data files"));
}

#[test]
fn bombs_stop_at_the_limits() {
    let zeros = [raw(8), vec![0; 64 << 20]].concat();
    for (name, codec) in CODECS {
        let (result, bytes) = run(&codec(&zeros), &Limits::default());
        assert!(matches!(result, Err(Error::Limit { what: "the compression ratio", .. })), "{name}: {result:?}");
        assert!(bytes.len() < 32 << 20, "{name} stopped late");
    }
    let small = Limits { max_output_bytes: 1000, ..Limits::default() };
    assert!(matches!(run(&gzip(&raw(5000)), &small).0, Err(Error::Limit { limit: 1000, .. })));
    let few = Limits { max_entries: 2, ..Limits::default() };
    let many = tar(&[("a", b"x"), ("b", b"x"), ("c", b"x")]);
    assert!(matches!(run(&many, &few).0, Err(Error::Limit { found: 3, limit: 2, .. })));
}

#[test]
fn time_that_ran_out_is_tried_again() {
    let past = Limits { deadline: Some(std::time::Instant::now()), ..Limits::default() };
    let (result, _) = run(&gzip(&raw(1000)), &past);
    assert_eq!(result.unwrap_err().disposition(), Disposition::Retry);
}

#[test]
fn trouble_of_the_source_is_not_taken_for_damage() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let archive = gzip(&raw(100_000));
    let mut output = tempfile::tempfile().unwrap();
    let result = extract(archive[..50_000].chain(Broken), &mut output, &Limits::default());
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_cut_archive_is_never_taken_for_a_whole_one(codec in 0..3usize, wrapped in any::<bool>(), share in 0.0..1.0f64) {
        let file = raw(60_000);
        let inner = if wrapped { tar(&[("scan.h5", &file)]) } else { file };
        let archive = CODECS[codec].1(&inner);
        let cut = ((archive.len() - 1) as f64 * share) as usize;
        let (result, _) = run(&archive[..cut], &Limits::default());
        let error = result.expect_err("a cut archive");
        // Too short for its kind to be told, it is not known to be an archive; from there on it is known to be cut.
        if cut > 4 * 1024 {
            prop_assert!(matches!(error, Error::Truncated { .. }), "{} of {}: {}", cut, archive.len(), error);
        }
    }

    #[test]
    fn a_cut_bare_tar_is_never_taken_for_a_whole_one(share in 0.02..0.97f64) {
        let archive = tar(&[("scan.h5", &raw(60_000))]);
        let cut = ((archive.len() - 1) as f64 * share) as usize;
        let error = run(&archive[..cut], &Limits::default()).0.expect_err("a cut archive");
        prop_assert!(matches!(error, Error::Truncated { .. }), "{}", error);
    }

    #[test]
    fn damage_never_panics(codec in 0..3usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut archive = CODECS[codec].1(&tar(&[("scan.h5", &raw(20_000))]));
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = run(&archive, &Limits::default());
    }
}
