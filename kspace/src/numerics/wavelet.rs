//! Orthonormal wavelet transform of images: Daubechies' filter of four taps (CPAM 41:909, 1988), periodic.

use crate::Complex32;

/// Low-pass filter.
pub const LOW: [f32; 4] = [0.482_962_9, 0.836_516_3, 0.224_143_87, -0.129_409_52];
/// High-pass filter.
pub const HIGH: [f32; 4] = [-0.129_409_52, -0.224_143_87, 0.836_516_3, -0.482_962_9];
/// Columns transformed together.
const COLUMNS: usize = 16;

/// Transforms between images `[y, x]` and coefficients in place. After a level the first half of each axis holds the
/// smooth part, which the next level splits again.
pub struct Wavelet {
    rows: usize,
    columns: usize,
    levels: usize,
    scratch: Vec<Complex32>,
}

impl Wavelet {
    /// For images of `rows` by `columns`, both multiples of `2^levels`.
    #[must_use]
    pub fn new(rows: usize, columns: usize, levels: usize) -> Self {
        let scratch = vec![Complex32::default(); rows.max(columns) * COLUMNS * 2];
        Self { rows, columns, levels, scratch }
    }

    /// Lengths that a transform of `levels` levels takes, `length` or the next larger one.
    #[must_use]
    pub const fn padded(length: usize, levels: usize) -> usize {
        length.next_multiple_of(1 << levels)
    }

    /// Image to coefficients.
    pub fn forward(&mut self, image: &mut [Complex32]) {
        for level in 0..self.levels {
            let (rows, columns) = (self.rows >> level, self.columns >> level);
            for row in 0..rows {
                let line = &mut image[row * self.columns..][..columns];
                split(line, &mut self.scratch[..columns], 1);
            }
            self.along_y(image, rows, columns, split);
        }
    }

    /// Coefficients to image.
    pub fn inverse(&mut self, image: &mut [Complex32]) {
        for level in (0..self.levels).rev() {
            let (rows, columns) = (self.rows >> level, self.columns >> level);
            self.along_y(image, rows, columns, join);
            for row in 0..rows {
                let line = &mut image[row * self.columns..][..columns];
                join(line, &mut self.scratch[..columns], 1);
            }
        }
    }

    fn along_y(
        &mut self,
        image: &mut [Complex32],
        rows: usize,
        columns: usize,
        step: fn(&mut [Complex32], &mut [Complex32], usize),
    ) {
        let half = self.scratch.len() / 2;
        let (block, scratch) = self.scratch.split_at_mut(half);
        for first in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - first);
            for row in 0..rows {
                block[row * width..][..width].copy_from_slice(&image[row * self.columns + first..][..width]);
            }
            step(&mut block[..rows * width], &mut scratch[..rows * width], width);
            for row in 0..rows {
                image[row * self.columns + first..][..width].copy_from_slice(&block[row * width..][..width]);
            }
        }
    }
}

/// One level along the first axis of `[length, width]`.
fn split(values: &mut [Complex32], scratch: &mut [Complex32], width: usize) {
    let length = values.len() / width;
    let half = length / 2;
    for at in 0..half {
        for lane in 0..width {
            let (mut low, mut high) = (Complex32::default(), Complex32::default());
            for tap in 0..4 {
                let mut from = 2 * at + tap;
                if from >= length {
                    from %= length;
                }
                let value = values[from * width + lane];
                low += value * LOW[tap];
                high += value * HIGH[tap];
            }
            scratch[at * width + lane] = low;
            scratch[(half + at) * width + lane] = high;
        }
    }
    values.copy_from_slice(scratch);
}

/// Undoes [`split`].
fn join(values: &mut [Complex32], scratch: &mut [Complex32], width: usize) {
    let length = values.len() / width;
    let half = length / 2;
    scratch.fill(Complex32::default());
    for at in 0..half {
        for tap in 0..4 {
            let mut to = 2 * at + tap;
            if to >= length {
                to %= length;
            }
            for lane in 0..width {
                scratch[to * width + lane] +=
                    values[at * width + lane] * LOW[tap] + values[(half + at) * width + lane] * HIGH[tap];
            }
        }
    }
    values.copy_from_slice(scratch);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(rows: usize, columns: usize, seed: u64) -> Vec<Complex32> {
        (0..rows * columns)
            .map(|at| Complex32::new(((at as u64 * 31 + seed) as f32).sin(), ((at as u64 * 17 + seed) as f32).cos()))
            .collect()
    }

    proptest! {
        #[test]
        fn undoes_itself_and_keeps_energy(y in 1usize..5, x in 1usize..5, levels in 1usize..4, seed in 0u64..99) {
            let (rows, columns) = (y << levels, x << levels);
            let before = image(rows, columns, seed);
            let mut after = before.clone();
            let mut wavelet = Wavelet::new(rows, columns, levels);
            wavelet.forward(&mut after);
            let energy = |values: &[Complex32]| values.iter().map(|value| value.norm_sqr()).sum::<f32>();
            prop_assert!((energy(&after) / energy(&before) - 1.0).abs() < 1e-5);
            wavelet.inverse(&mut after);
            prop_assert!(before.iter().zip(&after).all(|(a, b)| (a - b).norm() < 1e-5));
        }
    }

    #[test]
    fn a_plane_has_no_detail_away_from_the_edges() {
        let (rows, columns) = (32, 32);
        let mut plane: Vec<Complex32> = (0..rows * columns)
            .map(|at| Complex32::new((at / columns) as f32 + 2.0 * (at % columns) as f32, 0.0))
            .collect();
        Wavelet::new(rows, columns, 1).forward(&mut plane);
        for y in 0..14 {
            for x in 0..14 {
                assert!(plane[(16 + y) * columns + 16 + x].norm() < 1e-4);
                assert!(plane[(16 + y) * columns + x].norm() < 1e-3 && plane[y * columns + 16 + x].norm() < 1e-3);
            }
        }
    }
}
