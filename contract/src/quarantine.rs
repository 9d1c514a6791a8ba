//! Why a scan was refused.

use serde::{Deserialize, Serialize};

use crate::{Record, ScanId, Stage};

/// Lies in the state bucket under `quarantine/` and the raw path, for one of several scans of an upload followed by its
/// name. The raw file itself is never moved or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// When it was refused, RFC 3339, UTC.
    pub time: String,
    /// Which stage refused it.
    pub stage: Stage,
    /// One sentence a physicist understands: what was found and what was expected.
    pub reason: String,
    /// How to run it again once the cause is mended.
    pub run_again: String,
}

impl Record for Quarantine {
    const NAME: &'static str = "quarantine record";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// What [`Quarantine::run_again`] says when nothing more particular is known.
pub const UPLOAD_AGAIN: &str =
    "Mend the file and upload it again under the same name; a new version is a new scan and starts from the beginning.";
