//! Finds the calibration scan of an image in another measurement.

use std::collections::BTreeMap;

use super::coils::Coils;
use super::lend::{Fit, Lender, Loan, choose, of_image};
use crate::format::header::Trajectory;
use crate::format::{Flags, RawScan, ReadoutHead};

const WHAT: &str = "calibration scan";
/// Cosine of the angle above which directions differ: one degree, as for parallel slices.
const SAME_DIRECTION: f64 = 0.99985;
/// Slices farther apart are other slices, mm. Coils look alike over such a distance, and scanners repeat positions exactly.
const SAME_POSITION_MM: f64 = 0.5;
/// Slices of a scan that lie at one height, such as those of a localiser.
const MOST_AT_ONE_HEIGHT: usize = 64;

/// Whether a scan brings calibration lines that are marked as such.
pub(super) fn has_own(image: &dyn RawScan) -> bool {
    let marked = |head: &ReadoutHead| {
        head.is_calibration() || head.is_imaging() && head.flags.has(Flags::CALIBRATION_AND_IMAGING)
    };
    image.heads().iter().any(marked)
}

/// Whether the header of an image asks for calibration.
pub(super) fn is_accelerated(image: &dyn RawScan) -> bool {
    let stated = of_image(image).and_then(|encoding| encoding.acceleration);
    stated.is_some_and(|factors| factors.iter().any(|factor| *factor > 1.0))
}

/// The calibration scan of an image without calibration lines of its own: the one that its header names; else the last one, of the
/// same file before others, that has its coils, its field of view and its slices. `None` where there is none or the image
/// has its own; the reason where none fits. With it stands which of `lenders` it is.
pub(super) fn find(image: &dyn RawScan, file: usize, lenders: &[Lender]) -> Option<Fit<(usize, Loan)>> {
    if has_own(image) {
        return None;
    }
    let coils = Coils::of(image, ReadoutHead::is_imaging);
    let names = &image.header().dependencies;
    let found = choose(
        lenders,
        file,
        |header| header.measurement_id.as_ref().is_some_and(|id| names.contains(id)),
        |lender, stated| {
            let scan = lender.scan.as_ref();
            let others = Coils::of(scan, ReadoutHead::is_calibration);
            let order = coils.order(&others, WHAT, stated)?;
            check_encoding(image, scan)?;
            Ok((others.channels, order, slices(image, scan)?))
        },
    )?;
    // Readouts refer to the encodings of their own header, which come after those of the image.
    let shift = image.header().encodings.len() as u16;
    Some(found.map(|(number, (channels, order, slices))| {
        let loan = Loan::new(&lenders[number].scan, channels, order, |head| {
            // Phase correction lines correct the calibration lines of an echo planar scan.
            let wanted = head.is_calibration() || head.flags.has(Flags::PHASE_CORRECTION);
            let slice = slices.get(&head.counters.slice).filter(|_| wanted)?;
            let mut adopted = ReadoutHead { encoding: head.encoding.saturating_add(shift), ..*head };
            adopted.counters.slice = *slice;
            Some(adopted)
        });
        (number, loan)
    }))
}

/// Whether k-space is sampled in lines that are as far apart as those of the image.
fn check_encoding(image: &dyn RawScan, calibration: &dyn RawScan) -> Fit<()> {
    let lines = calibration.heads().iter().find(|head| head.is_line());
    let own = lines.and_then(|head| calibration.header().encodings.get(usize::from(head.encoding)));
    let (Some(of_image), Some(own)) = (of_image(image), own) else {
        return Err(format!("{WHAT} has readouts without an encoding"));
    };
    if matches!(own.trajectory, Trajectory::Other(_)) {
        return Err(format!("{WHAT} is not Cartesian"));
    }
    let axes = if of_image.encoded.matrix[2] > 1 { 1..3 } else { 1..2 };
    if !axes.into_iter().all(|axis| own.encoded.has_spacing_of(&of_image.encoded, axis)) {
        return Err(format!("{WHAT} covers another field of view than the image"));
    }
    Ok(())
}

/// Which slice of the image each slice of the calibration is, by position and directions where both state them, else by number.
/// Slices that the image does not have are left out.
fn slices(image: &dyn RawScan, calibration: &dyn RawScan) -> Fit<BTreeMap<u16, u16>> {
    let (wanted, offered) = (places(image, ReadoutHead::is_imaging), places(calibration, ReadoutHead::is_calibration));
    let known = wanted.values().chain(offered.values()).all(Place::is_known);
    let pairs: BTreeMap<u16, u16> = if known {
        // By their height along one direction, so that not every slice is compared with every other.
        let Some(axis) = wanted.values().next().map(|place| place.directions[2]) else { return Ok(BTreeMap::new()) };
        let height = |place: &Place| dot(axis, place.position);
        let mut sorted: Vec<(f64, u16, &Place)> =
            offered.iter().map(|(number, place)| (height(place), *number, place)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let same = |(number, place): (&u16, &Place)| {
            // Where positions were not filled in, all slices lie at one place.
            if offered.get(number).is_some_and(|other| place.is_same(other)) {
                return Some((*number, *number));
            }
            let from = sorted.partition_point(|(at, ..)| *at < height(place) - SAME_POSITION_MM);
            let mut near = sorted[from..].iter().take(MOST_AT_ONE_HEIGHT);
            near.find(|(.., other)| place.is_same(other)).map(|(_, other, _)| (*other, *number))
        };
        wanted.iter().filter_map(same).collect()
    } else {
        wanted.keys().filter(|number| offered.contains_key(number)).map(|number| (*number, *number)).collect()
    };
    let missing = wanted.len() - pairs.len();
    if missing > 0 {
        return Err(format!("{WHAT} lacks {missing} of the {} slices of the image", wanted.len()));
    }
    Ok(pairs)
}

/// Where a slice lies in the patient.
struct Place {
    position: [f64; 3],
    /// Read, phase and slice direction.
    directions: [[f64; 3]; 3],
}

fn places(scan: &dyn RawScan, kind: fn(&ReadoutHead) -> bool) -> BTreeMap<u16, Place> {
    let mut places = BTreeMap::new();
    for head in scan.heads().iter().filter(|head| kind(head)) {
        places.entry(head.counters.slice).or_insert_with(|| Place {
            position: head.position.map(f64::from),
            directions: [head.read_dir, head.phase_dir, head.slice_dir].map(|direction| direction.map(f64::from)),
        });
    }
    places
}

impl Place {
    /// Whether all three directions are stated.
    fn is_known(&self) -> bool {
        let stated = |direction: &[f64; 3]| (dot(*direction, *direction) - 1.0).abs() < 0.1;
        self.directions.iter().all(stated) && self.position.iter().all(|at| at.is_finite())
    }

    /// Whether lines of both are lines of one k-space: a shift within the slice would turn the phase of each line otherwise.
    fn is_same(&self, other: &Self) -> bool {
        let apart = [0, 1, 2].map(|axis| self.position[axis] - other.position[axis]);
        let parallel =
            |(a, b): (&[f64; 3], &[f64; 3])| dot(*a, *b) >= SAME_DIRECTION * (dot(*a, *a) * dot(*b, *b)).sqrt();
        dot(apart, apart).sqrt() <= SAME_POSITION_MM && self.directions.iter().zip(&other.directions).all(parallel)
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
