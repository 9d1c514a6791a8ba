//! The lines between an end of the grid and the end of k-space, which have source lines on one side only.

use std::ops::Range;

use contract::prepared::Sampling;
use ndarray::s;

use super::fit::{Fit, Region};
use super::local::Energy;
use super::products::{Products, Reach, Target};
use super::{Filled, Options, SOURCE_LINES};
use crate::Result;

/// First and last of the lines that an image of so many lines has. A grid ends up to R - 1 lines before k-space does: these are missing
/// as others are. A grid that could go on was cut: more of them, or zeros around a smaller k-space, were never meant to be acquired.
#[must_use]
pub const fn range(sampling: &Sampling, lines: usize) -> (usize, usize) {
    let Sampling { acceleration, offset, first, last, .. } = *sampling;
    // The grid line after the last acquired one, which may be a calibration line.
    let next = last + acceleration - (last + acceleration - offset) % acceleration;
    (if first <= offset { 0 } else { first }, if next >= lines && lines > 0 { lines - 1 } else { last })
}

/// The lines beyond the grid and the weights that fill them.
pub(super) struct Beyond {
    fit: Fit,
    targets: Vec<Target>,
}

impl Beyond {
    /// Fits to regions that the weights of the lines within the grid were fitted to. `None` where nothing is beyond it, where the signal there, the
    /// mean of all lines, is below the noise, so that empty lines err less than acquired ones, and where a region has too few lines.
    pub(super) fn new(
        regions: &[Region<'_>],
        mask: &[bool],
        sampling: &Sampling,
        energy: &Energy,
        within: &Fit,
        options: &Options,
        on: &dyn Products,
    ) -> Result<Option<Self>> {
        let (acceleration, reach) = (sampling.acceleration, Reach::Beyond);
        let targets = targets(mask, sampling);
        let signal: f64 = targets.iter().map(|target| energy.map.row(target.line).sum()).sum();
        let samples = targets.len() * energy.map.dim().1;
        let noise = samples as f64 * within.coils as f64 * within.noise_variance;
        // Separate calibration lines are not left out of the fit where they are too few: the fill alone would confirm its own errors.
        let enough = regions.iter().all(|region| region.lines.dim().1 >= reach.span(acceleration));
        if signal <= noise || !enough {
            return Ok(None);
        }
        let fit = Fit::new(regions, (acceleration, reach), within.noise_variance, false, options, on)?;
        Ok(Some(Self { fit, targets }))
    }

    /// Fills the lines from the acquired ones of `filled`.
    pub(super) fn apply(&self, filled: &mut Filled, mask: &[bool], energy: &Energy, on: &dyn Products) -> Result<()> {
        let bins = self.fit.bins(energy);
        for (line, values) in self.fit.predict((&filled.kspace, mask), &self.targets, &bins, on)? {
            let to = filled.kspace.slice_mut(s![.., line, ..]);
            to.into_iter().zip(values).for_each(|(to, value)| *to = value);
            self.fit.expect(&mut filled.error_variance, line, energy, &bins);
        }
        Ok(())
    }
}

/// The lines beyond the grid, where the grid lines next to them were acquired, in the order of their anchors.
fn targets(mask: &[bool], sampling: &Sampling) -> Vec<Target> {
    let Sampling { acceleration, offset, first, last, .. } = *sampling;
    let (start, end) = range(sampling, mask.len());
    let on_grid = |line: &usize| line % acceleration == offset;
    let (Some(lowest), Some(highest)) = ((first..=last).find(on_grid), (first..=last).rev().find(on_grid)) else {
        return Vec::new();
    };
    let reach = (SOURCE_LINES - 1) * acceleration;
    // The outputs of a patch before its sources, and those after them.
    let ends = [
        Some((lowest, 0..acceleration - 1)),
        highest.checked_sub(reach).map(|anchor| (anchor, acceleration - 1..2 * (acceleration - 1))),
    ];
    let acquired = |anchor: usize| (0..SOURCE_LINES).all(|at| mask.get(anchor + at * acceleration) == Some(&true));
    let of_end = |(anchor, outputs): (usize, Range<usize>)| {
        outputs.filter_map(move |output| Reach::Beyond.target(acceleration, anchor as isize, output))
    };
    let missing = |target: &Target| {
        let line = target.line;
        (start..=end).contains(&line) && !(first..=last).contains(&line) && !mask[line]
    };
    ends.into_iter().flatten().filter(|(anchor, _)| acquired(*anchor)).flat_map(of_end).filter(missing).collect()
}
