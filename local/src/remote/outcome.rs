//! How a scan, or an upload of several, ended.

use std::time::{Duration, Instant};

use contract::{Manifest, Quarantine, ScanId, Stage, State};

use super::{POLL, Remote};
use crate::{Error, Result};

/// How a scan ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// There are images.
    Reconstructed(Box<Manifest>),
    /// It is an upload of several scans, and each has ended.
    Parts(Vec<Ended>),
    /// It was refused.
    Quarantined(Quarantine),
    /// A newer upload under the same name replaced it.
    Superseded,
    /// Something has to be looked at.
    Failed {
        /// Where.
        stage: Stage,
        /// Why.
        reason: String,
    },
}

/// One of several scans of an upload, at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The scan.
    pub scan: ScanId,
    /// What tells it from the others.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl Remote {
    /// How a scan, or an upload of several, ended; `None` while it has not.
    ///
    /// # Errors
    /// As [`Remote::status`]; [`Error::Service`] when the status speaks of a record that is not there.
    pub async fn outcome(&self, scan: &ScanId) -> Result<Option<Outcome>> {
        let Some(parts) = self.parts(scan).await? else { return self.outcome_of_one(scan).await };
        let mut ended = Vec::new();
        for part in parts.parts {
            let Some(outcome) = self.outcome_of_one(&part.scan).await? else { return Ok(None) };
            ended.push(Ended { scan: part.scan, name: part.name, outcome });
        }
        Ok(Some(Outcome::Parts(ended)))
    }

    async fn outcome_of_one(&self, scan: &ScanId) -> Result<Option<Outcome>> {
        let Some(status) = self.status(scan).await? else { return Ok(None) };
        let Some(end) = status.end() else { return Ok(None) };
        let missing = |what: &str| Error::Service {
            service: "the stack",
            action: "end a scan in order",
            message: format!("its status is {:?}, and there is no {what}", end.state),
        };
        Ok(Some(match end.state {
            State::Done => {
                let manifest = self.manifest(scan).await?;
                Outcome::Reconstructed(Box::new(manifest.ok_or_else(|| missing("manifest"))?))
            }
            State::Quarantined => {
                let record = self.quarantine(scan).await?;
                Outcome::Quarantined(record.ok_or_else(|| missing("quarantine record"))?)
            }
            State::Superseded => Outcome::Superseded,
            _ => {
                let reason = end.reason.clone().unwrap_or_else(|| "no reason was given".to_owned());
                Outcome::Failed { stage: end.stage, reason }
            }
        }))
    }

    /// Waits until a scan has ended.
    ///
    /// # Errors
    /// As [`Remote::outcome`]; [`Error::Timeout`].
    pub async fn wait(&self, scan: &ScanId, limit: Duration) -> Result<Outcome> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(outcome) = self.outcome(scan).await? {
                return Ok(outcome);
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Error::Timeout { what: format!("scan {scan}"), seconds: limit.as_secs() })
    }
}
