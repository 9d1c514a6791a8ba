//! What a reconstruction takes: floating-point operations of its stages, and an estimate of the seconds.
//!
//! Operations are those of the mathematics, real additions and multiplications. Each stage reaches a share of the rate at which
//! the machine multiplies single-precision matrices; the shares are constants, measured by `make bench`, which prints
//! them beside each stage. The estimate is meant to be right within a factor of two.

use std::time::Duration;

use contract::prepared::Sampling;
use contract::{Method, PreparedMeta, Refine};
use kspace::numerics::{espirit, grappa, nwg};
use kspace::prepared::Shape;
use serde::Serialize;

use super::Recipe;
use crate::raki::Layout;
use crate::raki::cpu::{NETWORKS, product_rate};
use crate::raki::layout::TAPS;
use crate::reconstruct::several_kinds;

/// Steps of energy of `nwg`.
const STEPS_OF_ENERGY: usize = 10;
/// Taps of the wavelet filter, and operations of one of them on a complex value.
const WAVELET: f64 = 4.0 * 4.0;
/// Most of the time that measuring the machine takes.
const MEASURE: Duration = Duration::from_millis(60);
/// Pieces of a slice that the stages besides training compute in parallel.
const PIECES: usize = 8;

/// Shares of the rate of single-precision products, from `bench_raki` (training) and `bench_stages` (the others).
const TRAINING_SHARE: f64 = 0.70;
const NETWORKS_SHARE: f64 = 0.45;
const KERNELS_SHARE: f64 = 0.28;
const MAPS_SHARE: f64 = 0.16;
const REFINEMENT_SHARE: f64 = 0.09;
const TRANSFORM_SHARE: f64 = 0.09;

/// Operations of a training step of all networks on this many positions: two products in layer 1, three in each of the others.
#[must_use]
pub const fn training_step(layout: Layout, positions: usize) -> f64 {
    let [hidden_1, hidden_2] = layout.hidden;
    let layer_1 = 2 * 2 * hidden_1 * layout.inputs();
    let others = 3 * 2 * (hidden_1 * hidden_2 + hidden_2 * TAPS * layout.outputs());
    (layout.channels() * (layer_1 + others)) as f64 * positions as f64
}

/// Operations of a prediction of all networks at this many positions.
fn prediction(layout: Layout, positions: usize) -> f64 {
    let weights: usize = layout.weights().iter().sum();
    2.0 * (layout.channels() * weights) as f64 * positions as f64
}

/// Operations of noise-weighted kernels on k-space of `[coils, lines, points]`: fits and fills. Complex products, half of the normal
/// matrix and all of the right side; then a factorisation and a solution for each step of energy. Lines beyond the grid
/// count as if all of them had signal.
#[must_use]
pub fn kernels(options: &nwg::Options, sampling: &Sampling, shape: [usize; 3]) -> f64 {
    let (first, end) = nwg::refit_region(sampling);
    let linear = Linear::new((nwg::SOURCE_LINES, nwg::TAPS), sampling, shape);
    // A refit needs no filled line outside its region.
    let refit = linear.filling(end - first) + linear.moments(end - first) + linear.solves(STEPS_OF_ENERGY);
    let fit = linear.moments(sampling.acs_lines) + linear.solves(STEPS_OF_ENERGY);
    let beyond = if nwg::range(sampling, shape[1]) == (sampling.first, sampling.last) {
        0.0
    } else {
        let region = if options.refits > 0 { end - first } else { sampling.acs_lines };
        let (reach, acceleration) = (nwg::Reach::Beyond, sampling.acceleration);
        let targets = (reach.outputs(acceleration) * shape[0]) as f64;
        let one_sided = Linear { targets, span: reach.span(acceleration), ..linear };
        one_sided.moments(region) + one_sided.solves(STEPS_OF_ENERGY)
    };
    fit + options.refits as f64 * refit + beyond + linear.filling(shape[1])
}

/// Operations of plain kernels.
fn plain_kernels(options: &grappa::Options, sampling: &Sampling, shape: [usize; 3]) -> f64 {
    let linear = Linear::new((options.source_lines, options.taps), sampling, shape);
    linear.moments(sampling.acs_lines) + linear.solves(1) + linear.filling(shape[1])
}

/// Sizes of a kernel in numbers of its equations.
struct Linear {
    taps: usize,
    patch: f64,
    targets: f64,
    /// Lines of an equation.
    span: usize,
    acceleration: usize,
    points: usize,
}

impl Linear {
    const fn new((lines, taps): (usize, usize), sampling: &Sampling, [coils, _, points]: [usize; 3]) -> Self {
        let acceleration = sampling.acceleration;
        let targets = (acceleration.saturating_sub(1) * coils) as f64;
        let span = (lines - 1) * acceleration + 1;
        Self { taps, patch: (lines * taps * coils) as f64, targets, span, acceleration, points }
    }

    /// Moments of a region of so many lines.
    fn moments(&self, lines: usize) -> f64 {
        let equations = (lines + 1).saturating_sub(self.span) * (self.points + 1).saturating_sub(self.taps);
        8.0 * equations as f64 * (self.patch * self.patch / 2.0 + self.patch * self.targets)
    }

    fn solves(&self, count: usize) -> f64 {
        count as f64 * (4.0 / 3.0 * self.patch.powi(3) + 8.0 * self.patch * self.patch * self.targets)
    }

    /// What is missing of so many lines.
    fn filling(&self, lines: usize) -> f64 {
        8.0 * self.patch * self.targets * (self.points * (lines / self.acceleration.max(1))) as f64
    }
}

/// Operations of the sensitivity maps of `[coils, rows, columns]` from so many calibration lines.
#[must_use]
pub fn maps(options: &espirit::Options, lines: usize, [coils, rows, columns]: [usize; 3]) -> f64 {
    let window = (options.window.pow(2) * coils) as f64;
    let along = |length: usize| (length + 1).saturating_sub(options.window) as f64;
    let windows = along(lines) * along(options.points.min(columns));
    let lags = 2 * options.window - 1;
    let pairs = coils * (coils + 1) / 2;
    // All eigenvectors, or seven products with blocks of a 32nd of the size and what makes these orthogonal.
    let vectors = if window > espirit::ALL_VECTORS as f64 { 2.4 } else { 4.0 * (4.0 / 3.0 + 3.0) };
    let spectrum = 4.0 * windows * window * window + vectors * window.powi(3);
    let each_pixel = 8 * (lags * pairs + options.steps * options.maps * coils * coils);
    spectrum + each_pixel as f64 * (rows * columns) as f64
}

/// Operations of so many steps of the refinement with so many maps: two transforms of every coil, two products with every map, two transforms
/// into wavelets.
#[must_use]
pub fn refinement(steps: usize, maps: usize, shape: [usize; 3]) -> f64 {
    let [coils, rows, columns] = shape;
    let products = 16.0 * (maps * coils) as f64 + 2.0 * 2.0 * 4.0 / 3.0 * WAVELET * maps as f64;
    steps as f64 * (2.0 * transform(shape) + (rows * columns) as f64 * products)
}

/// Operations of a Fourier transform of every coil.
#[must_use]
pub fn transform([coils, rows, columns]: [usize; 3]) -> f64 {
    let area = (rows * columns) as f64;
    5.0 * coils as f64 * area * area.log2()
}

/// Operations of a scan by stage, in units of 10^9.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Work {
    /// Training of networks.
    pub training: f64,
    /// What trained networks fill and are judged by.
    pub networks: f64,
    /// Linear kernels.
    pub kernels: f64,
    /// Sensitivity maps.
    pub maps: f64,
    /// Refinement.
    pub refinement: f64,
    /// Transform and combination.
    pub transform: f64,
    /// Slices.
    #[serde(skip)]
    slices: usize,
    /// Groups of networks that are trained side by side.
    #[serde(skip)]
    trainings: usize,
}

impl Work {
    /// The work of a prepared scan.
    #[must_use]
    pub fn of(recipe: &Recipe, meta: &PreparedMeta, shape: &Shape) -> Self {
        let slab = if several_kinds(meta) { 1 } else { recipe.slab.max(1) };
        // Lines of their own calibrate in place of those within k-space.
        let sampling = |sampling: Sampling| match shape.acs {
            Some((acs_lines, _)) => Sampling { acs_lines, ..sampling },
            None => sampling,
        };
        let samplings: Vec<Sampling> = meta.entries.iter().map(|entry| sampling(entry.sampling)).collect();
        let mut work = Self::default();
        for slab in samplings.chunks(slab) {
            let missing: Vec<&Sampling> = slab.iter().filter(|sampling| sampling.acceleration > 1).collect();
            let middle = missing.len() / 2;
            for (at, sampling) in missing.iter().enumerate() {
                let shared = at != middle && sampling.acceleration == missing[middle].acceleration;
                let steps =
                    if shared { recipe.warm.min(recipe.training.iterations) } else { recipe.training.iterations };
                work.add_missing(recipe, sampling, [shape.coils, shape.ky, shape.kx], steps);
            }
            work.transform += slab.len() as f64 * transform([shape.coils, shape.ky, shape.kx]) / 1e9;
        }
        work.slices = samplings.len();
        work
    }

    /// A slice that misses lines, whose networks are trained in so many steps.
    fn add_missing(&mut self, recipe: &Recipe, sampling: &Sampling, shape: [usize; 3], steps: usize) {
        let [coils, lines, points] = shape;
        if recipe.method == Method::ZeroFilled {
            return;
        }
        if recipe.needs_nwg() {
            self.kernels += kernels(&recipe.nwg, sampling, shape) / 1e9;
        }
        if recipe.method == Method::Grappa {
            self.kernels += plain_kernels(&recipe.grappa, sampling, shape) / 1e9;
        }
        if recipe.refine == Refine::Sparse {
            self.maps += maps(&recipe.maps, sampling.acs_lines, shape) / 1e9;
            // Two more are the image that it begins with and, at most, what is put back; one of little noise has up to three times as many.
            self.refinement += refinement(recipe.sparse.iterations + 2, 1, shape) / 1e9;
        }
        if !recipe.trains() {
            return;
        }
        let (first, end) = match recipe.method {
            Method::RakiPaper => (0, sampling.acs_lines),
            _ => nwg::refit_region(sampling),
        };
        let training = &recipe.training;
        let layout = training.layout(coils, sampling.acceleration);
        let domain = layout.domain(end - first, points, sampling.acceleration);
        if domain.check(layout).is_err() {
            return;
        }
        let sets = training.ensemble as f64;
        self.training += sets * steps as f64 * training_step(layout, domain.positions(training.columns(domain))) / 1e9;
        self.trainings += if steps > 0 { training.networks(layout).div_ceil(NETWORKS) } else { 0 };
        // The mix of `auto` predicts the acquired lines too.
        let fills = if recipe.method == Method::Auto { 2.0 } else { 1.0 };
        let filled = (lines / sampling.acceleration + 1) * points;
        let judged = if steps > 0 { domain.positions(domain.valid_columns()) } else { 0 };
        self.networks += sets * (fills * prediction(layout, filled) + prediction(layout, judged)) / 1e9;
        if recipe.method != Method::RakiPaper {
            // The linear kernels beside them, on every line that is learnt from as a source.
            let linear = Linear::new((nwg::SOURCE_LINES, nwg::TAPS), sampling, shape);
            let taught = if steps > 0 { sampling.acceleration as f64 * linear.filling(end - first) } else { 0.0 };
            self.networks += (taught + fills * linear.filling(lines)) / 1e9;
        }
    }

    /// All operations, in units of 10^9.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.training + self.networks + self.kernels + self.maps + self.refinement + self.transform
    }

    /// Seconds on the CPU of a machine.
    #[must_use]
    pub fn seconds(&self, machine: &Machine) -> f64 {
        let rate =
            |tasks: usize| machine.gflop_per_s / machine.threads as f64 * machine.threads.min(tasks.max(1)) as f64;
        let others = self.networks / NETWORKS_SHARE
            + self.kernels / KERNELS_SHARE
            + self.maps / MAPS_SHARE
            + self.refinement / REFINEMENT_SHARE
            + self.transform / TRANSFORM_SHARE;
        self.training / TRAINING_SHARE / rate(self.trainings) + others / rate(self.slices * PIECES)
    }
}

/// What matters of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Machine {
    /// Threads that compute.
    pub threads: usize,
    /// Rate of single-precision matrix products on all of them, 10^9 operations per second.
    pub gflop_per_s: f64,
}

impl Machine {
    /// Measures this machine, in less than a tenth of a second where nothing else is at work.
    #[must_use]
    pub fn measure() -> Self {
        Self { threads: rayon::current_num_threads(), gflop_per_s: product_rate(MEASURE) / 1e9 }
    }
}
