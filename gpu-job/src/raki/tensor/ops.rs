//! What happens between the matrix products, in place and fused: one pass over memory each, on both devices.
//!
//! The CPU bodies are the loops of the [`cpu`](crate::raki::cpu) backend; the CUDA bodies are in `kernels.cu`.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Result};

use crate::raki::cpu::kernels::{adam, add, relu, residual, scaled, through_relu};
use crate::raki::layout::{KERNEL_KY, TAPS};
use crate::raki::schedule::Step;

use super::batch::Batch;

/// A fused operation. All tensors are contiguous.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Patches `[problem, position, input]` under the window, of planes `[problem, channel, line, kx]`.
    Patches(Batch),
    /// Negative features become zero.
    Relu,
    /// Features after ReLU become the gradient before it, of the gradient after it.
    ThroughRelu,
    /// Outputs `[network, output, column, row]`, of taps `[network, tap, output, position]`.
    SumTaps(Batch),
    /// Per network the residual `[output, column, row]` multiplied by the weights twice, then the loss. Of taps and of
    /// references `[problem, channel + 1, output, column, row]`: targets, and last the weights.
    Residual(Batch),
    /// Gradient of the taps, of what [`Self::Residual`] gives.
    Spread(Batch),
    /// One step of Adam on `[weights, mean, square]`, of a gradient.
    Adam(Step),
}

impl Op {
    pub(super) const fn kernel(&self) -> &'static str {
        match self {
            Self::Patches(_) => "patches",
            Self::Relu => "relu",
            Self::ThroughRelu => "through_relu",
            Self::SumTaps(_) => "sum_taps",
            Self::Residual(_) => "residual",
            Self::Spread(_) => "spread",
            Self::Adam(_) => "adam",
        }
    }

    fn on_cpu(&self, to: &mut CpuStorage, to_layout: &Layout, from: &[(&CpuStorage, &Layout)]) -> Result<()> {
        let range = |layout: &Layout| layout.contiguous_offsets().ok_or_else(|| candle_core::Error::msg(self.kernel()));
        let (start, end) = range(to_layout)?;
        let CpuStorage::F32(to) = to else { return Err(candle_core::Error::msg("expected single precision")) };
        let to = &mut to[start..end];
        let from = from.iter().map(|(storage, layout)| {
            let (start, end) = range(layout)?;
            Ok(&storage.as_slice::<f32>()?[start..end])
        });
        let from = from.collect::<Result<Vec<&[f32]>>>()?;
        match (self, from.as_slice()) {
            (Self::Patches(batch), [planes]) => patches(batch, to, planes),
            (Self::Relu, []) => relu(to),
            (Self::ThroughRelu, [gradient]) => through_relu(to, gradient),
            (Self::SumTaps(batch), [taps]) => {
                for (to, taps) in to.chunks_exact_mut(batch.output()).zip(taps.chunks_exact(batch.taps())) {
                    sum_taps(batch, to, taps);
                }
            }
            (Self::Residual(batch), [taps, references]) => residuals(batch, to, taps, references),
            (Self::Spread(batch), [residuals]) => spread(batch, to, residuals),
            (Self::Adam(step), [gradient]) => {
                let (weights, means) = to.split_at_mut(gradient.len());
                let (mean, square) = means.split_at_mut(gradient.len());
                adam(weights, gradient, mean, square, *step);
            }
            _ => return Err(candle_core::Error::msg(format!("{} with {} sources", self.kernel(), from.len()))),
        }
        Ok(())
    }
}

fn patches(batch: &Batch, to: &mut [f32], planes: &[f32]) {
    let (domain, taps, channels) = (batch.domain, batch.layout.kernel_1, batch.layout.channels());
    let (inputs, positions) = (batch.layout.inputs(), batch.positions());
    for (at, patch) in to.chunks_exact_mut(inputs).enumerate() {
        let (problem, position) = (at / positions, at % positions);
        let (column, row) = (batch.first + position / domain.rows(), position % domain.rows());
        for (at, samples) in patch.chunks_exact_mut(taps).enumerate() {
            let (channel, line) = (problem * channels + at / KERNEL_KY, row + at % KERNEL_KY * domain.step);
            samples.copy_from_slice(&planes[(channel * domain.lines + line) * domain.width + column..][..taps]);
        }
    }
}

fn sum_taps(batch: &Batch, to: &mut [f32], taps: &[f32]) {
    let outputs = batch.layout.outputs();
    to.fill(0.0);
    for (part, values) in taps.chunks_exact(batch.positions()).enumerate() {
        let sum = &mut to[part % outputs * batch.samples()..][..batch.samples()];
        add(sum, &values[batch.domain.tap(part / outputs)..]);
    }
}

fn residuals(batch: &Batch, to: &mut [f32], taps: &[f32], references: &[f32]) {
    let (channels, outputs, samples) = (batch.layout.channels(), batch.layout.outputs(), batch.samples());
    let whole = batch.domain.valid_columns() * batch.domain.rows();
    let rows = to.chunks_exact_mut(batch.output() + 1).zip(taps.chunks_exact(batch.taps())).enumerate();
    for (network, (to, taps)) in rows {
        let (to, loss) = to.split_at_mut(batch.output());
        sum_taps(batch, to, taps);
        let (problem, channel) = (network / batch.networks, network % batch.networks % channels);
        let mut square = 0.0;
        for (output, values) in to.chunks_exact_mut(samples).enumerate() {
            let under = |plane: usize| {
                let plane = (problem * (channels + 1) + plane) * outputs + output;
                &references[plane * whole + batch.first * batch.domain.rows()..][..samples]
            };
            square += residual(values, under(channel), under(channels));
        }
        loss.fill(square.sqrt() as f32);
    }
}

fn spread(batch: &Batch, to: &mut [f32], residuals: &[f32]) {
    let (outputs, samples) = (batch.layout.outputs(), batch.samples());
    for (to, residual) in to.chunks_exact_mut(batch.taps()).zip(residuals.chunks_exact(batch.output() + 1)) {
        let loss = residual[batch.output()];
        // The norm has no gradient at zero; a network that is perfect stays as it is.
        let scale = if loss > 0.0 { 1.0 / loss } else { 0.0 };
        for (part, values) in to.chunks_exact_mut(batch.positions()).enumerate() {
            let (before, after) = values.split_at_mut(batch.domain.tap(part / outputs));
            before.fill(0.0);
            scaled(after, &residual[part % outputs * samples..][..samples], scale);
        }
    }
}

impl Batch {
    /// Samples of all outputs of a network.
    pub(super) const fn output(&self) -> usize {
        self.layout.outputs() * self.samples()
    }

    /// Values of the taps of a network.
    pub(super) const fn taps(&self) -> usize {
        TAPS * self.layout.outputs() * self.positions()
    }
}

impl InplaceOp1 for Op {
    fn name(&self) -> &'static str {
        self.kernel()
    }

    fn cpu_fwd(&self, to: &mut CpuStorage, layout: &Layout) -> Result<()> {
        self.on_cpu(to, layout, &[])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, to: &mut CudaStorage, layout: &Layout) -> Result<()> {
        super::cuda::launch(self, to, layout, &[])
    }
}

impl InplaceOp2 for Op {
    fn name(&self) -> &'static str {
        self.kernel()
    }

    fn cpu_fwd(&self, to: &mut CpuStorage, layout: &Layout, a: &CpuStorage, a_layout: &Layout) -> Result<()> {
        self.on_cpu(to, layout, &[(a, a_layout)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, to: &mut CudaStorage, layout: &Layout, a: &CudaStorage, a_layout: &Layout) -> Result<()> {
        super::cuda::launch(self, to, layout, &[(a, a_layout)])
    }
}

impl InplaceOp3 for Op {
    fn name(&self) -> &'static str {
        self.kernel()
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<()> {
        self.on_cpu(to, layout, &[(a, a_layout), (b, b_layout)])
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        to: &mut CudaStorage,
        layout: &Layout,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<()> {
        super::cuda::launch(self, to, layout, &[(a, a_layout), (b, b_layout)])
    }
}
