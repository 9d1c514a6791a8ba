//! Numbers that need no reference image. They describe how the filling went; they do not measure image quality.

use std::collections::BTreeMap;

use contract::prepared::Entry;
use contract::{Method, PreparedMeta, Record, ScanId};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::Request;
use super::quality::{ImageQuality, replaced};
use crate::engine::{Numbers, ratio};

/// `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// How missing lines were filled.
    pub method: Method,
    /// Over all entries, by name: `calibration_residual` and `filled_energy` as in [`EntryMetrics`], of the sums of all
    /// entries; `noise_level`, `networks`, `round_trip`, `refinement_steps` and the numbers of [`ImageQuality`], means over the entries that have them;
    /// `acquired_fraction`, the acquired part of the lines between the first and the last acquired one; `replaced_entries`, how many were
    /// reconstructed in another way than asked.
    pub summary: BTreeMap<String, f64>,
    /// One for each entry of the prepared file, in its order.
    pub entries: Vec<EntryMetrics>,
}

impl Record for Metrics {
    const NAME: &'static str = "metrics";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// Numbers of one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryMetrics {
    /// Which slice, contrast, phase, repetition and set it is, and how it was sampled.
    #[serde(flatten)]
    pub entry: Entry,
    /// Acquired lines.
    pub acquired_lines: usize,
    /// Missing lines between the first and the last acquired one.
    pub missing_lines: usize,
    /// Relative error, in the 2-norm, of the lines that the method predicts where calibration lines off the grid were
    /// acquired. The method was fitted to these lines, which are the strongest of k-space: it tells a fit that failed
    /// from one that did not, and says nothing about noise in the image. Absent without filling.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calibration_residual: Option<f64>,
    /// Sum over the networks of the Frobenius norm of the residual at the last training step; k-space is scaled to a
    /// maximum of 0.015. Absent without training.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<f64>,
    /// Deviation of the noise of a k-space sample (complex), in the unit of the prepared file: of the noise scan, or found in
    /// the calibration lines. Absent where no method asked for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise_level: Option<f64>,
    /// Part of the networks in the fill of the method `auto`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub networks: Option<f64>,
    /// Relative error, in the 2-norm, of the acquired lines outside the calibration block as the filled lines next to them
    /// predict them. Of the method `auto`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub round_trip: Option<f64>,
    /// Sensitivity maps of the refinement: 2 where the field of view is wrapped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub maps: Option<usize>,
    /// Steps of the refinement: those that every image has, and more where there is little noise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refinement_steps: Option<usize>,
    /// Whether the networks did not converge and `nwg` filled instead.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub diverged: bool,
    /// Energy of the filled lines over that of all lines.
    pub filled_energy: f64,
    /// Part of k-space between the first and the last acquired line, where the rest was never measured and is estimated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partial_fourier: Option<f64>,
    /// Training steps done and the loss there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub curve: Vec<(u32, f64)>,
    /// What the image shows.
    #[serde(flatten)]
    pub image: ImageQuality,
}

impl Metrics {
    pub(super) fn new(
        scan: &ScanId,
        request: &Request,
        meta: &PreparedMeta,
        mask: &Array2<u8>,
        computed: &[Numbers],
        images: &[ImageQuality],
    ) -> Self {
        let entries: Vec<EntryMetrics> = meta
            .entries
            .iter()
            .zip(mask.outer_iter())
            .zip(computed.iter().zip(images))
            .map(|((entry, mask), (computed, image))| {
                let acquired_lines = mask.iter().filter(|acquired| **acquired == 1).count();
                EntryMetrics {
                    entry: entry.clone(),
                    acquired_lines,
                    missing_lines: (entry.sampling.last + 1 - entry.sampling.first).saturating_sub(acquired_lines),
                    calibration_residual: computed.calibration_residual(),
                    loss: computed.loss,
                    noise_level: computed.noise_variance.map(f64::sqrt),
                    networks: computed.networks,
                    round_trip: computed.round_trip.map(|[_, _, mix]| mix),
                    maps: computed.maps.map(|(count, _)| count),
                    refinement_steps: computed.refinement_steps,
                    diverged: computed.diverged,
                    filled_energy: computed.filled_share(),
                    partial_fourier: computed.partial,
                    curve: computed.curve.clone(),
                    image: *image,
                }
            })
            .collect();
        let mut summary = BTreeMap::new();
        let calibrations: Vec<(f64, f64)> = computed.iter().filter_map(|entry| entry.calibration).collect();
        if !calibrations.is_empty() {
            let (error, power) = calibrations.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            summary.insert("calibration_residual".to_owned(), ratio(error, power).sqrt());
        }
        // Sums and counts over the entries that have a number.
        let mut sums = BTreeMap::<&str, (f64, usize)>::new();
        for entry in &entries {
            let own = [
                ("noise_level", entry.noise_level),
                ("networks", entry.networks),
                ("round_trip", entry.round_trip),
                ("refinement_steps", entry.refinement_steps.map(|steps| steps as f64)),
            ];
            for (name, value) in own.into_iter().chain(entry.image.named()) {
                let Some(value) = value else { continue };
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
        summary.extend(sums.into_iter().map(|(name, (sum, count))| (name.to_owned(), sum / count as f64)));
        summary.insert("replaced_entries".to_owned(), replaced(computed) as f64);
        let worst = images.iter().filter_map(|image| image.ghosting).reduce(f64::max);
        summary.extend(worst.map(|worst| ("worst_ghosting".to_owned(), worst)));
        let blind = images.iter().filter(|image| !image.object).count();
        summary.insert("without_object".to_owned(), ratio(blind as f64, images.len() as f64));
        let (filled, acquired) =
            computed.iter().fold((0.0, 0.0), |sum, entry| (sum.0 + entry.filled_energy, sum.1 + entry.acquired_energy));
        summary.insert("filled_energy".to_owned(), ratio(filled, filled + acquired));
        let lines = entries.iter().fold((0, 0), |sum, e| (sum.0 + e.acquired_lines, sum.1 + e.missing_lines));
        summary.insert("acquired_fraction".to_owned(), ratio(lines.0 as f64, (lines.0 + lines.1) as f64));
        Self { schema: Self::SCHEMA, scan: scan.clone(), method: request.recipe.method, summary, entries }
    }

    /// Losses of the entries that were trained, in their order.
    pub(super) fn losses(&self) -> Vec<f64> {
        self.entries.iter().filter_map(|entry| entry.loss).collect()
    }
}
