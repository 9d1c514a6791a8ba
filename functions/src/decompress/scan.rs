//! The way of one raw object, shared by the function and the job: [`examine`], then [`work`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contract::keys::{METHOD_METADATA, SCAN_METADATA};
use contract::scan::key_sha256;
use contract::{Naming, Record, ScanId, ScanKeys};
use jiff::Timestamp;
use store::{Condition, Location, ObjectInfo, PutOutcome, state};

use super::decide;
use crate::config::Preparation;
use crate::message::Created;
use crate::ports::{GetObject, HeadObject, Prepare, PrepareTask, PutObject};
use crate::{Error, Result, metadata};

/// Tries to write a prepared file whose name others write to at the same time.
const WRITES: u32 = 3;

/// What the place where the work runs can do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// When the work must have stopped.
    pub deadline: Option<Instant>,
    /// Objects over this size are not begun; with it, what turns out too large is handed over.
    pub max_bytes: Option<u64>,
}

/// How the work on a scan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The prepared file is there.
    Done,
    /// A newer upload under the same name takes its place.
    Superseded,
    /// Too large for this place, and why.
    HandOver(String),
    /// The data are refused, in one sentence.
    Rejected(String),
    /// The object ends early but may still be growing.
    Incomplete {
        /// What is missing.
        reason: String,
        /// When to look again.
        wait: Duration,
    },
}

impl Work {
    /// A word for the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::HandOver(_) => "handed over",
            Self::Rejected(_) => "quarantined",
            Self::Incomplete { .. } => "incomplete",
        }
    }
}

/// What an object turned out to be.
#[derive(Debug)]
pub enum Examined {
    /// No scan, and why.
    Nothing(&'static str),
    /// Nothing to do for this scan.
    End(ScanId, Work),
    /// A scan to be prepared.
    Work(Box<PrepareTask>),
}

/// Finds out what an object is and what there is to do. Notes which object the scan is, and the name it owns.
///
/// # Errors
/// Those of the store.
pub async fn examine<P>(ports: &P, config: &Preparation, place: Place, object: &Created) -> Result<Examined>
where
    P: HeadObject + GetObject + PutObject,
{
    if object.bucket != config.raw_bucket {
        return Err(Error::Event(format!("it speaks of bucket {}, expected {}", object.bucket, config.raw_bucket)));
    }
    if let Some(why) = decide::not_a_scan(&object.key) {
        return Ok(Examined::Nothing(why));
    }
    let raw = Location::bucket(&object.bucket).join(&object.key);
    let Some(raw_info) = ports.head(&raw).await? else { return Ok(Examined::Nothing("the object is gone")) };
    let revision = object.revision().unwrap_or_else(|| raw_info.revision());
    let scan = ScanId::of_object(&object.bucket, &object.key, revision);
    if !decide::is_current(object, &raw_info) {
        return Ok(Examined::End(scan, Work::Superseded));
    }
    let claim = state::Claim {
        schema: state::Claim::SCHEMA,
        scan: scan.clone(),
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        version: raw_info.version.clone(),
    };
    state::record_raw(ports, &config.state, &claim).await?;
    let method = match decide::method(&raw_info) {
        Ok(method) => method,
        Err(refused) => return Ok(Examined::End(scan, Work::Rejected(refused))),
    };
    let key_sha256 = key_sha256(&object.bucket, &object.key);
    let Some(keys) = own_keys(ports, config, &object.key, &key_sha256).await? else {
        let reason = "its name without ending and its full name both belong to other files: rename it".to_owned();
        return Ok(Examined::End(scan, Work::Rejected(reason)));
    };
    let prepared = config.prepared.join(&keys.prepared);
    if ports.head(&prepared).await?.is_some_and(|found| decide::is_of_scan(&found, &scan)) {
        return Ok(Examined::End(scan, Work::Done));
    }
    if let Some(limit) = place.max_bytes.filter(|limit| raw_info.len > *limit) {
        let reason = format!("{} bytes are more than the {limit} of a function: a CPU job does it", raw_info.len);
        return Ok(Examined::End(scan, Work::HandOver(reason)));
    }
    let known = [
        (SCAN_METADATA, Some(scan.to_string())),
        (metadata::KEY_SHA256, Some(key_sha256)),
        (metadata::VERSION, raw_info.version.clone()),
        (metadata::ETAG, Some(raw_info.etag.clone())),
        (METHOD_METADATA, method.map(|method| method.name().to_owned())),
    ];
    let metadata: HashMap<String, String> =
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Ok(Examined::Work(Box::new(PrepareTask {
        scan,
        raw,
        raw_info,
        prepared,
        condition: Condition::IfAbsent,
        metadata,
        limits: config.limits.clone(),
        deadline: place.deadline,
    })))
}

/// The names of a raw key: short, or with its ending where another file was first. `None` when both are taken.
async fn own_keys<P>(ports: &P, config: &Preparation, raw_key: &str, key_sha256: &str) -> Result<Option<ScanKeys>>
where
    P: GetObject + PutObject,
{
    for naming in [Naming::Short, Naming::KeepEnding] {
        let keys = ScanKeys::of_raw(raw_key, naming);
        if state::own_name(ports, &config.state, &keys.name, key_sha256).await? {
            return Ok(Some(keys));
        }
    }
    Ok(None)
}

/// Prepares a scan.
///
/// # Errors
/// Those that another try may mend, and those a person has to look at. What is wrong with the data is
/// [`Work::Rejected`] or [`Work::Incomplete`].
pub async fn work<P>(
    ports: &P,
    config: &Preparation,
    place: Place,
    object: &Created,
    task: Box<PrepareTask>,
    now: Timestamp,
) -> Result<Work>
where
    P: HeadObject + Prepare,
{
    for _ in 0..WRITES {
        // First what is prepared, then whether the raw object is still the newest. A newer scan that was prepared before
        // the first look is seen by the second; one prepared after it breaks the condition of the write.
        let prepared: Option<ObjectInfo> = ports.head(&task.prepared).await?;
        if prepared.as_ref().is_some_and(|found| decide::is_of_scan(found, &task.scan)) {
            return Ok(Work::Done);
        }
        let raw = ports.head(&task.raw).await?;
        if !raw.is_some_and(|raw| decide::is_current(object, &raw) && raw.etag == task.raw_info.etag) {
            return Ok(Work::Superseded);
        }
        let condition = Condition::unchanged(prepared.as_ref());
        match ports.prepare(PrepareTask { condition, ..(*task).clone() }).await {
            Ok(PutOutcome::Written { .. }) => return Ok(Work::Done),
            Ok(PutOutcome::Conflict) => {}
            Err(error) => return sort(error, config, place, &task.raw_info, now),
        }
    }
    Err(Error::Busy("others keep writing the prepared file"))
}

/// What an error of the work means for the scan.
fn sort(error: Error, config: &Preparation, place: Place, raw: &ObjectInfo, now: Timestamp) -> Result<Work> {
    match error {
        Error::OutOfTime | Error::NoSpace if place.max_bytes.is_some() => {
            Ok(Work::HandOver(format!("{error}: a CPU job does it")))
        }
        Error::Data(kspace::Error::Truncated { .. }) => {
            let reason = error.to_string();
            Ok(match decide::may_grow(raw, now, config.truncated_grace) {
                Some(wait) => Work::Incomplete { reason, wait },
                None => Work::Rejected(reason),
            })
        }
        Error::Data(data) if data.disposition() == contract::Disposition::Reject => {
            Ok(Work::Rejected(data.to_string()))
        }
        other => Err(other),
    }
}
