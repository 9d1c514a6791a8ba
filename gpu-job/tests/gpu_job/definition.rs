//! The networks as the paper defines them: plain loops in double precision, nothing shared with the backends but the
//! order of weights.

use gpu_job::raki::layout::{KERNEL_3, KERNEL_KY, TAPS};
use gpu_job::raki::{Layout, Weights};
use kspace::Complex32;
use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) fn random_kspace(coils: usize, lines: usize, samples: usize, seed: u64) -> Array3<Complex32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Array3::from_shape_simple_fn((coils, lines, samples), || {
        Complex32::new(random.random_range(-1.0..1.0), random.random_range(-1.0..1.0))
    })
}

/// Weights in double precision, `[layer][network][...]` flattened as in [`Weights`].
#[derive(Clone)]
pub(crate) struct Wide {
    pub(crate) layout: Layout,
    pub(crate) layers: [Vec<f64>; 3],
}

impl Wide {
    pub(crate) fn new(weights: &Weights) -> Self {
        let layers = std::array::from_fn(|at| weights.layers[at].iter().map(|w| f64::from(*w)).collect());
        Self { layout: weights.layout, layers }
    }

    /// A random direction of unit length in each layer.
    pub(crate) fn direction(like: &Weights, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let layers = like.layout.weights().map(|count| {
            let values: Vec<f64> = (0..like.networks * count).map(|_| random.random_range(-1.0..1.0)).collect();
            let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
            values.into_iter().map(|v| v / length).collect()
        });
        Self { layout: like.layout, layers }
    }

    pub(crate) fn moved(&self, layer: usize, direction: &Self, by: f64) -> Self {
        let mut moved = self.clone();
        for (value, direction) in moved.layers[layer].iter_mut().zip(&direction.layers[layer]) {
            *value += by * direction;
        }
        moved
    }
}

/// Real channels of k-space: real parts of all coils, then imaginary parts.
fn plane(kspace: &Array3<Complex32>, channel: usize, line: usize, kx: usize) -> f64 {
    let coils = kspace.dim().0;
    let sample = kspace[[channel % coils, line, kx]];
    f64::from(if channel < coils { sample.re } else { sample.im })
}

/// The sum that a ReLU is taken of.
struct Sum {
    value: f64,
    /// What rounding of it is measured by: the sum of the magnitudes of its terms, and of theirs.
    size: f64,
}

impl Sum {
    fn of(terms: impl Iterator<Item = (f64, f64)>) -> Self {
        terms.fold(Self { value: 0.0, size: 0.0 }, |sum, (term, size)| Self {
            value: sum.value + term,
            size: sum.size + size,
        })
    }

    fn relu(&self) -> f64 {
        self.value.max(0.0)
    }
}

/// The sums of the first and the second layer of a network for the support that begins at line `p` and sample `first`.
fn features(weights: &Wide, kspace: &Array3<Complex32>, network: usize, p: usize, first: usize) -> [Vec<Sum>; 2] {
    let Layout { acceleration: r, kernel_1, hidden: [features_1, features_2], .. } = weights.layout;
    let [count_1, count_2, _] = weights.layout.weights();
    let channels = weights.layout.channels();
    let mut inputs = Vec::with_capacity(weights.layout.inputs());
    for channel in 0..channels {
        for dy in 0..KERNEL_KY {
            inputs.extend((0..kernel_1).map(|dx| plane(kspace, channel, p + dy * r, first + dx)));
        }
    }
    let kernels = |layer: usize, from: usize, length: usize| weights.layers[layer][from..].chunks(length);
    let hidden_1: Vec<Sum> = kernels(0, network * count_1, inputs.len())
        .take(features_1)
        .map(|kernel| Sum::of(kernel.iter().zip(&inputs).map(|(w, x)| (w * x, (w * x).abs()))))
        .collect();
    let hidden_2 = kernels(1, network * count_2, features_1)
        .take(features_2)
        .map(|kernel| Sum::of(kernel.iter().zip(&hidden_1).map(|(w, h)| (w * h.relu(), w.abs() * h.size))))
        .collect();
    [hidden_1, hidden_2]
}

/// Outputs of a network for the support that begins at line `p` and is centred at sample `kx`.
fn predict(weights: &Wide, kspace: &Array3<Complex32>, network: usize, p: usize, kx: usize) -> Vec<f64> {
    let Layout { acceleration: r, hidden: [_, features_2], .. } = weights.layout;
    let outputs = weights.layout.outputs();
    let count_3 = weights.layout.weights()[2];
    let mut predicted = vec![0.0; outputs];
    for tap in 0..TAPS {
        let (dy, dx) = (tap / KERNEL_3, tap % KERNEL_3);
        let [_, features] = features(weights, kspace, network, p + dy * r, kx - weights.layout.margin() + dx);
        for (output, value) in predicted.iter_mut().enumerate() {
            let at = network * count_3 + (tap * outputs + output) * features_2;
            let kernel = &weights.layers[2][at..at + features_2];
            *value += kernel.iter().zip(&features).map(|(w, h)| w * h.relu()).sum::<f64>();
        }
    }
    predicted
}

/// How near the sum before a ReLU comes to zero anywhere in [`loss`], as a fraction of its size. Nearer than rounding, a
/// feature may be on in one precision and off in another: gradients differ then, and none of them is wrong.
pub(crate) fn nearest_kink(weights: &Wide, calibration: &Array3<Complex32>, window: std::ops::Range<usize>) -> f64 {
    let lines = calibration.dim().1;
    let networks = weights.layers[0].len() / weights.layout.weights()[0];
    let mut nearest = f64::INFINITY;
    for network in 0..networks {
        for p in 0..lines - weights.layout.acceleration {
            for first in window.start..window.end + KERNEL_3 - 1 {
                let sums = features(weights, calibration, network, p, first);
                // With all features before it off, a sum is zero in every precision, and stays so.
                let sums = sums.iter().flatten().filter(|sum| sum.value != 0.0);
                let distances = sums.map(|sum| sum.value.abs() / sum.size);
                nearest = distances.fold(nearest, f64::min);
            }
        }
    }
    nearest
}

/// Sum over the networks of the norm of the residual over `lines`, each sample times its weight `[ky, kx]`, for valid
/// columns `window`.
pub(crate) fn loss(
    weights: &Wide,
    calibration: &Array3<Complex32>,
    of_sample: impl Fn(usize, usize) -> f64,
    window: std::ops::Range<usize>,
) -> f64 {
    let (r, margin) = (weights.layout.acceleration, weights.layout.margin());
    let lines = calibration.dim().1;
    let mut loss = 0.0;
    let channels = weights.layout.channels();
    for network in 0..weights.layers[0].len() / weights.layout.weights()[0] {
        let mut square = 0.0;
        for p in 0..lines - 2 * r {
            for kx in window.clone().map(|column| column + margin) {
                let predicted = predict(weights, calibration, network, p, kx);
                for (output, value) in predicted.iter().enumerate() {
                    let target = plane(calibration, network % channels, p + 1 + output, kx);
                    square += (of_sample(p + 1 + output, kx) * (value - target)).powi(2);
                }
            }
        }
        loss += square.sqrt();
    }
    loss
}

/// The predicted sample of a missing line, k-space padded with zeros.
pub(crate) fn missing(
    weights: &Wide,
    kspace: &Array3<Complex32>,
    mask: &[bool],
    offset: usize,
    coil: usize,
    line: usize,
    kx: usize,
) -> (f64, f64) {
    let (coils, lines, samples) = kspace.dim();
    let r = weights.layout.acceleration;
    let margin = weights.layout.margin();
    // Room for two grid lines before and after, and for half a support on both sides.
    let mut padded = Array3::zeros((coils, lines + 4 * r, samples + 2 * margin));
    for ky in (0..lines).filter(|ky| mask[*ky] && ky % r == offset) {
        for coil in 0..coils {
            for kx in 0..samples {
                padded[[coil, ky + 2 * r, kx + margin]] = kspace[[coil, ky, kx]];
            }
        }
    }
    let past = (line + r - offset) % r;
    let p = line + 2 * r - past;
    let value = |network| predict(weights, &padded, network, p, kx + margin)[past - 1];
    (value(coil), value(coils + coil))
}
