//! The handler on the sample events, with ports in memory.

use std::collections::HashMap;
use std::time::SystemTime;

use super::*;
use crate::fakes::{World, fixture, now, system};

const PREPARED: &str = "s3://raki-prepared/2026-11-23/brain_t2.safetensors";
const MANIFEST: &str = "s3://raki-results/2026-11-23/brain_t2/manifest.json";

fn scan() -> ScanId {
    ScanId::of_object("raki-raw", "2026-11-23/brain_t2.tar.gz", "3sL4kqtJlcpXroDTDmJ")
}

fn config() -> Submit {
    Submit {
        prepared_bucket: "raki-prepared".into(),
        results: Location::bucket("raki-results"),
        state: Location::bucket("raki-state"),
        job_queue: "raki-gpu".into(),
        job_definition: "raki-reconstruct:3".into(),
        images: contract::ImageOptions::default(),
        method: Method::Raki,
        seed: 7,
    }
}

fn prepared(metadata: &[(&str, &str)]) -> World {
    let world = World::default();
    let scan = scan().to_string();
    let all = [(SCAN_METADATA, scan.as_str()), (metadata::KEY_SHA256, "11"), (metadata::SHA256, "22")];
    let metadata: HashMap<_, _> =
        all.iter().chain(metadata).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    world.put_object(PREPARED, ObjectInfo { metadata, ..ObjectInfo::default() }, "");
    world
}

async fn run(world: &World, event: &str) -> usize {
    handle(world, &config(), fixture(event), now()).await.batch_item_failures.len()
}

fn spec_url() -> String {
    format!("s3://raki-state/jobs/{}.json", scan())
}

#[tokio::test]
async fn a_prepared_scan_becomes_one_job_with_a_pointer_to_its_spec() {
    let world = prepared(&[(metadata::VERSION, "v1"), (METHOD_METADATA, "grappa")]);
    assert_eq!(run(&world, "prepared-put.json").await, 0);
    assert_eq!(run(&world, "prepared-put.json").await, 0);
    let jobs = world.jobs.lock().expect("no panic").clone();
    assert_eq!(jobs.len(), 1, "the same event twice is one job");
    assert_eq!(jobs[0].0.name, format!("recon-{}", scan()));
    assert_eq!(jobs[0].0.parameters, [("spec".to_owned(), spec_url())].into());
    let spec = JobSpec::from_json(world.text(&spec_url()).as_bytes()).expect("a spec");
    assert_eq!((spec.method, spec.seed, spec.scan), (Method::Grappa, 7, scan()));
    assert_eq!((spec.prepared.as_str(), spec.results.as_str()), (PREPARED, "s3://raki-results/2026-11-23/brain_t2/"));
    let source = Source { key_sha256: "11".into(), version: Some("v1".into()), etag: None, sha256: "22".into() };
    assert_eq!(spec.source, source);
}

#[tokio::test]
async fn a_result_that_exists_is_not_made_again_and_one_of_another_scan_is() {
    for (manifest, jobs) in [(scan().to_string(), 0), ("0123456789abcdef".to_owned(), 1)] {
        let world = prepared(&[]);
        world.put_object(MANIFEST, ObjectInfo::default(), &format!("{{\"schema\":1,\"scan\":\"{manifest}\"}}"));
        assert_eq!(run(&world, "prepared-put.json").await, 0);
        assert_eq!(world.jobs.lock().expect("no panic").len(), jobs);
    }
}

#[tokio::test]
async fn the_test_event_and_a_file_that_is_gone_are_acknowledged() {
    assert_eq!(run(&World::default(), "s3-test-event.json").await, 0);
    assert_eq!(run(&World::default(), "prepared-put.json").await, 0);
    assert_eq!(run(&World::default(), "prepared-eventbridge.json").await, 0);
}

#[tokio::test]
async fn a_function_killed_before_it_submitted_is_followed_by_another() {
    let world = prepared(&[]);
    let written = |seconds: u64| ObjectInfo {
        etag: "spec".into(),
        modified: Some(system(now()) - Duration::from_secs(seconds)),
        ..ObjectInfo::default()
    };
    world.put_object(&spec_url(), written(30), "{}");
    assert_eq!(run(&world, "prepared-put.json").await, 1, "it may be at it");
    assert_eq!(world.jobs.lock().expect("no panic").len(), 0);
    world.put_object(&spec_url(), written(300), "{}");
    assert_eq!(run(&world, "prepared-put.json").await, 0);
    assert_eq!(world.jobs.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_job_that_failed_is_submitted_again_when_its_message_is() {
    let world = prepared(&[]);
    assert_eq!(run(&world, "prepared-put.json").await, 0);
    world.jobs.lock().expect("no panic")[0].1 = JobState::Failed;
    let old = ObjectInfo { etag: "s".into(), modified: Some(SystemTime::UNIX_EPOCH), ..ObjectInfo::default() };
    world.put_object(&spec_url(), old, "{}");
    assert_eq!(run(&world, "prepared-put.json").await, 0);
    assert_eq!(world.jobs.lock().expect("no panic").len(), 2);
}

#[tokio::test]
async fn a_file_that_decompress_did_not_write_is_left_for_a_person() {
    let world = World::default();
    world.put_object(PREPARED, ObjectInfo::default(), "");
    assert_eq!(run(&world, "prepared-put.json").await, 1);
}

#[test]
fn only_failed_jobs_and_an_abandoned_spec_are_submitted_again() {
    let minute = Some(Duration::from_secs(60));
    assert_eq!(decide(&[], None), Step::Submit);
    assert_eq!(decide(&[JobState::Failed], None), Step::Submit);
    assert_eq!(decide(&[JobState::Failed, JobState::Runnable], None), Step::Known);
    assert_eq!(decide(&[JobState::Succeeded], minute), Step::Known);
    assert_eq!(decide(&[], minute), Step::Wait);
    assert_eq!(decide(&[JobState::Failed], Some(ABANDONED)), Step::TakeOver);
}
