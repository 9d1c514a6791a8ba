//! Members of archives, told apart, refused one by one.

use super::*;

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
