//! Images of another matrix.

use ndarray::{Array2, Axis, s};

use super::fft::Centred;
use crate::Complex32;

/// The image `[y, x]` with another matrix over the same field of view: zeros around its k-space, or less of it. The point at index
/// `n / 2` stays at `m / 2`, and intensities stay; a real image stays real.
#[must_use]
pub fn resample(image: &Array2<Complex32>, rows: usize, columns: usize) -> Array2<Complex32> {
    along(&along(image, Axis(1), columns), Axis(0), rows)
}

fn along(image: &Array2<Complex32>, axis: Axis, wanted: usize) -> Array2<Complex32> {
    let length = image.len_of(axis);
    if length == wanted || length == 0 || wanted == 0 {
        return image.clone();
    }
    let lines = if axis == Axis(0) { image.t() } else { image.view() };
    let mut result = Array2::zeros((lines.nrows(), wanted));
    let (mut forward, mut inverse) = (Centred::forward(length), Centred::inverse(wanted));
    let scale = (wanted as f32 / length as f32).sqrt();
    let kept = length.min(wanted);
    let (from, to) = (length / 2 - kept / 2, wanted / 2 - kept / 2);
    let mut line = vec![Complex32::default(); length];
    let mut padded = vec![Complex32::default(); wanted];
    for (source, mut target) in lines.outer_iter().zip(result.outer_iter_mut()) {
        line.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        forward.apply(&mut line);
        padded.fill(Complex32::default());
        padded[to..to + kept].copy_from_slice(&line[from..from + kept]);
        if kept.is_multiple_of(2) {
            // The highest frequency of an even length stands for both of its signs.
            match wanted > length {
                true => {
                    let half = padded[to] * 0.5;
                    padded[to] = half;
                    padded[to + kept] = half;
                }
                false => padded[to] = (line[from] + line[from + kept]) * 0.5,
            }
        }
        inverse.apply(&mut padded);
        target.iter_mut().zip(&padded).for_each(|(to, from)| *to = from * scale);
    }
    if axis == Axis(0) { result.reversed_axes().as_standard_layout().into_owned() } else { result }
}

/// A real image `[y, x]` of another size: bilinear interpolation when enlarging, the mean of the covered pixels when reducing.
#[must_use]
pub fn resize(image: &Array2<f32>, rows: usize, columns: usize) -> Array2<f32> {
    if image.dim() == (rows, columns) {
        return image.clone();
    }
    let along_rows = weights(image.nrows(), rows);
    let along_columns = weights(image.ncols(), columns);
    let mut narrow = Array2::<f32>::zeros((image.nrows(), columns));
    for (source, mut target) in image.outer_iter().zip(narrow.outer_iter_mut()) {
        for (to, weights) in target.iter_mut().zip(&along_columns) {
            *to = weights.iter().map(|(from, weight)| source[*from] * weight).sum();
        }
    }
    let mut result = Array2::zeros((rows, columns));
    for (mut to, weights) in result.outer_iter_mut().zip(&along_rows) {
        for (from, weight) in weights {
            to.scaled_add(*weight, &narrow.slice(s![*from, ..]));
        }
    }
    result
}

/// The index, below `length`, of a line that is continued at both ends by its mirror image, the edges repeated.
pub(super) fn mirrored(at: isize, length: usize) -> usize {
    let length = length as isize;
    let at = at.rem_euclid(2 * length);
    at.min(2 * length - 1 - at) as usize
}

/// For each of `to` points the source points and their weights: a triangle as wide as a source pixel or as a target
/// pixel, whichever is wider.
fn weights(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let ratio = from as f64 / to as f64;
    let reach = ratio.max(1.0);
    (0..to)
        .map(|at| {
            let centre = (at as f64 + 0.5) * ratio - 0.5;
            let (first, last) = ((centre - reach).ceil().max(0.0), (centre + reach).floor().min(from as f64 - 1.0));
            let mut row: Vec<(usize, f32)> = (first as usize..=last as usize)
                .map(|source| (source, (1.0 - (source as f64 - centre).abs() / reach).max(0.0) as f32))
                .collect();
            let sum: f32 = row.iter().map(|(_, weight)| weight).sum();
            row.iter_mut().for_each(|(_, weight)| *weight /= sum);
            row
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    fn random(shape: (usize, usize), seed: u64) -> Array2<Complex32> {
        testing::random((1, shape.0, shape.1), seed).remove_axis(Axis(0))
    }

    fn inner(a: &Array2<Complex32>, b: &Array2<Complex32>) -> num_complex::Complex64 {
        testing::inner(&a.clone().insert_axis(Axis(0)), &b.clone().insert_axis(Axis(0)))
    }

    proptest! {
        #[test]
        fn the_centre_stays_and_so_does_what_both_matrices_can_hold(
            rows in 4usize..20, columns in 4usize..20, tall in 4usize..40, wide in 4usize..40, (u, v) in (-1i32..=1, -1i32..=1),
        ) {
            let wave = |rows: usize, columns: usize| Array2::from_shape_fn((rows, columns), |(y, x)| {
                let at = |at: usize, n: usize| (at as f32 - (n / 2) as f32) / n as f32;
                Complex32::from_polar(2.0, TAU * (u as f32 * at(y, rows) + v as f32 * at(x, columns)) + 0.3)
            });
            let found = resample(&wave(rows, columns), tall, wide);
            let worst = (&found - &wave(tall, wide)).iter().map(|value| value.norm()).fold(0f32, f32::max);
            prop_assert!(worst < 1e-4, "{worst}");
        }

        #[test]
        fn real_images_stay_real_and_constants_are_kept(rows in 1usize..12, columns in 1usize..12, tall in 1usize..24, wide in 1usize..24, seed: u64) {
            let image = random((rows, columns), seed);
            let real = image.mapv(|value| Complex32::new(value.re, 0.0));
            prop_assert!(resample(&real, tall, wide).iter().all(|value| value.im.abs() < 1e-4));
            let flat = resample(&Array2::from_elem((rows, columns), Complex32::new(0.5, -1.0)), tall, wide);
            prop_assert!(flat.iter().all(|value| (value - Complex32::new(0.5, -1.0)).norm() < 1e-4));
        }

        #[test]
        fn reducing_is_the_adjoint_of_enlarging_up_to_the_number_of_pixels(rows in 1usize..10, columns in 1usize..10, more in (0usize..9, 0usize..9), seed: u64) {
            let (tall, wide) = (rows + more.0, columns + more.1);
            let (small, large) = (random((rows, columns), seed), random((tall, wide), seed ^ 1));
            let left = inner(&resample(&small, tall, wide), &large);
            let right = inner(&small, &resample(&large, rows, columns)) * ((tall * wide) as f64 / (rows * columns) as f64);
            prop_assert!((left - right).norm() < 1e-3 * (1.0 + left.norm()), "{left} {right}");
        }
    }

    #[test]
    fn resizing_keeps_constants_and_means() {
        let image = Array2::from_shape_fn((60, 40), |(y, x)| ((y / 4 + x / 4) % 2) as f32);
        assert!((resize(&image, 15, 10).mean().unwrap() - 0.5).abs() < 0.02);
        let flat = resize(&Array2::from_elem((5, 7), 2.5), 13, 3);
        assert!(flat.iter().all(|value| (value - 2.5f32).abs() < 1e-6));
    }
}
