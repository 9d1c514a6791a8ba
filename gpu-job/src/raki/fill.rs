//! The missing lines of an entry.

use std::collections::BTreeMap;

use contract::prepared::Sampling;
use kspace::Complex32;
use ndarray::{Array3, ArrayView3, s};

use super::layout::Layout;
pub use super::lesson::Lesson;
use super::linear::{Linear, PART};
use super::parameters::Parameters;
use super::patches::{Planes, Problem};
use super::{Backend, Fit};
use crate::error::JobError;

/// The largest magnitude of the scaled k-space. Networks without biases are homogeneous, so the scale only sets the
/// size of the data against the size of initial weights and of Adam's steps; this is the published one.
const SCALED_MAXIMUM: f32 = 0.015;

/// An entry whose missing lines are to be filled.
#[derive(Clone)]
pub struct Entry<'a> {
    /// `[coil, ky, kx]`.
    pub kspace: &'a Array3<Complex32>,
    /// Acquired lines.
    pub mask: &'a [bool],
    /// The sampling found in the data, with acceleration above 1.
    pub sampling: Sampling,
    /// Number of the entry.
    pub number: u64,
    /// Sizes of the networks.
    pub parameters: Parameters,
    /// `[coil, line, kx]`: separate calibration lines, of the energy of the image, in the place of those in k-space.
    pub calibration: Option<ArrayView3<'a, Complex32>>,
    /// What the networks learn from instead of the calibration lines.
    pub lesson: Option<Lesson<'a>>,
    /// What the networks learn the rest of, where there is a lesson.
    pub linear: Option<&'a dyn Linear>,
}

/// A filled entry.
#[derive(Debug, Clone)]
pub struct Filled {
    /// `[coil, ky, kx]`: acquired lines unchanged, missing lines between the first and the last acquired one predicted, others those of
    /// the lesson.
    pub kspace: Array3<Complex32>,
    /// Squared norm of (predicted - acquired) over the calibration lines off the grid.
    pub calibration_error: f64,
    /// Squared norm of those lines.
    pub calibration_power: f64,
}

impl Entry<'_> {
    /// Sizes of the networks.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.parameters.layout(self.kspace.dim().0, self.sampling.acceleration)
    }

    /// The factor that brings k-space to the scale of training; `None` when all samples are zero.
    ///
    /// # Errors
    /// [`JobError::BadData`] for samples that are not finite.
    fn scale(&self) -> Result<Option<f32>, JobError> {
        finite(self.kspace.view())?;
        let largest = self.kspace.iter().map(|sample| sample.norm_sqr()).fold(0.0, f32::max).sqrt();
        Ok((largest > 0.0).then(|| SCALED_MAXIMUM / largest))
    }

    /// What the networks learn from: the lesson, else the calibration lines, all of whose samples count alike. `None`
    /// for an entry of zeros, which has nothing to fill.
    ///
    /// # Errors
    /// [`JobError::BadData`] with what is too small, or for samples that are not finite.
    pub fn problem(&self) -> Result<Option<Problem>, JobError> {
        let (layout, sampling) = (self.layout(), self.sampling);
        let calibration = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
        let (kspace, lines) = match (&self.lesson, self.calibration) {
            (Some(lesson), _) => (lesson.kspace.view(), lesson.checked_lines(self.kspace.dim())?),
            (None, Some(separate)) => (separate, 0..separate.dim().1),
            (None, None) => (self.kspace.view(), calibration),
        };
        let lines: Vec<Option<usize>> = lines.map(Some).collect();
        layout.domain(lines.len(), kspace.dim().2, layout.acceleration).check(layout).map_err(JobError::BadData)?;
        finite(kspace)?;
        let Some(scale) = self.scale()? else { return Ok(None) };
        let planes = Planes::new(kspace, layout, layout.acceleration, &lines, 0, scale);
        let mut problem = match &self.lesson {
            Some(lesson) => {
                let weights = lesson.weights(layout);
                // A valid row p predicts the lines p + 1 ..= p + R - 1.
                let weight = |output, column, row| weights[[row + 1 + output, column + layout.margin()]];
                Problem::new(planes, self.number, weight)
            }
            None => Problem::new(planes, self.number, |_, _, _| 1.0),
        };
        if let (Some(lesson), Some(linear)) = (&self.lesson, self.linear) {
            self.leave(&mut problem, lesson, linear, PART * scale)?;
        }
        Ok(Some(problem))
    }

    /// Takes `part` of what `linear` predicts off the targets. Every line of the lesson is a source and a target, on a grid or off it.
    fn leave(
        &self,
        problem: &mut Problem,
        lesson: &Lesson<'_>,
        linear: &dyn Linear,
        part: f32,
    ) -> Result<(), JobError> {
        let range = self.sampling.first..=self.sampling.last;
        let mask: Vec<bool> = (0..self.mask.len()).map(|line| range.contains(&line)).collect();
        let acceleration = self.sampling.acceleration;
        for offset in 0..acceleration {
            let grid = Sampling { offset, ..self.sampling };
            for (line, values) in linear.predict(lesson.kspace, &mask, &grid, lesson.lines.clone())? {
                let after = (line + acceleration - offset) % acceleration;
                if let Some(row) = line.checked_sub(after + lesson.lines.start) {
                    problem.leave(row, after - 1, &values, part);
                }
            }
        }
        Ok(())
    }

    /// Predicts every missing line between the first and the last acquired one. Edges are padded with zeros: a
    /// grid line that does not exist or was not acquired counts as zeros, and so do samples beyond the readout. Lines that have no
    /// acquired ones on both sides are taken from the lesson, where there is one.
    ///
    /// # Errors
    /// Those of [`Backend::predict`] and of [`Self::problem`].
    pub fn fill(&self, backend: &dyn Backend, fit: &Fit) -> Result<Filled, JobError> {
        let mut filled = Filled { kspace: self.kspace.to_owned(), calibration_error: 0.0, calibration_power: 0.0 };
        let Some(scale) = self.scale()? else { return Ok(filled) };
        let (coils, ny, nx) = self.kspace.dim();
        if let Some(lesson) = &self.lesson {
            lesson.checked_lines(self.kspace.dim())?;
            for line in (0..self.sampling.first).chain(self.sampling.last + 1..ny) {
                filled.kspace.slice_mut(s![.., line, ..]).assign(&lesson.kspace.slice(s![.., line, ..]));
            }
        }
        let r = self.sampling.acceleration as isize;
        let offset = self.sampling.offset as isize;
        let grid_line_before = |line: usize| (line as isize - offset).div_euclid(r);
        let (start, end) = (grid_line_before(self.sampling.first), grid_line_before(self.sampling.last));
        let line = |grid: isize| usize::try_from(offset + grid * r).ok();
        // The support of the last position reaches two grid lines further.
        let lines: Vec<Option<usize>> =
            (start..=end + 2).map(|grid| line(grid).filter(|ky| *ky < ny && self.mask[*ky])).collect();
        let layout = self.layout();
        let planes = Planes::new(self.kspace.view(), layout, 1, &lines, layout.margin(), scale);
        let predicted = averaged(backend.predict(&fit.weights, &planes)?, fit.weights.networks / layout.channels());
        let beside = match (&self.lesson, self.linear) {
            (Some(_), Some(linear)) => {
                let range = self.sampling.first..self.sampling.last + 1;
                linear.predict(self.kspace, self.mask, &self.sampling, range)?
            }
            _ => Vec::new(),
        };
        let beside: BTreeMap<usize, Vec<Complex32>> = beside.into_iter().collect();
        let rows = planes.domain().rows();
        let outputs = layout.outputs();
        let block = outputs * nx * rows;
        for (at, grid) in (start..=end).enumerate() {
            for output in 0..outputs {
                let Ok(ky) = usize::try_from(offset + grid * r + 1 + output as isize) else { continue };
                if ky < self.sampling.first || ky > self.sampling.last {
                    continue;
                }
                let beside = beside.get(&ky);
                for coil in 0..coils {
                    for kx in 0..nx {
                        let from = (output * nx + kx) * rows + at;
                        let mut value =
                            Complex32::new(predicted[coil * block + from], predicted[(coils + coil) * block + from])
                                / scale;
                        if let Some(beside) = beside {
                            value += beside[coil * nx + kx] * PART;
                        }
                        if self.mask[ky] {
                            let acquired = self.kspace[[coil, ky, kx]];
                            filled.calibration_error += f64::from((value - acquired).norm_sqr());
                            filled.calibration_power += f64::from(acquired.norm_sqr());
                        } else {
                            filled.kspace[[coil, ky, kx]] = value;
                        }
                    }
                }
            }
        }
        Ok(filled)
    }
}

/// The mean of the predictions of the sets, which follow one another.
fn averaged(mut predicted: Vec<f32>, sets: usize) -> Vec<f32> {
    let one = predicted.len() / sets;
    let (first, others) = predicted.split_at_mut(one);
    for set in others.chunks_exact(one) {
        first.iter_mut().zip(set).for_each(|(sum, value)| *sum += value);
    }
    first.iter_mut().for_each(|sum| *sum /= sets as f32);
    predicted.truncate(one);
    predicted
}

/// Refuses samples that are not finite numbers.
///
/// # Errors
/// [`JobError::BadData`].
pub(crate) fn finite(kspace: ArrayView3<'_, Complex32>) -> Result<(), JobError> {
    if kspace.iter().all(|sample| sample.re.is_finite() && sample.im.is_finite()) {
        return Ok(());
    }
    let found = "k-space holds samples that are not finite numbers";
    Err(JobError::BadData(format!("{found}: export the raw data again")))
}
