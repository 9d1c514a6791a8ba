//! What is known of a result.

use contract::prepared::Sampling;
use gpu_job::engine::{Numbers, Reconstructed};
use gpu_job::stopwatch::{Spent, Stopwatch};
use kspace::Complex32;
use kspace::numerics::{combine, fft, metrics};
use ndarray::{Array2, Array3, s};
use serde::Serialize;

/// Shares of the maximum of the calibration image above which a pixel is object, and below which it is background.
const OBJECT: f32 = 0.15;
const BACKGROUND: f32 = 0.04;

/// Quality against a reference, as [`kspace::numerics::metrics`] defines it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Peak signal-to-noise ratio, dB.
    pub psnr: f64,
    /// Normalised root-mean-square error.
    pub nrmse: f64,
    /// Structural similarity.
    pub ssim: f64,
}

/// Relative errors, in the 2-norm, of acquired lines outside the calibration block as the filled lines next to them
/// predict them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RoundTrip {
    /// From the fill of `nwg`.
    pub nwg: f64,
    /// From that of the networks.
    pub networks: f64,
    /// From the mix of both.
    pub mix: f64,
}

/// Means over the slices compared; times are sums. A number is absent where the method does not have it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Against the fully sampled image.
    #[serde(flatten)]
    pub scores: Option<Scores>,
    /// CPU time of this process over all threads, s.
    pub cpu_seconds: f64,
    /// Time on the clock, s.
    pub wall_seconds: f64,
    /// Root of the error energy over the signal energy of calibration lines off the grid as the method predicts them.
    pub calibration_residual: Option<f64>,
    /// Of the mix of `nwg` and the networks.
    pub round_trip: Option<RoundTrip>,
    /// Part of the networks in that mix.
    pub networks: Option<f64>,
    /// Deviation of the noise of a k-space sample (complex), in the unit of the prepared file.
    pub noise_level: Option<f64>,
    /// Energy of the filled lines over that of all lines.
    pub filled_energy: f64,
    /// RMS of the image in the background over that in the object; both are found in the calibration lines, the same for every method.
    pub background: Option<f64>,
    /// Loss of the last training step.
    pub loss: Option<f64>,
    /// Sensitivity maps of the refinement.
    pub maps: Option<f64>,
    /// Slices whose networks did not converge, so that `nwg` filled them.
    pub diverged: usize,
    /// Slices in which no sensitivities were found, left unrefined.
    pub unrefined: usize,
}

/// What is known of one slice.
#[derive(Debug)]
struct Known {
    scores: Option<Scores>,
    numbers: Numbers,
    background: Option<f64>,
}

/// Adds up slices to [`Figures`].
#[derive(Debug, Default)]
pub(super) struct Sums {
    slices: Vec<Known>,
    spent: Spent,
}

impl Sums {
    /// Runs `work` and adds its times.
    pub(super) fn timed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let result = work();
        self.spent += watch.spent();
        result
    }

    pub(super) fn add(&mut self, result: &Reconstructed, reference: Option<&Array2<f32>>, regions: Option<&Regions>) {
        let image = result.magnitude();
        let scores = reference.map(|reference| score(&image, reference));
        let background = regions.and_then(|regions| regions.ratio(&image));
        self.slices.push(Known { scores, numbers: result.numbers.clone(), background });
    }

    pub(super) fn figures(&self) -> Figures {
        let mean = |of: &dyn Fn(&Known) -> Option<f64>| {
            let values: Vec<f64> = self.slices.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let number = |of: fn(&Numbers) -> Option<f64>| mean(&|known| of(&known.numbers));
        let scored = |of: fn(&Scores) -> f64| mean(&|known| known.scores.as_ref().map(of));
        let scores = match (scored(|s| s.psnr), scored(|s| s.nrmse), scored(|s| s.ssim)) {
            (Some(psnr), Some(nrmse), Some(ssim)) => Some(Scores { psnr, nrmse, ssim }),
            _ => None,
        };
        let round_trip = match [0, 1, 2].map(|at: usize| mean(&|known| known.numbers.round_trip.map(|trip| trip[at]))) {
            [Some(nwg), Some(networks), Some(mix)] => Some(RoundTrip { nwg, networks, mix }),
            _ => None,
        };
        let count = |of: fn(&Numbers) -> bool| self.slices.iter().filter(|known| of(&known.numbers)).count();
        Figures {
            scores,
            cpu_seconds: self.spent.cpu,
            wall_seconds: self.spent.wall,
            calibration_residual: number(Numbers::calibration_residual),
            round_trip,
            networks: number(|n| n.networks),
            noise_level: number(|n| n.noise_variance.map(f64::sqrt)),
            filled_energy: mean(&|known| Some(known.numbers.filled_share())).unwrap_or_default(),
            background: mean(&|known| known.background),
            loss: number(|n| n.loss),
            maps: number(|n| n.maps.map(|(maps, _)| maps as f64)),
            diverged: count(|n| n.diverged),
            unrefined: count(|n| n.unrefined),
        }
    }
}

fn score(image: &Array2<f32>, reference: &Array2<f32>) -> Scores {
    Scores {
        psnr: metrics::psnr(image, reference),
        nrmse: metrics::nrmse(image, reference),
        ssim: metrics::ssim(image, reference),
    }
}

/// Where the object is and where it is not, from the calibration lines: an image without aliasing, the same for every method.
#[derive(Debug)]
pub(super) struct Regions {
    /// `[y, x]`, over its maximum.
    calibration: Array2<f32>,
}

impl Regions {
    /// Regions of a slice; `None` without calibration lines.
    pub(super) fn of(
        kspace: &Array3<Complex32>,
        sampling: &Sampling,
        separate: Option<&Array3<Complex32>>,
    ) -> Option<Self> {
        let (coils, lines, points) = kspace.dim();
        let mut low = Array3::zeros((coils, lines, points));
        let (block, width) = match separate {
            Some(separate) => {
                let width = separate.dim().2.min(points);
                let (own, first) = (separate.dim().1.min(lines), points / 2 - width / 2);
                let block = lines / 2 - own / 2..lines / 2 - own / 2 + own;
                let from = (separate.dim().1 / 2 - own / 2, separate.dim().2 / 2 - width / 2);
                let centre = separate.slice(s![.., from.0..from.0 + own, from.1..from.1 + width]);
                low.slice_mut(s![.., block.clone(), first..first + width]).assign(&centre);
                (block, width)
            }
            None => {
                let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
                low.slice_mut(s![.., block.clone(), ..]).assign(&kspace.slice(s![.., block.clone(), ..]));
                (block, points)
            }
        };
        // The same part of either axis; tapered, so that the image does not ring into the background.
        let half = [block.len(), (block.len() * points / lines.max(1)).min(width)].map(|width| width as f32 / 2.0);
        let taper = |at: usize, middle: f32, half: f32| {
            let place = (at as f32 - middle).abs() / half.max(1.0);
            if place < 1.0 { 0.5 + 0.5 * (std::f32::consts::PI * place).cos() } else { 0.0 }
        };
        let middle = block.start as f32 + half[0] - 0.5;
        for ((_, line, point), sample) in low.indexed_iter_mut() {
            *sample *= taper(line, middle, half[0]) * taper(point, (points / 2) as f32, half[1]);
        }
        let image = combine::rss(&fft::ifft2c(&low));
        let peak = image.fold(0.0f32, |peak, value| peak.max(*value));
        (peak > 0.0).then(|| Self { calibration: image / peak })
    }

    /// RMS of `image` in the background over that in the object; `None` where the object fills the image.
    fn ratio(&self, image: &Array2<f32>) -> Option<f64> {
        let rms = |inside: &dyn Fn(f32) -> bool| {
            let pixels = image.iter().zip(&self.calibration).filter(|(_, at)| inside(**at));
            let (sum, count) = pixels.fold((0.0, 0usize), |(sum, count), (value, _)| {
                (sum + f64::from(*value) * f64::from(*value), count + 1)
            });
            (count > 0).then(|| (sum / count as f64).sqrt())
        };
        let (object, background) = (rms(&|at| at > OBJECT)?, rms(&|at| at < BACKGROUND)?);
        (object > 0.0).then(|| background / object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_ratio_sees_what_is_added_outside_the_object() {
        let disc = Array2::from_shape_fn((64, 48), |(y, x)| {
            let (y, x) = ((y as f32 - 32.0) / 14.0, (x as f32 - 24.0) / 12.0);
            if y * y + x * x < 1.0 { 2.0f32 } else { 0.0 }
        });
        let coil = disc.mapv(|value| Complex32::new(value, 0.0)).insert_axis(ndarray::Axis(0));
        let kspace = fft::fft2c(&coil);
        let sampling = Sampling { acceleration: 3, offset: 2, acs_first: 20, acs_lines: 24, first: 2, last: 62 };
        let regions = Regions::of(&kspace, &sampling, None).unwrap();
        assert!(regions.ratio(&disc).unwrap() < 1e-3);
        // The object is found with a blurred rim, so its RMS is somewhat below 2; the background is exact.
        let with = |floor: f32| regions.ratio(&disc.mapv(|value| value.max(floor))).unwrap();
        assert!((0.05..0.0625).contains(&with(0.1)), "{}", with(0.1));
        assert!((with(0.02) / with(0.01) - 2.0).abs() < 0.01);
        assert!(Regions::of(&kspace, &Sampling { acs_lines: 0, ..sampling }, None).is_none());

        let separate = kspace.slice(s![.., 20..44, 8..40]).to_owned();
        let regions = Regions::of(&kspace, &Sampling { acs_lines: 0, ..sampling }, Some(&separate)).unwrap();
        assert!(regions.ratio(&disc).unwrap() < 1e-3);
    }

    #[test]
    fn means_are_over_the_slices_that_have_a_number_and_times_add_up() {
        let reference = Array2::from_shape_fn((16, 16), |(y, x)| (y + x) as f32);
        let numbers = Numbers { acquired_energy: 3.0, filled_energy: 1.0, ..Numbers::default() };
        let trained = Numbers { loss: Some(4.0), round_trip: Some([0.4, 0.2, 0.1]), diverged: true, ..numbers.clone() };
        let mut sums = Sums::default();
        for numbers in [numbers, trained] {
            let image = reference.mapv(|value| kspace::Complex32::new(value + 0.5, 0.0));
            sums.add(&Reconstructed { image, gain: None, compared: None, numbers }, Some(&reference), None);
        }
        sums.timed(|| std::hint::black_box((0..2_000_000u64).fold(0, |sum, value| sum ^ value)));
        let figures = sums.figures();
        assert_eq!(figures.loss, Some(4.0));
        assert_eq!(figures.round_trip, Some(RoundTrip { nwg: 0.4, networks: 0.2, mix: 0.1 }));
        assert_eq!((figures.diverged, figures.unrefined, figures.noise_level), (1, 0, None));
        assert!((figures.filled_energy - 0.25).abs() < 1e-12);
        let psnr = figures.scores.unwrap().psnr;
        assert!((psnr - metrics::psnr(&reference.mapv(|value| value + 0.5), &reference)).abs() < 1e-9);
        assert!(figures.wall_seconds > 0.0 && figures.cpu_seconds > 0.0);
    }
}
