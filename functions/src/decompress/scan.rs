//! The way of one raw object, shared by the function and the job: [`examine`], then [`work`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use contract::keys::{METHOD_METADATA, SCAN_METADATA};
use contract::scan::key_sha256;
use contract::{Naming, Record, ScanId, ScanKeys};
use jiff::Timestamp;
use kspace::prepare::Compression;
use store::state::{self, Claim};
use store::{Condition, Location, ObjectInfo, PutOutcome};

use super::{decide, parts};
use crate::config::Preparation;
use crate::message::Created;
use crate::ports::{GetObject, HeadObject, OpenTask, Prepare, PrepareTask, PutObject};
use crate::{Error, Result, metadata};

/// Tries to write a prepared file whose name others write to at the same time.
const WRITES: u32 = 3;

/// Why a scan has no place for its results.
pub(super) const NAMES_TAKEN: &str = "its name without ending and its full name both belong to other files: rename it";
/// Why an upload of noise alone is refused.
const NO_SCAN: &str =
    "it holds no scan, only noise measurements: send them in one archive with the scan they belong to";

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
    /// It holds several scans, and all of them are prepared or refused, as the text says.
    Parts(String),
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
            Self::Parts(_) => "done in parts",
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
    /// An upload to be prepared.
    Work(Box<Upload>),
}

/// A raw object that is to be prepared.
#[derive(Debug)]
pub struct Upload {
    /// Which object it is; its scan is the upload's.
    pub claim: Claim,
    /// The object.
    pub raw: Location,
    /// What is known of it.
    pub raw_info: ObjectInfo,
    /// The names it owns.
    pub keys: ScanKeys,
    /// What the user metadata of prepared objects say of it.
    pub metadata: HashMap<String, String>,
    /// Virtual coils to keep of each scan.
    pub compression: Compression,
}

impl Upload {
    /// What is to be done for one scan of it.
    pub(super) fn task(&self, scan: &ScanId, prepared: Location, place: Place) -> PrepareTask {
        let mut metadata = self.metadata.clone();
        metadata.insert(SCAN_METADATA.to_owned(), scan.to_string());
        PrepareTask {
            scan: scan.clone(),
            prepared,
            condition: Condition::IfAbsent,
            metadata,
            compression: self.compression,
            deadline: place.deadline,
        }
    }
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
    let claim = Claim {
        schema: Claim::SCHEMA,
        scan: scan.clone(),
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        version: raw_info.version.clone(),
        part: None,
    };
    state::record_raw(ports, &config.state, &claim).await?;
    let method = match decide::method(&raw_info) {
        Ok(method) => method,
        Err(refused) => return Ok(Examined::End(scan, Work::Rejected(refused))),
    };
    let key_sha256 = key_sha256(&object.bucket, &object.key);
    let namings = [Naming::Short, Naming::KeepEnding].map(|naming| ScanKeys::of_raw(&object.key, naming));
    let Some(keys) = own_keys(ports, config, namings, &key_sha256).await? else {
        return Ok(Examined::End(scan, Work::Rejected(NAMES_TAKEN.to_owned())));
    };
    if ports.head(&config.prepared.join(&keys.prepared)).await?.is_some_and(|found| decide::is_of_scan(&found, &scan)) {
        return Ok(Examined::End(scan, Work::Done));
    }
    if let Some(parts) = state::parts_of(ports, &config.state, &scan).await? {
        return Ok(Examined::End(scan, Work::Parts(parts.summary())));
    }
    if let Some(limit) = place.max_bytes.filter(|limit| raw_info.len > *limit) {
        let reason = format!("{} bytes are more than the {limit} of a function: a CPU job does it", raw_info.len);
        return Ok(Examined::End(scan, Work::HandOver(reason)));
    }
    let known = [
        (metadata::KEY_SHA256, Some(key_sha256)),
        (metadata::VERSION, raw_info.version.clone()),
        (metadata::ETAG, Some(raw_info.etag.clone())),
        (METHOD_METADATA, method.map(|method| method.name().to_owned())),
    ];
    let metadata = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Ok(Examined::Work(Box::new(Upload { claim, raw, raw_info, keys, metadata, compression: config.compression })))
}

/// The first of some names that belongs to the raw object with `key_sha256`, or to none until now.
pub(super) async fn own_keys<P>(
    ports: &P,
    config: &Preparation,
    choices: [ScanKeys; 2],
    key_sha256: &str,
) -> Result<Option<ScanKeys>>
where
    P: GetObject + PutObject,
{
    for keys in choices {
        if state::own_name(ports, &config.state, &keys.name, key_sha256).await? {
            return Ok(Some(keys));
        }
    }
    Ok(None)
}

/// What the steps of the work have in common.
#[derive(Debug)]
pub struct Way<'a, P> {
    /// The services.
    pub ports: &'a P,
    /// How to prepare.
    pub config: &'a Preparation,
    /// Where.
    pub place: Place,
    /// What the event speaks of.
    pub object: &'a Created,
    /// When the work began.
    pub now: Timestamp,
}

/// Prepares every scan of an upload.
///
/// # Errors
/// Those that another try may mend, and those a person has to look at. What is wrong with the data is
/// [`Work::Rejected`] or [`Work::Incomplete`].
pub async fn work<P>(way: &Way<'_, P>, upload: &Upload) -> Result<Work>
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    let open = OpenTask {
        raw: upload.raw.clone(),
        raw_info: upload.raw_info.clone(),
        limits: way.config.limits.clone(),
        deadline: way.place.deadline,
    };
    let (opened, mut found) = match way.ports.open(open).await {
        Ok(opened) => opened,
        Err(error) => return sort(way, error, &upload.raw_info),
    };
    let Some(last) = found.pop() else { return Ok(Work::Rejected(NO_SCAN.to_owned())) };
    if !found.is_empty() {
        found.push(last);
        return parts::work(way, upload, &opened, found).await;
    }
    if let Some(refused) = last.refused {
        return sort(way, Error::Data(refused), &upload.raw_info);
    }
    let task = upload.task(&upload.claim.scan, way.config.prepared.join(&upload.keys.prepared), way.place);
    write(way, upload, &opened, 0, task).await
}

/// Writes the prepared file of scan `number` of what was opened.
pub(super) async fn write<P>(
    way: &Way<'_, P>,
    upload: &Upload,
    opened: &P::Opened,
    number: usize,
    task: PrepareTask,
) -> Result<Work>
where
    P: HeadObject + Prepare,
{
    for _ in 0..WRITES {
        // First what is prepared, then whether the raw object is still the newest. A newer scan that was prepared before
        // the first look is seen by the second; one prepared after it breaks the condition of the write.
        let prepared: Option<ObjectInfo> = way.ports.head(&task.prepared).await?;
        if prepared.as_ref().is_some_and(|found| decide::is_of_scan(found, &task.scan)) {
            return Ok(Work::Done);
        }
        let raw = way.ports.head(&upload.raw).await?;
        if !raw.is_some_and(|raw| decide::is_current(way.object, &raw) && raw.etag == upload.raw_info.etag) {
            return Ok(Work::Superseded);
        }
        let condition = Condition::unchanged(prepared.as_ref());
        match way.ports.prepare(opened, number, PrepareTask { condition, ..task.clone() }).await {
            Ok(PutOutcome::Written { .. }) => return Ok(Work::Done),
            Ok(PutOutcome::Conflict) => {}
            Err(error) => return sort(way, error, &upload.raw_info),
        }
    }
    Err(Error::Busy("others keep writing the prepared file"))
}

/// What an error of the work means for the scan.
pub(super) fn sort<P>(way: &Way<'_, P>, error: Error, raw: &ObjectInfo) -> Result<Work> {
    match error {
        Error::OutOfTime | Error::NoSpace if way.place.max_bytes.is_some() => {
            Ok(Work::HandOver(format!("{error}: a CPU job does it")))
        }
        Error::Data(kspace::Error::Truncated { .. }) => {
            let reason = error.to_string();
            Ok(match decide::may_grow(raw, way.now, way.config.truncated_grace) {
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
