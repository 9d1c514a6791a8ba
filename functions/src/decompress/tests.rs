//! The handler on the sample events, with ports in memory.

mod faults;
mod in_the_job;
mod parts;

use std::collections::HashMap;
use std::time::SystemTime;

use contract::keys::{METHOD_METADATA, SCAN_METADATA, owner_key, quarantine_key, status_key};
use contract::scan::key_sha256;
use contract::{ExitCode, Status};
use kspace::Error as DataError;
use store::{Location, ObjectInfo};

use super::*;
use crate::config::{ArchiveLimits, Preparation, PrepareJob};
use crate::fakes::{World, fixture, now, system};
use crate::metadata;
use crate::ports::{Found, PrepareTask};

const KEY: &str = "2026-11-23/brain_t2.tar.gz";
const VERSION: &str = "3sL4kqtJlcpXroDTDmJ";
const PREPARED: &str = "s3://raki-prepared/2026-11-23/brain_t2.safetensors";

fn config() -> Decompress {
    Decompress {
        preparation: Preparation {
            raw_bucket: "raki-raw".into(),
            prepared: Location::bucket("raki-prepared"),
            state: Location::bucket("raki-state"),
            limits: ArchiveLimits { max_raw_bytes: 1 << 36, max_ratio: 100, max_entries: 10_000 },
            truncated_grace: Duration::from_secs(3600),
            compression: kspace::prepare::Compression::None,
        },
        raw_queue: "https://sqs/raw".into(),
        prepare_queue: "raki-prepare".into(),
        prepare_definition: "raki-prepare:1".into(),
        max_lambda_bytes: 4 << 30,
        time_reserve: Duration::from_secs(135),
    }
}

fn clock() -> Clock {
    Clock { now: now(), deadline: Instant::now() + Duration::from_secs(600) }
}

fn info(version: &str, len: u64) -> ObjectInfo {
    let uploaded: Timestamp = "2026-11-23T10:00:00Z".parse().expect("a time");
    ObjectInfo {
        len,
        etag: format!("etag-of-{version}"),
        version: Some(version.to_owned()),
        metadata: HashMap::new(),
        modified: Some(system(uploaded)),
    }
}

fn world() -> World {
    let world = World::default();
    world.put_object(&format!("s3://raki-raw/{KEY}"), info(VERSION, 248_512_345), "");
    world
}

fn fail_with(world: &World, verdict: impl Fn(&PrepareTask) -> Option<Error> + Send + Sync + 'static) {
    *world.verdict.lock().expect("no panic") = Some(Box::new(verdict));
}

async fn run(world: &World, event: &str) -> usize {
    handle(world, &config(), fixture(event), clock()).await.batch_item_failures.len()
}

fn scan() -> ScanId {
    ScanId::of_object("raki-raw", KEY, VERSION)
}

fn states(world: &World, scan: &ScanId) -> Vec<State> {
    let text = world.text(&format!("s3://raki-state/{}", status_key(scan)));
    let status = Status::from_json(text.as_bytes()).expect("a status");
    status.history.into_iter().map(|event| event.state).collect()
}

fn quarantined(world: &World, key: &str) -> String {
    let text = world.text(&format!("s3://raki-state/{}", quarantine_key(key)));
    Quarantine::from_json(text.as_bytes()).expect("a record").reason
}

/// An upload in which `names` are found, those in `refused` as files that cannot be read.
fn study(names: &'static [&'static str], refused: &'static [&'static str]) -> World {
    let world = world();
    let found = move || {
        let refusal = |name: &str| DataError::unsupported(format!("a picture ({})", name.len()), "send k-space");
        let found =
            |name: &&str| Found { name: (*name).to_owned(), refused: refused.contains(name).then(|| refusal(name)) };
        names.iter().map(found).collect()
    };
    *world.contents.lock().expect("no panic") = Some(Box::new(found));
    world
}

fn part(name: &str) -> ScanId {
    ScanId::of_part(&scan(), name)
}

fn parts_url() -> String {
    format!("s3://raki-state/{}", contract::keys::parts_key(&scan()))
}

#[tokio::test]
async fn an_upload_becomes_a_prepared_file_that_says_where_it_comes_from() {
    let world = world();
    assert_eq!(run(&world, "s3-put.json").await, 0);
    let prepared = world.object(PREPARED).expect("it was prepared").info.metadata;
    let expected = [
        (SCAN_METADATA, scan().to_string()),
        (metadata::KEY_SHA256, key_sha256("raki-raw", KEY)),
        (metadata::VERSION, VERSION.to_owned()),
        (metadata::ETAG, format!("etag-of-{VERSION}")),
        (metadata::SHA256, "5f2b".to_owned()),
    ];
    assert_eq!(prepared, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(states(&world, &scan()), [State::Started, State::Done]);
    let claim = world.text(&format!("s3://raki-state/claims/decompress/{}.json", scan()));
    assert!(claim.contains(KEY) && claim.contains(VERSION), "{claim}");
}

#[tokio::test]
async fn names_with_space_plus_and_umlaut_are_mirrored() {
    let world = World::default();
    let key = "2026-11-23/Kopf t2+flair ä.tar.gz";
    world.put_object(&format!("s3://raki-raw/{key}"), info("vZ1xKp0Yq8M3cT7nR5sLw2aHdJ6fGbEu", 9), "");
    assert_eq!(run(&world, "s3-put-umlaut.json").await, 0);
    assert_eq!(world.below("s3://raki-prepared/"), ["s3://raki-prepared/2026-11-23/Kopf t2+flair ä.safetensors"]);
}

#[tokio::test]
async fn what_is_no_scan_is_acknowledged_without_a_trace() {
    let world = world();
    assert_eq!(run(&world, "s3-test-event.json").await, 0);
    let mut event: SqsEvent = fixture("s3-put.json");
    for key in ["2026-11-23/", "2026-11-23/.DS_Store", "2026-11-23/gone.h5"] {
        let body = event.records[0].body.clone().unwrap_or_default().replace(KEY, key);
        event.records[0].body = Some(body);
        let answer = handle(&world, &config(), event.clone(), clock()).await;
        assert!(answer.batch_item_failures.is_empty(), "{key}");
        event = fixture("s3-put.json");
    }
    assert_eq!(world.below("s3://raki-state/"), Vec::<String>::new());
}

#[tokio::test]
async fn duplicates_and_older_versions_change_nothing() {
    let world = world();
    assert_eq!(run(&world, "s3-put-duplicates.json").await, 0);
    assert_eq!(world.prepared.lock().expect("no panic").len(), 1, "prepared once");
    let older = ScanId::of_object("raki-raw", KEY, "1aB4kqtJlcpXroDTOLD");
    assert_eq!(states(&world, &older), [State::Superseded]);
    assert_eq!(states(&world, &scan()), [State::Started, State::Done]);
}

#[tokio::test]
async fn a_duplicate_that_was_faster_is_as_good() {
    let world = world();
    *world.meanwhile.lock().expect("no panic") = Some(Box::new(|world| {
        let metadata = HashMap::from([(SCAN_METADATA.to_owned(), scan().to_string())]);
        world.put_object(PREPARED, ObjectInfo { metadata, ..info("p", 1) }, "the same");
    }));
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(world.object(PREPARED).map(|object| object.bytes), Some("the same".into()));
}

#[tokio::test]
async fn a_newer_upload_that_was_faster_is_not_overwritten() {
    let world = world();
    *world.meanwhile.lock().expect("no panic") = Some(Box::new(|world| {
        world.put_object(&format!("s3://raki-raw/{KEY}"), info("newer", 7), "");
        let metadata = HashMap::from([(SCAN_METADATA.to_owned(), "0123456789abcdef".to_owned())]);
        world.put_object(PREPARED, ObjectInfo { metadata, ..info("p", 1) }, "newer");
    }));
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(world.object(PREPARED).map(|object| object.bytes), Some("newer".into()));
    assert_eq!(states(&world, &scan()), [State::Started, State::Superseded]);
}

#[tokio::test]
async fn the_prepared_file_of_an_earlier_upload_is_replaced() {
    let world = world();
    let metadata = HashMap::from([(SCAN_METADATA.to_owned(), "0123456789abcdef".to_owned())]);
    world.put_object(PREPARED, ObjectInfo { metadata, ..info("p", 1) }, "earlier");
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(world.object(PREPARED).map(|object| object.bytes), Some(format!("prepared {}", scan()).into()));
}

#[tokio::test]
async fn bad_data_are_quarantined_with_the_reason() {
    let world = world();
    fail_with(&world, |_| Some(Error::Data(DataError::unsupported("a radial trajectory", "use a Cartesian scan"))));
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(quarantined(&world, KEY), "a radial trajectory: use a Cartesian scan");
    assert_eq!(states(&world, &scan()), [State::Started, State::Quarantined]);
}

fn cut() -> Option<Error> {
    Some(Error::Data(DataError::Truncated { what: "the archive".into(), found: 10, expected: 20 }))
}

#[tokio::test]
async fn a_truncated_upload_comes_back_when_its_grace_is_over_and_is_then_refused() {
    let world = world();
    fail_with(&world, |_| cut());
    assert_eq!(run(&world, "s3-put.json").await, 1);
    // Uploaded ten minutes ago, an hour of grace.
    assert_eq!(*world.postponed.lock().expect("no panic"), [Duration::from_secs(3001)]);
    assert_eq!(states(&world, &scan()), [State::Started, State::Retrying]);

    let old: Timestamp = "2026-11-23T09:00:00Z".parse().expect("a time");
    let aged = ObjectInfo { modified: Some(system(old)), ..info(VERSION, 1) };
    world.put_object(&format!("s3://raki-raw/{KEY}"), aged, "");
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert!(quarantined(&world, KEY).contains("upload may be incomplete"));
}

#[tokio::test]
async fn trouble_of_a_service_leaves_the_message_for_soon() {
    let world = world();
    fail_with(&world, |_| Some(Error::Store(store::Error::Retryable { what: "reading", cause: "SlowDown".into() })));
    assert_eq!(run(&world, "s3-put.json").await, 1);
    assert_eq!(*world.postponed.lock().expect("no panic"), [FIRST_RETRY]);
    assert_eq!(states(&world, &scan()), [State::Started, State::Retrying]);
    assert_eq!(world.below("s3://raki-state/quarantine/"), Vec::<String>::new());
}

#[tokio::test]
async fn a_defect_leaves_the_message_for_a_person() {
    let world = world();
    fail_with(&world, |_| Some(Error::Bug("preparing a scan panicked")));
    assert_eq!(run(&world, "s3-put.json").await, 1);
    assert!(world.postponed.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_goes_to_one_cpu_job() {
    let large = world();
    large.put_object(&format!("s3://raki-raw/{KEY}"), info(VERSION, 5 << 30), "");
    let slow = world();
    fail_with(&slow, |_| Some(Error::OutOfTime));
    let full = world();
    fail_with(&full, |_| Some(Error::NoSpace));
    for world in [large, slow, full] {
        assert_eq!(run(&world, "s3-put.json").await, 0);
        assert_eq!(run(&world, "s3-put.json").await, 0);
        let jobs = world.jobs.lock().expect("no panic").clone();
        assert_eq!(jobs.len(), 1, "a duplicate submits no second job");
        assert_eq!(jobs[0].0.name, format!("prepare-{}", scan()));
        assert_eq!(jobs[0].0.parameters, [("scan".to_owned(), scan().to_string())].into(), "and no name");
        assert_eq!(states(&world, &scan()).last(), Some(&State::HandedOver));
    }
}

#[tokio::test]
async fn an_upload_chooses_its_method_and_an_unknown_one_is_refused() {
    let asking = |name: &str| {
        let world = world();
        let metadata = HashMap::from([(METHOD_METADATA.to_owned(), name.to_owned())]);
        world.put_object(&format!("s3://raki-raw/{KEY}"), ObjectInfo { metadata, ..info(VERSION, 9) }, "");
        world
    };
    let world = asking("grappa");
    assert_eq!(run(&world, "s3-put.json").await, 0);
    let prepared = world.object(PREPARED).expect("it was prepared").info.metadata;
    assert_eq!(prepared.get(METHOD_METADATA).map(String::as_str), Some("grappa"));

    let world = asking("magic");
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert!(quarantined(&world, KEY).contains("auto, raki, raki-paper, nwg, grappa, zero-filled"));
    assert_eq!(world.object(PREPARED), None);
}

#[tokio::test]
async fn two_files_of_one_stem_do_not_share_results() {
    let world = world();
    let other = format!("{{\"schema\":1,\"key_sha256\":\"{}\"}}", key_sha256("raki-raw", "2026-11-23/brain_t2.h5"));
    let owners = |name: &str| format!("s3://raki-state/{}", owner_key(name));
    world.put_object(&owners("2026-11-23/brain_t2"), info("o", 1), &other);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(world.below("s3://raki-prepared/"), [format!("s3://raki-prepared/{KEY}.safetensors")]);

    let world = self::world();
    world.put_object(&owners("2026-11-23/brain_t2"), info("o", 1), &other);
    world.put_object(&owners(KEY), info("o", 1), &other);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert!(quarantined(&world, KEY).contains("rename it"));
}

#[tokio::test]
async fn a_lone_file_that_cannot_be_read_is_the_upload() {
    let world = study(&["photo"], &["photo"]);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(quarantined(&world, KEY), "a picture (5): send k-space");
}

#[tokio::test]
async fn another_bucket_is_a_wrong_configuration() {
    let world = world();
    let mut config = config();
    config.preparation.raw_bucket = "raki-other".into();
    let answer = handle(&world, &config, fixture("s3-put.json"), clock()).await;
    assert_eq!(answer.batch_item_failures.len(), 1);
}

#[test]
fn waits_grow_and_outlast_half_an_hour() {
    let waits: Vec<_> = (1..=4).filter_map(|attempt| retry_after(&Error::OutOfTime, attempt)).collect();
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(waits.iter().sum::<Duration>() > Duration::from_secs(1800));
}
