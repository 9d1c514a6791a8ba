//! Planes of k-space, patch matrices and training problems.

use std::ops::Range;

use kspace::Complex32;
use ndarray::ArrayView3;

use super::layout::{Domain, KERNEL_3, KERNEL_KY, Layout, TAPS};
use super::parameters::Parameters;
use super::weights::Weights;

/// Real planes `[channel, line, kx]` of some lines of k-space: real parts of all coils, then imaginary parts.
#[derive(Debug, Clone)]
pub struct Planes {
    layout: Layout,
    domain: Domain,
    data: Vec<f32>,
}

impl Planes {
    /// Planes of the lines that `line` names (`None`: a line of zeros), with `margin` zeros on both sides of the
    /// readout, every sample multiplied by `scale`. `kspace` is `[coil, ky, kx]`.
    #[must_use]
    pub fn new(
        kspace: ArrayView3<'_, Complex32>,
        layout: Layout,
        step: usize,
        lines: &[Option<usize>],
        margin: usize,
        scale: f32,
    ) -> Self {
        let (coils, _, readout) = kspace.dim();
        let domain = layout.domain(lines.len(), readout + 2 * margin, step);
        let plane = domain.lines * domain.width;
        let mut data = vec![0.0; 2 * coils * plane];
        for (coil, samples) in kspace.outer_iter().enumerate() {
            for (row, ky) in lines.iter().enumerate() {
                let Some(ky) = *ky else { continue };
                let at = coil * plane + row * domain.width + margin;
                for (kx, sample) in samples.row(ky).iter().enumerate() {
                    data[at + kx] = sample.re * scale;
                    data[coils * plane + at + kx] = sample.im * scale;
                }
            }
        }
        Self { layout, domain, data }
    }

    /// Sizes of the networks that run over these planes.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The rectangle of lines.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    /// All samples, `[channel, line, kx]`.
    #[must_use]
    pub fn samples(&self) -> &[f32] {
        &self.data
    }

    /// Patches `[position, input]` of layer 1 under a window of valid columns, input = (channel, line, kx).
    #[must_use]
    pub fn patches(&self, window: &Range<usize>) -> Vec<f32> {
        let (domain, inputs, taps) = (self.domain, self.layout.inputs(), self.layout.kernel_1);
        let mut patches = vec![0.0; domain.positions(window.len()) * inputs];
        let columns = window.start..window.end + KERNEL_3 - 1;
        let positions = columns.flat_map(|column| (0..domain.rows()).map(move |row| (column, row)));
        for (patch, (column, row)) in patches.chunks_exact_mut(inputs).zip(positions) {
            for (at, samples) in patch.chunks_exact_mut(taps).enumerate() {
                let (channel, line) = (at / KERNEL_KY, row + (at % KERNEL_KY) * domain.step);
                let from = (channel * domain.lines + line) * domain.width + column;
                samples.copy_from_slice(&self.data[from..from + taps]);
            }
        }
        patches
    }

    /// Targets `[channel, output, column, row]`: for the valid row p, the lines p + 1 ..= p + R - 1; zeros in the
    /// rows of layer 1 after the valid ones.
    fn targets(&self) -> Vec<f32> {
        let (domain, margin) = (self.domain, self.layout.margin());
        let mut targets = Vec::with_capacity(self.layout.channels() * domain.samples(self.layout));
        for channel in 0..self.layout.channels() {
            for output in 0..self.layout.outputs() {
                for column in 0..domain.valid_columns() {
                    let from = (channel * domain.lines + 1 + output) * domain.width + column + margin;
                    targets.extend((0..domain.valid_rows()).map(|row| self.data[from + row * domain.width]));
                    targets.extend((domain.valid_rows()..domain.rows()).map(|_| 0.0));
                }
            }
        }
        targets
    }
}

/// What the networks of one slice learn from.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Sizes of the networks.
    pub layout: Layout,
    /// The lines learnt from.
    pub domain: Domain,
    /// Number of the entry, which its initial weights depend on.
    pub entry: u64,
    /// The lines, step R, no margin.
    pub planes: Planes,
    /// `[channel, output, column, row]` over all valid columns and all rows of layer 1.
    pub targets: Vec<f32>,
    /// What the residual of each target is multiplied by, `[output, column, row]`: 0 in the rows that have no target, so
    /// that loops can run over whole columns.
    pub weights: Vec<f32>,
    /// Trained networks of a neighbouring slice to begin with, of this layout; `None` to begin with random ones.
    pub start: Option<Weights>,
}

impl Problem {
    /// Weights of some of its networks that training begins with.
    #[must_use]
    pub fn initial(&self, parameters: &Parameters, networks: Range<usize>) -> Weights {
        match &self.start {
            Some(start) => start.part(networks),
            None => Weights::initial(self.layout, parameters, self.entry, networks),
        }
    }

    /// Gathers targets. `planes` has step R, no margin, and a valid domain; `weight(output, column, row)` is the
    /// weight of a target.
    #[must_use]
    pub fn new(planes: Planes, entry: u64, weight: impl Fn(usize, usize, usize) -> f32) -> Self {
        let (layout, domain) = (planes.layout, planes.domain);
        let mut weights = Vec::with_capacity(domain.samples(layout));
        for output in 0..layout.outputs() {
            for column in 0..domain.valid_columns() {
                weights.extend((0..domain.valid_rows()).map(|row| weight(output, column, row)));
                weights.extend((domain.valid_rows()..domain.rows()).map(|_| 0.0));
            }
        }
        Self { layout, domain, entry, targets: planes.targets(), weights, planes, start: None }
    }

    /// Takes `part` of `values`, `[coil, kx]`, off the targets of an output at a row. Rows that have no target are passed over.
    pub(super) fn leave(&mut self, row: usize, output: usize, values: &[Complex32], part: f32) {
        let (layout, domain) = (self.layout, self.domain);
        if row >= domain.valid_rows() {
            return;
        }
        let (rows, columns) = (domain.rows(), domain.valid_columns());
        for (coil, values) in values.chunks_exact(domain.width).enumerate() {
            let mut off = |channel: usize, of: fn(&Complex32) -> f32| {
                let first = (channel * layout.outputs() + output) * columns * rows + row;
                let targets = self.targets[first..].iter_mut().step_by(rows);
                targets.zip(&values[layout.margin()..][..columns]).for_each(|(to, value)| *to -= of(value) * part);
            };
            off(coil, |value| value.re);
            off(layout.coils + coil, |value| value.im);
        }
    }

    /// Targets `[column, row]` of one output of one network under a window. Sets of networks follow one another.
    #[must_use]
    pub fn target(&self, network: usize, output: usize, window: &Range<usize>) -> &[f32] {
        let plane = (network % self.layout.channels()) * self.layout.outputs() + output;
        self.under(&self.targets, plane, window)
    }

    /// Weights `[column, row]` of one output under a window.
    #[must_use]
    pub fn weight(&self, output: usize, window: &Range<usize>) -> &[f32] {
        self.under(&self.weights, output, window)
    }

    fn under<'a>(&self, samples: &'a [f32], plane: usize, window: &Range<usize>) -> &'a [f32] {
        let (rows, at) = (self.domain.rows(), plane * self.domain.valid_columns());
        &samples[(at + window.start) * rows..(at + window.end) * rows]
    }

    /// The loss over all targets of networks that predict zeros, summed over one set.
    #[must_use]
    pub fn loss_of_zeros(&self) -> f64 {
        let all = 0..self.domain.valid_columns();
        let norm = |channel| -> f64 {
            let squares = (0..self.layout.outputs()).map(|output| -> f64 {
                let pairs = self.target(channel, output, &all).iter().zip(self.weight(output, &all));
                pairs.map(|(target, weight)| f64::from(target * weight).powi(2)).sum()
            });
            squares.sum::<f64>().sqrt()
        };
        (0..self.layout.channels()).map(norm).sum()
    }

    /// Most bytes that training one problem takes side by side with others: 4 times the numbers of
    ///
    /// - its lines, patches and targets over all columns,
    /// - 5 times its weights: with two means of Adam, and their gradient before and after it is written,
    /// - of a window, 3 times the features of layers 1 and 2, twice the taps, and the residual.
    #[must_use]
    pub fn size(layout: Layout, domain: Domain, parameters: &Parameters) -> usize {
        let (networks, [hidden_1, hidden_2]) = (parameters.networks(layout), layout.hidden);
        let lines = layout.channels() * domain.lines * domain.width;
        let patches = domain.columns() * domain.rows() * layout.inputs();
        let targets = (layout.channels() + 1) * domain.samples(layout);
        let weights = 5 * networks * layout.weights().iter().sum::<usize>();
        let features = 3 * (hidden_1 + hidden_2) + (2 * TAPS + 1) * layout.outputs();
        let step = networks * features * domain.positions(parameters.columns(domain));
        size_of::<f32>() * (lines + patches + targets + weights + step)
    }
}
