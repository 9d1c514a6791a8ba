//! Noise prewhitening (Pruessmann et al., MRM 46:638, 2001): `inv(L)` of the Cholesky factor of the noise covariance,
//! applied over the coils, makes their noise independent and of equal size.

use std::collections::BTreeSet;

use contract::prepared::Step;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side, c64};
use ndarray::Array2;
use num_complex::Complex64;
use serde_json::json;

use super::Log;
use super::mixing::Mixing;
use super::triage::Triage;
use crate::format::RawScan;
use crate::prepared::all_finite;
use crate::{Complex32, Error, Result};

/// Noise bandwidth of a receiver relative to `1 / dwell time`, where the header does not state it.
const DEFAULT_BANDWIDTH: f64 = 0.793;
/// Complex variance of whitened noise of a known size: the real and the imaginary part have a variance of 1 each.
pub(super) const VARIANCE: f64 = 2.0;
/// Samples a channel below which a covariance is more guess than measurement.
const SAMPLES_PER_CHANNEL: usize = 4;
/// Smallest over largest diagonal element of the Cholesky factor below which a channel adds nothing of its own.
const SINGULAR: f64 = 1e-5;

/// The measured noise and the matrix that whitens it.
pub(super) struct Whitening {
    /// `[coil, coil]`, mean of `x_i conj(x_j)` over the noise samples.
    pub(super) covariance: Array2<Complex32>,
    /// Lower triangular.
    pub(super) mixing: Mixing,
    /// Whether the dwell times are known, so that the noise has the size that [`plan`] states.
    pub(super) sized: bool,
}

/// Measures the noise. Afterwards the real and the imaginary part of noise have variance 1 each, when both dwell times
/// are known; the noise scan often has another one than the image. `None`, with a warning, where it cannot be done.
///
/// # Errors
/// [`Error::Corrupt`] for noise samples that are not numbers, and errors of `raw`.
pub(super) fn plan(raw: &dyn RawScan, triage: &Triage<'_>, log: &mut Log) -> Result<Option<Whitening>> {
    let coils = triage.coils;
    let usable = |index: &&usize| raw.heads().get(**index).is_some_and(|head| usize::from(head.channels) == coils);
    let readouts: Vec<usize> = triage.noise.iter().filter(usable).copied().collect();
    let samples: usize =
        readouts.iter().filter_map(|index| raw.heads().get(*index)).map(|h| usize::from(h.samples)).sum();
    if triage.noise.is_empty() {
        log.warn("no noise scan: coils are not prewhitened, and noisy coils weigh as much as quiet ones");
        return Ok(None);
    }
    if readouts.is_empty() {
        let channels: BTreeSet<u16> =
            triage.noise.iter().filter_map(|index| raw.heads().get(*index)).map(|head| head.channels).collect();
        let channels = channels.iter().map(u16::to_string).collect::<Vec<_>>().join(" and ");
        log.warn(format!("noise scan has {channels} channels, the image {coils}: coils are not prewhitened"));
        return Ok(None);
    }
    if samples < SAMPLES_PER_CHANNEL * coils {
        log.warn(format!(
            "noise scan too small: {samples} samples of {coils} channels, at least {} are needed; coils are not prewhitened",
            SAMPLES_PER_CHANNEL * coils
        ));
        return Ok(None);
    }

    let mut sum = Mat::<c64>::zeros(coils, coils);
    for index in &readouts {
        let noise = raw.samples(*index)?;
        if noise.is_empty() || noise.len() % coils != 0 || !all_finite(&noise) {
            let found = format!("{} samples, not all of them numbers of {coils} channels", noise.len());
            return Err(Error::corrupt("noise scan", found, "finite samples of every channel"));
        }
        let wide: Vec<c64> = noise.iter().map(|value| c64::new(value.re.into(), value.im.into())).collect();
        let wide = MatRef::from_row_major_slice(&wide, coils, noise.len() / coils);
        matmul(sum.as_mut(), Accum::Add, wide, wide.adjoint(), c64::new(1.0, 0.0), Par::Seq);
    }
    let scale = 1.0 / (samples - 1) as f64;
    let covariance = Mat::from_fn(coils, coils, |row, column| sum[(row, column)] * scale);

    let dwell = |index: Option<&usize>| {
        let head = index.and_then(|index| raw.heads().get(*index));
        head.map_or(0.0, |head| f64::from(head.sample_time_us)).max(0.0)
    };
    let (dwell_noise, dwell_image) = (dwell(readouts.first()), dwell(triage.imaging.first()));
    let bandwidth = raw.header().system.relative_noise_bandwidth.filter(|it| *it > 0.0 && it.is_finite());
    let bandwidth = bandwidth.unwrap_or(DEFAULT_BANDWIDTH);
    let known = dwell_noise > 0.0 && dwell_image > 0.0 && dwell_noise.is_finite() && dwell_image.is_finite();
    let scale = if known { (2.0 * dwell_image / dwell_noise * bandwidth).sqrt() } else { 1.0 };

    let Some(inverse) = inverse_factor(&covariance) else {
        log.warn(
            "noise scan without independent noise in every channel (a dead or doubled coil): coils are not prewhitened",
        );
        return Ok(None);
    };
    let narrow = |value: Complex64| Complex32::new(value.re as f32, value.im as f32);
    let mixing = Mixing::from_fn(coils, coils, |to, from| narrow(inverse[(to, from)] * scale));
    log.step(
        Step::PREWHITEN,
        [
            ("noise_samples", json!(samples)),
            ("dwell_noise_us", json!(dwell_noise)),
            ("dwell_us", json!(dwell_image)),
            ("relative_noise_bandwidth", json!(bandwidth)),
            ("scale", json!(scale)),
        ],
    );
    let covariance = Array2::from_shape_fn((coils, coils), |at| narrow(covariance[at]));
    Ok(Some(Whitening { covariance, mixing, sized: known }))
}

/// Inverse of the lower Cholesky factor; `None` for a matrix that is singular within rounding.
fn inverse_factor(covariance: &Mat<c64>) -> Option<Mat<c64>> {
    let factor = covariance.llt(Side::Lower).ok()?;
    let lower = factor.L();
    let diagonal = (0..lower.nrows()).map(|row| lower[(row, row)].re);
    let (smallest, largest) =
        diagonal.fold((f64::INFINITY, 0f64), |(low, high), value| (low.min(value), high.max(value)));
    if !(smallest > SINGULAR * largest && largest.is_finite()) {
        return None;
    }
    let mut inverse = Mat::<c64>::identity(lower.nrows(), lower.nrows());
    faer::linalg::triangular_solve::solve_lower_triangular_in_place(lower, inverse.as_mut(), Par::Seq);
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::format::Flags;
    use crate::prepare::testing::Scan;
    use crate::prepare::triage::triage;

    /// A scan whose first readout is correlated noise of dwell time 5 us, and whose image has `dwell` us.
    fn noisy(coils: u16, samples: u16, dwell: f32) -> Scan {
        let mut scan = Scan::new(coils, samples, 4);
        scan.heads[0].flags = Flags::default().with(Flags::NOISE);
        scan.heads[1..].iter_mut().for_each(|head| head.sample_time_us = dwell);
        scan.header.system.relative_noise_bandwidth = Some(1.0);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let count = usize::from(samples);
        let mut normal = || StandardNormal.sample(&mut rng);
        let own: Vec<Complex32> = (0..usize::from(coils) * count).map(|_| Complex32::new(normal(), normal())).collect();
        let coils = usize::from(coils);
        scan.samples[0] = (0..coils * count)
            .map(|at| {
                let (coil, sample) = (at / count, at % count);
                let other = own[(coil + 1) % coils * count + sample];
                (own[at] * (1.0 + coil as f32) + other * Complex32::new(0.3, -0.6)) * 1e-6
            })
            .collect();
        scan
    }

    #[test]
    fn noise_has_unit_covariance_afterwards() {
        let scan = noisy(6, 4000, 5.0);
        let mut log = Log::default();
        let whitening = plan(&scan, &triage(&scan, &mut log).unwrap(), &mut log).unwrap().unwrap();
        let mut white = vec![Complex32::default(); scan.samples[0].len()];
        whitening.mixing.apply(&scan.samples[0], &mut white);
        for row in 0..6 {
            for column in 0..6 {
                let (a, b) = (&white[row * 4000..][..4000], &white[column * 4000..][..4000]);
                let mean = a.iter().zip(b).map(|(a, b)| a * b.conj()).sum::<Complex32>() / 4000.0;
                // Real and imaginary part of variance 1 each.
                let expected = if row == column { 2.0 } else { 0.0 };
                assert!((mean - expected).norm() < 0.01, "{row} {column}: {mean}");
            }
        }
        assert!(log.warnings.is_empty());
        assert_eq!(log.steps[1].parameters["noise_samples"], 4000);
    }

    #[test]
    fn a_shorter_dwell_time_of_the_noise_scan_is_accounted_for() {
        let mut log = Log::default();
        let scan = noisy(2, 400, 20.0);
        let slow = plan(&scan, &triage(&scan, &mut log).unwrap(), &mut log).unwrap().unwrap();
        let scan = noisy(2, 400, 0.0);
        let unknown = plan(&scan, &triage(&scan, &mut log).unwrap(), &mut log).unwrap().unwrap();
        // sqrt(2 * 20 / 5) against 1.
        assert!((slow.mixing.value(0, 0) / unknown.mixing.value(0, 0) - 8f32.sqrt()).norm() < 1e-4);
    }

    #[test]
    fn what_cannot_be_whitened_is_said() {
        let warning = |scan: &Scan| {
            let mut log = Log::default();
            let triage = triage(scan, &mut log).unwrap();
            assert!(plan(scan, &triage, &mut log).unwrap().is_none());
            log.warnings.join(" ")
        };
        assert!(warning(&Scan::new(2, 8, 4)).contains("no noise scan"));
        assert!(warning(&noisy(4, 15, 5.0)).contains("15 samples of 4 channels"));
        let mut other = noisy(4, 100, 5.0);
        other.heads[0].channels = 2;
        assert_eq!(warning(&other), "noise scan has 2 channels, the image 4: coils are not prewhitened");
        let mut dead = noisy(3, 100, 5.0);
        dead.samples[0][100..200].fill(Complex32::default());
        assert!(warning(&dead).contains("dead"));
    }

    #[test]
    fn noise_that_is_not_a_number_is_corrupt() {
        let mut scan = noisy(3, 100, 5.0);
        scan.samples[0][7].im = f32::NAN;
        let mut log = Log::default();
        let triage = triage(&scan, &mut log).unwrap();
        assert!(matches!(plan(&scan, &triage, &mut log), Err(Error::Corrupt { .. })));
    }
}
