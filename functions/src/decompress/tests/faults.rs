//! Every operation of a delivery fails once, and the next delivery ends as if none had.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::SqsEvent;
use contract::keys::scan_of_status_key;

use super::*;
use crate::config::Outcome;
use crate::fakes::{Fault, Plan};
use crate::outcome::{self, JobEvent, Notice};
use crate::ports::JobState;

/// What a delivery leaves behind, without what may differ: how often was tried, and when.
#[derive(Debug, PartialEq)]
struct Left {
    /// Content and metadata of every object but histories.
    objects: BTreeMap<String, (String, BTreeMap<String, String>)>,
    /// Last line of the history of every scan: state and reason.
    ends: BTreeMap<String, (State, Option<String>)>,
    jobs: Vec<JobState>,
    /// Whether the raw object may be archived.
    tagged: bool,
}

impl Left {
    fn of(world: &World) -> Self {
        let objects = world.objects.lock().expect("no panic").clone();
        let (histories, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            objects.into_iter().partition(|(url, _)| url.starts_with("s3://raki-state/status/"));
        let end = |bytes: &[u8]| {
            let last = Status::from_json(bytes).expect("a status").history.pop().expect("an event");
            (last.state, last.reason)
        };
        // Records but for the time that some of them state.
        let text = |bytes: &[u8]| match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(serde_json::Value::Object(mut record)) => {
                record.remove("time");
                serde_json::Value::from(record).to_string()
            }
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        let content = |object: store::Object| (text(&object.bytes), object.info.metadata.into_iter().collect());
        Self {
            ends: histories.into_iter().map(|(url, object)| (url, end(&object.bytes))).collect(),
            // The worklist has the times of the histories in it.
            objects: others
                .into_iter()
                .filter(|(url, _)| !url.starts_with("s3://raki-results/"))
                .map(|(url, object)| (url, content(object)))
                .collect(),
            jobs: world.jobs.lock().expect("no panic").iter().map(|(_, state)| *state).collect(),
            tagged: !world.tags.lock().expect("no panic").is_empty(),
        }
    }
}

/// What happens in the cloud around deliveries: histories that are written wake `outcome`, and prepared scans get images.
struct Cloud {
    world: World,
    deliveries: u32,
    /// Histories that `outcome` has heard of, by their version.
    heard: BTreeMap<String, String>,
    imaged: Vec<String>,
}

impl Cloud {
    fn of(world: World) -> Self {
        Self { world, deliveries: 0, heard: BTreeMap::new(), imaged: Vec::new() }
    }

    /// One delivery of the message; whether it was acknowledged.
    async fn deliver(&mut self) -> bool {
        self.deliveries += 1;
        let mut event: SqsEvent = fixture("s3-put.json");
        let count = self.deliveries.to_string();
        event.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), count);
        // Histories are in the order of time, and a message comes back later.
        let later = Duration::from_secs(60 * u64::from(self.deliveries));
        let clock = Clock { now: now() + later, ..clock() };
        handle(&self.world, &config(), event, clock).await.batch_item_failures.is_empty()
    }

    /// Everything that follows from what lies there now.
    async fn settle(&mut self) {
        let config = Outcome {
            raw_bucket: "raki-raw".into(),
            state: Location::bucket("raki-state"),
            results: Location::bucket("raki-results"),
        };
        for url in self.world.below("s3://raki-prepared/") {
            let object = self.world.object(&url).expect("it lies there");
            let scan = object.info.metadata.get(SCAN_METADATA).expect("a prepared scan").clone();
            if !self.imaged.contains(&scan) {
                let mut job: JobEvent = fixture("batch-succeeded.json");
                job.detail.job_name = format!("recon-{scan}");
                outcome::notice(&self.world, &config, &Notice::Job(job)).await.expect("memory");
                self.imaged.push(scan);
            }
        }
        loop {
            let written: Vec<(String, String)> = self
                .world
                .below("s3://raki-state/status/")
                .into_iter()
                .map(|url| (url.clone(), self.world.object(&url).expect("it lies there").info.etag))
                .filter(|(url, version)| self.heard.get(url) != Some(version))
                .collect();
            if written.is_empty() {
                return;
            }
            for (url, version) in written {
                let key = url.trim_start_matches("s3://raki-state/");
                assert!(scan_of_status_key(key).is_some(), "{key}");
                let record =
                    serde_json::json!({ "detail-type": "Object Created", "detail": { "object": { "key": key } } });
                let notice: Notice = serde_json::from_value(record).expect("a notice");
                outcome::notice(&self.world, &config, &notice).await.expect("memory");
                self.heard.insert(url, version);
            }
        }
    }
}

/// An upload whose preparation takes too long for a function.
fn slow() -> World {
    let world = world();
    fail_with(&world, |_| Some(Error::OutOfTime));
    world
}

fn refused() -> World {
    let world = world();
    fail_with(&world, |_| Some(Error::Data(DataError::unsupported("a radial trajectory", "use a Cartesian scan"))));
    world
}

#[tokio::test]
async fn whatever_fails_the_next_delivery_ends_as_if_nothing_had() {
    type Upload = (&'static str, fn() -> World);
    let uploads: [Upload; 7] = [
        ("one scan", world),
        ("a refused scan", refused),
        ("a slow scan", slow),
        ("a file that cannot be read", || study(&["photo"], &["photo"])),
        ("several scans", || study(&["t1", "t2", "T1"], &[])),
        ("several scans, one refused", || study(&["t1", "photo", "t2"], &["photo"])),
        ("several refused scans", || study(&["a", "b"], &["a", "b"])),
    ];
    for (name, upload) in uploads {
        let mut whole = Cloud::of(upload());
        assert!(whole.deliver().await, "{name}");
        let operations = *whole.world.operations.lock().expect("no panic");
        whole.settle().await;
        let expected = Left::of(&whole.world);
        assert!(operations > 4, "{name}: {operations}");
        for fault in [Fault::Once, Fault::Killed, Fault::KilledAfter] {
            for after in 0..operations {
                let mut cloud = Cloud::of(upload());
                *cloud.world.plan.lock().expect("no panic") = Some(Plan { fault, after });
                let acknowledged = cloud.deliver().await;
                *cloud.world.plan.lock().expect("no panic") = None;
                // Jobs do not wait for the rest of the upload.
                cloud.settle().await;
                assert!(!acknowledged, "{name}: {fault:?} after {after} operations went unnoticed");
                assert!(cloud.deliver().await, "{name}: {fault:?} after {after}");
                cloud.settle().await;
                assert_eq!(Left::of(&cloud.world), expected, "{name}: {fault:?} after {after}");
                // What is complete stays as it is.
                assert!(cloud.deliver().await, "{name}: {fault:?} after {after}");
                cloud.settle().await;
                assert_eq!(Left::of(&cloud.world), expected, "{name}: {fault:?} after {after}, delivered again");
            }
        }
    }
}
