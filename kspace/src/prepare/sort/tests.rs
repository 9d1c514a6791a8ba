use super::*;
use crate::prepare::testing::Scan;
use crate::prepare::triage::triage;

fn run(scan: &Scan) -> Result<(Vec<Sorted>, Log)> {
    let mut log = Log::default();
    let sorted = sort(scan, &triage(scan, &mut log)?, &mut log)?;
    Ok((sorted, log))
}

fn rows(sorted: &Sorted) -> Vec<usize> {
    let mut rows: Vec<usize> = sorted.lines.iter().map(|line| line.row).collect();
    rows.dedup();
    rows
}

#[test]
fn the_row_counts_from_the_centre_of_k_space() {
    let mut scan = Scan::new(1, 4, 6);
    // Six lines of a matrix of ten, the centre at step 1: partial Fourier.
    scan.header.encodings[0].encoded.matrix[1] = 10;
    scan.header.encodings[0].limits.step_1.as_mut().unwrap().center = 1;
    let (sorted, _) = run(&scan).unwrap();
    assert_eq!(rows(&sorted[0]), [4, 5, 6, 7, 8, 9]);

    scan.header.encodings[0].limits.step_1.as_mut().unwrap().center = 0;
    let error = run(&scan).err().unwrap().to_string();
    assert!(error.contains("step 5") && error.contains("matrix of 10"), "{error}");

    scan.header.encodings[0].limits.step_1 = None;
    assert_eq!(rows(&run(&scan).unwrap().0[0]), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn slices_are_ordered_by_place_and_averages_merged() {
    let mut scan = Scan::new(1, 4, 2);
    for (slice, z) in [(1u16, -5f32), (2, 10.0)] {
        for line in 0..2 {
            for average in 0..3 {
                scan.push(1, 4, line);
                let head = scan.heads.last_mut().unwrap();
                (head.counters.slice, head.counters.average, head.position[2]) = (slice, average, z);
            }
        }
    }
    scan.heads.last_mut().unwrap().flags = Flags::default().with(Flags::LAST_IN_MEASUREMENT);
    let (sorted, _) = run(&scan).unwrap();
    assert_eq!(sorted.iter().map(|entry| entry.key.slice).collect::<Vec<_>>(), [1, 0, 2]);
    assert_eq!((sorted[0].lines.len(), rows(&sorted[0])), (6, vec![0, 1]));
}

#[test]
fn calibration_lines_fill_rows_without_an_imaging_line() {
    let mut scan = Scan::new(1, 4, 6);
    scan.heads[1].flags = Flags::default().with(Flags::CALIBRATION);
    scan.heads[5].flags = Flags::default().with(Flags::CALIBRATION);
    scan.push(1, 4, 2);
    scan.heads[6].flags = Flags::default().with(Flags::CALIBRATION);
    let (sorted, log) = run(&scan).unwrap();
    let lines: Vec<_> = sorted[0].lines.iter().map(|line| (line.row, line.readout, line.calibrates)).collect();
    assert_eq!(lines, [(0, 0, false), (1, 1, true), (2, 2, false), (3, 3, false), (4, 4, false), (5, 5, true)]);
    assert_eq!(log.warnings, ["1 calibration lines repeat lines of the image and are left out"]);
}

#[test]
fn partitions_count_from_their_centre_and_those_of_a_2_d_scan_are_refused() {
    let mut scan = Scan::new(1, 4, 4);
    for partition in 1..3 {
        for line in 0..4 {
            scan.push(1, 4, line);
            scan.heads.last_mut().unwrap().counters.step_2 = partition;
        }
    }
    let error = run(&scan).err().unwrap().to_string();
    assert!(error.contains("partition encoding step 1"), "{error}");

    // Three partitions of a matrix of eight, the centre at step 2.
    scan.header.encodings[0].encoded.matrix[2] = 8;
    scan.header.encodings[0].limits.step_2 = Some(Limit { minimum: 0, maximum: 2, center: 2 });
    let (sorted, _) = run(&scan).unwrap();
    let partitions: BTreeSet<usize> = sorted[0].lines.iter().map(|line| line.partition).collect();
    assert_eq!(partitions.into_iter().collect::<Vec<_>>(), [2, 3, 4]);
    assert!(sorted[0].lines.is_sorted_by_key(place));
}

#[test]
fn lines_of_a_separate_calibration_scan_count_from_the_first() {
    let mut scan = Scan::new(1, 4, 4);
    let mut own = scan.header.encodings[0].clone();
    own.limits.step_1 = Some(Limit { minimum: 8, maximum: 14, center: 11 });
    scan.header.encodings.push(own);
    for line in [12, 10, 11] {
        scan.push(1, 4, line);
        let head = scan.heads.last_mut().unwrap();
        (head.counters.slice, head.encoding, head.flags) = (2, 1, Flags::default().with(Flags::CALIBRATION));
    }
    let axes = Axes { rows: 4, partitions: 1, kept: 0..1, exchanged: false };
    let sorted = |scan: &Scan| Reference::sort(scan, &triage(scan, &mut Log::default()).unwrap());
    let (key, lines) = sorted(&scan).lines.pop_first().unwrap();
    assert_eq!((key.slice, lines.iter().map(|line| line.row).collect::<Vec<_>>()), (2, vec![2, 0, 1]));
    // The centre counts from there too; one outside of the lines is not believed.
    assert_eq!(sorted(&scan).centre(&axes), 1);
    scan.header.encodings[1].limits.step_1.as_mut().unwrap().center = 12;
    assert_eq!(sorted(&scan).centre(&axes), 2);
    scan.header.encodings[1].limits.step_1.as_mut().unwrap().center = 3;
    assert_eq!(sorted(&scan).centre(&axes), 1);
}

#[test]
fn a_measurement_that_was_cut_is_told_from_one_with_missing_lines() {
    let mut scan = Scan::new(1, 4, 6);
    for line in 0..3 {
        scan.push(1, 4, line);
        scan.heads.last_mut().unwrap().counters.slice = 1;
    }
    let error = run(&scan).err().unwrap();
    assert!(matches!(error, Error::Truncated { found: 288, expected: 384, .. }), "{error}");

    scan.heads.last_mut().unwrap().flags = Flags::default().with(Flags::LAST_IN_MEASUREMENT);
    let (_, log) = run(&scan).unwrap();
    assert!(log.warnings.iter().any(|warning| warning.contains("1 of 2 entries")), "{:?}", log.warnings);

    // Of a series only the frame is lost in which it was stopped.
    let mut series = Scan::new(1, 4, 6);
    for (repetition, lines) in [(1, 6), (2, 3)] {
        for line in 0..lines {
            series.push(1, 4, line);
            series.heads.last_mut().unwrap().counters.repetition = repetition;
        }
    }
    assert!(matches!(run(&series), Err(Error::Truncated { .. })), "more may be on its way");
    series.heads.last_mut().unwrap().flags = Flags::default().with(Flags::LAST_IN_MEASUREMENT);
    let (sorted, log) = run(&series).unwrap();
    assert_eq!(sorted.iter().map(|entry| entry.key.repetition).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(log.warnings, ["the measurement was stopped: 1 of 3 frames are incomplete and left out"]);
    // Fewer averages in the last frame are no reason to lose it.
    series.heads.iter_mut().filter(|head| head.counters.repetition == 2).for_each(|head| head.counters.repetition = 0);
    assert_eq!(run(&series).unwrap().0.len(), 2);

    // Other lines than the first slice began with: not a cut.
    scan.heads.last_mut().unwrap().flags = Flags::default();
    scan.heads[6].counters.step_1 = 5;
    assert!(run(&scan).is_ok());
}
