//! Which navigators correct which lines of an echo planar scan.
//!
//! Scanners acquire navigators right before the echo train that they belong to. So a line is corrected by the last navigators of
//! its slice in front of it, and a line before any navigators by the first of its slice.

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::json;

use super::Log;
use super::epi::{Navigator, PhaseCorrection, ShotCorrection, phase};
use super::oversampling::Readout;
use super::triage::Triage;
use crate::format::header::Trajectory;
use crate::format::{Flags, RawScan};
use crate::{Complex32, Error, Result};

/// Corrections of reversed lines.
#[derive(Default)]
pub(super) struct Shots {
    /// One for each train of navigators, one value for each coil.
    corrections: Vec<Vec<PhaseCorrection>>,
    /// Which of them a readout has.
    of: HashMap<usize, usize>,
}

impl Shots {
    /// The correction of a readout in each coil; `None` for a line from left to right, and for one without navigators.
    pub(super) fn of(&self, readout: usize) -> Option<&[PhaseCorrection]> {
        self.of.get(&readout).and_then(|shot| self.corrections.get(*shot)).map(Vec::as_slice)
    }
}

/// Measures the phase between the directions of an echo planar scan. A scan without reversed lines needs no correction.
///
/// # Errors
/// Errors of `raw`, and [`Error::Corrupt`] for navigators of another number of channels.
pub(super) fn plan(raw: &dyn RawScan, triage: &Triage<'_>, readout: &Readout, log: &mut Log) -> Result<Shots> {
    let heads = raw.heads();
    let reversed = |index: &usize| heads.get(*index).is_some_and(|head| head.flags.has(Flags::REVERSE));
    let lines: Vec<usize> =
        [&triage.imaging, &triage.calibration, &triage.reference].into_iter().flatten().copied().collect();
    // A scan whose lines all run one way has nothing to be matched.
    let both = lines.iter().any(reversed) && !lines.iter().all(reversed);
    if !both {
        if triage.encoding.trajectory == Trajectory::Epi {
            log.warn("an echo planar scan whose lines all have one direction: nothing is corrected");
        }
        return Ok(Shots::default());
    }
    if triage.navigators.is_empty() {
        log.warn("reversed lines without phase correction lines: ghosts at half the field of view are to be expected");
        return Ok(Shots::default());
    }
    let (trains, of) = trains(raw, &triage.navigators, lines.into_iter().filter(reversed));
    let measured: Vec<Option<ShotCorrection>> =
        trains.par_iter().map(|train| measure(raw, train, readout, triage.coils)).collect::<Result<_>>()?;
    let found: Vec<&ShotCorrection> = measured.iter().flatten().collect();
    if found.len() < measured.len() {
        log.warn(format!(
            "{} of {} trains of phase correction lines hold no usable signal: their lines stay uncorrected",
            measured.len() - found.len(),
            measured.len()
        ));
    }
    if found.iter().any(|shot| !shot.drift_cancelled) {
        log.warn("phase correction with two navigators: the phase that grows from echo to echo is not told apart");
    }
    let mean = |value: fn(&ShotCorrection) -> f64| {
        found.iter().map(|shot| value(shot)).sum::<f64>() / found.len().max(1) as f64
    };
    log.step(
        "correct_phase",
        [
            ("trains", json!(trains.len())),
            ("corrected", json!(found.len())),
            ("mean_constant_rad", json!(mean(|shot| shot.combined.constant))),
            ("mean_slope_rad_per_point", json!(mean(|shot| shot.combined.slope))),
            ("mean_coherence", json!(mean(|shot| shot.coherence))),
        ],
    );
    let corrections = measured.into_iter().map(|shot| shot.map(|shot| shot.coils).unwrap_or_default()).collect();
    Ok(Shots { corrections, of })
}

/// Navigators that follow each other, and the train of each line of `reversed`, which ascends.
fn trains(
    raw: &dyn RawScan,
    navigators: &[usize],
    reversed: impl Iterator<Item = usize>,
) -> (Vec<Vec<usize>>, HashMap<usize, usize>) {
    let slice = |index: usize| raw.heads().get(index).map(|head| head.counters.slice);
    let mut trains: Vec<Vec<usize>> = Vec::new();
    for index in navigators {
        match trains.last_mut() {
            Some(train) if train.last().is_some_and(|last| last + 1 == *index && slice(*last) == slice(*index)) => {
                train.push(*index);
            }
            _ => trains.push(vec![*index]),
        }
    }
    let mut of_slice = HashMap::<Option<u16>, Vec<usize>>::new();
    for (number, train) in trains.iter().enumerate() {
        of_slice.entry(slice(train[0])).or_default().push(number);
    }
    let choose = |line: usize| {
        let candidates = of_slice.get(&slice(line))?;
        let before = candidates.partition_point(|number| trains[*number][0] < line);
        candidates.get(before.saturating_sub(1)).map(|number| (line, *number))
    };
    let of = reversed.filter_map(choose).collect();
    (trains, of)
}

fn measure(raw: &dyn RawScan, train: &[usize], readout: &Readout, coils: usize) -> Result<Option<ShotCorrection>> {
    let mut rows: Vec<(bool, Vec<Complex32>)> = Vec::with_capacity(train.len());
    for index in train {
        let Some(head) = raw.heads().get(*index) else { continue };
        if usize::from(head.channels) != coils {
            let found = format!("{} channels", head.channels);
            return Err(Error::corrupt(format!("phase correction line {index}"), found, format!("{coils} channels")));
        }
        let samples = raw.samples(*index)?;
        // Navigators of another length belong to another encoding; their lines stay uncorrected.
        let Some(hybrid) = readout.hybrid(head, &samples) else { return Ok(None) };
        rows.push((head.flags.has(Flags::REVERSE), hybrid));
    }
    let navigators: Vec<Navigator<'_>> =
        rows.iter().map(|(reversed, rows)| Navigator { reversed: *reversed, rows }).collect();
    Ok(phase::estimate(&navigators, readout.encoded()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::testing::Scan;

    #[test]
    fn lines_have_the_last_navigators_of_their_slice_before_them() {
        let mut scan = Scan::new(1, 8, 1);
        scan.heads.clear();
        // Two slices in turns, twice: three navigators and two lines each; then a line of a slice whose navigators come later.
        for slice in [0, 1, 0, 1] {
            for _ in 0..5 {
                scan.push(1, 8, 0);
                if let Some(head) = scan.heads.last_mut() {
                    head.counters.slice = slice;
                }
            }
        }
        let navigators: Vec<usize> = (0..20).filter(|at| at % 5 < 3).collect();
        let (trains, of) = trains(&scan, &navigators, [3, 4, 8, 14, 19].into_iter());
        assert_eq!(trains, [[0, 1, 2], [5, 6, 7], [10, 11, 12], [15, 16, 17]]);
        let of: Vec<Option<usize>> = [3, 4, 8, 14, 19].iter().map(|line| of.get(line).copied()).collect();
        assert_eq!(of, [Some(0), Some(0), Some(1), Some(2), Some(3)]);

        let (_, early) = super::trains(&scan, &[5, 6, 7], [1, 9].into_iter());
        assert_eq!((early.get(&1), early.get(&9)), (None, Some(&0)), "navigators of another slice correct nothing");
        let (_, early) = super::trains(&scan, &[10, 11, 12], [3].into_iter());
        assert_eq!(early.get(&3), Some(&0));
    }
}
