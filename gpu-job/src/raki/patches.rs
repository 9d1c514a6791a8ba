//! Planes of k-space, patch matrices and training problems.

use std::ops::Range;

use kspace::Complex32;
use ndarray::ArrayView3;

use super::layout::{Domain, KERNEL_1, KERNEL_3, KERNEL_KY, Layout, MARGIN};

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
        let domain = Domain { lines: lines.len(), width: readout + 2 * margin, step };
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

    /// Patches `[position, input]` of layer 1 under a window of valid columns, input = (channel, line, kx).
    #[must_use]
    pub fn patches(&self, window: &Range<usize>) -> Vec<f32> {
        let (domain, inputs) = (self.domain, self.layout.inputs());
        let mut patches = vec![0.0; domain.positions(window.len()) * inputs];
        let columns = window.start..window.end + KERNEL_3 - 1;
        let positions = columns.flat_map(|column| (0..domain.rows()).map(move |row| (column, row)));
        for (patch, (column, row)) in patches.chunks_exact_mut(inputs).zip(positions) {
            for (at, samples) in patch.chunks_exact_mut(KERNEL_1).enumerate() {
                let (channel, line) = (at / KERNEL_KY, row + (at % KERNEL_KY) * domain.step);
                let from = (channel * domain.lines + line) * domain.width + column;
                samples.copy_from_slice(&self.data[from..from + KERNEL_1]);
            }
        }
        patches
    }

    /// Targets `[network, output, column, row]`: for the valid row p, the lines p + 1 ..= p + R - 1.
    fn targets(&self) -> Vec<f32> {
        let domain = self.domain;
        let (columns, rows) = (domain.valid_columns(), domain.valid_rows());
        let mut targets = Vec::with_capacity(self.layout.channels() * self.layout.outputs() * columns * rows);
        for channel in 0..self.layout.channels() {
            for output in 0..self.layout.outputs() {
                for column in 0..columns {
                    let from = (channel * domain.lines + 1 + output) * domain.width + column + MARGIN;
                    targets.extend((0..rows).map(|row| self.data[from + row * domain.width]));
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
    /// The calibration lines.
    pub domain: Domain,
    /// Number of the entry, which its initial weights depend on.
    pub entry: u64,
    /// `[position, input]` over all columns of layer 1.
    pub patches: Vec<f32>,
    /// `[network, output, column, row]` over all valid positions.
    pub targets: Vec<f32>,
}

impl Problem {
    /// Gathers patches and targets, once. `calibration` has step R, no margin, and a valid domain.
    #[must_use]
    pub fn new(calibration: &Planes, entry: u64) -> Self {
        let domain = calibration.domain;
        Self {
            layout: calibration.layout,
            domain,
            entry,
            patches: calibration.patches(&(0..domain.valid_columns())),
            targets: calibration.targets(),
        }
    }

    /// Patches under a window of valid columns.
    #[must_use]
    pub fn window(&self, window: &Range<usize>) -> &[f32] {
        let column = self.domain.rows() * self.layout.inputs();
        &self.patches[window.start * column..(window.end + KERNEL_3 - 1) * column]
    }

    /// Targets `[column, row]` of one output of one network under a window.
    #[must_use]
    pub fn target(&self, network: usize, output: usize, window: &Range<usize>) -> &[f32] {
        let rows = self.domain.valid_rows();
        let at = (network * self.layout.outputs() + output) * self.domain.valid_columns();
        &self.targets[(at + window.start) * rows..(at + window.end) * rows]
    }

    /// Bytes of patches and targets, a measure of the memory that training needs.
    #[must_use]
    pub const fn size(layout: Layout, domain: Domain) -> usize {
        let patches = domain.columns() * domain.rows() * layout.inputs();
        let targets = layout.channels() * layout.outputs() * domain.valid_columns() * domain.valid_rows();
        size_of::<f32>() * (patches + targets)
    }
}
