//! Scale, noise and quality of fills whose calibration lines are not part of k-space.

use proptest::prelude::*;

use super::*;
use crate::numerics::Host;
use crate::numerics::combine::rss;
use crate::numerics::fft::ifft2c;
use crate::numerics::metrics::psnr;
use crate::numerics::testing::{calibration, sample, scan};
use crate::numerics::{grappa, nwg};

/// An image without calibration lines, and the lines, of which the block of the sampling stands for as many.
struct Case {
    full: Array3<Complex32>,
    kspace: Array3<Complex32>,
    mask: Vec<bool>,
    sampling: Sampling,
}

const LINES: usize = 24;

impl Case {
    fn new(acceleration: usize, noise: f32) -> Self {
        let full = scan(8, 120, 96, noise);
        let (kspace, mask, sampling) = sample(&full, acceleration, 0, 0, 120);
        Self { full, kspace, mask, sampling: covered(&sampling, LINES, 120) }
    }

    fn separate(&self, lines: &Array3<Complex32>) -> Separate {
        Separate::new(lines, &self.kspace, &self.mask, &self.sampling, None).unwrap()
    }

    fn nwg(&self, lines: &Array3<Complex32>) -> Array3<Complex32> {
        let separate = self.separate(lines);
        let options = nwg::Options::default();
        nwg::fill_and_judge(&self.kspace, &self.mask, &self.sampling, Some(&separate), &options, &Host)
            .unwrap()
            .0
            .kspace
    }

    fn grappa(&self, lines: &Array3<Complex32>) -> Array3<Complex32> {
        let (separate, options) = (self.separate(lines), grappa::Options::default());
        let kernel = grappa::Kernel::fit(&self.kspace, &self.mask, &self.sampling, Some(&separate), &options);
        kernel.unwrap().apply(&self.kspace, &self.mask).unwrap()
    }

    /// The lines that an embedded calibration block would have been.
    fn block(&self) -> Array3<Complex32> {
        let first = self.sampling.acs_first;
        self.full.slice(s![.., first..first + LINES, ..]).to_owned()
    }
}

fn quality(kspace: &Array3<Complex32>, truth: &Array3<Complex32>) -> f64 {
    psnr(&rss(&ifft2c(kspace)), &rss(&ifft2c(truth)))
}

/// Signal over error, dB, of the lines outside the block that were filled.
fn outer(case: &Case, filled: &Array3<Complex32>, truth: &Array3<Complex32>) -> f64 {
    let block = case.sampling.acs_first..case.sampling.acs_first + case.sampling.acs_lines;
    let (mut signal, mut error) = (0.0, 0.0);
    for line in (0..=case.sampling.last).filter(|line| !case.mask[*line] && !block.contains(line)) {
        let (found, truth) = (filled.slice(s![.., line, ..]), truth.slice(s![.., line, ..]));
        signal += truth.iter().map(|value| value.norm_sqr()).sum::<f32>();
        error += (&found - &truth).iter().map(|value| value.norm_sqr()).sum::<f32>();
    }
    10.0 * f64::from(signal / error).log10()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn the_scale_of_the_calibration_does_not_matter(acceleration in 2usize..5, power in -12i32..12) {
        let case = Case::new(acceleration, 0.02);
        let lines = calibration(&case.full, (LINES, 64), 1.0, 0.02);
        let scaled = &lines * 2f32.powi(power);
        for (a, b) in [(case.nwg(&lines), case.nwg(&scaled)), (case.grappa(&lines), case.grappa(&scaled))] {
            let norm = |of: &Array3<Complex32>| of.iter().map(|value| value.norm_sqr()).sum::<f32>().sqrt();
            let error = norm(&(&a - &b)) / norm(&a);
            prop_assert!(error < 1e-3, "{}", error);
        }
    }

    #[test]
    fn the_block_is_in_the_middle_and_within_the_lines(lines in 1usize..80, rows in 1usize..64, first in 0usize..40, own in 0usize..10) {
        let acs_lines = own.min(rows.saturating_sub(first));
        let sampling = Sampling { acceleration: 2, offset: 0, acs_first: first, acs_lines, first: 0, last: rows - 1 };
        let found = covered(&sampling, lines, rows);
        let end = found.acs_first + found.acs_lines;
        prop_assert!(end <= rows && (found.acs_first..end).contains(&(rows / 2)));
        prop_assert!(found.acs_lines >= lines.min(rows));
        prop_assert!(acs_lines == 0 || (found.acs_first <= first && end >= first + acs_lines));
        prop_assert_eq!(Sampling { acs_first: first, acs_lines, ..found }, sampling);
    }
}

#[test]
fn energy_and_noise_are_those_of_the_image() {
    for (scale, noise) in [(1.0, 0.02), (9.0, 0.06), (0.1, 0.01)] {
        let case = Case::new(3, 0.02);
        let found = case.separate(&calibration(&case.full, (LINES, 64), scale, noise));
        let image = found.of_image / (2.0 * 0.02f64.powi(2));
        assert!((0.8..1.6).contains(&image), "noise of the image off by {image}");
        // The noise of the full scan is in the lines as well, modulated by the contrast.
        let expected = 2.0 * (0.02f64.powi(2) * 1.08 + f64::from(noise / scale).powi(2));
        let own = found.noise_variance / expected;
        assert!((0.7..1.8).contains(&own), "scale {scale}: noise of the calibration lines off by {own}");
        let known = Separate::new(&case.block(), &case.kspace, &case.mask, &case.sampling, Some(0.5)).unwrap();
        assert_eq!(known.of_image, 0.5);
    }
}

#[test]
fn another_contrast_scale_and_noise_fill_nearly_as_the_same_lines_do() {
    for (acceleration, noise, of_grappa, of_nwg) in [(3, 0.01, 1.0, 1.6), (4, 0.01, 1.0, 2.2), (3, 0.05, 1.5, 2.2)] {
        let case = Case::new(acceleration, noise);
        let truth = scan(8, 120, 96, 0.0);
        let block = case.block();
        let (embedded, mask, sampling) = sample(&case.full, acceleration, 0, LINES, 120);
        let embedded = nwg::fill(&embedded, &mask, &sampling, &nwg::Options::default()).unwrap().kspace;
        let limit = (quality(&case.grappa(&block), &truth), quality(&case.nwg(&block), &truth));
        for (scale, of_lines) in [(1.0, noise), (9.0, 3.0 * noise), (0.1, 0.2 * noise)] {
            let lines = calibration(&case.full, (LINES, 64), scale, of_lines);
            let (linear, weighted) = (case.grappa(&lines), case.nwg(&lines));
            let found = (quality(&linear, &truth), quality(&weighted, &truth));
            assert!(found.0 > limit.0 - of_grappa, "R={acceleration}, scale {scale}: {} of {} dB", found.0, limit.0);
            assert!(found.1 > limit.1 - of_nwg, "R={acceleration}, scale {scale}: {} of {} dB", found.1, limit.1);
            assert!(found.1 > found.0 + 2.0, "R={acceleration}, scale {scale}: nwg {} dB, GRAPPA {}", found.1, found.0);
            // Lines that both have to fill.
            let (found, limit) = (outer(&case, &weighted, &truth), outer(&case, &embedded, &truth));
            assert!(found > limit - 1.6, "R={acceleration}, scale {scale}: outer lines {found} of {limit} dB");
        }
    }
}

#[test]
fn lines_that_cannot_calibrate_are_refused_with_what_they_lack() {
    let case = Case::new(4, 0.02);
    let new = |lines: &Array3<Complex32>| Separate::new(lines, &case.kspace, &case.mask, &case.sampling, None);
    let lines = calibration(&case.full, (LINES, 64), 1.0, 0.02);
    assert!(matches!(new(&lines.slice(s![..4, .., ..]).to_owned()), Err(Error::Corrupt { .. })), "coils");
    assert!(matches!(new(&Array3::zeros((8, 24, 64))), Err(Error::Unsupported { .. })), "nothing");
    assert!(matches!(new(&lines.slice(s![.., ..3, ..]).to_owned()), Err(Error::Unsupported { .. })), "three lines");

    let options = (nwg::Options::default(), grappa::Options::default());
    for narrow in [s![.., ..4, ..], s![.., .., 30..34]] {
        let separate = new(&lines.slice(narrow).to_owned()).unwrap();
        let filled = nwg::fill_and_judge(&case.kspace, &case.mask, &case.sampling, Some(&separate), &options.0, &Host);
        assert!(matches!(filled.map(|_| ()), Err(Error::Unsupported { .. })));
        let fitted = grappa::Kernel::fit(&case.kspace, &case.mask, &case.sampling, Some(&separate), &options.1);
        assert!(matches!(fitted.map(|_| ()), Err(Error::Unsupported { .. })));
    }
}
