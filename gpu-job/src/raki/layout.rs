//! Sizes of the networks and of the k-space they run over.

/// Samples of kx under the kernel of layer 3.
pub const KERNEL_3: usize = 3;
/// Lines of ky under the kernels of layers 1 and 3.
pub const KERNEL_KY: usize = 2;
/// Positions under the kernel of layer 3.
pub const TAPS: usize = KERNEL_3 * KERNEL_KY;
/// Sizes of the networks of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Receive coils.
    pub coils: usize,
    /// Distance R of the acquired lines, at least 2.
    pub acceleration: usize,
    /// Samples of kx under the kernel of layer 1, odd.
    pub kernel_1: usize,
    /// Features after layers 1 and 2.
    pub hidden: [usize; 2],
}

impl Layout {
    /// A rectangle of `lines` of `width` samples that these networks run over, `step` lines between the two of a kernel.
    #[must_use]
    pub const fn domain(self, lines: usize, width: usize, step: usize) -> Domain {
        Domain { lines, width, step, kernel_1: self.kernel_1 }
    }

    /// Samples of kx that a network sees on each side of the one it predicts.
    #[must_use]
    pub const fn margin(self) -> usize {
        (self.kernel_1 + KERNEL_3 - 2) / 2
    }

    /// Real channels: real parts of all coils, then imaginary parts. As many networks.
    #[must_use]
    pub const fn channels(self) -> usize {
        2 * self.coils
    }

    /// Samples a unit of layer 1 sees.
    #[must_use]
    pub const fn inputs(self) -> usize {
        self.channels() * KERNEL_KY * self.kernel_1
    }

    /// Lines a network predicts.
    #[must_use]
    pub const fn outputs(self) -> usize {
        self.acceleration - 1
    }

    /// Weights of one network in layers 1, 2 and 3.
    #[must_use]
    pub const fn weights(self) -> [usize; 3] {
        let [hidden_1, hidden_2] = self.hidden;
        [hidden_1 * self.inputs(), hidden_2 * hidden_1, TAPS * self.outputs() * hidden_2]
    }

    /// Fewest calibration lines that give a training target: the first and the last line of the support and all between.
    #[must_use]
    pub const fn least_calibration_lines(self) -> usize {
        2 * self.acceleration + 1
    }
}

/// A rectangle of k-space lines and the positions of each layer in it.
///
/// Positions are counted column (kx) by column with the row (ky) fastest, so that a window of the readout is one
/// contiguous range: position = column * rows + row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    /// Lines of ky.
    pub lines: usize,
    /// Samples of kx.
    pub width: usize,
    /// Distance in lines between the two lines under a kernel: R among calibration lines, 1 among grid lines.
    pub step: usize,
    /// Samples of kx under the kernel of layer 1.
    pub kernel_1: usize,
}

impl Domain {
    /// Whether calibration lines of this extent can train networks, else what was found and what to do.
    ///
    /// # Errors
    /// One sentence for a person.
    pub fn check(self, layout: Layout) -> Result<(), String> {
        if self.lines < layout.least_calibration_lines() {
            return Err(format!(
                "found {} calibration lines for acceleration {}, RAKI needs at least {}: acquire more of them, or choose \
                 the method nwg, grappa or zero-filled",
                self.lines,
                layout.acceleration,
                layout.least_calibration_lines()
            ));
        }
        if self.width <= 2 * layout.margin() {
            return Err(format!(
                "found {} samples in a readout, RAKI needs at least {}: choose the method zero-filled",
                self.width,
                2 * layout.margin() + 1
            ));
        }
        Ok(())
    }

    /// Rows of layer 1.
    #[must_use]
    pub const fn rows(self) -> usize {
        self.lines - self.step
    }

    /// Columns of layer 1.
    #[must_use]
    pub const fn columns(self) -> usize {
        self.width - (self.kernel_1 - 1)
    }

    /// Rows where the whole support fits.
    #[must_use]
    pub const fn valid_rows(self) -> usize {
        self.rows() - self.step
    }

    /// Columns where the whole support fits.
    #[must_use]
    pub const fn valid_columns(self) -> usize {
        self.columns() - (KERNEL_3 - 1)
    }

    /// Samples of the outputs of one network over all valid columns and all rows of layer 1.
    #[must_use]
    pub const fn samples(self, layout: Layout) -> usize {
        layout.outputs() * self.valid_columns() * self.rows()
    }

    /// Distance of a tap of layer 3 from the first, in positions of layer 1. Taps are numbered line by line.
    #[must_use]
    pub const fn tap(self, tap: usize) -> usize {
        (tap % KERNEL_3) * self.rows() + (tap / KERNEL_3) * self.step
    }

    /// Positions of layer 1 under a window of `columns` valid columns.
    #[must_use]
    pub const fn positions(self, columns: usize) -> usize {
        (columns + KERNEL_3 - 1) * self.rows()
    }
}
