//! Image quality against a reference.
//!
//! Every measure first multiplies the image by the one factor that fits the reference best (least squares over the
//! signal), so that the unit of the image does not matter.
//!
//! - **Signal**: pixels where the reference is above 8 % of its maximum.
//! - **Object**: the signal, closed (three steps with a cross) and with its holes filled.
//! - NRMSE: `|image - reference| / |reference|` over the signal.
//! - PSNR: `20 log10(max(reference) / RMS error)` over the object, dB.
//! - SSIM: Wang et al., IEEE TIP 13:600, 2004, 7x7 uniform window, K1 0.01, K2 0.03, sample covariance, both images
//!   zero outside the object and divided by the maximum of the reference; mean over the object.

use ndarray::{Array2, Axis, Zip, s};

use super::resample::mirrored;

const SIGNAL_THRESHOLD: f64 = 0.08;
const CLOSING_STEPS: usize = 3;
const WINDOW: usize = 7;

/// The image times the factor that every measure multiplies it by; `None` when the shapes differ.
#[must_use]
pub fn fitted(image: &Array2<f32>, reference: &Array2<f32>) -> Option<Array2<f32>> {
    Comparison::new(image, reference).map(|it| it.image.mapv(|value| value as f32))
}

/// Normalised root-mean-square error over the signal; 0 is perfect. Not a number when the shapes differ.
#[must_use]
pub fn nrmse(image: &Array2<f32>, reference: &Array2<f32>) -> f64 {
    Comparison::new(image, reference).map_or(f64::NAN, |it| it.nrmse())
}

/// Peak signal-to-noise ratio in the object, dB. Not a number when the shapes differ.
#[must_use]
pub fn psnr(image: &Array2<f32>, reference: &Array2<f32>) -> f64 {
    Comparison::new(image, reference).map_or(f64::NAN, |it| it.psnr())
}

/// Structural similarity in the object; 1 is perfect. Not a number when the shapes differ.
#[must_use]
pub fn ssim(image: &Array2<f32>, reference: &Array2<f32>) -> f64 {
    Comparison::new(image, reference).map_or(f64::NAN, |it| it.ssim())
}

struct Comparison {
    image: Array2<f64>,
    reference: Array2<f64>,
    signal: Array2<bool>,
    object: Array2<bool>,
    peak: f64,
}

impl Comparison {
    fn new(image: &Array2<f32>, reference: &Array2<f32>) -> Option<Self> {
        if image.dim() != reference.dim() || image.is_empty() {
            return None;
        }
        let mut image = image.mapv(f64::from);
        let reference = reference.mapv(f64::from);
        let peak = reference.fold(f64::NEG_INFINITY, |peak, value| peak.max(*value));
        let signal = reference.mapv(|value| value > SIGNAL_THRESHOLD * peak);
        let (mut cross, mut own) = (0.0, 0.0);
        Zip::from(&image).and(&reference).and(&signal).for_each(|image, reference, signal| {
            if *signal {
                cross += image * reference;
                own += image * image;
            }
        });
        let scale = cross / own.max(1e-30);
        image.mapv_inplace(|value| value * scale);
        let object = fill_holes(&(&close(&signal) | &signal));
        Some(Self { image, reference, signal, object, peak })
    }

    /// Sums of the squared error and of the squared reference over `mask`, and its number of pixels.
    fn squares(&self, mask: &Array2<bool>) -> (f64, f64, f64) {
        let mut sums = (0.0, 0.0, 0.0);
        Zip::from(&self.image).and(&self.reference).and(mask).for_each(|image, reference, inside| {
            if *inside {
                sums.0 += (image - reference).powi(2);
                sums.1 += reference * reference;
                sums.2 += 1.0;
            }
        });
        sums
    }

    fn nrmse(&self) -> f64 {
        let (error, reference, _) = self.squares(&self.signal);
        (error / reference).sqrt()
    }

    fn psnr(&self) -> f64 {
        let (error, _, pixels) = self.squares(&self.object);
        20.0 * (self.peak / (error / pixels).sqrt()).log10()
    }

    fn ssim(&self) -> f64 {
        let inside = |image: &Array2<f64>| {
            Zip::from(image)
                .and(&self.object)
                .map_collect(|value, inside| if *inside { value / self.peak } else { 0.0 })
        };
        let (x, y) = (inside(&self.reference), inside(&self.image));
        let (mean_x, mean_y) = (box_mean(&x), box_mean(&y));
        let sample = (WINDOW * WINDOW) as f64 / (WINDOW * WINDOW - 1) as f64;
        let var_x = (box_mean(&(&x * &x)) - &mean_x * &mean_x) * sample;
        let var_y = (box_mean(&(&y * &y)) - &mean_y * &mean_y) * sample;
        let cov = (box_mean(&(&x * &y)) - &mean_x * &mean_y) * sample;
        let (c1, c2) = (0.01f64.powi(2), 0.03f64.powi(2));
        let (mut sum, mut pixels) = (0.0, 0.0);
        for (at, inside) in self.object.indexed_iter() {
            if *inside {
                let luminance = (2.0 * mean_x[at] * mean_y[at] + c1) / (mean_x[at].powi(2) + mean_y[at].powi(2) + c1);
                sum += luminance * (2.0 * cov[at] + c2) / (var_x[at] + var_y[at] + c2);
                pixels += 1.0;
            }
        }
        sum / pixels
    }
}

/// Mean over a [`WINDOW`] square, the border mirrored with its edge pixel repeated.
fn box_mean(image: &Array2<f64>) -> Array2<f64> {
    let mut output = image.clone();
    for axis in [Axis(0), Axis(1)] {
        for mut line in output.lanes_mut(axis) {
            let length = line.len() as isize;
            let source = line.to_vec();
            let value = |at: isize| source[mirrored(at, source.len())];
            let half = (WINDOW / 2) as isize;
            for at in 0..length {
                line[at as usize] = (at - half..=at + half).map(value).sum::<f64>() / WINDOW as f64;
            }
        }
    }
    output
}

fn neighbours((row, column): (usize, usize), (rows, columns): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
    let up = row.checked_sub(1).map(|row| (row, column));
    let left = column.checked_sub(1).map(|column| (row, column));
    let down = (row + 1 < rows).then_some((row + 1, column));
    let right = (column + 1 < columns).then_some((row, column + 1));
    [up, left, down, right].into_iter().flatten()
}

/// A region with its gaps closed and its holes filled.
pub(super) fn solid(mask: &Array2<bool>) -> Array2<bool> {
    fill_holes(&close(mask))
}

/// Dilation, then erosion; outside the image nothing is set.
fn close(mask: &Array2<bool>) -> Array2<bool> {
    let grown = (0..CLOSING_STEPS).fold(mask.clone(), |mask, _| with_neighbours(&mask, |a, b| a | b));
    (0..CLOSING_STEPS).fold(grown, |mask, _| with_neighbours(&mask, |a, b| a & b))
}

/// Every pixel and its four neighbours as one, which outside the image are not set.
fn with_neighbours(mask: &Array2<bool>, either: impl Fn(bool, bool) -> bool) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let mut padded = Array2::from_elem((rows + 2, columns + 2), false);
    padded.slice_mut(s![1..rows + 1, 1..columns + 1]).assign(mask);
    let mut all = mask.clone();
    for (down, right) in [(0, 1), (2, 1), (1, 0), (1, 2)] {
        let beside = padded.slice(s![down..down + rows, right..right + columns]);
        all.zip_mut_with(&beside, |to, beside| *to = either(*to, *beside));
    }
    all
}

/// Sets everything that cannot be reached from the border without crossing `mask`.
fn fill_holes(mask: &Array2<bool>) -> Array2<bool> {
    let (rows, columns) = mask.dim();
    let mut filled = Array2::from_elem(mask.dim(), true);
    let mut open: Vec<_> = (0..rows)
        .flat_map(|row| [(row, 0), (row, columns - 1)])
        .chain((0..columns).flat_map(|column| [(0, column), (rows - 1, column)]))
        .collect();
    while let Some(at) = open.pop() {
        if filled[at] && !mask[at] {
            filled[at] = false;
            open.extend(neighbours(at, mask.dim()));
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn disc(size: usize, hole: bool) -> Array2<f32> {
        Array2::from_shape_fn((size, size), |(y, x)| {
            let r = (y as f32 - size as f32 / 2.0).hypot(x as f32 - size as f32 / 2.0);
            if r < size as f32 * 0.4 && !(hole && r < size as f32 * 0.2) { 1.0 + 0.1 * (x as f32).sin() } else { 0.0 }
        })
    }

    #[test]
    fn scale_does_not_matter_and_equality_is_perfect() {
        let reference = disc(40, true);
        let image = reference.mapv(|value| 37.5 * value);
        assert!(nrmse(&image, &reference) < 1e-7);
        assert!(psnr(&image, &reference) > 120.0);
        assert!((ssim(&image, &reference) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_known_error_gives_the_number_computed_by_hand() {
        // A constant 1 with an error of +-0.1 on every other column: the best scale is 1 / 1.01.
        let reference = Array2::from_elem((20, 20), 1f32);
        let image = Array2::from_shape_fn((20, 20), |(_, x)| if x % 2 == 0 { 1.1 } else { 0.9 });
        let scale = 1.0 / 1.01;
        let expected = (0.5 * ((1.1 * scale - 1f64).powi(2) + (0.9 * scale - 1f64).powi(2))).sqrt();
        assert!((nrmse(&image, &reference) - expected).abs() < 1e-6);
        assert!((psnr(&image, &reference) + 20.0 * expected.log10()).abs() < 1e-4);
    }

    #[test]
    fn the_object_includes_its_holes() {
        let reference = disc(60, true);
        let comparison = Comparison::new(&reference, &reference).unwrap();
        assert!(!comparison.signal[[30, 30]] && comparison.object[[30, 30]]);
        assert!(!comparison.object[[0, 0]]);
        // An error inside the hole counts for PSNR and not for NRMSE.
        let mut image = reference.clone();
        image[[30, 30]] = 1.0;
        assert!(nrmse(&image, &reference) < 1e-7);
        assert!(psnr(&image, &reference) < 60.0);
    }

    #[test]
    fn shapes_that_differ_have_no_score() {
        assert!(psnr(&disc(20, false), &disc(21, false)).is_nan());
    }

    proptest! {
        #[test]
        fn neighbours_beyond_the_edge_are_not_set(rows in 1usize..8, columns in 1usize..8, bits: u64) {
            let mask = Array2::from_shape_fn((rows, columns), |(y, x)| bits >> (y * columns + x) & 1 == 1);
            let of = |at: (usize, usize)| neighbours(at, mask.dim()).map(|at| mask[at]).collect::<Vec<_>>();
            let (any, all) = (with_neighbours(&mask, |a, b| a | b), with_neighbours(&mask, |a, b| a & b));
            for (at, set) in mask.indexed_iter() {
                prop_assert_eq!(any[at], *set || of(at).contains(&true));
                prop_assert_eq!(all[at], *set && of(at) == [true; 4]);
            }
        }
    }
}
