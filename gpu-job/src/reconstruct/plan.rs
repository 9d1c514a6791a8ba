//! What is done with each entry, and what was decided.

use contract::manifest::Decision;
use contract::{Method, PreparedMeta, Refine};
use kspace::numerics::grappa;
use kspace::prepared::Reader;

use super::{Request, Values};
use crate::device::Chosen;
use crate::engine::{Numbers, Recipe};
use crate::error::JobError;

/// The plan of a job.
pub(super) struct Plan {
    pub(super) recipe: Recipe,
    /// Complex noise variance of a sample where the preparation knows it.
    pub(super) noise_variance: Option<f64>,
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
        let recipe = request.recipe;
        recipe.training.check()?;
        let (coils, points) = (reader.shape.coils, reader.shape.kx);
        for (index, entry) in reader.meta.entries.iter().enumerate() {
            recipe
                .check(&entry.sampling, coils, points)
                .map_err(|reason| JobError::BadData(format!("entry {index}: {reason}")))?;
        }
        let mut plan = Self {
            recipe,
            noise_variance: noise_variance(&reader.meta),
            parameters: Values::new(),
            decisions: chosen.map(|chosen| chosen.decision.clone()).into_iter().collect(),
            warnings: Vec::new(),
        };
        plan.describe(&reader.meta);
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
                match options.ridge {
                    grappa::Ridge::Relative(factor) => self.set("ridge", factor),
                    grappa::Ridge::Noise => self.set("ridge", "noise"),
                }
            }
            Method::Auto | Method::Raki | Method::Nwg => self.set("refits", recipe.nwg.refits),
            Method::RakiPaper | Method::ZeroFilled => {}
        }
        if recipe.refine == Refine::Sparse {
            self.set("sparse_iterations", recipe.sparse.iterations);
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
            _ => self.decide("noise level", "of the calibration lines".to_owned(), "no noise scan fits the data"),
        }
        if doubted > 0 {
            self.warnings.push(format!(
                "the noise scan and the calibration lines differ in their noise level by more than a factor of 2 in {doubted} of {} \
                 entries, where the calibration lines are believed: check the dwell times of the noise scan",
                numbers.len()
            ));
        }
        let count = |of: fn(&Numbers) -> bool| numbers.iter().filter(|numbers| of(numbers)).count();
        let (diverged, unrefined) = (count(|numbers| numbers.diverged), count(|numbers| numbers.unrefined));
        if diverged > 0 {
            self.warnings.push(format!(
                "the networks of {diverged} of {} entries did not converge: nwg filled these",
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

    fn decide(&mut self, what: &str, choice: String, reason: &str) {
        self.decisions.push(Decision { what: what.to_owned(), choice, reason: reason.to_owned() });
    }

    fn set(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.parameters.insert(name.to_owned(), value.into());
    }
}

/// Complex noise variance of a sample of a prepared file, where the preparation knows it. Prewhitening gives the real and the
/// imaginary part of noise a variance of 1 each, when both dwell times are known. Averaging
/// lowers it by a number that no record tells; such data are left to the calibration lines.
#[must_use]
pub fn noise_variance(meta: &PreparedMeta) -> Option<f64> {
    let step = meta.steps.iter().find(|step| step.name == "prewhiten")?;
    let known =
        |name: &str| step.parameters.get(name).and_then(serde_json::Value::as_f64).is_some_and(|value| value > 0.0);
    let averaged = meta.steps.iter().any(|step| step.name == "average");
    (known("dwell_noise_us") && known("dwell_us") && !averaged).then_some(2.0)
}

/// Whether entries differ by more than their slice: neighbours in the file are not neighbours in space then.
pub(crate) fn several_kinds(meta: &PreparedMeta) -> bool {
    let kind = |entry: &contract::prepared::Entry| (entry.contrast, entry.phase, entry.repetition, entry.set);
    meta.entries.windows(2).any(|pair| kind(&pair[0]) != kind(&pair[1]))
}
