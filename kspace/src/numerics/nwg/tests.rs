//! Recovery, invariances, edges and refusals of nwG.

use ndarray::Axis;
use proptest::prelude::*;

use super::*;
use crate::numerics::calibration::covered;
use crate::numerics::combine::rss;
use crate::numerics::fft::ifft2c;
use crate::numerics::grappa;
use crate::numerics::metrics::psnr;
use crate::numerics::testing::{calibration, energy, points, sample, scan};

fn norm(values: &Array3<Complex32>) -> f32 {
    values.iter().map(|value| value.norm_sqr()).sum::<f32>().sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn data_that_satisfy_the_model_are_recovered(
        acceleration in 2usize..=6, offset in 0usize..6, coils in 4usize..12, rows in 60usize..90, columns in 40usize..60,
    ) {
        let full = points(coils, rows, columns, 5);
        let (kspace, mask, sampling) = sample(&full, acceleration, offset % acceleration, 4 * acceleration, rows);
        let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap().kspace;
        // Patches that reach beyond the sampled lines and points have no complete sources.
        let inner = s![.., acceleration..rows - 2 * acceleration, TAPS..columns - TAPS];
        let (found, truth) = (filled.slice(inner), full.slice(inner));
        let error = norm(&(&found - &truth)) / norm(&truth.to_owned());
        prop_assert!(error < 2e-3, "relative error {}", error);
        for line in (0..sampling.first).chain(sampling.last + 1..rows) {
            let of_line = s![.., line, TAPS..columns - TAPS];
            let (found, truth) = (filled.slice(of_line), full.slice(of_line));
            let error = (&found - &truth).iter().map(|value| value.norm_sqr()).sum::<f32>();
            let energy = truth.iter().map(|value| value.norm_sqr()).sum::<f32>();
            prop_assert!(error < 4e-6 * energy, "line {} beyond the grid: {} of {}", line, error, energy);
        }
    }

    #[test]
    fn acquired_samples_stay_and_every_line_that_the_image_has_is_filled(
        acceleration in 2usize..=6, offset in 0usize..6, coils in 1usize..7, rows in 50usize..71, columns in 24usize..41,
        acs in 14usize..24, cut in 0usize..15,
    ) {
        let full = scan(coils, rows, columns, 1e-4);
        let (kspace, mask, sampling) = sample(&full, acceleration, offset % acceleration, acs, rows - cut);
        let (first, last) = range(&sampling, rows);
        let options = Options { noise_variance: Some(2e-8), ..Options::default() };
        let filled = fill(&kspace, &mask, &sampling, &options).unwrap();
        for (line, acquired) in mask.iter().enumerate() {
            let found = filled.kspace.index_axis(Axis(1), line);
            if *acquired {
                prop_assert_eq!(found, kspace.index_axis(Axis(1), line));
            } else if (first..=last).contains(&line) {
                prop_assert!(energy(&filled.kspace, line) > 0.0, "line {} is empty", line);
                prop_assert!(filled.error_variance.row(line).iter().all(|variance| *variance > 0.0));
            } else {
                prop_assert!(found.iter().all(|value| *value == Complex32::default()));
            }
        }
    }

    #[test]
    fn weights_of_one_without_noise_fill_as_ridge_grappa(
        acceleration in 2usize..=6, offset in 0usize..6, coils in 2usize..9, rows in 60usize..81, columns in 30usize..50,
    ) {
        let full = scan(coils, rows, columns, 1e-2);
        let (kspace, mask, sampling) = sample(&full, acceleration, offset % acceleration, 24, rows);
        let options = Options { noise_variance: Some(0.0), refits: 0, energy_weights: false };
        let filled = fill(&kspace, &mask, &sampling, &options).unwrap().kspace;
        let plain = grappa::Options { taps: TAPS, ridge: grappa::Ridge::Relative(1e-9), source_lines: SOURCE_LINES };
        let plain = grappa::fill(&kspace, &mask, &sampling, &plain).unwrap();
        let within = s![.., sampling.first..=sampling.last, ..];
        let error = norm(&(&filled.slice(within) - &plain.slice(within))) / norm(&plain);
        prop_assert!(error < 1e-4, "{}", error);
    }

    #[test]
    fn the_scale_of_the_data_does_not_matter(acceleration in 2usize..5, power in -20i32..20) {
        let full = scan(5, 64, 40, 1e-2);
        let (kspace, mask, sampling) = sample(&full, acceleration, 0, 20, 64);
        // Powers of two scale without rounding.
        let scale = 2f32.powi(power);
        let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap().kspace;
        let scaled = fill(&(&kspace * scale), &mask, &sampling, &Options::default()).unwrap().kspace;
        let error = norm(&(&scaled / scale - &filled)) / norm(&filled);
        prop_assert!(error < 1e-4, "{}", error);
    }
}

#[test]
fn many_coils_are_filled() {
    let full = scan(64, 48, 64, 1e-3);
    let (kspace, mask, sampling) = sample(&full, 2, 1, 20, 48);
    let options = Options { refits: 0, ..Options::default() };
    let filled = fill(&kspace, &mask, &sampling, &options).unwrap().kspace;
    let truth = rss(&ifft2c(&full));
    let (before, after) = (psnr(&rss(&ifft2c(&kspace)), &truth), psnr(&rss(&ifft2c(&filled)), &truth));
    assert!(after > before + 10.0, "{before} {after}");
}

#[test]
fn lines_after_the_last_of_a_grid_are_missing_as_others_are() {
    let found = |first: usize, last: usize| {
        range(&Sampling { acceleration: 5, offset: first % 5, acs_first: 50, acs_lines: 20, first, last }, 120)
    };
    assert_eq!(found(0, 115), (0, 119));
    assert_eq!(found(4, 119), (0, 119));
    // Partial Fourier at either end, and a smaller k-space in the middle of zeros.
    assert_eq!(found(5, 115), (5, 119));
    assert_eq!(found(0, 114), (0, 114));
    assert_eq!(found(20, 100), (20, 100));
    // Calibration lines reach further than a grid that was cut, and as far as one that was not.
    let block = |first: usize, last: usize, lines: usize| {
        range(
            &Sampling { acceleration: 4, offset: 1, acs_first: first, acs_lines: last + 1 - first, first, last },
            lines,
        )
    };
    assert_eq!(block(2, 62, 67), (2, 62));
    assert_eq!(block(0, 63, 65), (0, 64));
}

#[test]
fn separate_lines_too_few_for_the_ends_leave_them_empty() {
    let full = scan(8, 120, 96, 1e-4);
    let (kspace, mask, sampling) = sample(&full, 6, 2, 0, 120);
    let filled = |lines: usize| {
        let own = calibration(&full, (lines, 96), 1.0, 1e-4);
        let sampling = covered(&sampling, lines, 120);
        let separate = Separate::new(&own, &kspace, &mask, &sampling, Some(2e-8)).unwrap();
        let options = Options { noise_variance: Some(2e-8), ..Options::default() };
        let filled = fill_and_judge(&kspace, &mask, &sampling, Some(&separate), &options, &Host).unwrap().0;
        energy(&filled.kspace, 0) + energy(&filled.kspace, 119)
    };
    assert_eq!(filled(12), 0.0);
    assert!(filled(24) > 0.0);
}

#[test]
fn lines_beyond_the_grid_are_filled_where_their_signal_is_above_the_noise() {
    let of = |noise: f32| {
        let full = scan(8, 120, 96, noise);
        let (kspace, mask, sampling) = sample(&full, 4, 2, 24, 120);
        assert_eq!((sampling.first, sampling.last), (2, 118));
        let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap();
        [0, 1, 119].map(|line| {
            let truth = full.index_axis(Axis(1), line).to_owned();
            let found = filled.kspace.index_axis(Axis(1), line);
            let error = (&found - &truth).iter().map(|value| value.norm_sqr()).sum::<f32>();
            [error, energy(&full, line), 8.0 * filled.error_variance.row(line).sum()]
        })
    };
    let filled = of(1e-4);
    for [error, energy, _] in filled {
        assert!(error < 0.3 * energy, "{error} of {energy}");
    }
    let [error, expected] = [0, 2].map(|which| filled.iter().map(|line| line[which]).sum::<f32>());
    assert!((0.4..2.5).contains(&(expected / error)), "expected {expected}, found {error}");
    assert!(of(0.1).iter().all(|[error, energy, _]| error == energy), "weak lines are left empty");
}

#[test]
fn it_beats_plain_grappa_where_there_is_noise_and_each_step_helps() {
    let full = scan(8, 120, 96, 0.05);
    let truth = rss(&ifft2c(&full));
    let (kspace, mask, sampling) = sample(&full, 4, 0, 20, 120);
    let quality = |kspace: &Array3<Complex32>| psnr(&rss(&ifft2c(kspace)), &truth);
    let with = |options: Options| quality(&fill(&kspace, &mask, &sampling, &options).unwrap().kspace);
    let plain = quality(&grappa::fill(&kspace, &mask, &sampling, &grappa::Options::default()).unwrap());
    let flat = with(Options { energy_weights: false, refits: 0, ..Options::default() });
    let once = with(Options { refits: 0, ..Options::default() });
    let refitted = with(Options::default());
    assert!(plain < flat && flat < once && once < refitted, "{plain} {flat} {once} {refitted}");
    assert!(refitted > plain + 2.0, "{plain} {refitted}");
}

#[test]
fn the_expected_error_is_near_the_true_one() {
    let truth = scan(8, 120, 96, 0.0);
    for (acceleration, noise) in [(2, 0.001), (2, 0.05), (3, 0.003), (3, 0.05), (4, 0.003)] {
        let (kspace, mask, sampling) = sample(&scan(8, 120, 96, noise), acceleration, 0, 24, 120);
        let filled = fill(&kspace, &mask, &sampling, &Options::default()).unwrap();
        let (mut expected, mut found) = (0.0, 0.0);
        for line in (sampling.first..=sampling.last).filter(|line| !mask[*line]) {
            for kx in whole_patches(96) {
                expected += 8.0 * filled.error_variance[[line, kx]];
                let error = &filled.kspace.slice(s![.., line, kx]) - &truth.slice(s![.., line, kx]);
                found += error.iter().map(|value| value.norm_sqr()).sum::<f32>();
            }
        }
        let ratio = expected / found;
        assert!((0.4..2.5).contains(&ratio), "R = {acceleration}, noise {noise}: expected {expected}, found {found}");
    }
}

#[test]
fn the_judge_tells_a_good_fill_from_a_bad_one() {
    let full = scan(8, 96, 64, 0.02);
    let (kspace, mask, sampling) = sample(&full, 3, 1, 24, 90);
    let (filled, judge) = fill_and_judge(&kspace, &mask, &sampling, None, &Options::default(), &Host).unwrap();
    let error = |kspace: &Array3<Complex32>| {
        judge.residual(kspace, &mask, &sampling, &Host).unwrap().iter().map(|value| value.norm_sqr()).sum::<f32>()
    };
    let outer =
        (0..mask.len()).filter(|line| mask[*line] && !(sampling.acs_first..sampling.acs_first + 24).contains(line));
    assert_eq!(judge.residual(&full, &mask, &sampling, &Host).unwrap().len(), outer.count() * 8 * 64);
    let plain = grappa::fill(&kspace, &mask, &sampling, &grappa::Options::default()).unwrap();
    assert!(error(&filled.kspace) < error(&plain) && error(&plain) < error(&kspace));
}

#[test]
fn a_known_noise_level_is_used_and_an_unknown_one_found() {
    let full = scan(8, 96, 64, 0.03);
    let (kspace, mask, sampling) = sample(&full, 3, 0, 24, 96);
    let found = fill(&kspace, &mask, &sampling, &Options::default()).unwrap().noise_variance;
    let truth = 2.0 * 0.03f64.powi(2);
    assert!((0.8..1.4).contains(&(found / truth)), "{found} for {truth}");
    let options = Options { noise_variance: Some(truth), ..Options::default() };
    assert_eq!(fill(&kspace, &mask, &sampling, &options).unwrap().noise_variance, truth);
}

#[test]
fn what_cannot_be_filled_is_refused_with_what_it_lacks() {
    let full = scan(4, 40, 30, 1e-3);
    let (kspace, mask, sampling) = sample(&full, 6, 0, 6, 40);
    let error = fill(&kspace, &mask, &sampling, &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("at least 7"), "{error}");
    let (kspace, mask, sampling) = sample(&Array3::zeros((4, 40, 30)), 2, 0, 16, 40);
    assert!(matches!(fill(&kspace, &mask, &sampling, &Options::default()), Err(Error::Unsupported { .. })));
    let wrong = Sampling { acs_first: usize::MAX, ..sampling };
    assert!(matches!(fill(&kspace, &mask, &wrong, &Options::default()), Err(Error::Corrupt { .. })));
    assert!(matches!(fill(&kspace, &mask[1..], &sampling, &Options::default()), Err(Error::Corrupt { .. })));
    let complete = Sampling { acceleration: 1, ..sampling };
    assert!(matches!(fill(&kspace, &mask, &complete, &Options::default()), Err(Error::Corrupt { .. })));
}
