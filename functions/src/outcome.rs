//! What became of a Batch job: the history of its scan, and quarantine where the data are to blame. Histories that are written, by
//! whatever stage, wake it as well, for the [`worklist`].
//!
//! Events arrive at least once and in any order
//! (<https://docs.aws.amazon.com/batch/latest/userguide/batch_cwe_events.html>); the history keeps them in the order of
//! time and knows each once.

use contract::keys::status_key;
use contract::{ExitCode, ScanId, Stage, State, Status};
use jiff::Timestamp;
use serde::Deserialize;
use store::state::{self, Claim, Parts};

use crate::config::Outcome;
use crate::decompress::refusal;
use crate::message::Created;
use crate::ports::{GetObject, PutObject, TagObject};
use crate::worklist::{self, RecordEvent};
use crate::{Error, PREPARE_JOB, RECONSTRUCT_JOB, Result, event};

/// The tag that lets a raw object's lifecycle rule archive it.
const RECONSTRUCTED: (&str, &str) = ("reconstructed", "true");

/// What EventBridge delivers.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "detail-type")]
pub enum Notice {
    /// A job changed its state.
    #[serde(rename = "Batch Job State Change")]
    Job(JobEvent),
    /// A record was written.
    #[serde(rename = "Object Created")]
    Record(RecordEvent),
}

/// Deals with one notice.
///
/// # Errors
/// Those of the store; Lambda then tries again.
pub async fn notice<P>(ports: &P, config: &Outcome, notice: &Notice) -> Result<()>
where
    P: GetObject + PutObject + TagObject,
{
    match notice {
        Notice::Job(job) => handle(ports, config, job).await,
        Notice::Record(record) => match worklist::handle(ports, config, record).await? {
            Some(parts) => mark_upload(ports, config, &parts).await,
            None => Ok(()),
        },
    }
}

/// A "Batch Job State Change" event, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub struct JobEvent {
    /// When it happened.
    pub time: Timestamp,
    /// The job.
    pub detail: Job,
}

/// The job of a [`JobEvent`], in the form of `DescribeJobs`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name, which ends in the scan id.
    pub job_name: String,
    /// Its state.
    pub status: String,
    /// Why it is in that state.
    pub status_reason: Option<String>,
    /// The attempts that are over.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// The container of the last attempt.
    pub container: Option<Container>,
    /// When the last attempt began, ms since 1970.
    pub started_at: Option<i64>,
    /// When the job ended, ms since 1970.
    pub stopped_at: Option<i64>,
}

/// One try of a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its container.
    pub container: Option<Container>,
    /// Why it ended.
    pub status_reason: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its exit code, if it came to that.
    pub exit_code: Option<i32>,
    /// What Batch says of it, such as `OutOfMemoryError: Container killed due to memory usage`.
    pub reason: Option<String>,
}

impl JobEvent {
    /// When it happened. The job's own times have milliseconds, the event's whole seconds.
    #[must_use]
    pub fn happened(&self) -> Timestamp {
        let stated = match self.detail.status.as_str() {
            "RUNNING" => self.detail.started_at,
            "SUCCEEDED" | "FAILED" => self.detail.stopped_at,
            _ => None,
        };
        stated.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(self.time)
    }
}

/// What an event means for its scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// The scan.
    pub scan: ScanId,
    /// What the job did.
    pub stage: Stage,
    /// What happened.
    pub state: State,
    /// Which try, from 1.
    pub attempt: u32,
    /// Why, as far as the event tells.
    pub reason: Option<String>,
}

/// Reads an event; `None` for a job that is not ours or a state that says nothing new.
#[must_use]
pub fn meaning(job: &Job) -> Option<Meaning> {
    let (stage, scan) = match (job.job_name.strip_prefix(RECONSTRUCT_JOB), job.job_name.strip_prefix(PREPARE_JOB)) {
        (Some(scan), _) => (Stage::Reconstruct, scan),
        (_, Some(scan)) => (Stage::Decompress, scan),
        _ => return None,
    };
    let scan: ScanId = scan.parse().ok()?;
    let over = u32::try_from(job.attempts.len()).unwrap_or(u32::MAX);
    let (state, attempt, reason) = match job.status.as_str() {
        "RUNNING" => (State::Started, over.saturating_add(1), None),
        // Back in the queue after an attempt.
        "RUNNABLE" if over > 0 => (State::Retrying, over, Some(failure(job))),
        "SUCCEEDED" => (State::Done, over.max(1), None),
        "FAILED" => {
            let refused = exit_code(job).and_then(ExitCode::from_code) == Some(ExitCode::BadData);
            (if refused { State::Quarantined } else { State::Failed }, over.max(1), Some(failure(job)))
        }
        _ => return None,
    };
    Some(Meaning { scan, stage, state, attempt, reason })
}

fn last_container(job: &Job) -> Option<&Container> {
    job.attempts.last().and_then(|attempt| attempt.container.as_ref()).or(job.container.as_ref())
}

fn exit_code(job: &Job) -> Option<i32> {
    last_container(job).and_then(|container| container.exit_code)
}

/// One sentence on why an attempt failed. What Batch says names no one: it knows instances and containers only.
fn failure(job: &Job) -> String {
    let said = last_container(job)
        .and_then(|container| container.reason.as_deref())
        .or_else(|| job.attempts.last().and_then(|attempt| attempt.status_reason.as_deref()))
        .or(job.status_reason.as_deref());
    let said = said.map(|text| format!(" ({text})")).unwrap_or_default();
    match (exit_code(job), exit_code(job).and_then(ExitCode::from_code)) {
        (_, Some(ExitCode::BadData)) => "the data cannot be reconstructed; the log of the job says why".to_owned(),
        (_, Some(ExitCode::Transient)) => format!("the job was interrupted or a service did not answer{said}"),
        (_, Some(ExitCode::Usage)) => format!("the job was started in a wrong way{said}"),
        (_, Some(ExitCode::Bug)) => format!("the job met a defect of the software{said}"),
        (_, Some(ExitCode::Done)) => format!("the job ended well and Batch calls it failed{said}"),
        (Some(137), None) => format!("the job was killed, by a lack of memory or by its time limit{said}"),
        (Some(code), None) => format!("the job ended with exit code {code}{said}"),
        (None, _) => format!("the job did not come to an end{said}"),
    }
}

/// Deals with one event.
///
/// # Errors
/// Those of the store; Lambda then tries again.
pub async fn handle<P>(ports: &P, config: &Outcome, job: &JobEvent) -> Result<()>
where
    P: GetObject + PutObject + TagObject,
{
    let Some(mut meaning) = meaning(&job.detail) else {
        tracing::info!("acknowledged: says nothing of a scan");
        return Ok(());
    };
    let scan = &meaning.scan;
    if meaning.state == State::Quarantined {
        // The job knows better than its exit code.
        if let Some(left) = state::job_failure(ports, &config.state, scan).await? {
            meaning.reason = Some(left.reason);
        }
        let raw = state::raw_of(ports, &config.state, scan).await?;
        let raw = raw.ok_or(Error::Bug("a job of a scan that decompress never saw"))?;
        let reason = meaning.reason.as_deref().unwrap_or_default();
        let refusal = refusal(scan, meaning.stage, job.happened(), reason);
        state::record_quarantine(ports, &config.state, &raw.quarantine_key(), &refusal).await?;
    }
    if (meaning.stage, meaning.state) == (Stage::Decompress, State::Done) {
        let parts = state::parts_of(ports, &config.state, scan).await?;
        meaning.reason = parts.map(|parts| parts.summary());
    }
    if meaning.state == State::Failed {
        tracing::error!(%scan, stage = %meaning.stage, reason = meaning.reason, "a job failed for good");
    } else {
        tracing::info!(%scan, stage = %meaning.stage, state = ?meaning.state, attempt = meaning.attempt, "recorded");
    }
    let line = event(job.happened(), meaning.stage, meaning.state, meaning.attempt, meaning.reason.clone());
    state::record_status(ports, &config.state, scan, line).await?;
    if (meaning.stage, meaning.state) == (Stage::Reconstruct, State::Done) {
        mark_reconstructed(ports, config, scan).await?;
    }
    Ok(())
}

/// Tags the raw object of a scan, so that it may be archived.
async fn mark_reconstructed<P: GetObject + TagObject>(ports: &P, config: &Outcome, scan: &ScanId) -> Result<()> {
    let Some(raw) = state::raw_of(ports, &config.state, scan).await? else { return Ok(()) };
    if let Some(part) = &raw.part {
        return match state::parts_of(ports, &config.state, &part.upload).await? {
            Some(parts) if all_reconstructed(ports, config, &parts).await? => mark(ports, config, raw).await,
            _ => Ok(()),
        };
    }
    mark(ports, config, raw).await
}

/// Tags an upload of several scans whose record of them was written after the last had its images: where decompress was
/// killed before, the end of no scan could tell that all were done. Its own history is written after that record.
async fn mark_upload<P: GetObject + TagObject>(ports: &P, config: &Outcome, upload: &Parts) -> Result<()> {
    if !all_reconstructed(ports, config, upload).await? {
        return Ok(());
    }
    match state::raw_of(ports, &config.state, &upload.scan).await? {
        Some(raw) => mark(ports, config, raw).await,
        None => Ok(()),
    }
}

async fn mark<P: TagObject>(ports: &P, config: &Outcome, raw: Claim) -> Result<()> {
    if raw.bucket != config.raw_bucket {
        return Ok(());
    }
    let object = Created { bucket: raw.bucket, key: raw.key, version: raw.version, etag: None };
    ports.tag_object(&object, RECONSTRUCTED.0, RECONSTRUCTED.1).await
}

/// Whether every scan of an upload has its images. The history of the scan that asks is written already, so of two that end
/// at once one sees the other.
async fn all_reconstructed<P: GetObject>(ports: &P, config: &Outcome, upload: &Parts) -> Result<bool> {
    for part in &upload.parts {
        let status: Option<Status> = state::read(ports, &config.state.join(&status_key(&part.scan))).await?;
        if !status.is_some_and(|status| status.end().is_some_and(|end| end.state == State::Done)) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
