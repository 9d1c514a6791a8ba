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
//! with mu = 0.03 s / v for the noise variance s of acquired and the error variance v of filled samples, at least s. Details of both
//! maps shrink together by `0.22 sqrt(sigma d)`, where d is the size of the finest details: thresholds in units of the noise
//! alone blur scans of high SNR. Every step shifts the grid of the wavelets by a seeded amount, so that no block pattern is left.
//!
//! Where there is little noise, 20 steps are not enough. More follow, by tens, as long as ten of them move the image by more than its
//! noise and it explains the acquired samples to twice theirs; details shrink by 0.22 sigma then, since what made them large, the error
//! of the fill, is gone.
//!
//! At the end each filled line has its say. Its expected error has an energy V, and its samples differ from those of the image by D:
//! what D has beyond V is the image's own error, and of the two estimates, weighted by the inverse of their errors, the image keeps V / D
//! of the difference. `1 - V / D` is put back in one more step without thresholds. Where half of the lines were measured with
//! little noise a fill errs less than what wavelets and sensitivities can tell.

mod course;
mod model;
mod problem;
mod shrink;

use std::convert::Infallible;

use ndarray::Array3;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use self::course::Course;
use self::model::Model;
pub use self::problem::Problem;
use self::shrink::Shrink;
use crate::Complex32;

/// Levels of the wavelet transform.
pub const LEVELS: usize = 4;

/// Strength and length of the refinement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Steps, at least; further ones come by tens.
    pub iterations: usize,
    /// Steps, at most, of an image that still moves.
    pub most: usize,
    /// Threshold over `sqrt(sigma d)`.
    pub threshold: f32,
    /// Weight of filled samples over `s / v`, v being at least s.
    pub trust: f32,
    /// Seed of the shifts.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { iterations: 20, most: 60, threshold: 0.22, trust: 0.03, seed: 0 }
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

/// The steps of a refinement that does not end before, by its [`Course`].
pub fn turns(options: &Options) -> impl Iterator<Item = Turn> + use<> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let mut pace = 1f32;
    // Every shift of an axis once in so many steps: with shifts drawn one by one images differ twice as much with the seed.
    let mut shifts = [(); 2].map(|()| std::array::from_fn::<usize, { 1 << LEVELS }, _>(|shift| shift));
    (0..options.most.max(options.iterations)).map(move |done| {
        let at = done % shifts[0].len();
        if at == 0 {
            shifts.iter_mut().for_each(|shifts| shifts.shuffle(&mut random));
        }
        let shift = (shifts[0][at], shifts[1][at]);
        let next = 0.5 * (1.0 + (1.0 + 4.0 * pace * pace).sqrt());
        let momentum = (pace - 1.0) / next;
        pace = next;
        Turn { shift, momentum }
    })
}

/// A refined slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// `[map, y, x]`.
    pub images: Array3<Complex32>,
    /// Steps done.
    pub steps: usize,
}

/// Refines.
#[must_use]
pub fn refine(problem: &Problem<'_>, options: &Options) -> Refined {
    let (count, coils, rows, columns) = problem.maps.dim();
    let area = rows * columns;
    // Everything in the order of the plain transform, so that no step shifts anything.
    let shift = |plane: &mut [Complex32]| to_origin(plane, rows, columns);
    let maps: Vec<Complex32> = shifted(problem.maps.iter().copied().collect(), area, shift);
    let samples: Vec<Complex32> = shifted(problem.kspace.iter().copied().collect(), area, shift);
    let plane = |mut plane: Vec<f32>| {
        to_origin(&mut plane, rows, columns);
        plane
    };
    let (trust, acquired) = (plane(problem.trust(options)), plane(problem.acquired()));

    let model = Model { count, coils, rows, columns, maps: &maps, samples: &samples, trust: &trust };
    let zero = vec![Complex32::default(); count * area];
    let ones = vec![1.0; area];
    let mut image = Model { trust: &ones, ..model }.step(&zero);

    let mut course = Course::new(problem, &image, options);
    let mut shrink = Shrink::new((count, rows, columns));
    let (mut ahead, mut steps) = (image.clone(), 0);
    let seen = Model { trust: &acquired, ..model };
    for (done, Turn { shift, momentum }) in turns(options).enumerate() {
        if course.looks(done) {
            let Ok(ends) = course.ends(image.clone(), || Ok::<_, Infallible>(seen.energies(&image).iter().sum()));
            if ends {
                break;
            }
        }
        let mut next = ahead.clone();
        let step = model.step(&ahead);
        next.iter_mut().zip(&step).for_each(|(to, step)| *to += step);
        shrink.apply(&mut next, course.threshold(done), shift);
        for ((ahead, next), image) in ahead.iter_mut().zip(&next).zip(&image) {
            *ahead = next + (next - image) * momentum;
        }
        image = next;
        steps = done + 1;
    }
    let apart = |compared| Model { trust: &plane(compared), ..model }.energies(&image);
    if let Some(returned) = problem.compared().and_then(|compared| problem.returned(apart(compared))) {
        let step = Model { trust: &plane(returned), ..model }.step(&image);
        image.iter_mut().zip(&step).for_each(|(to, step)| *to += step);
    }
    for plane in image.chunks_exact_mut(area) {
        from_origin(plane, rows, columns);
    }
    Refined { images: Array3::from_shape_vec((count, rows, columns), image).unwrap_or_default(), steps }
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

#[cfg(test)]
mod tests;
