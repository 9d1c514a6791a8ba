//! The large products of the linear kernels on a GPU against the CPU.

use contract::prepared::Sampling;
use faer::{Mat, c32};
use kspace::Complex32;
use kspace::numerics::Host;
use kspace::numerics::nwg::{self, Equations, Gaps, Products, Reach, SOURCE_LINES, Sums, TAPS, Target};
use ndarray::{Array2, Array3, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(shape: (usize, usize, usize), random: &mut ChaCha8Rng) -> Array3<Complex32> {
    Array3::from_shape_simple_fn(shape, || {
        Complex32::new(random.random_range(-1.0..1.0), random.random_range(-1.0..1.0))
    })
}

/// Relative difference of the moments in their largest part.
fn apart(a: &Sums, b: &Sums) -> f64 {
    let lower = |sums: &Sums, row: usize, column: usize| sums.normal[(row.max(column), row.min(column))];
    let size = a.normal.nrows();
    let scale = (0..size).map(|at| b.normal[(at, at)].re).fold(f64::MIN_POSITIVE, f64::max);
    let mut largest = ((a.targets - b.targets) / b.targets.max(f64::MIN_POSITIVE)).abs();
    for row in 0..size {
        for column in 0..=row {
            largest = largest.max((lower(a, row, column) - lower(b, row, column)).norm() / scale);
        }
        for target in 0..a.cross.ncols() {
            largest = largest.max((a.cross[(row, target)] - b.cross[(row, target)]).norm() / scale);
        }
    }
    largest
}

/// Coils, lines, points, acceleration and steps of energy. The last has more equations, and more samples to predict, than are gathered at a time.
const SHAPES: [(usize, usize, usize, usize, usize); 5] =
    [(1, 8, 7, 2, 3), (3, 17, 40, 3, 4), (5, 24, 33, 6, 2), (8, 30, 64, 4, 3), (2, 260, 500, 2, 1)];

#[test]
fn cuda_sums_the_moments_of_the_cpu() {
    let Some(cuda) = crate::cuda() else { return };
    let reaches = SHAPES.into_iter().flat_map(|shape| [(shape, Reach::Between), (shape, Reach::Beyond)]);
    for (seed, ((coils, lines, points, acceleration, _), reach)) in reaches.enumerate() {
        let mut generator = ChaCha8Rng::seed_from_u64(seed as u64);
        let region = random((coils, lines, points), &mut generator);
        let shifts = lines + 1 - reach.span(acceleration);
        let weights = Array2::from_shape_simple_fn((shifts, points + 1 - TAPS), || generator.random_range(0.0..2.0));
        let equations = Equations { lines: &region, acceleration, reach, weights: &weights };
        let found = cuda.products().moments(&equations).unwrap();
        let error = apart(&found, &Host.moments(&equations).unwrap());
        assert!(error < 1e-12, "{coils} coils, {lines} lines, {points} points, R = {acceleration}, {reach:?}: {error}");
    }
}

#[test]
fn cuda_predicts_the_samples_of_the_cpu() {
    let Some(cuda) = crate::cuda() else { return };
    for (seed, (coils, lines, points, acceleration, steps)) in SHAPES.into_iter().enumerate() {
        let mut generator = ChaCha8Rng::seed_from_u64(seed as u64);
        let kspace = random((coils, lines, points), &mut generator);
        let present: Vec<bool> = (0..lines).map(|_| generator.random_bool(0.7)).collect();
        let bins = Array2::from_shape_simple_fn((lines, points), || generator.random_range(0..steps));
        let (rows, patch) = (coils * (acceleration - 1), coils * SOURCE_LINES * TAPS);
        let weights: Vec<Mat<c32>> = (0..steps)
            .map(|_| {
                Mat::from_fn(rows, patch, |_, _| {
                    c32::new(generator.random_range(-1.0..1.0), generator.random_range(-1.0..1.0))
                })
            })
            .collect();
        let weights: Vec<_> = weights.iter().map(Mat::as_ref).collect();
        // From before the first line to the last one.
        let anchors = (1 - acceleration as isize..lines as isize).step_by(acceleration);
        let targets: Vec<Target> = anchors
            .flat_map(|anchor| (0..acceleration - 1).map(move |output| (anchor, output)))
            .filter_map(|(anchor, output)| {
                let line = usize::try_from(anchor + 1 + output as isize).ok().filter(|line| *line < lines)?;
                Some(Target { anchor, output, line })
            })
            .collect();
        let gaps = Gaps {
            kspace: &kspace,
            present: &present,
            acceleration,
            targets: &targets,
            bins: &bins,
            weights: &weights,
        };
        let (found, expected) = (cuda.products().predict(&gaps).unwrap(), Host.predict(&gaps).unwrap());
        assert_eq!(found.len(), targets.len());
        let scale = expected.iter().flatten().map(|value| value.norm()).fold(0.0, f32::max);
        for (target, (found, expected)) in targets.iter().zip(found.iter().zip(&expected)) {
            assert_eq!(found.len(), expected.len());
            let error = found.iter().zip(expected).map(|(a, b)| (a - b).norm()).fold(0.0, f32::max);
            assert!(
                error < 2e-6 * scale,
                "{coils} coils, R = {acceleration}, line {}: {error} of {scale}",
                target.line
            );
        }
    }
}

#[test]
fn cuda_fills_as_the_cpu_does() {
    let Some(cuda) = crate::cuda() else { return };
    let (coils, lines, points, acceleration) = (4, 64, 48, 4);
    // Smooth in the image domain by falling off in k-space, so that neighbours tell each other.
    let mut generator = ChaCha8Rng::seed_from_u64(9);
    let mut kspace = random((coils, lines, points), &mut generator);
    for ((_, ky, kx), value) in kspace.indexed_iter_mut() {
        *value /= 1.0 + (ky.abs_diff(lines / 2) + kx.abs_diff(points / 2)) as f32;
    }
    let (acs_first, acs_lines) = (22, 20);
    // Lines after the grid, and lines on both sides of it.
    for (offset, beyond) in [(0, [61, 63]), (2, [0, 63])] {
        let acquired =
            |line: usize| line % acceleration == offset || (acs_first..acs_first + acs_lines).contains(&line);
        let mask: Vec<bool> = (0..lines).map(acquired).collect();
        let mut kspace = kspace.clone();
        for ((_, ky, _), value) in kspace.indexed_iter_mut() {
            *value *= f32::from(u8::from(mask[ky]));
        }
        let sampling = Sampling { acceleration, offset, acs_first, acs_lines, first: offset, last: 60 + offset };
        let on = |products: &dyn Products| {
            let options = nwg::Options { noise_variance: Some(1e-4), ..nwg::Options::default() };
            let (filled, judge) = nwg::fill_and_judge(&kspace, &mask, &sampling, None, &options, products).unwrap();
            (judge.residual(&filled.kspace, &mask, &sampling, products).unwrap(), filled)
        };
        let ((residual_a, a), (residual_b, b)) = (on(&Host), on(cuda.products()));
        let energy =
            |values: &mut dyn Iterator<Item = Complex32>| values.map(|value| value.norm_sqr()).sum::<f32>().sqrt();
        let apart = |a: &[Complex32], b: &[Complex32]| {
            energy(&mut a.iter().zip(b).map(|(a, b)| a - b)) / energy(&mut a.iter().copied())
        };
        let error = apart(a.kspace.as_slice().unwrap(), b.kspace.as_slice().unwrap());
        assert!(error < 1e-5, "offset {offset}: {error}");
        let error = apart(&residual_a, &residual_b);
        assert!(error < 1e-5, "offset {offset}: residuals: {error}");
        for line in beyond {
            let signal = energy(&mut a.kspace.index_axis(Axis(1), line).iter().copied());
            assert!(signal > 0.0, "offset {offset}: line {line} beyond the grid has signal here");
        }
    }
}
