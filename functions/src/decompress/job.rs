//! `prepare-job`: the same work in a container of AWS Batch on Fargate.
//!
//! The history of the scan is written by `outcome`, which hears how the job ended; only what an exit code cannot tell
//! is written here.

use std::time::Duration;

use contract::{ExitCode, ScanId, Stage, State};
use jiff::Timestamp;
use store::state;

use super::decide;
use super::scan::{self, Examined, Place, Way, Work};
use crate::config::PrepareJob;
use crate::message::Created;
use crate::ports::{GetObject, HeadObject, Prepare, PutObject};
use crate::{Error, Result, event};

/// How often a truncated object is looked at while it may be growing.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Reads `--scan ID`. A job's parameters show in consoles and events, so they carry the scan and not its name.
///
/// # Errors
/// [`Error::Event`] with what was expected.
pub fn arguments(given: impl IntoIterator<Item = String>) -> Result<ScanId> {
    let given: Vec<String> = given.into_iter().collect();
    match given.as_slice() {
        [name, scan] if name == "--scan" => Ok(scan.parse()?),
        _ => Err(Error::Event("usage: prepare-job --scan ID".to_owned())),
    }
}

/// Prepares the scan and says how the process is to end.
pub async fn run<P>(ports: &P, config: &PrepareJob, scan: &ScanId) -> ExitCode
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    match prepare(ports, config, scan).await {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!(%error, "the job failed");
            error.exit()
        }
    }
}

async fn prepare<P>(ports: &P, config: &PrepareJob, scan: &ScanId) -> Result<ExitCode>
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    let config = &config.preparation;
    let raw = state::raw_of(ports, &config.state, scan).await?;
    let raw = raw.ok_or(Error::Bug("a job of a scan that decompress never saw"))?;
    let object = &Created { bucket: raw.bucket, key: raw.key, version: raw.version, etag: None };
    loop {
        let place = Place::default();
        let (scan, end) = match scan::examine(ports, config, place, object).await? {
            Examined::Nothing(why) => {
                tracing::info!(why, "nothing to do");
                return Ok(ExitCode::Done);
            }
            Examined::End(scan, end) => (scan, end),
            Examined::Work(upload) => {
                let scan = upload.claim.scan.clone();
                tracing::info!(%scan, bytes = upload.raw_info.len, "preparing");
                let way = Way { ports, config, place, object, now: Timestamp::now() };
                (scan, scan::work(&way, &upload).await?)
            }
        };
        tracing::info!(%scan, end = end.name(), "decided");
        match end {
            Work::Done | Work::Parts(_) => return Ok(ExitCode::Done),
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
