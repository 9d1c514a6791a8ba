//! Ports in memory, for the tests of the handlers.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use store::{Condition, Location, Object, ObjectInfo, PutOptions, PutOutcome};

use crate::message::Created;
use crate::ports::{
    Datum, Depth, DescribeEnvironments, FindJobs, Found, GetObject, HeadObject, JobRequest, JobState, JobSummary,
    ListJobs, MoveLimits, OpenTask, Postpone, Prepare, PrepareTask, PutMetrics, PutObject, QueueDepth, RefreshCache,
    Refreshed, SubmitJob, TagObject,
};
use crate::scale::{Change, Environment};
use crate::{Error, Result, metadata};

/// A sample event of `events/`.
pub(crate) fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The time of the tests.
pub(crate) fn now() -> Timestamp {
    "2026-11-23T10:10:00Z".parse().expect("a time")
}

/// The same time for the standard library.
pub(crate) fn system(time: Timestamp) -> SystemTime {
    SystemTime::try_from(time).expect("a time of this age")
}

/// What the preparation of the next task ends with, instead of success.
type Verdict = Box<dyn Fn(&PrepareTask) -> Option<Error> + Send + Sync>;

/// Makes what is found in a raw object.
type Contents = Box<dyn Fn() -> Vec<Found> + Send + Sync>;

/// What others do at a moment.
type Meanwhile = Box<dyn FnOnce(&World) + Send>;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It alone does, without an effect.
    Once,
    /// It does and nothing works from then on, as when the function is killed.
    Killed,
    /// As [`Self::Killed`], and it has its effect, though nobody hears of it.
    KilledAfter,
}

/// An operation that will fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// Operations before it.
    pub(crate) after: usize,
}

/// Every port. What was asked of it is kept for the test to look at.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) objects: Mutex<BTreeMap<String, Object>>,
    writes: Mutex<u64>,
    /// What fails of operations of the store, of Batch and of the raw object.
    pub(crate) plan: Mutex<Option<Plan>>,
    /// Such operations so far.
    pub(crate) operations: Mutex<usize>,
    /// What is found in every raw object, instead of one scan.
    pub(crate) contents: Mutex<Option<Contents>>,
    pub(crate) opened: Mutex<usize>,
    pub(crate) verdict: Mutex<Option<Verdict>>,
    pub(crate) prepared: Mutex<Vec<PrepareTask>>,
    /// Runs once, before a prepared file is written: what others do meanwhile.
    pub(crate) meanwhile: Mutex<Option<Meanwhile>>,
    pub(crate) jobs: Mutex<Vec<(JobRequest, JobState)>>,
    pub(crate) listed: Mutex<HashMap<(String, JobState), Vec<JobSummary>>>,
    pub(crate) postponed: Mutex<Vec<Duration>>,
    pub(crate) depths: Mutex<HashMap<String, Depth>>,
    pub(crate) metrics: Mutex<Vec<Datum>>,
    pub(crate) environments: Mutex<Vec<Environment>>,
    pub(crate) changes: Mutex<Vec<Change>>,
    pub(crate) refreshed: Mutex<Vec<Vec<String>>>,
    pub(crate) share_is_busy: Mutex<bool>,
    pub(crate) tags: Mutex<Vec<(Created, String, String)>>,
}

impl World {
    /// An object as it was before the function ran.
    pub(crate) fn put_object(&self, url: &str, info: ObjectInfo, content: &str) {
        let object = Object { bytes: Bytes::copy_from_slice(content.as_bytes()), info };
        self.objects.lock().expect("no panic").insert(url.to_owned(), object);
    }

    pub(crate) fn object(&self, url: &str) -> Option<Object> {
        self.objects.lock().expect("no panic").get(url).cloned()
    }

    /// The text of a record.
    pub(crate) fn text(&self, url: &str) -> String {
        let object = self.object(url).unwrap_or_else(|| panic!("no object {url}"));
        String::from_utf8(object.bytes.to_vec()).expect("text")
    }

    /// URLs below a prefix.
    pub(crate) fn below(&self, prefix: &str) -> Vec<String> {
        let objects = self.objects.lock().expect("no panic");
        objects.keys().filter(|url| url.starts_with(prefix)).cloned().collect()
    }

    /// Does an operation, unless it is to fail.
    fn operate<T>(&self, operation: impl FnOnce() -> T) -> store::Result<T> {
        let mut operations = self.operations.lock().expect("no panic");
        let number = *operations;
        *operations += 1;
        drop(operations);
        let plan = *self.plan.lock().expect("no panic");
        let failed = Err(store::Error::Retryable { what: "an operation", cause: "it was told to fail".into() });
        match plan.map(|plan| (number.cmp(&plan.after), plan.fault)) {
            Some((Ordering::Equal, Fault::KilledAfter)) => {
                operation();
                failed
            }
            Some((Ordering::Equal, _) | (Ordering::Greater, Fault::Killed | Fault::KilledAfter)) => failed,
            _ => Ok(operation()),
        }
    }

    fn write(&self, url: String, bytes: Bytes, options: &PutOptions) -> PutOutcome {
        let mut objects = self.objects.lock().expect("no panic");
        let found = objects.get(&url).map(|object| object.info.etag.clone());
        let holds = match &options.condition {
            Condition::Always => true,
            Condition::IfAbsent => found.is_none(),
            Condition::IfMatch(etag) => found.as_ref() == Some(etag),
        };
        if !holds {
            return PutOutcome::Conflict;
        }
        let mut writes = self.writes.lock().expect("no panic");
        *writes += 1;
        let etag = format!("etag-{writes}");
        let info = ObjectInfo {
            len: bytes.len() as u64,
            etag: etag.clone(),
            metadata: options.metadata.clone(),
            modified: Some(system(now())),
            version: None,
        };
        objects.insert(url, Object { bytes, info });
        PutOutcome::Written { etag }
    }
}

impl HeadObject for World {
    async fn head(&self, at: &Location) -> store::Result<Option<ObjectInfo>> {
        self.operate(|| self.object(&at.to_string()).map(|object| object.info))
    }
}

impl GetObject for World {
    async fn get_object(&self, at: &Location) -> store::Result<Option<Object>> {
        self.operate(|| self.object(&at.to_string()))
    }
}

impl PutObject for World {
    async fn put(&self, at: &Location, bytes: Bytes, options: &PutOptions) -> store::Result<PutOutcome> {
        self.operate(|| self.write(at.to_string(), bytes, options))
    }
}

impl Prepare for World {
    type Opened = ();

    async fn open(&self, _: OpenTask) -> Result<((), Vec<Found>)> {
        *self.opened.lock().expect("no panic") += 1;
        let contents = self.contents.lock().expect("no panic");
        let one = || vec![Found { name: String::new(), refused: None }];
        Ok(self.operate(|| ((), contents.as_ref().map_or_else(one, |contents| contents())))?)
    }

    async fn prepare(&self, (): &(), _: usize, task: PrepareTask) -> Result<PutOutcome> {
        self.prepared.lock().expect("no panic").push(task.clone());
        if let Some(error) = self.verdict.lock().expect("no panic").as_ref().and_then(|verdict| verdict(&task)) {
            return Err(error);
        }
        let meanwhile = self.meanwhile.lock().expect("no panic").take();
        if let Some(others) = meanwhile {
            others(self);
        }
        let mut metadata = task.metadata.clone();
        metadata.insert(metadata::SHA256.to_owned(), "5f2b".to_owned());
        let options = PutOptions { metadata, condition: task.condition, content_type: None };
        let bytes = Bytes::from(format!("prepared {}", task.scan));
        Ok(self.operate(|| self.write(task.prepared.to_string(), bytes, &options))?)
    }
}

impl FindJobs for World {
    async fn find_jobs(&self, queue: &str, name: &str) -> Result<Vec<JobState>> {
        let jobs = self.jobs.lock().expect("no panic");
        let named = jobs.iter().filter(|(job, _)| job.queue == queue && job.name == name);
        Ok(self.operate(|| named.map(|(_, state)| *state).collect())?)
    }
}

impl SubmitJob for World {
    async fn submit_job(&self, job: JobRequest) -> Result<()> {
        Ok(self.operate(|| self.jobs.lock().expect("no panic").push((job, JobState::Submitted)))?)
    }
}

impl ListJobs for World {
    async fn list_jobs(&self, queue: &str, state: JobState) -> Result<Vec<JobSummary>> {
        let listed = self.listed.lock().expect("no panic");
        Ok(listed.get(&(queue.to_owned(), state)).cloned().unwrap_or_default())
    }
}

impl Postpone for World {
    async fn postpone(&self, _: &str, _: &str, wait: Duration) -> Result<()> {
        self.postponed.lock().expect("no panic").push(wait);
        Ok(())
    }
}

impl QueueDepth for World {
    async fn queue_depth(&self, queue: &str) -> Result<Depth> {
        let depths = self.depths.lock().expect("no panic");
        let unknown = Error::Service { what: "depth", cause: "NonExistentQueue".into(), retryable: false };
        depths.get(queue).copied().ok_or(unknown)
    }
}

impl PutMetrics for World {
    async fn put_metrics(&self, _: &str, data: &[Datum]) -> Result<()> {
        self.metrics.lock().expect("no panic").extend_from_slice(data);
        Ok(())
    }
}

impl DescribeEnvironments for World {
    async fn describe(&self, names: &[String]) -> Result<Vec<Environment>> {
        let all = self.environments.lock().expect("no panic");
        Ok(all.iter().filter(|environment| names.contains(&environment.name)).cloned().collect())
    }
}

impl MoveLimits for World {
    async fn move_limits(&self, change: &Change) -> Result<()> {
        self.changes.lock().expect("no panic").push(change.clone());
        Ok(())
    }
}

impl RefreshCache for World {
    async fn refresh_cache(&self, _: &str, folders: &[String]) -> Result<Refreshed> {
        if *self.share_is_busy.lock().expect("no panic") {
            return Ok(Refreshed::Later);
        }
        self.refreshed.lock().expect("no panic").push(folders.to_vec());
        Ok(Refreshed::Accepted)
    }
}

impl TagObject for World {
    async fn tag_object(&self, object: &Created, name: &str, value: &str) -> Result<()> {
        let tag = (object.clone(), name.to_owned(), value.to_owned());
        Ok(self.operate(|| self.tags.lock().expect("no panic").push(tag))?)
    }
}
