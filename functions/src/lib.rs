//! The Lambda functions between the scanner and the GPU.
//!
//! A handler is parse → decide (pure) → act (ports) → answer; a binary sets up logs, configuration and clients and
//! nothing else.
//!
//! | module | woken by | does |
//! |---|---|---|
//! | [`decompress`] | raw queue | unpacks and prepares one raw archive, or hands it to a CPU job |
//! | [`decompress::job`] | AWS Batch on Fargate | the same for an archive over the Lambda's limits |
//! | [`submit`] | recon queue | hands exactly one GPU job per prepared scan to AWS Batch |
//! | [`outcome`] | Batch job state change | status record, quarantine |
//! | [`worklist`] | history of a scan, in the binary of `outcome` | the page of all scans |
//! | [`refresh`] | results queue | shows new results on the share |
//! | [`metrics`] | every minute | depth of the queues, jobs by state → CloudWatch |
//! | [`scale`] | every minute, and on alarm | limits of the compute environments |
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | one configuration per function, from the environment |
//! | [`message`] | SQS batches and S3 notifications |
//! | [`ports`], [`aws`] | one trait per verb, and their AWS implementation |
//! | [`error`] | [`Error`], which answers what happens next |
//! | [`telemetry`] | JSON logs |
//!
//! Logs, metrics and job names carry scan ids only: keys can hold a patient's name.

pub mod aws;
pub mod config;
pub mod decompress;
pub mod error;
#[cfg(test)]
mod fakes;
pub mod message;
pub mod metrics;
pub mod outcome;
pub mod ports;
pub mod refresh;
pub mod scale;
pub mod submit;
pub mod telemetry;
pub mod worklist;

pub use error::{Error, Result};

use std::time::{Duration, SystemTime};

use contract::status::Event;
use contract::{Stage, State};
use jiff::Timestamp;

/// User metadata of a prepared object besides [`contract::keys::SCAN_METADATA`]: what the manifest says of the raw object.
pub mod metadata {
    /// [`contract::scan::key_sha256`] of the raw object.
    pub const KEY_SHA256: &str = "key-sha256";
    /// Version id of the raw object.
    pub const VERSION: &str = "version";
    /// ETag of the raw object.
    pub const ETAG: &str = "etag";
    /// SHA-256 of the raw data file, after unpacking.
    pub const SHA256: &str = "sha256";
}

/// Prefix of the names of GPU jobs; a scan id follows.
pub const RECONSTRUCT_JOB: &str = "recon-";
/// Prefix of the names of CPU jobs; a scan id follows.
pub const PREPARE_JOB: &str = "prepare-";

/// A line of a scan's history.
pub(crate) fn event(now: Timestamp, stage: Stage, state: State, attempt: u32, reason: Option<String>) -> Event {
    Event { time: rfc3339(now), stage, state, attempt, reason }
}

/// How long ago something was; nothing where the time is unknown or by another clock still to come.
pub(crate) fn age(at: Option<SystemTime>, now: Timestamp) -> Duration {
    let now = SystemTime::try_from(now).ok();
    at.zip(now).and_then(|(at, now)| now.duration_since(at).ok()).unwrap_or_default()
}

/// Milliseconds, always three digits, so that text order is the order of time.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
