//! Sparse refinement: the image of a filled slice, made consistent with the acquired samples and sparse in wavelets.
//!
//! With coil sensitivities S, Fourier transform F and acquired samples k (mask M), iterates towards the image x whose
//! samples F S x agree with the acquired ones, stay near the filled ones as far as these can be trusted, and whose wavelet details
//! are few: FISTA (Beck and Teboulle, SIAM J. Imaging Sci. 2:183, 2009) from the filled image,
//!
//! ```text
//! x <- shrink( z + Sᴴ Fᴴ [ M (k - F S z) + mu (1 - M)(filled - F S z) ] )
//! ```
//!
//! with mu = 0.03 s / v for the noise variance s of acquired and the error variance v of filled samples. Details of both
//! maps shrink together by `0.22 sqrt(sigma d)`, where d is the size of the finest details: thresholds in units of the noise
//! alone blur scans of high SNR. Every step shifts the grid of the wavelets by a seeded amount, so that no block pattern is left.

use ndarray::{Array2, Array3, Array4};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::fft::Plane;
use super::wavelet::Wavelet;
use crate::Complex32;

/// Levels of the wavelet transform.
pub const LEVELS: usize = 4;

/// Strength and length of the refinement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Steps.
    pub iterations: usize,
    /// Threshold over `sqrt(sigma d)`.
    pub threshold: f32,
    /// Weight of filled samples over `s / v`.
    pub trust: f32,
    /// Seed of the shifts.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { iterations: 20, threshold: 0.22, trust: 0.03, seed: 0 }
    }
}

/// What is refined. k-space is `[coil, ky, kx]`.
pub struct Problem<'a> {
    /// Acquired and filled samples.
    pub kspace: &'a Array3<Complex32>,
    /// Acquired lines.
    pub mask: &'a [bool],
    /// First and last acquired line; beyond them k-space stays empty.
    pub range: (usize, usize),
    /// Noise variance of an acquired sample.
    pub noise_variance: f64,
    /// `[ky, kx]`: error variance of a filled sample.
    pub error_variance: &'a Array2<f32>,
    /// `[map, coil, y, x]`, at most unit length over the coils.
    pub maps: &'a Array4<Complex32>,
}

impl Problem<'_> {
    /// `[ky, kx]`: what the residual of a sample counts; 1 for acquired ones, and for those beyond the range, which are to stay empty.
    #[must_use]
    pub fn trust(&self, options: &Options) -> Vec<f32> {
        let trust = |((ky, _), error): ((usize, usize), &f32)| {
            let missing = ky >= self.range.0 && ky <= self.range.1 && !self.mask[ky];
            if missing { options.trust * self.noise_variance as f32 / error.max(f32::MIN_POSITIVE) } else { 1.0 }
        };
        self.error_variance.indexed_iter().map(trust).collect()
    }

    /// What details shrink by, from the image that the iteration begins with, `[map, y, x]`, which may be shifted circularly.
    #[must_use]
    pub fn threshold(&self, image: &[Complex32], options: &Options) -> f32 {
        let (_, _, rows, columns) = self.maps.dim();
        let detail = Shrink::new((1, rows, columns)).finest_detail(&image[..rows * columns]);
        options.threshold * ((self.noise_variance as f32).sqrt() * detail).sqrt()
    }
}

/// What differs from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// Rows and columns that the image is shifted by, against the grid of the wavelets.
    pub shift: (usize, usize),
    /// Part of the last change that the next step begins ahead.
    pub momentum: f32,
}

/// The steps of a refinement.
pub fn turns(options: &Options) -> impl Iterator<Item = Turn> + use<> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let mut pace = 1f32;
    (0..options.iterations).map(move |_| {
        let shift = (random.random_range(0..1usize << LEVELS), random.random_range(0..1usize << LEVELS));
        let next = 0.5 * (1.0 + (1.0 + 4.0 * pace * pace).sqrt());
        let momentum = (pace - 1.0) / next;
        pace = next;
        Turn { shift, momentum }
    })
}

/// Refines; returns `[map, y, x]`.
#[must_use]
pub fn refine(problem: &Problem<'_>, options: &Options) -> Array3<Complex32> {
    let (count, coils, rows, columns) = problem.maps.dim();
    let area = rows * columns;
    // Everything in the order of the plain transform, so that no step shifts anything.
    let shift = |plane: &mut [Complex32]| to_origin(plane, rows, columns);
    let maps: Vec<Complex32> = shifted(problem.maps.iter().copied().collect(), area, shift);
    let samples: Vec<Complex32> = shifted(problem.kspace.iter().copied().collect(), area, shift);
    let mut trust = problem.trust(options);
    to_origin(&mut trust, rows, columns);

    let model = Model { count, coils, rows, columns, maps: &maps, samples: &samples, trust: &trust };
    let zero = vec![Complex32::default(); count * area];
    let ones = vec![1.0; area];
    let mut image = Model { trust: &ones, ..model }.step(&zero);

    let threshold = problem.threshold(&image, options);
    let mut shrink = Shrink::new((count, rows, columns));
    let mut ahead = image.clone();
    for Turn { shift, momentum } in turns(options) {
        let mut next = ahead.clone();
        let step = model.step(&ahead);
        next.iter_mut().zip(&step).for_each(|(to, step)| *to += step);
        shrink.apply(&mut next, threshold, shift);
        for ((ahead, next), image) in ahead.iter_mut().zip(&next).zip(&image) {
            *ahead = next + (next - image) * momentum;
        }
        image = next;
    }
    for plane in image.chunks_exact_mut(area) {
        from_origin(plane, rows, columns);
    }
    Array3::from_shape_vec((count, rows, columns), image).unwrap_or_default()
}

fn shifted(mut values: Vec<Complex32>, area: usize, shift: impl Fn(&mut [Complex32])) -> Vec<Complex32> {
    values.chunks_exact_mut(area).for_each(shift);
    values
}

/// Moves the centre, index n / 2, to index 0 of both axes.
fn to_origin<T>(plane: &mut [T], rows: usize, columns: usize) {
    plane.chunks_exact_mut(columns).for_each(|line| line.rotate_left(columns / 2));
    plane.rotate_left(rows / 2 * columns);
}

/// Undoes [`to_origin`].
fn from_origin<T>(plane: &mut [T], rows: usize, columns: usize) {
    plane.rotate_right(rows / 2 * columns);
    plane.chunks_exact_mut(columns).for_each(|line| line.rotate_right(columns / 2));
}

/// The acquisition, in the order of the plain transform.
#[derive(Clone, Copy)]
struct Model<'a> {
    count: usize,
    coils: usize,
    rows: usize,
    columns: usize,
    /// `[map, coil, y, x]`.
    maps: &'a [Complex32],
    /// `[coil, ky, kx]`.
    samples: &'a [Complex32],
    /// `[ky, kx]`: weight of a sample's residual.
    trust: &'a [f32],
}

impl Model<'_> {
    /// `Sᴴ Fᴴ trust (samples - F S image)`, `[map, y, x]`.
    fn step(&self, image: &[Complex32]) -> Vec<Complex32> {
        let area = self.rows * self.columns;
        let workers: Vec<usize> = (0..self.coils).collect();
        let parts: Vec<Vec<Complex32>> = workers
            .par_chunks(self.coils.div_ceil(8))
            .map(|coils| {
                let mut sum = vec![Complex32::default(); self.count * area];
                let mut plane = vec![Complex32::default(); area];
                let (mut forward, mut inverse) =
                    (Plane::forward(self.rows, self.columns), Plane::inverse(self.rows, self.columns));
                for coil in coils {
                    let map = |number: usize| &self.maps[(number * self.coils + coil) * area..][..area];
                    plane.fill(Complex32::default());
                    for number in 0..self.count {
                        let image = &image[number * area..][..area];
                        for ((to, map), value) in plane.iter_mut().zip(map(number)).zip(image) {
                            *to += map * value;
                        }
                    }
                    forward.apply(&mut plane);
                    let samples = &self.samples[coil * area..][..area];
                    for ((to, sample), trust) in plane.iter_mut().zip(samples).zip(self.trust) {
                        *to = (sample - *to) * trust;
                    }
                    inverse.apply(&mut plane);
                    for number in 0..self.count {
                        let sum = &mut sum[number * area..][..area];
                        for ((to, map), value) in sum.iter_mut().zip(map(number)).zip(&plane) {
                            *to += map.conj() * value;
                        }
                    }
                }
                sum
            })
            .collect();
        let mut total = vec![Complex32::default(); self.count * area];
        for part in parts {
            total.iter_mut().zip(part).for_each(|(to, value)| *to += value);
        }
        total
    }
}

/// Soft thresholding of wavelet details, jointly over the maps.
struct Shrink {
    shape: (usize, usize, usize),
    padded: (usize, usize),
    wavelet: Wavelet,
    frames: Vec<Vec<Complex32>>,
}

impl Shrink {
    fn new(shape: (usize, usize, usize)) -> Self {
        let padded = (Wavelet::padded(shape.1, LEVELS), Wavelet::padded(shape.2, LEVELS));
        let frames = vec![vec![Complex32::default(); padded.0 * padded.1]; shape.0];
        Self { shape, padded, wavelet: Wavelet::new(padded.0, padded.1, LEVELS), frames }
    }

    /// Images shifted circularly into the padded frames.
    fn load(&mut self, image: &[Complex32], by: (usize, usize)) {
        let ((_, rows, columns), (tall, broad)) = (self.shape, self.padded);
        for (frame, image) in self.frames.iter_mut().zip(image.chunks_exact(rows * columns)) {
            frame.fill(Complex32::default());
            for (row, line) in image.chunks_exact(columns).enumerate() {
                let to = &mut frame[(row + by.0) % tall * broad..][..broad];
                for (column, value) in line.iter().enumerate() {
                    to[(column + by.1) % broad] = *value;
                }
            }
        }
    }

    fn store(&self, image: &mut [Complex32], by: (usize, usize)) {
        let ((_, rows, columns), (tall, broad)) = (self.shape, self.padded);
        for (frame, image) in self.frames.iter().zip(image.chunks_exact_mut(rows * columns)) {
            for (row, line) in image.chunks_exact_mut(columns).enumerate() {
                let from = &frame[(row + by.0) % tall * broad..][..broad];
                for (column, value) in line.iter_mut().enumerate() {
                    *value = from[(column + by.1) % broad];
                }
            }
        }
    }

    /// Typical size of the finest diagonal details of the first map: what noise alone would have as its deviation.
    fn finest_detail(&mut self, image: &[Complex32]) -> f32 {
        self.load(image, (0, 0));
        let (tall, broad) = self.padded;
        let Some(frame) = self.frames.first_mut() else { return 0.0 };
        Wavelet::new(tall, broad, 1).forward(frame);
        let mut sizes: Vec<f32> = frame[tall / 2 * broad..]
            .chunks_exact(broad)
            .flat_map(|line| line[broad / 2..].iter().map(|value| value.norm_sqr()))
            .collect();
        let middle = sizes.len() / 2;
        let (_, median, _) = sizes.select_nth_unstable_by(middle, f32::total_cmp);
        (*median / std::f32::consts::LN_2).sqrt()
    }

    fn apply(&mut self, image: &mut [Complex32], threshold: f32, by: (usize, usize)) {
        self.load(image, by);
        let (tall, broad) = self.padded;
        for frame in &mut self.frames {
            self.wavelet.forward(frame);
        }
        let (smooth_rows, smooth_columns) = (tall >> LEVELS, broad >> LEVELS);
        for at in 0..tall * broad {
            if at / broad < smooth_rows && at % broad < smooth_columns {
                continue;
            }
            let size = self.frames.iter().map(|frame| frame[at].norm_sqr()).sum::<f32>().sqrt();
            let factor = if size > threshold { 1.0 - threshold / size } else { 0.0 };
            self.frames.iter_mut().for_each(|frame| frame[at] *= factor);
        }
        for frame in &mut self.frames {
            self.wavelet.inverse(frame);
        }
        self.store(image, by);
    }
}

#[cfg(test)]
mod tests;
