//! The backend on matrix products and fused loops.
//!
//! The unit of parallel work is a fixed number of networks of one slice: they share patches and nothing else, their
//! buffers stay near the cache, and since the grouping does not depend on the number of cores, neither do the results.

pub(super) mod kernels;
mod unit;

use std::ops::Range;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use self::unit::{Buffers, Unit};
use super::layout::{Domain, Layout};
use super::parameters::Parameters;
use super::patches::{Planes, Problem};
use super::weights::Weights;
use super::{Backend, Fit};
use crate::error::JobError;
use crate::progress::Progress;

/// Networks trained together: enough rows for an efficient product, few enough for the cache.
pub const NETWORKS: usize = 8;
/// Valid columns predicted together.
const COLUMNS: usize = 16;

/// The CPU, on all threads of the current rayon pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu;

/// Rows of the square matrices that tell how fast products are: three of them stay in the cache of a core.
const SQUARE: usize = 384;

/// Single-precision products of this machine on all threads of the current pool, in floating-point operations per second: for every
/// thread the best of what it does in `time`, at least one product, so that other work on the machine meets little of it.
#[must_use]
pub fn product_rate(time: Duration) -> f64 {
    let factor = vec![0.5_f32; SQUARE * SQUARE];
    let matrix = || kernels::Matrix::new(&factor, SQUARE, SQUARE);
    let best = |mut result: Vec<f32>| {
        let (started, mut least) = (Instant::now(), f64::INFINITY);
        loop {
            let begun = Instant::now();
            kernels::product(&mut result, matrix(), matrix());
            least = least.min(begun.elapsed().as_secs_f64());
            if started.elapsed() >= time {
                return (2 * SQUARE.pow(3)) as f64 / least;
            }
        }
    };
    let results = vec![vec![0.0_f32; SQUARE * SQUARE]; rayon::current_num_threads()];
    let rates: Vec<f64> = results.into_par_iter().map(best).collect();
    rates.iter().sum()
}

fn groups(networks: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    (0..networks.div_ceil(NETWORKS)).into_par_iter().map(move |at| at * NETWORKS..((at + 1) * NETWORKS).min(networks))
}

impl Backend for Cpu {
    fn group(&self, _problem_bytes: usize, _kspace_bytes: usize) -> usize {
        rayon::current_num_threads()
    }

    fn gradient(&self, problem: &Problem, weights: &Weights, window: Range<usize>) -> Result<(f64, Weights), JobError> {
        let patches = problem.planes.patches(&window);
        let parts: Vec<(f64, Weights)> = groups(weights.networks)
            .map(|networks| {
                let part = weights.part(networks.clone());
                let mut gradient = Weights::zeros(problem.layout, networks.len());
                let mut unit = Unit::new(problem, &patches, networks, window.len());
                let loss = unit.gradient(&part, &window, 0, &mut gradient);
                (loss, gradient)
            })
            .collect();
        let (losses, gradients): (Vec<f64>, Vec<Weights>) = parts.into_iter().unzip();
        Ok((losses.iter().sum(), Weights::concatenate(problem.layout, &gradients)))
    }

    fn fit(
        &self,
        problems: &[Problem],
        parameters: &Parameters,
        progress: &dyn Progress,
    ) -> Result<Vec<Fit>, JobError> {
        let fit = |problem: &Problem| {
            let columns = parameters.columns(problem.domain);
            let patches = problem.planes.patches(&(0..problem.domain.valid_columns()));
            let parts: Vec<(Weights, Vec<(u32, f64)>)> = groups(parameters.networks(problem.layout))
                .map(|networks| Unit::new(problem, &patches, networks, columns).train(parameters, progress))
                .collect::<Result<_, _>>()?;
            let (parts, curves): (Vec<Weights>, Vec<_>) = parts.into_iter().unzip();
            let mut curves = curves.into_iter();
            let mut curve = curves.next().unwrap_or_default();
            for other in curves {
                curve.iter_mut().zip(other).for_each(|(sum, other)| sum.1 += other.1);
            }
            let weights = Weights::concatenate(problem.layout, &parts);
            let loss = loss(problem, &patches, &weights);
            Ok(Fit::new(problem, weights, loss, curve, columns))
        };
        problems.par_iter().map(fit).collect()
    }

    fn predict(&self, weights: &Weights, planes: &Planes) -> Result<Vec<f32>, JobError> {
        let (layout, domain) = (planes.layout(), planes.domain());
        let columns = domain.valid_columns();
        let chunks: Vec<Vec<f32>> = (0..columns.div_ceil(COLUMNS))
            .into_par_iter()
            .map(|at| predict_columns(weights, planes, &(at * COLUMNS..((at + 1) * COLUMNS).min(columns))))
            .collect();
        Ok(assemble(layout, domain, weights.networks, &chunks))
    }
}

/// The loss over all columns, whose patches are given.
fn loss(problem: &Problem, patches: &[f32], weights: &Weights) -> f64 {
    let (layout, domain) = (problem.layout, problem.domain);
    let of_group = |networks: Range<usize>| {
        let part = weights.part(networks.clone());
        let mut squares = vec![0.0; networks.len()];
        for start in (0..domain.valid_columns()).step_by(COLUMNS) {
            let window = start..(start + COLUMNS).min(domain.valid_columns());
            let mut buffers = Buffers::new(layout, domain, networks.len(), window.len());
            let column = domain.rows() * layout.inputs();
            buffers.layer_1(&part, &patches[start * column..][..domain.positions(window.len()) * layout.inputs()]);
            for (at, square) in squares.iter_mut().enumerate() {
                *square += buffers.square(&part, at, problem, networks.start + at, &window);
            }
        }
        squares.into_iter().map(f64::sqrt).sum::<f64>()
    };
    // Added one after another, so that the sum does not depend on the number of threads.
    let losses: Vec<f64> = groups(weights.networks).map(of_group).collect();
    losses.iter().sum()
}

/// `[network, output, column, row]` over a window.
fn predict_columns(weights: &Weights, planes: &Planes, window: &Range<usize>) -> Vec<f32> {
    let (layout, domain) = (planes.layout(), planes.domain());
    let patches = planes.patches(window);
    let mut predicted = Vec::new();
    for start in (0..weights.networks).step_by(NETWORKS) {
        let part = weights.part(start..(start + NETWORKS).min(weights.networks));
        let mut buffers = Buffers::new(layout, domain, part.networks, window.len());
        buffers.layer_1(&part, &patches);
        for network in 0..part.networks {
            predicted.extend_from_slice(buffers.predict(&part, network));
        }
    }
    predicted
}

/// Windows side by side.
fn assemble(layout: Layout, domain: Domain, networks: usize, chunks: &[Vec<f32>]) -> Vec<f32> {
    let outputs = networks * layout.outputs();
    let mut whole = Vec::with_capacity(outputs * domain.valid_columns() * domain.rows());
    for output in 0..outputs {
        for chunk in chunks {
            let length = chunk.len() / outputs;
            whole.extend_from_slice(&chunk[output * length..(output + 1) * length]);
        }
    }
    whole
}
