//! The backend on candle tensors: problems side by side in one tensor, for CUDA.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::layout::{Domain, HIDDEN_1, HIDDEN_2, KERNEL_3, Layout, TAPS};
use super::patches::{Planes, Problem};
use super::schedule::Schedule;
use super::weights::{Weights, windows};
use super::{Backend, Fit, Parameters};
use crate::error::JobError;
use crate::progress::Progress;

/// Memory that the problems of a group may take. Training needs several times the patches, and 16 slices of 32 coils
/// already fill the largest GPUs with work.
const GROUP_BYTES: usize = 1 << 30;
const GROUP_MOST: usize = 16;
/// Valid columns predicted together.
const COLUMNS: usize = 64;

/// A candle device.
#[derive(Debug, Clone)]
pub struct TensorBackend {
    device: Device,
}

/// Weights of several problems: `[problem * network, out, in]`, layer 1 `[problem, network * 32, input]`.
type Layers = [Tensor; 3];

/// What the backward pass needs of the forward pass.
struct Forward {
    hidden_1: Tensor,
    hidden_2: Tensor,
    output: Tensor,
}

/// Sizes of a batch.
#[derive(Clone, Copy)]
struct Batch {
    layout: Layout,
    domain: Domain,
    problems: usize,
    networks: usize,
    columns: usize,
}

impl Batch {
    /// `patches` is `[problem, position, input]`; the output `[problem * network, output, column, row]`.
    fn forward(self, layers: &Layers, patches: &Tensor) -> candle_core::Result<Forward> {
        let (nets, positions) = (self.problems * self.networks, self.domain.positions(self.columns));
        let outputs = self.layout.outputs();
        let hidden_1 = layers[0].matmul(&patches.t()?)?.relu()?.reshape((nets, HIDDEN_1, positions))?;
        let hidden_2 = layers[1].matmul(&hidden_1)?.relu()?;
        let all = self.columns + KERNEL_3 - 1;
        let taps = layers[2].matmul(&hidden_2)?.reshape((nets, TAPS, outputs, all, self.domain.rows()))?;
        let mut output: Option<Tensor> = None;
        for tap in 0..TAPS {
            let (column, row) = (tap % KERNEL_3, tap / KERNEL_3 * self.domain.step);
            let part = taps.narrow(1, tap, 1)?.squeeze(1)?;
            let part = part.narrow(2, column, self.columns)?.narrow(3, row, self.domain.valid_rows())?;
            output = Some(match output {
                Some(sum) => (sum + part)?,
                None => part.contiguous()?,
            });
        }
        let output = output.ok_or_else(|| candle_core::Error::msg("a kernel without taps"))?;
        Ok(Forward { hidden_1, hidden_2, output })
    }

    /// Loss `[problem * network]` and gradient. `targets` is `[problem * network, output, column, row]`.
    fn gradient(self, layers: &Layers, patches: &Tensor, targets: &Tensor) -> candle_core::Result<(Tensor, Layers)> {
        let Forward { hidden_1, hidden_2, output } = self.forward(layers, patches)?;
        let (nets, positions) = (self.problems * self.networks, self.domain.positions(self.columns));
        let residual = (output - targets)?;
        let loss = residual.sqr()?.flatten_from(1)?.sum_keepdim(1)?.sqrt()?;
        // The norm has no gradient at zero; the smallest normal number keeps the quotient at zero there.
        let divisor = loss.maximum(f64::from(f32::MIN_POSITIVE))?.reshape((nets, 1, 1, 1))?;
        let pulled = residual.broadcast_div(&divisor)?;
        let mut taps = Vec::with_capacity(TAPS);
        for tap in 0..TAPS {
            let (column, row) = (tap % KERNEL_3, tap / KERNEL_3 * self.domain.step);
            taps.push(pulled.pad_with_zeros(2, column, KERNEL_3 - 1 - column)?.pad_with_zeros(
                3,
                row,
                self.domain.step - row,
            )?);
        }
        let taps = Tensor::stack(&taps, 1)?.reshape((nets, TAPS * self.layout.outputs(), positions))?;
        let layer_3 = taps.matmul(&hidden_2.t()?)?;
        let pulled = through_relu(&hidden_2, &layers[2].t()?.matmul(&taps)?)?;
        let layer_2 = pulled.matmul(&hidden_1.t()?)?;
        let pulled = through_relu(&hidden_1, &layers[1].t()?.matmul(&pulled)?)?;
        let pulled = pulled.reshape((self.problems, self.networks * HIDDEN_1, positions))?;
        // The gradient of the patches is never formed.
        let layer_1 = pulled.matmul(patches)?;
        Ok((loss.squeeze(1)?, [layer_1, layer_2, layer_3]))
    }
}

fn through_relu(features: &Tensor, gradient: &Tensor) -> candle_core::Result<Tensor> {
    gradient * features.gt(0f32)?.to_dtype(DType::F32)?
}

impl TensorBackend {
    /// Computes on `device`.
    #[must_use]
    pub const fn new(device: Device) -> Self {
        Self { device }
    }

    fn layers(&self, weights: &[Weights]) -> candle_core::Result<Layers> {
        let (layout, networks) =
            weights.first().map_or((Layout { coils: 0, acceleration: 2 }, 0), |w| (w.layout, w.networks));
        let (problems, outputs) = (weights.len(), layout.outputs());
        let all = |layer: usize| weights.iter().flat_map(|w| w.layers[layer].iter().copied()).collect::<Vec<f32>>();
        let nets = problems * networks;
        Ok([
            Tensor::from_vec(all(0), (problems, networks * HIDDEN_1, layout.inputs()), &self.device)?,
            Tensor::from_vec(all(1), (nets, HIDDEN_2, HIDDEN_1), &self.device)?,
            Tensor::from_vec(all(2), (nets, TAPS * outputs, HIDDEN_2), &self.device)?,
        ])
    }

    fn weights(batch: Batch, layers: &Layers) -> candle_core::Result<Vec<Weights>> {
        let flat = [
            layers[0].flatten_all()?.to_vec1::<f32>()?,
            layers[1].flatten_all()?.to_vec1::<f32>()?,
            layers[2].flatten_all()?.to_vec1::<f32>()?,
        ];
        let whole = Weights { layout: batch.layout, networks: batch.problems * batch.networks, layers: flat };
        Ok((0..batch.problems).map(|at| whole.part(at * batch.networks..(at + 1) * batch.networks)).collect())
    }

    /// Patches `[problem, position, input]` and targets `[problem * network, output, column, row]` of whole problems.
    fn data(&self, batch: Batch, problems: &[Problem]) -> candle_core::Result<(Tensor, Tensor)> {
        let (layout, domain) = (batch.layout, batch.domain);
        let patches = problems
            .iter()
            .map(|p| {
                Tensor::from_slice(&p.patches, (1, domain.columns() * domain.rows(), layout.inputs()), &self.device)
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        let shape = (batch.networks, layout.outputs(), domain.valid_columns(), domain.valid_rows());
        let targets = problems
            .iter()
            .map(|p| Tensor::from_slice(&p.targets, shape, &self.device))
            .collect::<candle_core::Result<Vec<_>>>()?;
        Ok((Tensor::cat(&patches, 0)?, Tensor::cat(&targets, 0)?))
    }
}

/// Patches and targets under a window.
fn narrow(domain: Domain, data: &(Tensor, Tensor), window: &Range<usize>) -> candle_core::Result<(Tensor, Tensor)> {
    let patches = data.0.narrow(1, window.start * domain.rows(), domain.positions(window.len()))?;
    Ok((patches, data.1.narrow(2, window.start, window.len())?))
}

impl Backend for TensorBackend {
    fn group(&self, problem_bytes: usize) -> usize {
        (GROUP_BYTES / problem_bytes.max(1)).clamp(1, GROUP_MOST)
    }

    fn gradient(&self, problem: &Problem, weights: &Weights, window: Range<usize>) -> Result<(f64, Weights), JobError> {
        let (layout, domain, networks) = (problem.layout, problem.domain, weights.networks);
        let batch = Batch { layout, domain, problems: 1, networks, columns: window.len() };
        let data = self.data(batch, std::slice::from_ref(problem))?;
        let (patches, targets) = narrow(domain, &data, &window)?;
        let (loss, gradient) = batch.gradient(&self.layers(std::slice::from_ref(weights))?, &patches, &targets)?;
        let gradient = Self::weights(batch, &gradient)?.pop();
        let loss: f64 = loss.to_vec1::<f32>()?.into_iter().map(f64::from).sum();
        Ok((loss, gradient.ok_or_else(|| JobError::Bug("a batch of no problems".to_owned()))?))
    }

    fn fit(
        &self,
        problems: &[Problem],
        parameters: &Parameters,
        progress: &dyn Progress,
    ) -> Result<Vec<Fit>, JobError> {
        let Some(first) = problems.first() else { return Ok(Vec::new()) };
        let (layout, domain, networks) = (first.layout, first.domain, first.layout.channels());
        let columns = parameters.window(domain.valid_columns());
        let batch = Batch { layout, domain, problems: problems.len(), networks, columns };
        let data = self.data(batch, problems)?;
        let initial: Vec<Weights> =
            problems.iter().map(|p| Weights::initial(layout, parameters.seed, p.entry, 0..networks)).collect();
        let mut layers = self.layers(&initial)?;
        let zeros = || -> candle_core::Result<Vec<Tensor>> { layers.iter().map(Tensor::zeros_like).collect() };
        let (mut mean, mut square) = (zeros()?, zeros()?);
        let mut last = None;
        for (window, step) in windows(domain, parameters).iter().zip(Schedule::new(parameters)) {
            if progress.cancelled() {
                return Err(JobError::Interrupted);
            }
            let (patches, targets) = narrow(domain, &data, window)?;
            let (loss, gradient) = batch.gradient(&layers, &patches, &targets)?;
            for (at, gradient) in gradient.iter().enumerate() {
                mean[at] = (mean[at].affine(step.decay_1, 0.0)? + gradient.affine(1.0 - step.decay_1, 0.0)?)?;
                square[at] =
                    (square[at].affine(step.decay_2, 0.0)? + gradient.sqr()?.affine(1.0 - step.decay_2, 0.0)?)?;
                let moved = (&mean[at] / square[at].sqrt()?.affine(1.0, step.epsilon)?)?;
                layers[at] = (&layers[at] - moved.affine(step.rate, 0.0)?)?;
            }
            last = Some(loss);
            progress.advance((problems.len() * networks) as u64);
        }
        let losses = match last {
            Some(loss) => loss.to_vec1::<f32>()?,
            None => vec![0.0; problems.len() * networks],
        };
        let losses = losses.chunks(networks).map(|nets| nets.iter().map(|loss| f64::from(*loss)).sum());
        Ok(Self::weights(batch, &layers)?
            .into_iter()
            .zip(losses)
            .map(|(weights, loss)| Fit { weights, loss })
            .collect())
    }

    fn predict(&self, weights: &Weights, planes: &Planes) -> Result<Vec<f32>, JobError> {
        let (layout, domain, networks) = (planes.layout(), planes.domain(), weights.networks);
        let layers = self.layers(std::slice::from_ref(weights))?;
        let mut parts = Vec::new();
        for start in (0..domain.valid_columns()).step_by(COLUMNS) {
            let window = start..(start + COLUMNS).min(domain.valid_columns());
            let batch = Batch { layout, domain, problems: 1, networks, columns: window.len() };
            let shape = (1, domain.positions(window.len()), layout.inputs());
            let patches = Tensor::from_vec(planes.patches(&window), shape, &self.device)?;
            parts.push(batch.forward(&layers, &patches)?.output);
        }
        Ok(Tensor::cat(&parts, 2)?.flatten_all()?.to_vec1()?)
    }
}
