//! Hyper-parameters of a training job.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use contract::{DevicePreference, Method, Refine};

use crate::engine::Recipe;
use crate::error::JobError;

/// What `input/config/hyperparameters.json` may hold besides `sagemaker_...`, which the service adds.
const NAMES: &str = "method, iterations, learning_rate, window, kernel_1, hidden_1, hidden_2, ensemble, seed, acceleration, acs, device";

/// Settings of a training job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Method `raki` or `raki-paper`, and the training.
    pub(super) recipe: Recipe,
    /// How fully sampled entries are undersampled: acceleration and calibration lines.
    pub(super) sampling: (usize, usize),
    /// Where to compute.
    pub(super) device: DevicePreference,
}

impl Settings {
    /// Reads the file; without it, everything has its default.
    ///
    /// # Errors
    /// [`JobError::Usage`] naming the setting, its value and what is accepted.
    pub(super) fn read(path: &Path) -> Result<Self, JobError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => b"{}".to_vec(),
            Err(error) => return Err(JobError::io("reading hyperparameters.json")(error)),
        };
        let values: BTreeMap<String, String> = serde_json::from_slice(&text).map_err(|error| {
            JobError::Usage(format!("hyperparameters.json cannot be read ({error}): expected an object of strings"))
        })?;
        Self::of(&values)
    }

    fn of(values: &BTreeMap<String, String>) -> Result<Self, JobError> {
        // The method first: the other settings are changes to its defaults.
        let method = values.get("method").map_or(Ok(Method::Raki), |value| parse("method", value))?;
        if !matches!(method, Method::Raki | Method::RakiPaper) {
            return Err(JobError::Usage(format!("hyperparameter method is {method}: expected raki or raki-paper")));
        }
        let mut settings = Self {
            recipe: Recipe::new(method, Some(Refine::None), 0),
            sampling: (4, 32),
            device: DevicePreference::default(),
        };
        let training = &mut settings.recipe.training;
        for (name, value) in values {
            match name.as_str() {
                "method" => {}
                "iterations" => training.iterations = parse(name, value)?,
                "learning_rate" => training.learning_rate = parse(name, value)?,
                "window" => training.window = parse(name, value)?,
                "kernel_1" => training.kernel_1 = parse(name, value)?,
                "hidden_1" => training.hidden[0] = parse(name, value)?,
                "hidden_2" => training.hidden[1] = parse(name, value)?,
                "ensemble" => training.ensemble = parse(name, value)?,
                "seed" => training.seed = parse(name, value)?,
                "acceleration" => settings.sampling.0 = parse(name, value)?,
                "acs" => settings.sampling.1 = parse(name, value)?,
                "device" => settings.device = parse(name, value)?,
                service if service.starts_with("sagemaker_") => {}
                _ => return Err(JobError::Usage(format!("unknown hyperparameter {name:?}: expected one of {NAMES}"))),
            }
        }
        settings.recipe.training.check()?;
        Ok(settings)
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, JobError> {
    value.parse().map_err(|error| JobError::Usage(format!("hyperparameter {name} is {value:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(&str, &str)]) -> Result<Settings, String> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::of(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_change_the_defaults_of_their_method() {
        let wide = of(&[("hidden_1", "48"), ("seed", "3"), ("sagemaker_region", "x")]).unwrap();
        let mut expected = Recipe::new(Method::Raki, Some(Refine::None), 0);
        expected.training.hidden[0] = 48;
        expected.training.seed = 3;
        assert_eq!(wide.recipe, expected);
        assert_eq!(
            of(&[("method", "raki-paper")]).unwrap().recipe,
            Recipe::new(Method::RakiPaper, Some(Refine::None), 0)
        );
        assert_eq!(of(&[("acceleration", "3"), ("acs", "24")]).unwrap().sampling, (3, 24));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (name, value, part) in [
            ("method", "nwg", "expected raki or raki-paper"),
            ("hidden_1", "0", "hidden"),
            ("kernel_1", "4", "kernel_1"),
            ("iterations", "many", "iterations"),
            ("width", "3", "unknown hyperparameter"),
        ] {
            let message = of(&[(name, value)]).unwrap_err();
            assert!(message.contains(part), "{name}={value}: {message}");
        }
    }
}
