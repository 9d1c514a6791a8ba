//! The power iteration, for many small matrices at once.

use crate::Complex32;
use crate::numerics::wide::wide;

/// Steps of the power iteration. It begins at the strongest column, which is the eigenvector already where there is one signal.
const STEPS: usize = 6;

/// Complex numbers with real and imaginary parts apart, which the compiler can vectorise.
pub(super) struct Planar {
    pub(super) re: Vec<f32>,
    pub(super) im: Vec<f32>,
}

impl Planar {
    pub(super) fn zeros(length: usize) -> Self {
        Self { re: vec![0.0; length], im: vec![0.0; length] }
    }

    pub(super) fn at(&self, at: usize) -> Complex32 {
        Complex32::new(self.re[at], self.im[at])
    }

    #[inline(always)]
    pub(super) fn part(&self, from: usize, length: usize) -> (&[f32], &[f32]) {
        (&self.re[from..][..length], &self.im[from..][..length])
    }

    /// Adds the products of numbers, with the imaginary part times `sign`, and of `values` to the numbers from `at` on.
    #[inline(always)]
    fn add(&mut self, at: usize, (re, im, sign): (&[f32], &[f32], f32), values: (&[f32], &[f32])) {
        let length = re.len();
        let (to_re, to_im) = (&mut self.re[at..][..length], &mut self.im[at..][..length]);
        let (im, of_re, of_im) = (&im[..length], &values.0[..length], &values.1[..length]);
        for at in 0..length {
            let im = sign * im[at];
            to_re[at] += re[at] * of_re[at] - im * of_im[at];
            to_im[at] += re[at] * of_im[at] + im * of_re[at];
        }
    }
}

/// Unit eigenvectors `[coil, cell]` of the largest eigenvalues of Hermitian matrices `[pair, cell]`, pairs i >= j in rows of a triangle;
/// zeros for a matrix of zeros. All cells go side by side, which the compiler can vectorise.
pub(super) fn dominant(matrices: &Planar, coils: usize, cells: usize) -> Planar {
    let place = |i: usize, j: usize| i.max(j) * (i.max(j) + 1) / 2 + i.min(j);
    let mut vectors = Planar::zeros(coils * cells);
    for cell in 0..cells {
        let diagonal = |coil: usize| matrices.re[place(coil, coil) * cells + cell];
        let Some(strongest) = (0..coils).max_by(|a, b| diagonal(*a).total_cmp(&diagonal(*b))) else { continue };
        for coil in 0..coils {
            let at = place(coil, strongest) * cells + cell;
            let sign = if coil >= strongest { 1.0 } else { -1.0 };
            vectors.re[coil * cells + cell] = matrices.re[at];
            vectors.im[coil * cells + cell] = sign * matrices.im[at];
        }
    }
    let mut lengths = Lengths::new(cells);
    let columns = std::mem::replace(&mut vectors, Planar::zeros(coils * cells));
    wide(|| {
        lengths.unit(&columns, &mut vectors);
        let mut images = columns;
        for _ in 0..STEPS {
            images.re.fill(0.0);
            images.im.fill(0.0);
            for i in 0..coils {
                for j in 0..=i {
                    let (re, im) = matrices.part(place(i, j) * cells, cells);
                    images.add(i * cells, (re, im, 1.0), vectors.part(j * cells, cells));
                    if j < i {
                        images.add(j * cells, (re, im, -1.0), vectors.part(i * cells, cells));
                    }
                }
            }
            lengths.unit(&images, &mut vectors);
        }
    });
    vectors
}

/// Lengths of vectors that lie side by side, `[coil, cell]`.
struct Lengths {
    /// The largest part of a number of each cell.
    largest: Vec<f32>,
    /// The energy of each cell divided by that, and then what brings it to unit length.
    scale: Vec<f32>,
}

impl Lengths {
    fn new(cells: usize) -> Self {
        Self { largest: vec![0.0; cells], scale: vec![0.0; cells] }
    }

    /// Brings vectors to unit length. Those without one leave what is in `to`.
    #[inline(always)]
    fn unit(&mut self, vectors: &Planar, to: &mut Planar) {
        let cells = self.largest.len();
        let Self { largest, scale } = self;
        largest.fill(0.0);
        scale.fill(0.0);
        let parts = || vectors.re.chunks_exact(cells).chain(vectors.im.chunks_exact(cells));
        for part in parts() {
            largest.iter_mut().zip(part).for_each(|(largest, value)| *largest = largest.max(value.abs()));
        }
        // Squares of small numbers would vanish.
        for part in parts() {
            for ((sum, largest), value) in scale.iter_mut().zip(&*largest).zip(part) {
                *sum += (value / largest) * (value / largest);
            }
        }
        scale.iter_mut().for_each(|energy| *energy = 1.0 / energy.sqrt());
        let to = to.re.chunks_exact_mut(cells).chain(to.im.chunks_exact_mut(cells));
        for (to, part) in to.zip(parts()) {
            for (((to, value), largest), scale) in to.iter_mut().zip(part).zip(&*largest).zip(&*scale) {
                let known = *largest > 0.0 && *largest < f32::INFINITY;
                *to = if known { value / largest * scale } else { *to };
            }
        }
    }
}
