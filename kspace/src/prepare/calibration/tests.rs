use super::*;
use crate::format::ReadoutHead;
use crate::prepare::sampling;
use crate::prepare::testing::Scan;
use crate::prepare::triage::triage;

const ROWS: usize = 32;

fn axes() -> Axes {
    Axes { rows: ROWS, partitions: 1, kept: 0..1, exchanged: false }
}

fn line(readout: usize, row: usize) -> Line {
    Line { readout, row, partition: 0, calibrates: false }
}

fn group(slice: u16, repetition: u16, acquired: impl Fn(usize) -> bool) -> Group {
    let mask: Vec<bool> = (0..ROWS).map(acquired).collect();
    let rows = (0..ROWS).filter(|row| mask[*row]);
    Group {
        key: Key { slice, contrast: 0, phase: 0, repetition, set: 0 },
        head: ReadoutHead::default(),
        lines: rows.map(|row| line(100 * usize::from(repetition) + row, row)).collect(),
        calibration: None,
        sampling: sampling::find(&mask, None).unwrap(),
    }
}

fn run(groups: &mut [Group], reference: &[(u16, usize)]) -> (Result<Option<usize>>, Log) {
    let scan = Scan::new(1, 8, ROWS as u16);
    let mut log = Log::default();
    let triage = triage(&scan, &mut log).unwrap();
    let of = |(slice, rows): &(u16, usize)| {
        let key = Key { slice: *slice, contrast: 0, phase: 0, repetition: 0, set: 0 };
        (key, (0..*rows).map(|row| line(1000 + row, row)).collect())
    };
    let reference = Reference { lines: reference.iter().map(of).collect(), stated: [None; 2] };
    let found = assign(groups, reference, &axes(), &triage, &mut log);
    (found, log)
}

#[test]
fn separate_lines_calibrate_every_repetition_of_their_slice() {
    let mut groups =
        [group(0, 0, |row| row % 3 == 0), group(0, 1, |row| row % 3 == 0), group(1, 0, |row| row % 3 == 0)];
    let (found, log) = run(&mut groups, &[(0, 12), (1, 9)]);
    // Row 6 of twelve is the centre of k-space, so that nine rows have two after it.
    assert_eq!(found.unwrap(), Some(6));
    for group in &groups {
        let apart = group.calibration.as_ref().unwrap();
        assert_eq!((apart.origin, apart.rows(), apart.lines.len()), (Origin::Reference, 6, 6));
        assert_eq!(apart.lines[0].readout, 1003);
    }
    assert_eq!(log.steps.last().unwrap().parameters["of_a_separate_scan"], 3);
}

#[test]
fn lines_of_the_image_are_preferred_where_they_are_as_many() {
    let embedded = |row: usize| row.is_multiple_of(3) || (10..22).contains(&row);
    let mut groups = [group(0, 0, embedded)];
    let (found, log) = run(&mut groups, &[(0, 12)]);
    assert_eq!((found.unwrap(), groups[0].calibration.is_none()), (None, true));
    assert!(log.warnings.iter().any(|warning| warning.contains("left out")));

    // A slice that the separate scan lacks gives its own.
    let mut groups = [group(0, 0, |row| row % 3 == 0), group(1, 0, embedded)];
    // Rows 9 to 21 with the centre at row 16: 10 to 21 of them lie evenly around it.
    assert_eq!(run(&mut groups, &[(0, 16)]).0.unwrap(), Some(12));
    assert_eq!(groups[1].calibration.as_ref().unwrap().origin, Origin::Image);
    let mut groups = [group(0, 0, |row| row % 3 == 0), group(1, 0, |row| row % 3 == 0)];
    assert!(run(&mut groups, &[(0, 16)]).0.is_err());
}

#[test]
fn frames_on_shifted_grids_calibrate_each_other() {
    let mut groups = [group(0, 0, |row| row % 2 == 0), group(0, 1, |row| row % 2 == 1)];
    assert_eq!(run(&mut groups, &[]).0.unwrap(), Some(ROWS));
    let apart = groups[0].calibration.as_ref().unwrap();
    assert_eq!((apart.origin, apart.lines.len()), (Origin::Image, ROWS));
    assert_eq!(apart.lines[3].readout, 103);
    let mut still = [group(0, 0, |row| row % 2 == 0), group(0, 1, |row| row % 2 == 0)];
    assert_eq!(run(&mut still, &[]).0.unwrap(), None);
}

#[test]
fn lines_of_the_first_frame_calibrate_those_without_any() {
    let first = |row: usize| row.is_multiple_of(3) || (10..22).contains(&row);
    let mut groups = [group(0, 0, first), group(0, 1, |row| row % 3 == 0), group(0, 2, |row| row % 3 == 0)];
    let (found, log) = run(&mut groups, &[]);
    // Rows 9 to 21: 10 to 21 lie evenly around row 16.
    assert_eq!(found.unwrap(), Some(12));
    for group in &groups {
        let apart = group.calibration.as_ref().unwrap();
        assert_eq!((apart.origin, apart.lines.len(), apart.lines[0].readout), (Origin::Image, 12, 10));
    }
    assert!(log.warnings[0].starts_with("2 of 3 images have too few calibration lines"), "{:?}", log.warnings);
    // Another slice has other coils, and as few lines as before.
    let mut groups = [group(0, 0, first), group(1, 0, |row| row % 3 == 0)];
    assert_eq!(run(&mut groups, &[]).0.unwrap(), None);
    // A separate scan comes first.
    let mut groups = [group(0, 0, first), group(0, 1, |row| row % 3 == 0)];
    run(&mut groups, &[(0, 12)]).0.unwrap();
    assert_eq!(groups[1].calibration.as_ref().unwrap().origin, Origin::Reference);
}

#[test]
fn the_centre_of_k_space_is_at_half_of_the_rows_whatever_the_block() {
    for (rows, centre) in [(3..12, 7), (0..9, 6), (5..6, 5), (2..20, 3), (4..21, 12)] {
        let lines: Vec<Line> = rows.clone().map(|row| line(row, row)).collect();
        let apart = Apart::new(Origin::Image, lines, centre);
        let whole = apart.rows() == rows.len();
        for count in 1..=apart.rows() {
            let middle = apart.clone().middle(count);
            assert_eq!(middle.rows(), count);
            let at_half = middle.lines.iter().find(|line| line.row == count / 2).unwrap();
            assert!(whole || at_half.readout == centre, "{rows:?} {count}");
        }
    }
    // Far to one side: nothing is cut.
    assert_eq!(Apart::new(Origin::Image, (2..20).map(|row| line(row, row)).collect(), 3).rows(), 18);
    assert_eq!(Apart::new(Origin::Image, (3..12).map(|row| line(row, row)).collect(), 7).rows(), 9);
}

#[test]
fn partitions_of_a_smaller_scan_move_to_the_middle() {
    let at = |partition| Line { partition, ..line(0, 0) };
    let mut lines = vec![at(0), at(1), at(3)];
    centre_partitions(&mut lines, 10);
    assert_eq!(lines.iter().map(|line| line.partition).collect::<Vec<_>>(), [3, 4, 6]);
    centre_partitions(&mut lines, 3);
    assert_eq!(lines.iter().map(|line| line.partition).collect::<Vec<_>>(), [1, 2], "more than fit lose their ends");
}
