//! Records of the state bucket.
//!
//! Several functions and jobs write the same status record, and every message may arrive twice. So a record is read,
//! changed and written on the condition that nobody wrote meanwhile; if somebody did, it is read again.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use contract::{ExitCode, Quarantine, Record, ScanId, Stage, Status, keys, status};
use serde::{Deserialize, Serialize};

use crate::ports::{GetObject, PutObject};
use crate::{Condition, Error, Location, PutOptions, PutOutcome, Result};

/// Tries for a record that others write at the same time. A scan has fewer writers than this; the page of all scans may have more, whose events
/// come again.
const TRIES: u32 = 12;
/// The longest wait before another try.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Which raw object a scan is: the only place where a scan leads to a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// Bucket of the raw object.
    pub bucket: String,
    /// Key of the raw object.
    pub key: String,
    /// Its version id, where the bucket keeps versions.
    #[serde(default)]
    pub version: Option<String>,
    /// Which part of the raw object it is, where that holds several scans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartOf>,
}

/// Where one of several scans of an upload comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOf {
    /// The upload.
    pub upload: ScanId,
    /// What tells the scan from the others.
    pub name: String,
}

impl Claim {
    /// Key of the record in the state bucket that says why the scan was refused.
    #[must_use]
    pub fn quarantine_key(&self) -> String {
        match &self.part {
            Some(part) => keys::part_quarantine_key(&self.key, &part.name),
            None => keys::quarantine_key(&self.key),
        }
    }
}

impl Record for Claim {
    const NAME: &'static str = "claim";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// The scans of an upload that holds several. Written after the last of them was prepared or refused, so that whoever
/// finds it has nothing more to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Layout of this record.
    pub schema: u32,
    /// The upload.
    pub scan: ScanId,
    /// Its scans, in the order of the upload.
    pub parts: Vec<Part>,
}

/// One of several scans of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The scan.
    pub scan: ScanId,
    /// What tells it from the others; can hold the name of a person, as keys can.
    pub name: String,
    /// Whether it was prepared. Otherwise its quarantine record says why not.
    pub prepared: bool,
}

impl Parts {
    /// How many there are, in a sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let prepared = self.parts.iter().filter(|part| part.prepared).count();
        let (refused, plural) = (self.parts.len() - prepared, if prepared == 1 { "" } else { "s" });
        let refused = if refused == 0 { String::new() } else { format!(", {refused} refused") };
        format!("{prepared} scan{plural}{refused}, each with a record of its own")
    }
}

impl Record for Parts {
    const NAME: &'static str = "parts record";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// Which raw object owns a mirrored name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Layout of this record.
    pub schema: u32,
    /// [`contract::scan::key_sha256`] of the raw object.
    pub key_sha256: String,
}

impl Record for Owner {
    const NAME: &'static str = "owner record";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// Why a job ended as it did, for the function that hears only its exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// How the job ended.
    pub exit: ExitCode,
    /// One sentence a physicist understands.
    pub reason: String,
}

impl Record for JobFailure {
    const NAME: &'static str = "job failure";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// Key of a [`JobFailure`] in the state bucket.
#[must_use]
pub fn job_failure_key(scan: &ScanId) -> String {
    format!("jobs/{scan}.error.json")
}

/// Reads a record; `None` when there is none.
///
/// # Errors
/// Those of the store, and [`Error::Contract`] for a record of another release.
pub async fn read<R: Record>(store: &impl GetObject, at: &Location) -> Result<Option<R>> {
    match store.get_object(at).await? {
        Some(object) => Ok(Some(R::from_json(&object.bytes)?)),
        None => Ok(None),
    }
}

/// Writes a record.
///
/// # Errors
/// Those of the store.
pub async fn write<R: Record>(
    store: &impl PutObject,
    at: &Location,
    record: &R,
    condition: Condition,
) -> Result<PutOutcome> {
    store.put(at, Bytes::from(record.to_json()?), &PutOptions::json(condition)).await
}

/// Adds an event to the history of a scan. An event that is known already changes nothing.
///
/// # Errors
/// Those of the store; [`Error::Retryable`] when others kept writing; [`Error::Contract`].
pub async fn record_status(
    store: &(impl GetObject + PutObject),
    state: &Location,
    scan: &ScanId,
    event: status::Event,
) -> Result<Status> {
    let at = state.join(&keys::status_key(scan));
    change(store, &at, "recording the status of a scan", "application/json", |found| {
        let mut status = match found {
            Some(bytes) => Status::from_json(bytes)?,
            None => Status::new(scan.clone()),
        };
        let changed = status.record(event.clone());
        let content = changed.then(|| status.to_json()).transpose()?;
        Ok((content, status))
    })
    .await
}

/// Changes an object that several may change at once: `new` gets its content and returns the new one, or `None` to leave it, and is asked
/// again when another was faster.
///
/// # Errors
/// Those of the store and of `new`; [`Error::Retryable`] when others kept writing.
pub async fn update(
    store: &(impl GetObject + PutObject),
    at: &Location,
    content_type: &str,
    mut new: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>> + Send,
) -> Result<()> {
    change(store, at, "changing a shared object", content_type, |found| Ok((new(found)?, ()))).await
}

/// As [`update`]; `new` also gives what is returned in the end, and `what` is what an error says was tried.
async fn change<T: Send>(
    store: &(impl GetObject + PutObject),
    at: &Location,
    what: &'static str,
    content_type: &str,
    mut new: impl FnMut(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T)> + Send,
) -> Result<T> {
    for attempt in 0..TRIES {
        let found = store.get_object(at).await?;
        let (content, value) = new(found.as_ref().map(|object| object.bytes.as_ref()))?;
        let Some(content) = content else { return Ok(value) };
        let options = PutOptions {
            condition: Condition::unchanged(found.as_ref().map(|object| &object.info)),
            content_type: Some(content_type.to_owned()),
            ..PutOptions::default()
        };
        if store.put(at, Bytes::from(content), &options).await?.is_written() {
            return Ok(value);
        }
        tokio::time::sleep(wait(attempt)).await;
    }
    Err(Error::Retryable { what, cause: format!("others wrote {TRIES} times") })
}

/// Doubles from 20 ms; the clock's nanoseconds keep two writers from meeting again and again.
fn wait(attempt: u32) -> Duration {
    let base = Duration::from_millis(20 << attempt.min(6)).min(LONGEST_WAIT);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    base.mul_f64(0.5 + f64::from(nanos % 1000) / 1000.0)
}

/// Writes under `key` why a scan was refused. A record of the same scan stays as it is; one of an earlier upload under the
/// same name is replaced.
///
/// # Errors
/// Those of the store.
pub async fn record_quarantine(
    store: &(impl GetObject + PutObject),
    state: &Location,
    key: &str,
    record: &Quarantine,
) -> Result<()> {
    let at = state.join(key);
    let known: Option<Quarantine> = read(store, &at).await?;
    if known.is_none_or(|known| known.scan != record.scan) {
        write(store, &at, record, Condition::Always).await?;
    }
    Ok(())
}

/// Notes which raw object a scan is.
///
/// # Errors
/// Those of the store.
pub async fn record_raw(store: &impl PutObject, state: &Location, claim: &Claim) -> Result<()> {
    let at = state.join(&keys::claim_key(Stage::Decompress, &claim.scan));
    // A conflict means that the same record is there: the scan id is a hash of its content.
    write(store, &at, claim, Condition::IfAbsent).await.map(drop)
}

/// Which raw object a scan is; `None` for a scan that decompress never saw.
///
/// # Errors
/// Those of the store.
pub async fn raw_of(store: &impl GetObject, state: &Location, scan: &ScanId) -> Result<Option<Claim>> {
    read(store, &state.join(&keys::claim_key(Stage::Decompress, scan))).await
}

/// Notes the scans of an upload that holds several.
///
/// # Errors
/// Those of the store.
pub async fn record_parts(store: &impl PutObject, state: &Location, parts: &Parts) -> Result<()> {
    // A conflict means that the same record is there: the parts follow from the bytes of the upload.
    write(store, &state.join(&keys::parts_key(&parts.scan)), parts, Condition::IfAbsent).await.map(drop)
}

/// The scans of an upload; `None` when it holds one, or is still being prepared.
///
/// # Errors
/// Those of the store.
pub async fn parts_of(store: &impl GetObject, state: &Location, upload: &ScanId) -> Result<Option<Parts>> {
    read(store, &state.join(&keys::parts_key(upload))).await
}

/// Makes the raw object with `key_sha256` the owner of a mirrored name, unless another one is. Returns whether it owns
/// the name now.
///
/// # Errors
/// Those of the store.
pub async fn own_name(
    store: &(impl GetObject + PutObject),
    state: &Location,
    name: &str,
    key_sha256: &str,
) -> Result<bool> {
    let at = state.join(&keys::owner_key(name));
    let owner = Owner { schema: Owner::SCHEMA, key_sha256: key_sha256.to_owned() };
    if write(store, &at, &owner, Condition::IfAbsent).await?.is_written() {
        return Ok(true);
    }
    let known: Option<Owner> = read(store, &at).await?;
    known.map(|known| known.key_sha256 == key_sha256).ok_or(Error::Changed { what: "reading the owner of a name" })
}

/// Writes why a job ended.
///
/// # Errors
/// Those of the store.
pub async fn record_job_failure(
    store: &impl PutObject,
    state: &Location,
    scan: &ScanId,
    exit: ExitCode,
    reason: &str,
) -> Result<()> {
    let record = JobFailure { schema: JobFailure::SCHEMA, scan: scan.clone(), exit, reason: reason.to_owned() };
    write(store, &state.join(&job_failure_key(scan)), &record, Condition::Always).await.map(drop)
}

/// Why the last job of a scan ended, if it left word.
///
/// # Errors
/// Those of the store.
pub async fn job_failure(store: &impl GetObject, state: &Location, scan: &ScanId) -> Result<Option<JobFailure>> {
    read(store, &state.join(&job_failure_key(scan))).await
}
