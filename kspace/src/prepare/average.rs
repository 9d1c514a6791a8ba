//! Averaging: a place of k-space that was acquired several times is the mean of its copies, not their sum over the stated
//! number of averages, which is wrong where a copy was lost.

use contract::prepared::Step;
use serde_json::json;

use super::sort::Line;
use super::{Group, Log};

/// Lines of the same place, next to each other.
pub(super) fn copies(lines: &[Line]) -> impl Iterator<Item = &[Line]> {
    lines.chunk_by(|a, b| (a.partition, a.row) == (b.partition, b.row))
}

/// Records how many copies are averaged.
pub(super) fn record(groups: &[Group], log: &mut Log) {
    let counts = || groups.iter().flat_map(|group| copies(&group.lines)).map(<[Line]>::len);
    let (least, most) = (counts().min().unwrap_or(1), counts().max().unwrap_or(1));
    if most < 2 {
        return;
    }
    if least == most {
        log.step(Step::AVERAGE, [("copies", json!(most))]);
    } else {
        log.step(Step::AVERAGE, [("least_copies_of_a_line", json!(least)), ("most_copies_of_a_line", json!(most))]);
    }
}
