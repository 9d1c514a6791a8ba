//! One raw object to one prepared file for each scan in it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`decide`] | what to do with an object, from what is known of it: pure |
//! | [`scan`] | the way of one scan, shared by the function and the job |
//! | `parts` | an object that holds several scans |
//! | [`prepare`] | the work itself, in blocking code |
//! | [`job`] | the same for an archive over the Lambda's limits, on Batch/Fargate |
//!
//! There is no claim that locks a scan. A prepared file is the same bytes whoever writes it, and it is written on the
//! condition that the object under its name is the one seen before. So two functions at the same scan cost time and
//! nothing else, one that is killed leaves nothing that another has to wait for, and a redelivered message starts anew.

pub mod decide;
pub mod job;
mod parts;
pub mod prepare;
pub mod scan;

use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use contract::keys::quarantine_key;
use contract::quarantine::UPLOAD_AGAIN;
use contract::{Disposition, Quarantine, Record, ScanId, Stage, State};
use jiff::Timestamp;
use store::state;

use crate::config::Decompress;
use crate::message::{self, Created};
use crate::ports::{FindJobs, GetObject, HeadObject, JobRequest, JobState, Postpone, Prepare, PutObject, SubmitJob};
use crate::{Error, PREPARE_JOB, Result, event, rfc3339};
use scan::{Examined, Place, Way, Work};

/// The first wait after a failure that another try may mend; four times as long for each further one, so that the five tries of
/// the queue outlast an outage of half an hour. The queue's own visibility timeout, made for functions that were
/// killed, is 90 minutes: too long for a service that was busy.
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// SQS keeps a message invisible for at most 12 hours from its receipt; an hour is left for the work itself.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>
const LONGEST_VISIBILITY: Duration = Duration::from_secs(39_600);

/// When an invocation runs.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Now.
    pub now: Timestamp,
    /// When the work must have stopped.
    pub deadline: Instant,
}

impl Clock {
    /// The clock of an invocation that Lambda ends at `end`.
    #[must_use]
    pub fn until(end: std::time::SystemTime, reserve: Duration) -> Self {
        let left = end.duration_since(std::time::SystemTime::now()).unwrap_or_default();
        Self { now: Timestamp::now(), deadline: Instant::now() + left.saturating_sub(reserve) }
    }
}

/// Deals with a batch of S3 notifications of raw objects.
pub async fn handle<P>(ports: &P, config: &Decompress, event: SqsEvent, clock: Clock) -> SqsBatchResponse
where
    P: HeadObject + GetObject + PutObject + Prepare + FindJobs + SubmitJob + Postpone,
{
    message::each(event, async |message| {
        for object in message::created(message::body(message))? {
            if let Err(error) = one(ports, config, message, &object, clock).await {
                if let Some(wait) = retry_after(&error, message::attempt(message)) {
                    postpone(ports, config, message, wait).await;
                }
                return Err(error);
            }
        }
        Ok(())
    })
    .await
}

/// One object: examine, work, answer.
async fn one<P>(ports: &P, config: &Decompress, message: &SqsMessage, object: &Created, clock: Clock) -> Result<()>
where
    P: HeadObject + GetObject + PutObject + Prepare + FindJobs + SubmitJob + Postpone,
{
    let preparation = &config.preparation;
    let place = Place { deadline: Some(clock.deadline), max_bytes: Some(config.max_lambda_bytes) };
    let attempt = message::attempt(message);
    let begun = Instant::now();
    let record = async |scan: &ScanId, state, reason: Option<String>| {
        let line = event(clock.now + begun.elapsed(), Stage::Decompress, state, attempt, reason);
        state::record_status(ports, &preparation.state, scan, line).await
    };
    let (scan, end) = match scan::examine(ports, preparation, place, object).await? {
        Examined::Nothing(why) => {
            tracing::info!(why, "acknowledged");
            return Ok(());
        }
        Examined::End(scan, end) => (scan, end),
        Examined::Work(upload) => {
            let scan = upload.claim.scan.clone();
            tracing::info!(%scan, bytes = upload.raw_info.len, attempt, "preparing");
            record(&scan, State::Started, None).await?;
            let way = Way { ports, config: preparation, place, object, now: clock.now };
            let end = match scan::work(&way, &upload).await {
                Ok(end) => end,
                Err(error) => {
                    if error.disposition() == Disposition::Retry {
                        record(&scan, State::Retrying, Some(error.to_string())).await?;
                    }
                    return Err(error);
                }
            };
            (scan, end)
        }
    };
    tracing::info!(%scan, end = end.name(), "decided");
    match end {
        Work::Done => record(&scan, State::Done, None).await?,
        Work::Parts(summary) => record(&scan, State::Done, Some(summary)).await?,
        Work::Superseded => record(&scan, State::Superseded, Some(decide::SUPERSEDED.to_owned())).await?,
        Work::HandOver(reason) => {
            hand_over(ports, config, &scan).await?;
            record(&scan, State::HandedOver, Some(reason)).await?
        }
        Work::Rejected(reason) => {
            let quarantine = refusal(&scan, Stage::Decompress, clock.now, &reason);
            state::record_quarantine(ports, &preparation.state, &quarantine_key(&object.key), &quarantine).await?;
            record(&scan, State::Quarantined, Some(reason)).await?
        }
        Work::Incomplete { reason, wait } => {
            record(&scan, State::Retrying, Some(reason)).await?;
            return Err(Error::Incomplete(wait));
        }
    };
    Ok(())
}

/// The record of a refused scan.
pub(crate) fn refusal(scan: &ScanId, stage: Stage, now: Timestamp, reason: &str) -> Quarantine {
    Quarantine {
        schema: Quarantine::SCHEMA,
        scan: scan.clone(),
        time: rfc3339(now),
        stage,
        reason: reason.to_owned(),
        run_again: UPLOAD_AGAIN.to_owned(),
    }
}

/// Hands the object to the CPU job, unless a job of that name is at it or did it. Two functions that look at the same
/// moment may both submit; the second job then finds the work done.
async fn hand_over<P: FindJobs + SubmitJob>(ports: &P, config: &Decompress, scan: &ScanId) -> Result<()> {
    let name = format!("{PREPARE_JOB}{scan}");
    let jobs = ports.find_jobs(&config.prepare_queue, &name).await?;
    if jobs.iter().any(|state| *state != JobState::Failed) {
        return Ok(());
    }
    ports
        .submit_job(JobRequest {
            name,
            queue: config.prepare_queue.clone(),
            definition: config.prepare_definition.clone(),
            parameters: [("scan".to_owned(), scan.to_string())].into(),
        })
        .await
}

/// How long to wait before another try; `None` where a person has to look first.
fn retry_after(error: &Error, attempt: u32) -> Option<Duration> {
    match error {
        // The rest of an upload arrives as an event of its own. This message only has to come back once, to say what
        // became of the part.
        Error::Incomplete(wait) => Some((*wait).min(LONGEST_VISIBILITY)),
        error if error.disposition() == Disposition::Retry => {
            Some(FIRST_RETRY.saturating_mul(4_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST_VISIBILITY))
        }
        _ => None,
    }
}

/// Should this fail, the message comes back after the queue's visibility timeout instead.
async fn postpone<P: Postpone>(ports: &P, config: &Decompress, message: &SqsMessage, wait: Duration) {
    let receipt = message.receipt_handle.as_deref().unwrap_or_default();
    if let Err(error) = ports.postpone(&config.raw_queue, receipt, wait).await {
        tracing::warn!(%error, "the message could not be postponed");
    }
}

#[cfg(test)]
mod tests;
