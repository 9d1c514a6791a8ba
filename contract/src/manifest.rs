//! The provenance of an image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ImageOptions, Method, Record, Refine, ScanId};

/// Written last beside the results, with a condition, so that it exists once and only for complete results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// When the results were complete, RFC 3339, UTC.
    pub created: String,
    /// The raw object the images come from.
    pub source: Source,
    /// The software that made them.
    pub tool: Tool,
    /// How missing lines were filled.
    pub method: Method,
    /// What followed.
    #[serde(default)]
    pub refine: Refine,
    /// How the images were made of it.
    #[serde(default)]
    pub images: ImageOptions,
    /// Every parameter of the method, by name.
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// Seed of everything random.
    pub seed: u64,
    /// What was computed on, such as `cpu` or `cuda:0`.
    pub device: String,
    /// What was chosen along the way and why.
    pub decisions: Vec<Decision>,
    /// What a person should know before trusting the images.
    pub warnings: Vec<String>,
    /// Final training loss of every slice, in the order of the prepared file; empty for methods without training.
    pub losses: Vec<f64>,
    /// Seconds spent in each stage.
    pub timings: Vec<Timing>,
    /// Quality numbers by name; `docs/quality.md` defines them.
    pub quality: BTreeMap<String, f64>,
    /// Quality numbers held to their limits; one that does not keep its limit marks the scan "check this".
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The files of the result, all complete when this record exists.
    pub outputs: Vec<Output>,
}

/// What a result was asked for: scan, method, refinement, seed and how images are made.
pub type Asked<'a> = (&'a ScanId, Method, Refine, u64, ImageOptions);

impl Manifest {
    /// What was asked for; the same for two results of one request.
    #[must_use]
    pub const fn asked(&self) -> Asked<'_> {
        (&self.scan, self.method, self.refine, self.seed, self.images)
    }

    /// The limits that are broken.
    pub fn doubts(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

impl Record for Manifest {
    const NAME: &'static str = "manifest";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

/// The raw object, told apart without its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Source {
    /// SHA-256 of bucket and key.
    pub key_sha256: String,
    /// Version id, where the bucket keeps versions.
    pub version: Option<String>,
    /// ETag without quotes.
    pub etag: Option<String>,
    /// SHA-256 of the raw data file, after unpacking.
    pub sha256: String,
}

/// The software that made a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Release of raki-cloud.
    pub version: String,
    /// Git revision it was built from, where known.
    pub git_revision: Option<String>,
    /// Digest of the container image, where it ran in one.
    pub image_digest: Option<String>,
}

/// A choice made by the software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What had to be decided.
    pub what: String,
    /// What was chosen.
    pub choice: String,
    /// Why.
    pub reason: String,
}

/// A quality number and its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the number, as in `quality`.
    pub name: String,
    /// What was found.
    pub value: f64,
    /// The largest or smallest value without a doubt.
    pub limit: f64,
    /// Whether the limit is kept.
    pub passed: bool,
    /// One sentence for a physicist: what it means, and where the limit is broken what to look at.
    pub sentence: String,
}

/// Time spent in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Name of the stage.
    pub stage: String,
    /// Wall seconds.
    pub seconds: f64,
    /// CPU seconds of all threads meanwhile; absent where they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
}

/// One file of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Path below the results prefix.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}
