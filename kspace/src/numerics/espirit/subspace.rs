//! The strong eigenvectors of a large moment matrix, without the many weak ones.
//!
//! The windows of 32 coils have a thousand dimensions, of which less than a hundred hold signal. A block Krylov space (Golub and
//! Underwood, in: Mathematical Software III, 1977) finds them with a few products of the matrix and a block.

use faer::linalg::matmul::matmul;
use faer::traits::Conjugate;
use faer::{Accum, Mat, MatRef, Par, Side, c64};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Size up to which all eigenvectors together are as fast.
pub const ALL_VECTORS: usize = 400;
/// Rows for each column of a block: narrow blocks reach a space of many powers of the matrix soon.
const BLOCKS: usize = 32;
/// Blocks before the space is looked at, and the part that it grows by from then on.
const FIRST: usize = 5;
const GROWTH: usize = 4;
/// Part of all dimensions that the space may have before all eigenvectors together are as fast.
const MOST: (usize, usize) = (5, 12);
/// Residual of an eigenvector, in units of the least eigenvalue that is looked for.
const ACCURACY: f64 = 1e-3;

/// Orthonormal eigenvectors `[row, vector]` of the Hermitian matrix with this lower triangle, of eigenvalues above `floor` of the
/// largest one. Those close to the floor may be missing or turned towards their neighbours a little. `None` for a matrix without a spectrum.
pub(super) fn strong(lower: &Mat<c64>, floor: impl Fn(f64) -> f64) -> Option<Mat<c64>> {
    let size = lower.nrows();
    let entry = |row, column| if row >= column { lower[(row, column)] } else { lower[(column, row)].conj() };
    let few = (size > ALL_VECTORS).then(|| krylov(&Mat::from_fn(size, size, entry), &floor)).flatten();
    few.or_else(|| all(lower, &floor))
}

/// Columns of `vectors` whose `values`, in ascending order, are above the floor, and these values.
fn above<'a>(vectors: MatRef<'a, c64>, values: &'a [f64], floor: f64) -> (MatRef<'a, c64>, &'a [f64]) {
    let first = values.partition_point(|value| *value <= floor);
    (vectors.subcols(first, values.len() - first), &values[first..])
}

fn all(lower: &Mat<c64>, floor: &impl Fn(f64) -> f64) -> Option<Mat<c64>> {
    let spectrum = lower.self_adjoint_eigen(Side::Lower).ok()?;
    let values: Vec<f64> = spectrum.S().column_vector().iter().map(|value| value.re).collect();
    let floor = values.last().map_or(0.0, |largest| floor(*largest));
    Some(above(spectrum.U(), &values, floor).0.to_owned())
}

/// `a b`.
fn product<A: Conjugate<Canonical = c64>>(a: MatRef<'_, A>, b: MatRef<'_, c64>) -> Mat<c64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(product.as_mut(), Accum::Replace, a, b, c64::new(1.0, 0.0), Par::Seq);
    product
}

/// `None` where the space becomes too large.
fn krylov(matrix: &Mat<c64>, floor: &impl Fn(f64) -> f64) -> Option<Mat<c64>> {
    let size = matrix.nrows();
    let width = size / BLOCKS;
    let most = size * MOST.0 / MOST.1;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut part = || random.random_range(-1.0..1.0);
    let start = Mat::from_fn(size, width, |_, _| c64::new(part(), part()));
    // The start itself has more of the weak eigenvectors than its image.
    let mut block = product(matrix.as_ref(), start.as_ref()).qr().compute_thin_Q();
    let (mut space, mut images) = (Mat::zeros(size, most), Mat::zeros(size, most));
    let (mut filled, mut enough) = (0, FIRST * width);
    while filled + width <= most {
        let image = product(matrix.as_ref(), block.as_ref());
        space.subcols_mut(filled, width).copy_from(&block);
        images.subcols_mut(filled, width).copy_from(&image);
        filled += width;
        let (space, images) = (space.subcols(0, filled), images.subcols(0, filled));
        // Before it would become too large, a last time.
        if filled >= enough || filled + width > most {
            if let Some(found) = converged(space, images, floor) {
                return Some(found);
            }
            enough = filled + filled / GROWTH;
        }
        // Twice: what rounding leaves of the space would grow where the block has nothing else.
        block = image;
        for _ in 0..2 {
            let along = product(space.adjoint(), block.as_ref());
            matmul(block.as_mut(), Accum::Add, space, along.as_ref(), c64::new(-1.0, 0.0), Par::Seq);
            block = block.qr().compute_thin_Q();
        }
    }
    None
}

/// The strong eigenvectors as far as the space holds them; `images` are those of the space. `None` where it may not hold them all.
fn converged(space: MatRef<'_, c64>, images: MatRef<'_, c64>, floor: &impl Fn(f64) -> f64) -> Option<Mat<c64>> {
    let spectrum = product(space.adjoint(), images).self_adjoint_eigen(Side::Lower).ok()?;
    let values: Vec<f64> = spectrum.S().column_vector().iter().map(|value| value.re).collect();
    let floor = values.last().map_or(0.0, |largest| floor(*largest));
    let (turns, strong) = above(spectrum.U(), &values, floor);
    if 4 * strong.len() > 3 * space.ncols() {
        return None;
    }
    let vectors = product(space, turns);
    let mut residual = product(images, turns);
    for (at, value) in strong.iter().enumerate() {
        let from = vectors.col(at);
        residual.col_mut(at).iter_mut().zip(from.iter()).for_each(|(to, from)| *to -= from * *value);
    }
    (0..strong.len()).all(|at| residual.col(at).norm_l2() <= ACCURACY * floor).then_some(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Q D Qᴴ` of a random unitary Q.
    fn with(values: &[f64]) -> Mat<c64> {
        let size = values.len();
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut part = || random.random_range(-1.0..1.0);
        let turn = Mat::from_fn(size, size, |_, _| c64::new(part(), part())).qr().compute_thin_Q();
        let scaled = Mat::from_fn(size, size, |row, column| turn[(row, column)] * values[column]);
        product(scaled.as_ref(), turn.adjoint().to_owned().as_ref())
    }

    fn apart(a: &Mat<c64>, b: &Mat<c64>) -> f64 {
        let projector = |of: &Mat<c64>| of * of.adjoint();
        (projector(a) - projector(b)).norm_l2()
    }

    #[test]
    fn the_strong_ones_span_what_all_of_them_span() {
        let size = 420;
        let falling = |rate: f64| (0..size).map(|at| 1e6 * (-rate * at as f64).exp() + 1.0).collect::<Vec<f64>>();
        let ten = |_: f64| 10.0;
        for (rate, few) in [(1.0, true), (0.2, true), (0.04, false)] {
            let matrix = with(&falling(rate));
            let (found, expected) = (krylov(&matrix, &ten), all(&matrix, &ten).unwrap());
            assert_eq!(found.is_some(), few, "{rate}");
            let found = strong(&matrix, ten).unwrap();
            assert_eq!(found.ncols(), expected.ncols(), "{rate}");
            // Of the weakest of them: its residual over the distance to the next eigenvalue.
            assert!(apart(&found, &expected) < 0.01, "{rate}: {}", apart(&found, &expected));
        }
    }

    #[test]
    fn nothing_is_strong_where_all_are_below_the_floor() {
        let matrix = with(&[1.0; 420]);
        assert_eq!(strong(&matrix, |_| 2.0).unwrap().ncols(), 0);
    }
}
