//! The strongest eigenvectors at every pixel, several rows side by side.

use ndarray::{Array3, Array4, s};
use pulp::NullaryFnOnce;
use rayon::prelude::*;

use super::Filter;
use crate::Complex32;
use crate::numerics::wide::wide;

/// Rows that go side by side: what the widest vectors hold.
const ROWS: usize = 16;

/// A number of each of the rows.
type Lanes = [f32; ROWS];

/// A complex number of each of the rows, real and imaginary parts apart, which the compiler can vectorise.
#[derive(Clone, Copy)]
struct Planar {
    re: Lanes,
    im: Lanes,
}

impl Planar {
    const ZERO: Self = Self { re: [0.0; ROWS], im: [0.0; ROWS] };

    fn all(value: Complex32) -> Self {
        Self { re: [value.re; ROWS], im: [value.im; ROWS] }
    }

    fn at(&self, row: usize) -> Complex32 {
        Complex32::new(self.re[row], self.im[row])
    }

    /// Adds `a b`, or `conj(a) b` where `sign` is -1.
    #[inline(always)]
    fn add(&mut self, a: &Self, sign: f32, b: &Self) {
        for row in 0..ROWS {
            let im = sign * a.im[row];
            self.re[row] += a.re[row] * b.re[row] - im * b.im[row];
            self.im[row] += a.re[row] * b.im[row] + im * b.re[row];
        }
    }

    #[inline(always)]
    fn subtract(&mut self, a: &Self, b: &Self) {
        for row in 0..ROWS {
            self.re[row] -= a.re[row] * b.re[row] - a.im[row] * b.im[row];
            self.im[row] -= a.re[row] * b.im[row] + a.im[row] * b.re[row];
        }
    }

    #[inline(always)]
    fn scale(&mut self, by: &Lanes) {
        for row in 0..ROWS {
            self.re[row] *= by[row];
            self.im[row] *= by[row];
        }
    }
}

/// `sum(conj(a) b)` over the coils.
#[inline(always)]
fn inner(a: &[Planar], b: &[Planar]) -> Planar {
    let mut sum = Planar::ZERO;
    a.iter().zip(b).for_each(|(a, b)| sum.add(a, -1.0, b));
    sum
}

/// `1 / length`, and 1 for what has none.
#[inline(always)]
fn inverse(lengths: &Lanes) -> Lanes {
    lengths.map(|length| if length > f32::MIN_POSITIVE { 1.0 / length } else { 1.0 })
}

/// The eigenproblems of all pixels. Along a row every pixel starts from the result of the one before.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// What is applied to windows.
    pub filter: &'a Filter,
    /// Pixels along y.
    pub rows: usize,
    /// Eigenvectors of a pixel, 1 or 2.
    pub maps: usize,
    /// The virtual coil that phases are relative to.
    pub reference: &'a [Complex32],
    /// Steps of the subspace iteration at a pixel.
    pub steps: usize,
}

impl Pixels<'_> {
    /// Steps at a pixel of this column: the first has no neighbour to start from.
    #[must_use]
    pub const fn steps(&self, column: usize) -> usize {
        if column == 0 { 4 * self.steps } else { self.steps }
    }

    /// What the iteration of a row starts from, `[map, coil]`.
    #[must_use]
    pub fn start(&self) -> Vec<Complex32> {
        let other = |at: usize| Complex32::new(((at * 7919) as f32).sin(), 0.0);
        (0..self.maps * self.filter.coils)
            .map(|at| self.reference.get(at).copied().unwrap_or_else(|| other(at)))
            .collect()
    }

    /// Phase of each lag of y at a row.
    #[must_use]
    pub fn phases(&self, row: usize) -> Vec<Complex32> {
        let at = (row as f64 - (self.rows / 2) as f64) / self.rows as f64;
        let reach = self.filter.reach as isize;
        let phase = |lag: isize| {
            let turn = std::f64::consts::TAU * at * lag as f64;
            Complex32::new(turn.cos() as f32, turn.sin() as f32)
        };
        (-reach..=reach).map(phase).collect()
    }
}

/// Eigenvectors `[map, coil, y, x]` of the largest eigenvalues, unit length and with the phase of the reference, and these values
/// `[map, y, x]`.
pub(in crate::numerics) fn eigenvectors(pixels: &Pixels<'_>) -> (Array4<Complex32>, Array3<f32>) {
    let Pixels { filter, rows, maps: wanted, .. } = *pixels;
    let (coils, columns) = (filter.coils, filter.columns);
    let mut vectors = Array4::zeros((wanted, coils, rows, columns));
    let mut values = Array3::zeros((wanted, rows, columns));
    let strips: Vec<(Array4<Complex32>, Array3<f32>)> = (0..rows.div_ceil(ROWS))
        .into_par_iter()
        .map(|strip| {
            let first = strip * ROWS;
            let size = (first.min(rows)..(first + ROWS).min(rows)).len();
            let mut walk = Walk::new(pixels, first);
            let mut vectors = Array4::zeros((wanted, coils, size, columns));
            let mut values = Array3::zeros((wanted, size, columns));
            for column in 0..columns {
                wide(Next { walk: &mut walk, lags: filter.lags_at(column), steps: pixels.steps(column) });
                for map in 0..wanted {
                    for row in 0..size {
                        values[[map, row, column]] = walk.values[map][row];
                        for coil in 0..coils {
                            vectors[[map, coil, row, column]] = walk.turned[map * coils + coil].at(row);
                        }
                    }
                }
            }
            (vectors, values)
        })
        .collect();
    for (strip, (of_vectors, of_values)) in strips.into_iter().enumerate() {
        let (first, end) = (strip * ROWS, strip * ROWS + of_values.dim().1);
        vectors.slice_mut(s![.., .., first..end, ..]).assign(&of_vectors);
        values.slice_mut(s![.., first..end, ..]).assign(&of_values);
    }
    (vectors, values)
}

/// The next column of a walk.
struct Next<'a> {
    walk: &'a mut Walk,
    lags: &'a [Complex32],
    steps: usize,
}

impl NullaryFnOnce for Next<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.walk.column(self.lags, self.steps);
    }
}

/// A walk along some rows.
struct Walk {
    coils: usize,
    reference: Vec<Planar>,
    /// Of each lag of y.
    phases: Vec<Planar>,
    /// Of each pair (c, d), c >= d.
    matrix: Vec<Planar>,
    /// `[map, coil]`.
    vectors: Vec<Planar>,
    images: Vec<Planar>,
    /// The vectors with the phase of the reference.
    turned: Vec<Planar>,
    values: Vec<Lanes>,
}

impl Walk {
    /// Rows from `first` on; those beyond the last repeat it.
    fn new(pixels: &Pixels<'_>, first: usize) -> Self {
        let Pixels { filter, rows, maps, reference, .. } = *pixels;
        let coils = filter.coils;
        let mut phases = vec![Planar::ZERO; 2 * filter.reach + 1];
        for lane in 0..ROWS {
            for (to, phase) in phases.iter_mut().zip(pixels.phases((first + lane).min(rows - 1))) {
                (to.re[lane], to.im[lane]) = (phase.re, phase.im);
            }
        }
        let count = maps * coils;
        Self {
            coils,
            reference: reference.iter().map(|value| Planar::all(*value)).collect(),
            phases,
            matrix: vec![Planar::ZERO; coils * (coils + 1) / 2],
            vectors: pixels.start().into_iter().map(Planar::all).collect(),
            images: vec![Planar::ZERO; count],
            turned: vec![Planar::ZERO; count],
            values: vec![[0.0; ROWS]; maps],
        }
    }

    /// The next column, whose lags of y are `[pair, lag]`.
    #[inline(always)]
    fn column(&mut self, lags: &[Complex32], steps: usize) {
        let Self { phases, matrix, .. } = self;
        for (entry, lags) in matrix.iter_mut().zip(lags.chunks_exact(phases.len())) {
            let mut sum = Planar::ZERO;
            phases.iter().zip(lags).for_each(|(phase, lag)| sum.add(phase, 1.0, &Planar::all(*lag)));
            *entry = sum;
        }
        for _ in 0..steps {
            match self.values.len() {
                2 => self.multiply::<2>(),
                _ => self.multiply::<1>(),
            }
            self.orthonormal();
        }
        for (vector, turned) in self.vectors.chunks_exact(self.coils).zip(self.turned.chunks_exact_mut(self.coils)) {
            let along = inner(vector, &self.reference);
            let mut turn = along;
            let mut lengths = [0.0; ROWS];
            for row in 0..ROWS {
                lengths[row] = along.re[row].hypot(along.im[row]);
                if lengths[row] <= f32::MIN_POSITIVE {
                    (turn.re[row], turn.im[row]) = (1.0, 0.0);
                }
            }
            turn.scale(&inverse(&lengths));
            for (to, value) in turned.iter_mut().zip(vector) {
                *to = Planar::ZERO;
                to.add(value, 1.0, &turn);
            }
        }
    }

    /// `images = matrix vectors`. An entry of the lower triangle serves the upper one as well.
    #[inline(always)]
    fn multiply<const MAPS: usize>(&mut self) {
        let coils = self.coils;
        let Self { matrix, vectors, images, .. } = self;
        images.fill(Planar::ZERO);
        let mut entries = matrix.iter();
        for c in 0..coils {
            let mut sums = [Planar::ZERO; MAPS];
            for d in 0..=c {
                let Some(entry) = entries.next() else { return };
                for (map, sum) in sums.iter_mut().enumerate() {
                    sum.add(entry, 1.0, &vectors[map * coils + d]);
                    if d < c {
                        images[map * coils + d].add(entry, -1.0, &vectors[map * coils + c]);
                    }
                }
            }
            for (map, sum) in sums.iter().enumerate() {
                let image = &mut images[map * coils + c];
                for row in 0..ROWS {
                    image.re[row] += sum.re[row];
                    image.im[row] += sum.im[row];
                }
            }
        }
    }

    /// Makes vectors of unit length, orthogonal to those before, of the images; their lengths tend to the eigenvalues.
    #[inline(always)]
    fn orthonormal(&mut self) {
        let coils = self.coils;
        for map in 0..self.values.len() {
            let (before, rest) = self.images.split_at_mut(map * coils);
            let current = &mut rest[..coils];
            for other in before.chunks_exact(coils) {
                let along = inner(other, current);
                current.iter_mut().zip(other).for_each(|(to, other)| to.subtract(&along, other));
            }
            let mut lengths = [0.0; ROWS];
            for value in &*current {
                for row in 0..ROWS {
                    lengths[row] += value.re[row] * value.re[row] + value.im[row] * value.im[row];
                }
            }
            lengths = lengths.map(f32::sqrt);
            let scale = inverse(&lengths);
            current.iter_mut().for_each(|value| value.scale(&scale));
            self.values[map] = lengths;
        }
        self.vectors.copy_from_slice(&self.images);
    }
}
