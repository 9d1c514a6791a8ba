//! The backend on candle tensors: problems side by side in one tensor, for CUDA.
//!
//! Eight matrix products and ten fused operations a step, however many problems there are. Products run in TF32 on
//! CUDA, which changes images by less than the seed does.

mod batch;
#[cfg(feature = "cuda")]
mod cuda;
mod ops;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
#[cfg(feature = "cuda")]
use kspace::numerics::{Host, imaging::Imaging, nwg::Products};
use rayon::prelude::*;

use self::batch::{Batch, Layers};
use self::ops::Op;
use super::parameters::Parameters;
use super::patches::{Planes, Problem};
use super::schedule::{Steps, is_point};
use super::weights::{Weights, windows};
use super::{Backend, Fit};
use crate::error::JobError;
use crate::progress::Progress;

/// Memory for the problems of a group, by [`Problem::size`], and the images of other slices beside them: of 16 GB, CUDA itself, its libraries
/// and what cannot be used between two pieces take the rest.
const MEMORY: usize = 12 << 30;
/// Slices that have linear kernels or images on the device at a time, beside the training.
pub(crate) const LANES: usize = 4;
/// Memory of one of them: refinement with two maps, which are there twice while they are shifted, as the samples are, coil images and what
/// cuFFT works in, over that of its k-space; and what the linear kernels gather at a time, with the workspace of cuBLAS.
const LANE: usize = 8;
const LANE_LEAST: usize = 128 << 20;
/// This many slices fill the largest GPUs with work. The images of three groups are in the memory of the machine at a time.
const GROUP_MOST: usize = 16;
/// Valid columns predicted together.
const COLUMNS: usize = 64;

/// A candle device.
pub struct TensorBackend {
    device: Device,
    /// Held by a prediction. Threads have streams of their own, which must not share the workspace of candle's cuBLAS; and memory is bounded
    /// for one of them.
    predicting: Mutex<()>,
    #[cfg(feature = "cuda")]
    kernels: Option<crate::cuda::Kernels>,
}

/// Lines and references of problems, on the device.
struct Data {
    /// `[problem, channel, line, kx]`.
    planes: Tensor,
    /// `[problem, channel + 1, output, column, row]`: targets, then weights.
    references: Tensor,
}

impl TensorBackend {
    /// Computes on `device`.
    ///
    /// # Errors
    /// [`JobError::Device`] when it refuses the kernels of this crate.
    pub fn new(device: Device) -> Result<Self, JobError> {
        #[cfg(feature = "cuda")]
        let kernels = match &device {
            Device::Cuda(cuda) => {
                candle_core::cuda::set_gemm_reduced_precision_f32(true);
                Some(crate::cuda::Kernels::new(cuda)?)
            }
            _ => None,
        };
        Ok(Self {
            device,
            predicting: Mutex::new(()),
            #[cfg(feature = "cuda")]
            kernels,
        })
    }

    /// Weights of several problems, `[1, weight]` of each layer.
    fn upload(&self, weights: &[Weights]) -> candle_core::Result<Layers> {
        let layer = |at: usize| {
            let all = weights.iter().map(|weights| weights.layers[at].as_slice()).collect::<Vec<_>>().concat();
            let count = all.len();
            Tensor::from_vec(all, (1, count), &self.device)
        };
        Ok([layer(0)?, layer(1)?, layer(2)?])
    }

    /// Weights in front of zeros for the two means of Adam, `[3, weight]` of each layer.
    fn states(&self, weights: &[Weights]) -> candle_core::Result<Layers> {
        let state = |weights: Tensor| {
            let state = Tensor::zeros((3, weights.elem_count()), DType::F32, &self.device)?;
            state.slice_set(&weights, 0, 0)?;
            Ok::<_, candle_core::Error>(state)
        };
        let [first, second, third] = self.upload(weights)?;
        Ok([state(first)?, state(second)?, state(third)?])
    }

    /// The weights at the beginning of `layers`, not copied.
    fn views(batch: Batch, layers: &Layers) -> candle_core::Result<Layers> {
        let [first, second, third] = batch.shapes();
        let view = |at: usize, shape| layers[at].narrow(0, 0, 1)?.reshape(shape);
        Ok([view(0, first)?, view(1, second)?, view(2, third)?])
    }

    fn weights(batch: Batch, layers: &Layers) -> candle_core::Result<Vec<Weights>> {
        let flat = |at: usize| layers[at].flatten_all()?.to_vec1::<f32>();
        let layers = [flat(0)?, flat(1)?, flat(2)?];
        let whole = Weights { layout: batch.layout, networks: batch.nets(), layers };
        Ok((0..batch.problems).map(|at| whole.part(at * batch.networks..(at + 1) * batch.networks)).collect())
    }

    fn data(&self, problems: &[Problem]) -> candle_core::Result<Data> {
        let planes: Vec<f32> = problems.iter().map(|problem| problem.planes.samples()).collect::<Vec<_>>().concat();
        let references: Vec<&[f32]> =
            problems.iter().flat_map(|problem| [problem.targets.as_slice(), &problem.weights]).collect();
        let references = references.concat();
        let (planes_count, references_count) = (planes.len(), references.len());
        Ok(Data {
            planes: Tensor::from_vec(planes, planes_count, &self.device)?,
            references: Tensor::from_vec(references, references_count, &self.device)?,
        })
    }
}

impl Backend for TensorBackend {
    fn group(&self, problem_bytes: usize, kspace_bytes: usize) -> usize {
        let beside = LANES * (LANE * kspace_bytes + LANE_LEAST);
        (MEMORY.saturating_sub(beside) / problem_bytes.max(1)).clamp(1, GROUP_MOST)
    }

    fn apart(&self) -> bool {
        !self.device.is_cpu()
    }

    #[cfg(feature = "cuda")]
    fn products(&self) -> &dyn Products {
        self.kernels.as_ref().map_or(&Host as _, |kernels| kernels as _)
    }

    #[cfg(feature = "cuda")]
    fn imaging(&self) -> &dyn Imaging {
        self.kernels.as_ref().map_or(&Host as _, |kernels| kernels as _)
    }

    fn gradient(&self, problem: &Problem, weights: &Weights, window: Range<usize>) -> Result<(f64, Weights), JobError> {
        let (layout, domain, networks) = (problem.layout, problem.domain, weights.networks);
        let batch = Batch { layout, domain, problems: 1, networks, columns: window.len(), first: window.start };
        let data = self.data(std::slice::from_ref(problem))?;
        let layers = Self::views(batch, &self.upload(std::slice::from_ref(weights))?)?;
        let scratch = batch.scratch(&self.device)?;
        let gradient = batch.gradient(&layers, &batch.patches(&data.planes)?, &data.references, &scratch)?;
        let gradient = Self::weights(batch, &gradient)?.pop();
        let loss = batch.losses(&scratch.residual)?.into_iter().map(f64::from).sum();
        Ok((loss, gradient.ok_or_else(|| JobError::Bug("a batch of no problems".to_owned()))?))
    }

    fn fit(
        &self,
        problems: &[Problem],
        parameters: &Parameters,
        progress: &dyn Progress,
    ) -> Result<Vec<Fit>, JobError> {
        let Some(first) = problems.first() else { return Ok(Vec::new()) };
        let (layout, domain, networks) = (first.layout, first.domain, parameters.networks(first.layout));
        let all = domain.valid_columns();
        let whole = Batch { layout, domain, problems: problems.len(), networks, columns: all, first: 0 };
        let data = self.data(problems)?;
        let patches = whole.patches(&data.planes)?;
        let initial: Vec<Weights> =
            problems.par_iter().map(|problem| problem.initial(parameters, 0..networks)).collect();
        let states = self.states(&initial)?;
        let layers = Self::views(whole, &states)?;
        let columns = parameters.columns(domain);
        let scratch = whole.over(&(0..columns)).scratch(&self.device)?;
        let mut curves = vec![Vec::new(); problems.len()];
        for (done, (window, step)) in windows(domain, parameters).iter().zip(Steps::new(parameters, layout)).enumerate()
        {
            if progress.cancelled() {
                return Err(JobError::Interrupted);
            }
            let batch = whole.over(window);
            let patches = patches.narrow(1, window.start * domain.rows(), batch.positions())?;
            let gradient = batch.gradient(&layers, &patches, &data.references, &scratch)?;
            if is_point(done, parameters.iterations) {
                let losses = batch.losses(&scratch.residual)?;
                for (curve, losses) in curves.iter_mut().zip(losses.chunks(networks)) {
                    curve.push((done as u32, losses.iter().map(|loss| f64::from(*loss)).sum()));
                }
            }
            for (state, gradient) in states.iter().zip(&gradient) {
                state.inplace_op2(gradient, &Op::Adam(step))?;
            }
            progress.advance((problems.len() * networks) as u64);
        }
        let losses = whole.all_losses(columns, &layers, &patches, &data.references)?;
        let weights = Self::weights(whole, &layers)?;
        let fits = problems.par_iter().zip(weights).zip(losses.par_chunks(networks)).zip(curves);
        let fit = |(((problem, weights), losses), curve): (((_, _), &[f64]), _)| {
            Fit::new(problem, weights, losses.iter().sum(), curve, columns)
        };
        Ok(fits.map(fit).collect())
    }

    fn predict(&self, weights: &Weights, planes: &Planes) -> Result<Vec<f32>, JobError> {
        let (layout, domain, networks) = (planes.layout(), planes.domain(), weights.networks);
        let whole = Batch { layout, domain, problems: 1, networks, columns: domain.valid_columns(), first: 0 };
        // Nothing is half-done after a panic: every prediction brings its own memory.
        let _alone = self.predicting.lock().unwrap_or_else(PoisonError::into_inner);
        let layers = Self::views(whole, &self.upload(std::slice::from_ref(weights))?)?;
        let planes = Tensor::from_slice(planes.samples(), planes.samples().len(), &self.device)?;
        let mut parts = Vec::new();
        for start in (0..whole.columns).step_by(COLUMNS) {
            let batch = whole.over(&(start..(start + COLUMNS).min(whole.columns)));
            let forward = batch.forward(&layers, &batch.patches(&planes)?)?;
            let output = Tensor::zeros((networks * layout.outputs(), batch.samples()), DType::F32, &self.device)?;
            output.inplace_op2(&forward.taps, &Op::SumTaps(batch))?;
            parts.push(output);
        }
        Ok(Tensor::cat(&parts, 1)?.flatten_all()?.to_vec1()?)
    }
}
