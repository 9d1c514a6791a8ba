//! The history of one scan.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Record, ScanId};

/// The part of the pipeline that reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Unpacking and preparing a raw archive.
    Decompress,
    /// Handing a prepared scan to Batch.
    Submit,
    /// The reconstruction job.
    Reconstruct,
    /// Showing the results on the share.
    Refresh,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decompress => "decompress",
            Self::Submit => "submit",
            Self::Reconstruct => "reconstruct",
            Self::Refresh => "refresh",
        })
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Work began.
    Started,
    /// Too large for a Lambda; a CPU job does the same work.
    HandedOver,
    /// A newer upload under the same name made this one pointless.
    Superseded,
    /// The stage is complete.
    Done,
    /// The stage will be tried again.
    Retrying,
    /// The scan was refused; the quarantine record says why.
    Quarantined,
    /// The stage failed for good and a person has to look.
    Failed,
}

impl State {
    /// Whether nothing more happens in this stage.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Superseded | Self::Done | Self::Quarantined | Self::Failed)
    }
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339, UTC.
    pub time: String,
    /// Who reports.
    pub stage: Stage,
    /// What happened.
    pub state: State,
    /// Which try, from 1.
    pub attempt: u32,
    /// Why, for everything that is not plain progress.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// `status/<scan>.json` in the state bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// What happened, in the order of time.
    pub history: Vec<Event>,
}

impl Record for Status {
    const NAME: &'static str = "status record";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

impl Status {
    /// A history without events.
    #[must_use]
    pub fn new(scan: ScanId) -> Self {
        Self { schema: Self::SCHEMA, scan, history: Vec::new() }
    }

    /// Adds an event in the order of time. An event of the same stage, state and attempt is already known and changes
    /// nothing, since every message may arrive twice. Returns whether the history changed.
    pub fn record(&mut self, event: Event) -> bool {
        let known = self
            .history
            .iter()
            .any(|old| (old.stage, old.state, old.attempt) == (event.stage, event.state, event.attempt));
        if known {
            return false;
        }
        let at = self.history.partition_point(|old| old.time <= event.time);
        self.history.insert(at, event);
        true
    }

    /// The event that ended the scan, if one has: a refusal or failure of any stage, or the end of reconstruction.
    #[must_use]
    pub fn end(&self) -> Option<&Event> {
        self.history
            .iter()
            .rev()
            .find(|event| event.state.is_final() && (event.state != State::Done || event.stage == Stage::Reconstruct))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(time: &str, stage: Stage, state: State, attempt: u32) -> Event {
        Event { time: time.to_owned(), stage, state, attempt, reason: None }
    }

    fn scan() -> ScanId {
        ScanId::of_object("raw", "a", "1")
    }

    #[test]
    fn a_prepared_scan_has_not_ended_and_a_reconstructed_one_has() {
        let mut status = Status::new(scan());
        status.record(event("2026-11-23T10:00:01Z", Stage::Decompress, State::Done, 1));
        assert_eq!(status.end(), None);
        status.record(event("2026-11-23T10:00:09Z", Stage::Reconstruct, State::Done, 1));
        assert_eq!(status.end().map(|e| e.stage), Some(Stage::Reconstruct));
    }

    proptest! {
        #[test]
        fn order_of_arrival_and_repeats_do_not_matter(order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(), again in 0..6usize) {
            let events: Vec<Event> = [State::Started, State::Retrying, State::Done]
                .into_iter()
                .flat_map(|state| [Stage::Decompress, Stage::Reconstruct].map(|stage| (stage, state)))
                .enumerate()
                .map(|(i, (stage, state))| event(&format!("2026-11-23T10:00:0{i}Z"), stage, state, 1))
                .collect();
            let (mut sorted, mut shuffled) = (Status::new(scan()), Status::new(scan()));
            for e in &events {
                prop_assert!(sorted.record(e.clone()));
            }
            for at in order {
                shuffled.record(events[at].clone());
            }
            prop_assert!(!shuffled.record(events[again].clone()));
            prop_assert_eq!(shuffled, sorted);
        }
    }
}
