//! What the fuzzers start from, and what they found: every file is opened, read and prepared, or refused, and nothing panics.
//! The folders are those of `fuzz/seeds` and `tests/regressions`, one for each target.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::path::{Path, PathBuf};

use kspace::archive::{Limits, extract};
use kspace::format::measurements::{Source, assemble};
use kspace::format::{RawScan, open_all};
use kspace::prepare::{Options, plan};

/// Every file below a folder, with the name of its target.
fn files(root: &str) -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let targets = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut found: Vec<(String, PathBuf)> = targets
        .flat_map(|folder| {
            let target = folder.file_name().unwrap().to_str().unwrap().to_owned();
            std::fs::read_dir(folder).unwrap().map(move |file| (target.clone(), file.unwrap().path()))
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// What each finding is answered with: whether it holds a scan that is prepared.
const FOUND: [(&str, bool); 2] = [("fastmri/hundreds-of-coils.h5", true), ("ismrmrd/chunk-beyond-any.h5", false)];

/// Reads and prepares a scan; whether all of it worked.
fn exhaust(scan: &dyn RawScan) -> bool {
    let read = (0..scan.heads().len()).all(|readout| scan.samples(readout).is_ok());
    let written =
        plan(scan, &Options::default()).is_ok_and(|plan| plan.write(scan, std::io::sink(), &mut |_, _| {}).is_ok());
    read && written
}

/// Does what the fuzzer of a target does; whether the file holds at least one scan that could be prepared.
fn run(target: &str, file: &Path) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file).unwrap();
    let all = |scans: kspace::Result<Vec<Box<dyn RawScan>>>| {
        scans.is_ok_and(|scans| scans.iter().filter(|scan| exhaust(&***scan)).count() > 0)
    };
    match target {
        "xml" => kspace::format::xml::parse(&String::from_utf8_lossy(&bytes)).is_ok(),
        "archive" => {
            let limits = Limits { max_output_bytes: 8 << 20, max_ratio: 50, max_entries: 100, ..Limits::default() };
            let Ok(extracted) = extract(bytes.as_slice(), folder.path(), &limits) else { return false };
            let sources: Vec<_> =
                extracted.files.iter().map(|file| Source { name: &file.name, path: &file.path }).collect();
            assemble(&sources).scans.iter().filter(|found| exhaust(&*found.scan)).count() > 0
        }
        "cfl" => {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            let path = folder.path().join("0.hdr");
            std::fs::write(&path, &bytes[..end]).unwrap();
            std::fs::write(path.with_extension("cfl"), bytes.get(end + 1..).unwrap_or_default()).unwrap();
            all(open_all(&path))
        }
        _ => all(open_all(file)),
    }
}

#[test]
fn what_the_fuzzers_start_from_is_read() {
    for (target, file) in files("../fuzz/seeds") {
        assert!(run(&target, &file), "{target}: {:?}", file.file_name());
    }
}

#[test]
fn what_the_fuzzers_found_is_answered() {
    let answers: Vec<(String, bool)> = files("tests/regressions")
        .iter()
        .map(|(target, file)| (format!("{target}/{}", file.file_name().unwrap().display()), run(target, file)))
        .collect();
    assert_eq!(answers, FOUND.map(|(file, prepared)| (file.to_owned(), prepared)));
}
