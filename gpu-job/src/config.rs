//! What the environment and the build say.
#![expect(clippy::disallowed_methods, reason = "the configuration module of this crate")]

use std::path::PathBuf;

use contract::manifest::Tool;

use crate::error::JobError;

/// Settings of the container. All are optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `RAKI_IMAGE_DIGEST`: digest of the container image.
    pub image_digest: Option<String>,
    /// `RAKI_PREPARED_MOUNT`: folder at which the prepared bucket is mounted.
    pub prepared_mount: Option<PathBuf>,
    /// `AWS_BATCH_JOB_ATTEMPT`: which try this is, from 1.
    pub attempt: u32,
    /// `AWS_BATCH_JOB_ID`: whether this is a Batch job, which may run on a Spot instance.
    pub on_batch: bool,
}

impl Config {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// [`JobError::Usage`] naming variable, value and accepted form.
    pub fn from_env() -> Result<Self, JobError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, JobError> {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let attempt = match text("AWS_BATCH_JOB_ATTEMPT") {
            None => 1,
            Some(value) => value.parse().map_err(|_| {
                JobError::Usage(format!("AWS_BATCH_JOB_ATTEMPT is {value:?}, expected a number from 1"))
            })?,
        };
        let prepared_mount = text("RAKI_PREPARED_MOUNT").map(PathBuf::from);
        Ok(Self {
            image_digest: text("RAKI_IMAGE_DIGEST"),
            prepared_mount,
            attempt,
            on_batch: text("AWS_BATCH_JOB_ID").is_some(),
        })
    }
}

/// This software, for the manifest.
#[must_use]
pub fn tool(image_digest: Option<String>) -> Tool {
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_revision: option_env!("RAKI_GIT_REVISION").map(str::to_owned),
        image_digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_required_and_empty_is_nothing() {
        let config = Config::from_lookup(|_| Some(String::new())).unwrap();
        assert_eq!(config, Config::from_lookup(|_| None).unwrap());
        assert_eq!(config, Config { image_digest: None, prepared_mount: None, attempt: 1, on_batch: false });
    }

    #[test]
    fn a_bad_attempt_is_named() {
        let lookup = |name: &str| (name == "AWS_BATCH_JOB_ATTEMPT").then(|| "two".to_owned());
        let error = Config::from_lookup(lookup).unwrap_err();
        assert_eq!(error.to_string(), "AWS_BATCH_JOB_ATTEMPT is \"two\", expected a number from 1");
    }
}
