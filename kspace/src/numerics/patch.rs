//! Source patches of linear kernels: grid lines by readout points by coils.

use ndarray::{Array3, s};

use crate::Complex32;

/// Extent of a patch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    /// Grid lines.
    pub(super) lines: usize,
    /// Readout points, with the target in their middle.
    pub(super) taps: usize,
}

impl Patch {
    /// Coil, line and tap of a sample of the patch.
    pub(super) const fn place(self, row: usize) -> (usize, usize, usize) {
        let each = self.lines * self.taps;
        (row / each, row % each / self.taps, row % self.taps)
    }

    /// The patches around every point of the readout, `[sample, point]`, of `kspace` `[coil, ky, kx]`. Their lines are `spacing` apart from
    /// `first` on; those that are outside, or not `present`, count as zeros, like points outside the readout.
    pub(super) fn gather(
        self,
        kspace: &Array3<Complex32>,
        present: &[bool],
        (first, spacing): (isize, usize),
        to: &mut [Complex32],
    ) {
        let (_, lines, points) = kspace.dim();
        to.fill(Complex32::default());
        for (row, to) in to.chunks_exact_mut(points).enumerate() {
            let (coil, line, tap) = self.place(row);
            let line = first + (line * spacing) as isize;
            if line < 0 || line >= lines as isize || !present[line as usize] {
                continue;
            }
            // Tap t of the target at kx reads kx + t - taps / 2; outside the readout there is nothing.
            let shift = tap as isize - (self.taps / 2) as isize;
            let (start, end) = ((-shift).max(0), (points as isize).min(points as isize - shift));
            let from = kspace.slice(s![coil, line, start + shift..end + shift]);
            to[start as usize..end as usize].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}
