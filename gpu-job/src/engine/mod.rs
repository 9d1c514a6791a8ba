//! Every method of filling missing lines and of refining the result, in one place.
//!
//! | method | what fills |
//! |---|---|
//! | `zero-filled` | nothing |
//! | `grappa` | [`kspace::numerics::grappa`] |
//! | `nwg` | [`kspace::numerics::nwg`] |
//! | `raki-paper` | networks that learn from the calibration lines, as published |
//! | `raki` | networks with a weighted loss that learn from the fill of `nwg` |
//! | `auto` | `nwg` and `raki`, mixed as the acquired lines say |
//!
//! [`image`] makes an image of the filled k-space: refinement, partial Fourier, combination of the coils, and the same slice by plain
//! methods beside it. Slices go in [groups](Engine::groups). [`cost`] tells beforehand what a scan takes.
//!
//! Refinement ([`kspace::numerics::sparse`]) takes any fill. A slice whose networks do not converge has the fill of
//! `nwg`; one whose sensitivities cannot be found is left unrefined; both are said in its [`Numbers`].

pub mod cost;
mod groups;
mod image;
mod linear;
mod mix;
mod networks;
mod refine;

use contract::images::{Combine, PartialFourier};
use contract::prepared::Sampling;
use contract::{ImageOptions, Method, Refine};
use kspace::Complex32;
use kspace::numerics::calibration::Separate;
use kspace::numerics::nwg::{self, Judge};
use kspace::numerics::{espirit, grappa, sparse};
use kspace::prepared::Shape;
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

pub use self::image::Compared;
pub(crate) use self::linear::{believed, separate};
pub(crate) use self::networks::{Beside, keep_centre};
use crate::progress::Progress;
use crate::raki::{Backend, Parameters};
use crate::stopwatch::Spent;

/// How slices are reconstructed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// What fills.
    pub method: Method,
    /// What follows.
    pub refine: Refine,
    /// Training of the networks, and the seed of everything random.
    pub training: Parameters,
    /// Slices that follow each other and share the networks of the middle one; 1 to train for every slice.
    pub slab: usize,
    /// Steps in which the other slices of a slab adapt these networks to themselves; 0 to take them as they are.
    pub warm: usize,
    /// Noise-weighted kernels.
    pub nwg: nwg::Options,
    /// Plain kernels.
    pub grappa: grappa::Options,
    /// Sensitivities.
    pub maps: espirit::Options,
    /// Refinement.
    pub sparse: sparse::Options,
    /// How coil images become one.
    pub combine: Combine,
    /// What is done about lines that were never measured.
    pub partial_fourier: PartialFourier,
}

impl Recipe {
    /// The measured defaults of a method; without `refine`, with what goes with it.
    #[must_use]
    pub fn new(method: Method, refine: Option<Refine>, seed: u64) -> Self {
        // The mix of `auto` hardly depends on the last tenth of a dB of the networks; a method asked for by its name is not cut short.
        let (slab, warm) = if method == Method::Auto { (3, 100) } else { (1, 0) };
        let preset = if method == Method::RakiPaper { Parameters::paper() } else { Parameters::weighted() };
        Self {
            method,
            refine: refine.unwrap_or(method.refinement()),
            training: Parameters { seed, ..preset },
            slab,
            warm,
            nwg: nwg::Options::default(),
            grappa: grappa::Options::default(),
            maps: espirit::Options::default(),
            sparse: sparse::Options { seed, ..sparse::Options::default() },
            combine: Combine::default(),
            partial_fourier: PartialFourier::default(),
        }
    }

    /// Makes images as asked.
    #[must_use]
    pub fn imaging(self, images: &ImageOptions) -> Self {
        Self { combine: images.combine, partial_fourier: images.partial_fourier, ..self }
    }

    /// Whether networks are trained.
    #[must_use]
    pub const fn trains(&self) -> bool {
        matches!(self.method, Method::Auto | Method::Raki | Method::RakiPaper)
    }

    /// Whether the noise-weighted fill is needed: as the result, as what networks learn from, or for the noise level.
    fn needs_nwg(&self) -> bool {
        matches!(self.method, Method::Auto | Method::Raki | Method::Nwg) || self.refine == Refine::Sparse
    }

    /// Why a slice of a file of this shape, sampled like this, cannot be filled.
    ///
    /// # Errors
    /// One sentence for a person: what was found, what is needed, what to do.
    pub fn check(&self, sampling: &Sampling, shape: &Shape) -> Result<(), String> {
        if self.method == Method::ZeroFilled && self.refine == Refine::Sparse {
            return Err("a zero-filled image cannot be refined: choose another method, or --refine none".to_owned());
        }
        let acceleration = sampling.acceleration;
        if acceleration < 2 || self.method == Method::ZeroFilled {
            return Ok(());
        }
        let lines = shape.acs.map_or(sampling.acs_lines, |(lines, _)| lines);
        if lines == 0 {
            return Err(format!(
                "one line in {acceleration} was acquired and there are no calibration lines: acquire some, or choose the \
                 method zero-filled"
            ));
        }
        let needed = nwg::least_calibration_lines(acceleration);
        if lines < needed {
            return Err(format!(
                "found {lines} calibration lines for acceleration {acceleration}, at least {needed} are needed: acquire more of \
                 them, or choose the method zero-filled"
            ));
        }
        if let Some((_, points)) = shape.acs.filter(|(_, points)| *points < nwg::TAPS) {
            return Err(format!(
                "found {points} points in a calibration line, at least {} are needed: choose the method zero-filled",
                nwg::TAPS
            ));
        }
        if self.method == Method::RakiPaper && shape.acs.is_some() {
            return Err("calibration lines that are not part of the image: the networks of raki-paper learn the phase of the calibration \
                        scan with the rest; choose auto, raki, nwg or grappa"
                .to_owned());
        }
        if self.trains() { networks::check(self, sampling, shape) } else { Ok(()) }
    }
}

/// A slice to reconstruct.
#[derive(Debug, Clone)]
pub struct Slice {
    /// `[coil, ky, kx]`.
    pub kspace: Array3<Complex32>,
    /// Acquired lines.
    pub mask: Vec<bool>,
    /// The sampling found in the data.
    pub sampling: Sampling,
    /// Number of the slice, which the initial weights of its networks depend on.
    pub number: u64,
    /// Complex noise variance of a sample where a noise scan gives it.
    pub noise_variance: Option<f64>,
    /// `[coil, line, kx]`: calibration lines of their own, centred, which calibrate in the place of those in `kspace`.
    pub calibration: Option<Array3<Complex32>>,
    /// Whether the slice is shown beside what plain methods make of it.
    pub compare: bool,
}

/// What is known of a slice after it was reconstructed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Loss of the networks after training.
    pub loss: Option<f64>,
    /// Training steps done and the loss there, where networks were trained.
    pub curve: Vec<(u32, f64)>,
    /// Squared norms of (predicted - acquired) and of acquired, over acquired lines off the grid; `None` where there are none, as
    /// with separate calibration.
    pub calibration: Option<(f64, f64)>,
    /// Complex noise variance of a sample, given or found.
    pub noise_variance: Option<f64>,
    /// Whether the calibration lines, or the image where these are separate, contradict the noise level of the noise scan, which was left aside then.
    pub noise_doubted: bool,
    /// Part of the networks in a mix.
    pub networks: Option<f64>,
    /// Relative errors, in the 2-norm, of acquired outer lines predicted from the fill of `nwg`, of the networks and of their mix.
    pub round_trip: Option<[f64; 3]>,
    /// Sensitivity maps of the refinement, and the part of the pixels that two objects share.
    pub maps: Option<(usize, f64)>,
    /// Steps of the refinement.
    pub refinement_steps: Option<usize>,
    /// Whether the networks did not converge and the fill of `nwg` took their place.
    pub diverged: bool,
    /// Whether sensitivities could not be found and the slice was left unrefined.
    pub unrefined: bool,
    /// Whether the calibration lines tell no sensitivities and those of the coil images combined them.
    pub uncalibrated: bool,
    /// Part of k-space between the first and the last acquired line, where the rest was never measured and is estimated.
    pub partial: Option<f64>,
    /// Whether so little of it lies on both sides of the centre that the rest is left zero, whatever was asked for.
    pub left_zero: bool,
    /// What combined the coils.
    pub combined: Combine,
    /// The noise gain of as many lines with coils that part every folded place.
    pub ideal_gain: f64,
    /// Part of the lines of k-space that was acquired.
    pub acquired: f64,
    /// Energy of the acquired lines.
    pub acquired_energy: f64,
    /// Energy of the lines that were filled.
    pub filled_energy: f64,
}

impl Numbers {
    /// Relative error, in the 2-norm, of the calibration lines off the grid as the method predicts them.
    #[must_use]
    pub fn calibration_residual(&self) -> Option<f64> {
        self.calibration.map(|(error, power)| ratio(error, power).sqrt())
    }

    /// Energy of the filled lines over that of all lines.
    #[must_use]
    pub fn filled_share(&self) -> f64 {
        ratio(self.filled_energy, self.acquired_energy + self.filled_energy)
    }
}

/// `part / whole`, and 0 where there is nothing at all.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A reconstructed slice.
#[derive(Debug, Clone)]
pub struct Reconstructed {
    /// `[y, x]`, of the combined coils; its phase is relative to their strongest combination.
    pub image: Array2<Complex32>,
    /// `[y, x]`: deviation of noise over that of a k-space sample, as the linear kernels pass it on; `None` where nothing was filled by them.
    pub gain: Option<Array2<f32>>,
    /// The slice by plain methods, where it was asked for.
    pub compared: Option<Compared>,
    /// What is known of it.
    pub numbers: Numbers,
}

impl Reconstructed {
    /// `[y, x]`.
    #[must_use]
    pub fn magnitude(&self) -> Array2<f32> {
        self.image.mapv(Complex32::norm)
    }
}

/// What the stages took; beside training on a device, what it waited for them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Clock {
    /// Linear kernels: fit and fill.
    pub fill: Spent,
    /// Networks: training and fill.
    pub train: Spent,
    /// Transform, combination and refinement.
    pub image: Spent,
}

/// A filled slice on its way.
struct Work {
    /// Its calibration block is what separate calibration lines cover, where there are some.
    slice: Slice,
    separate: Option<Separate>,
    /// Whether anything is to be filled.
    missing: bool,
    nwg: Option<(nwg::Filled, Judge)>,
    /// Of plain GRAPPA.
    plain: Option<grappa::Kernel>,
    filled: Option<Array3<Complex32>>,
    numbers: Numbers,
}

/// A recipe and where it is carried out.
pub struct Engine<'a> {
    /// How.
    pub recipe: &'a Recipe,
    /// Where networks are trained.
    pub backend: &'a dyn Backend,
    /// Told about training steps and finished slices.
    pub progress: &'a dyn Progress,
}

impl Engine<'_> {
    /// Steps of progress that a slice of this sampling counts.
    #[must_use]
    pub fn steps(&self, sampling: &Sampling, coils: usize) -> u64 {
        1 + if self.recipe.trains() { self.training_steps(sampling, coils) } else { 0 }
    }

    /// Those of the training.
    fn training_steps(&self, sampling: &Sampling, coils: usize) -> u64 {
        let training = &self.recipe.training;
        match sampling.acceleration {
            0 | 1 => 0,
            acceleration => (training.networks(training.layout(coils, acceleration)) * training.iterations) as u64,
        }
    }

    /// How many slices of a study are best reconstructed together: what suits the device, and enough for every core.
    #[must_use]
    pub fn group_size(&self, samplings: &[Sampling], shape: &Shape) -> usize {
        let bytes = if self.recipe.trains() { networks::problem_bytes(self.recipe, samplings, shape) } else { None };
        let kspace = size_of::<Complex32>() * shape.coils * shape.ky * shape.kx;
        let suited = bytes.map_or_else(rayon::current_num_threads, |bytes| self.backend.group(bytes, kspace));
        // Slices that share networks are computed together.
        suited.next_multiple_of(self.recipe.slab.max(1)).max(1)
    }
}
