//! `gpu-job train`: the contract of a SageMaker training container, for developing the networks.
//!
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html>: settings in
//! `input/config/hyperparameters.json` (every value a string), data in `input/data/<channel>/`, the model in `model/`, the
//! reason of a failure in `output/failure`, an exit code other than 0. Metrics are lines of `name=value` on standard output.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use clap::Args;
use contract::DevicePreference;
use kspace::prepared::{FileSource, ReadAt, Reader};

use super::output;
use super::terminal::Reporter;
use crate::device;
use crate::error::JobError;
use crate::progress::Progress;
use crate::raki::fill::Entry;
use crate::raki::layout::TAPS;
use crate::raki::{Backend, Fit, Parameters, Weights};

/// What `input/config/hyperparameters.json` may hold besides `sagemaker_...`, which the service adds.
const NAMES: &str = "iterations, learning_rate, window, seed, device";

/// Trains networks as a SageMaker training job.
///
/// Reads input/config/hyperparameters.json and the prepared files (.safetensors) and raw files in
/// input/data/<channel>/; writes model/model.safetensors.
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

/// Trains the networks of every accelerated entry below `base` and saves them.
///
/// # Errors
/// [`JobError`]; nothing is saved then.
pub fn train(base: &Path, progress: &dyn Progress) -> Result<(), JobError> {
    let settings = Settings::read(&base.join("input/config/hyperparameters.json"))?;
    let chosen = device::choose(settings.device)?;
    tracing::info!(device = chosen.name, reason = chosen.decision.reason, "training");
    let variables = VarMap::new();
    let mut trained = 0;
    for (number, path) in files(&base.join("input/data"))?.iter().enumerate() {
        let prefix = format!("file{number}");
        trained += match path.extension().is_some_and(|ending| ending == "safetensors") {
            true => {
                let reader = Reader::open(FileSource::open(path)?)?;
                train_file(&reader, &prefix, chosen.backend.as_ref(), &settings, &variables, progress)?
            }
            false => {
                let reader = Reader::open(prepare(path)?)?;
                train_file(&reader, &prefix, chosen.backend.as_ref(), &settings, &variables, progress)?
            }
        };
    }
    if trained == 0 {
        return Err(JobError::BadData(
            "no channel holds an accelerated scan: networks are trained for sampling at every 2nd line or fewer"
                .to_owned(),
        ));
    }
    let model = base.join("model");
    fs::create_dir_all(&model).map_err(JobError::io("creating the model folder"))?;
    Ok(variables.save(model.join("model.safetensors"))?)
}

/// Settings of a training job.
struct Settings {
    parameters: Parameters,
    device: DevicePreference,
}

impl Settings {
    /// Reads the file; without it, everything has its default.
    fn read(path: &Path) -> Result<Self, JobError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => b"{}".to_vec(),
            Err(error) => return Err(JobError::io("reading hyperparameters.json")(error)),
        };
        let values: BTreeMap<String, String> = serde_json::from_slice(&text).map_err(|error| {
            JobError::Usage(format!("hyperparameters.json cannot be read ({error}): expected an object of strings"))
        })?;
        let mut settings = Self { parameters: Parameters::default(), device: DevicePreference::default() };
        for (name, value) in &values {
            match name.as_str() {
                "iterations" => settings.parameters.iterations = parse(name, value)?,
                "learning_rate" => settings.parameters.learning_rate = parse(name, value)?,
                "window" => settings.parameters.window = parse(name, value)?,
                "seed" => settings.parameters.seed = parse(name, value)?,
                "device" => settings.device = parse(name, value)?,
                service if service.starts_with("sagemaker_") => {}
                _ => return Err(JobError::Usage(format!("unknown hyperparameter {name:?}: expected one of {NAMES}"))),
            }
        }
        settings.parameters.check()?;
        Ok(settings)
    }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T, JobError> {
    value.parse().map_err(|error| JobError::Usage(format!("hyperparameter {name} is {value:?}: {error}")))
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
    let options = kspace::prepare::Options { scan: None, source_sha256: String::new() };
    let plan = kspace::prepare::plan(raw.as_ref(), &options)?;
    Ok(plan.write(raw.as_ref(), Vec::new(), &mut |_, _| {})?)
}

fn train_file<R: ReadAt>(
    reader: &Reader<R>,
    prefix: &str,
    backend: &dyn Backend,
    settings: &Settings,
    variables: &VarMap,
    progress: &dyn Progress,
) -> Result<usize, JobError> {
    let mut trained = 0;
    for (index, meta) in reader.meta.entries.iter().enumerate().filter(|(_, entry)| entry.sampling.acceleration > 1) {
        let kspace = reader.entry(index)?;
        let mask: Vec<bool> = reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect();
        let entry = Entry {
            kspace: kspace.view(),
            mask: &mask,
            sampling: meta.sampling,
            number: index as u64,
            parameters: settings.parameters,
            lesson: None,
        };
        let Some(problem) = entry.problem()? else { continue };
        progress.stage("train", (problem.layout.channels() * settings.parameters.iterations) as u64);
        let started = Instant::now();
        let fits = backend.fit(&[problem], &settings.parameters, progress)?;
        let seconds = started.elapsed().as_secs_f64();
        for fit in &fits {
            let Fit { weights, loss, .. } = fit;
            let filled = entry.fill(backend, fit)?;
            let residual = (filled.calibration_error / filled.calibration_power.max(f64::MIN_POSITIVE)).sqrt();
            output::metrics(&[
                ("entry", index as f64),
                ("loss", *loss),
                ("calibration_residual", residual),
                ("seconds", seconds),
            ])?;
            keep(variables, &format!("{prefix}.entry{index}"), weights)?;
            trained += 1;
        }
    }
    Ok(trained)
}

/// Names the weights: `<prefix>.layer1` `[network, hidden 1, input]`, `.layer2` `[network, hidden 2, hidden 1]`,
/// `.layer3` `[network, tap, output, hidden 2]`.
fn keep(variables: &VarMap, prefix: &str, weights: &Weights) -> Result<(), JobError> {
    let (networks, layout) = (weights.networks, weights.layout);
    let [hidden_1, hidden_2] = layout.hidden;
    let shapes = [
        vec![networks, hidden_1, layout.inputs()],
        vec![networks, hidden_2, hidden_1],
        vec![networks, TAPS, layout.outputs(), hidden_2],
    ];
    let mut map =
        variables.data().lock().map_err(|_| JobError::Bug("a thread panicked while it kept weights".to_owned()))?;
    for (at, shape) in shapes.into_iter().enumerate() {
        let tensor = Tensor::from_slice(&weights.layers[at], shape, &Device::Cpu)?;
        map.insert(format!("{prefix}.layer{}", at + 1), Var::from_tensor(&tensor)?);
    }
    Ok(())
}
