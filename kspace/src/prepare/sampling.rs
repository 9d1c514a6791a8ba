//! Which lines were acquired: acceleration, grid and calibration block, found in the data.
//!
//! Headers state what was planned, and state it wrongly often enough; the lines themselves are never wrong.

use std::collections::BTreeMap;

use contract::prepared::Sampling;
use serde_json::json;

use super::Log;
use super::sort::Line;
use super::triage::Triage;
use super::volume::Axes;
use crate::{Error, Result};

/// Lines lost on their way that leave an image fully sampled, and how many lines each of them may be one of.
const MOST_LOST: usize = 2;
const LOST_OF: usize = 50;

/// Finds the sampling of the lines of every k-space and compares it with the header.
///
/// # Errors
/// [`Error::Unsupported`] for irregular sampling; [`Error::Corrupt`] when the centre of k-space was not acquired.
pub(super) fn detect_all(scans: &[&[Line]], axes: &Axes, triage: &Triage<'_>, log: &mut Log) -> Result<Vec<Sampling>> {
    let (lines, stated) = (axes.rows, stated(triage, axes));
    let mut samplings = Vec::with_capacity(scans.len());
    let mut kinds = BTreeMap::<(usize, usize), usize>::new();
    let (mut partial, mut lost) = (0usize, [0usize; 2]);
    for scan in scans {
        let mut rows = BTreeMap::<usize, bool>::new();
        scan.iter().for_each(|line| *rows.entry(line.row).or_default() |= line.calibrates);
        let rows: Vec<(usize, bool)> = rows.into_iter().collect();
        let sampling = detect(&rows, lines, stated.map(|factor| factor.round() as usize))?;
        *kinds.entry((sampling.acceleration, sampling.acs_lines)).or_default() += 1;
        let missing = sampling.last + 1 - sampling.first - rows.len();
        if sampling.acceleration == 1 && missing > 0 {
            lost = [lost[0] + missing, lost[1] + 1];
        }
        let ends = sampling.first + (lines - 1 - sampling.last);
        partial += usize::from(ends >= (2 * sampling.acceleration).max(lines / 16));
        samplings.push(sampling);
    }
    if let (Some(stated), Some((found, _))) = (stated, kinds.keys().find(|(found, _)| Some(*found as f64) != stated)) {
        log.warn(format!("the header states acceleration {stated}, the data have {found}; the data are followed"));
    }
    let [lost, entries] = lost;
    if lost > 0 {
        log.warn(format!(
            "{lost} lines of {entries} otherwise fully sampled entries are missing: they stay zero, which blurs the image \
             slightly or makes faint stripes"
        ));
    }
    if partial > 0 {
        log.warn(format!("{partial} entries are partial Fourier: lines that were never measured stay zero"));
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|((acceleration, acs_lines), entries)| {
            json!({"acceleration": acceleration, "calibration_lines": acs_lines, "entries": entries})
        })
        .collect();
    log.step("detect_sampling", [("found", json!(kinds))]);
    Ok(samplings)
}

/// Acceleration along the rows as the header states it.
pub(super) fn stated(triage: &Triage<'_>, axes: &Axes) -> Option<f64> {
    let factor = triage.encoding.acceleration.map(|factors| factors[axes.row_axis() - 1]);
    factor.filter(|factor| *factor >= 1.0)
}

/// Sampling of `mask`, one value per line of ky, true where it was acquired. `stated` decides where several accelerations fit.
///
/// # Errors
/// [`Error::Unsupported`] for irregular sampling, [`Error::Corrupt`] when the centre of k-space was not acquired.
pub fn find(mask: &[bool], stated: Option<usize>) -> Result<Sampling> {
    let rows: Vec<_> =
        mask.iter().enumerate().filter(|(_, acquired)| **acquired).map(|(row, _)| (row, false)).collect();
    detect(&rows, mask.len(), stated)
}

/// Sampling of one entry from its acquired rows (ascending, with their calibration flag) of `lines`. The calibration block
/// is the run of neighbouring lines with the most flagged ones, else the longest run, the one nearer the
/// centre of two; the distance of the lines outside it is the acceleration.
fn detect(rows: &[(usize, bool)], lines: usize, stated: Option<usize>) -> Result<Sampling> {
    let (Some((first, _)), Some((last, _))) = (rows.first().copied(), rows.last().copied()) else {
        return Err(Error::corrupt("phase encoding of a slice", "no line", "acquired lines"));
    };
    let centre = lines / 2;
    if !(first..=last).contains(&centre) && lines > 1 {
        return Err(Error::corrupt(
            "phase encoding of a slice",
            format!("lines {first} to {last} of {lines}"),
            format!("lines around the centre of k-space, line {centre}"),
        ));
    }
    let runs = rows.chunk_by(|a, b| b.0 - a.0 == 1);
    let block = runs.filter(|run| run.len() > 1).max_by_key(|run| {
        let flagged = run.iter().filter(|(_, flagged)| *flagged).count();
        let middle = run[0].0 + run.len() / 2;
        (flagged, run.len(), std::cmp::Reverse(middle.abs_diff(centre)))
    });
    let (acs_first, acs_lines) = block.map_or((centre, 0), |run| (run[0].0, run.len()));
    if acs_lines == rows.len() {
        return Ok(Sampling { acceleration: 1, offset: 0, acs_first, acs_lines, first, last });
    }

    let mut acquired = vec![false; lines];
    rows.iter().for_each(|(row, _)| acquired[*row] = true);
    let outside: Vec<usize> =
        rows.iter().map(|(row, _)| *row).filter(|row| !(acs_first..acs_first + acs_lines).contains(row)).collect();
    let largest = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(1);
    let regular = |acceleration: &usize| {
        let offset = outside[0] % acceleration;
        outside.iter().all(|row| row % acceleration == offset)
            && (first..=last).filter(|row| row % acceleration == offset).all(|row| acquired[row])
    };
    // Next to the block a gap can be smaller than the acceleration, so where hardly any line lies outside it, several
    // grids fit and the header decides.
    let candidates = stated.filter(|stated| (largest.max(2)..=lines).contains(stated)).into_iter().chain([largest]);
    let Some(acceleration) = candidates.into_iter().find(regular) else {
        if is_complete_but_for_few(rows) {
            return Ok(Sampling { acceleration: 1, offset: 0, acs_first, acs_lines, first, last });
        }
        let mut gaps: Vec<usize> = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|gap| *gap > 1).collect();
        gaps.sort_unstable();
        gaps.dedup();
        return Err(Error::unsupported(
            format!("irregular sampling: {} of {lines} lines acquired, at distances {gaps:?}", rows.len()),
            "only every R-th line plus a block of calibration lines is reconstructed; use compressed sensing, such as BART's pics, \
             for masks of random or unevenly spaced lines",
        ));
    };
    Ok(Sampling { acceleration, offset: outside[0] % acceleration, acs_first, acs_lines, first, last })
}

/// Whether so few lines are missing between the first and the last, each by itself, that they were lost rather than left out.
fn is_complete_but_for_few(rows: &[(usize, bool)]) -> bool {
    let gaps = || rows.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let lost = gaps().filter(|gap| *gap > 1).count();
    gaps().all(|gap| gap <= 2) && lost <= MOST_LOST && lost * LOST_OF < rows.len() + lost
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(lines: usize, acquired: impl Fn(usize) -> bool) -> Vec<(usize, bool)> {
        (0..lines).filter(|row| acquired(*row)).map(|row| (row, false)).collect()
    }

    proptest! {
        #[test]
        fn a_regular_grid_is_found_whatever_its_offset(
            lines in 48usize..200, acceleration in 2usize..7, offset in 0usize..7, acs in 8usize..24, shift in 0usize..5,
        ) {
            let offset = offset % acceleration;
            let block = lines / 2 - acs / 2 + shift..lines / 2 - acs / 2 + shift + acs;
            let grid = |row: usize| row % acceleration == offset;
            let found = detect(&rows(lines, |row| grid(row) || block.contains(&row)), lines, None).unwrap();
            prop_assert_eq!((found.acceleration, found.offset), (acceleration, offset));
            // Grid lines that touch the block belong to it.
            let first = (0..block.start).rev().take_while(|row| grid(*row)).last().unwrap_or(block.start);
            let end = (block.end..lines).take_while(|row| grid(*row)).last().map_or(block.end, |row| row + 1);
            prop_assert_eq!((found.acs_first, found.acs_lines), (first, end - first));
            prop_assert_eq!(found.first, offset);
        }
    }

    #[test]
    fn full_and_partial_fourier_have_acceleration_one() {
        let full = detect(&rows(32, |_| true), 32, None).unwrap();
        assert_eq!((full.acceleration, full.acs_lines, full.first, full.last), (1, 32, 0, 31));
        let partial = detect(&rows(32, |row| row >= 10), 32, None).unwrap();
        assert_eq!((partial.acceleration, partial.first, partial.last), (1, 10, 31));
    }

    #[test]
    fn a_grid_without_calibration_lines_is_a_grid() {
        let found = detect(&rows(30, |row| row % 3 == 2), 30, None).unwrap();
        assert_eq!((found.acceleration, found.offset, found.acs_lines), (3, 2, 0));
    }

    #[test]
    fn flags_decide_between_two_runs() {
        let mut rows = rows(64, |row| row % 4 == 0 || (28..36).contains(&row) || (4..=5).contains(&row));
        assert!(detect(&rows, 64, None).is_err());
        rows.retain(|(row, _)| *row != 5);
        rows.iter_mut().for_each(|row| row.1 = (28..36).contains(&row.0));
        let found = detect(&rows, 64, None).unwrap();
        assert_eq!((found.acs_first, found.acs_lines, found.acceleration), (28, 9, 4));
    }

    #[test]
    fn the_header_decides_where_the_data_leave_it_open() {
        // One line outside the block, two lines away from it: R of 2, 4 and more would fit.
        let rows = rows(16, |row| row == 2 || (4..16).contains(&row));
        assert_eq!(detect(&rows, 16, None).unwrap().acceleration, 2);
        assert_eq!(detect(&rows, 16, Some(4)).unwrap().acceleration, 4);
        assert_eq!(detect(&rows, 16, Some(1)).unwrap().acceleration, 2);
    }

    #[test]
    fn a_line_lost_on_its_way_leaves_an_image_fully_sampled() {
        for lost in [&[9_usize][..], &[40], &[9, 90], &[50, 52]] {
            let found = detect(&rows(128, |row| !lost.contains(&row)), 128, None).unwrap();
            assert_eq!((found.acceleration, found.first, found.last), (1, 0, 127), "{lost:?}");
            assert!(found.acs_lines >= 40);
        }
        for lost in [&[9_usize, 10][..], &[9, 40, 90]] {
            assert!(detect(&rows(128, |row| !lost.contains(&row)), 128, None).is_err(), "{lost:?}");
        }
        assert!(detect(&rows(50, |row| row != 9), 50, None).is_err(), "one line in 50");
    }

    #[test]
    fn irregular_sampling_and_a_missing_centre_are_refused() {
        let lost = detect(&rows(32, |row| row != 9), 32, None).unwrap_err().to_string();
        assert!(lost.contains("31 of 32 lines") && lost.contains("[2]"), "{lost}");
        let random = detect(&rows(64, |row| row * row % 7 < 2), 64, None);
        assert!(matches!(random, Err(Error::Unsupported { .. })));
        assert!(matches!(detect(&rows(32, |row| row < 12), 32, None), Err(Error::Corrupt { .. })));
    }
}
