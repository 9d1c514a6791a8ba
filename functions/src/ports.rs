//! One trait per verb besides those of [`store::ports`]. The traits a handler asks for are its IAM statement.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use contract::ScanId;
use kspace::prepare::Compression;
use store::{Condition, Location, ObjectInfo, PutOutcome};

use crate::Result;
use crate::config::ArchiveLimits;

pub use store::ports::{GetObject, HeadObject, PutObject};

/// One raw object to be unpacked and opened.
#[derive(Debug, Clone)]
pub struct OpenTask {
    /// The raw object.
    pub raw: Location,
    /// What is known of it; its ETag pins what is read.
    pub raw_info: ObjectInfo,
    /// Limits of the archive.
    pub limits: ArchiveLimits,
    /// When to stop.
    pub deadline: Option<Instant>,
}

/// One scan of an opened raw object, or a file in it that cannot be read.
#[derive(Debug)]
pub struct Found {
    /// What tells it from the others, as people named it.
    pub name: String,
    /// Why it cannot be read.
    pub refused: Option<kspace::Error>,
}

/// One scan to be prepared.
#[derive(Debug, Clone)]
pub struct PrepareTask {
    /// The scan.
    pub scan: ScanId,
    /// Where the prepared file goes.
    pub prepared: Location,
    /// When it may be written.
    pub condition: Condition,
    /// User metadata of the prepared object; the SHA-256 of the raw file is added.
    pub metadata: HashMap<String, String>,
    /// Virtual coils to keep.
    pub compression: Compression,
    /// When to stop.
    pub deadline: Option<Instant>,
}

/// Unpacks a raw object and writes the prepared ones.
pub trait Prepare: Sync {
    /// An opened raw object. What it holds on a disk is gone when it is dropped.
    type Opened: Send + Sync;

    /// Unpacks and opens a raw object, and tells what is in it, in an order that depends on its bytes alone.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for what is wrong with all of it; [`crate::Error::OutOfTime`], [`crate::Error::NoSpace`] and the store's.
    fn open(&self, task: OpenTask) -> impl Future<Output = Result<(Self::Opened, Vec<Found>)>> + Send;

    /// Prepares scan `number` of what was found.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for what is wrong with its data; [`crate::Error::OutOfTime`], [`crate::Error::NoSpace`] and the store's.
    fn prepare(
        &self,
        opened: &Self::Opened,
        number: usize,
        task: PrepareTask,
    ) -> impl Future<Output = Result<PutOutcome>> + Send;
}

/// Where a Batch job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobState {
    /// Accepted.
    Submitted,
    /// Waiting for another job.
    Pending,
    /// Waiting for an instance.
    Runnable,
    /// Its container is being started.
    Starting,
    /// At work.
    Running,
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Submitted, Self::Pending, Self::Runnable, Self::Starting, Self::Running, Self::Succeeded, Self::Failed];

    /// The name Batch uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Pending => "PENDING",
            Self::Runnable => "RUNNABLE",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }

    /// The state of a name; `None` for one that Batch did not have when this was written.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the job is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// `batch:ListJobs` by name.
pub trait FindJobs: Sync {
    /// The states of all jobs of that name, of the last week.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn find_jobs(&self, queue: &str, name: &str) -> impl Future<Output = Result<Vec<JobState>>> + Send;
}

/// A job to submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// Its name.
    pub name: String,
    /// Its queue.
    pub queue: String,
    /// Its definition.
    pub definition: String,
    /// Values of the `Ref::` placeholders of the definition's command.
    pub parameters: BTreeMap<String, String>,
}

/// `batch:SubmitJob`.
pub trait SubmitJob: Sync {
    /// Submits a job.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn submit_job(&self, job: JobRequest) -> impl Future<Output = Result<()>> + Send;
}

/// A job as `ListJobs` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSummary {
    /// When it was submitted.
    pub created: Option<SystemTime>,
    /// When it ended.
    pub stopped: Option<SystemTime>,
}

/// `batch:ListJobs` by state.
pub trait ListJobs: Sync {
    /// The jobs of a queue in one state. Those that are over are kept for at least seven days.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn list_jobs(&self, queue: &str, state: JobState) -> impl Future<Output = Result<Vec<JobSummary>>> + Send;
}

/// `sqs:ChangeMessageVisibility`.
pub trait Postpone: Sync {
    /// Has a message delivered again after `wait`.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn postpone(&self, queue: &str, receipt: &str, wait: Duration) -> impl Future<Output = Result<()>> + Send;
}

/// Messages of a queue. All counts are approximate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Ready to be received.
    pub visible: u64,
    /// Being worked on.
    pub in_flight: u64,
    /// Not to be received yet.
    pub delayed: u64,
}

impl Depth {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.visible.saturating_add(self.in_flight).saturating_add(self.delayed)
    }
}

/// `sqs:GetQueueAttributes`.
pub trait QueueDepth: Sync {
    /// How many messages a queue holds.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn queue_depth(&self, queue: &str) -> impl Future<Output = Result<Depth>> + Send;
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// Name of the metric.
    pub name: &'static str,
    /// Dimensions, never a scan id.
    pub dimensions: Vec<(&'static str, String)>,
    /// The value, a count.
    pub value: f64,
}

/// `cloudwatch:PutMetricData`.
pub trait PutMetrics: Sync {
    /// Publishes values.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn put_metrics(&self, namespace: &str, data: &[Datum]) -> impl Future<Output = Result<()>> + Send;
}

/// `batch:DescribeComputeEnvironments`.
pub trait DescribeEnvironments: Sync {
    /// The named environments, in any order; those that do not exist are left out.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn describe(&self, names: &[String]) -> impl Future<Output = Result<Vec<crate::scale::Environment>>> + Send;
}

/// `batch:UpdateComputeEnvironment`, its limits only.
pub trait MoveLimits: Sync {
    /// Sets the limits of an environment.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn move_limits(&self, change: &crate::scale::Change) -> impl Future<Output = Result<()>> + Send;
}

/// What a share answers to a request to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// It does.
    Accepted,
    /// It is busy with earlier requests.
    Later,
}

/// `storagegateway:RefreshCache`.
pub trait RefreshCache: Sync {
    /// Asks a share to look at `folders`, not at what lies below them.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn refresh_cache(&self, share: &str, folders: &[String]) -> impl Future<Output = Result<Refreshed>> + Send;
}

/// `s3:GetObjectTagging` and `s3:PutObjectTagging`.
pub trait TagObject: Sync {
    /// Adds a tag to one version of an object and keeps its others. An object that is gone needs none.
    ///
    /// # Errors
    /// [`crate::Error::Service`].
    fn tag_object(
        &self,
        object: &crate::message::Created,
        name: &str,
        value: &str,
    ) -> impl Future<Output = Result<()>> + Send;
}
