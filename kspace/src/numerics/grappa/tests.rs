//! Recovery, edges, regularisation and refusals of GRAPPA.

use proptest::prelude::*;

use super::*;
use crate::numerics::combine::rss;
use crate::numerics::fft::ifft2c;
use crate::numerics::metrics::psnr;
use crate::numerics::testing::{energy, points, sample, scan};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_line_between_the_first_and_the_last_is_filled_and_acquired_ones_are_kept(
        acceleration in 2usize..=6, offset in 0usize..6, coils in 1usize..9, rows in 50usize..71, columns in 24usize..41,
        four in any::<bool>(), cut in 0usize..15,
    ) {
        let full = scan(coils, rows, columns, 1e-3);
        let until = rows - cut;
        let (kspace, mask, sampling) = sample(&full, acceleration, offset % acceleration, 24, until);
        let options = Options { source_lines: if four { 4 } else { 2 }, ..Options::default() };
        let filled = fill(&kspace, &mask, &sampling, &options).unwrap();
        for (line, acquired) in mask.iter().enumerate() {
            if *acquired {
                prop_assert_eq!(filled.index_axis(Axis(1), line), kspace.index_axis(Axis(1), line));
            } else if (sampling.first..=sampling.last).contains(&line) {
                prop_assert!(energy(&filled, line) > 0.0, "line {} is empty", line);
            } else {
                prop_assert_eq!(energy(&filled, line), 0.0);
            }
        }
    }

    #[test]
    fn data_that_satisfy_the_model_are_recovered(
        acceleration in 2usize..=6, offset in 0usize..6, coils in 4usize..12, rows in 60usize..90, columns in 40usize..60,
    ) {
        let full = points(coils, rows, columns, 5);
        let (kspace, mask, sampling) = sample(&full, acceleration, offset % acceleration, 4 * acceleration, rows);
        let options = Options { ridge: Ridge::Relative(1e-9), ..Options::default() };
        let filled = fill(&kspace, &mask, &sampling, &options).unwrap();
        // Patches that reach beyond the sampled lines and points have no complete sources.
        let inner = s![.., acceleration..rows - 2 * acceleration, options.taps..columns - options.taps];
        let (found, truth) = (filled.slice(inner), full.slice(inner));
        let square = |values: &mut dyn Iterator<Item = Complex32>| values.map(|value| value.norm_sqr()).sum::<f32>();
        let error = square(&mut found.iter().zip(truth).map(|(a, b)| a - b)) / square(&mut truth.iter().copied());
        prop_assert!(error < 4e-6, "squared relative error {}", error);
    }

    #[test]
    fn the_scale_of_the_data_does_not_matter(acceleration in 2usize..=6, power in -20i32..20) {
        let full = scan(5, 64, 40, 1e-2);
        let (kspace, mask, sampling) = sample(&full, acceleration, 0, 20, 64);
        // Powers of two scale without rounding.
        let scale = 2f32.powi(power);
        let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap();
        let scaled = fill(&(&kspace * scale), &mask, &sampling, &Options::default()).unwrap();
        let error = (&scaled / scale - &filled).iter().map(|value| value.norm_sqr()).sum::<f32>();
        prop_assert!(error < 1e-8 * filled.iter().map(|value| value.norm_sqr()).sum::<f32>(), "{}", error);
    }
}

#[test]
fn many_coils_are_filled() {
    let full = scan(64, 48, 64, 1e-3);
    let (kspace, mask, sampling) = sample(&full, 2, 1, 20, 48);
    let truth = rss(&ifft2c(&full));
    let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap();
    let (before, after) = (psnr(&rss(&ifft2c(&kspace)), &truth), psnr(&rss(&ifft2c(&filled)), &truth));
    assert!(after > before + 10.0, "{before} {after}");
}

#[test]
fn an_image_without_noise_is_recovered() {
    for (acceleration, offset, rows, columns, floor) in
        [(2, 1, 64, 48, 39.0), (3, 0, 63, 51, 41.0), (3, 2, 96, 64, 41.0), (4, 1, 80, 60, 38.0)]
    {
        let full = scan(12, rows, columns, 1e-5);
        let truth = rss(&ifft2c(&full));
        let (kspace, mask, sampling) = sample(&full, acceleration, offset, 20, rows);
        let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap();
        let found = psnr(&rss(&ifft2c(&filled)), &truth);
        let folded = psnr(&rss(&ifft2c(&kspace)), &truth);
        assert!(found > floor && found > folded + 8.0, "R={acceleration}: {found} dB, zero-filled {folded} dB");
        // Filled lines have the energy of the lines they stand for (pygrappa's were too weak).
        let missing: Vec<usize> = (sampling.first..=sampling.last).filter(|line| !mask[*line]).collect();
        let sum = |of: &Array3<Complex32>| missing.iter().map(|line| energy(of, *line)).sum::<f32>();
        assert!((sum(&filled) / sum(&full) - 1.0).abs() < 0.05);
    }
}

#[test]
fn the_ridge_follows_the_noise() {
    for noise in [3e-4, 0.3] {
        let full = scan(12, 96, 80, noise);
        let (kspace, mask, sampling) = sample(&full, 3, 0, 20, 96);
        let truth = rss(&ifft2c(&full));
        let quality = |ridge: Ridge| {
            let kernel =
                Kernel::fit(&kspace, &mask, &sampling, None, &Options { ridge, ..Options::default() }).unwrap();
            (psnr(&rss(&ifft2c(&kernel.apply(&kspace, &mask).unwrap())), &truth), kernel.noise_variance)
        };
        let (found, variance) = quality(Ridge::Noise);
        let estimate = variance.unwrap() / f64::from(2.0 * noise * noise);
        assert!((0.7..2.0).contains(&estimate), "noise {noise}: estimate off by {estimate}");
        // No fixed ridge is right for both.
        let fixed = [0.3, 0.1, 0.01, 1e-3, 1e-5, 1e-7].map(|factor| quality(Ridge::Relative(factor)).0);
        let best = fixed.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let worst = fixed.into_iter().fold(f64::INFINITY, f64::min);
        assert!(found > best - 1.0 && found > worst + 3.0, "noise {noise}: {found} dB of {fixed:?}");
    }
}

#[test]
fn acceleration_one_returns_the_input_and_too_few_lines_are_named() {
    let full = scan(4, 40, 30, 1e-3);
    let (kspace, mask, sampling) = sample(&full, 1, 0, 0, 40);
    assert_eq!(fill(&kspace, &mask, &sampling, &Options::default()).unwrap(), full);
    let (kspace, mask, sampling) = sample(&full, 4, 0, 4, 40);
    let error = fill(&kspace, &mask, &sampling, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("at least 5"), "{error}");
}

#[test]
fn empty_calibration_lines_and_shapes_that_do_not_fit_are_errors() {
    let (kspace, mask, sampling) = sample(&Array3::zeros((4, 40, 30)), 2, 0, 16, 40);
    assert!(matches!(fill(&kspace, &mask, &sampling, &Options::default()), Err(Error::Unsupported { .. })));
    let wrong = Sampling { acs_first: usize::MAX, ..sampling };
    assert!(matches!(fill(&kspace, &mask, &wrong, &Options::default()), Err(Error::Corrupt { .. })));
    assert!(matches!(fill(&kspace, &mask[1..], &sampling, &Options::default()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_ridge_is_noise_or_a_positive_factor() {
    assert_eq!("noise".parse(), Ok(Ridge::Noise));
    assert_eq!("1e-3".parse(), Ok(Ridge::Relative(1e-3)));
    for ridge in [Ridge::Noise, Ridge::Relative(1e-9), Ridge::Relative(0.3)] {
        assert_eq!(ridge.to_string().parse(), Ok(ridge));
    }
    for wrong in ["", "0", "-1", "inf", "NaN", "Noise"] {
        assert!(wrong.parse::<Ridge>().unwrap_err().contains("0.01"), "{wrong}");
    }
}
