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
//! These are the published sizes and the published loss, of the calibration lines. A [`lesson`] is k-space that another
//! method has filled, with a loss in which every sample counts by the signal around it; [`parameters`] sets the
//! width of the first kernel, the features, and the number of sets of networks whose predictions are averaged.
//!
//! | module | what it does |
//! |---|---|
//! | [`layout`] | sizes of the networks and of the k-space they run over |
//! | [`parameters`] | what a person can choose, and the choices that were measured |
//! | [`lesson`] | lines filled by another method, and what their samples count |
//! | [`linear`] | a linear method beside the networks, which learn what it leaves |
//! | [`patches`] | planes of k-space, patch matrices, training problems |
//! | [`weights`] | weights, their seeded initial values, seeded windows |
//! | [`schedule`] | learning rate and Adam |
//! | [`cpu`] | the backend on matrix products and fused loops |
//! | [`tensor`] | the backend on candle tensors, for CUDA |
//! | [`fill`] | the missing lines of an entry |

pub mod cpu;
pub mod fill;
pub mod layout;
pub mod lesson;
pub mod linear;
pub mod parameters;
pub mod patches;
pub mod schedule;
pub mod tensor;
pub mod weights;

use std::ops::Range;

use kspace::numerics::Host;
use kspace::numerics::imaging::Imaging;
use kspace::numerics::nwg::Products;

use crate::error::JobError;
use crate::progress::Progress;

pub use cpu::Cpu;
pub use layout::{Domain, Layout};
pub use parameters::{Parameters, Schedule};
pub use patches::{Planes, Problem};
pub use tensor::TensorBackend;
pub use weights::Weights;

/// Trained networks of one problem.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The weights of all networks.
    pub weights: Weights,
    /// Sum over the channels of the norm of the weighted residual of all targets after training, mean over the sets.
    pub loss: f64,
    /// Steps done, and the same norm over the window of that step, scaled to all columns.
    pub curve: Vec<(u32, f64)>,
    /// Whether training failed: weights or loss are not finite, or zeros would predict better, which beside a linear method are that method
    /// alone. Such networks are not to be used.
    pub diverged: bool,
}

impl Fit {
    /// Judges trained weights, whose loss over all sets and all targets is `loss`; `curve` has losses over windows of so many columns.
    fn new(problem: &Problem, weights: Weights, loss: f64, curve: Vec<(u32, f64)>, columns: usize) -> Self {
        let share = problem.layout.channels() as f64 / weights.networks as f64;
        let loss = loss * share;
        // A norm grows with the square root of what it is taken over.
        let whole = share * (problem.domain.valid_columns() as f64 / columns.max(1) as f64).sqrt();
        let curve = curve.into_iter().map(|(step, loss)| (step, loss * whole)).collect();
        let finite = loss.is_finite() && weights.layers.iter().flatten().all(|weight| weight.is_finite());
        Self { diverged: !finite || loss > problem.loss_of_zeros(), weights, loss, curve }
    }
}

/// Where the networks are trained and run. All backends compute the same function and the same gradient; only the
/// order of floating-point operations differs.
pub trait Backend: Send + Sync {
    /// How many problems of `problem_bytes`, by [`Problem::size`], are best trained together, in a scan with `kspace_bytes` a slice.
    fn group(&self, problem_bytes: usize, kspace_bytes: usize) -> usize;

    /// Whether it leaves the cores of the CPU free, which can do something else meanwhile.
    fn apart(&self) -> bool {
        false
    }

    /// Where the large products of the linear kernels are carried out.
    fn products(&self) -> &dyn Products {
        &Host
    }

    /// Where the large computations of an image are carried out.
    fn imaging(&self) -> &dyn Imaging {
        &Host
    }

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

    /// Outputs of the networks `[network, output, column, row]` over the valid columns and the rows of layer 1 of
    /// `planes`. Rows after the valid ones are without meaning.
    ///
    /// # Errors
    /// [`JobError::Device`] when the device refuses.
    fn predict(&self, weights: &Weights, planes: &Planes) -> Result<Vec<f32>, JobError>;
}
