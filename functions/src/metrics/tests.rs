//! The counts, the values and the line, with ports in memory.

use super::*;
use crate::fakes::{World, now, system};

fn config() -> Metrics {
    Metrics {
        raw_queue: "https://sqs/raw".into(),
        recon_queue: "https://sqs/recon".into(),
        job_queue: "arn:aws:batch:eu-central-1:111122223333:job-queue/raki-gpu".into(),
        prepare_queue: "raki-prepare".into(),
        namespace: "raki".into(),
    }
}

fn world() -> World {
    let world = World::default();
    let mut depths = world.depths.lock().expect("no panic");
    depths.insert("https://sqs/raw".into(), Depth { visible: 3, in_flight: 2, delayed: 1 });
    depths.insert("https://sqs/recon".into(), Depth { visible: 10, in_flight: 0, delayed: 0 });
    drop(depths);
    world
}

fn ended(time: &str) -> JobSummary {
    let time: Timestamp = time.parse().expect("a time");
    JobSummary { created: None, stopped: Some(system(time)) }
}

#[tokio::test]
async fn every_queue_and_state_has_a_value_and_no_scan_id() {
    let world = world();
    let running = JobSummary { created: None, stopped: None };
    world.listed.lock().expect("no panic").insert((config().job_queue, JobState::Running), vec![running; 3]);
    let line = handle(&world, &config(), now()).await.expect("published");
    let data = world.metrics.lock().expect("no panic").clone();
    assert_eq!(data.len(), 2 + 2 * JobState::ALL.len());
    let value = |name: &str, dimension: &str| {
        let found =
            data.iter().find(|datum| datum.name == name && datum.dimensions.iter().any(|(_, v)| v == dimension));
        found.map(|datum| datum.value)
    };
    assert_eq!((value(MESSAGES, "raw"), value(MESSAGES, "recon")), (Some(6.0), Some(10.0)));
    let at_work =
        data.iter().find(|it| it.dimensions == [("JobQueue", "raki-gpu".into()), ("State", "RUNNING".into())]);
    assert_eq!(at_work.map(|datum| datum.value), Some(3.0));
    assert_eq!(line["JobsAtWork"], 3);
    assert_eq!(line["MessagesWaiting"], 14);
    assert_eq!(line["JobQueues"]["raki-gpu"]["RUNNING"], 3);
}

#[tokio::test]
async fn the_line_follows_the_embedded_metric_format() {
    let line = handle(&world(), &config(), now()).await.expect("published");
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(line["_aws"]["Timestamp"], 1_795_428_600_000_i64);
    assert_eq!(directive["Namespace"], "raki");
    let metrics = directive["Metrics"].as_array().expect("a list");
    assert!((1..=100).contains(&metrics.len()));
    for metric in metrics {
        assert!(line[metric["Name"].as_str().expect("a name")].is_u64(), "{metric}");
    }
    for dimension in directive["Dimensions"][0].as_array().expect("a list") {
        assert!(line[dimension.as_str().expect("a name")].is_string(), "{dimension}");
    }
    assert!(!line.to_string().contains('\n'));
}

#[test]
fn a_job_counts_as_ended_in_one_minute_only() {
    // It is 10:10:00; the last whole minute is 10:09.
    let jobs = [
        ended("2026-11-23T10:08:59.999Z"),
        ended("2026-11-23T10:09:00Z"),
        ended("2026-11-23T10:09:59Z"),
        ended("2026-11-23T10:10:00Z"),
    ];
    assert_eq!(count(JobState::Failed, &jobs, now()), 2);
    assert_eq!(count(JobState::Running, &jobs, now()), 4);
    let later: Timestamp = "2026-11-23T10:11:31Z".parse().expect("a time");
    assert_eq!(count(JobState::Succeeded, &jobs, later), 1);
}

#[tokio::test]
async fn an_unknown_queue_publishes_nothing() {
    let world = World::default();
    assert!(handle(&world, &config(), now()).await.is_err());
    assert!(world.metrics.lock().expect("no panic").is_empty());
}

#[test]
fn the_schedule_event_is_accepted_whatever_it_holds() {
    for name in ["schedule.json", "alarm.json"] {
        let _: serde::de::IgnoredAny = crate::fakes::fixture(name);
    }
}
