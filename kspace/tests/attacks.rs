//! Malicious files: each is refused with its sentence, in bounded time and memory, and none leaves its folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kspace::Error;
use kspace::archive::{Limits, extract};
use kspace::format::measurements::{Source, assemble};
use kspace::prepare::{Options, plan};

/// Small enough that every bomb and every claim meets a limit.
const LIMITS: Limits =
    Limits { max_output_bytes: 256 << 20, max_ratio: 100, max_entries: 1000, max_files: 8, deadline: None };
/// A file of this folder is never larger.
const LARGEST: u64 = 100_000;
/// Far more than any of them takes on a busy machine; whatever hangs meets the deadline or this.
const LONGEST: Duration = Duration::from_secs(60);
/// What the process may hold at its peak, with all the files it has read.
const MOST_MEMORY: u64 = 768 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attacks")
}

fn expected() -> BTreeMap<String, String> {
    serde_json::from_slice(&fs::read(folder().join("expected.json")).unwrap()).unwrap()
}

/// Everything that is said of a file until all of it is refused, or planned.
fn said(file: &Path, scratch: &Path) -> String {
    let limits = Limits { deadline: Some(Instant::now() + LONGEST), ..LIMITS };
    let extracted = match extract(fs::File::open(file).unwrap(), scratch, &limits) {
        Ok(extracted) => extracted,
        Err(error) => return error.to_string(),
    };
    let sources: Vec<_> = extracted.files.iter().map(|file| Source { name: &file.name, path: &file.path }).collect();
    let found = assemble(&sources);
    let unread = found.refused.iter().map(|(_, error)| error);
    let halves = extracted.refused.iter().map(|half| &half.error);
    let mut said: Vec<String> = unread.chain(halves).map(Error::to_string).collect();
    for measurement in &found.scans {
        said.push(match plan(&*measurement.scan, &Options::default()) {
            Ok(plan) => format!("planned {} bytes", plan.byte_len()),
            Err(error) => error.to_string(),
        });
    }
    said.join("; ")
}

/// The largest resident size so far, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

fn files_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn every_attack_is_answered_with_its_sentence() {
    let mut wrong = Vec::new();
    for (name, fragment) in expected() {
        let around = tempfile::tempdir().unwrap();
        let scratch = around.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let start = Instant::now();
        let said = said(&folder().join(&name), &scratch);
        assert!(start.elapsed() < LONGEST, "{name} took {:?}", start.elapsed());
        if !said.contains(&fragment) || fragment.is_empty() {
            wrong.push(format!("{name}: expected {fragment:?}, found: {said}"));
        }
        assert!(!said.contains("raki-escape") && !said.contains("passwd"), "{name} names what is in it: {said}");
        assert_eq!(files_in(around.path()), ["scratch"], "{name} left its folder");
        for stored in files_in(&scratch) {
            let (number, ending) = stored.split_once('.').unwrap();
            assert!(number.parse::<u32>().is_ok() && !ending.contains('.'), "{name} made {stored}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for escaped in ["/tmp/raki-escape.h5", "/tmp/raki-escape.txt"] {
        assert!(!Path::new(escaped).exists(), "{escaped} was written");
    }
    if let Some(peak) = peak_memory() {
        assert!(peak < MOST_MEMORY, "{} MB at the peak", peak >> 20);
    }
}

#[test]
fn every_file_is_small_and_has_its_sentence() {
    let expected = expected();
    let kept = ["make.py", "expected.json"];
    for name in files_in(&folder()).into_iter().filter(|name| !kept.contains(&name.as_str())) {
        assert!(expected.contains_key(&name), "{name} has no sentence");
        assert!(fs::metadata(folder().join(&name)).unwrap().len() <= LARGEST, "{name} is large");
    }
}
