//! The page of all scans at the root of the share.
//!
//! Every stage writes the history of its scan; each write is an event that ends here and brings one row of the page up to date. Rows
//! merge in any order and the page is written under a condition, so events may arrive twice, late and at once.

use contract::keys::{ScanKeys, WORKLIST_KEY, job_key, scan_of_status_key, status_key};
use contract::{ContractError, JobSpec, Manifest, Naming, Record, ScanId, State, Status};
use pages::worklist::{Row, Worklist, WorklistError};
use serde::Deserialize;
use store::Location;
use store::state::{self, Parts};

use crate::Result;
use crate::config::Outcome;
use crate::ports::{GetObject, PutObject};

/// An "Object Created" event of S3, as far as it is used
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>).
#[derive(Debug, Clone, Deserialize)]
pub struct RecordEvent {
    /// What was written.
    pub detail: Written,
}

/// What was written.
#[derive(Debug, Clone, Deserialize)]
pub struct Written {
    /// The object.
    pub object: Object,
}

/// An object of the state bucket.
#[derive(Debug, Clone, Deserialize)]
pub struct Object {
    /// Its key, as it is.
    pub key: String,
}

impl RecordEvent {
    /// The scan whose history was written; `None` for another record.
    #[must_use]
    pub fn scan(&self) -> Option<ScanId> {
        scan_of_status_key(&self.detail.object.key)
    }
}

/// Brings the row of a scan up to date. Hands back what an upload of several scans holds; `None` for every other scan.
///
/// # Errors
/// Those of the store.
pub async fn handle<P: GetObject + PutObject>(
    ports: &P,
    config: &Outcome,
    event: &RecordEvent,
) -> Result<Option<Parts>> {
    let Some(scan) = event.scan() else {
        tracing::info!("acknowledged: not the history of a scan");
        return Ok(None);
    };
    let Some(mut row) = row(ports, config, &scan).await? else {
        tracing::info!(%scan, "acknowledged: nothing is known of the scan any more");
        return Ok(None);
    };
    let parts = state::parts_of(ports, &config.state, &scan).await?;
    if let Some(parts) = &parts {
        // Its scans have rows of their own, which take its place.
        (row.state, row.reason) = (State::Superseded, Some(parts.summary()));
    }
    let at = config.results.join(WORKLIST_KEY);
    state::update(ports, &at, "text/html; charset=utf-8", |page| {
        let mut list = match page.map(Worklist::parse) {
            None => Worklist::default(),
            Some(Ok(list)) => list,
            // Finished scans are not heard of again, so a list that this release cannot read is left to the one that wrote it.
            Some(Err(WorklistError::Contract(error @ ContractError::Schema { .. }))) => return Err(error.into()),
            Some(Err(error)) => {
                // The bucket keeps the old version, and scans that are heard of again come back.
                tracing::error!(%error, "the worklist cannot be read and begins anew");
                Worklist::default()
            }
        };
        let before = list.clone();
        list.upsert(row.clone());
        Ok((page.is_none() || list != before).then(|| list.render().into_bytes()))
    })
    .await?;
    tracing::info!(%scan, "the worklist is up to date");
    Ok(parts)
}

/// What is known of a scan.
async fn row<P: GetObject>(ports: &P, config: &Outcome, scan: &ScanId) -> Result<Option<Row>> {
    let status: Option<Status> = state::read(ports, &config.state.join(&status_key(scan))).await?;
    let raw = state::raw_of(ports, &config.state, scan).await?;
    let (Some(status), Some(raw)) = (status, raw) else { return Ok(None) };
    let spec: Option<JobSpec> = state::read(ports, &config.state.join(&job_key(scan))).await?;
    let results = spec.and_then(|spec| Location::parse(&spec.results).ok());
    let folder = match &results {
        Some(Location::S3 { key, .. }) => key.clone(),
        // Not submitted yet, or refused: where its results would lie.
        _ => {
            let keys = ScanKeys::of_raw(&raw.key, Naming::Short);
            match &raw.part {
                Some(part) => keys.part(&part.name).results,
                None => keys.results,
            }
        }
    };
    let manifest = match &results {
        Some(results) => {
            let found = ports.get_object(&results.join(contract::keys::MANIFEST_NAME)).await?;
            found.and_then(|found| Manifest::from_json(&found.bytes).ok()).filter(|manifest| manifest.scan == *scan)
        }
        None => None,
    };
    Ok(Row::of(&status, &folder, manifest.as_ref()))
}

#[cfg(test)]
mod tests {
    use contract::Stage;
    use store::{Condition, PutOptions};

    use super::*;
    use crate::event;
    use crate::fakes::World;

    fn config() -> Outcome {
        Outcome {
            raw_bucket: "raki-raw".into(),
            state: Location::bucket("raki-state"),
            results: Location::bucket("raki-results"),
        }
    }

    fn of(scan: &ScanId) -> RecordEvent {
        RecordEvent { detail: Written { object: Object { key: status_key(scan) } } }
    }

    /// A scan of this number that was heard of.
    async fn known(world: &World, number: usize, state: State) -> ScanId {
        let key = format!("2026-11-23/brain {number}.h5");
        let scan = ScanId::of_object("raki-raw", &key, "1");
        let claim = state::Claim {
            schema: state::Claim::SCHEMA,
            scan: scan.clone(),
            bucket: "raki-raw".into(),
            key,
            version: None,
            part: None,
        };
        state::record_raw(world, &config().state, &claim).await.expect("written");
        let time = jiff::Timestamp::from_second(1_795_428_000 + number as i64).expect("a time");
        let line = event(time, Stage::Decompress, state, 1, Some("why".to_owned()));
        state::record_status(world, &config().state, &scan, line).await.expect("written");
        scan
    }

    fn page(world: &World) -> Worklist {
        Worklist::parse(world.text("s3://raki-results/worklist.html").as_bytes()).expect("a worklist")
    }

    #[tokio::test]
    async fn every_scan_has_a_row_however_often_and_in_whatever_order_it_is_heard_of() {
        let world = World::default();
        let mut scans = Vec::new();
        for number in 0..12 {
            scans.push(known(&world, number, if number == 3 { State::Quarantined } else { State::Done }).await);
        }
        let events: Vec<RecordEvent> = scans.iter().rev().chain(&scans).map(of).collect();
        let config = config();
        let all = events.iter().map(|event| handle(&world, &config, event));
        for done in futures::future::join_all(all).await {
            done.expect("dealt with");
        }
        let list = page(&world);
        assert_eq!(list.rows().len(), 12);
        let refused: Vec<&Row> = list.rows().iter().filter(|row| row.state == State::Quarantined).collect();
        assert_eq!(
            (refused.len(), refused[0].folder.as_str(), refused[0].reason.as_deref()),
            (1, "2026-11-23/brain 3", Some("why"))
        );
    }

    #[tokio::test]
    async fn other_records_and_unknown_scans_change_nothing_and_a_foreign_page_is_replaced() {
        let world = World::default();
        let unknown = ScanId::of_object("raki-raw", "x", "1");
        for key in [status_key(&unknown), "jobs/7d8f1c2ab3e4f506.json".to_owned(), "status/x.json".to_owned()] {
            let event = RecordEvent { detail: Written { object: Object { key } } };
            handle(&world, &config(), &event).await.expect("dealt with");
        }
        assert_eq!(world.object("s3://raki-results/worklist.html"), None);
        let options = PutOptions { condition: Condition::Always, ..PutOptions::default() };
        let at = config().results.join(WORKLIST_KEY);
        PutObject::put(&world, &at, "<html>mine</html>".into(), &options).await.expect("written");
        let scan = known(&world, 1, State::Started).await;
        handle(&world, &config(), &of(&scan)).await.expect("dealt with");
        assert_eq!(page(&world).rows().len(), 1);
        let newer = world.text("s3://raki-results/worklist.html").replace("{\"schema\":1,", "{\"schema\":9,");
        PutObject::put(&world, &at, newer.clone().into(), &options).await.expect("written");
        let refused = handle(&world, &config(), &of(&scan)).await.expect_err("a list of a newer release");
        assert!(refused.to_string().contains("schema 9"), "{refused}");
        assert_eq!(world.text("s3://raki-results/worklist.html"), newer);
    }

    #[tokio::test]
    async fn an_upload_of_several_scans_gives_its_place_to_their_rows() {
        let (world, config) = (World::default(), config());
        let upload = known(&world, 1, State::Done).await;
        handle(&world, &config, &of(&upload)).await.expect("dealt with");
        assert!(!page(&world).is_superseded(&page(&world).rows()[0]));
        let part = state::Part { scan: ScanId::of_object("raki-raw", "t1", "1"), name: "t1".into(), prepared: true };
        let parts = state::Parts { schema: state::Parts::SCHEMA, scan: upload.clone(), parts: vec![part] };
        state::record_parts(&world, &config.state, &parts).await.expect("written");
        handle(&world, &config, &of(&upload)).await.expect("dealt with");
        let list = page(&world);
        assert!(list.is_superseded(&list.rows()[0]));
        assert_eq!(list.rows()[0].reason.as_deref(), Some("1 scan, each with a record of its own"));
    }
}
