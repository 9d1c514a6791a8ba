//! Coil sensitivity maps from calibration lines: ESPIRiT (Uecker et al., MRM 71:990, 2014).
//!
//! The windows of a calibration region lie in a subspace. A coil image is consistent with the data where projecting its
//! windows on that subspace changes nothing, which in the image domain is an eigenvector of a coils by coils matrix at each pixel
//! with an eigenvalue of 1: the sensitivities. Where an object is wrapped into the field of view, two of them are, and the
//! image there is the sum of two. Elsewhere a second map would only give noise room, so it fades out as its eigenvalue falls.

#[expect(clippy::needless_range_loop, reason = "the lanes of several arrays go together")]
mod pixels;
mod subspace;

use faer::{Mat, c64};
use ndarray::{Array3, Array4, ArrayView3, Axis, s};
use rustfft::FftDirection;

pub use self::pixels::Pixels;
pub(super) use self::pixels::eigenvectors;
pub use self::subspace::ALL_VECTORS;
use super::fft::plan;
use super::imaging::Imaging;
use super::window::{self, gram, one_thread, strongest};
use crate::{Complex32, Error, Result};

/// Times the largest singular value of noise that a direction must reach to count as signal. The noise level is an
/// estimate, and a direction that is half noise is worse than none.
const ABOVE_NOISE: f64 = 8.0;
/// Eigenvalues between which a second map fades in.
const SECOND: (f32, f32) = (0.9, 0.98);
/// Part of the pixels that need a second map before there is one.
const LEAST_WRAPPED: f32 = 0.01;

/// Sensitivities and how far the calibration supports them.
#[derive(Debug, Clone)]
pub struct Maps {
    /// `[map, coil, y, x]`: unit vectors over the coils; a second map is shorter where it is less supported. One map,
    /// or two where the field of view is wrapped.
    pub maps: Array4<Complex32>,
    /// `[y, x]` of each map: eigenvalues, 1 where the data are consistent with the map, small outside the object.
    pub values: Array3<f32>,
    /// Part of the pixels with a second map, whether or not it was kept.
    pub wrapped: f32,
}

/// Window and steps of the computation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Lines and points of a window.
    pub window: usize,
    /// Points of the readout around the centre that calibrate.
    pub points: usize,
    /// Most maps, 1 or 2.
    pub maps: usize,
    /// Steps of the subspace iteration at a pixel. Neighbours start from each other's result, so few are needed.
    pub steps: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: 6, points: 64, maps: 2, steps: 8 }
    }
}

/// Maps of the image `rows` by `columns` from a calibration region `[coil, line, point]` whose noise has the complex
/// variance `noise_variance` a sample. The centre of k-space is the middle of the region's points. Pixels are computed by `imaging`.
///
/// # Errors
/// [`Error::Unsupported`] for a region smaller than a window, or of noise only; [`Error::Io`] when a device refuses.
pub fn maps(
    region: ArrayView3<'_, Complex32>,
    noise_variance: f64,
    (rows, columns): (usize, usize),
    options: &Options,
    imaging: &dyn Imaging,
) -> Result<Maps> {
    one_thread();
    let (coils, lines, points) = region.dim();
    let refused = |found: &str| {
        Error::unsupported(
            format!("calibration region of {coils} coils, {lines} lines and {points} points {found}"),
            "coil sensitivities cannot be read from it; reconstruct with --refine none",
        )
    };
    let kept = points.min(options.points);
    let first = points / 2 - kept / 2;
    let region = region.slice(s![.., .., first..first + kept]);
    let (gram, windows) = gram(region, (options.window, options.window));
    if windows == 0 {
        return Err(refused("is too small"));
    }
    // Singular values of noise end at sqrt(windows) + sqrt(size), times its deviation.
    let edge = noise_variance * ((windows as f64).sqrt() + (gram.nrows() as f64).sqrt()).powi(2);
    let floor = |largest: f64| (ABOVE_NOISE * edge).max(1e-6 * largest);
    let basis = subspace::strong(&gram, floor).ok_or_else(|| refused("has no spectrum"))?;
    if basis.ncols() == 0 {
        return Err(refused("holds noise only"));
    }
    let projector = &basis * basis.adjoint();
    // The phase that the maps are relative to.
    let reference = strongest(&window::gram(region, (1, 1)).0);
    let reference: Vec<Complex32> =
        reference.iter().map(|value| Complex32::new(value.re as f32, value.im as f32)).collect();
    let filter = Filter::new(&projector, coils, options.window, columns);
    let maps = options.maps.clamp(1, 2).min(coils);
    let pixels = Pixels { filter: &filter, rows, maps, reference: &reference, steps: options.steps };
    let (mut maps, mut values) = imaging.eigenvectors(&pixels)?;
    let wrapped = fade(&mut maps, &values);
    if wrapped < LEAST_WRAPPED {
        maps = maps.slice(s![..1, .., .., ..]).to_owned();
        values = values.slice(s![..1, .., ..]).to_owned();
    }
    Ok(Maps { maps, values, wrapped })
}

/// The projector as a filter of coils by coils: its lags along y, each transformed along x.
#[derive(Debug)]
pub struct Filter {
    /// Coils.
    pub coils: usize,
    /// Pixels along x.
    pub columns: usize,
    /// Largest lag of y.
    pub reach: usize,
    /// `[x, pair, lag of y]`, pairs (c, d) with c >= d in rows of a triangle, lags from -`reach` on.
    pub lags: Vec<Complex32>,
}

impl Filter {
    fn new(projector: &Mat<c64>, coils: usize, window: usize, columns: usize) -> Self {
        let reach = window - 1;
        let count = 2 * reach + 1;
        let pairs: Vec<(usize, usize)> = (0..coils).flat_map(|c| (0..=c).map(move |d| (c, d))).collect();
        let transform = plan(columns, FftDirection::Inverse);
        let each = pairs.len() * count;
        let mut lags = vec![Complex32::default(); columns * each];
        let scale = 1.0 / (window * window) as f64;
        for (pair, (c, d)) in pairs.into_iter().enumerate() {
            for lag_y in 0..count {
                let mut line = vec![Complex32::default(); columns];
                for lag_x in 0..count {
                    let mut sum = c64::default();
                    for y in 0..window {
                        for x in 0..window {
                            let (other_y, other_x) = ((y + reach).wrapping_sub(lag_y), (x + reach).wrapping_sub(lag_x));
                            if other_y < window && other_x < window {
                                let row = (c * window + y) * window + x;
                                let column = (d * window + other_y) * window + other_x;
                                sum += projector[(row, column)];
                            }
                        }
                    }
                    let value = sum * scale;
                    line[(lag_x + columns - reach % columns) % columns] +=
                        Complex32::new(value.re as f32, value.im as f32);
                }
                transform.process(&mut line);
                line.rotate_right(columns / 2);
                let to = lags.iter_mut().skip(pair * count + lag_y).step_by(each);
                to.zip(line).for_each(|(to, from)| *to = from);
            }
        }
        Self { coils, columns, reach, lags }
    }

    /// The lags of y `[pair, lag]` of a column.
    fn lags_at(&self, column: usize) -> &[Complex32] {
        let size = self.lags.len() / self.columns;
        &self.lags[column * size..][..size]
    }
}

/// Shortens the second map where its eigenvalue is small; returns the part of the pixels that is left to it.
fn fade(maps: &mut Array4<Complex32>, values: &Array3<f32>) -> f32 {
    let (count, coils, rows, columns) = maps.dim();
    let mut left = 0.0;
    for map in 1..count {
        for ((row, column), value) in values.index_axis(Axis(0), map).indexed_iter() {
            let share = ((value - SECOND.0) / (SECOND.1 - SECOND.0)).clamp(0.0, 1.0);
            left += share;
            (0..coils).for_each(|coil| maps[[map, coil, row, column]] *= share);
        }
    }
    left / (rows * columns) as f32
}

#[cfg(test)]
mod tests;
