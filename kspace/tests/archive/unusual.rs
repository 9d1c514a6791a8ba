//! Archives in archives, and tar archives of old and of rare kinds.

use super::*;

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
