//! Centred unitary Fourier transforms: index `n / 2` is the origin of both domains and energy is preserved.
//!
//! `x = fftshift(ifft(ifftshift(k))) * sqrt(n)` as NumPy writes it with `norm="ortho"`. For an odd n the two shifts
//! differ; getting them the wrong way round moves the image by one pixel.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ndarray::Array3;
use rayon::prelude::*;
use rustfft::{Fft, FftDirection, FftPlanner};

use crate::Complex32;

/// Plans are the same for every slice of a scan, and making one costs more than running it.
static PLANNER: LazyLock<Mutex<FftPlanner<f32>>> = LazyLock::new(|| Mutex::new(FftPlanner::new()));

/// Columns transformed together, so that a cache line fetched for one column serves its neighbours.
const COLUMNS: usize = 8;

/// The plain, not centred and not scaled, transform of length `length`.
pub(crate) fn plan(length: usize, direction: FftDirection) -> Arc<dyn Fft<f32>> {
    PLANNER.lock().unwrap_or_else(PoisonError::into_inner).plan_fft(length, direction)
}

/// A centred unitary transform of one length with its scratch memory.
pub struct Centred {
    plan: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex32>,
    scale: f32,
}

impl Centred {
    /// From k-space to image.
    #[must_use]
    pub fn inverse(length: usize) -> Self {
        Self::new(length, FftDirection::Inverse)
    }

    /// From image to k-space.
    #[must_use]
    pub fn forward(length: usize) -> Self {
        Self::new(length, FftDirection::Forward)
    }

    fn new(length: usize, direction: FftDirection) -> Self {
        let plan = plan(length, direction);
        let scratch = vec![Complex32::default(); plan.get_inplace_scratch_len()];
        Self { plan, scratch, scale: 1.0 / (length.max(1) as f32).sqrt() }
    }

    /// Transforms each consecutive run of the transform's length in `lines`; a shorter rest is left as it is.
    pub fn apply(&mut self, lines: &mut [Complex32]) {
        let length = self.plan.len();
        if length == 0 {
            return;
        }
        for line in lines.chunks_exact_mut(length) {
            line.rotate_left(length / 2);
            self.plan.process_with_scratch(line, &mut self.scratch);
            line.rotate_right(length / 2);
            line.iter_mut().for_each(|value| *value *= self.scale);
        }
    }
}

/// A plain unitary transform of planes of one shape, in place: index 0 is the origin of both domains. For work that
/// transforms the same planes many times and moves the origin once.
pub(super) struct Plane {
    along_x: Arc<dyn Fft<f32>>,
    along_y: Arc<dyn Fft<f32>>,
    rows: usize,
    columns: usize,
    block: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Plane {
    /// From k-space to image.
    pub(super) fn inverse(rows: usize, columns: usize) -> Self {
        Self::new(rows, columns, FftDirection::Inverse)
    }

    /// From image to k-space.
    pub(super) fn forward(rows: usize, columns: usize) -> Self {
        Self::new(rows, columns, FftDirection::Forward)
    }

    fn new(rows: usize, columns: usize, direction: FftDirection) -> Self {
        let (along_x, along_y) = (plan(columns, direction), plan(rows, direction));
        let scratch = along_x.get_inplace_scratch_len().max(along_y.get_inplace_scratch_len());
        Self {
            along_x,
            along_y,
            rows,
            columns,
            block: vec![Complex32::default(); rows * COLUMNS],
            scratch: vec![Complex32::default(); scratch],
        }
    }

    /// Transforms `[rows, columns]`.
    pub(super) fn apply(&mut self, plane: &mut [Complex32]) {
        let (rows, columns) = (self.rows, self.columns);
        let scale = 1.0 / ((rows * columns) as f32).sqrt();
        self.along_x.process_with_scratch(plane, &mut self.scratch);
        for first in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - first);
            for row in 0..rows {
                for column in 0..width {
                    self.block[column * rows + row] = plane[row * columns + first + column] * scale;
                }
            }
            self.along_y.process_with_scratch(&mut self.block[..width * rows], &mut self.scratch);
            for row in 0..rows {
                for column in 0..width {
                    plane[row * columns + first + column] = self.block[column * rows + row];
                }
            }
        }
    }
}

/// k-space `[coil, ky, kx]` to coil images `[coil, y, x]`.
#[must_use]
pub fn ifft2c(kspace: &Array3<Complex32>) -> Array3<Complex32> {
    transform(kspace, FftDirection::Inverse)
}

/// Coil images `[coil, y, x]` to k-space `[coil, ky, kx]`.
#[must_use]
pub fn fft2c(images: &Array3<Complex32>) -> Array3<Complex32> {
    transform(images, FftDirection::Forward)
}

fn transform(input: &Array3<Complex32>, direction: FftDirection) -> Array3<Complex32> {
    let (_, rows, columns) = input.dim();
    let mut output = Array3::zeros(input.dim());
    if rows == 0 || columns == 0 {
        return output;
    }
    let input = input.as_standard_layout();
    let (Some(from), Some(to)) = (input.as_slice(), output.as_slice_mut()) else { return output };
    let planes = from.par_chunks_exact(rows * columns).zip(to.par_chunks_exact_mut(rows * columns));
    planes.for_each(|(from, to)| centred(from, to, (rows, columns), direction));
    output
}

/// The transform of one plane; both shifts and the scale go along with copies that are made anyway.
fn centred(from: &[Complex32], to: &mut [Complex32], (rows, columns): (usize, usize), direction: FftDirection) {
    let (along_x, along_y) = (plan(columns, direction), plan(rows, direction));
    let scratch = along_x.get_inplace_scratch_len().max(along_y.get_inplace_scratch_len());
    let mut scratch = vec![Complex32::default(); scratch];
    for (from, to) in from.chunks_exact(columns).zip(to.chunks_exact_mut(columns)) {
        let (before, after) = from.split_at(columns / 2);
        to[..after.len()].copy_from_slice(after);
        to[after.len()..].copy_from_slice(before);
        along_x.process_with_scratch(to, &mut scratch);
        to.rotate_right(columns / 2);
    }
    let scale = 1.0 / ((rows * columns) as f32).sqrt();
    let shifted = |row: usize| if row < rows / 2 { row + rows - rows / 2 } else { row - rows / 2 };
    let mut block = vec![Complex32::default(); rows * COLUMNS];
    for first in (0..columns).step_by(COLUMNS) {
        let width = COLUMNS.min(columns - first);
        let block = &mut block[..width * rows];
        for (row, line) in to.chunks_exact(columns).enumerate() {
            let at = shifted(row);
            for (lane, value) in block.chunks_exact_mut(rows).zip(&line[first..]) {
                lane[at] = *value;
            }
        }
        along_y.process_with_scratch(block, &mut scratch);
        for (row, line) in to.chunks_exact_mut(columns).enumerate() {
            let at = shifted(row);
            for (lane, value) in block.chunks_exact(rows).zip(&mut line[first..]) {
                *value = lane[at] * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use ndarray::Array3;
    use num_complex::Complex64;
    use proptest::prelude::*;

    use super::*;

    /// The definition, summed in double precision.
    fn slow(input: &Array3<Complex32>, sign: f64) -> Array3<Complex32> {
        let (_, rows, columns) = input.dim();
        Array3::from_shape_fn(input.dim(), |(coil, y, x)| {
            let mut sum = Complex64::default();
            for v in 0..rows {
                for u in 0..columns {
                    let turn = (y as f64 - (rows / 2) as f64) * (v as f64 - (rows / 2) as f64) / rows as f64
                        + (x as f64 - (columns / 2) as f64) * (u as f64 - (columns / 2) as f64) / columns as f64;
                    let value = input[[coil, v, u]];
                    sum += Complex64::new(value.re.into(), value.im.into()) * Complex64::cis(sign * TAU * turn);
                }
            }
            let value = sum / ((rows * columns) as f64).sqrt();
            Complex32::new(value.re as f32, value.im as f32)
        })
    }

    fn arrays() -> impl Strategy<Value = Array3<Complex32>> {
        (1usize..3, 1usize..12, 1usize..12).prop_flat_map(|shape| {
            let count = shape.0 * shape.1 * shape.2;
            prop::collection::vec((-1f32..1.0, -1f32..1.0), count).prop_map(move |values| {
                let values = values.into_iter().map(|(re, im)| Complex32::new(re, im)).collect();
                Array3::from_shape_vec(shape, values).unwrap()
            })
        })
    }

    fn close(a: &Array3<Complex32>, b: &Array3<Complex32>) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).norm() < 2e-5)
    }

    proptest! {
        #[test]
        fn equals_the_definition_and_undoes_itself(input in arrays()) {
            prop_assert!(close(&ifft2c(&input), &slow(&input, 1.0)));
            prop_assert!(close(&fft2c(&input), &slow(&input, -1.0)));
            prop_assert!(close(&fft2c(&ifft2c(&input)), &input));
        }

        #[test]
        fn the_inverse_is_the_adjoint(u in arrays(), seed in 0u64..1000) {
            let v = u.mapv(|z| Complex32::new((z.im * 7.0 + seed as f32).sin(), (z.re * 5.0 - seed as f32).cos()));
            let dot = |a: &Array3<Complex32>, b: &Array3<Complex32>| -> Complex32 {
                a.iter().zip(b).map(|(a, b)| a.conj() * b).sum()
            };
            let difference = dot(&fft2c(&u), &v) - dot(&u, &ifft2c(&v));
            prop_assert!(difference.norm() < 1e-4 * u.len() as f32);
        }
    }
}
