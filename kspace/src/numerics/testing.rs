//! Scans of known truth for the tests of the methods.
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use contract::prepared::Sampling;
use ndarray::{Array3, Axis, s};
use num_complex::Complex64;

use super::fft::{fft2c, ifft2c};
use crate::Complex32;

/// k-space `[coil, ky, kx]` of an object of smooth phase seen by coils around it, with noise of variance 2 `noise`².
pub(super) fn scan(coils: usize, rows: usize, columns: usize, noise: f32) -> Array3<Complex32> {
    let images = Array3::from_shape_fn((coils, rows, columns), |(coil, row, column)| {
        let (y, x) = (row as f32 / rows as f32 * 2.0 - 1.0, column as f32 / columns as f32 * 2.0 - 1.0);
        let radius = (y / 0.85).hypot(x / 0.7);
        let object = if radius < 1.0 { 1.0 + 0.3 * (9.0 * x).sin() * (7.0 * y).cos() } else { 0.0 };
        let angle = std::f32::consts::TAU * coil as f32 / coils as f32;
        let distance = (y - 1.2 * angle.sin()).powi(2) + (x - 1.2 * angle.cos()).powi(2);
        Complex32::from_polar(object / (0.4 + distance), angle + 0.9 * x - 0.6 * y * y)
    });
    let mut random = uniform(1);
    fft2c(&images).mapv(|value| value + Complex32::new(random(), random()) * noise)
}

/// Every `acceleration`-th line of `full` from `offset` on, below `until`, and `acs` lines in the middle.
pub(super) fn sample(
    full: &Array3<Complex32>,
    acceleration: usize,
    offset: usize,
    acs: usize,
    until: usize,
) -> (Array3<Complex32>, Vec<bool>, Sampling) {
    let lines = full.len_of(Axis(1));
    let acs_first = lines / 2 - acs / 2;
    let on = |ky: usize| ky < until && (ky % acceleration == offset || (acs_first..acs_first + acs).contains(&ky));
    let mask: Vec<bool> = (0..lines).map(on).collect();
    let mut kspace = full.clone();
    for ky in (0..lines).filter(|ky| !mask[*ky]) {
        kspace.slice_mut(s![.., ky, ..]).fill(Complex32::default());
    }
    let first = mask.iter().position(|on| *on).unwrap();
    let last = mask.iter().rposition(|on| *on).unwrap();
    (kspace, mask, Sampling { acceleration, offset, acs_first, acs_lines: acs, first, last })
}

/// What a calibration scan of its own sees of `full`: the same coils and field of view, another contrast and phase, `scale` times the
/// signal, noise of variance 2 `noise`², and the central `lines` by `points` samples only.
pub(super) fn calibration(
    full: &Array3<Complex32>,
    (lines, points): (usize, usize),
    scale: f32,
    noise: f32,
) -> Array3<Complex32> {
    let (_, rows, columns) = full.dim();
    let mut images = ifft2c(full);
    for ((_, row, column), value) in images.indexed_iter_mut() {
        let (y, x) = (row as f32 / rows as f32 * 2.0 - 1.0, column as f32 / columns as f32 * 2.0 - 1.0);
        *value *= Complex32::from_polar(scale * (1.0 + 0.4 * (5.0 * y - 3.0 * x).sin()), 1.1 + 0.8 * y);
    }
    let (first, start) = (rows / 2 - lines / 2, columns / 2 - points / 2);
    let mut random = uniform(7);
    let samples = fft2c(&images).slice(s![.., first..first + lines, start..start + points]).to_owned();
    samples.mapv(|value| value + Complex32::new(random(), random()) * noise)
}

/// Numbers of mean 0 and variance 1.
fn uniform(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 12f32.sqrt()
    }
}

/// Energy of a line, all coils.
pub(super) fn energy(kspace: &Array3<Complex32>, line: usize) -> f32 {
    kspace.index_axis(Axis(1), line).iter().map(|value| value.norm_sqr()).sum()
}

/// k-space `[coil, ky, kx]` of `points` bright points in different rows and columns, each seen by every coil with a sensitivity of
/// its own: neighbours of a sample determine it exactly, through a linear relation that holds everywhere.
pub(super) fn points(coils: usize, rows: usize, columns: usize, points: usize) -> Array3<Complex32> {
    let mut images = Array3::zeros((coils, rows, columns));
    for point in 0..points {
        let (row, column) = ((point * 7 + 3) % rows, point * columns / points + columns / (2 * points));
        for coil in 0..coils {
            let turn = (1.7 * point as f32 + 2.3 * coil as f32 + 0.37 * (point * coil) as f32).sin();
            images[[coil, row, column]] = Complex32::from_polar(1.0 + 0.5 * turn, 3.0 * turn + coil as f32);
        }
    }
    fft2c(&images)
}

/// Complex numbers whose parts have mean 0 and variance 1.
pub(super) fn random(shape: (usize, usize, usize), seed: u64) -> Array3<Complex32> {
    let mut random = uniform(seed);
    Array3::from_shape_simple_fn(shape, || Complex32::new(random(), random()))
}

/// `<a, b>`, in double precision.
pub(super) fn inner(a: &Array3<Complex32>, b: &Array3<Complex32>) -> Complex64 {
    let wide = |value: &Complex32| Complex64::new(value.re.into(), value.im.into());
    a.iter().zip(b).map(|(a, b)| wide(a).conj() * wide(b)).sum()
}
