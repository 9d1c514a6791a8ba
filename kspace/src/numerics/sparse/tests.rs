//! The operator, and what the refinement does for images of known truth.

use contract::prepared::Sampling;
use ndarray::{Array2, Array4, s};
use proptest::prelude::*;

use super::*;
use crate::numerics::Host;
use crate::numerics::combine::{apply, rss, spread};
use crate::numerics::fft::{Plane, fft2c, ifft2c};
use crate::numerics::metrics::psnr;
use crate::numerics::testing::{sample, scan};
use crate::numerics::{espirit, nwg};

fn values(count: usize, seed: u32) -> Vec<Complex32> {
    (0..count as u32).map(|at| Complex32::new((at * 31 + seed) as f32, (at * 17 + 3 * seed) as f32).map_sin()).collect()
}

trait MapSin {
    fn map_sin(self) -> Self;
}

impl MapSin for Complex32 {
    fn map_sin(self) -> Self {
        Self::new(self.re.sin(), self.im.cos())
    }
}

fn inner(a: &[Complex32], b: &[Complex32]) -> num_complex::Complex64 {
    let wide = |value: &Complex32| num_complex::Complex64::new(value.re.into(), value.im.into());
    a.iter().zip(b).map(|(a, b)| wide(a).conj() * wide(b)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The step is `Aᴴ T (k - A x)`: with k = 0 it is minus a Hermitian operator, and with x = 0 the adjoint of A.
    #[test]
    fn the_model_and_its_adjoint_belong_together(
        count in 1usize..3, coils in 1usize..5, rows in 1usize..13, columns in 1usize..13, seed in 0u32..99,
    ) {
        let area = rows * columns;
        let maps = values(count * coils * area, seed);
        let samples = values(coils * area, seed + 1);
        let zeros = vec![Complex32::default(); coils * area];
        let ones = vec![1.0; area];
        let trust: Vec<f32> = (0..area).map(|at| (at % 3) as f32 * 0.4).collect();
        let model = Model { count, coils, rows, columns, maps: &maps, samples: &zeros, trust: &trust };
        let (u, v) = (values(count * area, seed + 2), values(count * area, seed + 3));
        let (left, right) = (inner(&model.step(&u), &v), inner(&u, &model.step(&v)));
        let size = left.norm().max(1.0);
        prop_assert!((left - right).norm() / size < 1e-4);
        // <A u, k> = <u, Aᴴ k>, with A u built from maps and transforms alone.
        let adjoint = Model { samples: &samples, trust: &ones, ..model }.step(&vec![Complex32::default(); count * area]);
        let mut forward = Vec::new();
        for coil in 0..coils {
            let mut plane = vec![Complex32::default(); area];
            for number in 0..count {
                let map = &maps[(number * coils + coil) * area..][..area];
                for ((to, map), value) in plane.iter_mut().zip(map).zip(&u[number * area..]) {
                    *to += map * value;
                }
            }
            Plane::forward(rows, columns).apply(&mut plane);
            forward.extend(plane);
        }
        let (left, right) = (inner(&forward, &samples), inner(&u, &adjoint));
        prop_assert!((left - right).norm() / left.norm().max(1.0) < 1e-4);
    }
}

struct Case {
    truth: ndarray::Array2<f32>,
    mask: Vec<bool>,
    sampling: Sampling,
    filled: nwg::Filled,
    maps: espirit::Maps,
}

fn case(acceleration: usize, coils: usize, noise: f32, until: usize) -> Case {
    let full = scan(coils, 120, 96, noise);
    let (kspace, mask, sampling) = sample(&full, acceleration, 0, 24, until);
    let filled = nwg::fill(&kspace, &mask, &sampling, &nwg::Options::default()).unwrap();
    let region = kspace.slice(s![.., sampling.acs_first..sampling.acs_first + sampling.acs_lines, ..]);
    let maps = espirit::maps(region, filled.noise_variance, (120, 96), &espirit::Options::default(), &Host).unwrap();
    Case { truth: rss(&ifft2c(&scan(coils, 120, 96, 0.0))), mask, sampling, filled, maps }
}

impl Case {
    fn problem(&self) -> Problem<'_> {
        Problem {
            kspace: &self.filled.kspace,
            mask: &self.mask,
            range: nwg::range(&self.sampling, self.mask.len()),
            noise_variance: self.filled.noise_variance,
            error_variance: &self.filled.error_variance,
            checked: self.filled.checked,
            maps: &self.maps.maps,
        }
    }

    /// Without what filled lines put back.
    fn doubted(&self, options: &Options) -> Array3<Complex32> {
        let problem = Problem { checked: false, ..self.problem() };
        spread(&self.maps.maps, &refine(&problem, options).images)
    }

    fn refined(&self, options: &Options) -> Array3<Complex32> {
        spread(&self.maps.maps, &refine(&self.problem(), options).images)
    }
}

#[test]
fn images_get_better_at_any_noise_level() {
    for noise in [0.003, 0.03, 0.1] {
        let case = case(4, 8, noise, 120);
        let before = psnr(&rss(&ifft2c(&case.filled.kspace)), &case.truth);
        let after = psnr(&rss(&case.refined(&Options::default())), &case.truth);
        assert!(after > before + 0.3, "noise {noise}: {before} to {after} dB");
    }
}

#[test]
fn seeds_differ_little_and_the_same_seed_gives_the_same_bits() {
    let case = case(4, 8, 0.03, 120);
    let image = |seed: u64| rss(&case.refined(&Options { seed, ..Options::default() }));
    let first = image(0);
    assert_eq!(first, image(0));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(first, pool.install(|| image(0)));
    for seed in 1..3 {
        let other = image(seed);
        assert_ne!(first, other);
        assert!((psnr(&other, &case.truth) - psnr(&first, &case.truth)).abs() < 0.2);
    }
}

#[test]
fn what_was_never_measured_stays_nearly_empty() {
    let case = case(4, 8, 0.01, 90);
    let found = fft2c(&case.refined(&Options::default()));
    let line_energy = |line: usize| crate::numerics::testing::energy(&found, line);
    let beyond: f32 = (case.sampling.last + 1..120).map(line_energy).sum();
    let mirrored: f32 = (0..120 - case.sampling.last - 1).map(line_energy).sum();
    assert!(beyond < 0.1 * mirrored, "{beyond} beyond, {mirrored} on the other side");
}

#[test]
fn no_steps_give_the_combined_fill() {
    let case = case(4, 8, 0.01, 120);
    let none = case.refined(&Options { iterations: 0, most: 0, ..Options::default() });
    assert!(psnr(&rss(&none), &rss(&ifft2c(&case.filled.kspace))) > 40.0);
}

#[test]
fn an_image_that_still_moves_has_more_steps_where_it_explains_the_samples() {
    let few = Options { most: Options::default().iterations, ..Options::default() };
    let images = |coils: usize, noise: f32| {
        let case = case(4, coils, noise, 120);
        [few, Options::default()].map(|options| rss(&case.doubted(&options))).map(|image| psnr(&image, &case.truth))
    };
    for (coils, noise, gain) in [(4, 0.0003, 2.0), (6, 0.001, 2.0), (8, 0.001, 2.0)] {
        let [few, enough] = images(coils, noise);
        assert!(enough > few + gain, "{coils} coils, noise {noise}: {few} and {enough} dB");
    }
    // Nothing but noise is left to move it.
    let [few, enough] = images(8, 0.03);
    assert!(few == enough, "{few} and {enough} dB");
}

#[test]
fn an_image_is_the_last_when_it_moves_little_or_does_not_explain_its_samples() {
    let (mask, error_variance, maps) = (vec![true, false, true], Array2::zeros((3, 5)), Array4::zeros((1, 2, 3, 5)));
    let problem = Problem {
        kspace: &Array3::zeros((2, 3, 5)),
        mask: &mask,
        range: (0, 2),
        noise_variance: 4.0,
        error_variance: &error_variance,
        checked: true,
        maps: &maps,
    };
    let image = |value: f32| vec![Complex32::new(value, 0.0); 15];
    let ends = |moved: f32, misfit: Option<f64>| {
        let mut course = Course::new(&problem, &image(0.0), &Options::default());
        assert_eq!(course.ends(image(7.0), || Err("nothing to compare with")), Ok(false));
        course.ends(image(7.0 + moved), || misfit.ok_or("nothing to ask for"))
    };
    assert_eq!(ends(1.9, None), Ok(true));
    // Of 20 acquired samples, whose noise has an energy of 80.
    assert_eq!(ends(2.1, Some(3.9 * 80.0)), Ok(false));
    assert_eq!(ends(2.1, Some(4.1 * 80.0)), Ok(true));
    assert_eq!(ends(f32::NAN, Some(1.0)), Ok(true));
    assert_eq!(ends(2.1, Some(f64::NAN)), Ok(true));
}

#[test]
fn filled_lines_that_are_better_than_the_image_are_put_back() {
    let mut case = case(2, 8, 0.001, 120);
    // Sensitivities that are wrong by a few percent.
    for ((_, coil, y, _), value) in case.maps.maps.indexed_iter_mut() {
        *value *= 1.0 + 0.03 * (1.7 * coil as f32 + 0.2 * y as f32).cos();
    }
    let quality = |image: &Array3<Complex32>| psnr(&rss(image), &case.truth);
    let filled = quality(&ifft2c(&case.filled.kspace));
    let [refined, without] =
        [case.refined(&Options::default()), case.doubted(&Options::default())].map(|image| quality(&image));
    assert!(refined > without + 2.0 && refined > filled + 1.0, "filled {filled}, {refined}, without {without} dB");
}

proptest! {
    #[test]
    fn as_much_is_put_back_as_the_difference_has_beyond_the_expected_error(
        mask in proptest::collection::vec(proptest::bool::ANY, 9), factors in proptest::collection::vec(0f64..4.0, 9),
        first in 0usize..4, last in 4usize..9, coils in 1usize..4, checked: bool,
    ) {
        let points = 20;
        let error_variance = Array2::from_shape_fn((9, points), |(line, kx)| (1 + line + kx) as f32);
        let (kspace, maps) = (Array3::zeros((coils, 9, points)), Array4::zeros((1, coils, 9, points)));
        let problem = Problem {
            kspace: &kspace, mask: &mask, range: (first, last), noise_variance: 5.0, error_variance: &error_variance, checked,
            maps: &maps,
        };
        let missing = |line: usize| !mask[line] && (first..=last).contains(&line);
        let trusted = problem.trust(&Options { trust: 0.5, ..Options::default() });
        for ((line, kx), variance) in error_variance.indexed_iter() {
            let expected = if missing(line) { 2.5 / variance.max(5.0) } else { 1.0 };
            prop_assert!((trusted[line * points + kx] - expected).abs() < 1e-6);
        }
        let compared = problem.compared();
        prop_assert_eq!(compared.is_some(), checked);
        // A patch of seven points reaches beyond the readout at the three at either end.
        for (at, counts) in compared.into_iter().flatten().enumerate() {
            prop_assert_eq!(counts == 1.0, missing(at / points) && (3..17).contains(&(at % points)));
        }
        let expected = |line: usize| coils as f64 * (3..17).map(|kx| f64::from(error_variance[[line, kx]])).sum::<f64>();
        let mut apart: Vec<f64> = (0..9).map(|line| factors[line] * expected(line)).collect();
        apart.rotate_left(4);
        let returned = problem.returned(apart);
        let beyond = |line: usize| if checked && missing(line) { (1.0 - 1.0 / factors[line]).max(0.0) } else { 0.0 };
        prop_assert_eq!(returned.is_some(), (0..9).any(|line| beyond(line) > 0.0));
        for (at, part) in returned.into_iter().flatten().enumerate() {
            let line = at / points;
            prop_assert!((f64::from(part) - beyond(line)).abs() < 1e-6, "line {}: {} for {}", line, part, beyond(line));
        }
    }
}

#[test]
fn details_shrink_by_the_noise_alone_once_the_fill_was_made_good() {
    let case = case(4, 4, 0.003, 120);
    let combined = case.refined(&Options { iterations: 0, most: 0, ..Options::default() });
    let image = apply(&case.maps.maps, &combined);
    let course = Course::new(&case.problem(), image.as_slice().unwrap(), &Options::default());
    let later = 0.22 * (case.filled.noise_variance as f32).sqrt();
    assert!(course.threshold(0) > 1.2 * later);
    assert_eq!(course.threshold(19), course.threshold(0));
    assert!((course.threshold(20) / later - 1.0).abs() < 1e-5);
    let looks: Vec<usize> = (0..60).filter(|done| course.looks(*done)).collect();
    assert_eq!(looks, [10, 20, 30, 40, 50]);
}

#[test]
fn lines_after_the_last_of_a_grid_are_missing_as_others_are() {
    let case = case(4, 8, 0.003, 120);
    let whole = case.problem();
    assert_eq!((case.sampling.last, whole.range), (116, (0, 119)));
    let cut = Problem { range: (0, 116), ..case.problem() };
    let [whole, cut] = [whole, cut].map(|problem| {
        psnr(&rss(&spread(&case.maps.maps, &refine(&problem, &Options::default()).images)), &case.truth)
    });
    assert!(whole > cut + 1.0, "{whole} with the last lines, {cut} dB without");
}
