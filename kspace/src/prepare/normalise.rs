//! Normalisation: samples of every scan have the same size, whatever units the scanner counts in.
//!
//! Samples are divided by the power of two next to the largest calibration sample. A power of two costs no bit of precision, so
//! a multiplication by the factor gives back what was measured.

use contract::prepared::Step;
use serde_json::json;

use super::Log;
use super::probe::Probe;

/// Exponents whose powers are exact and leave room for sums of squares in single precision.
const EXPONENTS: (f32, f32) = (-60.0, 60.0);

/// The factor that samples are to be divided by; 1 for a scan without signal.
pub(super) fn plan(probes: &[Probe], log: &mut Log) -> f32 {
    let largest = probes.iter().flat_map(|probe| &probe.samples).map(|sample| sample.norm()).fold(0.0f32, f32::max);
    let factor = if largest > 0.0 && largest.is_finite() {
        largest.log2().round().clamp(EXPONENTS.0, EXPONENTS.1).exp2()
    } else {
        1.0
    };
    log.step(Step::NORMALISE, [("factor", json!(factor))]);
    factor
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Complex32;

    proptest! {
        #[test]
        fn the_largest_sample_becomes_about_one_and_none_loses_a_bit(value in 1e-12f32..1e12, other in 0.0f32..1.0) {
            let samples = vec![Complex32::new(0.0, value), Complex32::new(-value * other, 0.0)];
            let factor = plan(&[Probe { samples: samples.clone(), rows: 1, points: 2, of_image: true }], &mut Log::default());
            let largest = (samples[0] / factor).norm();
            prop_assert!((0.7..1.42).contains(&largest), "{largest}");
            for sample in samples {
                prop_assert_eq!(sample * (1.0 / factor) * factor, sample);
            }
        }
    }

    #[test]
    fn a_scan_without_signal_stays_as_it_is() {
        assert_eq!(plan(&[], &mut Log::default()), 1.0);
    }
}
