//! Wavelet details, and what makes them few.

use super::LEVELS;
use crate::Complex32;
use crate::numerics::wavelet::Wavelet;

/// Soft thresholding of wavelet details, jointly over the maps.
pub(super) struct Shrink {
    shape: (usize, usize, usize),
    padded: (usize, usize),
    wavelet: Wavelet,
    frames: Vec<Vec<Complex32>>,
}

impl Shrink {
    pub(super) fn new(shape: (usize, usize, usize)) -> Self {
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
    pub(super) fn finest_detail(&mut self, image: &[Complex32]) -> f32 {
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

    pub(super) fn apply(&mut self, image: &mut [Complex32], threshold: f32, by: (usize, usize)) {
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
