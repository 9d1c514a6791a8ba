//! RAKI: networks trained on the calibration lines of a slice fill its missing lines.
//!
//! Akcakaya et al., MRM 81:439 (2019), doi 10.1002/mrm.27420, written from the paper. Every real and every imaginary
//! channel of every coil has a network of its own; each sees all channels:
//!
//! | layer | kernel (kx, ky) | dilation (kx, ky) | channels | then |
//! |---|---|---|---|---|
//! | 1 | 5 x 2 | 1, R | 2 coils -> 32 | ReLU |
//! | 2 | 1 x 1 | | 32 -> 8 | ReLU |
//! | 3 | 3 x 2 | 1, R | 8 -> R - 1 | |
//!
//! There are no biases. The support is 7 samples of kx and the acquired lines p, p + R and p + 2R; the outputs are
//! lines p + 1 ..= p + R - 1. The loss of a network is the Frobenius norm of its residual; losses are summed and
//! minimised with Adam. All networks of a slice read the same patches, so layer 1 is one matrix product.
//!
//! | module | what it does |
//! |---|---|
//! | [`layout`] | sizes of the networks and of the k-space they run over |
//! | [`patches`] | planes of k-space, patch matrices, training problems |
//! | [`weights`] | weights, their seeded initial values, seeded windows |
//! | [`schedule`] | learning rate and Adam |
//! | [`cpu`] | the backend on matrix products and fused loops |
//! | [`tensor`] | the backend on candle tensors, for CUDA |
//! | [`fill`] | the missing lines of an entry |

pub mod cpu;
pub mod fill;
pub mod layout;
pub mod patches;
pub mod schedule;
pub mod tensor;
pub mod weights;

use std::ops::Range;

use crate::error::JobError;
use crate::progress::Progress;

pub use cpu::Cpu;
pub use layout::{Domain, Layout};
pub use patches::{Planes, Problem};
pub use tensor::TensorBackend;
pub use weights::Weights;

/// What a person can choose about the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Steps of Adam.
    pub iterations: usize,
    /// Peak of the one-cycle learning rate.
    pub learning_rate: f64,
    /// Each step sees a random window of one `window_divisor`-th of the readout.
    pub window_divisor: usize,
    /// Seed of initial weights and windows.
    pub seed: u64,
}

impl Default for Parameters {
    /// 500 steps on quarter windows reach the quality of 1000 steps on everything with an eighth of the work.
    fn default() -> Self {
        Self { iterations: 500, learning_rate: 1e-2, window_divisor: 4, seed: 0 }
    }
}

/// Steps of Adam beyond which something was mistyped.
const MOST_ITERATIONS: usize = 1_000_000;

impl Parameters {
    /// Columns of a training window out of `columns` that can be trained on. Windows are drawn and buffers are sized by it.
    #[must_use]
    pub fn window(&self, columns: usize) -> usize {
        columns.div_ceil(self.window_divisor.max(1))
    }

    /// Refuses values that cannot train anything.
    ///
    /// # Errors
    /// [`JobError::Usage`] naming parameter, value and accepted range.
    pub fn check(&self) -> Result<(), JobError> {
        let refuse = |name: &str, found: &dyn std::fmt::Display, expected: &str| {
            Err(JobError::Usage(format!("{name} is {found}, expected {expected}")))
        };
        if !(1..=MOST_ITERATIONS).contains(&self.iterations) {
            return refuse("iterations", &self.iterations, "1 to 1000000");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse("learning_rate", &self.learning_rate, "a number above 0 and up to 1");
        }
        if !(1..=1024).contains(&self.window_divisor) {
            return refuse("window_divisor", &self.window_divisor, "1 to 1024");
        }
        Ok(())
    }
}

/// Trained networks of one problem.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The weights of all networks.
    pub weights: Weights,
    /// Sum over the networks of the Frobenius norm of the residual at the last step, in scaled units.
    pub loss: f64,
}

/// Where the networks are trained and run. All backends compute the same function and the same gradient; only the
/// order of floating-point operations differs.
pub trait Backend: Send + Sync {
    /// How many problems of this size are best trained together.
    fn group(&self, problem_bytes: usize) -> usize;

    /// Sum of the losses over the columns `window` of valid positions, and its gradient.
    ///
    /// # Errors
    /// [`JobError::Device`] when the device refuses.
    fn gradient(&self, problem: &Problem, weights: &Weights, window: Range<usize>) -> Result<(f64, Weights), JobError>;

    /// Trains problems of one layout and one domain. Calls [`Progress::advance`] with the number of steps done.
    ///
    /// # Errors
    /// [`JobError::Interrupted`] when asked to stop, [`JobError::Device`] when the device refuses.
    fn fit(&self, problems: &[Problem], parameters: &Parameters, progress: &dyn Progress)
    -> Result<Vec<Fit>, JobError>;

    /// Outputs of the networks `[network, output, column, row]` over every valid position of `planes`.
    ///
    /// # Errors
    /// [`JobError::Device`] when the device refuses.
    fn predict(&self, weights: &Weights, planes: &Planes) -> Result<Vec<f32>, JobError>;
}
