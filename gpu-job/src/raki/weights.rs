//! Weights of the networks, their initial values, and the windows of the readout.

use std::ops::Range;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::layout::{Domain, Layout};
use super::parameters::Parameters;

/// Standard deviation of initial weights; draws beyond two of them are drawn again.
const DEVIATION: f32 = 0.1;

/// Weights of some networks of a slice, or anything of their shape, such as a gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Sizes of the networks.
    pub layout: Layout,
    /// Number of networks.
    pub networks: usize,
    /// Layers, row-major: `[network, hidden 1, input]`, `[network, hidden 2, hidden 1]`,
    /// `[network, tap, output, hidden 2]`.
    pub layers: [Vec<f32>; 3],
}

impl Weights {
    /// Zeros for a number of networks.
    #[must_use]
    pub fn zeros(layout: Layout, networks: usize) -> Self {
        Self { layout, networks, layers: layout.weights().map(|count| vec![0.0; networks * count]) }
    }

    /// Truncated normal values, smaller in layer 1 where it has many inputs, see [`Parameters::pace`]. Every network has a stream
    /// of its own, so that a network starts from the same
    /// values whichever others are drawn with it.
    #[must_use]
    pub fn initial(layout: Layout, parameters: &Parameters, entry: u64, networks: Range<usize>) -> Self {
        let mut weights = Self::zeros(layout, networks.len());
        let deviations = [DEVIATION * parameters.pace(layout) as f32, DEVIATION, DEVIATION];
        for (at, network) in networks.enumerate() {
            let mut random = generator(parameters.seed, 1 + entry, network as u64);
            for ((layer, count), deviation) in weights.layers.iter_mut().zip(layout.weights()).zip(deviations) {
                for weight in &mut layer[at * count..(at + 1) * count] {
                    *weight = deviation * truncated_normal(&mut random);
                }
            }
        }
        weights
    }

    /// The networks of several parts, in their order. `parts` have one layout.
    #[must_use]
    pub fn concatenate(layout: Layout, parts: &[Self]) -> Self {
        let mut whole = Self { layout, networks: 0, layers: Default::default() };
        for part in parts {
            whole.networks += part.networks;
            for (layer, piece) in whole.layers.iter_mut().zip(&part.layers) {
                layer.extend_from_slice(piece);
            }
        }
        whole
    }

    /// A range of the networks.
    #[must_use]
    pub fn part(&self, networks: Range<usize>) -> Self {
        let counts = self.layout.weights();
        Self {
            layout: self.layout,
            networks: networks.len(),
            layers: std::array::from_fn(|at| {
                self.layers[at][networks.start * counts[at]..networks.end * counts[at]].to_vec()
            }),
        }
    }
}

fn generator(seed: u64, purpose: u64, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&purpose.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(stream);
    random
}

fn truncated_normal(random: &mut ChaCha8Rng) -> f32 {
    loop {
        let value: f32 = StandardNormal.sample(random);
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

/// The window of valid columns of every step. It depends on the seed and not on the entry, so that slices of one
/// size can be trained as one tensor. Windows cover the readout pass after pass, each time in another order and from another
/// column on: with windows drawn one by one, luck decides how much the last steps see of the strongest columns, and images of many coils
/// differed by 2 dB with the seed.
#[must_use]
pub fn windows(domain: Domain, parameters: &Parameters) -> Vec<Range<usize>> {
    let columns = domain.valid_columns();
    let width = parameters.columns(domain);
    let mut random = generator(parameters.seed, 0, 0);
    let count = columns.div_ceil(width);
    let mut windows = Vec::with_capacity(parameters.iterations);
    while windows.len() < parameters.iterations {
        // What windows of this width cover beyond the readout, shared between its ends.
        let before = random.random_range(0..=count * width - columns);
        let mut pass: Vec<Range<usize>> = (0..count)
            .map(|at| (at * width).saturating_sub(before).min(columns - width))
            .map(|start| start..start + width)
            .collect();
        pass.shuffle(&mut random);
        windows.extend(pass);
    }
    windows.truncate(parameters.iterations);
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAYOUT: Layout = Layout { coils: 3, acceleration: 4, kernel_1: 5, hidden: [32, 8] };

    #[test]
    fn initial_weights_have_the_deviation_of_a_truncated_normal() {
        // Of 32 coils, four times the inputs of 8 with seven samples: half the deviation, but for the published training.
        for (layout, parameters, deviation) in [
            (Layout { coils: 8, ..LAYOUT }, Parameters::paper(), 0.1),
            (Layout { coils: 32, kernel_1: 7, ..LAYOUT }, Parameters::weighted(), 0.05),
            (Layout { coils: 32, ..LAYOUT }, Parameters::published(), 0.1),
        ] {
            let weights = Weights::initial(layout, &parameters, 0, 0..16);
            let layer = &weights.layers[0];
            let square = layer.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / layer.len() as f64;
            // Variance of a normal cut at two deviations, 0.77374 of the whole.
            let found = square.sqrt() / 0.773_74_f64.sqrt();
            assert!((found / deviation - 1.0).abs() < 5e-3, "{found} {deviation}");
            assert!(layer.iter().all(|w| f64::from(w.abs()) <= 2.0 * deviation + 1e-6));
        }
    }

    #[test]
    fn entries_and_seeds_start_differently() {
        let start = |seed, entry| Weights::initial(LAYOUT, &Parameters { seed, ..Parameters::paper() }, entry, 0..6);
        assert_ne!(start(0, 0), start(1, 0));
        assert_ne!(start(0, 0), start(0, 1));
        assert_eq!(start(0, 0), start(0, 0));
    }

    proptest! {
        #[test]
        fn drawing_in_parts_changes_nothing(cut in 0usize..=6, seed: u64, entry in 0u64..9) {
            let of = |networks| Weights::initial(LAYOUT, &Parameters { seed, ..Parameters::paper() }, entry, networks);
            let (whole, parts) = (of(0..6), [of(0..cut), of(cut..6)]);
            prop_assert_eq!(&Weights::concatenate(LAYOUT, &parts), &whole);
            prop_assert_eq!(whole.part(cut..6), parts[1].clone());
        }

        #[test]
        fn windows_lie_inside_and_have_one_width(width in 7usize..90, part in 0.01..=1.0, seed: u64) {
            let domain = LAYOUT.domain(9, width, 2);
            let parameters = Parameters { iterations: 40, window: part, seed, ..Parameters::paper() };
            let columns = domain.valid_columns();
            let expected = ((part * columns as f64).ceil() as usize).max(8).min(columns);
            let windows = windows(domain, &parameters);
            prop_assert_eq!(windows.len(), 40);
            let mut seen = vec![0; columns];
            for window in windows {
                prop_assert_eq!(window.len(), expected);
                prop_assert!(window.end <= columns);
                seen[window].iter_mut().for_each(|times| *times += 1);
            }
            // The last pass may be cut short.
            let passes = 40 / columns.div_ceil(expected);
            prop_assert!(seen.iter().all(|times| *times >= passes), "{:?}", seen);
        }
    }
}
