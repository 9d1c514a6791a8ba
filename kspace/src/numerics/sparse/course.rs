//! How strongly details shrink in each step, and when a refinement has done its work.

use super::shrink::Shrink;
use super::{Options, Problem};
use crate::Complex32;

/// Steps from a look at the image to the next.
const ROUND: usize = 10;
/// Deviation of the acquired samples from those of the image, over that of their noise, up to which the image explains them.
const EXPLAINED: f64 = 2.0;

/// The course of a refinement: a number of steps, then rounds of further ones as long as they are of use.
pub struct Course {
    least: usize,
    thresholds: [f32; 2],
    /// Energy of the noise of an image.
    noise: f64,
    /// Energy of what the acquired samples may differ by.
    explained: f64,
    before: Option<Vec<Complex32>>,
}

impl Course {
    /// Begins with an image, `[map, y, x]`, which may be shifted circularly.
    #[must_use]
    pub fn new(problem: &Problem<'_>, image: &[Complex32], options: &Options) -> Self {
        let (_, coils, rows, columns) = problem.maps.dim();
        let area = rows * columns;
        let acquired = problem.mask.iter().filter(|acquired| **acquired).count() * coils * columns;
        let detail = Shrink::new((1, rows, columns)).finest_detail(&image[..area]);
        let noise = (problem.noise_variance as f32).sqrt();
        let first = options.threshold * (noise * detail).sqrt();
        Self {
            least: options.iterations,
            thresholds: [first, first.min(options.threshold * noise)],
            noise: problem.noise_variance * area as f64,
            explained: problem.noise_variance * acquired as f64 * EXPLAINED.powi(2),
            before: None,
        }
    }

    /// What details shrink by in the step after so many.
    #[must_use]
    pub const fn threshold(&self, done: usize) -> f32 {
        self.thresholds[if done < self.least { 0 } else { 1 }]
    }

    /// Whether the image is looked at after so many steps.
    #[must_use]
    pub const fn looks(&self, done: usize) -> bool {
        done > 0 && done.is_multiple_of(ROUND) && done + ROUND >= self.least
    }

    /// Whether an image that is [looked](Self::looks) at is the last: since the look before it moved by no more than the noise of a fully
    /// sampled one, all maps together, or it does not explain the acquired samples, for errors of the model that further steps do not mend.
    /// `misfit` is the energy of the acquired samples less those of the image.
    ///
    /// # Errors
    /// Those of `misfit`.
    pub fn ends<E>(&mut self, image: Vec<Complex32>, misfit: impl FnOnce() -> Result<f64, E>) -> Result<bool, E> {
        let before = self.before.replace(image);
        let (Some(now), Some(before)) = (&self.before, before) else { return Ok(false) };
        let moved: f64 = now.iter().zip(&before).map(|(now, before)| f64::from((now - before).norm_sqr())).sum();
        // Numbers that are not finite end it as well.
        let goes_on = moved > self.noise && misfit()? <= self.explained;
        Ok(!goes_on)
    }
}
