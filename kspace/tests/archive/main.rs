//! Archives as users send them: every accepted kind gives the raw file back, everything else a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

mod members;
mod properties;
mod unusual;

use std::io::{Read, Write};
use std::path::Path;

use contract::Disposition;
use kspace::archive::{Content, Extracted, Limits, extract};
use kspace::{Error, Result};

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

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Number of a way to compress members of a zip archive, and what does it.
type Method = (u16, Encode);

const STORED: Method = (0, <[u8]>::to_vec);
const METHODS: [Method; 5] = [STORED, (8, deflate), (12, bzip2), (93, zstd), (95, xz)];

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(STORED, members)
}

/// A zip archive by its specification (APPNOTE 4.3): headers and data of members, directory, end of the directory.
fn zip_with((method, encode): Method, members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let (packed, start) = (encode(bytes), archive.len() as u32);
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let mut common = [&20_u16.to_le_bytes()[..], &0_u16.to_le_bytes(), &method.to_le_bytes(), &[0; 4]].concat();
        for number in [crc.sum(), packed.len() as u32, bytes.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        archive.extend([&b"PK\x03\x04"[..], common.as_slice(), name.as_bytes(), &packed].concat());
        let rest = [&[0; 10][..], &start.to_le_bytes(), name.as_bytes()].concat();
        directory.extend([&b"PK\x01\x02"[..], &20_u16.to_le_bytes(), &common, &rest].concat());
    }
    let (count, start) = ((members.len() as u16).to_le_bytes(), (archive.len() as u32).to_le_bytes());
    let length = (directory.len() as u32).to_le_bytes();
    archive.extend([&directory[..], b"PK\x05\x06", &[0; 4], &count, &count, &length, &start, &[0; 2]].concat());
    archive
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

type Encode = fn(&[u8]) -> Vec<u8>;

const CODECS: [(&str, Encode); 4] = [("gzip", gzip), ("zstd", zstd), ("xz", xz), ("bzip2", bzip2)];

/// What was extracted, and the bytes of everything in the scratch folder, one after the other.
fn run(archive: &[u8], limits: &Limits) -> (Result<Extracted>, Vec<u8>) {
    let scratch = tempfile::tempdir().unwrap();
    let result = extract(archive, scratch.path(), limits);
    (result, stored(scratch.path()).into_iter().flat_map(|(_, bytes)| bytes).collect())
}

/// Names and bytes of the files of a folder, in the order of their names.
fn stored(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn gives(archive: &[u8], expected: &[u8], container: &[&str]) {
    let (result, bytes) = run(archive, &Limits::default());
    let extracted = result.unwrap();
    let [file] = extracted.files.as_slice() else { panic!("{extracted:?}") };
    assert_eq!(file.container, container);
    assert_eq!(file.bytes, expected.len() as u64);
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
    for method in METHODS {
        gives(&zip_with(method, &[("a/scan.h5", &file), ("a/notes.txt", b"notes")]), &file, &["zip"]);
    }
    gives(&zip(&[("scan.h5.bz2", &bzip2(&file))]), &file, &["zip", "bzip2"]);
    for (name, codec) in CODECS {
        gives(&codec(&file), &file, &[name]);
        assert_eq!(run(&codec(&file), &Limits::default()).0.unwrap().files[0].name, "");
        let members: [(&str, &[u8]); 4] =
            [("read me.txt", b"notes"), ("._scan.h5", &file), ("__MACOSX/scan.h5", &file), ("scan.h5", &file)];
        gives(&codec(&tar(&members)), &file, &[name, "tar"]);
        gives(&tar(&[("scan.h5.x", &codec(&file))]), &file, &["tar", name]);
    }
}

#[test]
fn streams_of_several_members_are_one_stream() {
    let file = raw(200_000);
    for (name, codec) in [("gzip", gzip as Encode), ("bzip2", bzip2)] {
        gives(&[codec(&file[..70_000]), codec(&file[70_000..])].concat(), &file, &[name]);
    }
}

#[test]
fn what_follows_the_last_member_of_a_stream_is_padding() {
    let file = raw(50_000);
    for (name, codec) in [("gzip", gzip as Encode), ("bzip2", bzip2)] {
        for tail in [vec![0; 10_000], b"left by a tape drive".to_vec()] {
            gives(&[codec(&tar(&[("scan.h5", &file)])), tail].concat(), &file, &[name, "tar"]);
        }
        // Another member that is cut is no padding.
        let cut = [codec(&file[..20_000]), codec(&file[20_000..])[..5000].to_vec()].concat();
        assert!(matches!(run(&cut, &Limits::default()).0, Err(Error::Truncated { .. })), "{name}");
    }
}

#[test]
fn a_tar_archive_ends_with_its_mark() {
    let file = raw(51_200);
    let archive = tar(&[("scan.h5", &file)]);
    let data_end = archive.len() - 1024;
    for packed in [archive[..data_end].to_vec(), gzip(&archive[..data_end])] {
        assert!(matches!(run(&packed, &Limits::default()).0, Err(Error::Truncated { .. })));
    }
    gives(&[archive, vec![0; 9216]].concat(), &file, &["tar"]);
}

#[test]
fn members_with_long_names_and_extended_headers_are_read() {
    let (file, name) = (raw(5000), format!("{}scan.h5", "folder/".repeat(60)));
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("comment", b"of a scanner".as_slice())]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(file.len() as u64);
    builder.append_data(&mut header, name, file.as_slice()).unwrap();
    gives(&builder.into_inner().unwrap(), &file, &["tar"]);
}

#[test]
fn a_name_as_long_as_an_archive_is_not_held_in_memory() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(8 << 20);
    header.set_cksum();
    let archive = [header.as_bytes().as_slice(), &raw(8 << 20), &[0; 1024]].concat();
    let (result, _) = run(&gzip(&archive), &Limits::default());
    assert!(matches!(result, Err(Error::Limit { what: "the length of a member's header in bytes", .. })), "{result:?}");
}

#[test]
fn damaged_member_headers_do_not_reveal_names() {
    let mut archive = tar(&[("JANE_DOE.txt", b"notes"), ("JANE_DOE.h5", &raw(1000))]);
    // The size of the second member, after the header and the block of the first.
    archive[1024 + 124..1024 + 136].copy_from_slice(b"not a number");
    let error = refusal(&archive);
    assert!(error.contains("member header") && !error.contains("JANE"), "{error}");
}

#[test]
fn links_and_folders_are_not_raw_data_and_sparse_files_are_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    let types = [tar::EntryType::Directory, tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::GNUSparse];
    for kind in types {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_path("scan.h5").unwrap();
        header.as_gnu_mut().unwrap().set_real_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    let error = refusal(&builder.into_inner().unwrap());
    assert!(error.contains("a file in the tar archive with holes"), "{error}");
}

#[test]
fn compressions_that_ask_for_much_memory_are_refused_with_advice() {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(1 << 30);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(&raw(1000)).unwrap();
    let xz = encoder.finish().unwrap();
    assert!(refusal(&xz).contains("too much memory"));
    // A zstd frame header that asks for a window of 4 GiB: descriptor without content size, exponent 22, mantissa 0.
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 22 << 3][..], &[1, 0, 0]].concat();
    assert!(refusal(&frame).contains("too much memory"));
}

#[test]
fn a_damaged_end_counts_even_when_the_raw_file_was_read() {
    let file = raw(100_000);
    let mut archive = gzip(&tar(&[("scan.h5", &file), ("rest.bin", &raw(50_000)[8..])]));
    let last = archive.len() - 6;
    archive[last] ^= 1;
    assert!(matches!(run(&archive, &Limits::default()).0, Err(Error::Corrupt { .. })));
}

#[test]
fn the_hash_is_that_of_the_raw_file() {
    let file = raw(1000);
    let digest = |bytes: &[u8]| run(bytes, &Limits::default()).0.unwrap().files[0].sha256.clone();
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
    assert!(refusal(&zip(&[("a.txt", b"hello")])).contains("only 1 × a text file"));
    assert!(refusal(&zip(&[])).contains("only nothing"));
    assert!(refusal(b"Rar!\x1a\x07\0rest of it").contains("a rar archive"));
}

#[test]
fn bombs_stop_at_the_limits() {
    let zeros = [raw(8), vec![0; 64 << 20]].concat();
    for (name, codec) in CODECS {
        let (result, bytes) = run(&codec(&zeros), &Limits::default());
        assert!(matches!(result, Err(Error::Limit { what: "the compression ratio", .. })), "{name}: {result:?}");
        assert!(bytes.len() < 32 << 20, "{name} stopped late");
    }
    let bomb = zip_with((8, deflate), &[("scan.h5", &zeros)]);
    assert!(matches!(run(&bomb, &Limits::default()).0, Err(Error::Limit { what: "the compression ratio", .. })));
    let small = Limits { max_output_bytes: 1000, ..Limits::default() };
    assert!(matches!(run(&gzip(&raw(5000)), &small).0, Err(Error::Limit { limit: 1000, .. })));
    for bare in [raw(5000), tar(&[("scan.h5", &raw(5000))])] {
        assert!(matches!(run(&bare, &small).0, Err(Error::Limit { limit: 1000, .. })), "not compressed");
    }
    let few = Limits { max_entries: 2, ..Limits::default() };
    let many: [(&str, &[u8]); 3] = [("a", b"x"), ("b", b"x"), ("c", b"x")];
    let nested = tar(&[("a", b"x"), ("b.zip", &zip(&[("c", b"x")]))]);
    for many in [tar(&many), zip(&many), nested] {
        assert!(matches!(run(&many, &few).0, Err(Error::Limit { found: 3, limit: 2, .. })));
    }
    let lone = Limits { max_files: 1, ..Limits::default() };
    let pair = tar(&[("a.h5", &raw(9)), ("b.h5", &raw(9))]);
    assert!(matches!(run(&pair, &lone).0, Err(Error::Limit { found: 2, limit: 1, .. })));
}

#[test]
fn archives_in_archives_in_archives_are_refused() {
    let inner = tar(&[("scan.h5", &raw(100))]);
    let nested = zip(&[("b.tar.gz", &gzip(&inner))]);
    gives(&nested, &raw(100), &["zip", "gzip", "tar"]);
    assert!(refusal(&tar(&[("c.zip", &nested)])).contains("an archive in an archive in an archive"));
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
    let scratch = tempfile::tempdir().unwrap();
    let result = extract(archive[..50_000].chain(Broken), scratch.path(), &Limits::default());
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}
