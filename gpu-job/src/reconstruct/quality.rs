//! Numbers of one image that need no reference, and the limits that mark a scan "check this".

use std::collections::BTreeMap;

use contract::PreparedMeta;
use contract::manifest::Check;
use contract::prepared::Entry;
use kspace::Complex32;
use kspace::numerics::quality::{self, Fold, percentile};
use ndarray::{Array2, Zip};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::finish::{Finish, Image};
use crate::engine::Numbers;

/// Numbers of one image. All are absent where there is no object in the slice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageQuality {
    /// Deviation of the noise of the real part that the linear kernels leave in the image, median over the object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise_before: Option<f64>,
    /// Median over the object of the magnitude over that noise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snr: Option<f64>,
    /// Deviation of the real part around the object, which is what is left of the noise there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise_after: Option<f64>,
    /// Median magnitude of the object over that deviation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snr_after: Option<f64>,
    /// Median over the object of the factor by which undersampling costs more signal-to-noise ratio than fewer lines must.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub g_factor: Option<f64>,
    /// Its 95th percentile over the object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub g_factor_95: Option<f64>,
    /// Signal where copies of the object would fall, over that of the object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ghosting: Option<f64>,
    /// Relative difference, in the 2-norm over the object, from the image of plain GRAPPA after the best scale.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grappa_difference: Option<f64>,
    /// Whether anything rises from the noise; without it the other numbers are unknown.
    #[serde(default)]
    pub object: bool,
}

impl ImageQuality {
    /// Every number and its name.
    pub(super) const fn named(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("noise_before", self.noise_before),
            ("snr", self.snr),
            ("noise_after", self.noise_after),
            ("snr_after", self.snr_after),
            ("g_factor", self.g_factor),
            ("g_factor_95", self.g_factor_95),
            ("ghosting", self.ghosting),
            ("grappa_difference", self.grappa_difference),
        ]
    }

    /// `noise` is the deviation of the real part before any refinement, where it is known; `g` the g-factor of the linear kernels.
    pub(super) fn new(
        image: &Image,
        noise: Option<&Array2<f32>>,
        g: Option<&Array2<f32>>,
        fold: (usize, Fold),
    ) -> Self {
        let magnitude = image.image.mapv(Complex32::norm);
        let object = quality::object(&magnitude);
        let of_object = |values: &Array2<f32>, share: f64| {
            let within = values.iter().zip(&object).filter(|(value, inside)| **inside && value.is_finite());
            let mut within: Vec<f32> = within.map(|(value, _)| *value).collect();
            percentile(&mut within, share).map(f64::from)
        };
        let signal = of_object(&magnitude, 0.5);
        let noise_after = quality::background_noise(&magnitude, &object);
        let ratio = noise.map(|noise| {
            let mut ratio = magnitude.clone();
            Zip::from(&mut ratio).and(noise).for_each(|value, noise| *value /= noise.max(f32::MIN_POSITIVE));
            ratio
        });
        let grappa = image.compared.as_ref().and_then(|compared| compared.grappa.as_ref());
        Self {
            object: object.iter().any(|inside| *inside),
            noise_before: noise.and_then(|noise| of_object(noise, 0.5)),
            snr: ratio.and_then(|ratio| of_object(&ratio, 0.5)),
            noise_after,
            snr_after: signal.zip(noise_after).and_then(|(signal, noise)| (noise > 0.0).then(|| signal / noise)),
            g_factor: g.and_then(|g| of_object(g, 0.5)),
            g_factor_95: g.and_then(|g| of_object(g, 0.95)),
            ghosting: noise_after.and_then(|noise| quality::ghosting(&magnitude, &object, fold, noise)),
            grappa_difference: grappa.and_then(|grappa| quality::difference(&magnitude, grappa, &object)),
        }
    }
}

/// A number of the summary and the value beyond which a person should look.
struct Limit {
    name: &'static str,
    /// The largest value, or the smallest.
    limit: f64,
    smallest: bool,
    kept: &'static str,
    broken: &'static str,
}

const LIMITS: [Limit; 8] = [
    Limit {
        name: "calibration_residual",
        limit: 0.9,
        smallest: false,
        kept: "the acquired grid predicts the calibration lines",
        broken: "the acquired grid does not predict the calibration lines: motion between them, or too few of them",
    },
    Limit {
        name: "g_factor_95",
        limit: 3.0,
        smallest: false,
        kept: "the coils tell the folded places apart",
        broken: "the coils hardly tell the folded places apart somewhere in the object: expect noise or smoothing there, see gfactor.nii.gz",
    },
    Limit {
        name: "ghosting",
        limit: 0.1,
        smallest: false,
        kept: "no copies of the object show around it",
        broken: "copies of the object show around it: look for aliasing, motion or pulsation",
    },
    Limit {
        name: "worst_ghosting",
        limit: 0.3,
        smallest: false,
        kept: "no single slice shows strong copies of the object",
        broken: "one slice or a few show strong copies of the object: the chart of ghosting says which",
    },
    Limit {
        name: "snr",
        limit: 3.0,
        smallest: true,
        kept: "the signal is well above the noise that is left without refinement",
        broken: "the signal is hardly above the noise that is left without refinement: fine detail may be made of noise, or smoothed with it",
    },
    Limit {
        name: "without_object",
        limit: 0.5,
        smallest: false,
        kept: "most slices show an object that rises from the noise",
        broken: "no object rises from the noise in more than half of the slices, and nothing else could be checked there: a very low signal, or a failed scan",
    },
    Limit {
        name: "grappa_difference",
        limit: 0.35,
        smallest: false,
        kept: "plain GRAPPA gives much the same image",
        broken: "plain GRAPPA gives another image: compare both in the report",
    },
    Limit {
        name: "replaced_entries",
        limit: 0.0,
        smallest: false,
        kept: "every entry was reconstructed as asked",
        broken: "some entries were reconstructed in another way than asked: the warnings say which",
    },
];

/// Numbers of every image, in the order of the entries.
pub(super) fn all(meta: &PreparedMeta, finish: &Finish, images: &[Image], numbers: &[Numbers]) -> Vec<ImageQuality> {
    let one = |((entry, image), numbers): ((&Entry, &Image), &Numbers)| {
        let (noise, g) = (finish.noise(image, numbers), Finish::g_factor(image, numbers));
        ImageQuality::new(image, noise.as_ref(), g.as_ref(), (entry.sampling.acceleration, finish.fold))
    };
    meta.entries.par_iter().zip(images).zip(numbers).map(one).collect()
}

/// Every limit whose number is known.
pub(super) fn checks(summary: &BTreeMap<String, f64>) -> Vec<Check> {
    let check = |limit: &Limit| {
        let value = *summary.get(limit.name)?;
        let passed = if limit.smallest { value >= limit.limit } else { value <= limit.limit };
        let sentence = if passed { limit.kept } else { limit.broken }.to_owned();
        Some(Check { name: limit.name.to_owned(), value, limit: limit.limit, passed, sentence })
    };
    LIMITS.iter().filter_map(check).collect()
}

/// Entries whose networks did not converge, that could not be refined, or whose noise scan was not believed.
pub(super) fn replaced(numbers: &[Numbers]) -> usize {
    numbers.iter().filter(|it| it.diverged || it.unrefined || it.uncalibrated || it.noise_doubted).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(size: usize, value: f32) -> Array2<f32> {
        let middle = size as f32 / 2.0;
        let inside = |(y, x): (usize, usize)| (y as f32 - middle).hypot(x as f32 - middle) < size as f32 / 4.0;
        Array2::from_shape_fn((size, size), |at| if inside(at) { value } else { 0.0 })
    }

    #[test]
    fn noise_and_g_factor_are_those_of_the_object() {
        let magnitude = disc(64, 8.0);
        let image = Image { image: magnitude.mapv(|value| Complex32::new(0.0, value)), gain: None, compared: None };
        // Outside the object both are far larger.
        let noise = magnitude.mapv(|value| if value > 0.0 { 2.0 } else { 50.0 });
        let g = magnitude.mapv(|value| if value > 0.0 { 1.25 } else { 9.0 });
        let fold = (2, Fold { rows: 64.0, first: 0.0 });
        let found = ImageQuality::new(&image, Some(&noise), Some(&g), fold);
        assert_eq!((found.noise_before, found.snr), (Some(2.0), Some(4.0)));
        assert_eq!((found.g_factor, found.g_factor_95, found.grappa_difference), (Some(1.25), Some(1.25), None));
        let blind = ImageQuality::new(&image, None, None, fold);
        assert_eq!((blind.noise_before, blind.snr, blind.g_factor), (None, None, None));
    }

    #[test]
    fn a_limit_is_held_from_its_side_and_unknown_numbers_raise_no_doubt() {
        let summary =
            |values: &[(&str, f64)]| values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        assert!(checks(&summary(&[("networks", 9.0)])).is_empty());
        let found = checks(&summary(&[("snr", 2.9), ("ghosting", 0.1), ("replaced_entries", 1.0)]));
        let doubts: Vec<(&str, bool)> = found.iter().map(|check| (check.name.as_str(), check.passed)).collect();
        assert_eq!(doubts, [("ghosting", true), ("snr", false), ("replaced_entries", false)]);
        assert!(found[1].sentence.contains("hardly above the noise"));
    }
}
