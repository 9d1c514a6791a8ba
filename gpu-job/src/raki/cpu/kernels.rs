//! Matrix products and the loops between them.

use gemm::{Parallelism, gemm};
use kspace::numerics::wide::wide;

use crate::raki::schedule::Step;

/// A matrix over row-major memory, possibly read transposed.
#[derive(Clone, Copy)]
pub(in crate::raki) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub(in crate::raki) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix of {rows} x {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(in crate::raki) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a b`, row-major. One thread: slices and groups of networks are what runs in parallel, and a product that
/// is never split gives the same bits on any number of cores.
pub(in crate::raki) fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows, "inner sizes");
    assert_eq!(out.len(), a.rows * b.columns, "size of the product");
    let signed = |stride: usize| stride as isize;
    // SAFETY: the sizes of all three matrices were checked against their slices, `out` is borrowed alone, and no
    // allocation is larger than isize::MAX, so that no stride wraps.
    unsafe {
        gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            signed(b.columns),
            false,
            a.data.as_ptr(),
            signed(a.column_stride),
            signed(a.row_stride),
            b.data.as_ptr(),
            signed(b.column_stride),
            signed(b.row_stride),
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Negative features become zero.
pub(in crate::raki) fn relu(features: &mut [f32]) {
    wide(|| features.iter_mut().for_each(|feature| *feature = feature.max(0.0)));
}

/// Features after ReLU become the gradient before it.
pub(in crate::raki) fn through_relu(features: &mut [f32], gradient: &[f32]) {
    wide(|| {
        for (feature, gradient) in features.iter_mut().zip(gradient) {
            *feature = if *feature > 0.0 { *gradient } else { 0.0 };
        }
    });
}

/// `sum += part`, as far as both reach.
pub(in crate::raki) fn add(sum: &mut [f32], part: &[f32]) {
    wide(|| sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
}

/// `to = factor * from`, as far as `from` reaches; zeros after.
pub(in crate::raki) fn scaled(to: &mut [f32], from: &[f32], factor: f32) {
    let (first, rest) = to.split_at_mut(from.len().min(to.len()));
    wide(|| first.iter_mut().zip(from).for_each(|(to, from)| *to = factor * from));
    rest.fill(0.0);
}

/// Sums kept side by side when squares are added.
const LANES: usize = 16;

/// Predictions p become `w w (p - t)`, of targets t and weights w. Returns the sum of `(w (p - t))^2`.
pub(in crate::raki) fn residual(predicted: &mut [f32], target: &[f32], weight: &[f32]) -> f64 {
    let one = |value: &mut f32, target: f32, weight: f32| {
        let error = weight * (*value - target);
        *value = weight * error;
        error * error
    };
    wide(|| {
        let mut sums = [0.0; LANES];
        let (values, last_values) = predicted.as_chunks_mut::<LANES>();
        let (targets, last_targets) = target.as_chunks::<LANES>();
        let (weights, last_weights) = weight.as_chunks::<LANES>();
        for ((values, targets), weights) in values.iter_mut().zip(targets).zip(weights) {
            for lane in 0..LANES {
                sums[lane] += one(&mut values[lane], targets[lane], weights[lane]);
            }
        }
        let last = last_values.iter_mut().zip(last_targets).zip(last_weights);
        let last: f32 = last.map(|((value, target), weight)| one(value, *target, *weight)).sum();
        sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(last)
    })
}

/// One step of Adam in one pass over weights, gradient and both means.
pub(in crate::raki) fn adam(weights: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], step: Step) {
    let (decay_1, decay_2) = (step.decay_1 as f32, step.decay_2 as f32);
    let (new_1, new_2) = ((1.0 - step.decay_1) as f32, (1.0 - step.decay_2) as f32);
    let (rate, epsilon) = (step.rate as f32, step.epsilon as f32);
    wide(|| {
        for (((weight, gradient), mean), square) in weights.iter_mut().zip(gradient).zip(mean).zip(square) {
            *mean = decay_1 * *mean + new_1 * gradient;
            *square = decay_2 * *square + new_2 * gradient * gradient;
            *weight -= rate * *mean / (square.sqrt() + epsilon);
        }
    });
}
