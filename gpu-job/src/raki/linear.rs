//! A linear method beside the networks, which learn what it leaves.
//!
//! Networks are trained in a few hundred steps and end some part short of what they could reach. Where a linear method explains most of
//! the data, that part is larger than all that they add to it. So they have a linear path beside them, as in residual RAKI (Zhang et al.,
//! NeuroImage 256:119248, 2022), but one that is solved for beforehand and not trained: their targets are less [`PART`] of what it
//! predicts, and so much of it is added to what they predict.

use std::ops::Range;

use contract::prepared::Sampling;
use kspace::Complex32;
use ndarray::Array3;

use crate::error::JobError;

/// Part of a linear prediction that is taken as it is. It passes on noise, of which networks learn to take some away; with all of it they
/// had nothing to take away. Of 0, 1/2, 3/4 and 1, this has the best of both over scans of little and of much noise.
pub const PART: f32 = 0.75;

/// A method that is linear in the samples.
pub trait Linear: Sync {
    /// Lines within `lines` between those of the grid of `sampling`, each `[coil, kx]`, predicted from the grid lines of
    /// `kspace`, `[coil, ky, kx]`, that are in `mask`; others count as zeros.
    ///
    /// # Errors
    /// [`JobError::Transient`] when a device refuses.
    fn predict(
        &self,
        kspace: &Array3<Complex32>,
        mask: &[bool],
        sampling: &Sampling,
        lines: Range<usize>,
    ) -> Result<Vec<(usize, Vec<Complex32>)>, JobError>;
}
