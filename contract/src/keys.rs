//! Where every object lies.
//!
//! Prepared files and results mirror the path of the raw file, because that is how people look for them on
//! the share. Everything a machine keeps for itself lies in the state bucket under a prefix per kind.

use std::collections::HashSet;

use crate::scan::ScanId;

/// Container endings, longest first, so that `.tar.gz` is not taken for `.gz`.
const ARCHIVE_ENDINGS: [&str; 15] = [
    ".tar.zst", ".tar.bz2", ".tar.gz", ".tar.xz", ".tzst", ".tbz2", ".tgz", ".tbz", ".txz", ".tar", ".zst", ".bz2",
    ".gz", ".xz", ".zip",
];

/// Endings of raw data files.
const RAW_ENDINGS: [&str; 7] = [".ismrmrd", ".hdf5", ".mrd", ".dat", ".cfl", ".hdr", ".h5"];

/// Ending of a prepared file.
pub const PREPARED_ENDING: &str = ".safetensors";
/// Prefix of the histories in the state bucket.
pub const STATUS_PREFIX: &str = "status/";
/// Name of the manifest below a results prefix.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Name of the report below a results prefix.
pub const REPORT_NAME: &str = "report.html";
/// Name of the picture that the worklist shows, below a results prefix.
pub const THUMBNAIL_NAME: &str = "thumbnail.png";
/// Key of the page of all scans in the results bucket.
pub const WORKLIST_KEY: &str = "worklist.html";
/// User metadata entry of a prepared object that holds its scan id.
pub const SCAN_METADATA: &str = "scan-id";
/// User metadata entry of a raw object that asks for a reconstruction method other than the default.
pub const METHOD_METADATA: &str = "raki-method";

/// Characters of a part's name that are kept; a share shows paths of a few hundred.
const PART_NAME_LENGTH: usize = 100;
/// Name of a part that has none of its own.
const UNNAMED_PART: &str = "scan";

/// How a raw path becomes a name below the prepared and results buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `a/brain.tar.gz` → `a/brain`.
    Short,
    /// `a/brain.tar.gz` → `a/brain.tar.gz`, for the second of two raw files that would share a short name.
    KeepEnding,
}

/// The names derived from one raw key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanKeys {
    /// The mirrored path without an ending.
    pub name: String,
    /// Key of the prepared file in the prepared bucket.
    pub prepared: String,
    /// Prefix of the results in the results bucket, with its final `/`.
    pub results: String,
}

impl ScanKeys {
    /// The names for a raw key, decoded from its event form.
    #[must_use]
    pub fn of_raw(raw_key: &str, naming: Naming) -> Self {
        match naming {
            Naming::Short => Self::of_name(stem(raw_key)),
            Naming::KeepEnding => Self::of_name(raw_key),
        }
    }

    /// The names for a mirrored path.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self { name: name.to_owned(), prepared: format!("{name}{PREPARED_ENDING}"), results: format!("{name}/") }
    }

    /// The names for a prepared key; `None` when the key is not one of a prepared file.
    #[must_use]
    pub fn of_prepared(prepared_key: &str) -> Option<Self> {
        let name = prepared_key.strip_suffix(PREPARED_ENDING)?;
        (!name.is_empty() && !name.ends_with('/')).then(|| Self::of_name(name))
    }

    /// The names for one of several scans of the upload: `a/study` and `t2` → `a/study/t2`.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self::of_name(&format!("{}/{name}", self.name))
    }

    /// Key of the manifest in the results bucket.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{}{MANIFEST_NAME}", self.results)
    }
}

/// Names of the scans of one upload as parts of a path: without separators and control characters, not hidden, not
/// empty, and different from each other in any case of letters, since shares ignore it. The same names in the same order
/// give the same answer.
#[must_use]
pub fn part_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut given = DistinctNames::default();
    let distinct = |name: &'a str| {
        let clean: String = name
            .chars()
            .map(|letter| if letter.is_control() || matches!(letter, '/' | '\\') { '_' } else { letter })
            .take(PART_NAME_LENGTH)
            .collect();
        let clean = clean.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
        given.give(if clean.is_empty() { UNNAMED_PART } else { clean }, '_')
    };
    names.into_iter().map(distinct).collect()
}

/// Names that were given, all different in any case of letters, since shares ignore it.
#[derive(Debug, Clone, Default)]
pub struct DistinctNames {
    given: HashSet<String>,
}

impl DistinctNames {
    /// `wanted`, or where that is given already, `wanted`, `mark` and a number from 2 on.
    pub fn give(&mut self, wanted: &str, mark: char) -> String {
        let (mut candidate, mut number) = (wanted.to_owned(), 1_u64);
        while !self.given.insert(candidate.to_lowercase()) {
            number += 1;
            candidate = format!("{wanted}{mark}{number}");
        }
        candidate
    }
}

/// The raw key without its container ending and its raw data ending. A name that is nothing but an ending stays whole.
#[must_use]
pub fn stem(raw_key: &str) -> &str {
    let outer = strip_ending(raw_key, &ARCHIVE_ENDINGS);
    strip_ending(outer, &RAW_ENDINGS)
}

fn strip_ending<'a>(key: &'a str, endings: &[&str]) -> &'a str {
    for ending in endings {
        let Some(at) = key.len().checked_sub(ending.len()) else { continue };
        let found = key.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(ending));
        if found && at > 0 && !key[..at].ends_with('/') {
            return &key[..at];
        }
    }
    key
}

/// State bucket: which raw file owns a mirrored name. Written once per name with a condition, so that two raw
/// files never write to the same results.
#[must_use]
pub fn owner_key(name: &str) -> String {
    format!("owners/{name}.json")
}

/// State bucket: the history of a scan.
#[must_use]
pub fn status_key(scan: &ScanId) -> String {
    format!("{STATUS_PREFIX}{scan}.json")
}

/// The scan whose history a key of the state bucket is; `None` for another record.
#[must_use]
pub fn scan_of_status_key(key: &str) -> Option<ScanId> {
    key.strip_prefix(STATUS_PREFIX)?.strip_suffix(".json")?.parse().ok()
}

/// State bucket: what the job of a scan is asked to do.
#[must_use]
pub fn job_key(scan: &ScanId) -> String {
    format!("jobs/{scan}.json")
}

/// State bucket: who is working on a stage of a scan.
#[must_use]
pub fn claim_key(stage: crate::Stage, scan: &ScanId) -> String {
    format!("claims/{stage}/{scan}.json")
}

/// State bucket: why a raw file was refused. Mirrors the raw path, so that it is found next to the file's name.
#[must_use]
pub fn quarantine_key(raw_key: &str) -> String {
    format!("quarantine/{raw_key}.json")
}

/// State bucket: why one of several scans of a raw file was refused.
#[must_use]
pub fn part_quarantine_key(raw_key: &str, name: &str) -> String {
    quarantine_key(&format!("{raw_key}/{name}"))
}

/// State bucket: the scans of an upload that holds several.
#[must_use]
pub fn parts_key(upload: &ScanId) -> String {
    format!("parts/{upload}.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_mirror_the_raw_path() {
        let keys = ScanKeys::of_raw("2026-11-23/brain_t2.tar.gz", Naming::Short);
        assert_eq!(keys.prepared, "2026-11-23/brain_t2.safetensors");
        assert_eq!(keys.results, "2026-11-23/brain_t2/");
        assert_eq!(keys.manifest(), "2026-11-23/brain_t2/manifest.json");
    }

    #[test]
    fn container_and_raw_endings_are_dropped_once_each() {
        for (raw, name) in [
            ("a/b.h5", "a/b"),
            ("a/b.H5.GZ", "a/b"),
            ("a/b.tgz", "a/b"),
            ("a/b.dat.zst", "a/b"),
            ("a/b.tar.bz2", "a/b"),
            ("a/b.tbz2", "a/b"),
            ("a/b.cfl.bz2", "a/b"),
            ("a/b.v2.tar.xz", "a/b.v2"),
            ("a/b.h5.h5", "a/b.h5"),
            ("a/b", "a/b"),
            ("a/.h5", "a/.h5"),
            (".gz", ".gz"),
            ("a/scan.bin", "a/scan.bin"),
            ("übung/köpf ä.h5", "übung/köpf ä"),
        ] {
            assert_eq!(stem(raw), name, "{raw}");
        }
    }

    #[test]
    fn a_second_file_of_the_same_stem_keeps_its_ending() {
        let first = ScanKeys::of_raw("a/b.tar.gz", Naming::Short);
        let second = ScanKeys::of_raw("a/b.h5", Naming::Short);
        assert_eq!(first, second);
        assert_eq!(ScanKeys::of_raw("a/b.h5", Naming::KeepEnding).results, "a/b.h5/");
    }

    #[test]
    fn parts_lie_below_the_name_of_their_upload() {
        let part = ScanKeys::of_raw("a/study.tar.gz", Naming::Short).part("t2");
        assert_eq!((part.prepared.as_str(), part.results.as_str()), ("a/study/t2.safetensors", "a/study/t2/"));
        assert_eq!(part_quarantine_key("a/study.tar.gz", "t2"), "quarantine/a/study.tar.gz/t2.json");
    }

    #[test]
    fn names_of_parts_are_distinct_parts_of_a_path() {
        assert_eq!(
            part_names(["t2", "T2", "..", "a/b\\c\n", " .x. ", "", "t2_2", "k\u{f6}pf ä"]),
            ["t2", "T2_2", "scan", "a_b_c_", "x", "scan_2", "t2_2_2", "k\u{f6}pf ä"]
        );
    }

    proptest! {
        #[test]
        fn no_two_parts_share_a_path(names in prop::collection::vec("[aA./ _2]{0,3}", 0..12)) {
            let found = part_names(names.iter().map(String::as_str));
            let distinct: HashSet<_> = found.iter().map(|name| name.to_lowercase()).collect();
            prop_assert_eq!(distinct.len(), names.len());
            prop_assert!(found.iter().all(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.')));
        }

        #[test]
        fn prepared_key_leads_back_to_the_names(raw in "[a-zäöü+ ./]{0,24}[a-z]") {
            let keys = ScanKeys::of_raw(&raw, Naming::Short);
            prop_assert_eq!(ScanKeys::of_prepared(&keys.prepared), Some(keys));
        }

        #[test]
        fn a_stem_is_a_non_empty_prefix(raw in ".{1,40}") {
            let short = stem(&raw);
            prop_assert!(!short.is_empty() && raw.starts_with(short));
        }
    }
}
