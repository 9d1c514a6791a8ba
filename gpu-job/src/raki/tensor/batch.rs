//! A step of problems side by side: prediction, residual, gradient by hand.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::ops::Op;
use crate::raki::layout::{Domain, Layout, TAPS};

/// Layers: 1 is `[problem, network * hidden 1, input]`, 2 and 3 `[problem * network, out, in]`.
pub(super) type Layers = [Tensor; 3];

/// Sizes of a batch and its window of columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) layout: Layout,
    pub(super) domain: Domain,
    pub(super) problems: usize,
    /// Of one problem.
    pub(super) networks: usize,
    pub(super) columns: usize,
    /// First valid column of the window.
    pub(super) first: usize,
}

/// What the backward pass needs of the forward pass.
pub(super) struct Forward {
    hidden_1: Tensor,
    hidden_2: Tensor,
    pub(super) taps: Tensor,
}

/// What a step writes besides its products.
pub(super) struct Scratch {
    pub(super) residual: Tensor,
    pub(super) taps: Tensor,
}

impl Batch {
    pub(super) fn over(self, window: &Range<usize>) -> Self {
        Self { columns: window.len(), first: window.start, ..self }
    }

    pub(super) const fn nets(&self) -> usize {
        self.problems * self.networks
    }

    pub(super) const fn positions(&self) -> usize {
        self.domain.positions(self.columns)
    }

    /// Samples of one output.
    pub(super) const fn samples(&self) -> usize {
        self.columns * self.domain.rows()
    }

    pub(super) fn shapes(&self) -> [(usize, usize, usize); 3] {
        let [hidden_1, hidden_2] = self.layout.hidden;
        [
            (self.problems, self.networks * hidden_1, self.layout.inputs()),
            (self.nets(), hidden_2, hidden_1),
            (self.nets(), TAPS * self.layout.outputs(), hidden_2),
        ]
    }

    /// Patches `[problem, position, input]` of planes `[problem, channel, line, kx]`.
    pub(super) fn patches(self, planes: &Tensor) -> candle_core::Result<Tensor> {
        let shape = (self.problems, self.positions(), self.layout.inputs());
        let patches = Tensor::zeros(shape, DType::F32, planes.device())?;
        patches.inplace_op2(planes, &Op::Patches(self))?;
        Ok(patches)
    }

    /// `patches` is `[problem, position, input]`; taps `[problem * network, tap * output, position]`.
    pub(super) fn forward(self, layers: &Layers, patches: &Tensor) -> candle_core::Result<Forward> {
        let hidden_1 = layers[0].matmul(&patches.t()?)?;
        hidden_1.inplace_op1(&Op::Relu)?;
        let hidden_1 = hidden_1.reshape((self.nets(), self.layout.hidden[0], self.positions()))?;
        let hidden_2 = layers[1].matmul(&hidden_1)?;
        hidden_2.inplace_op1(&Op::Relu)?;
        let taps = layers[2].matmul(&hidden_2)?;
        Ok(Forward { hidden_1, hidden_2, taps })
    }

    pub(super) fn scratch(self, device: &Device) -> candle_core::Result<Scratch> {
        let zeros = |shape| Tensor::zeros(shape, DType::F32, device);
        let residual = zeros((self.nets(), 1, self.output() + 1))?;
        Ok(Scratch { residual, taps: zeros((self.nets(), TAPS * self.layout.outputs(), self.positions()))? })
    }

    /// Gradient; the losses stay at the end of the residuals. `patches` is of the window, `references` of all columns.
    pub(super) fn gradient(
        self,
        layers: &Layers,
        patches: &Tensor,
        references: &Tensor,
        scratch: &Scratch,
    ) -> candle_core::Result<Layers> {
        let Forward { hidden_1, hidden_2, taps } = self.forward(layers, patches)?;
        scratch.residual.inplace_op3(&taps, references, &Op::Residual(self))?;
        scratch.taps.inplace_op2(&scratch.residual, &Op::Spread(self))?;
        let layer_3 = scratch.taps.matmul(&hidden_2.t()?)?;
        let pulled = layers[2].t()?.matmul(&scratch.taps)?;
        // From here on features are the gradient before their ReLU.
        hidden_2.inplace_op2(&pulled, &Op::ThroughRelu)?;
        let layer_2 = hidden_2.matmul(&hidden_1.t()?)?;
        let pulled = layers[1].t()?.matmul(&hidden_2)?;
        hidden_1.inplace_op2(&pulled, &Op::ThroughRelu)?;
        let rows = self.networks * self.layout.hidden[0];
        // The gradient of the patches is never formed.
        let layer_1 = hidden_1.reshape((self.problems, rows, self.positions()))?.matmul(patches)?;
        Ok([layer_1, layer_2, layer_3])
    }

    /// Losses `[problem * network]`, read back.
    pub(super) fn losses(self, residual: &Tensor) -> candle_core::Result<Vec<f32>> {
        residual.narrow(2, self.output(), 1)?.flatten_all()?.to_vec1()
    }

    /// Losses `[problem * network]` over all columns, as many at a time as a step has. `self` and `patches` are of all columns.
    pub(super) fn all_losses(
        self,
        step: usize,
        layers: &Layers,
        patches: &Tensor,
        references: &Tensor,
    ) -> candle_core::Result<Vec<f64>> {
        let mut squares = vec![0.0; self.nets()];
        for start in (0..self.columns).step_by(step) {
            let batch = self.over(&(start..(start + step).min(self.columns)));
            let patches = patches.narrow(1, start * self.domain.rows(), batch.positions())?;
            let residual = Tensor::zeros((self.nets(), 1, batch.output() + 1), DType::F32, patches.device())?;
            residual.inplace_op3(&batch.forward(layers, &patches)?.taps, references, &Op::Residual(batch))?;
            for (square, loss) in squares.iter_mut().zip(batch.losses(&residual)?) {
                *square += f64::from(loss).powi(2);
            }
        }
        Ok(squares.into_iter().map(f64::sqrt).collect())
    }
}
