//! The store on real files: conditions, streams, records under contention.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::sync::Arc;

use contract::status::Event;
use contract::{Quarantine, Record, ScanId, Stage, State, Status, keys};
use proptest::prelude::*;
use store::{Condition, Error, Location, PutOptions, PutOutcome, RangeSource, Store, state};

fn folder() -> (tempfile::TempDir, Location, Store) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let root = Location::Path(folder.path().to_owned());
    (folder, root, Store::folders())
}

fn when(condition: Condition) -> PutOptions {
    PutOptions { condition, ..PutOptions::default() }
}

fn etag(outcome: PutOutcome) -> String {
    match outcome {
        PutOutcome::Written { etag } => etag,
        PutOutcome::Conflict => panic!("written, not in conflict"),
    }
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).expect("the folder can be read");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn conditions_hold() -> Result<(), Error> {
    let (folder, root, store) = folder();
    let at = root.join("a b/köpf+1.json");
    assert_eq!(store.head(&at).await?, None);
    assert!(matches!(store.get(&at).await, Err(Error::NotFound { .. })));

    let gone = store.put(&at, "x", &when(Condition::IfMatch("none".into()))).await?;
    assert_eq!(gone, PutOutcome::Conflict, "nothing is there to match");
    let first = etag(store.put(&at, "one", &when(Condition::IfAbsent)).await?);
    assert_eq!(store.put(&at, "two", &when(Condition::IfAbsent)).await?, PutOutcome::Conflict);
    assert_eq!(store.get(&at).await?, "one");
    assert_eq!(store.head(&at).await?.map(|info| (info.len, info.etag)), Some((3, first.clone())));

    let second = etag(store.put(&at, "two", &when(Condition::IfMatch(first.clone()))).await?);
    assert_ne!(first, second);
    assert_eq!(store.put(&at, "six", &when(Condition::IfMatch(first))).await?, PutOutcome::Conflict);
    assert_eq!(store.get(&at).await?, "two");
    let all = std::fs::read_dir(folder.path().join("a b")).expect("the folder exists").count();
    assert_eq!(all, 1, "no temporary file is left");
    Ok(())
}

#[tokio::test]
async fn one_of_many_writers_wins() -> Result<(), Error> {
    let (_folder, root, store) = folder();
    let at = root.join("claim.json");
    let writers = (0..16).map(|n| {
        let (store, at) = (store.clone(), at.clone());
        tokio::spawn(async move { store.put(&at, format!("{n}"), &when(Condition::IfAbsent)).await })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        won += usize::from(writer.await.expect("no panic")?.is_written());
    }
    assert_eq!(won, 1);
    Ok(())
}

#[tokio::test]
async fn a_stream_is_visible_when_finished_and_not_before() -> Result<(), Error> {
    let (folder, root, store) = folder();
    let at = root.join("prepared.safetensors");
    let (writer_at, writer_store) = (at.clone(), store.clone());
    let written = tokio::task::spawn_blocking(move || {
        let mut writer = writer_store.writer(&writer_at, when(Condition::IfAbsent), Some(6))?;
        writer.write_all(b"abcdef").expect("a writable folder");
        let mut dropped = writer_store.writer(&writer_at, when(Condition::Always), None)?;
        dropped.write_all(b"never").expect("a writable folder");
        assert!(dropped.abort().is_none());
        writer.finish()
    });
    assert!(written.await.expect("no panic")?.is_written());
    assert_eq!(names(&folder), ["prepared.safetensors"]);

    let mut reader = store.reader(&at).await?;
    let source = store.range_source(&at).await?;
    let read = tokio::task::spawn_blocking(move || {
        let (mut all, mut part) = (String::new(), [0; 3]);
        reader.read_to_string(&mut all).expect("readable");
        source.read_at(2, &mut part).expect("inside");
        let beyond = source.read_at(4, &mut part).map_err(|error| error.kind());
        (all, part, source.len(), beyond)
    });
    let (all, part, len, beyond) = read.await.expect("no panic");
    assert_eq!((all.as_str(), &part, len), ("abcdef", b"cde", 6));
    assert_eq!(beyond, Err(std::io::ErrorKind::UnexpectedEof));
    assert_eq!(store.get_range(&at, 1..3).await?, "bc");
    assert!(matches!(store.get_range(&at, 4..9).await, Err(Error::Final { .. })));
    Ok(())
}

#[tokio::test]
async fn a_store_of_folders_refuses_buckets() {
    let refused = Store::folders().head(&Location::bucket("raw").join("a")).await;
    assert!(matches!(refused, Err(Error::Final { .. })), "{refused:?}");
}

fn event(second: usize, state: State) -> Event {
    let time = format!("2026-11-23T10:00:{second:02}Z");
    Event { time, stage: Stage::Decompress, state, attempt: u32::try_from(second).unwrap_or(0), reason: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_of_a_status_is_lost_when_many_write() -> Result<(), Error> {
    let (_folder, root, store) = folder();
    let (root, scan) = (Arc::new(root), ScanId::of_object("raw", "a", "1"));
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let (store, root, scan) = (store.clone(), Arc::clone(&root), scan.clone());
            tokio::spawn(async move { state::record_status(&store, &root, &scan, event(n, State::Retrying)).await })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic")?;
    }
    let bytes = store.get(&root.join(&keys::status_key(&scan))).await?;
    let status = Status::from_json(&bytes)?;
    assert_eq!(status.history, (0..6).map(|n| event(n, State::Retrying)).collect::<Vec<_>>());
    let again = state::record_status(&store, &root, &scan, event(3, State::Retrying)).await?;
    assert_eq!(again, status, "a repeated event changes nothing");
    Ok(())
}

#[tokio::test]
async fn a_quarantine_record_is_kept_for_its_scan_and_replaced_for_the_next() -> Result<(), Error> {
    let (_folder, root, store) = folder();
    let record = |revision, reason: &str| Quarantine {
        schema: Quarantine::SCHEMA,
        scan: ScanId::of_object("raw", "a b.h5", revision),
        time: "2026-11-23T10:00:00Z".into(),
        stage: Stage::Decompress,
        reason: reason.into(),
        run_again: contract::quarantine::UPLOAD_AGAIN.into(),
    };
    let at = root.join(&keys::quarantine_key("a b.h5"));
    for (revision, reason, kept) in [("1", "first", "first"), ("1", "again", "first"), ("2", "next", "next")] {
        state::record_quarantine(&store, &root, &keys::quarantine_key("a b.h5"), &record(revision, reason)).await?;
        assert_eq!(state::read::<Quarantine>(&store, &at).await?.map(|found| found.reason), Some(kept.into()));
    }
    Ok(())
}

#[tokio::test]
async fn a_name_has_one_owner_and_a_scan_one_raw_object() -> Result<(), Error> {
    let (_folder, root, store) = folder();
    assert!(state::own_name(&store, &root, "a/brain", "11").await?);
    assert!(state::own_name(&store, &root, "a/brain", "11").await?);
    assert!(!state::own_name(&store, &root, "a/brain", "22").await?);
    let scan = ScanId::of_object("raw", "a/brain.h5", "1");
    assert_eq!(state::raw_of(&store, &root, &scan).await?, None);
    let claim = state::Claim {
        schema: state::Claim::SCHEMA,
        scan: scan.clone(),
        bucket: "raw".into(),
        key: "a/brain.h5".into(),
        version: Some("1".into()),
        part: None,
    };
    assert_eq!(claim.quarantine_key(), "quarantine/a/brain.h5.json");
    let part = Some(state::PartOf { upload: scan.clone(), name: "t2".into() });
    assert_eq!(state::Claim { part, ..claim.clone() }.quarantine_key(), "quarantine/a/brain.h5/t2.json");
    for _ in 0..2 {
        state::record_raw(&store, &root, &claim).await?;
    }
    assert_eq!(state::raw_of(&store, &root, &scan).await?, Some(claim));
    Ok(())
}

#[tokio::test]
async fn the_parts_of_an_upload_are_noted_once() -> Result<(), Error> {
    let (_folder, root, store) = folder();
    let scan = ScanId::of_object("raw", "a/study.zip", "1");
    assert_eq!(state::parts_of(&store, &root, &scan).await?, None);
    let part = |name: &str, prepared| state::Part { scan: ScanId::of_part(&scan, name), name: name.into(), prepared };
    let parts = state::Parts {
        schema: state::Parts::SCHEMA,
        scan: scan.clone(),
        parts: vec![part("t1", true), part("t2", false)],
    };
    for _ in 0..2 {
        state::record_parts(&store, &root, &parts).await?;
    }
    assert_eq!(parts.summary(), "1 scan, 1 refused, each with a record of its own");
    assert_eq!(state::parts_of(&store, &root, &scan).await?, Some(parts));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn names_with_spaces_plus_and_umlauts_come_back(
        name in "[a-zäöüÄÖÜß+% ]{1,20}", below in "[a-zäöü+&# ]{1,20}", content in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let (_folder, root, store) = folder();
        let at = root.join(&format!("{name}/{below}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let read = runtime.block_on(async {
            store.put(&at, content.clone(), &when(Condition::IfAbsent)).await?;
            store.get(&Location::parse(&at.to_string())?).await
        });
        prop_assert_eq!(read.expect("written and read"), content);
    }
}
