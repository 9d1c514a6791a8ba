//! The acquisition: from images to samples and back.

use std::ops::AddAssign;

use rayon::prelude::*;

use crate::Complex32;
use crate::numerics::fft::Plane;

/// The acquisition, in the order of the plain transform.
#[derive(Clone, Copy)]
pub(super) struct Model<'a> {
    pub(super) count: usize,
    pub(super) coils: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// `[map, coil, y, x]`.
    pub(super) maps: &'a [Complex32],
    /// `[coil, ky, kx]`.
    pub(super) samples: &'a [Complex32],
    /// `[ky, kx]`: weight of a sample's residual.
    pub(super) trust: &'a [f32],
}

impl Model<'_> {
    /// `Sᴴ Fᴴ trust (samples - F S image)`, `[map, y, x]`.
    pub(super) fn step(&self, image: &[Complex32]) -> Vec<Complex32> {
        let area = self.rows * self.columns;
        self.over_coils(|coils| {
            let mut sum = vec![Complex32::default(); self.count * area];
            let mut plane = vec![Complex32::default(); area];
            let (mut forward, mut inverse) =
                (Plane::forward(self.rows, self.columns), Plane::inverse(self.rows, self.columns));
            for coil in coils {
                self.residual(image, *coil, &mut plane, &mut forward);
                inverse.apply(&mut plane);
                for number in 0..self.count {
                    let sum = &mut sum[number * area..][..area];
                    for ((to, map), value) in sum.iter_mut().zip(self.map(number, *coil)).zip(&plane) {
                        *to += map.conj() * value;
                    }
                }
            }
            sum
        })
    }

    /// `|trust (samples - F S image)|²` of each row, all coils together.
    pub(super) fn energies(&self, image: &[Complex32]) -> Vec<f64> {
        self.over_coils(|coils| {
            let mut plane = vec![Complex32::default(); self.rows * self.columns];
            let mut forward = Plane::forward(self.rows, self.columns);
            let mut sums = vec![0.0; self.rows];
            for coil in coils {
                self.residual(image, *coil, &mut plane, &mut forward);
                for (sum, row) in sums.iter_mut().zip(plane.chunks_exact(self.columns)) {
                    *sum += row.iter().map(|value| f64::from(value.norm_sqr())).sum::<f64>();
                }
            }
            sums
        })
    }

    /// The sum of what `of` makes of all coils, in parts that do not depend on the number of threads.
    fn over_coils<T: AddAssign + Send>(&self, of: impl Fn(&[usize]) -> Vec<T> + Sync + Send) -> Vec<T> {
        let coils: Vec<usize> = (0..self.coils).collect();
        let parts: Vec<Vec<T>> = coils.par_chunks(self.coils.div_ceil(8)).map(of).collect();
        let add = |mut sum: Vec<T>, part: Vec<T>| {
            sum.iter_mut().zip(part).for_each(|(to, value)| *to += value);
            sum
        };
        parts.into_iter().reduce(add).unwrap_or_default()
    }

    fn map(&self, number: usize, coil: usize) -> &[Complex32] {
        let area = self.rows * self.columns;
        &self.maps[(number * self.coils + coil) * area..][..area]
    }

    /// `trust (samples - F S image)` of a coil into `plane`.
    fn residual(&self, image: &[Complex32], coil: usize, plane: &mut [Complex32], forward: &mut Plane) {
        let area = plane.len();
        plane.fill(Complex32::default());
        for (number, image) in image.chunks_exact(area).enumerate() {
            for ((to, map), value) in plane.iter_mut().zip(self.map(number, coil)).zip(image) {
                *to += map * value;
            }
        }
        forward.apply(plane);
        let samples = &self.samples[coil * area..][..area];
        for ((to, sample), trust) in plane.iter_mut().zip(samples).zip(self.trust) {
            *to = (sample - *to) * trust;
        }
    }
}
