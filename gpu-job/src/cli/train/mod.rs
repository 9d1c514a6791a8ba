//! `gpu-job train`: the contract of a SageMaker training container, for developing the networks.
//!
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html>: settings in
//! `input/config/hyperparameters.json` (every value a string), data in `input/data/<channel>/`, the model in `model/`, the
//! reason of a failure in `output/failure`, an exit code other than 0. Metrics are lines of `name=value` on standard output.

mod entry;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_nn::VarMap;
use clap::Args;
use kspace::prepared::{FileSource, Reader};

use self::entry::Training;
use self::settings::Settings;
use super::terminal::Reporter;
use crate::device;
use crate::error::JobError;
use crate::progress::Progress;

/// Trains networks as a SageMaker training job.
///
/// Reads input/config/hyperparameters.json and the prepared files (.safetensors) and raw files in
/// input/data/<channel>/; writes model/model.safetensors and model/figures/.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder that SageMaker lays out.
    #[arg(long, value_name = "DIR", default_value = "/opt/ml")]
    base: PathBuf,
}

impl Arguments {
    pub(super) fn run(self, stop: Arc<AtomicBool>) -> Result<(), JobError> {
        train(&self.base, &Reporter::new(stop)).inspect_err(|error| {
            if matches!(error, JobError::Interrupted) {
                return;
            }
            let output = self.base.join("output");
            let said = fs::create_dir_all(&output).and_then(|()| fs::write(output.join("failure"), error.to_string()));
            if let Err(error) = said {
                tracing::warn!(%error, "the reason of the failure cannot be written");
            }
        })
    }
}

/// Trains the networks of every entry below `base`, and saves them with their figures. Fully sampled entries are undersampled
/// first, and scored.
///
/// # Errors
/// [`JobError`]; no model is saved then.
pub fn train(base: &Path, progress: &dyn Progress) -> Result<(), JobError> {
    let settings = Settings::read(&base.join("input/config/hyperparameters.json"))?;
    let chosen = device::choose(settings.device)?;
    tracing::info!(device = chosen.name, reason = chosen.decision.reason, "training");
    let variables = VarMap::new();
    let model = base.join("model");
    let figures = model.join("figures");
    fs::create_dir_all(&figures).map_err(JobError::io("creating the model folder"))?;
    let mut trained = 0;
    for (number, path) in files(&base.join("input/data"))?.iter().enumerate() {
        let training = Training {
            settings: &settings,
            backend: chosen.backend,
            variables: &variables,
            figures: &figures,
            prefix: format!("file{number}"),
            progress,
        };
        trained += match path.extension().is_some_and(|ending| ending == "safetensors") {
            true => training.file(&Reader::open(FileSource::open(path)?)?)?,
            false => training.file(&Reader::open(prepare(path)?)?)?,
        };
    }
    if trained == 0 {
        return Err(JobError::BadData(
            "no channel holds a scan that is not empty: put prepared or raw files into input/data/<channel>/"
                .to_owned(),
        ));
    }
    Ok(variables.save(model.join("model.safetensors"))?)
}

/// Every file of every channel, in the order of their names.
fn files(data: &Path) -> Result<Vec<PathBuf>, JobError> {
    let list = |folder: &Path| -> std::io::Result<Vec<PathBuf>> {
        let mut found = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        found.sort();
        Ok(found)
    };
    let failed = || JobError::io("listing the input channels");
    let mut files = Vec::new();
    for channel in list(data).map_err(failed())?.into_iter().filter(|path| path.is_dir()) {
        files.extend(list(&channel).map_err(failed())?.into_iter().filter(|path| path.is_file()));
    }
    Ok(files)
}

/// Prepares a raw file in memory.
fn prepare(path: &Path) -> Result<Vec<u8>, JobError> {
    let raw = kspace::format::open(path)?;
    let options = kspace::prepare::Options::default();
    let plan = kspace::prepare::plan(raw.as_ref(), &options)?;
    Ok(plan.write(raw.as_ref(), Vec::new(), &mut |_, _| {})?)
}
