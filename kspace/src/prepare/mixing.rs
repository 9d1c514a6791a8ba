//! Linear combinations of the coils, applied to every sample: prewhitening and coil compression in one product.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use crate::Complex32;

/// A matrix that makes `to` channels of `from` channels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixing {
    to: usize,
    from: usize,
    /// `[to, from]`, row-major.
    values: Vec<Complex32>,
}

impl Mixing {
    /// The matrix of `value(to, from)`.
    pub(super) fn from_fn(to: usize, from: usize, value: impl Fn(usize, usize) -> Complex32) -> Self {
        Self { to, from, values: (0..to * from).map(|at| value(at / from, at % from)).collect() }
    }

    /// One value of the matrix.
    pub(super) fn value(&self, to: usize, from: usize) -> Complex32 {
        self.values[to * self.from + from]
    }

    /// Channels that it makes.
    pub(super) const fn channels(&self) -> usize {
        self.to
    }

    /// `self` after `first`.
    pub(super) fn after(&self, first: &Self) -> Self {
        Self::from_fn(self.to, first.from, |to, from| {
            (0..self.from).map(|between| self.value(to, between) * first.value(between, from)).sum()
        })
    }

    /// `to = matrix * from` for row-major `[channel, sample]`.
    pub(super) fn apply(&self, from: &[Complex32], to: &mut [Complex32]) {
        let samples = from.len() / self.from;
        matmul(
            MatMut::from_row_major_slice_mut(to, self.to, samples),
            Accum::Replace,
            MatRef::from_row_major_slice(&self.values, self.to, self.from),
            MatRef::from_row_major_slice(from, self.from, samples),
            Complex32::new(1.0, 0.0),
            Par::Seq,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_is_their_product() {
        let value = |to: usize, from: usize| Complex32::new(to as f32 - 0.5 * from as f32, (to * from) as f32);
        let (first, second) = (Mixing::from_fn(3, 4, value), Mixing::from_fn(2, 3, |a, b| value(b + 1, a)));
        let samples: Vec<Complex32> = (0..20).map(|at| value(at % 7, at % 3)).collect();
        let (mut between, mut after, mut at_once) =
            (vec![Complex32::default(); 15], vec![Complex32::default(); 10], vec![Complex32::default(); 10]);
        first.apply(&samples, &mut between);
        second.apply(&between, &mut after);
        second.after(&first).apply(&samples, &mut at_once);
        for (a, b) in after.iter().zip(&at_once) {
            assert!((a - b).norm() < 1e-3 * b.norm().max(1.0), "{a} {b}");
        }
    }
}
