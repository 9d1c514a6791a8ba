//! The handler with ports in memory; the decision has its own tests.

use std::time::Duration;

use super::*;
use crate::fakes::{World, now, system};
use crate::ports::{Depth, JobSummary};

fn config() -> Scale {
    Scale {
        recon_queue: "https://sqs/recon".into(),
        job_queue: "raki-gpu".into(),
        environments: vec!["arn:spot".into(), "arn:on-demand".into()],
        policy: Policy {
            min_vcpus: 0,
            max_vcpus: 16,
            vcpus_per_job: 4,
            latency_target: Duration::from_secs(600),
            job_time: Duration::from_secs(40),
        },
    }
}

fn environment(name: &str, max: u32) -> Environment {
    Environment { name: name.into(), min: 0, max, desired: 0, steady: true }
}

fn world(waiting: u64, oldest_wait: u64) -> World {
    let world = World::default();
    let depth = Depth { visible: waiting, ..Depth::default() };
    world.depths.lock().expect("no panic").insert("https://sqs/recon".into(), depth);
    let created = Some(system(now()) - Duration::from_secs(oldest_wait));
    let waiting_job = JobSummary { created, stopped: None };
    world.listed.lock().expect("no panic").insert(("raki-gpu".into(), JobState::Runnable), vec![waiting_job; 10]);
    *world.environments.lock().expect("no panic") = vec![environment("arn:on-demand", 4), environment("arn:spot", 4)];
    world
}

#[tokio::test]
async fn the_backlog_moves_the_first_environment_and_hunger_the_second() {
    let spot = Change { name: "arn:spot".into(), min: 0, max: 16 };
    let world = self::world(50, 10);
    assert_eq!(handle(&world, &config(), now()).await.expect("observed"), std::slice::from_ref(&spot));
    assert_eq!(*world.changes.lock().expect("no panic"), std::slice::from_ref(&spot));

    let world = self::world(50, 400);
    let on_demand = Change { name: "arn:on-demand".into(), ..spot.clone() };
    assert_eq!(handle(&world, &config(), now()).await.expect("observed"), [spot, on_demand]);
}

#[tokio::test]
async fn what_cannot_be_observed_changes_nothing_and_is_an_error() {
    let no_queue = world(50, 10);
    no_queue.depths.lock().expect("no panic").clear();
    let no_environment = world(50, 10);
    no_environment.environments.lock().expect("no panic").pop();
    for world in [no_queue, no_environment] {
        assert!(handle(&world, &config(), now()).await.is_err());
        assert!(world.changes.lock().expect("no panic").is_empty());
    }
}
