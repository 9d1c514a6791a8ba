//! Ramp sampling undone: from samples evenly spaced in time to points evenly spaced in k-space.
//!
//! The position of a sample in k-space is the area that the gradient has passed. Where the spacing of samples is nowhere
//! wider than `g`, they determine an object of width `1 / g`. For such objects, of which nothing else is assumed, the
//! best linear estimate of point `j` from samples `n` (Yen, IRE Trans Circuit Theory 3:251, 1956; as uniform resampling
//! in Rosenfeld, MRM 40:14, 1998) is
//!
//! `M = C (G + lambda I)^-1`, `G[n, m] = sinc((k_n - k_m) / g)`, `C[j, n] = sinc((k_j - k_n) / g)`.
//!
//! It is exact within `lambda` for whatever lies in that width, in or outside the field of view that is kept later, and
//! it leaves samples as they are that are evenly spaced already.

use std::f64::consts::{PI, TAU};

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side, c32};

use crate::format::header::Ramp;
use crate::{Complex32, Error, Result};

/// Regularisation, the noise power over the signal power of a sample; errors of objects in the field of view stay below
/// a thousandth, and noise grows nowhere in the image.
const LAMBDA: f64 = 1e-5;
/// No echo planar readout has more samples or points; a matrix of their product is held.
const MAX_LENGTH: usize = 2048;

/// The operator of a scan for both directions.
pub struct Regrid {
    forward: Direction,
    reversed: Direction,
}

struct Direction {
    /// `[sample, point]`; samples in the order of their acquisition, points from left to right.
    matrix: Mat<c32>,
    /// By how much each sample is ahead of a gradient without ramps, in cycles across the encoded field of view.
    ahead: Vec<f64>,
}

impl Regrid {
    /// Prepares lines of `samples` samples on `ramp` for a matrix of `points`. The points share the area of the gradient
    /// that is sampled; they lie symmetrically around the centre of k-space, so that mirrored lines have the same points,
    /// and `points / 2` is the first on the right of the centre or on it. A sample stands for the middle of its dwell time,
    /// and the first dwell time begins after the delay.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for times that make no gradient or that leave samples outside of it, [`Error::Limit`] for
    /// readouts longer than any.
    pub fn new(ramp: &Ramp, samples: usize, points: usize) -> Result<Self> {
        let longest = samples.max(points);
        if longest > MAX_LENGTH {
            let (found, limit) = (longest as u64, MAX_LENGTH as u64);
            return Err(Error::Limit { what: "echo planar readout in samples", found, limit });
        }
        if samples < 2 || points < 2 {
            let found = format!("{samples} samples for {points} points");
            return Err(Error::corrupt("echo planar readout", found, "at least 2 of either"));
        }
        let Ramp { up_us, flat_us, down_us, delay_us, dwell_us } = *ramp;
        let times = [up_us, flat_us, down_us, delay_us, dwell_us];
        let total = up_us + flat_us + down_us;
        let acquired = dwell_us * samples as f64;
        if !(times.iter().all(|time| time.is_finite() && *time >= 0.0) && total > 0.0 && dwell_us > 0.0) {
            let found =
                format!("ramps of {up_us} and {down_us} us, a plateau of {flat_us} us, a dwell time of {dwell_us} us");
            return Err(Error::corrupt("gradient of the echo planar readout", found, "times that are not negative"));
        }
        // Times are rounded to the raster of the gradients, so the last sample may look a little late.
        if delay_us + acquired > total + dwell_us {
            let found = format!("samples from {delay_us} to {} us", delay_us + acquired);
            let expected = format!("samples within the {total} us of the gradient");
            return Err(Error::corrupt("gradient of the echo planar readout", found, expected));
        }
        let mirrored =
            Ramp { up_us: down_us, down_us: up_us, delay_us: (total - delay_us - acquired).max(0.0), ..*ramp };
        let forward = Direction::new(ramp, samples, points)?;
        let mut reversed = Direction::new(&mirrored, samples, points)?;
        reversed.matrix = Mat::from_fn(samples, points, |row, column| reversed.matrix[(samples - 1 - row, column)]);
        reversed.ahead.reverse();
        Ok(Self { forward, reversed })
    }

    /// Points of a row.
    #[must_use]
    pub fn points(&self) -> usize {
        self.forward.matrix.ncols()
    }

    /// Samples of a line.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.forward.matrix.nrows()
    }

    /// Writes `samples`, `[coil, sample]` in the order of their acquisition, to `rows`, `[coil, point]` from left to
    /// right; a rest that makes no whole line is left out.
    ///
    /// `offset` is the distance of the slice from the isocentre along the readout (position times readout direction)
    /// over the encoded field of view. Receivers shift their frequency by what the plateau of the gradient asks for, which on
    /// the ramps is too much and would blur slices that are off-centre.
    pub fn apply(&self, reversed: bool, offset: f64, samples: &[Complex32], rows: &mut [Complex32]) {
        let direction = if reversed { &self.reversed } else { &self.forward };
        let coils = (samples.len() / self.samples()).min(rows.len() / self.points());
        let centred: Vec<Complex32>;
        let mut lines = &samples[..coils * self.samples()];
        if offset != 0.0 {
            let factors: Vec<_> = direction.ahead.iter().map(|it| cis(-TAU * offset * it)).collect();
            centred = lines.iter().zip(factors.iter().cycle()).map(|(sample, factor)| sample * factor).collect();
            lines = &centred;
        }
        matmul(
            MatMut::from_row_major_slice_mut(&mut rows[..coils * self.points()], coils, self.points()),
            Accum::Replace,
            MatRef::from_row_major_slice(lines, coils, self.samples()),
            direction.matrix.as_ref(),
            Complex32::new(1.0, 0.0),
            Par::Seq,
        );
    }
}

impl Direction {
    /// The operator for samples from left to right.
    fn new(ramp: &Ramp, samples: usize, points: usize) -> Result<Self> {
        let begin = |sample: usize| ramp.delay_us + ramp.dwell_us * sample as f64;
        let spacing = (area(ramp, begin(samples)) - area(ramp, begin(0))) / points as f64;
        let centre = area(ramp, f64::INFINITY) / 2.0;
        let time = |sample: usize| begin(sample) + ramp.dwell_us / 2.0;
        let position: Vec<f64> = (0..samples).map(|it| (area(ramp, time(it)) - centre) / spacing).collect();
        let widest = position.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        if !(widest > 0.0 && widest.is_finite()) {
            return Err(Error::corrupt("gradient of the echo planar readout", "no area under the samples", "an area"));
        }
        let kernel = |distance: f64| sinc(distance / widest);
        let gram = Mat::from_fn(samples, samples, |row, column| {
            kernel(position[row] - position[column]) + if row == column { LAMBDA } else { 0.0 }
        });
        let left = (points - 1) as f64 / 2.0;
        let cross = Mat::from_fn(samples, points, |sample, point| kernel(position[sample] - (point as f64 - left)));
        let factor = gram.llt(Side::Lower).map_err(|_| {
            Error::corrupt("gradient of the echo planar readout", "samples that determine no line", "rising positions")
        })?;
        let weights = factor.solve(&cross);
        // The regularisation shortens by 1 / (1 + lambda) what it leaves as it is otherwise.
        let matrix = Mat::from_fn(samples, points, |row, column| {
            c32::new((weights[(row, column)] * (1.0 + LAMBDA)) as f32, 0.0)
        });
        // On the plateau the two agree.
        let even = |time: f64| (time - ramp.up_us / 2.0 - centre) / spacing;
        let ahead = position.iter().enumerate().map(|(sample, it)| it - even(time(sample))).collect();
        Ok(Self { matrix, ahead })
    }
}

/// Area under a trapezoid of height 1 until `time`.
fn area(ramp: &Ramp, time: f64) -> f64 {
    let Ramp { up_us: up, flat_us: flat, down_us: down, .. } = *ramp;
    let time = time.clamp(0.0, up + flat + down);
    let rest = up + flat + down - time;
    if time < up {
        time * time / (2.0 * up)
    } else if rest < down {
        up / 2.0 + flat + down / 2.0 - rest * rest / (2.0 * down)
    } else {
        time - up / 2.0
    }
}

fn sinc(x: f64) -> f64 {
    let x = PI * x;
    if x.abs() < 1e-9 { 1.0 } else { x.sin() / x }
}

fn cis(angle: f64) -> Complex32 {
    Complex32::new(angle.cos() as f32, angle.sin() as f32)
}
