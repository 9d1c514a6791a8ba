//! `gpu-job run`: the command of a Batch job.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use contract::{Disposition, JobSpec, Record};
use store::state::JobFailure;
use store::{Condition, Location, Store};

use super::output;
use super::terminal::Reporter;
use crate::config::Config;
use crate::engine::Recipe;
use crate::error::JobError;
use crate::reconstruct::{Request, reconstruct};

/// Ending of a spec, and what takes its place in the record of a failure (see `store::state::job_failure_key`).
const SPEC_ENDING: &str = ".json";
const FAILURE_ENDING: &str = ".error.json";
const CHECKPOINT_ENDING: &str = ".checkpoint.safetensors";

/// Reconstructs what a job spec asks for.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job spec: a path or an s3:// URL ending in .json. If the job fails for good, the reason is written beside it,
    /// ending in .error.json.
    #[arg(long, value_name = "URL")]
    spec: String,
    /// Prints the manifest as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, config: Config, stop: Arc<AtomicBool>) -> Result<(), JobError> {
        let at = Location::parse(&self.spec)?;
        let Some(stem) = self.spec.strip_suffix(SPEC_ENDING) else {
            return Err(JobError::Usage(format!("a job spec ends in {SPEC_ENDING}")));
        };
        let failure_at = Location::parse(&format!("{stem}{FAILURE_ENDING}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(JobError::io("starting the runtime"))?;
        let store = runtime
            .block_on(async { if at.is_s3() { Store::new(&store::aws_config().await) } else { Store::folders() } });
        let spec = JobSpec::from_json(&runtime.block_on(store.get(&at))?)?;
        tracing::info!(scan = %spec.scan, method = %spec.method, attempt = config.attempt, "reconstructing");
        let checkpoint = Location::parse(&format!("{stem}{CHECKPOINT_ENDING}"))?;
        let done = carry_out(&spec, checkpoint, config, stop);
        match &done {
            Ok(manifest) => output::manifest(manifest, None, self.json)?,
            Err(error) if error.exit().disposition() != Disposition::Retry => {
                let record = JobFailure {
                    schema: JobFailure::SCHEMA,
                    scan: spec.scan.clone(),
                    exit: error.exit(),
                    reason: error.to_string(),
                };
                runtime.block_on(store::state::write(&store, &failure_at, &record, Condition::Always))?;
            }
            Err(_) => {}
        }
        done.map(|_| ())
    }
}

fn carry_out(
    spec: &JobSpec,
    checkpoint: Location,
    config: Config,
    stop: Arc<AtomicBool>,
) -> Result<contract::Manifest, JobError> {
    let request = Request {
        recipe: Recipe::new(spec.method, spec.refine, spec.seed),
        images: spec.images,
        device: spec.device,
        scan: Some(spec.scan.clone()),
        source: Some(spec.source.clone()),
        image_digest: config.image_digest,
        checkpoint: Some(checkpoint),
        ..Request::new(&mounted(&spec.prepared, config.prepared_mount.as_deref()), &spec.results)?
    };
    reconstruct(&request, &Reporter::new(stop))
}

/// Where to read the prepared file: below the mounted prepared bucket if there is one and the file has arrived in it, else
/// from S3. (FSx for Lustre imports a new object some time after it was written.)
fn mounted(prepared: &str, mount: Option<&Path>) -> String {
    let key = prepared.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).map(|(_, key)| key);
    let file = mount.zip(key).map(|(mount, key)| mount.join(key)).filter(|file| file.is_file());
    file.and_then(|file| file.to_str().map(str::to_owned)).unwrap_or_else(|| prepared.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_is_read_where_it_has_arrived() {
        let mount = tempfile::tempdir().unwrap();
        let url = "s3://prepared/2026-11-23/brain t2.safetensors";
        assert_eq!(mounted(url, Some(mount.path())), url, "not imported yet");
        let file = mount.path().join("2026-11-23/brain t2.safetensors");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"x").unwrap();
        assert_eq!(mounted(url, Some(mount.path())), file.to_str().unwrap());
        assert_eq!(mounted(url, None), url);
        assert_eq!(mounted("/data/brain.safetensors", Some(mount.path())), "/data/brain.safetensors");
    }
}
