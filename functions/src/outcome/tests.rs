//! The handler on the sample events, with ports in memory.

use contract::keys::{quarantine_key, status_key};
use contract::status::Event;
use contract::{Quarantine, Record, Status};
use store::Location;

use super::*;
use crate::fakes::{World, fixture};

const KEY: &str = "2026-11-23/brain_t2.tar.gz";
const VERSION: &str = "3sL4kqtJlcpXroDTDmJ";

fn scan() -> ScanId {
    ScanId::of_object("raki-raw", KEY, VERSION)
}

fn config() -> Outcome {
    Outcome {
        raw_bucket: "raki-raw".into(),
        state: Location::bucket("raki-state"),
        results: Location::bucket("raki-results"),
    }
}

async fn world() -> World {
    let world = World::default();
    let claim = state::Claim {
        schema: state::Claim::SCHEMA,
        scan: scan(),
        bucket: "raki-raw".into(),
        key: KEY.into(),
        version: Some(VERSION.into()),
        part: None,
    };
    state::record_raw(&world, &config().state, &claim).await.expect("written");
    world
}

async fn run(world: &World, event: &str) {
    notice(world, &config(), &fixture(event)).await.expect("dealt with");
}

fn history(world: &World) -> Vec<Event> {
    let text = world.text(&format!("s3://raki-state/{}", status_key(&scan())));
    Status::from_json(text.as_bytes()).expect("a status").history
}

#[tokio::test]
async fn a_job_that_succeeds_ends_the_history_and_tags_the_raw_version() {
    let world = world().await;
    // Out of order, and one of them twice.
    for event in ["batch-succeeded.json", "batch-running.json", "batch-succeeded.json"] {
        run(&world, event).await;
    }
    let told: Vec<_> = history(&world).into_iter().map(|event| (event.stage, event.state, event.attempt)).collect();
    assert_eq!(told, [(Stage::Reconstruct, State::Started, 1), (Stage::Reconstruct, State::Done, 1)]);
    let tags = world.tags.lock().expect("no panic").clone();
    let object = Created { bucket: "raki-raw".into(), key: KEY.into(), version: Some(VERSION.into()), etag: None };
    assert_eq!(tags[0], (object, "reconstructed".to_owned(), "true".to_owned()));
}

#[tokio::test]
async fn bad_data_are_quarantined_with_the_words_of_the_job() {
    let world = world().await;
    let reason = "the calibration block has 4 lines, at least 12 are needed";
    state::record_job_failure(&world, &config().state, &scan(), ExitCode::BadData, reason).await.expect("written");
    run(&world, "batch-failed-65.json").await;
    let text = world.text(&format!("s3://raki-state/{}", quarantine_key(KEY)));
    let record = Quarantine::from_json(text.as_bytes()).expect("a record");
    assert_eq!((record.stage, record.reason.as_str()), (Stage::Reconstruct, reason));
    let told = history(&world);
    assert_eq!((told[0].state, told[0].reason.as_deref()), (State::Quarantined, Some(reason)));
}

#[tokio::test]
async fn other_failures_are_for_a_person_and_not_for_quarantine() {
    for (event, attempt, words) in [
        ("batch-failed-75.json", 3, "interrupted or a service did not answer"),
        ("batch-failed-137.json", 1, "OutOfMemoryError"),
    ] {
        let world = world().await;
        run(&world, event).await;
        let told = history(&world);
        assert_eq!((told.len(), told[0].state, told[0].attempt), (1, State::Failed, attempt));
        assert!(told[0].reason.as_deref().is_some_and(|reason| reason.contains(words)), "{told:?}");
        assert_eq!(world.object(&format!("s3://raki-state/{}", quarantine_key(KEY))), None);
        assert!(world.tags.lock().expect("no panic").is_empty());
    }
}

#[tokio::test]
async fn a_cpu_job_is_the_decompress_stage() {
    let world = world().await;
    let mut event: JobEvent = fixture("batch-failed-65.json");
    event.detail.job_name = format!("prepare-{}", scan());
    handle(&world, &config(), &event).await.expect("dealt with");
    assert_eq!(history(&world)[0].stage, Stage::Decompress);

    let world = self::world().await;
    event = fixture("batch-succeeded.json");
    event.detail.job_name = format!("prepare-{}", scan());
    handle(&world, &config(), &event).await.expect("dealt with");
    assert!(world.tags.lock().expect("no panic").is_empty(), "prepared is not reconstructed");
}

/// An upload of two scans, prepared.
async fn study() -> (World, [ScanId; 2]) {
    let world = world().await;
    let names = ["t1", "t2"];
    let scans = names.map(|name| ScanId::of_part(&scan(), name));
    let claim = state::raw_of(&world, &config().state, &scan()).await.expect("memory").expect("a claim");
    for (scan, name) in scans.iter().zip(names) {
        let part = Some(state::PartOf { upload: self::scan(), name: name.into() });
        let claim = state::Claim { scan: scan.clone(), part, ..claim.clone() };
        state::record_raw(&world, &config().state, &claim).await.expect("written");
    }
    let part = |(scan, name): (&ScanId, &str)| state::Part { scan: scan.clone(), name: name.into(), prepared: true };
    let parts = scans.iter().zip(names).map(part).collect();
    let parts = state::Parts { schema: state::Parts::SCHEMA, scan: scan(), parts };
    state::record_parts(&world, &config().state, &parts).await.expect("written");
    (world, scans)
}

#[tokio::test]
async fn an_upload_of_several_scans_is_tagged_when_all_have_images() {
    let (world, scans) = study().await;
    for (ended, scan) in scans.iter().enumerate() {
        assert_eq!(world.tags.lock().expect("no panic").len(), 0, "after {ended}");
        let mut event: JobEvent = fixture("batch-succeeded.json");
        event.detail.job_name = format!("recon-{scan}");
        handle(&world, &config(), &event).await.expect("dealt with");
    }
    assert_eq!(world.tags.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_part_that_cannot_be_reconstructed_is_quarantined_by_its_name() {
    let (world, scans) = study().await;
    let mut event: JobEvent = fixture("batch-failed-65.json");
    event.detail.job_name = format!("recon-{}", scans[1]);
    handle(&world, &config(), &event).await.expect("dealt with");
    assert_eq!(world.below("s3://raki-state/quarantine/"), [format!("s3://raki-state/quarantine/{KEY}/t2.json")]);
}

#[tokio::test]
async fn the_end_of_a_cpu_job_tells_how_many_scans_there_were() {
    let (world, _) = study().await;
    let mut event: JobEvent = fixture("batch-succeeded.json");
    event.detail.job_name = format!("prepare-{}", scan());
    handle(&world, &config(), &event).await.expect("dealt with");
    assert_eq!(history(&world)[0].reason.as_deref(), Some("2 scans, each with a record of its own"));
}

#[tokio::test]
async fn a_failed_job_of_an_unknown_scan_is_an_error() {
    let world = World::default();
    let event = fixture("batch-failed-65.json");
    assert!(handle(&world, &config(), &event).await.is_err());
}

#[test]
fn jobs_of_others_say_nothing() {
    let event: JobEvent = fixture("batch-running.json");
    for name in ["train-7d8f1c2ab3e4f506", "recon-", "recon-../../etc/passwd", "prepare-XYZ"] {
        assert_eq!(meaning(&Job { job_name: name.into(), ..event.detail.clone() }), None, "{name}");
    }
    assert_eq!(meaning(&Job { status: "STARTING".into(), ..event.detail.clone() }), None);
    assert_eq!(meaning(&Job { status: "RUNNABLE".into(), ..event.detail }), None, "the first wait is no retry");
}

#[test]
fn an_attempt_that_is_tried_again_is_told() {
    let event: JobEvent = fixture("batch-failed-75.json");
    let attempts = event.detail.attempts[..2].to_vec();
    let again = meaning(&Job { status: "RUNNABLE".into(), attempts, container: None, ..event.detail }).expect("ours");
    assert_eq!((again.state, again.attempt), (State::Retrying, 2));
    assert!(again.reason.is_some_and(|reason| reason.contains("Host EC2")));
}
