//! Receiver noise: complex Gaussian, mildly correlated between coils, the same for a line however it is sampled.

use num_complex::Complex64;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::Complex32;

/// Size of the mixing between coils relative to each coil's own noise.
const MIXING: f64 = 0.3;

/// Streams of the generator: one for the mixing, one for the noise scan, then one per line.
const MIXING_STREAM: u64 = 0;
/// Stream of the noise scan.
pub(super) const SCAN_STREAM: u64 = 1;
/// First stream of the lines.
pub(super) const LINE_STREAM: u64 = 2;

/// A source of noise of known size.
pub(super) struct Noise {
    seed: u64,
    coils: usize,
    /// `[coil, coil]`, row-major; rows of unit norm times the standard deviation and `sqrt(1/2)`.
    mixing: Vec<Complex32>,
}

impl Noise {
    /// Noise of standard deviation `sigma` per coil (of the complex value).
    pub(super) fn new(seed: u64, coils: usize, sigma: f64) -> Self {
        let mut random = generator(seed, MIXING_STREAM);
        let size = MIXING / (2.0 * coils as f64).sqrt();
        let mut mixing = Vec::with_capacity(coils * coils);
        for coil in 0..coils {
            let mut row: Vec<Complex64> =
                (0..coils).map(|_| Complex64::new(normal(&mut random), normal(&mut random)) * size).collect();
            row[coil] += 1.0;
            let norm = row.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
            let scale = sigma / (norm * std::f64::consts::SQRT_2);
            mixing.extend(row.iter().map(|z| Complex32::new((z.re * scale) as f32, (z.im * scale) as f32)));
        }
        Self { seed, coils, mixing }
    }

    /// Adds the noise of a stream to `[coil][sample]`.
    pub(super) fn add(&self, stream: u64, samples: &mut [Complex32]) {
        let mut random = generator(self.seed, stream);
        let mut normal = || -> f32 { StandardNormal.sample(&mut random) };
        let white: Vec<Complex32> = samples.iter().map(|_| Complex32::new(normal(), normal())).collect();
        let length = samples.len() / self.coils;
        for (to, weights) in samples.chunks_exact_mut(length).zip(self.mixing.chunks_exact(self.coils)) {
            for (from, weight) in white.chunks_exact(length).zip(weights) {
                for (to, from) in to.iter_mut().zip(from) {
                    *to += weight * from;
                }
            }
        }
    }
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_stated_size_in_every_coil_and_is_correlated() {
        let (coils, length) = (4, 20_000);
        let mut samples = vec![Complex32::default(); coils * length];
        Noise::new(3, coils, 0.5).add(SCAN_STREAM, &mut samples);
        let coil = |c: usize| &samples[c * length..(c + 1) * length];
        for c in 0..coils {
            let variance = coil(c).iter().map(Complex32::norm_sqr).sum::<f32>() / length as f32;
            assert!((variance.sqrt() - 0.5).abs() < 0.01, "{variance}");
        }
        let covariance: Complex32 = coil(0).iter().zip(coil(1)).map(|(a, b)| a * b.conj()).sum();
        let correlation = covariance.norm() / length as f32 / 0.25;
        assert!(correlation > 0.03 && correlation < 0.7, "{correlation}");
    }

    #[test]
    fn is_the_same_for_the_same_stream_only() {
        let noise = Noise::new(3, 2, 1.0);
        let draw = |stream| {
            let mut samples = vec![Complex32::default(); 16];
            noise.add(stream, &mut samples);
            samples
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
