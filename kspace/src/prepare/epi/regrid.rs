//! Ramp sampling undone: from samples evenly spaced in time to points evenly spaced in k-space.
//!
//! The position of a sample in k-space is the area that the gradient has passed. Where the spacing of samples is nowhere
//! wider than `g`, they determine an object of width `1 / g` (Yen, IRE Trans Circuit Theory 3:251, 1956). Nothing is assumed
//! of an object but that it lies in this width, and rather in its inner part than at its rim. The best linear estimate
//! of the points `j` from samples `n`, uniform resampling in the words of Rosenfeld (MRM 40:14, 1998), is then
//!
//! `M = C (G + lambda I)^-1`, `G[n, m] = s(k_n - k_m)`, `C[j, n] = s(k_j - k_n)`,
//!
//! where `s` is the Fourier transform of that expectation, a sum of two sinc functions. It holds for whatever lies in the
//! width, in or outside the field of view that is kept later, and it leaves samples as they are that are evenly spaced
//! already.

use std::f64::consts::{PI, TAU};

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side, c32};

use crate::format::header::Ramp;
use crate::{Complex32, Error, Result};

/// Regularisation, the noise power over the signal power of a sample; small enough for errors below a thousandth
/// in the middle of the width, where the field of view of an oversampled readout is.
const LAMBDA: f64 = 1e-6;
/// Width of the inner part, and how much of the energy is expected to be spread over it rather than over the whole width.
const INNER: (f64, f64) = (0.8, 0.9);
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
        let Ramp { up_us, flat_us, down_us, delay_us, dwell_us, .. } = *ramp;
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
    /// `offset` is the distance of the slice from the isocentre along the gradient of a line from left to right, over the encoded
    /// field of view. Receivers shift their frequency by what the plateau of the gradient asks for, which on
    /// the ramps is too much and would blur slices that are off-centre. Signals are taken as `exp(i 2 pi k x)` of a
    /// distance x, the convention of scanners, in which Gadgetron and twixtools agree (twixtools takes the same factors for
    /// reversed lines, whose receiver turns the other way round). 0 changes nothing.
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
        let (width, share) = INNER;
        let kernel = |distance: f64| share * sinc(width * distance / widest) + (1.0 - share) * sinc(distance / widest);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A readout of the product sequence of a scanner.
    const SCANNER: Ramp =
        Ramp { up_us: 160.0, flat_us: 240.0, down_us: 160.0, delay_us: 32.0, dwell_us: 3.1, against_read_dir: false };

    /// Area of the gradient until `time`, summed in small steps.
    fn summed(ramp: &Ramp, time: f64) -> f64 {
        const STEPS: usize = 4000;
        let total = ramp.up_us + ramp.flat_us + ramp.down_us;
        let gradient = |time: f64| {
            let rising = if time < ramp.up_us { time / ramp.up_us } else { 1.0 };
            let rest = total - time;
            rising.min(if rest < ramp.down_us { rest / ramp.down_us } else { 1.0 })
        };
        (0..STEPS).map(|it| gradient((it as f64 + 0.5) / STEPS as f64 * time)).sum::<f64>() * time / STEPS as f64
    }

    /// Positions of the samples of a line and those of the points, in points from the centre.
    fn positions(ramp: &Ramp, samples: usize, points: usize, reversed: bool) -> (Vec<f64>, Vec<f64>) {
        let centre = summed(ramp, ramp.up_us + ramp.flat_us + ramp.down_us) / 2.0;
        let at = |sample: f64| summed(ramp, ramp.delay_us + ramp.dwell_us * sample);
        let spacing = (at(samples as f64) - at(0.0)) / points as f64;
        let sign = if reversed { -1.0 } else { 1.0 };
        let taken = (0..samples).map(|it| sign * (at(it as f64 + 0.5) - centre) / spacing).collect();
        (taken, (0..points).map(|it| it as f64 - (points as f64 - 1.0) / 2.0).collect())
    }

    /// Signal of a few points of an object at `k`.
    fn signal(object: &[(f64, f64)], k: &[f64]) -> Vec<Complex32> {
        let at = |k: f64| object.iter().map(|(x, phase)| cis(phase - TAU * k * x)).sum();
        k.iter().map(|k| at(*k)).collect()
    }

    fn error(found: &[Complex32], expected: &[Complex32]) -> f32 {
        let difference: f32 = found.iter().zip(expected).map(|(a, b)| (a - b).norm_sqr()).sum();
        (difference / expected.iter().map(Complex32::norm_sqr).sum::<f32>()).sqrt()
    }

    /// Error of a line at the points that lie between its samples, relative to the signal that its object has on average.
    fn interior_error(ramp: &Ramp, samples: usize, points: usize, reversed: bool, object: &[(f64, f64)]) -> f32 {
        let (taken, wanted) = positions(ramp, samples, points, reversed);
        let widest = taken.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
        let object: Vec<_> = object.iter().map(|(x, phase)| (x / widest, *phase)).collect();
        let mut row = vec![Complex32::default(); points];
        Regrid::new(ramp, samples, points).unwrap().apply(reversed, 0.0, &signal(&object, &taken), &mut row);
        let (low, high) = taken.iter().fold((f64::MAX, f64::MIN), |(low, high), k| (low.min(*k), high.max(*k)));
        let expected = signal(&object, &wanted);
        let squares = row.iter().zip(&expected).zip(&wanted);
        let squares = squares.filter(|(_, k)| low <= **k && **k <= high).map(|((a, b), _)| (a - b).norm_sqr());
        let (count, sum) = squares.fold((0, 0.0), |(count, sum), it| (count + 1, sum + it));
        (sum / (count * object.len()) as f32).sqrt()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn objects_come_back_to_evenly_spaced_points(
            (up_us, flat_us, down_us) in (80f64..300.0, 100f64..400.0, 80f64..300.0),
            (before, after) in (0f64..0.2, 0f64..0.2),
            (samples, points) in (64usize..180, 48usize..180),
            reversed: bool,
            // The middle of the width, which is the field of view of a readout with twofold oversampling.
            object in prop::collection::vec((-0.25f64..0.25, 0f64..TAU), 1..6),
        ) {
            let total = up_us + flat_us + down_us;
            let dwell_us = (total - up_us * before - down_us * after) / samples as f64;
            let ramp = Ramp { up_us, flat_us, down_us, delay_us: up_us * before, dwell_us, ..Ramp::default() };
            let error = interior_error(&ramp, samples, points, reversed, &object);
            prop_assert!(error < 1e-3, "{error}");
        }

        #[test]
        fn even_samples_stay_as_they_are(samples in 2usize..100, reversed: bool, seed in 0f64..10.0) {
            let ramp = Ramp { flat_us: 500.0, dwell_us: 500.0 / samples as f64, ..Ramp::default() };
            let taken: Vec<_> = (0..2 * samples).map(|it| cis(seed * (it * it) as f64)).collect();
            let mut rows = vec![Complex32::default(); 2 * samples];
            Regrid::new(&ramp, samples, samples).unwrap().apply(reversed, 0.0, &taken, &mut rows);
            for (line, row) in taken.chunks(samples).zip(rows.chunks_mut(samples)) {
                if reversed {
                    row.reverse();
                }
                prop_assert!(error(row, line) < 1e-5, "{}", error(row, line));
            }
        }
    }

    #[test]
    fn symmetric_gradients_serve_both_directions_alike() {
        let regrid = Regrid::new(&SCANNER, 160, 160).unwrap();
        assert_eq!((regrid.samples(), regrid.points()), (160, 160));
        let mut line: Vec<_> = (0..160).map(|it| cis((it * it) as f64)).collect();
        let (mut there, mut back) = (vec![Complex32::default(); 160], vec![Complex32::default(); 160]);
        regrid.apply(false, 0.02, &line, &mut there);
        line.reverse();
        regrid.apply(true, 0.02, &line, &mut back);
        assert!(error(&back, &there) < 1e-5);
    }

    #[test]
    fn a_receiver_of_constant_frequency_is_followed() {
        let (taken, wanted) = positions(&SCANNER, 160, 160, false);
        let (object, offset) = ([(0.1, 0.0), (-0.2, 2.0)], 0.15);
        let slope = taken[80] - taken[79];
        // What is left at the receiver of a slice whose signal turns by exp(i 2 pi k offset).
        let ahead = |sample: usize| taken[sample] - slope * (sample as f64 - 79.5);
        let signals = signal(&object, &taken);
        let received: Vec<_> =
            signals.iter().enumerate().map(|(it, value)| value * cis(TAU * offset * ahead(it))).collect();
        let mut row = vec![Complex32::default(); 160];
        let regrid = Regrid::new(&SCANNER, 160, 160).unwrap();
        regrid.apply(false, 0.0, &received, &mut row);
        assert!(error(&row, &signal(&object, &wanted)) > 0.3);
        regrid.apply(false, offset, &received, &mut row);
        assert!(error(&row, &signal(&object, &wanted)) < 1e-3);
    }

    #[test]
    fn impossible_gradients_are_named() {
        let message = |ramp: Ramp, samples, points| Regrid::new(&ramp, samples, points).err().unwrap().to_string();
        assert!(message(Ramp { dwell_us: 4.0, ..SCANNER }, 160, 160).contains("within the 560 us"));
        assert!(message(Ramp { dwell_us: f64::NAN, ..SCANNER }, 160, 160).contains("not negative"));
        assert!(message(Ramp { up_us: -1.0, ..SCANNER }, 160, 160).contains("not negative"));
        assert!(message(Ramp::default(), 160, 160).contains("not negative"));
        assert!(message(SCANNER, 1, 160).contains("1 samples"));
        assert!(message(SCANNER, 160, 60_000).contains("60000"));
        assert!(message(Ramp { delay_us: 1e300, dwell_us: 1e300, ..SCANNER }, 160, 160).contains("within"));
        let vast =
            Ramp { up_us: 1e200, flat_us: 1e200, down_us: 1e200, delay_us: 0.0, dwell_us: 1e-200, ..Ramp::default() };
        assert!(Regrid::new(&vast, 160, 160).is_err());
    }
}
