//! Follows one upload through the chain and measures each stage.

use std::time::{Duration, Instant};

use contract::status::Event;
use contract::{ScanId, Stage, State, Status};
use jiff::Timestamp;
use serde::Serialize;

use crate::remote::{Outcome, POLL, Remote};
use crate::{Error, Result};

/// A part of the way that a person waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// The file goes to the raw bucket.
    Upload,
    /// It is unpacked and prepared.
    Prepare,
    /// The job is submitted and waits for its place.
    Queue,
    /// The job fills, transforms and writes.
    Reconstruct,
    /// The share shows the images.
    Refresh,
}

impl Leg {
    /// What a person reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Prepare => "decompress and prepare",
            Self::Queue => "submit and queue",
            Self::Reconstruct => "train and reconstruct",
            Self::Refresh => "refresh",
        }
    }
}

/// Time of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LegTime {
    /// Which.
    pub stage: Leg,
    /// Wall seconds.
    pub seconds: f64,
}

/// What is seen while a scan goes its way.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// A leg begins.
    Begins(Leg),
    /// A leg is done.
    Ends(LegTime),
    /// Something beside plain progress, such as another try.
    Note(String),
}

/// The end of the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// How the scan ended.
    pub outcome: Outcome,
    /// The legs that were completed.
    pub legs: Vec<LegTime>,
}

/// Follows `scan` from its upload at `uploaded` to its end.
///
/// # Errors
/// Those of [`Remote::outcome`]; [`Error::Timeout`] after `limit`.
pub async fn follow(
    remote: &Remote,
    scan: &ScanId,
    uploaded: Timestamp,
    limit: Duration,
    see: &mut (dyn FnMut(Sight) + Send),
) -> Result<Followed> {
    let start = Instant::now();
    let mut view = View::new(uploaded);
    see(Sight::Begins(Leg::Prepare));
    while start.elapsed() < limit {
        if let Some(status) = remote.status(scan).await? {
            let mut parts = Vec::new();
            for part in remote.parts(scan).await?.map(|record| record.parts).unwrap_or_default() {
                parts.push(remote.status(&part.scan).await?.unwrap_or_else(|| Status::new(part.scan)));
            }
            let status = together(status, &parts);
            view.update(&status, see);
            if status.end().is_some()
                && let Some(outcome) = remote.outcome(scan).await?
            {
                return Ok(Followed { outcome, legs: view.done });
            }
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Error::Timeout { what: format!("scan {scan}"), seconds: limit.as_secs() })
}

/// The history of an upload with those of its scans: their reconstruction begins with the first and ends with the last,
/// once all have ended.
fn together(mut upload: Status, parts: &[Status]) -> Status {
    let of_parts = || parts.iter().flat_map(|part| &part.history);
    let notes = of_parts().filter(|event| event.state == State::Retrying);
    let begins = of_parts().filter(|event| (event.stage, event.state) == (Stage::Reconstruct, State::Started));
    let begin = begins.min_by(|a, b| a.time.cmp(&b.time));
    let ends: Option<Vec<_>> = parts.iter().map(Status::end).collect();
    let end = ends.and_then(|ends| ends.into_iter().max_by(|a, b| a.time.cmp(&b.time)));
    let end = end.map(|end| Event { stage: Stage::Reconstruct, state: State::Done, ..end.clone() });
    for event in notes.chain(begin).cloned().chain(end) {
        upload.record(event);
    }
    upload
}

/// What of a history was seen already.
struct View {
    since: Timestamp,
    done: Vec<LegTime>,
    noted: usize,
}

impl View {
    /// The leg, and the event that ends it.
    const ENDS: [(Leg, Stage, State); 3] = [
        (Leg::Prepare, Stage::Decompress, State::Done),
        (Leg::Queue, Stage::Reconstruct, State::Started),
        (Leg::Reconstruct, Stage::Reconstruct, State::Done),
    ];

    fn new(uploaded: Timestamp) -> Self {
        Self { since: uploaded, done: Vec::new(), noted: 0 }
    }

    fn update(&mut self, status: &Status, see: &mut (dyn FnMut(Sight) + Send)) {
        let notes: Vec<_> = status
            .history
            .iter()
            .filter(|event| matches!(event.state, State::HandedOver | State::Retrying))
            .map(|event| {
                let what =
                    if event.state == State::Retrying { "is tried again" } else { "is handed to a larger machine" };
                let reason = event.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("{} {what}{reason}", event.stage)
            })
            .collect();
        for note in notes.into_iter().skip(self.noted) {
            self.noted += 1;
            see(Sight::Note(note));
        }
        while let Some((leg, stage, state)) = Self::ENDS.get(self.done.len()).copied() {
            let event = status.history.iter().find(|event| (event.stage, event.state) == (stage, state));
            // The end of a job can be known before its beginning: events arrive in any order.
            let later = Self::ENDS[self.done.len()..].iter().find_map(|(_, stage, state)| {
                status.history.iter().find(|event| (event.stage, event.state) == (*stage, *state))
            });
            let Some(event) = event.or(later) else { break };
            let at = event.time.parse().unwrap_or_else(|_| Timestamp::now());
            let seconds = (at.as_millisecond() - self.since.as_millisecond()).max(0) as f64 / 1e3;
            self.since = at.max(self.since);
            let time = LegTime { stage: leg, seconds };
            self.done.push(time);
            see(Sight::Ends(time));
            if let Some((next, ..)) = Self::ENDS.get(self.done.len()) {
                see(Sight::Begins(*next));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: &str, stage: Stage, state: State) -> Event {
        Event { time: format!("2026-11-23T10:00:{time}Z"), stage, state, attempt: 1, reason: None }
    }

    #[test]
    fn legs_add_up_to_the_whole_way_whatever_is_seen_when() {
        let history = [
            event("01", Stage::Decompress, State::Started),
            event("03.5", Stage::Decompress, State::Done),
            event("04", Stage::Submit, State::Done),
            event("05", Stage::Reconstruct, State::Started),
            event("25", Stage::Reconstruct, State::Done),
        ];
        for hidden in [None, Some(3)] {
            let mut view = View::new("2026-11-23T10:00:00Z".parse().unwrap());
            let mut status = Status::new(ScanId::of_object("b", "k", "v"));
            let mut seen = Vec::new();
            for (at, event) in history.iter().enumerate() {
                if Some(at) != hidden {
                    status.record(event.clone());
                }
                view.update(&status, &mut |sight| seen.push(sight));
            }
            assert_eq!(
                view.done.iter().map(|leg| leg.stage).collect::<Vec<_>>(),
                [Leg::Prepare, Leg::Queue, Leg::Reconstruct]
            );
            assert!((view.done.iter().map(|leg| leg.seconds).sum::<f64>() - 25.0).abs() < 1e-9);
            assert!((view.done[0].seconds - 3.5).abs() < 1e-9);
            assert_eq!(seen.len(), 5, "{seen:?}");
        }
    }

    #[test]
    fn an_upload_of_several_scans_ends_with_the_last_of_them() {
        let status = |events: &[Event]| {
            let mut status = Status::new(ScanId::of_object("b", "k", "v"));
            events.iter().for_each(|event| assert!(status.record(event.clone())));
            status
        };
        let upload = || status(&[event("03", Stage::Decompress, State::Done)]);
        let refused = status(&[event("02", Stage::Decompress, State::Quarantined)]);
        let running = status(&[event("05", Stage::Reconstruct, State::Started)]);
        let done =
            status(&[event("04", Stage::Reconstruct, State::Started), event("09", Stage::Reconstruct, State::Done)]);
        assert_eq!(together(upload(), &[]), upload(), "an upload of one scan is its own history");
        assert_eq!(together(upload(), &[refused.clone(), running, done.clone()]).end(), None);
        let all = together(upload(), &[refused, done]);
        assert_eq!(all.end().map(|end| (end.time.as_str(), end.state)), Some(("2026-11-23T10:00:09Z", State::Done)));
        assert_eq!(all.history[1].time, "2026-11-23T10:00:04Z");
    }
}
