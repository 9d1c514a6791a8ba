//! What is done with each entry, and what was decided.

use std::collections::BTreeSet;

use contract::images::Combine;
use contract::manifest::Decision;
use contract::prepared::{Sampling, Step};
use contract::{Method, PreparedMeta, Refine};
use kspace::image::Frame;
use kspace::prepared::Reader;

use super::{Request, Values, defaults, volume};
use crate::device::Chosen;
use crate::engine::{Numbers, Recipe};
use crate::error::JobError;

/// The plan of a job.
pub(super) struct Plan {
    pub(super) recipe: Recipe,
    /// Complex noise variance of a sample where the preparation knows it.
    pub(super) noise_variance: Option<f64>,
    /// What images are multiplied by to have the unit of the raw data, where the preparation has normalised these.
    pub(super) factor: Option<f32>,
    /// Whether the outer lines of the image, and not its calibration lines, tell the noise.
    outer: bool,
    /// Entries that are shown beside what plain methods make of them.
    pub(super) compared: BTreeSet<usize>,
    /// Every parameter of the method, for the manifest.
    pub(super) parameters: Values,
    pub(super) decisions: Vec<Decision>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// Looks at the sampling of every entry before any work is done.
    ///
    /// # Errors
    /// [`JobError::BadData`] when an entry cannot be filled with the method, [`JobError::Usage`] for bad parameters.
    pub(super) fn new<R>(reader: &Reader<R>, request: &Request, chosen: Option<&Chosen>) -> Result<Self, JobError> {
        request.images.check().map_err(JobError::Usage)?;
        let recipe = request.recipe.imaging(&request.images);
        recipe.training.check()?;
        for (index, entry) in reader.meta.entries.iter().enumerate() {
            recipe
                .check(&entry.sampling, &reader.shape)
                .map_err(|reason| JobError::BadData(format!("entry {index}: {reason}")))?;
        }
        let mut plan = Self {
            recipe,
            noise_variance: noise_variance(&reader.meta),
            factor: factor(&reader.meta)?,
            outer: reader.shape.acs.is_some() || reader.meta.entries.iter().all(|it| untold(&it.sampling)),
            compared: volume::shown(&reader.meta, &reader.geometry),
            parameters: Values::new(),
            decisions: chosen.map(|chosen| chosen.decision.clone()).into_iter().collect(),
            warnings: Vec::new(),
        };
        plan.describe(&reader.meta);
        if let Some((lines, points)) = reader.shape.acs {
            plan.decide(
                "calibration",
                "separate lines".to_owned(),
                &format!("the scan has {lines} lines of {points} points that are not part of its k-space"),
            );
        }
        if let Some(factor) = plan.factor {
            plan.decide(
                "unit of the images",
                format!("times {factor}"),
                "the preparation divided by this number, and images of scans prepared apart are comparable without it",
            );
        }
        if plan.recipe.trains() && plan.recipe.slab > 1 && several_kinds(&reader.meta) {
            (plan.recipe.slab, plan.recipe.warm) = (1, 0);
            plan.decide(
                "slices that share networks",
                "none".to_owned(),
                "the scan has several contrasts, phases, repetitions or sets",
            );
        }
        Ok(plan)
    }

    fn describe(&mut self, meta: &PreparedMeta) {
        let recipe = self.recipe;
        let entries = meta.entries.len();
        let complete = meta.entries.iter().filter(|entry| entry.sampling.acceleration == 1).count();
        if complete > 0 && recipe.method != Method::ZeroFilled {
            self.decide(
                "filling of missing lines",
                format!("none for {complete} of {entries} entries"),
                "they are fully sampled",
            );
        }
        if complete == entries {
            return;
        }
        self.decisions.extend(defaults::decisions(&recipe, entries > 1 && !several_kinds(meta)));
        if recipe.trains() {
            let training = recipe.training;
            self.set("iterations", training.iterations);
            self.set("learning_rate", training.learning_rate);
            self.set("window", training.window);
            self.set("kernel_1", training.kernel_1);
            self.set("hidden_features", training.hidden.to_vec());
            self.set("ensemble", training.ensemble);
            self.set("slab", recipe.slab);
            self.set("warm", recipe.warm);
        }
        match recipe.method {
            Method::Grappa => {
                let options = recipe.grappa;
                self.set("source_lines", options.source_lines);
                self.set("taps", options.taps);
                self.set("ridge", options.ridge.to_string());
            }
            Method::Auto | Method::Raki | Method::Nwg => self.set("refits", recipe.nwg.refits),
            Method::RakiPaper | Method::ZeroFilled => {}
        }
        if recipe.refine == Refine::Sparse {
            self.set("sparse_iterations", recipe.sparse.iterations);
            self.set("sparse_iterations_most", recipe.sparse.most);
            self.set("sparse_threshold", f64::from(recipe.sparse.threshold));
            self.set("sparse_trust", f64::from(recipe.sparse.trust));
            self.set("maps_window", recipe.maps.window);
        }
    }

    /// What the numbers of the entries say about choices and doubts.
    pub(super) fn conclude(&mut self, numbers: &[Numbers]) {
        let shares: Vec<f64> = numbers.iter().filter_map(|numbers| numbers.networks).collect();
        let trips: Vec<[f64; 3]> = numbers.iter().filter_map(|numbers| numbers.round_trip).collect();
        if !shares.is_empty() && !trips.is_empty() {
            let mean = |at: usize| trips.iter().map(|trip| trip[at]).sum::<f64>() / trips.len() as f64;
            let share = shares.iter().sum::<f64>() / shares.len() as f64;
            self.decide(
                "part of the networks in the fill",
                format!("{share:.2}"),
                &format!(
                    "acquired outer lines are predicted with a relative error of {:.4} from nwg, {:.4} from the networks and {:.4} from this mix",
                    mean(0), mean(1), mean(2)
                ),
            );
        }
        let maps: Vec<(usize, f64)> = numbers.iter().filter_map(|numbers| numbers.maps).collect();
        if !maps.is_empty() {
            let two = maps.iter().filter(|(count, _)| *count == 2).count();
            let wrapped = maps.iter().map(|(_, wrapped)| wrapped).sum::<f64>() / maps.len() as f64;
            self.decide(
                "sensitivity maps",
                format!("two for {two} of {} entries", maps.len()),
                &format!("{:.1} % of the pixels show two places of the object", 100.0 * wrapped),
            );
        }
        let levels: Vec<&Numbers> = numbers.iter().filter(|numbers| numbers.noise_variance.is_some()).collect();
        let doubted = levels.iter().filter(|numbers| numbers.noise_doubted).count();
        match (self.noise_variance, levels.len()) {
            (_, 0) => {}
            (Some(_), all) if doubted < all => {
                self.decide(
                    "noise level",
                    "of the noise scan".to_owned(),
                    "its dwell time and that of the image are known",
                );
            }
            _ => self.decide("noise level", format!("of {}", self.witness()), "no noise scan fits the data"),
        }
        if doubted > 0 {
            self.warnings.push(format!(
                "the noise scan and {witness} differ in their noise level by more than a factor of 2 in {doubted} of {} entries, \
                 where {witness} are believed: check the dwell times of the noise scan",
                numbers.len(),
                witness = self.witness()
            ));
        }
        let count = |of: fn(&Numbers) -> bool| numbers.iter().filter(|numbers| of(numbers)).count();
        let (diverged, unrefined) = (count(|numbers| numbers.diverged), count(|numbers| numbers.unrefined));
        let partial: Vec<f64> = numbers.iter().filter_map(|numbers| numbers.partial).collect();
        if let Some(least) = partial.iter().copied().reduce(f64::min) {
            self.decide(
                "partial Fourier",
                self.recipe.partial_fourier.to_string(),
                &format!(
                    "{:.0} % of the lines around the centre of k-space were measured in {} of {} entries, the others never",
                    100.0 * least, partial.len(), numbers.len()
                ),
            );
        }
        let left_zero = count(|numbers| numbers.left_zero);
        if left_zero > 0 {
            self.warnings.push(format!(
                "too few lines lie on both sides of the centre of k-space in {left_zero} of {} entries: those that were never measured are left zero",
                numbers.len()
            ));
        }
        let ways = Combine::ALL.map(|how| (how, numbers.iter().filter(|numbers| numbers.combined == how).count()));
        let ways: Vec<String> = ways
            .into_iter()
            .filter(|(_, entries)| *entries > 0)
            .map(|(how, entries)| format!("{how} for {entries} of {} entries", numbers.len()))
            .collect();
        self.decide(
            "sensitivities that combined the coils",
            ways.join(", "),
            "those of a refinement, of ESPIRiT, are taken where there was one, others as asked",
        );
        let uncalibrated = count(|numbers| numbers.uncalibrated);
        if uncalibrated > 0 {
            self.warnings.push(format!(
                "the calibration lines of {uncalibrated} of {} entries tell no coil sensitivities: the images themselves do, as with the \
                 combination adaptive",
                numbers.len()
            ));
        }
        if diverged > 0 {
            self.warnings.push(format!(
                "the networks of {diverged} of {} entries did not converge, or had too few iterations to be of use: nwg filled these",
                numbers.len()
            ));
        }
        if unrefined > 0 {
            self.warnings.push(format!(
                "no coil sensitivities were found for {unrefined} of {} entries (noise only, or fewer than 6 calibration lines): these are not refined",
                numbers.len()
            ));
        }
    }

    /// What tells the noise level besides a noise scan.
    const fn witness(&self) -> &'static str {
        if self.outer { "the outer lines of the image" } else { "the calibration lines" }
    }

    fn decide(&mut self, what: &str, choice: String, reason: &str) {
        self.decisions.push(Decision { what: what.to_owned(), choice, reason: reason.to_owned() });
    }

    fn set(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.parameters.insert(name.to_owned(), value.into());
    }
}

/// Whether there are no calibration lines apart from the rest of k-space.
const fn untold(sampling: &Sampling) -> bool {
    sampling.acceleration < 2 || sampling.acs_lines == 0
}

/// Complex noise variance of a sample of a prepared file, where the preparation knows it. Prewhitening gives the real and the
/// imaginary part of noise a variance of 1 each, when both dwell times are known; compressing coils by a unitary matrix keeps it.
/// Averaging divides it by the copies of a line, normalisation by its factor squared. Where lines have different numbers of
/// copies, or of partitions, there is no one variance, and the data tell it.
#[must_use]
pub fn noise_variance(meta: &PreparedMeta) -> Option<f64> {
    let positive = |step: &Step, name: &str| step.number(name).filter(|value| *value > 0.0 && value.is_finite());
    let whitened = meta.step(Step::PREWHITEN)?;
    positive(whitened, "dwell_noise_us")?;
    positive(whitened, "dwell_us")?;
    let partitions = |step: &Step| step.number("fewest_partitions_of_a_line") == step.number("partitions");
    if !meta.step(Step::PARTITIONS).is_none_or(partitions) {
        return None;
    }
    let copies = meta.step(Step::AVERAGE).map_or(Some(1.0), |step| positive(step, "copies"))?;
    let factor = meta.step(Step::NORMALISE).map_or(Some(1.0), |step| positive(step, "factor"))?;
    Some(2.0 / copies / (factor * factor)).filter(|variance| *variance > 0.0 && variance.is_finite())
}

/// The factor that the preparation divided by, if it did.
fn factor(meta: &PreparedMeta) -> Result<Option<f32>, JobError> {
    let Some(step) = meta.step(Step::NORMALISE) else { return Ok(None) };
    let factor = step.number("factor").map(|factor| factor as f32).filter(|factor| factor.is_normal() && *factor > 0.0);
    factor.map(Some).ok_or_else(|| {
        let found = step.parameters.get("factor").map_or_else(|| "none".to_owned(), ToString::to_string);
        let expected = "expected a positive number: prepare the raw file again";
        JobError::BadData(format!("the prepared file is normalised by the factor {found}, {expected}"))
    })
}

/// Whether entries differ by more than their slice: neighbours in the file are not neighbours in space then.
pub(crate) fn several_kinds(meta: &PreparedMeta) -> bool {
    meta.entries.windows(2).any(|pair| Frame::from(&pair[0]) != Frame::from(&pair[1]))
}

#[cfg(test)]
mod tests {
    use contract::prepared::Header;
    use serde_json::{Value, json};

    use super::*;

    fn meta(steps: &[(&str, Value)]) -> PreparedMeta {
        let step = |(name, parameters): &(&str, Value)| Step {
            name: (*name).to_owned(),
            parameters: parameters.as_object().unwrap().clone().into_iter().collect(),
        };
        PreparedMeta {
            schema: PreparedMeta::SCHEMA,
            scan: None,
            header: Header::default(),
            entries: Vec::new(),
            steps: steps.iter().map(step).collect(),
            warnings: Vec::new(),
            source_sha256: String::new(),
            tool_version: String::new(),
        }
    }

    #[test]
    fn the_noise_level_follows_the_steps_of_the_preparation() {
        let white = || ("prewhiten", json!({"dwell_noise_us": 10.0, "dwell_us": 5.0}));
        let found = |steps: &[(&str, Value)]| noise_variance(&meta(steps));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("prewhiten", json!({"dwell_noise_us": 10.0, "dwell_us": 0.0}))]), None, "no scale");
        assert_eq!(found(&[white()]), Some(2.0));
        assert_eq!(found(&[white(), ("compress_coils", json!({"coils": 8}))]), Some(2.0));
        assert_eq!(found(&[white(), ("average", json!({"copies": 4}))]), Some(0.5));
        assert_eq!(found(&[white(), ("average", json!({"most_copies_of_a_line": 4}))]), None, "lines differ");
        assert_eq!(found(&[white(), ("normalise", json!({"factor": 0.5}))]), Some(8.0));
        let slab = |fewest: usize| json!({"partitions": 8, "fewest_partitions_of_a_line": fewest});
        assert_eq!(found(&[white(), ("transform_partitions", slab(8))]), Some(2.0));
        assert_eq!(found(&[white(), ("transform_partitions", slab(6))]), None, "partitions are missing");
        let all = [white(), ("average", json!({"copies": 2})), ("normalise", json!({"factor": 10.0}))];
        assert_eq!(found(&all), Some(0.01));
        for factor in [json!(0.0), json!(-1.0), json!("a"), json!(1e-300)] {
            assert_eq!(found(&[white(), ("normalise", json!({"factor": factor}))]), None);
        }
    }

    #[test]
    fn a_factor_that_cannot_be_is_refused() {
        assert_eq!(factor(&meta(&[])).unwrap(), None);
        assert_eq!(factor(&meta(&[("normalise", json!({"factor": 0.25}))])).unwrap(), Some(0.25));
        for parameters in
            [json!({}), json!({"factor": 0}), json!({"factor": -2}), json!({"factor": 1e300}), json!({"factor": "x"})]
        {
            let refused = factor(&meta(&[("normalise", parameters)])).unwrap_err().to_string();
            assert!(refused.contains("prepare the raw file again"), "{refused}");
        }
    }
}
