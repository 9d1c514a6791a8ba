//! The phase between lines of the two directions, measured on navigator lines and taken out.
//!
//! A delay of the gradients shifts lines to the right and to the left in turn, and eddy currents turn their phase. In hybrid
//! space, after the inverse transform along the readout, a line from right to left carries the phase
//! `constant + slope (x - n / 2)` more than one from left to right. Navigator lines without phase encoding show it.
//!
//! For every coil the products `P(x)` of a line with the conjugate of one of the other direction are summed. A line
//! is compared with the mean of its two neighbours, which cancels the phase that grows from echo to echo off resonance. The
//! slope starts as the angle of the autocorrelation of `P` at lag 1 (Ahn and Cho, IEEE Trans Med Imaging 6:32, 1987), then
//! slope and constant are refined to the maximum of `Re sum P(x) exp(-i (constant + slope (x - n / 2)))`, where noise
//! outside the object, being of random phase, adds little. Coils are fitted together first; a coil with a clear
//! signal gets its own values, because receivers and coil housings have their own delays.

use num_complex::Complex64;

use crate::Complex32;

/// Coherence of all coils below which navigators hold no usable signal; that of noise falls with the points, from half at 32.
const USABLE: f64 = 0.6;
/// Coherence above which a coil is corrected by what it alone shows.
const CLEAR: f64 = 0.95;
/// Newton's method doubles the correct digits in every step.
const STEPS: usize = 8;

/// A navigator line in hybrid space.
#[derive(Debug, Clone, Copy)]
pub struct Navigator<'a> {
    /// Whether it was travelled from right to left.
    pub reversed: bool,
    /// `[coil, x]`, mirrored and regridded as the lines of the image are.
    pub rows: &'a [Complex32],
}

/// Phase of reversed lines relative to the others in hybrid space: `constant + slope (x - n / 2)`.
///
/// Only reversed lines are corrected. Half of the correction on either direction would be as good for one shot, but half of
/// a constant is ambiguous by half a turn, which would set the shots of a segmented scan against each other.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PhaseCorrection {
    /// rad.
    pub constant: f64,
    /// rad per point of hybrid space; cropping readout oversampling does not change it.
    pub slope: f64,
}

/// What the navigators of a shot show.
#[derive(Debug, Clone, PartialEq)]
pub struct ShotCorrection {
    /// One for each coil.
    pub coils: Vec<PhaseCorrection>,
    /// All coils together, for the record.
    pub combined: PhaseCorrection,
    /// How well the model explains the navigators, from 0 for noise to 1.
    pub coherence: f64,
    /// Whether the phase that grows from echo to echo could be told from the one between directions, which takes three
    /// navigators in turn; with two of them it stays in the constant.
    pub drift_cancelled: bool,
}

impl PhaseCorrection {
    /// Corrects a reversed line in hybrid space, `[x]` with the centre at `n / 2`.
    pub fn apply(&self, row: &mut [Complex32]) {
        let left = row.len() / 2;
        self.turn(row, -(left as f64));
    }

    /// The same where the centre is at index 0 and the left half follows the right one, as a plain Fourier transform leaves
    /// it.
    pub fn apply_origin_first(&self, row: &mut [Complex32]) {
        let left = row.len() / 2;
        let (right, behind) = row.split_at_mut(row.len() - left);
        self.turn(right, 0.0);
        self.turn(behind, -(left as f64));
    }

    /// Corrects consecutive points, of which the first lies at `x`, relative to the centre.
    fn turn(&self, row: &mut [Complex32], x: f64) {
        let mut factor = Complex64::cis(-(self.constant + self.slope * x));
        let step = Complex64::cis(-self.slope);
        for value in row {
            *value *= Complex32::new(factor.re as f32, factor.im as f32);
            factor *= step;
        }
    }
}

/// Measures the phase between the directions from the navigators of a shot, in the order of their acquisition, for rows of
/// `points` points. `None` where they do not hold lines of both directions next to each other and of equal size, or
/// nothing but noise.
#[must_use]
pub fn estimate(navigators: &[Navigator<'_>], points: usize) -> Option<ShotCorrection> {
    let length = navigators.first()?.rows.len();
    let fits = points > 1 && length > 0 && length % points == 0;
    if !fits || navigators.iter().any(|it| it.rows.len() != length) {
        return None;
    }
    let (products, drift_cancelled) = products(navigators)?;
    let mut sum = vec![Complex64::default(); points];
    for row in products.chunks_exact(points) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let (combined, coherence) = fit(&sum).filter(|(_, coherence)| *coherence >= USABLE)?;
    let own = |row: &[Complex64]| fit(row).filter(|(_, coherence)| *coherence >= CLEAR).map_or(combined, |it| it.0);
    let coils = products.chunks_exact(points).map(own).collect();
    Some(ShotCorrection { coils, combined, coherence, drift_cancelled })
}

/// `reversed * conj(forward)`, `[coil, x]`, of every line and the mean of its neighbours, or of pairs where no line has two
/// neighbours of the other direction.
fn products(navigators: &[Navigator<'_>]) -> Option<(Vec<Complex64>, bool)> {
    let mut sum = vec![Complex64::default(); navigators.first()?.rows.len()];
    let mut add = |one: &Navigator<'_>, other: &Navigator<'_>| {
        let (reversed, forward) = if one.reversed { (one, other) } else { (other, one) };
        for ((sum, reversed), forward) in sum.iter_mut().zip(reversed.rows).zip(forward.rows) {
            *sum += wide(*reversed) * wide(*forward).conj();
        }
    };
    let mut found = false;
    for three in navigators.windows(3) {
        if three[0].reversed != three[1].reversed && three[1].reversed != three[2].reversed {
            add(&three[0], &three[1]);
            add(&three[2], &three[1]);
            found = true;
        }
    }
    if found {
        return Some((sum, true));
    }
    for two in navigators.windows(2) {
        if two[0].reversed != two[1].reversed {
            add(&two[0], &two[1]);
            found = true;
        }
    }
    found.then_some((sum, false))
}

/// Constant and slope of the phase of `product`, and the share of its magnitude that agrees with them.
fn fit(product: &[Complex64]) -> Option<(PhaseCorrection, f64)> {
    let centre = (product.len() / 2) as f64;
    let magnitude: f64 = product.iter().map(|value| value.norm()).sum();
    if !(magnitude > 0.0 && magnitude.is_finite()) {
        return None;
    }
    let lag: Complex64 = product.windows(2).map(|pair| pair[1] * pair[0].conj()).sum();
    let mut slope = lag.arg();
    // Sums of P, x P and x x P after the slope is taken out.
    let moments = |slope: f64| {
        product.iter().enumerate().fold([Complex64::default(); 3], |[zero, one, two], (at, value)| {
            let x = at as f64 - centre;
            let value = value * Complex64::cis(-slope * x);
            [zero + value, one + value * x, two + value * x * x]
        })
    };
    let mut best = moments(slope);
    for _ in 0..STEPS {
        // With the best constant, the derivatives by the slope of |sum P exp(-i slope x)|.
        let turn = Complex64::cis(-best[0].arg());
        let [zero, one, two] = best.map(|moment| moment * turn);
        let curvature = two.re - one.re * one.re / zero.re;
        let trial = slope + one.im / curvature;
        if !(curvature > 0.0 && trial.is_finite()) {
            break;
        }
        let next = moments(trial);
        if next[0].norm() <= best[0].norm() {
            break;
        }
        (slope, best) = (trial, next);
    }
    Some((PhaseCorrection { constant: best[0].arg(), slope }, best[0].norm() / magnitude))
}

fn wide(value: Complex32) -> Complex64 {
    Complex64::new(value.re.into(), value.im.into())
}

#[cfg(test)]
mod tests;
