//! `gpu-job reconstruct`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use contract::{DevicePreference, Method, Refine};

use super::terminal::Reporter;
use super::{ImageArguments, Tuning, output};
use crate::config::Config;
use crate::engine::Recipe;
use crate::error::JobError;
use crate::reconstruct::{Request, reconstruct};

/// Reconstructs a prepared file.
///
/// Writes images, maps, a report and, last, manifest.json. A result of the same scan, method with its options, refinement, seed and
/// image options that is there already is left as it is.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The prepared file: a path or an s3:// URL.
    prepared: String,
    /// Where the results go: a folder or an s3:// prefix.
    #[arg(long, value_name = "DIR")]
    out: String,
    /// How missing lines are filled: auto, raki, raki-paper, nwg, grappa or zero-filled.
    #[arg(long, default_value_t)]
    method: Method,
    /// What follows the filling: sparse or none [default: sparse for auto, none for a method asked for by its name].
    #[arg(long)]
    refine: Option<Refine>,
    #[command(flatten)]
    tuning: Tuning,
    #[command(flatten)]
    images: ImageArguments,
    /// Seed of initial weights and training windows. The same seed on the same device gives the same bits.
    #[arg(long, default_value_t)]
    seed: u64,
    /// Where to compute: auto, cpu or cuda.
    #[arg(long, default_value_t)]
    device: DevicePreference,
    /// Prints the manifest as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, config: Config, stop: Arc<AtomicBool>) -> Result<(), JobError> {
        let mut request = Request::new(&self.prepared, &self.out)?;
        request.recipe = self.tuning.of(Recipe::new(self.method, self.refine, self.seed))?;
        request.images = self.images.into();
        request.device = self.device;
        request.image_digest = config.image_digest;
        let manifest = reconstruct(&request, &Reporter::new(stop))?;
        output::manifest(&manifest, Some(&request.out), self.json)
    }
}
