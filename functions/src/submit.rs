//! One GPU job per prepared scan.
//!
//! `SubmitJob` has no client token, so three things keep a scan from being submitted twice: the job's name is the
//! scan's, and a job of that name that has not failed is not submitted again; the job spec is written before, on the
//! condition that there is none, so that of two functions one submits; and the job itself ends at once if the manifest
//! of its scan exists. A function killed between the spec and the job is told by the spec's age.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use contract::keys::{METHOD_METADATA, SCAN_METADATA, job_key};
use contract::manifest::Source;
use contract::{DevicePreference, JobSpec, Method, Record, ScanId, ScanKeys, Stage, State};
use jiff::Timestamp;
use serde_json::Value;
use store::{Condition, Location, ObjectInfo, state};

use crate::config::Submit;
use crate::message::{self, Created};
use crate::ports::{FindJobs, GetObject, HeadObject, JobRequest, JobState, PutObject, SubmitJob};
use crate::{Error, RECONSTRUCT_JOB, Result, age, event, metadata};

/// A spec older than this without a job belongs to a function that was killed: twice the function's timeout.
const ABANDONED: Duration = Duration::from_secs(120);
/// Looks for the job of another function that is about to submit it.
const LOOKS: u32 = 4;
/// Time between these looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What there is to do for a prepared scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A job of this scan waits, runs or is done.
    Known,
    /// Submit it.
    Submit,
    /// Take over from a function that was killed, then submit it.
    TakeOver,
    /// Another function is about to submit it.
    Wait,
}

/// Decides from the jobs of the scan's name and from the spec: `None` when this function wrote it just now, else its age.
#[must_use]
pub fn decide(jobs: &[JobState], spec_age: Option<Duration>) -> Step {
    if jobs.iter().any(|state| *state != JobState::Failed) {
        return Step::Known;
    }
    match spec_age {
        None => Step::Submit,
        Some(age) if age >= ABANDONED => Step::TakeOver,
        Some(_) => Step::Wait,
    }
}

/// Deals with a batch of S3 notifications of prepared objects.
pub async fn handle<P>(ports: &P, config: &Submit, event: SqsEvent, now: Timestamp) -> SqsBatchResponse
where
    P: HeadObject + GetObject + PutObject + FindJobs + SubmitJob,
{
    message::each(event, async |message| {
        for object in message::created(message::body(message))? {
            one(ports, config, &object, message::attempt(message), now).await?;
        }
        Ok(())
    })
    .await
}

async fn one<P>(ports: &P, config: &Submit, object: &Created, attempt: u32, now: Timestamp) -> Result<()>
where
    P: HeadObject + GetObject + PutObject + FindJobs + SubmitJob,
{
    if object.bucket != config.prepared_bucket {
        let (found, expected) = (&object.bucket, &config.prepared_bucket);
        return Err(Error::Event(format!("it speaks of bucket {found}, expected {expected}")));
    }
    let Some(keys) = ScanKeys::of_prepared(&object.key) else {
        tracing::info!("acknowledged: not a prepared file");
        return Ok(());
    };
    let prepared = Location::bucket(&object.bucket).join(&object.key);
    let Some(info) = ports.head(&prepared).await? else {
        tracing::info!("acknowledged: the prepared file is gone");
        return Ok(());
    };
    let spec = spec(config, &keys, &prepared, &info)?;
    let scan = spec.scan.clone();
    if manifest_scan(ports, &config.results.join(&keys.manifest())).await? == Some(scan.to_string()) {
        tracing::info!(%scan, "acknowledged: the result exists");
        return Ok(());
    }
    let url = config.state.join(&job_key(&scan));
    let submitted = submit(ports, config, &scan, &spec, &url, now).await?;
    tracing::info!(%scan, submitted, "handed to Batch");
    let line = event(now, Stage::Submit, State::Done, attempt, None);
    state::record_status(ports, &config.state, &scan, line).await?;
    Ok(())
}

/// Which scan the results under this name are of. A manifest of another release counts as another scan's.
async fn manifest_scan<P: GetObject>(ports: &P, at: &Location) -> Result<Option<String>> {
    let found = ports.get_object(at).await?;
    let manifest = found.and_then(|object| serde_json::from_slice::<Value>(&object.bytes).ok());
    Ok(manifest.and_then(|manifest| manifest["scan"].as_str().map(str::to_owned)))
}

/// What the job is asked to do. The prepared object's metadata says where it comes from.
fn spec(config: &Submit, keys: &ScanKeys, prepared: &Location, info: &ObjectInfo) -> Result<JobSpec> {
    let known = |name: &str| info.metadata.get(name).cloned();
    let scan: ScanId = known(SCAN_METADATA)
        .ok_or_else(|| Error::Event("a prepared file without a scan id: only decompress may write there".to_owned()))?
        .parse()?;
    let method = known(METHOD_METADATA).map(|name| name.parse::<Method>());
    let method = method.transpose().map_err(|unknown| Error::Event(unknown.to_string()))?;
    Ok(JobSpec {
        schema: JobSpec::SCHEMA,
        scan,
        prepared: prepared.to_string(),
        results: config.results.join(&keys.results).to_string(),
        method: method.unwrap_or(config.method),
        refine: None,
        seed: config.seed,
        device: DevicePreference::Auto,
        images: config.images,
        source: Source {
            key_sha256: known(metadata::KEY_SHA256).unwrap_or_default(),
            version: known(metadata::VERSION),
            etag: known(metadata::ETAG),
            sha256: known(metadata::SHA256).unwrap_or_default(),
        },
    })
}

/// Submits the job unless it is known. Returns whether it did.
async fn submit<P>(
    ports: &P,
    config: &Submit,
    scan: &ScanId,
    spec: &JobSpec,
    url: &Location,
    now: Timestamp,
) -> Result<bool>
where
    P: HeadObject + GetObject + PutObject + FindJobs + SubmitJob,
{
    let name = format!("{RECONSTRUCT_JOB}{scan}");
    let written = state::write(ports, url, spec, Condition::IfAbsent).await?.is_written();
    let earlier = if written { None } else { ports.head(url).await? };
    let age = earlier.as_ref().map(|info| age(info.modified, now));
    for look in 1..=LOOKS {
        let jobs = ports.find_jobs(&config.job_queue, &name).await?;
        match decide(&jobs, age) {
            Step::Known => return Ok(false),
            Step::Submit => break,
            Step::TakeOver => {
                let condition = Condition::unchanged(earlier.as_ref());
                if !state::write(ports, url, spec, condition).await?.is_written() {
                    return Err(Error::Busy("another function has just taken the job over"));
                }
                break;
            }
            Step::Wait if look < LOOKS => tokio::time::sleep(LOOK_AGAIN).await,
            Step::Wait => return Err(Error::Busy("another function is about to submit the job")),
        }
    }
    ports
        .submit_job(JobRequest {
            name,
            queue: config.job_queue.clone(),
            definition: config.job_definition.clone(),
            // A pointer: a Batch payload is limited to 30 KiB and shown in consoles.
            parameters: [("spec".to_owned(), url.to_string())].into(),
        })
        .await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
