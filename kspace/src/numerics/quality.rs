//! Numbers of an image that need no reference. Magnitudes are `[y, x]`.

use ndarray::{Array2, Axis, Slice, Zip};

use super::metrics::solid;

/// The part of the pixels around the object that is darker than the one that tells the noise: ghosts are bright and hardly move it.
const DARKER: f64 = 0.25;
/// Fewer pixels than these tell nothing.
const LEAST: usize = 64;
/// Pixels next to the object that its edge may reach.
const MARGIN: usize = 2;

/// The value that `share` of the values do not exceed; `None` of none. Reorders them.
#[must_use]
pub fn percentile(values: &mut [f32], share: f64) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let at = ((last as f64 * share).round() as usize).min(last);
    Some(*values.select_nth_unstable_by(at, f32::total_cmp).1)
}

/// Where the object is: what is brighter than the threshold that parts bright from dark best (Otsu, IEEE SMC 9:62, 1979), with its gaps
/// closed and its holes filled. Nothing, where an image holds noise only.
#[must_use]
pub fn object(magnitude: &Array2<f32>) -> Array2<bool> {
    let none = Array2::from_elem(magnitude.dim(), false);
    let largest = magnitude.iter().copied().filter(|value| value.is_finite()).fold(0f32, f32::max);
    if largest <= 0.0 {
        return none;
    }
    // On the square root, so that a few very bright pixels do not set the threshold.
    const BINS: usize = 256;
    let bins = magnitude.mapv(|value| (((value / largest).max(0.0).sqrt() * BINS as f32) as usize).min(BINS - 1) as u8);
    let mut counts = [0f64; BINS];
    bins.iter().for_each(|bin| counts[usize::from(*bin)] += 1.0);
    let all: f64 = counts.iter().sum();
    let sum: f64 = counts.iter().enumerate().map(|(at, count)| at as f64 * count).sum();
    let (mut below, mut sum_below, mut best) = (0.0, 0.0, (0.0, 0));
    for (at, count) in counts.iter().enumerate() {
        below += count;
        sum_below += at as f64 * count;
        let above = all - below;
        if below > 0.0 && above > 0.0 {
            let apart = sum_below / below - (sum - sum_below) / above;
            let between = below * above * apart * apart;
            best = if between > best.0 { (between, at) } else { best };
        }
    }
    let inside = bins.mapv(|bin| usize::from(bin) > best.1);
    let mean = |wanted: bool| {
        let values = magnitude.iter().zip(&inside).filter(|(_, is)| **is == wanted).map(|(value, _)| f64::from(*value));
        let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
        sum / count.max(1) as f64
    };
    // Otsu parts noise as well: its halves are less than three times apart.
    if mean(true) < 3.0 * mean(false) { none } else { solid(&inside) }
}

/// Deviation of the real part of the noise around the object; `None` where there is too little around it. It is read from the first
/// quartile, where magnitudes of noise have a Rayleigh distribution.
#[must_use]
pub fn background_noise(magnitude: &Array2<f32>, object: &Array2<bool>) -> Option<f64> {
    let near = grown(object, MARGIN);
    let mut values: Vec<f32> =
        magnitude.iter().zip(&near).filter(|(value, near)| !**near && **value > 0.0).map(|(value, _)| *value).collect();
    if values.len() < LEAST {
        return None;
    }
    let at = (values.len() as f64 * DARKER) as usize;
    // So many values of a Rayleigh distribution are below this many deviations of the real part.
    let deviations = (-2.0 * (1.0 - DARKER).ln()).sqrt();
    Some(f64::from(*values.select_nth_unstable_by(at, f32::total_cmp).1) / deviations)
}

/// The field of view that was encoded, of which an image shows the middle where more was encoded than asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fold {
    /// Its extent in rows of the image.
    pub rows: f64,
    /// Rows of it before the first of the image.
    pub first: f64,
}

/// Signal of copies of the object that undersampling by R folds on what lies around it, over the signal of the object. The copies lie
/// n / R, 2 n / R, ... rows further, n being the rows of `fold`, and come in again at its other end; where one of them falls beside the object, the typical energy less that of the noise there is
/// theirs: `sqrt(max(M² - 2 ln(2) s², 0)) / median(m of the object)`, M the median there and s the `noise` of [`background_noise`]. Medians, since dim
/// tissue beside the object would be taken for a ghost; ghosts as weak as the noise are not seen. `None` without undersampling, or where the object fills the rows.
#[must_use]
pub fn ghosting(
    magnitude: &Array2<f32>,
    object: &Array2<bool>,
    (acceleration, fold): (usize, Fold),
    noise: f64,
) -> Option<f64> {
    if acceleration < 2 {
        return None;
    }
    let rows = magnitude.nrows();
    let near = grown(object, MARGIN);
    let mut beside = Vec::new();
    for (row, (values, near)) in magnitude.outer_iter().zip(near.outer_iter()).enumerate() {
        let copies = (1..acceleration).filter_map(|copy| {
            let moved = row as f64 + fold.first + copy as f64 * fold.rows / acceleration as f64;
            let from = (moved % fold.rows - fold.first).round();
            (from >= 0.0 && (from as usize) < rows).then(|| object.row(from as usize))
        });
        let copies: Vec<_> = copies.collect();
        for (column, (value, near)) in values.iter().zip(near).enumerate() {
            if !near && copies.iter().any(|copy| copy[column]) {
                beside.push(*value);
            }
        }
    }
    let mut inside: Vec<f32> = magnitude.iter().zip(object).filter(|(_, inside)| **inside).map(|(v, _)| *v).collect();
    if beside.len() < LEAST {
        return None;
    }
    let (copies, signal) = (f64::from(percentile(&mut beside, 0.5)?), f64::from(percentile(&mut inside, 0.5)?));
    let of_noise = 2.0 * std::f64::consts::LN_2 * noise * noise;
    Some((copies * copies - of_noise).max(0.0).sqrt() / signal.max(f64::MIN_POSITIVE))
}

/// Relative difference of two images in the 2-norm over the object, after the scale of `other` that makes it least:
/// `|a - t b| / |a|`. `None` where there is no object.
#[must_use]
pub fn difference(magnitude: &Array2<f32>, other: &Array2<f32>, object: &Array2<bool>) -> Option<f64> {
    let (mut own, mut both, mut others) = (0.0, 0.0, 0.0);
    Zip::from(magnitude).and(other).and(object).for_each(|a, b, inside| {
        if *inside {
            let (a, b) = (f64::from(*a), f64::from(*b));
            own += a * a;
            both += a * b;
            others += b * b;
        }
    });
    (own > 0.0).then(|| if others > 0.0 { (1.0 - both * both / (own * others)).max(0.0).sqrt() } else { 1.0 })
}

/// The object and what is up to `by` pixels beside it.
fn grown(object: &Array2<bool>, by: usize) -> Array2<bool> {
    let along = |of: &Array2<bool>, axis: Axis| {
        let (mut grown, length) = (of.clone(), of.len_of(axis));
        for step in 1..=by.min(length.saturating_sub(1)) {
            let (steps, all) = (step as isize, length as isize);
            for (to, from) in [((steps, all), (0, all - steps)), ((0, all - steps), (steps, all))] {
                let part = |(first, end): (isize, isize)| Slice::from(first..end);
                let from = of.slice_axis(axis, part(from));
                grown.slice_axis_mut(axis, part(to)).zip_mut_with(&from, |to, from| *to |= from);
            }
        }
        grown
    };
    along(&along(object, Axis(0)), Axis(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::random;
    use super::*;
    use crate::Complex32;

    /// That of the test images.
    const WHOLE: Fold = Fold { rows: 120.0, first: 0.0 };

    fn inside(row: usize, column: usize) -> bool {
        ((row as f32 - 60.0) / 24.0).hypot((column as f32 - 50.0) / 36.0) < 1.0
    }

    /// A disc of signal 20 with a dark hole, noise of deviation `noise` in its real part, and a ghost half the rows away.
    fn image(noise: f32, ghost: f32) -> Array2<f32> {
        let random = random((1, 120, 100), 3);
        Array2::from_shape_fn((120, 100), |(row, column)| {
            let hole = (row as f32 - 60.0).hypot(column as f32 - 50.0) < 5.0;
            let copied = inside((row + 60) % 120, column);
            let signal = if inside(row, column) && !hole {
                20.0
            } else if copied {
                20.0 * ghost
            } else {
                0.0
            };
            (random[[0, row, column]] * noise + signal).norm()
        })
    }

    #[test]
    fn the_object_has_no_holes_and_noise_is_none() {
        let found = object(&image(1.0, 0.0));
        let wrong = found.indexed_iter().filter(|((row, column), is)| inside(*row, *column) != **is).count();
        assert!(wrong < 60, "{wrong}");
        let noise = random((1, 60, 60), 9).remove_axis(ndarray::Axis(0)).mapv(Complex32::norm);
        assert!(!object(&noise).iter().any(|is| *is));
        assert!(!object(&Array2::zeros((8, 8))).iter().any(|is| *is));
    }

    #[test]
    fn noise_and_ghosts_are_told_apart() {
        for noise in [0.3, 1.0] {
            for ghost in [0.0, 0.05, 0.2] {
                let image = image(noise, ghost);
                let object = object(&image);
                let found = background_noise(&image, &object).unwrap();
                // The noise of the test is uniform, and a third of what is around the object is ghost.
                let most = if ghost > 0.0 { 1.6 } else { 1.35 };
                assert!(found < most * f64::from(noise) && found > 0.95 * f64::from(noise), "{noise} {ghost}: {found}");
                let level = ghosting(&image, &object, (2, WHOLE), found).unwrap();
                // The object has a signal of 20, and ghosts as weak as the noise are not seen.
                let blind = 1.1 * f64::from(noise) / 20.0;
                assert!((level - f64::from(ghost)).abs() < blind.max(0.03), "{noise} {ghost}: {level}");
            }
        }
        assert_eq!(ghosting(&image(1.0, 0.0), &object(&image(1.0, 0.0)), (1, WHOLE), 1.0), None);
    }

    #[test]
    fn copies_are_looked_for_in_the_field_of_view_that_was_encoded() {
        // Of 120 rows half was asked for and shows the object: with R = 2 its copy lies outside, with R = 4 beside it.
        let whole = Array2::from_shape_fn((240, 100), |(row, column)| {
            let at = |moved: usize| inside((row + 240 - 60 - moved) % 240, column);
            if at(0) {
                20.0
            } else if at(60) || at(120) || at(180) {
                4.0
            } else {
                0.1
            }
        });
        let image = whole.slice(ndarray::s![60..180, ..]).to_owned();
        let object = Array2::from_shape_fn((120, 100), |(row, column)| inside(row, column));
        let fold = Fold { rows: 240.0, first: 60.0 };
        assert_eq!(ghosting(&image, &object, (2, fold), 0.0), None);
        let level = ghosting(&image, &object, (4, fold), 0.0).unwrap();
        assert!((level - 0.2).abs() < 0.01, "{level}");
    }

    #[test]
    fn a_scale_is_no_difference_and_nothing_in_common_is_all() {
        let (a, b) = (image(0.5, 0.0), image(0.5, 0.0).mapv(|value| 3.0 * value));
        let all = Array2::from_elem(a.dim(), true);
        assert!(difference(&a, &b, &all).unwrap() < 1e-6);
        assert_eq!(difference(&a, &Array2::zeros(a.dim()), &all), Some(1.0));
        assert_eq!(difference(&a, &b, &Array2::from_elem(a.dim(), false)), None);
    }

    proptest! {
        #[test]
        fn what_is_grown_reaches_so_far_in_both_directions(rows in 1usize..8, columns in 1usize..8, by in 0usize..9, bits: u64) {
            let object = Array2::from_shape_fn((rows, columns), |(y, x)| bits >> (y * columns + x) & 1 == 1);
            for ((y, x), found) in grown(&object, by).indexed_iter() {
                let near = |(v, u): (usize, usize)| y.abs_diff(v) <= by && x.abs_diff(u) <= by;
                prop_assert_eq!(*found, object.indexed_iter().any(|(at, is)| *is && near(at)));
            }
        }
    }
}
