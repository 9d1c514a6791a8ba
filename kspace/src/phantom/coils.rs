//! Receive coils: loops on two rings around the object, their fields fitted by a few plane waves.
//!
//! A plane wave times the object is the object's transform moved in k-space, so a coil's k-space is an exact finite
//! sum of moved transforms. The waves are half-integer cycles per field of view apart, which makes every move land on
//! a grid of half steps. Their period is two fields of view: smooth fields that are not periodic are fitted well.

use std::f64::consts::{PI, TAU};

use faer::linalg::solvers::Solve;
use faer::{Mat, Side, c64};
use num_complex::Complex64;

use crate::{Complex32, Error, Result};

/// Largest move along an axis, in half cycles per field of view.
pub(super) const REACH: usize = 3;
/// Waves along an axis.
pub(super) const WAVES: usize = 2 * REACH + 1;
const TERMS: usize = WAVES * WAVES;

/// Points of the fit along the diameter of the disc that is fitted.
const FIT_POINTS: i32 = 25;
/// Radius of the disc: a little more than the object.
const FIT_RADIUS: f64 = 0.48;
/// Weight that keeps the coefficients of nearly dependent waves small, relative to the number of points.
const RIDGE: f64 = 1e-7;

const RING_RADIUS: f64 = 0.68;
const RING_HEIGHT: f64 = 0.15;
const LOOP_RADIUS: f64 = 0.28;
const LOOP_SEGMENTS: u32 = 16;

/// Coefficients of the waves of each coil, `[coil][wave along y][wave along x]`, for each of `heights` (in fields of
/// view). The root sum of squares of the sensitivities is at most about 1 over all heights.
pub(super) fn fit(coils: usize, heights: &[f64]) -> Result<Vec<Vec<[[Complex32; WAVES]; WAVES]>>> {
    let points = points();
    let waves: Vec<[f64; 2]> = (0..TERMS).map(|i| [wave(i / WAVES), wave(i % WAVES)]).collect();
    let basis = Mat::from_fn(points.len(), TERMS, |p, t| {
        let ([y, x], [qy, qx]) = (points[p], waves[t]);
        cis(TAU * (qy * y + qx * x))
    });
    let ridge = RIDGE * points.len() as f64;
    let mut normal = basis.adjoint() * &basis;
    for t in 0..TERMS {
        normal[(t, t)] += c64::new(ridge, 0.0);
    }
    let factor = normal
        .llt(Side::Lower)
        .map_err(|_| Error::corrupt("the plane waves of the coils", "dependent waves", "independent ones"))?;

    let fields: Vec<Mat<c64>> =
        heights.iter().map(|&z| Mat::from_fn(points.len(), coils, |p, c| field(c, coils, points[p], z))).collect();
    let energy = |field: &Mat<c64>, p: usize| (0..coils).map(|c| field[(p, c)].norm_sqr()).sum::<f64>();
    let largest = fields.iter().flat_map(|f| (0..points.len()).map(move |p| energy(f, p))).fold(0.0, f64::max);
    let scale = 1.0 / largest.sqrt();
    Ok(fields
        .iter()
        .map(|field| {
            let solution = factor.solve(basis.adjoint() * field);
            let at = |c: usize, t: usize| {
                let value = solution[(t, c)] * scale;
                Complex32::new(value.re as f32, value.im as f32)
            };
            (0..coils).map(|c| std::array::from_fn(|y| std::array::from_fn(|x| at(c, y * WAVES + x)))).collect()
        })
        .collect())
}

/// Cycles per field of view of wave `index` along an axis.
fn wave(index: usize) -> f64 {
    (index as f64 - REACH as f64) / 2.0
}

fn cis(angle: f64) -> c64 {
    Complex64::cis(angle)
}

/// The points of the fit, (y, x) in fields of view.
fn points() -> Vec<[f64; 2]> {
    let half = FIT_POINTS / 2;
    let at = |i: i32| f64::from(i) / f64::from(half) * FIT_RADIUS;
    let square = (-half..=half).flat_map(|i| (-half..=half).map(move |j| [at(i), at(j)]));
    square.filter(|[y, x]| y.hypot(*x) <= FIT_RADIUS * 1.001).collect()
}

/// The field of loop `coil` of `coils` seen by the spins, and the phase of the object, which only ever appears with it.
fn field(coil: usize, coils: usize, [y, x]: [f64; 2], z: f64) -> c64 {
    let angle = TAU * coil as f64 / coils as f64;
    let (sin, cos) = angle.sin_cos();
    // Neighbours on different rings tell slices apart.
    let height = if coils > 1 { RING_HEIGHT * if coil.is_multiple_of(2) { 1.0 } else { -1.0 } } else { 0.0 };
    let (mut bx, mut by) = (0.0, 0.0);
    for segment in 0..LOOP_SEGMENTS {
        let (s, c) = (TAU * f64::from(segment) / f64::from(LOOP_SEGMENTS)).sin_cos();
        // The loop faces the axis: its plane is spanned by the tangent of the ring and by z.
        let from = [
            RING_RADIUS * cos - LOOP_RADIUS * c * sin,
            RING_RADIUS * sin + LOOP_RADIUS * c * cos,
            height + LOOP_RADIUS * s,
        ];
        let current = [s * sin, -s * cos, c];
        let d = [x - from[0], y - from[1], z - from[2]];
        let cube = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).powf(1.5);
        bx += (current[1] * d[2] - current[2] * d[1]) / cube;
        by += (current[2] * d[0] - current[0] * d[2]) / cube;
    }
    c64::new(bx, -by) * cis(object_phase(y, x))
}

/// A smooth phase of the object, radians.
fn object_phase(y: f64, x: f64) -> f64 {
    0.8 * x - 0.5 * y + 1.2 * x * y + 0.5 * (PI * y).cos()
}

/// The sum of a coil's waves at a point.
#[cfg(test)]
pub(super) fn sensitivity(waves: &[[Complex32; WAVES]; WAVES], y: f64, x: f64) -> Complex64 {
    let term = |j: usize, i: usize| {
        let a = waves[j][i];
        Complex64::new(a.re.into(), a.im.into()) * Complex64::cis(TAU * (wave(j) * y + wave(i) * x))
    };
    (0..TERMS).map(|t| term(t / WAVES, t % WAVES)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waves_add_up_to_the_fields() {
        let coils = 8;
        let fitted = fit(coils, &[0.0, 0.2]).unwrap();
        let (mut error, mut total) = (0.0, 0.0);
        let mut largest: f64 = 0.0;
        // Points between those of the fit.
        for step in 0..400 {
            let (radius, angle) = (0.44 * (f64::from(step) / 400.0).sqrt(), f64::from(step) * 2.4);
            let (y, x) = (radius * angle.sin(), radius * angle.cos());
            let sensitivities: Vec<c64> = fitted[0].iter().map(|waves| sensitivity(waves, y, x)).collect();
            let truth: Vec<c64> = (0..coils).map(|c| field(c, coils, [y, x], 0.0)).collect();
            let norm = |v: &[c64]| v.iter().map(|z| z.norm_sqr()).sum::<f64>();
            largest = largest.max(norm(&sensitivities));
            // The common scale is whatever fits best.
            let dot: f64 = sensitivities.iter().zip(&truth).map(|(a, b)| (a.conj() * b).re).sum();
            error += norm(&sensitivities) - dot * dot / norm(&truth);
            total += norm(&sensitivities);
        }
        assert!(error / total < 2e-4, "relative squared error {}", error / total);
        assert!(largest > 0.2 && largest < 1.1, "largest squared sensitivity {largest}");
        assert_ne!(fitted[0], fitted[1]);
    }
}
