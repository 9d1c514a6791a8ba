//! `prepare-job`: the same work in a container of AWS Batch on Fargate.
//!
//! The history of the scan is written by `outcome`, which hears how the job ended; only what an exit code cannot tell
//! is written here.

use std::time::Duration;

use contract::{ExitCode, ScanId, Stage, State};
use jiff::Timestamp;
use store::state;

use super::decide;
use super::scan::{self, Examined, Place, Work};
use crate::config::PrepareJob;
use crate::message::Created;
use crate::ports::{GetObject, HeadObject, Prepare, PutObject};
use crate::{Error, Result, event};

/// What `--version` says of an object in a bucket without versions.
pub const NO_VERSION: &str = "null";
/// How often a truncated object is looked at while it may be growing.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Reads `--bucket B --key K --version V`.
///
/// # Errors
/// [`Error::Event`] with what is missing or unknown.
pub fn arguments(given: impl IntoIterator<Item = String>) -> Result<Created> {
    const USAGE: &str = "usage: prepare-job --bucket BUCKET --key KEY --version VERSION";
    let wrong = |what: &str| Error::Event(format!("{what}; {USAGE}"));
    let (mut bucket, mut key, mut version) = (None, None, None);
    let mut given = given.into_iter();
    while let Some(name) = given.next() {
        let slot = match name.as_str() {
            "--bucket" => &mut bucket,
            "--key" => &mut key,
            "--version" => &mut version,
            _ => return Err(wrong("an argument is not known")),
        };
        *slot = Some(given.next().ok_or_else(|| wrong("an argument has no value"))?);
    }
    Ok(Created {
        bucket: bucket.ok_or_else(|| wrong("--bucket is missing"))?,
        key: key.ok_or_else(|| wrong("--key is missing"))?,
        version: version.filter(|version| !version.is_empty() && version != NO_VERSION),
        etag: None,
    })
}

/// Prepares the object and says how the process is to end.
pub async fn run<P>(ports: &P, config: &PrepareJob, object: &Created) -> ExitCode
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    match prepare(ports, config, object).await {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!(%error, "the job failed");
            error.exit()
        }
    }
}

async fn prepare<P>(ports: &P, config: &PrepareJob, object: &Created) -> Result<ExitCode>
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    let config = &config.preparation;
    loop {
        let place = Place::default();
        let (scan, end) = match scan::examine(ports, config, place, object).await? {
            Examined::Nothing(why) => {
                tracing::info!(why, "nothing to do");
                return Ok(ExitCode::Done);
            }
            Examined::End(scan, end) => (scan, end),
            Examined::Work(task) => {
                let scan = task.scan.clone();
                tracing::info!(%scan, bytes = task.raw_info.len, "preparing");
                (scan, scan::work(ports, config, place, object, task, Timestamp::now()).await?)
            }
        };
        tracing::info!(%scan, end = end.name(), "decided");
        match end {
            Work::Done => return Ok(ExitCode::Done),
            Work::Superseded => {
                superseded(ports, config, &scan).await?;
                return Ok(ExitCode::Done);
            }
            Work::Rejected(reason) => {
                let exit = ExitCode::BadData;
                state::record_job_failure(ports, &config.state, &scan, exit, &reason).await?;
                return Ok(exit);
            }
            // Waiting here is cheap; Batch would use its few attempts up within minutes.
            Work::Incomplete { wait, .. } => tokio::time::sleep(wait.min(LOOK_AGAIN)).await,
            Work::HandOver(_) => return Err(Error::Bug("a job without a size limit met one")),
        }
    }
}

/// The exit code says "done"; that there will be no result is for the history.
async fn superseded<P: GetObject + PutObject>(
    ports: &P,
    config: &crate::config::Preparation,
    scan: &ScanId,
) -> Result<()> {
    let reason = Some(decide::SUPERSEDED.to_owned());
    let line = event(Timestamp::now(), Stage::Decompress, State::Superseded, 1, reason);
    state::record_status(ports, &config.state, scan, line).await?;
    Ok(())
}
