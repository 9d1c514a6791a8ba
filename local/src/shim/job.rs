//! A job, its attempts, and how Batch describes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::shim::registry::{Program, arn};
use crate::shim::retry::{Ended, RetryStrategy};

/// The states of a job, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobStatus {
    /// Accepted.
    Submitted,
    /// Waits for other jobs.
    Pending,
    /// Waits for a place to run.
    Runnable,
    /// Has a place, the container is being started.
    Starting,
    /// Runs.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise and is not tried again.
    Failed,
}

impl JobStatus {
    /// The name Batch gives it.
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

    /// The status of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        use JobStatus::{Failed, Pending, Runnable, Running, Starting, Submitted, Succeeded};
        [Submitted, Pending, Runnable, Starting, Running, Succeeded, Failed].into_iter().find(|s| s.name() == name)
    }

    /// Whether the job is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// One run of a job's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it started, ms since 1970.
    pub started: i64,
    /// When it stopped, ms since 1970.
    pub stopped: i64,
    /// How.
    pub ended: Ended,
    /// Name of its log.
    pub log: String,
}

/// A submitted job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Unique id.
    pub id: String,
    /// Name given by the submitter.
    pub name: String,
    /// Name of the queue.
    pub queue: String,
    /// ARN of the definition.
    pub definition: String,
    /// The container part of the definition, in the form of the API.
    pub container: Value,
    /// Which program it runs.
    pub program: Program,
    /// Its arguments, placeholders filled in.
    pub command: Vec<String>,
    /// Values of the placeholders.
    pub parameters: BTreeMap<String, String>,
    /// Variables of the container.
    pub environment: BTreeMap<String, String>,
    /// What happens after an attempt.
    pub retry: RetryStrategy,
    /// Limit of one attempt, s.
    pub timeout_seconds: Option<u64>,
    /// Tags given by the submitter.
    pub tags: BTreeMap<String, String>,
    /// Where it stands.
    pub status: JobStatus,
    /// Why.
    pub status_reason: Option<String>,
    /// When it was submitted, ms since 1970.
    pub created: i64,
    /// When its last attempt started.
    pub started: Option<i64>,
    /// When it was over.
    pub stopped: Option<i64>,
    /// The attempts that are over.
    pub attempts: Vec<Attempt>,
    /// Name of the log of the running or last attempt.
    pub log: Option<String>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Whether it was terminated.
    pub terminated: bool,
    /// Process id while it runs.
    pub pid: Option<u32>,
}

impl Job {
    /// ARN.
    #[must_use]
    pub fn arn(&self) -> String {
        arn("job", &self.id)
    }

    /// `JobDetail` of `DescribeJobs`.
    #[must_use]
    pub fn detail(&self) -> Value {
        let mut detail = self.common();
        detail.insert("isCancelled".to_owned(), self.cancelled.into());
        detail.insert("isTerminated".to_owned(), self.terminated.into());
        Value::Object(detail)
    }

    /// `detail` of the event "Batch Job State Change", which is the description without the two flags; see
    /// <https://docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html>.
    #[must_use]
    pub fn event(&self) -> Value {
        Value::Object(self.common())
    }

    /// `JobSummary` of `ListJobs`.
    #[must_use]
    pub fn summary(&self) -> Value {
        let mut summary = Map::new();
        let mut put = |key: &str, value: Value| summary.insert(key.to_owned(), value);
        put("jobArn", self.arn().into());
        put("jobId", self.id.clone().into());
        put("jobName", self.name.clone().into());
        put("jobDefinition", self.definition.clone().into());
        put("createdAt", self.created.into());
        put("status", self.status.name().into());
        for (key, value) in [("startedAt", self.started), ("stoppedAt", self.stopped)] {
            if let Some(value) = value {
                put(key, value.into());
            }
        }
        if let Some(reason) = &self.status_reason {
            put("statusReason", reason.clone().into());
        }
        if let Some(last) = self.attempts.last() {
            put("container", Value::Object(exit_of(&last.ended)));
        }
        Value::Object(summary)
    }

    fn common(&self) -> Map<String, Value> {
        let mut detail = Map::new();
        let mut put = |key: &str, value: Value| detail.insert(key.to_owned(), value);
        put("jobArn", self.arn().into());
        put("jobName", self.name.clone().into());
        put("jobId", self.id.clone().into());
        put("jobQueue", arn("job-queue", &self.queue).into());
        put("status", self.status.name().into());
        put("attempts", self.attempts.iter().map(attempt).collect());
        put("createdAt", self.created.into());
        put("retryStrategy", json!(self.retry));
        put("dependsOn", json!([]));
        put("jobDefinition", self.definition.clone().into());
        put("parameters", json!(self.parameters));
        put("container", self.container());
        put("tags", json!(self.tags));
        put("propagateTags", false.into());
        put("platformCapabilities", json!([if self.program == Program::Gpu { "EC2" } else { "FARGATE" }]));
        for (key, value) in [("startedAt", self.started), ("stoppedAt", self.stopped)] {
            if let Some(value) = value {
                put(key, value.into());
            }
        }
        if let Some(reason) = &self.status_reason {
            put("statusReason", reason.clone().into());
        }
        if let Some(seconds) = self.timeout_seconds {
            put("timeout", json!({ "attemptDurationSeconds": seconds }));
        }
        detail
    }

    fn container(&self) -> Value {
        let mut container = self.container.as_object().cloned().unwrap_or_default();
        // Part of a definition, absent from what describes a job.
        container.remove("instanceType");
        container.insert("command".to_owned(), json!(self.command));
        let variables = self.environment.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        container.insert("environment".to_owned(), variables.collect());
        for key in ["volumes", "mountPoints", "ulimits", "networkInterfaces", "secrets"] {
            container.entry(key).or_insert_with(|| json!([]));
        }
        if let Some(log) = &self.log {
            container.insert("logStreamName".to_owned(), log.clone().into());
        }
        if let Some(last) = self.attempts.last() {
            container.extend(exit_of(&last.ended));
        }
        Value::Object(container)
    }
}

fn exit_of(ended: &Ended) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(code) = ended.exit_code {
        fields.insert("exitCode".to_owned(), code.into());
    }
    if let Some(reason) = &ended.reason {
        fields.insert("reason".to_owned(), reason.clone().into());
    }
    fields
}

fn attempt(attempt: &Attempt) -> Value {
    let mut container = exit_of(&attempt.ended);
    container.insert("logStreamName".to_owned(), attempt.log.clone().into());
    container.insert("networkInterfaces".to_owned(), json!([]));
    let mut fields = Map::from_iter([
        ("container".to_owned(), Value::Object(container)),
        ("startedAt".to_owned(), attempt.started.into()),
        ("stoppedAt".to_owned(), attempt.stopped.into()),
    ]);
    if let Some(reason) = &attempt.ended.status_reason {
        fields.insert("statusReason".to_owned(), reason.clone().into());
    }
    Value::Object(fields)
}
