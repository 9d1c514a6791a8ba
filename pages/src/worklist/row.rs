//! One scan of the worklist, and what two reports about it make together.

use std::collections::BTreeMap;

use contract::status::Event;
use contract::{Manifest, ScanId, Stage, State, Status, keys};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Quality numbers that the worklist shows, by their names in the manifest.
pub const SHOWN: [&str; 2] = ["snr", "calibration_residual"];

/// One scan. It holds what its last event says ([`Row::stage`] to [`Row::updated`]) and what its last results say
/// ([`Row::results`]); both have a time of their own, so that events may arrive in any order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The scan.
    pub scan: ScanId,
    /// Where its results lie, relative to the root of the share, without a final `/`; not percent-encoded.
    pub folder: String,
    /// The name shown.
    pub name: String,
    /// When the scan was first heard of.
    pub started: Timestamp,
    /// When the last event happened.
    pub updated: Timestamp,
    /// Who reported last.
    pub stage: Stage,
    /// What was reported last.
    pub state: State,
    /// Why, for everything that is not plain progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the last complete reconstruction says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Results>,
}

/// What the worklist tells of a reconstruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// When the results were complete.
    pub created: Timestamp,
    /// How missing lines were filled, and what followed.
    pub method: String,
    /// Numbers by their names in the manifest, [`SHOWN`] of them.
    pub quality: BTreeMap<String, f64>,
    /// Whether a limit is broken: "check this".
    pub check: bool,
    /// The sentence of the first broken limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Whether `thumbnail.png` lies in the folder.
    pub thumbnail: bool,
    /// Whether `report.html` lies in the folder.
    pub report: bool,
}

impl Results {
    /// What `manifest` says; `None` when its time cannot be read.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let has = |name: &str| manifest.outputs.iter().any(|output| output.name == name);
        let quality = SHOWN
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), *manifest.quality.get(*name)?)))
            .filter(|(_, value)| value.is_finite())
            .collect();
        let doubt = manifest.doubts().next();
        Some(Self {
            created: manifest.created.parse().ok()?,
            method: crate::words::method(manifest.method, manifest.refine),
            quality,
            check: doubt.is_some(),
            doubt: doubt.map(|check| check.sentence.clone()),
            thumbnail: has(keys::THUMBNAIL_NAME),
            report: has(keys::REPORT_NAME),
        })
    }
}

impl Row {
    /// The scan of `status` with its results in `folder`, such as `2026-11-23/brain_t2`; `None` before its first event, or when a
    /// time in it cannot be read.
    #[must_use]
    pub fn of(status: &Status, folder: &str, manifest: Option<&Manifest>) -> Option<Self> {
        let time = |event: &Event| event.time.parse::<Timestamp>().ok();
        let last = status.history.last()?;
        let folder = folder.trim_end_matches('/');
        Some(Self {
            scan: status.scan.clone(),
            folder: folder.to_owned(),
            name: folder.to_owned(),
            started: time(status.history.first()?)?,
            updated: time(last)?,
            stage: last.stage,
            state: last.state,
            reason: last.reason.clone(),
            results: manifest.and_then(Results::of),
        })
    }

    /// Whether nothing more is to come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.is_final()
            && (self.state != State::Done || matches!(self.stage, Stage::Reconstruct | Stage::Refresh))
    }

    /// What this row and `other`, of the same scan, say together. The newer event and the newer results win, and equal times
    /// are decided by content, so that the order of arrival does not matter.
    pub(super) fn merge(&mut self, other: Self) {
        let started = self.started.min(other.started);
        let newer_results = match (&self.results, &other.results) {
            (Some(mine), Some(theirs)) => (theirs.created, text(theirs)) > (mine.created, text(mine)),
            (mine, _) => mine.is_none(),
        };
        let results = if newer_results { other.results.clone() } else { self.results.take() };
        if other.event() > self.event() {
            *self = other;
        }
        (self.started, self.results) = (started, results);
    }

    /// What decides which of two events is the later one: the time, then how far the scan has come, then the content.
    fn event(&self) -> (Timestamp, Stage, bool, String) {
        let content = (self.state, &self.reason, &self.folder, &self.name);
        (self.updated, self.stage, self.state.is_final(), text(&content))
    }
}

/// Any total order of contents that does not depend on who came first.
fn text(content: &impl Serialize) -> String {
    serde_json::to_string(content).unwrap_or_default()
}
