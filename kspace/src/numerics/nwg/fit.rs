//! Energy-weighted calibration, and the weights of every step of energy.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side, c32, c64};
use ndarray::{Array2, Array3, Axis, s};
use rayon::prelude::*;

use super::local::{BINS, STRONG, STRONGEST, box_mean, middle};
use super::products::{Equations, Products, Reach, Sums};
use super::{Options, SOURCE_LINES, TAPS};
use crate::numerics::calibration::Separate;
use crate::numerics::window::frobenius_of_lower;
use crate::{Complex32, Error, Result};

/// Equations whose energies are averaged: readout points and lines.
const SMOOTH: (usize, usize) = (7, 3);
/// Exponent and floor of the weights, see [`super`].
const EXPONENT: f64 = 0.7;
const FLOOR: f64 = 3.0;
/// The same exponent for the strong samples at the centre of k-space. Where these are missing, nearly all of the error is theirs,
/// and an equation is worth the more the stronger it is.
const CENTRE: f64 = -0.3;

/// Part of the closed-form ridge that is used: it rests on a noise level that is rather over- than underestimated.
const RIDGE: f64 = 0.5;
/// Relative ridge below which the solution is rounding error.
const SMALLEST_RIDGE: f64 = 1e-9;
/// Part of the weighted residual that is taken for error of the model even where noise explains all of it.
const LEAST_MODEL_ERROR: f64 = 0.01;

/// Lines that are fitted to.
pub(super) struct Region<'a> {
    /// `[coil, line, kx]`.
    pub(super) lines: &'a Array3<Complex32>,
    /// Complex noise variance of a sample.
    pub(super) noise_variance: f64,
}

impl<'a> Region<'a> {
    /// Calibration lines of their own.
    pub(super) fn separate(separate: &'a Separate) -> Self {
        Self { lines: &separate.lines, noise_variance: separate.noise_variance }
    }

    /// Noise energy of a sample, summed over the coils.
    fn noise_energy(&self) -> f64 {
        self.lines.dim().0 as f64 * self.noise_variance
    }

    /// Signal energies of its equations.
    fn energies(&self, acceleration: usize, reach: Reach) -> Array2<f64> {
        let noise = self.noise_energy();
        let of_sources = energies(self.lines, acceleration);
        let first = reach.source(acceleration);
        let equations = first..first + self.lines.dim().1 + 1 - reach.span(acceleration);
        of_sources.slice(s![equations, ..]).mapv(|energy| (energy - noise).max(0.0))
    }
}

/// Weights for one step of energy.
pub(super) struct Kernel {
    /// `[output coil, patch]`; the patch is ordered coil, line, point.
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
    pub(super) reach: Reach,
    /// Of the acquired samples that the weights are used on.
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
    /// `sum(w E)`.
    energy: f64,
    /// `sum(w s)`.
    noise: f64,
    /// `|normal|_F / sqrt(rows)`.
    scale: f64,
}

impl Fit {
    /// Fits to every place of the regions where a patch and its targets fit, for samples of the noise variance `noise_variance`.
    /// A region has at least the lines of an equation.
    /// With `centre`, the centre of k-space is to be filled as well: weights for stronger samples are added.
    pub(super) fn new(
        regions: &[Region<'_>],
        (acceleration, reach): (usize, Reach),
        noise_variance: f64,
        centre: bool,
        options: &Options,
        on: &dyn Products,
    ) -> Result<Self> {
        let (mut total, mut samples) = (0.0, 0);
        for region in regions {
            let (_, lines, points) = region.lines.dim();
            total += region.lines.iter().map(|value| f64::from(value.norm_sqr())).sum::<f64>();
            total -= (lines * points) as f64 * region.noise_energy();
            samples += lines * points;
        }
        let energy = (total / samples as f64).max(f64::MIN_POSITIVE);
        let steps =
            if centre { vec![(0..STRONG, EXPONENT), (STRONG..STRONGEST, CENTRE)] } else { vec![(0..BINS, EXPONENT)] };
        let mut kernels = Vec::with_capacity(STRONGEST);
        for (bins, exponent) in steps {
            let exponent = if options.energy_weights { exponent } else { 0.0 };
            let moments = Moments::new(regions, (acceleration, reach), exponent, on)?;
            let ridges: Vec<f64> = bins.map(|bin| moments.ridge(noise_variance, energy * middle(bin))).collect();
            let some: Result<Vec<Kernel>> =
                ridges.into_par_iter().map(|ridge| moments.kernel(ridge, reach.outputs(acceleration))).collect();
            kernels.extend(some?);
        }
        let coils = regions.first().map_or(0, |region| region.lines.dim().0);
        Ok(Self { coils, acceleration, reach, noise_variance, energy, kernels })
    }
}

fn failed() -> Error {
    Error::unsupported("calibration lines", "they hold no usable signal; check the acquisition")
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
    /// Sums over all places of the regions, where the weight of an equation falls with `exponent` as its energy rises.
    fn new(
        regions: &[Region<'_>],
        (acceleration, reach): (usize, Reach),
        exponent: f64,
        on: &dyn Products,
    ) -> Result<Self> {
        let energies: Vec<Array2<f64>> = regions.iter().map(|region| region.energies(acceleration, reach)).collect();
        let mut weights: Vec<Array2<f64>> = regions
            .iter()
            .zip(&energies)
            .map(|(region, energies)| {
                let floor = FLOOR * region.noise_energy();
                energies.mapv(|energy| (energy + floor).max(f64::MIN_POSITIVE).powf(-exponent))
            })
            .collect();
        let count: usize = weights.iter().map(Array2::len).sum();
        let mean = weights.iter().map(|weights| weights.sum()).sum::<f64>() / count as f64;
        if !(mean.is_finite() && mean > 0.0) {
            return Err(failed());
        }
        weights.iter_mut().for_each(|weights| weights.mapv_inplace(|weight| weight / mean));
        let (mut sums, mut energy, mut noise) = (None::<Sums>, 0.0, 0.0);
        for ((region, weights), energies) in regions.iter().zip(&weights).zip(&energies) {
            let found = on.moments(&Equations { lines: region.lines, acceleration, reach, weights })?;
            match &mut sums {
                None => sums = Some(found),
                Some(sums) => *sums += found,
            }
            energy += weights.iter().zip(energies).map(|(weight, energy)| weight * energy).sum::<f64>();
            noise += region.noise_variance * weights.sum();
        }
        let Sums { normal, cross, targets } = sums.ok_or_else(failed)?;
        let scale = frobenius_of_lower(normal.as_ref()) / (normal.nrows() as f64).sqrt();
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(failed());
        }
        Ok(Self { normal, cross, targets, energy, noise, scale })
    }

    /// What is added to the diagonal where the signal energy is `energy` and the noise variance of a source `noise_variance`.
    fn ridge(&self, noise_variance: f64, energy: f64) -> f64 {
        let closed_form = noise_variance * self.energy / energy - self.noise;
        (RIDGE * closed_form).max(SMALLEST_RIDGE * self.scale)
    }

    /// The weights of so many outputs for a ridge.
    fn kernel(&self, ridge: f64, outputs: usize) -> Result<Kernel> {
        let solution = self.solve(ridge).ok_or_else(failed)?;
        let norm = solution.squared_norm_l2();
        let explained: f64 = (0..solution.ncols()).map(|at| (self.cross.col(at).adjoint() * solution.col(at)).re).sum();
        let residual = (self.targets - explained - ridge * norm).max(0.0);
        let of_noise = self.noise * (solution.ncols() as f64 + norm);
        let model = (residual - of_noise).max(LEAST_MODEL_ERROR * residual);
        Ok(Kernel {
            weights: Mat::from_fn(solution.ncols(), solution.nrows(), |target, row| {
                let value = solution[(row, target)];
                c32::new(value.re as f32, -value.im as f32)
            }),
            norm,
            model_error: model / (outputs as f64 * self.energy.max(f64::MIN_POSITIVE)),
        })
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

#[cfg(test)]
mod tests {
    use contract::prepared::Sampling;
    use proptest::prelude::*;

    use super::*;
    use crate::numerics::Host;
    use crate::numerics::grappa::{self, Ridge};
    use crate::numerics::testing::random;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn weights_of_one_make_ridge_grappa(
            acceleration in 2usize..=6, coils in 1usize..9, extra in 1usize..9, points in 12usize..40, exponent in -6f64..1.0,
            noise_variance in 0f64..2.0, seed in 0u64..1000,
        ) {
            let lines = (SOURCE_LINES - 1) * acceleration + extra;
            let kspace = random((coils, lines, points), seed);
            let factor = 10f64.powf(exponent);
            let sampling =
                Sampling { acceleration, offset: 0, acs_first: 0, acs_lines: lines, first: 0, last: lines - 1 };
            let options = grappa::Options { taps: TAPS, ridge: Ridge::Relative(factor), source_lines: SOURCE_LINES };
            let plain = grappa::Kernel::fit(&kspace, &vec![true; lines], &sampling, None, &options).unwrap();
            let regions = [Region { lines: &kspace, noise_variance }];
            let moments = Moments::new(&regions, (acceleration, Reach::Between), 0.0, &Host).unwrap();
            let found = moments.kernel(factor * moments.scale, Reach::Between.outputs(acceleration)).unwrap().weights;
            let error = (&found - &plain.weights).norm_l2();
            prop_assert!(error < 1e-4 * plain.weights.norm_l2(), "{}", error);
        }
    }
}
