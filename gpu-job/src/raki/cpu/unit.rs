//! A few networks of one problem: their buffers, gradient and training.

use std::ops::Range;

use super::kernels::{Matrix, adam, add, product, relu, residual, scaled, through_relu};
use crate::error::JobError;
use crate::progress::Progress;
use crate::raki::layout::{Domain, Layout, TAPS};
use crate::raki::parameters::Parameters;
use crate::raki::patches::Problem;
use crate::raki::schedule::{Steps, is_point};
use crate::raki::weights::{Weights, windows};

/// Buffers for `networks` networks over a window, reused by every step. Row-major, positions fastest.
pub(super) struct Buffers {
    layout: Layout,
    domain: Domain,
    positions: usize,
    /// Samples of one output: valid columns by rows of layer 1.
    samples: usize,
    /// `[network, hidden 1, position]`: features of layer 1, then their gradient.
    hidden_1: Vec<f32>,
    /// `[hidden 1, position]` of one network: gradient of its features of layer 1.
    pulled_1: Vec<f32>,
    /// `[hidden 2, position]` of one network.
    hidden_2: Vec<f32>,
    pulled_2: Vec<f32>,
    /// `[tap, output, position]` of one network: what each tap adds to its output, then the gradient of that.
    taps: Vec<f32>,
    /// `[output, column, row]` of one network: prediction, then residual.
    output: Vec<f32>,
}

impl Buffers {
    pub(super) fn new(layout: Layout, domain: Domain, networks: usize, columns: usize) -> Self {
        let (positions, samples, [hidden_1, hidden_2]) =
            (domain.positions(columns), columns * domain.rows(), layout.hidden);
        Self {
            layout,
            domain,
            positions,
            samples,
            hidden_1: vec![0.0; networks * hidden_1 * positions],
            pulled_1: vec![0.0; hidden_1 * positions],
            hidden_2: vec![0.0; hidden_2 * positions],
            pulled_2: vec![0.0; hidden_2 * positions],
            taps: vec![0.0; TAPS * layout.outputs() * positions],
            output: vec![0.0; layout.outputs() * samples],
        }
    }

    /// Layer 1 of all networks: one product over the patches `[position, input]` they share.
    pub(super) fn layer_1(&mut self, weights: &Weights, patches: &[f32]) {
        let inputs = self.layout.inputs();
        let kernels = Matrix::new(&weights.layers[0], weights.networks * self.layout.hidden[0], inputs);
        product(&mut self.hidden_1, kernels, Matrix::new(patches, self.positions, inputs).transposed());
    }

    /// Layers 2 and 3 of one network after [`Self::layer_1`]; returns `[output, column, row]`.
    ///
    /// A tap is read at a fixed distance from every position of the output. Rows after the valid ones, and with them the
    /// positions that a tap does not have, hold nothing of meaning.
    pub(super) fn predict(&mut self, weights: &Weights, network: usize) -> &mut [f32] {
        let ([_, count_2, count_3], [hidden_1, hidden_2]) = (self.layout.weights(), self.layout.hidden);
        let outputs = self.layout.outputs();
        let features = &mut self.hidden_1[network * hidden_1 * self.positions..][..hidden_1 * self.positions];
        relu(features);
        let kernels = Matrix::new(&weights.layers[1][network * count_2..][..count_2], hidden_2, hidden_1);
        product(&mut self.hidden_2, kernels, Matrix::new(features, hidden_1, self.positions));
        relu(&mut self.hidden_2);
        let kernels = Matrix::new(&weights.layers[2][network * count_3..][..count_3], TAPS * outputs, hidden_2);
        product(&mut self.taps, kernels, Matrix::new(&self.hidden_2, hidden_2, self.positions));
        let parts = self.taps.chunks_exact(self.positions).enumerate();
        for (part, values) in parts {
            let (tap, output) = (part / outputs, part % outputs);
            let sum = &mut self.output[output * self.samples..][..self.samples];
            match tap {
                0 => sum.copy_from_slice(&values[..self.samples]),
                _ => add(sum, &values[self.domain.tap(tap)..]),
            }
        }
        &mut self.output
    }

    /// Square of the loss of one network after [`Self::layer_1`]. Leaves the residuals multiplied by the weights twice.
    pub(super) fn square(
        &mut self,
        weights: &Weights,
        network: usize,
        problem: &Problem,
        number: usize,
        window: &Range<usize>,
    ) -> f64 {
        self.predict(weights, network);
        let predicted = self.output.chunks_exact_mut(self.samples).enumerate();
        let squares = predicted.map(|(output, predicted)| {
            residual(predicted, problem.target(number, output, window), problem.weight(output, window))
        });
        squares.sum()
    }

    /// Loss of one network, and its gradient for layers 2 and 3. The gradient of its features of layer 1 takes their
    /// place. `network` counts from the first of these weights, `number` from the first of the problem.
    fn pull(
        &mut self,
        weights: &Weights,
        gradient: &mut Weights,
        network: usize,
        problem: &Problem,
        number: usize,
        window: &Range<usize>,
    ) -> f64 {
        let loss = self.square(weights, network, problem, number, window).sqrt();
        let (outputs, [hidden_1, hidden_2]) = (self.layout.outputs(), self.layout.hidden);
        // The norm has no gradient at zero; a network that is perfect stays as it is.
        let scale = if loss > 0.0 { (1.0 / loss) as f32 } else { 0.0 };
        for (part, values) in self.taps.chunks_exact_mut(self.positions).enumerate() {
            let (tap, output) = (part / outputs, part % outputs);
            let (before, after) = values.split_at_mut(self.domain.tap(tap));
            before.fill(0.0);
            scaled(after, &self.output[output * self.samples..][..self.samples], scale);
        }
        let [_, count_2, count_3] = self.layout.weights();
        let (at_2, at_3) = (network * count_2..(network + 1) * count_2, network * count_3..(network + 1) * count_3);
        let taps = Matrix::new(&self.taps, TAPS * outputs, self.positions);
        let hidden = Matrix::new(&self.hidden_2, hidden_2, self.positions);
        product(&mut gradient.layers[2][at_3.clone()], taps, hidden.transposed());
        let kernels = Matrix::new(&weights.layers[2][at_3], TAPS * outputs, hidden_2);
        product(&mut self.pulled_2, kernels.transposed(), taps);
        through_relu(&mut self.hidden_2, &self.pulled_2);
        let features = &mut self.hidden_1[network * hidden_1 * self.positions..][..hidden_1 * self.positions];
        let pulled = Matrix::new(&self.hidden_2, hidden_2, self.positions);
        let seen = Matrix::new(features, hidden_1, self.positions).transposed();
        product(&mut gradient.layers[1][at_2.clone()], pulled, seen);
        let kernels = Matrix::new(&weights.layers[1][at_2], hidden_2, hidden_1);
        product(&mut self.pulled_1, kernels.transposed(), pulled);
        through_relu(features, &self.pulled_1);
        loss
    }
}

/// A few networks of one problem, trained on one thread.
pub(super) struct Unit<'a> {
    problem: &'a Problem,
    /// `[position, input]` of the columns that windows are taken from.
    patches: &'a [f32],
    networks: Range<usize>,
    buffers: Buffers,
}

impl<'a> Unit<'a> {
    /// For windows of `columns` valid columns.
    pub(super) fn new(problem: &'a Problem, patches: &'a [f32], networks: Range<usize>, columns: usize) -> Self {
        let buffers = Buffers::new(problem.layout, problem.domain, networks.len(), columns);
        Self { problem, patches, networks, buffers }
    }

    /// Sum of the losses over a window, whose patches begin at column `first` of those given; fills `gradient`. The
    /// gradient of the patches is never formed.
    pub(super) fn gradient(
        &mut self,
        weights: &Weights,
        window: &Range<usize>,
        first: usize,
        gradient: &mut Weights,
    ) -> f64 {
        let (positions, inputs) = (self.buffers.positions, self.problem.layout.inputs());
        let patches = &self.patches[first * self.problem.domain.rows() * inputs..][..positions * inputs];
        self.buffers.layer_1(weights, patches);
        let mut loss = 0.0;
        for (at, number) in self.networks.clone().enumerate() {
            loss += self.buffers.pull(weights, gradient, at, self.problem, number, window);
        }
        let rows = weights.networks * self.problem.layout.hidden[0];
        let pulled = Matrix::new(&self.buffers.hidden_1, rows, positions);
        product(&mut gradient.layers[0], pulled, Matrix::new(patches, positions, inputs));
        loss
    }

    /// Trains from the initial weights; the losses over the window are those of a few steps, told by the number of steps done.
    pub(super) fn train(
        mut self,
        parameters: &Parameters,
        progress: &dyn Progress,
    ) -> Result<(Weights, Vec<(u32, f64)>), JobError> {
        let layout = self.problem.layout;
        let mut weights = self.problem.initial(parameters, self.networks.clone());
        let mut gradient = Weights::zeros(layout, weights.networks);
        let (mut mean, mut square) = (gradient.clone(), gradient.clone());
        let mut curve = Vec::new();
        for (done, (window, step)) in
            windows(self.problem.domain, parameters).iter().zip(Steps::new(parameters, layout)).enumerate()
        {
            if progress.cancelled() {
                return Err(JobError::Interrupted);
            }
            let loss = self.gradient(&weights, window, window.start, &mut gradient);
            if is_point(done, parameters.iterations) {
                curve.push((done as u32, loss));
            }
            for (at, gradient) in gradient.layers.iter().enumerate() {
                adam(&mut weights.layers[at], gradient, &mut mean.layers[at], &mut square.layers[at], step);
            }
            progress.advance(self.networks.len() as u64);
        }
        Ok((weights, curve))
    }
}
