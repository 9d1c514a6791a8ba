//! Every method on every sampling of one prepared file.

use std::path::Path;

use contract::DevicePreference;
use contract::images::Combine;
use contract::prepared::Sampling;
use gpu_job::engine::{Clock, Engine, Recipe, Slice};
use gpu_job::raki::Backend;
use gpu_job::{JobError, Progress, device};
use kspace::Complex32;
use kspace::image::display::Display;
use kspace::image::geometry::{self, Grid};
use kspace::numerics::{combine, fft};
use kspace::prepared::{FileSource, Reader, Shape};
use kspace::undersample;
use ndarray::{Array2, Array3};

use super::cells::{Cell, Choice, Slices};
use super::figures::{Regions, Sums};
use super::{Comparison, Row, Section};
use crate::{Error, Result};

/// What is compared, and how.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Samplings, for a fully sampled file; empty for the default one.
    pub cells: Vec<Cell>,
    /// Methods, in the order of the table; empty for [`Choice::defaults`].
    pub choices: Vec<Choice>,
    /// Seed of everything random.
    pub seed: u64,
    /// Where networks are trained.
    pub device: DevicePreference,
}

/// The slices of a prepared file that are compared.
pub struct Study {
    reader: Reader<FileSource>,
    slices: Vec<usize>,
    complete: bool,
}

/// One sampling of all slices compared.
struct Sampled<'a> {
    cell: Option<Cell>,
    /// Acquired lines and sampling of each slice.
    lines: Vec<(Vec<bool>, Sampling)>,
    references: &'a [Array2<f32>],
    regions: Vec<Option<Regions>>,
}

impl Study {
    /// Opens a prepared file.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be read, [`Error::Usage`] for a slice that is not there, [`Error::Refused`] for slices
    /// that cannot be compared.
    pub fn open(prepared: &Path, slices: Slices) -> Result<Self> {
        let reader = Reader::open(FileSource::open(prepared)?)?;
        let entries = reader.shape.entries;
        let slices = match slices {
            Slices::Middle => vec![entries / 2],
            Slices::All => (0..entries).collect(),
            Slices::One(number) if number < entries => vec![number],
            Slices::One(number) => {
                return Err(Error::Usage(format!(
                    "found {entries} slices, slice {number} was asked for: give 0 to {}",
                    entries - 1
                )));
            }
        };
        let lines = reader.shape.ky;
        let complete = |slice: usize| reader.meta.entries[slice].sampling.acceleration == 1;
        for slice in slices.iter().copied().filter(|slice| complete(*slice)) {
            let Sampling { first, last, .. } = reader.meta.entries[slice].sampling;
            if (first, last) != (0, lines - 1) {
                return Err(Error::Refused(format!(
                    "slice {slice} has lines {first} to {last} of {lines} (partial Fourier): a reference needs all of them, and \
                     none is missing between these; compare a file that is fully sampled, or one that is undersampled"
                )));
            }
        }
        let full = slices.iter().filter(|slice| complete(**slice)).count();
        if full != 0 && full != slices.len() {
            return Err(Error::Refused(format!(
                "{full} of {} slices are fully sampled and the others are not: choose one with --slice",
                slices.len()
            )));
        }
        Ok(Self { complete: full > 0, reader, slices })
    }

    /// Whether the slices are fully sampled, so that there is a reference.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The slice that is shown: the middle one of those compared.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.slices[self.slices.len() / 2]
    }

    /// How images of [`Self::shown`] are shown: cropped as the scanner would, upright, with square pixels.
    pub fn display(&self) -> impl Fn(&Array2<f32>) -> Array2<f32> {
        let grid = Grid::of(&self.reader.meta.header);
        let at = self.shown();
        let place = self.reader.geometry.slice(ndarray::s![at..=at, ..]);
        let display = Display::of(&geometry::stack(&self.reader.meta.header, &grid, place));
        move |image| display.apply(&grid.crop(image))
    }

    /// Fully sampled or acquired k-space of [`Self::shown`], `[coil, ky, kx]`.
    ///
    /// # Errors
    /// [`Error::Data`].
    pub fn kspace(&self) -> Result<Array3<Complex32>> {
        Ok(self.reader.entry(self.shown())?)
    }

    /// Runs every method on every sampling. Times aside, the answer depends on the file and on `settings` alone.
    ///
    /// # Errors
    /// [`Error::Usage`] for samplings that the file cannot be given, [`Error::Interrupted`] when asked to stop,
    /// [`Error::Reconstruction`] when the device fails.
    pub fn compare(&self, settings: &Settings, progress: &dyn Progress) -> Result<Comparison> {
        let cells = self.cells(settings)?;
        let samplings: Vec<_> = cells.into_iter().map(|cell| Ok((cell, self.lines(cell)?))).collect::<Result<_>>()?;
        let choices = if settings.choices.is_empty() { Choice::defaults() } else { settings.choices.clone() };
        let chosen = device::choose(settings.device).map_err(failed)?;
        let mut references = Vec::new();
        let mut regions: Vec<Option<Regions>> = Vec::new();
        for slice in &self.slices {
            let kspace = self.reader.entry(*slice)?;
            if self.complete {
                references.push(combine::rss(&fft::ifft2c(&kspace)));
                regions.push(None);
            } else {
                let separate = self.reader.calibration(*slice)?;
                regions.push(Regions::of(&kspace, &self.reader.meta.entries[*slice].sampling, separate.as_ref()));
            }
        }
        let mut sampled = Sampled { cell: None, lines: Vec::new(), references: &references, regions };
        let mut sections = Vec::with_capacity(samplings.len());
        for (cell, lines) in samplings {
            (sampled.cell, sampled.lines) = (cell, lines);
            let run = |choice: &Choice| self.row(*choice, &sampled, settings.seed, chosen.backend, progress);
            let methods = choices.iter().map(run).collect::<Result<_>>()?;
            sections.push(self.section(&sampled, methods));
        }
        let shape = self.reader.shape;
        Ok(Comparison {
            coils: shape.coils,
            matrix: [shape.kx, shape.ky],
            slices: self.slices.clone(),
            slices_in_file: shape.entries,
            reference: self.complete,
            seed: settings.seed,
            device: chosen.name,
            cells: sections,
        })
    }

    /// Samplings to run; `None` is that of the file.
    fn cells(&self, settings: &Settings) -> Result<Vec<Option<Cell>>> {
        match (self.complete, settings.cells.as_slice()) {
            (true, []) => Ok(vec![Some(Cell::default())]),
            (true, cells) => Ok(cells.iter().copied().map(Some).collect()),
            (false, []) => Ok(vec![None]),
            (false, _) => Err(Error::Usage(format!(
                "the file is undersampled already, with acceleration {}: leave out --cells, --r and --acs, or give a fully sampled file",
                self.reader.meta.entries[self.shown()].sampling.acceleration
            ))),
        }
    }

    /// Acquired lines and sampling of each slice.
    fn lines(&self, cell: Option<Cell>) -> Result<Vec<(Vec<bool>, Sampling)>> {
        let own = |slice: &usize| {
            let mask = self.reader.mask.row(*slice).iter().map(|acquired| *acquired == 1).collect();
            (mask, self.reader.meta.entries[*slice].sampling)
        };
        match cell {
            Some(cell) => Ok(vec![cell.sample(self.reader.shape.ky)?; self.slices.len()]),
            None => Ok(self.slices.iter().map(own).collect()),
        }
    }

    fn section(&self, sampled: &Sampled<'_>, methods: Vec<Row>) -> Section {
        let (mask, sampling) = &sampled.lines[self.slices.len() / 2];
        let acquired = mask.iter().filter(|acquired| **acquired).count();
        Section {
            acceleration: sampling.acceleration,
            acs: match (sampled.cell, self.reader.shape.acs) {
                (Some(cell), _) => cell.acs,
                (None, Some((lines, _))) => lines,
                (None, None) => sampling.acs_lines,
            },
            acquired_fraction: acquired as f64 / mask.len().max(1) as f64,
            methods,
            reference: sampled.references.get(self.slices.len() / 2).cloned(),
        }
    }

    fn row(
        &self,
        choice: Choice,
        sampled: &Sampled<'_>,
        seed: u64,
        backend: &dyn Backend,
        progress: &dyn Progress,
    ) -> Result<Row> {
        let row = Row { method: choice.to_string(), ..Row::default() };
        // The reference is a root sum of squares, too.
        let recipe = Recipe { combine: Combine::Rss, ..Recipe::new(choice.method, Some(choice.refine), seed) };
        // A sampling that is given to the file brings its calibration lines along.
        let acs = if sampled.cell.is_some() { None } else { self.reader.shape.acs };
        let shape = Shape { acs, ..self.reader.shape };
        let refused = sampled.lines.iter().find_map(|(_, sampling)| recipe.check(sampling, &shape).err());
        if refused.is_some() {
            return Ok(Row { reason: refused, ..row });
        }
        let engine = Engine { recipe: &recipe, backend, progress };
        let samplings: Vec<Sampling> = sampled.lines.iter().map(|(_, sampling)| *sampling).collect();
        let steps = samplings.iter().map(|sampling| engine.steps(sampling, shape.coils)).sum();
        progress.stage(choice.method.name(), steps);
        let mut sums = Sums::default();
        let mut image = None;
        let places: Vec<usize> = (0..self.slices.len()).collect();
        for group in places.chunks(engine.group_size(&samplings, &shape)) {
            let slices = group.iter().map(|at| self.slice(*at, sampled)).collect::<Result<_>>()?;
            let results = match sums.timed(|| engine.group(slices, &mut Clock::default())) {
                Err(JobError::BadData(reason)) => return Ok(Row { reason: Some(reason), ..row }),
                results => results.map_err(failed)?,
            };
            for (at, result) in group.iter().zip(results) {
                sums.add(&result, sampled.references.get(*at), sampled.regions[*at].as_ref());
                if *at == self.slices.len() / 2 {
                    image = Some(result.magnitude());
                }
            }
        }
        Ok(Row { figures: Some(sums.figures()), image, ..row })
    }

    fn slice(&self, at: usize, sampled: &Sampled<'_>) -> Result<Slice> {
        let kspace = self.reader.entry(self.slices[at])?;
        let (mask, sampling) = &sampled.lines[at];
        Ok(Slice {
            kspace: undersample::keep(&kspace, mask),
            mask: mask.clone(),
            sampling: *sampling,
            number: self.slices[at] as u64,
            noise_variance: gpu_job::reconstruct::noise_variance(&self.reader.meta),
            calibration: if sampled.cell.is_some() { None } else { self.reader.calibration(self.slices[at])? },
            compare: false,
        })
    }
}

fn failed(error: JobError) -> Error {
    match error {
        JobError::Interrupted => Error::Interrupted,
        error => Error::Reconstruction { message: error.to_string(), exit: error.exit() },
    }
}
