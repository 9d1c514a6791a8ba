//! Second moments of the windows of a k-space region: what its noise level and its coil sensitivities are read from.

use contract::prepared::Sampling;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Side, c64};
use ndarray::{Array3, ArrayView3, Axis, s};
use num_complex::Complex64;

use crate::{Complex32, Error, Result};

/// Lines and points of the window that the noise level is read from.
pub(super) const NOISE_WINDOW: (usize, usize) = (4, 4);
/// Share of the eigenvalues taken to hold noise only: windows of smooth coil images lie in a subspace, and what the
/// weakest tenth holds is noise.
const NOISE_SHARE: f64 = 0.1;

/// Factorisations that use one thread: split over several, sums would depend on their number. Slices are what runs in parallel.
pub(super) fn one_thread() {
    faer::set_global_parallelism(Par::Seq);
}

/// A complex sample in double precision.
pub(super) fn wide(value: Complex32) -> c64 {
    c64::new(value.re.into(), value.im.into())
}

/// `sum(x xᴴ)` over all windows x of `lines` by `points` by all coils, lower triangle, and the number of windows. The
/// entries of a window are ordered coil, line, point.
pub(super) fn gram(region: ArrayView3<'_, Complex32>, (lines, points): (usize, usize)) -> (Mat<c64>, usize) {
    let (coils, rows, columns) = region.dim();
    let size = coils * lines * points;
    let mut gram = Mat::zeros(size, size);
    if rows < lines || columns < points {
        return (gram, 0);
    }
    let places = columns - points + 1;
    let mut x = vec![c64::default(); size * places];
    for first in 0..=rows - lines {
        for (at, to) in x.chunks_exact_mut(places).enumerate() {
            let (coil, line, point) = (at / (lines * points), at / points % lines, at % points);
            let from = region.slice(s![coil, first + line, point..point + places]);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = wide(*from));
        }
        add_outer(&mut gram, &x, places);
    }
    (gram, places * (rows - lines + 1))
}

/// Adds `x xᴴ` of the row-major `[size, places]` matrix x to the lower triangle of `sum`.
pub(super) fn add_outer(sum: &mut Mat<c64>, x: &[c64], places: usize) {
    let x = MatRef::from_row_major_slice(x, sum.nrows(), places);
    triangular::matmul(
        sum.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        x,
        BlockStructure::Rectangular,
        x.adjoint(),
        BlockStructure::Rectangular,
        c64::new(1.0, 0.0),
        Par::Seq,
    );
}

/// The strongest combination of coils whose moments `sum(c cᴴ)` are the lower triangle of `moments`, unit length: the virtual
/// coil that the phases of sensitivities are relative to. Moments without a spectrum give the first coil.
pub(super) fn strongest(moments: &Mat<c64>) -> Vec<Complex64> {
    let coils = moments.nrows();
    let first = || (0..coils).map(|coil| Complex64::new(f64::from(u8::from(coil == 0)), 0.0)).collect();
    moments
        .self_adjoint_eigen(Side::Lower)
        .map_or_else(|_| first(), |eigen| (0..coils).map(|coil| eigen.U()[(coil, coils - 1)]).collect())
}

/// Frobenius norm of a Hermitian matrix given by its lower triangle.
pub(super) fn frobenius_of_lower(matrix: MatRef<'_, c64>) -> f64 {
    let mut sum = 0.0;
    for column in 0..matrix.ncols() {
        sum += matrix[(column, column)].norm_sqr();
        sum += 2.0 * (column + 1..matrix.nrows()).map(|row| matrix[(row, column)].norm_sqr()).sum::<f64>();
    }
    sum.sqrt()
}

/// Complex noise variance of a sample of `calibration`, `[coil, line, point]`. The smallest eigenvalues of the moments
/// of pure noise lie below its variance by a factor that the law of Marchenko and Pastur (1967) gives.
///
/// # Errors
/// [`Error::Unsupported`] for a region smaller than a window or without a finite spectrum.
pub fn noise_variance(calibration: &Array3<Complex32>) -> Result<f64> {
    one_thread();
    let (gram, windows) = gram(calibration.view(), NOISE_WINDOW);
    let refused = || {
        let (coils, lines, points) = calibration.dim();
        Error::unsupported(
            format!("calibration region of {coils} coils, {lines} lines and {points} points"),
            "the noise level cannot be read from it; at least 4 lines and 4 points of finite samples are needed",
        )
    };
    if windows == 0 {
        return Err(refused());
    }
    let values = gram.self_adjoint_eigenvalues(Side::Lower).map_err(|_| refused())?;
    let variance = noise_floor(&values, windows as f64);
    if variance.is_finite() { Ok(variance) } else { Err(refused()) }
}

/// Complex noise variance of an acquired sample of `kspace`, `[coil, ky, kx]`, from the lines of its grid in the outer half of
/// the acquired range: there the signal is weak. `None` where these are too few for it.
#[must_use]
pub fn noise_variance_of_image(kspace: &Array3<Complex32>, mask: &[bool], sampling: &Sampling) -> Option<f64> {
    one_thread();
    let (coils, lines, points) = kspace.dim();
    let reach = (sampling.last + 1 - sampling.first) / 4;
    let grid = (0..lines).filter(|line| mask[*line] && line % sampling.acceleration == sampling.offset);
    let outer = grid.filter(|line| line.abs_diff(lines / 2) > reach);
    let (before, after): (Vec<usize>, Vec<usize>) = outer.partition(|line| *line < lines / 2);
    let windows = |lines: &[usize]| (lines.len() + 1).saturating_sub(NOISE_WINDOW.0);
    let windows = (windows(&before) + windows(&after)) * (points + 1).saturating_sub(NOISE_WINDOW.1);
    if !enough(windows, coils) {
        return None;
    }
    let side = |lines: &[usize]| gram(kspace.select(Axis(1), lines).view(), NOISE_WINDOW).0;
    let values = (side(&before) + side(&after)).self_adjoint_eigenvalues(Side::Lower).ok()?;
    Some(noise_floor(&values, windows as f64)).filter(|variance| variance.is_finite())
}

/// Whether calibration lines of this size have windows enough to contradict a noise scan.
#[must_use]
pub const fn tells_noise(coils: usize, lines: usize, points: usize) -> bool {
    let windows = (lines + 1).saturating_sub(NOISE_WINDOW.0) * (points + 1).saturating_sub(NOISE_WINDOW.1);
    enough(windows, coils)
}

/// Whether so many windows tell the noise of so many coils.
const fn enough(windows: usize, coils: usize) -> bool {
    2 * windows >= 3 * coils * NOISE_WINDOW.0 * NOISE_WINDOW.1
}

/// Noise variance from the ascending eigenvalues of a sum of `count` outer products. Fewer products than eigenvalues leave the
/// first ones zero, whatever the noise; those are passed over.
pub(super) fn noise_floor(ascending: &[f64], count: f64) -> f64 {
    let size = ascending.len();
    let empty = size.saturating_sub(count as usize);
    let lowest = (((size - empty) as f64 * NOISE_SHARE) as usize).max(1);
    let mean = ascending.iter().skip(empty).take(lowest).sum::<f64>() / lowest as f64 / count;
    // Eigenvalues of noise begin at (1 - sqrt(ratio))² of its variance; near a ratio of 1 that says nothing.
    let ratio = size as f64 / count;
    let ratio = if ratio <= 1.0 { ratio.min(0.8) } else { ratio.max(1.25) };
    (mean / (1.0 - ratio.sqrt()).powi(2)).max(0.0)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn noise_is_found_with_more_and_with_fewer_windows_than_unknowns() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for (coils, lines, points) in [(2, 16, 40), (8, 24, 64), (32, 5, 128), (16, 4, 60)] {
            // Uniform within 1 of each part: a complex variance of 2 / 3.
            let noise = Array3::from_shape_simple_fn((coils, lines, points), || {
                Complex32::new(random.random_range(-1.0..1.0), random.random_range(-1.0..1.0))
            });
            let found = noise_variance(&noise).unwrap() * 1.5;
            assert!((0.5..2.5).contains(&found), "{coils} coils, {lines} x {points}: {found}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let full = crate::numerics::testing::scan(24, 40, 48, 0.01);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| noise_variance(&full).unwrap().to_bits())
        };
        assert!(on(1) == on(2) && on(1) == on(3));
    }
}
