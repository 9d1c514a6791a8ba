//! The way of an upload that holds several scans.
//!
//! Each is a scan of its own from here on: with an id, a claim that leads back to the upload, a history, a prepared file
//! and, where it is refused, a record of its own. Everything is written on a condition or is the same whoever writes it, so
//! another delivery goes over the same parts and does what is left. Once the last is done, a record of the parts says so.

use contract::keys::part_names;
use contract::scan::key_sha256;
use contract::{Naming, ScanId, ScanKeys, Stage, State};
use store::state::{self, Claim, Part, PartOf, Parts};

use super::scan::{self, Upload, Way, Work};
use super::{decide, refusal};
use crate::ports::{Found, GetObject, HeadObject, Prepare, PutObject};
use crate::{Error, Result, event};

/// Every line of a part's history is of one try: what another delivery finds done is not told again.
const ATTEMPT: u32 = 1;

/// Prepares each scan of an upload, and refuses those that cannot be by themselves.
pub(super) async fn work<P>(way: &Way<'_, P>, upload: &Upload, opened: &P::Opened, found: Vec<Found>) -> Result<Work>
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    let names = part_names(found.iter().map(|found| found.name.as_str()));
    let (mut parts, mut first_refusal, mut incomplete) = (Vec::new(), None, None);
    for (number, (found, name)) in found.into_iter().zip(names).enumerate() {
        let scan = ScanId::of_part(&upload.claim.scan, &name);
        let end = match part(way, upload, opened, number, found, &scan, &name).await? {
            end @ (Work::Superseded | Work::HandOver(_)) => return Ok(end),
            Work::Incomplete { reason, wait } => {
                incomplete = Some(Work::Incomplete { reason, wait });
                continue;
            }
            end => end,
        };
        if let Work::Rejected(reason) = &end {
            first_refusal.get_or_insert_with(|| reason.clone());
        }
        parts.push(Part { scan, name, prepared: end == Work::Done });
    }
    if let Some(incomplete) = incomplete {
        return Ok(incomplete);
    }
    if let Some(reason) = first_refusal.filter(|_| parts.iter().all(|part| !part.prepared)) {
        return Ok(Work::Rejected(format!("none of its {} scans can be prepared; the first: {reason}", parts.len())));
    }
    let parts = Parts { schema: <Parts as contract::Record>::SCHEMA, scan: upload.claim.scan.clone(), parts };
    state::record_parts(way.ports, &way.config.state, &parts).await?;
    Ok(Work::Parts(parts.summary()))
}

/// One of them.
async fn part<P>(
    way: &Way<'_, P>,
    upload: &Upload,
    opened: &P::Opened,
    number: usize,
    found: Found,
    scan: &ScanId,
    name: &str,
) -> Result<Work>
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    let state = &way.config.state;
    let part = PartOf { upload: upload.claim.scan.clone(), name: name.to_owned() };
    let claim = Claim { scan: scan.clone(), part: Some(part), ..upload.claim.clone() };
    state::record_raw(way.ports, state, &claim).await?;
    let end = match found.refused {
        Some(refused) => scan::sort(way, Error::Data(refused), &upload.raw_info)?,
        None => prepare(way, upload, opened, number, &claim, name).await?,
    };
    tracing::info!(%scan, upload = %upload.claim.scan, end = end.name(), "decided");
    let record = async |line, reason: Option<String>| {
        let line = event(jiff::Timestamp::now().max(way.now), Stage::Decompress, line, ATTEMPT, reason);
        state::record_status(way.ports, state, scan, line).await
    };
    match &end {
        Work::Done => record(State::Done, None).await.map(drop)?,
        Work::Superseded => record(State::Superseded, Some(decide::SUPERSEDED.to_owned())).await.map(drop)?,
        Work::Rejected(reason) => {
            let quarantine = refusal(scan, Stage::Decompress, way.now, reason);
            state::record_quarantine(way.ports, state, &claim.quarantine_key(), &quarantine).await?;
            record(State::Quarantined, Some(reason.clone())).await.map(drop)?;
        }
        // The upload's own history tells these.
        Work::Parts(_) | Work::HandOver(_) | Work::Incomplete { .. } => {}
    }
    Ok(end)
}

async fn prepare<P>(
    way: &Way<'_, P>,
    upload: &Upload,
    opened: &P::Opened,
    number: usize,
    claim: &Claim,
    name: &str,
) -> Result<Work>
where
    P: HeadObject + GetObject + PutObject + Prepare,
{
    let choices = [upload.keys.part(name), ScanKeys::of_raw(&claim.key, Naming::KeepEnding).part(name)];
    let owner = key_sha256(&claim.bucket, &claim.key);
    let Some(keys) = scan::own_keys(way.ports, way.config, choices, &owner).await? else {
        return Ok(Work::Rejected(scan::NAMES_TAKEN.to_owned()));
    };
    let task = upload.task(&claim.scan, way.config.prepared.join(&keys.prepared), way.place);
    scan::write(way, upload, opened, number, task).await
}
