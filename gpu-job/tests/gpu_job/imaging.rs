//! Images on a GPU against the CPU.

use kspace::Complex32;
use kspace::numerics::fft::fft2c;
use kspace::numerics::imaging::Imaging;
use kspace::numerics::{Host, combine, espirit, sparse};
use ndarray::{Array2, Array3, Array4, ArrayBase, Data, Dimension, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Coils, rows and columns.
const SHAPES: [(usize, usize, usize); 5] = [(1, 8, 8), (3, 17, 30), (4, 40, 33), (5, 33, 47), (12, 32, 20)];

/// k-space of an object of smooth phase seen by coils around it, with noise.
fn scan((coils, rows, columns): (usize, usize, usize)) -> Array3<Complex32> {
    let images = Array3::from_shape_fn((coils, rows, columns), |(coil, row, column)| {
        let (y, x) = (2.0 * row as f32 / rows as f32 - 1.0, 2.0 * column as f32 / columns as f32 - 1.0);
        let object = if (y / 0.85).hypot(x / 0.7) < 1.0 { 1.0 + 0.3 * (9.0 * x).sin() * (7.0 * y).cos() } else { 0.0 };
        let angle = std::f32::consts::TAU * coil as f32 / coils as f32;
        let distance = (y - 1.2 * angle.sin()).powi(2) + (x - 1.2 * angle.cos()).powi(2);
        Complex32::from_polar(object / (0.4 + distance), angle + 0.9 * x - 0.6 * y * y)
    });
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut part = || random.random_range(-0.02..0.02);
    fft2c(&images).mapv(|sample| sample + Complex32::new(part(), part()))
}

/// Largest difference over the largest value.
fn apart<D: Dimension>(
    a: &ArrayBase<impl Data<Elem = Complex32>, D>,
    b: &ArrayBase<impl Data<Elem = Complex32>, D>,
) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let scale = b.iter().map(|value| value.norm()).fold(f32::MIN_POSITIVE, f32::max);
    a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f32::max) / scale
}

#[test]
fn cuda_transforms_as_the_cpu_does() {
    let Some(cuda) = crate::cuda() else { return };
    for shape in SHAPES {
        let kspace = scan(shape);
        let error = apart(&cuda.imaging().transform(&kspace).unwrap(), &Host.transform(&kspace).unwrap());
        assert!(error < 2e-6, "{shape:?}: {error}");
    }
}

fn maps(kspace: &Array3<Complex32>, most: usize, imaging: &dyn Imaging) -> espirit::Maps {
    let (_, rows, columns) = kspace.dim();
    let lines = rows.min(20);
    let region = kspace.slice(s![.., rows / 2 - lines / 2..rows / 2 - lines / 2 + lines, ..]);
    let options = espirit::Options { maps: most, ..espirit::Options::default() };
    espirit::maps(region, 2.7e-4, (rows, columns), &options, imaging).unwrap()
}

#[test]
fn cuda_finds_the_sensitivities_of_the_cpu() {
    let Some(cuda) = crate::cuda() else { return };
    let plain = SHAPES.map(|shape| (scan(shape), 1));
    // Every second line: two places on top of each other, which need two maps.
    let folded = scan((6, 80, 36)).slice(s![.., 0..;2, ..]).to_owned();
    for (kspace, most) in plain.into_iter().chain([(folded, 2)]) {
        let (found, expected) = (maps(&kspace, most, cuda.imaging()), maps(&kspace, most, &Host));
        assert_eq!(expected.maps.dim().0, most);
        // Where nothing is, eigenvalues lie close together and vectors are what rounding makes of them.
        for ((map, row, column), value) in expected.values.indexed_iter() {
            let pixel = s![map, .., row, column];
            let error = apart(&found.maps.slice(pixel), &expected.maps.slice(pixel));
            assert!(*value < 0.98 || error < 1e-3, "{:?}: map {map} at {row}, {column}: {error}", kspace.dim());
            let error = (found.values[[map, row, column]] - value).abs();
            assert!(error < 1e-3, "{:?}: value {map} at {row}, {column}: {error}", kspace.dim());
        }
    }
}

#[test]
fn cuda_refines_as_the_cpu_does() {
    let Some(cuda) = crate::cuda() else { return };
    for (shape, count) in SHAPES.into_iter().zip([1, 2, 1, 2, 1]) {
        let (coils, rows, columns) = shape;
        let kspace = scan(shape);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut part = || random.random_range(-1.0..1.0_f32);
        let scale = 1.0 / (2.0 * (count * coils) as f32).sqrt();
        let maps =
            Array4::from_shape_simple_fn((count, coils, rows, columns), || Complex32::new(part(), part()) * scale);
        let problem = sparse::Problem {
            kspace: &kspace,
            mask: &(0..rows).map(|row| row % 3 == 1).collect::<Vec<_>>(),
            range: (1, rows - 3),
            noise_variance: 2.7e-4,
            error_variance: &Array2::from_shape_simple_fn((rows, columns), || 1e-3 * (1.1 + part())),
            checked: count == 1,
            maps: &maps,
        };
        for iterations in [0, 1, 6] {
            let options = sparse::Options { iterations, most: iterations, ..sparse::Options::default() };
            let (found, expected) = (cuda.imaging().refine(&problem, &options), Host.refine(&problem, &options));
            let (found, expected) = (found.unwrap(), expected.unwrap());
            assert_eq!((found.steps, expected.steps), (iterations, iterations));
            let error = apart(&found.images, &expected.images);
            assert!(error < 1e-5, "{shape:?}, {iterations} steps: {error}");
        }
    }
}

#[test]
fn cuda_goes_on_as_long_as_the_cpu_does() {
    let Some(cuda) = crate::cuda() else { return };
    let one = maps(&scan((4, 48, 40)), 1, &Host).maps;
    let two = maps(&scan((6, 96, 40)).slice(s![.., 0..;2, ..]).to_owned(), 2, &Host).maps;
    let mask: Vec<bool> = (0..48).map(|row| row % 3 == 1 || (16..32).contains(&row)).collect();
    let steps = |maps: &Array4<Complex32>, kspace: &Array3<Complex32>, noise_variance: f64| {
        let filled = Array3::from_shape_fn(kspace.dim(), |at| kspace[at] * if mask[at.1] { 1.0 } else { 0.7 });
        let problem = sparse::Problem {
            kspace: &filled,
            mask: &mask,
            range: (1, 46),
            noise_variance,
            error_variance: &Array2::from_elem((48, 40), 1e-2),
            checked: true,
            maps,
        };
        let options = sparse::Options::default();
        let (found, expected) = (cuda.imaging().refine(&problem, &options), Host.refine(&problem, &options));
        let (found, expected) = (found.unwrap(), expected.unwrap());
        assert_eq!(found.steps, expected.steps, "noise variance {noise_variance}");
        let error = apart(&found.images, &expected.images);
        assert!(error < 1e-4, "noise variance {noise_variance}: {error}");
        found.steps
    };
    for maps in [&one, &two] {
        // What these sensitivities see.
        let images = Host.transform(&scan((maps.dim().1, 48, 40))).unwrap();
        let seen = fft2c(&combine::spread(maps, &combine::apply(maps, &images)));
        let sparse::Options { iterations, most, .. } = sparse::Options::default();
        assert_eq!(steps(maps, &seen, 1e-3), iterations, "noise moves this image");
        assert!(steps(maps, &seen, 3e-5) > iterations);
        assert_eq!(steps(maps, &seen, 1e-5), most);
        // Samples that no image of these sensitivities explains, however much it moves.
        let mut random = ChaCha8Rng::seed_from_u64(6);
        let strange = seen.mapv(|value| value + Complex32::from(random.random_range(-1.0..1.0_f32)));
        assert_eq!(steps(maps, &strange, 1e-5), iterations);
    }
}
