//! What to do with a raw object, from what is known of it. Nothing here reads or writes.

use std::time::Duration;

use contract::keys::{METHOD_METADATA, SCAN_METADATA};
use contract::{Method, ScanId};
use jiff::Timestamp;
use store::ObjectInfo;

use crate::age;
use crate::message::Created;

/// Why an older upload is not reconstructed.
pub(crate) const SUPERSEDED: &str = "a newer upload under the same name takes its place";

/// Why an object is no scan, where its name tells.
#[must_use]
pub fn not_a_scan(key: &str) -> Option<&'static str> {
    if key.ends_with('/') {
        return Some("a folder");
    }
    // What file managers and gateways leave behind.
    key.split('/').any(|part| part.starts_with('.')).then_some("a hidden file")
}

/// Whether the object that lies there now is the one the event speaks of. S3 is consistent, so what lies there is
/// never older than the event.
#[must_use]
pub fn is_current(event: &Created, raw: &ObjectInfo) -> bool {
    match (&event.version, &raw.version, &event.etag) {
        (Some(told), Some(found), _) => told == found,
        (_, _, Some(told)) => *told == raw.etag,
        // An event without either, such as a job's arguments for a bucket without versions.
        _ => true,
    }
}

/// The method a raw object asks for in its metadata.
///
/// # Errors
/// A sentence with the choices, for a name that is not known.
pub fn method(raw: &ObjectInfo) -> Result<Option<Method>, String> {
    let asked = raw.metadata.get(METHOD_METADATA).map(|name| name.trim().parse());
    asked.transpose().map_err(|unknown: contract::names::UnknownName| format!("the upload asks for an {unknown}"))
}

/// Whether a prepared object is the one of this scan.
#[must_use]
pub fn is_of_scan(prepared: &ObjectInfo, scan: &ScanId) -> bool {
    prepared.metadata.get(SCAN_METADATA).map(String::as_str) == Some(scan.as_str())
}

/// How long a truncated object may still be growing: a gateway uploads a large file in pieces, each a new version.
/// `None` once it has been left alone for longer than `grace`.
#[must_use]
pub fn may_grow(raw: &ObjectInfo, now: Timestamp, grace: Duration) -> Option<Duration> {
    let left = grace.checked_sub(age(raw.modified, now))?;
    // A second more, so that the next look is after the end and not at it.
    (!left.is_zero()).then(|| left + Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::fakes::system;
    use proptest::prelude::*;

    fn created(version: Option<&str>, etag: Option<&str>) -> Created {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Created { bucket: "raw".into(), key: "a".into(), version: text(version), etag: text(etag) }
    }

    fn found(version: Option<&str>, etag: &str) -> ObjectInfo {
        ObjectInfo { version: version.map(str::to_owned), etag: etag.into(), ..ObjectInfo::default() }
    }

    #[test]
    fn folders_and_hidden_files_are_no_scans() {
        for no in ["a/", "/", "a/.DS_Store", ".hidden/scan.h5", "a/.h5"] {
            assert!(not_a_scan(no).is_some(), "{no}");
        }
        for yes in ["a/scan.h5", "scan", "a b/köpf+1.tar.gz", "a./b.h5"] {
            assert_eq!(not_a_scan(yes), None, "{yes}");
        }
    }

    #[test]
    fn versions_decide_and_etags_where_there_are_none() {
        assert!(is_current(&created(Some("2"), Some("e")), &found(Some("2"), "e")));
        assert!(!is_current(&created(Some("1"), Some("e")), &found(Some("2"), "e")), "the same bytes uploaded again");
        assert!(is_current(&created(None, Some("e")), &found(None, "e")));
        assert!(!is_current(&created(None, Some("d")), &found(None, "e")));
        assert!(is_current(&created(None, None), &found(None, "e")));
    }

    #[test]
    fn an_unknown_method_is_refused_with_the_choices() {
        let asking = |name: &str| ObjectInfo {
            metadata: HashMap::from([(METHOD_METADATA.to_owned(), name.to_owned())]),
            ..ObjectInfo::default()
        };
        assert_eq!(method(&ObjectInfo::default()), Ok(None));
        assert_eq!(method(&asking("grappa")), Ok(Some(Method::Grappa)));
        let refused = method(&asking("magic")).expect_err("no such method");
        assert!(refused.contains("auto, raki, raki-paper, nwg, grappa, zero-filled"), "{refused}");
    }

    proptest! {
        #[test]
        fn a_truncated_object_waits_for_its_grace_and_no_longer(age in 0_u64..20_000, grace in 0_u64..10_000) {
            let now = Timestamp::from_second(1_800_000_000).expect("in range");
            let modified = system(now).checked_sub(Duration::from_secs(age));
            let raw = ObjectInfo { modified, ..ObjectInfo::default() };
            match may_grow(&raw, now, Duration::from_secs(grace)) {
                Some(wait) => prop_assert_eq!(wait.as_secs() + age, grace + 1),
                None => prop_assert!(age >= grace),
            }
        }
    }
}
