//! Matrix products and the loops between them.

use gemm::{Parallelism, gemm};

use crate::raki::schedule::Step;

/// A matrix over row-major memory, possibly read transposed.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix of {rows} x {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
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
pub(super) fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
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
pub(super) fn relu(features: &mut [f32]) {
    for feature in features {
        *feature = feature.max(0.0);
    }
}

/// Features after ReLU become the gradient before it.
pub(super) fn through_relu(features: &mut [f32], gradient: &[f32]) {
    for (feature, gradient) in features.iter_mut().zip(gradient) {
        *feature = if *feature > 0.0 { *gradient } else { 0.0 };
    }
}

/// `sum += part`.
pub(super) fn add(sum: &mut [f32], part: &[f32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

/// Sum of squares: short runs in single, the whole in double precision.
pub(super) fn square_sum(values: &[f32]) -> f64 {
    values.chunks(64).map(|run| f64::from(run.iter().map(|v| v * v).sum::<f32>())).sum()
}

/// One step of Adam in one pass over weights, gradient and both means.
pub(super) fn adam(weights: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], step: Step) {
    let (decay_1, decay_2) = (step.decay_1 as f32, step.decay_2 as f32);
    let (new_1, new_2) = ((1.0 - step.decay_1) as f32, (1.0 - step.decay_2) as f32);
    let (rate, epsilon) = (step.rate as f32, step.epsilon as f32);
    for (((weight, gradient), mean), square) in weights.iter_mut().zip(gradient).zip(mean).zip(square) {
        *mean = decay_1 * *mean + new_1 * gradient;
        *square = decay_2 * *square + new_2 * gradient * gradient;
        *weight -= rate * *mean / (square.sqrt() + epsilon);
    }
}
