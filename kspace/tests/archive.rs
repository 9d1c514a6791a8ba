//! Archives as users send them: every accepted kind gives the raw file back, everything else a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::io::{Read, Write};

use std::path::Path;

use contract::Disposition;
use kspace::archive::{Content, Extracted, Limits, extract};
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
fn several_raw_files_come_out_in_order_under_numbers() {
    let (a, b, c) = (raw(3000), raw(2000), raw(1000));
    let siemens = [0_u32, 2, 243, 33_257, 10_240, 0, 0, 0].map(u32::to_le_bytes).concat();
    let inner = gzip(&tar(&[("deep/one.h5", &a), ("notes.txt", b"notes"), ("two.dat", &siemens)]));
    let archive = zip(&[("first.h5", &b), ("day.tar.gz", &inner), ("last.h5.xz", &xz(&c))]);
    let scratch = tempfile::tempdir().unwrap();
    let extracted = extract(archive.as_slice(), scratch.path(), &Limits::default()).unwrap();
    let names: Vec<_> = extracted.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["first", "one", "two", "last"]);
    assert_eq!(extracted.files[1].container, ["zip", "gzip", "tar"]);
    assert_eq!(extracted.files[3].container, ["zip", "xz"]);
    assert_eq!(extracted.others, [Content::Text]);
    let expected = [("0.h5", &b), ("1.h5", &a), ("2.dat", &siemens), ("3.h5", &c)];
    assert_eq!(stored(scratch.path()), expected.map(|(name, bytes)| (name.to_owned(), bytes.clone())));
    for (file, (name, _)) in extracted.files.iter().zip(expected) {
        assert_eq!(file.path, scratch.path().join(name));
    }
}

#[test]
fn both_files_of_bart_data_are_one_raw_file_and_one_alone_is_refused() {
    let (header, data) = (b"# Dimensions\n4 2 1 1\n".as_slice(), vec![0_u8; 64]);
    for order in [["a/x.hdr", "a/x.cfl"], ["a/x.cfl", "a/x.hdr"]] {
        let of = |name: &str| if name.ends_with("hdr") { header } else { &data };
        let members = order.map(|name| (name, of(name)));
        let scratch = tempfile::tempdir().unwrap();
        let archive = tar(&[members[0], ("b.h5", &raw(100)), members[1]]);
        let extracted = extract(archive.as_slice(), scratch.path(), &Limits::default()).unwrap();
        let names: Vec<_> = extracted.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(names, [("x", 64 + header.len() as u64), ("b", 100)]);
        assert_eq!(extracted.files[0].path, scratch.path().join("0.hdr"));
        let found: Vec<_> = stored(scratch.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["0.cfl", "0.hdr", "1.h5"]);
        let alone = extract(data.as_slice(), scratch.path(), &Limits::default());
        assert!(alone.is_err(), "data without a name are of no known kind");
    }
    // Two halves of different names, or in different archives, do not belong together.
    let inner = tar(&[("x.cfl", data.as_slice())]);
    for lone in [tar(&[("x.hdr", header), ("y.cfl", &data)]), zip(&[("x.hdr", header), ("x.tar", &inner)])] {
        let extracted = run(&lone, &Limits::default()).0.unwrap();
        assert!(extracted.files.is_empty());
        let reasons: Vec<_> = extracted.refused.iter().map(|refused| refused.error.to_string()).collect();
        assert!(reasons.len() == 2 && reasons.iter().all(|reason| reason.contains("send both in one archive")));
    }
}

/// What comes out of an archive: names of raw files, and names with reasons of what is refused.
fn outcome(archive: &[u8]) -> (Vec<String>, Vec<(String, String)>) {
    let scratch = tempfile::tempdir().unwrap();
    let extracted = extract(archive, scratch.path(), &Limits::default()).unwrap();
    for refused in &extracted.refused {
        assert_eq!(refused.error.disposition(), Disposition::Reject, "{refused:?}");
    }
    let paths: Vec<_> = extracted.files.iter().map(|file| file.path.clone()).collect();
    for (name, _) in stored(scratch.path()) {
        let path = scratch.path().join(name).with_extension("");
        assert!(paths.iter().any(|kept| kept.with_extension("") == path), "{path:?} is left of what was refused");
    }
    let refused = extracted.refused.into_iter().map(|refused| (refused.name, refused.error.to_string()));
    (extracted.files.into_iter().map(|file| file.name).collect(), refused.collect())
}

#[test]
fn one_damaged_member_is_refused_and_the_others_come_out() {
    let file = raw(300_000);
    let mut wrong = gzip(&file);
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    let cut = gzip(&file)[..100_000].to_vec();
    let nested = zip(&[("c.zip", &zip(&[("scan.h5", &file)]))]);
    let mut damaged_day = gzip(&tar(&[("first.h5", &file), ("second.h5", &file)]));
    let checksum = damaged_day.len() - 8;
    damaged_day[checksum] ^= 1;
    let cases: [(&str, &[u8], &str, &str); 4] = [
        ("b.h5.gz", &wrong, "b", "expected an intact stream"),
        ("b.h5.gz", &cut, "b", "ends early, though the archive itself is whole"),
        ("b.zip", &nested, "c", "an archive in an archive in an archive"),
        ("day.tar.gz", &damaged_day, "day", "expected an intact stream"),
    ];
    for (name, bytes, refused, reason) in cases {
        for archive in [
            tar(&[(name, bytes), ("T1.h5", &file)]),
            gzip(&tar(&[("T1.h5", &file), (name, bytes), ("notes.txt", b"notes")])),
            zip(&[(name, bytes), ("T1.h5", &file)]),
        ] {
            let (files, found) = outcome(&archive);
            assert_eq!(files, ["T1"], "{name}: {found:?}");
            let [(found, why)] = found.as_slice() else { panic!("{name}: {found:?}") };
            assert!(found == refused && why.contains(reason), "{name}: {found}: {why}");
        }
    }
    // Where nothing else is in the archive, its reason is that of the upload.
    assert!(refusal(&tar(&[("b.h5.gz", &wrong)])).contains("expected an intact stream"));
}

#[test]
fn members_of_a_zip_archive_are_refused_one_by_one() {
    let whole = zip(&[("b.h5", &raw(5000)), ("T1.h5", &raw(6000))]);
    let directory = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let data = whole.windows(4).position(|window| window == b"\x89HDF").unwrap();
    let change: [(usize, u8, &str); 3] = [
        (directory + 8, 1, "send it without a password"),
        (directory + 10, 98, "a compression that is not read"),
        (data + 100, 1, "another checksum"),
    ];
    for (at, bits, reason) in change {
        let mut archive = whole.clone();
        archive[at] ^= bits;
        let (files, refused) = outcome(&archive);
        assert_eq!(files, ["T1"]);
        assert!(refused.len() == 1 && refused[0].0 == "b" && refused[0].1.contains(reason), "{refused:?}");
    }
}

#[test]
fn an_archive_that_breaks_is_not_taken_for_a_damaged_member() {
    let (a, b) = (raw(300_000), raw(200_000));
    // A frame with a wrong checksum, after which the decoder could go on.
    let archive = tar(&[("a.h5", &a), ("b.h5", &b)]);
    let frame = |bytes: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut first = frame(&archive[..150_000]);
    *first.last_mut().unwrap() ^= 1;
    let packed = [first, frame(&archive[150_000..])].concat();
    assert!(matches!(run(&packed, &Limits::default()).0, Err(Error::Corrupt { .. })));
    assert!(matches!(run(&archive[..400_000], &Limits::default()).0, Err(Error::Truncated { .. })));
}

#[test]
fn bart_data_with_a_damaged_half_are_refused_as_one() {
    let (header, data) = (b"# Dimensions\n4 2 1 1\n".as_slice(), [7_u8; 64]);
    let mut wrong = gzip(&data);
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    for order in [[0, 1], [1, 0]] {
        let halves: [(&str, &[u8]); 2] = [("x.hdr", header), ("x.cfl.gz", &wrong)];
        let (files, refused) = outcome(&tar(&[halves[order[0]], ("T1.h5", &raw(100)), halves[order[1]]]));
        assert_eq!(files, ["T1"]);
        assert!(refused.len() == 1 && refused[0].0 == "x" && refused[0].1.contains("an intact stream"), "{refused:?}");
    }
}

#[test]
fn raw_data_of_other_vendors_are_refused_once_with_their_converter() {
    let p_file = [&[0; 34][..], b"GE_MED_NMR", &[0; 60]].concat();
    let members: [(&str, &[u8]); 4] =
        [("P1.7", &p_file), ("P2.7", &p_file), ("rest.rar", b"Rar!\x1a\x07\0rest"), ("T1.h5", &raw(100))];
    for archive in [tar(&members), zip(&members)] {
        let (files, refused) = outcome(&archive);
        assert_eq!(files, ["T1"]);
        assert!(refused.len() == 2 && refused[0].0 == "P1.7" && refused[0].1.contains("ge_to_ismrmrd"), "{refused:?}");
        assert!(refused[1].0 == "rest.rar" && refused[1].1.contains("unpack it"), "{refused:?}");
    }
    assert!(refusal(&tar(&members[..2])).contains("ge_to_ismrmrd"));
    assert!(refusal(&gzip(&p_file)).contains("ge_to_ismrmrd"));
}

#[test]
fn archives_in_archives_in_archives_are_refused() {
    let inner = tar(&[("scan.h5", &raw(100))]);
    let nested = zip(&[("b.tar.gz", &gzip(&inner))]);
    gives(&nested, &raw(100), &["zip", "gzip", "tar"]);
    assert!(refusal(&tar(&[("c.zip", &nested)])).contains("an archive in an archive in an archive"));
}

#[test]
fn a_zip_archive_is_held_to_its_directory() {
    let whole = zip(&[("scan.h5", &raw(5000)), ("b.txt", b"notes")]);
    for cut in [whole.len() / 2, whole.len() - 30] {
        assert!(matches!(run(&whole[..cut], &Limits::default()).0, Err(Error::Truncated { .. })), "cut at {cut}");
    }
    let data = whole.windows(4).position(|window| window == b"\x89HDF").unwrap();
    let mut damaged = whole.clone();
    damaged[data + 100] ^= 1;
    assert!(refusal(&damaged).contains("checksum"));
    let mut encrypted = whole.clone();
    let directory = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    encrypted[directory + 8] |= 1;
    assert!(refusal(&encrypted).contains("without a password"));
    let mut doubled = whole.clone();
    let second = whole[directory + 4..].windows(4).position(|window| window == b"PK\x01\x02").unwrap() + directory + 4;
    let first: [u8; 4] = whole[directory + 42..directory + 46].try_into().unwrap();
    doubled[second + 42..second + 46].copy_from_slice(&first);
    assert!(refusal(&doubled).contains("share bytes"));
    let mut method = whole;
    method[directory + 10] = 98;
    assert!(refusal(&method).contains("a compression that is not read"));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_cut_archive_is_never_taken_for_a_whole_one(codec in 0..4usize, wrapped in any::<bool>(), share in 0.0..1.0f64) {
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
    fn a_cut_bare_tar_is_never_taken_for_a_whole_one(share in 0.05..0.982f64) {
        let archive = tar(&[("scan.h5", &raw(60_000))]);
        let cut = ((archive.len() - 1) as f64 * share) as usize;
        let error = run(&archive[..cut], &Limits::default()).0.expect_err("a cut archive");
        prop_assert!(matches!(error, Error::Truncated { .. }), "{}", error);
    }

    #[test]
    fn any_set_of_raw_files_in_any_containers_comes_out_the_same(
        sizes in prop::collection::vec((8..3000usize, 0..5usize, 0..4usize), 1..6),
        outer in 0..3usize,
        packed in 0..5usize,
    ) {
        let pack = |bytes: Vec<u8>, codec: usize| CODECS.get(codec).map_or(bytes.clone(), |(_, codec)| codec(&bytes));
        let archive = |kind: usize, members: &[(&str, &[u8])]| if kind == 0 { zip(members) } else { tar(members) };
        // Each file by itself, or in an archive of its own; compressed or not.
        let files: Vec<Vec<u8>> = sizes.iter().map(|(size, ..)| raw(*size)).collect();
        let members: Vec<Vec<u8>> = files.iter().zip(&sizes).map(|(file, &(_, codec, inner))| match inner {
            0 | 1 => pack(archive(inner, &[("scan.h5", file)]), codec),
            _ => pack(file.clone(), codec),
        }).collect();
        let names: Vec<String> = (0..members.len()).map(|at| format!("day {at}/s{at}")).collect();
        let named: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(members.iter().map(Vec::as_slice)).collect();
        let upload = if outer == 0 { archive(0, &named) } else { pack(archive(1, &named), packed) };
        let scratch = tempfile::tempdir().unwrap();
        let extracted = extract(upload.as_slice(), scratch.path(), &Limits::default()).unwrap();
        prop_assert_eq!(extracted.files.len(), files.len());
        for (found, expected) in extracted.files.iter().zip(&files) {
            prop_assert!(std::fs::read(&found.path).unwrap() == *expected);
        }
        let distinct: std::collections::BTreeSet<_> = extracted.files.iter().map(|file| &file.name).collect();
        prop_assert_eq!(distinct.len(), files.len());
    }

    #[test]
    fn a_damaged_zip_archive_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut archive = zip(&[("scan.h5", &raw(2000)), ("b.tar", &tar(&[("c.h5", &raw(500))]))]);
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = run(&archive, &Limits::default());
    }

    #[test]
    fn damage_never_panics(codec in 0..4usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut archive = CODECS[codec].1(&tar(&[("scan.h5", &raw(20_000))]));
        let at = at.index(archive.len());
        archive[at] = byte;
        let _ = run(&archive, &Limits::default());
    }
}

/// Limits that hold `bytes` once.
fn once(bytes: usize) -> Limits {
    Limits { max_output_bytes: bytes as u64 + (8 << 10), ..Limits::default() }
}

#[test]
fn a_file_in_archives_within_each_other_counts_once() {
    let scan = raw(1 << 20);
    let packed = gzip(&scan);
    let inner = gzip(&tar(&[("a.h5", &scan)]));
    let archives = [
        gzip(&tar(&[("a.h5.gz", &packed)])),
        gzip(&tar(&[("a.tar.gz", &inner)])),
        gzip(&tar(&[("a.zip", &zip(&[("a.h5", &scan)]))])),
        tar(&[("a.tar.zst", &zstd(&tar(&[("a.h5.bz2", &bzip2(&scan))])))]),
        zip(&[("a.h5.gz", &packed)]),
    ];
    for archive in archives {
        let scratch = tempfile::tempdir().unwrap();
        let found = extract(archive.as_slice(), scratch.path(), &once(scan.len() * 11 / 10)).unwrap();
        assert_eq!(found.files.len(), 1);
        let error =
            extract(archive.as_slice(), tempfile::tempdir().unwrap().path(), &once(scan.len() / 2)).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}

/// A tar header with or without a signature, sealed by its checksum.
fn tar_header(signature: &[u8], name: &str, kind: u8, length: usize) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{length:011o}\0").as_bytes());
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..257 + signature.len()].copy_from_slice(signature);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[test]
fn tar_archives_from_before_its_signature_are_read() {
    let scan = raw(1000);
    let mut archive = tar_header(b"", "a/b.h5", 0, scan.len());
    archive.extend(&scan);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    for bytes in [archive.clone(), gzip(&archive)] {
        let scratch = tempfile::tempdir().unwrap();
        let found = extract(bytes.as_slice(), scratch.path(), &Limits::default()).unwrap();
        assert_eq!(std::fs::read(&found.files[0].path).unwrap(), scan);
        assert_eq!((found.files[0].name.as_str(), found.files[0].container.last()), ("b", Some(&"tar")));
    }
    archive[3] ^= 1;
    assert!(
        extract(archive.as_slice(), tempfile::tempdir().unwrap().path(), &Limits::default())
            .is_ok_and(|found| found.files.iter().all(|file| file.container.is_empty()))
    );
}

#[test]
fn files_with_holes_are_refused_by_name() {
    let scan = raw(600);
    let record = |key: &str, value: &str| {
        let bare = key.len() + value.len() + 3;
        let length = (bare + 2..).find(|length| bare + length.to_string().len() == *length).unwrap();
        format!("{length} {key}={value}\n")
    };
    let records = ["GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"];
    let records: String =
        records.iter().zip(["1", "0", "a/holes.h5", "600"]).map(|(key, value)| record(key, value)).collect();
    let padded = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let ustar = |name: &str, kind, length| tar_header(b"ustar\x0000", name, kind, length);
    let map = padded(b"1\n0\n600\n");
    let archive = [
        ustar("a/PaxHeaders/holes.h5", b'x', records.len()),
        padded(records.as_bytes()),
        ustar("a/GNUSparseFile.7/holes.h5", b'0', map.len() + scan.len()),
        map,
        padded(&scan),
        ustar("a/whole.h5", b'0', scan.len()),
        padded(&scan),
        vec![0; 1024],
    ];
    let scratch = tempfile::tempdir().unwrap();
    let found = extract(archive.concat().as_slice(), scratch.path(), &Limits::default()).unwrap();
    assert_eq!(found.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["whole"]);
    assert_eq!((found.refused.len(), found.refused[0].name.as_str()), (1, "holes"));
    assert!(found.refused[0].error.to_string().contains("without --sparse"));
}
