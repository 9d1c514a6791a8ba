//! Energy-weighted calibration, and the weights of every step of energy.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatRef, Par, Side, c32, c64};
use ndarray::{Array2, Array3, Axis, s};
use rayon::prelude::*;

use super::local::{BINS, box_mean, middle};
use super::{Options, SOURCE_LINES, TAPS};
use crate::numerics::window::{add_outer, frobenius_of_lower, wide};
use crate::{Complex32, Error, Result};

/// Equations whose energies are averaged: readout points and lines.
const SMOOTH: (usize, usize) = (7, 3);
/// Exponent and floor of the weights, see [`super`].
const EXPONENT: f64 = 0.7;
const FLOOR: f64 = 3.0;
/// Part of the closed-form ridge that is used: it rests on a noise level that is rather over- than underestimated.
const RIDGE: f64 = 0.5;
/// Relative ridge below which the solution is rounding error.
const SMALLEST_RIDGE: f64 = 1e-9;
/// Part of the weighted residual that is taken for error of the model even where noise explains all of it.
const LEAST_MODEL_ERROR: f64 = 0.01;
/// Calibration rows summed by one worker; a constant, so that sums do not depend on the number of workers.
const ROWS: usize = 16;

/// Weights for one step of energy.
pub(super) struct Kernel {
    /// `[(R-1) coil, patch]`; the patch is ordered coil, line, point.
    pub(super) weights: Mat<c32>,
    /// Squared Frobenius norm of the weights: how much noise they pass on.
    pub(super) norm: f64,
    /// Error energy of the model over signal energy.
    pub(super) model_error: f64,
}

/// Weights of all steps of energy.
pub(super) struct Fit {
    pub(super) coils: usize,
    pub(super) acceleration: usize,
    pub(super) noise_variance: f64,
    /// Mean signal energy of a calibration sample, summed over the coils.
    pub(super) energy: f64,
    pub(super) kernels: Vec<Kernel>,
}

/// Weighted moments of the equations.
struct Moments {
    /// `sum(w x xᴴ)`, lower triangle.
    normal: Mat<c64>,
    /// `sum(w x yᴴ)`.
    cross: Mat<c64>,
    /// `sum(w |y|²)`.
    targets: f64,
}

impl Fit {
    /// Fits to every place of `region`, `[coil, line, kx]`, where a patch and its targets fit.
    pub(super) fn new(
        region: &Array3<Complex32>,
        acceleration: usize,
        noise_variance: f64,
        options: &Options,
    ) -> Result<Self> {
        let (coils, lines, points) = region.dim();
        let failed = || Error::unsupported("calibration lines", "they hold no usable signal; check the acquisition");
        let noise = coils as f64 * noise_variance;
        let energies = energies(region, acceleration).mapv(|energy| (energy - noise).max(0.0));
        let mut weights = match options.energy_weights {
            true => energies.mapv(|energy| (energy + FLOOR * noise).max(f64::MIN_POSITIVE).powf(-EXPONENT)),
            false => Array2::ones(energies.dim()),
        };
        let mean = weights.mean().filter(|mean| mean.is_finite() && *mean > 0.0).ok_or_else(failed)?;
        weights.mapv_inplace(|weight| weight / mean);

        let moments = Moments::of(region, acceleration, &weights);
        let patch = coils * SOURCE_LINES * TAPS;
        let scale = (frobenius_of_lower(moments.normal.as_ref()) / (patch as f64).sqrt()).max(0.0);
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(failed());
        }
        let weight_sum = weights.sum();
        let weighted_energy: f64 = weights.iter().zip(&energies).map(|(weight, energy)| weight * energy).sum();
        let total: f64 = region.iter().map(|value| f64::from(value.norm_sqr())).sum();
        let energy = (total / (lines * points) as f64 - noise).max(f64::MIN_POSITIVE);
        let ridges: Vec<f64> = (0..BINS)
            .map(|bin| {
                let closed_form = noise_variance * (weighted_energy / (energy * middle(bin)) - weight_sum);
                (RIDGE * closed_form).max(SMALLEST_RIDGE * scale)
            })
            .collect();
        let kernels = ridges
            .into_par_iter()
            .map(|ridge| {
                let solution = moments.solve(ridge).ok_or_else(failed)?;
                let norm = solution.squared_norm_l2();
                let explained: f64 =
                    (0..solution.ncols()).map(|at| (moments.cross.col(at).adjoint() * solution.col(at)).re).sum();
                let residual = (moments.targets - explained - ridge * norm).max(0.0);
                let of_noise = noise_variance * weight_sum * (solution.ncols() as f64 + norm);
                let model = (residual - of_noise).max(LEAST_MODEL_ERROR * residual);
                Ok(Kernel {
                    weights: Mat::from_fn(solution.ncols(), patch, |target, row| {
                        let value = solution[(row, target)];
                        c32::new(value.re as f32, -value.im as f32)
                    }),
                    norm,
                    model_error: model / ((acceleration - 1) as f64 * weighted_energy.max(f64::MIN_POSITIVE)),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { coils, acceleration, noise_variance, energy, kernels })
    }
}

/// Mean energy of a sample of each source patch, summed over the coils, smoothed: `[shift, place]`.
fn energies(region: &Array3<Complex32>, acceleration: usize) -> Array2<f64> {
    let (_, lines, points) = region.dim();
    let mut power = Array2::<f64>::zeros((lines, points));
    for coil in region.axis_iter(Axis(0)) {
        power.zip_mut_with(&coil, |sum, value| *sum += f64::from(value.norm_sqr()));
    }
    let reach = (SOURCE_LINES - 1) * acceleration;
    let mut energies = Array2::from_shape_fn((lines - reach, points - TAPS + 1), |(row, place)| {
        let line = |at: usize| power.slice(s![row + at * acceleration, place..place + TAPS]).sum();
        (0..SOURCE_LINES).map(line).sum::<f64>() / (SOURCE_LINES * TAPS) as f64
    });
    for (axis, width) in [(Axis(1), SMOOTH.0), (Axis(0), SMOOTH.1)] {
        for mut lane in energies.lanes_mut(axis) {
            let smooth = box_mean(&lane.to_vec(), width);
            lane.iter_mut().zip(smooth).for_each(|(to, from)| *to = from);
        }
    }
    energies
}

impl Moments {
    fn of(region: &Array3<Complex32>, acceleration: usize, weights: &Array2<f64>) -> Self {
        let rows: Vec<usize> = (0..weights.nrows()).collect();
        let parts: Vec<Self> =
            rows.par_chunks(ROWS).map(|rows| Self::of_rows(region, acceleration, weights, rows)).collect();
        parts
            .into_iter()
            .reduce(|mut sum, part| {
                sum.normal += part.normal;
                sum.cross += part.cross;
                sum.targets += part.targets;
                sum
            })
            .unwrap_or_else(|| Self { normal: Mat::new(), cross: Mat::new(), targets: 0.0 })
    }

    fn of_rows(region: &Array3<Complex32>, acceleration: usize, weights: &Array2<f64>, rows: &[usize]) -> Self {
        let coils = region.dim().0;
        let places = weights.ncols();
        let (patch, targets) = (coils * SOURCE_LINES * TAPS, coils * (acceleration - 1));
        let mut sum = Self { normal: Mat::zeros(patch, patch), cross: Mat::zeros(patch, targets), targets: 0.0 };
        let mut x = vec![c64::default(); patch * places];
        let mut y = vec![c64::default(); targets * places];
        for first in rows {
            let roots: Vec<f64> = weights.row(*first).iter().map(|weight| weight.sqrt()).collect();
            let scaled = |to: &mut [c64], coil: usize, line: usize, point: usize| {
                let from = region.slice(s![coil, line, point..point + places]);
                for ((to, from), root) in to.iter_mut().zip(from).zip(&roots) {
                    *to = wide(*from) * *root;
                }
            };
            for (row, to) in x.chunks_exact_mut(places).enumerate() {
                let (coil, line, tap) = patch_index(row);
                scaled(to, coil, first + line * acceleration, tap);
            }
            for (row, to) in y.chunks_exact_mut(places).enumerate() {
                scaled(to, row % coils, first + 1 + row / coils, TAPS / 2);
            }
            add_outer(&mut sum.normal, &x, places);
            let (x, y) =
                (MatRef::from_row_major_slice(&x, patch, places), MatRef::from_row_major_slice(&y, targets, places));
            matmul(sum.cross.as_mut(), Accum::Add, x, y.adjoint(), c64::new(1.0, 0.0), Par::Seq);
            sum.targets += y.squared_norm_l2();
        }
        sum
    }

    /// `(normal + ridge)⁻¹ cross`.
    fn solve(&self, ridge: f64) -> Option<Mat<c64>> {
        let mut normal = self.normal.clone();
        for row in 0..normal.nrows() {
            normal[(row, row)] += c64::new(ridge, 0.0);
        }
        Some(normal.llt(Side::Lower).ok()?.solve(&self.cross))
    }
}

/// Coil, source line and tap of a row of the patch matrix.
pub(super) const fn patch_index(row: usize) -> (usize, usize, usize) {
    let each = SOURCE_LINES * TAPS;
    (row / each, row % each / TAPS, row % TAPS)
}
