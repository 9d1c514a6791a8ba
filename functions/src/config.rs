//! One configuration per function, read from the environment once.
//!
//! Every variable is listed in the `VARIABLES` of its function; a test holds the readers to the lists. Which values the
//! stack gives them is in `template.yaml`.

mod env;

use std::time::Duration;

use contract::images::IMAGE_OPTIONS;
use contract::{ImageOptions, Method};
use kspace::prepare::Compression;
use store::Location;

pub use env::Error;
use env::{Env, Result, process_environment};

/// What [`Compression`] accepts.
const COMPRESSION: &str = "none, a share of the energy such as 0.998, or a number of virtual coils";

/// How large an archive may be, however it is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the raw file.
    pub max_raw_bytes: u64,
    /// Unpacked bytes per packed byte.
    pub max_ratio: u64,
    /// Members of an archive.
    pub max_entries: u64,
}

impl ArchiveLimits {
    fn read(env: &Env<'_>) -> Result<Self> {
        Ok(Self {
            max_raw_bytes: env.whole("RAKI_MAX_RAW_BYTES", 1..=1 << 50)?,
            max_ratio: env.whole("RAKI_MAX_RATIO", 1..=1_000_000)?,
            max_entries: env.whole("RAKI_MAX_ENTRIES", 1..=1 << 40)?,
        })
    }
}

/// What preparing needs, in the Lambda and in the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// Bucket of raw archives.
    pub raw_bucket: String,
    /// Where prepared files go.
    pub prepared: Location,
    /// Where records lie.
    pub state: Location,
    /// Limits of an archive.
    pub limits: ArchiveLimits,
    /// How long after its upload a truncated object may still be growing.
    pub truncated_grace: Duration,
    /// Virtual coils to keep.
    pub compression: Compression,
}

impl Preparation {
    fn read(env: &Env<'_>) -> Result<Self> {
        Ok(Self {
            raw_bucket: env.bucket("RAKI_RAW_BUCKET")?,
            prepared: env.root("RAKI_PREPARED_BUCKET")?,
            state: env.root("RAKI_STATE_BUCKET")?,
            limits: ArchiveLimits::read(env)?,
            truncated_grace: env.seconds("RAKI_TRUNCATED_GRACE_SECONDS", 0..=43_200)?,
            compression: env.read("RAKI_COIL_COMPRESSION", COMPRESSION, |text| text.parse().ok())?,
        })
    }
}

/// Configuration of `prepare-job`.
#[derive(Debug, Clone, PartialEq)]
pub struct PrepareJob {
    /// What preparing needs.
    pub preparation: Preparation,
}

/// Configuration of `decompress`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decompress {
    /// What preparing needs.
    pub preparation: Preparation,
    /// The queue its messages come from.
    pub raw_queue: String,
    /// Queue and definition of the CPU job.
    pub prepare_queue: String,
    /// Definition of the CPU job.
    pub prepare_definition: String,
    /// Objects over this size go to the CPU job.
    pub max_lambda_bytes: u64,
    /// Time left at the end of an invocation to leave everything in order.
    pub time_reserve: Duration,
}

/// Configuration of `submit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// Bucket of prepared files.
    pub prepared_bucket: String,
    /// Where results go.
    pub results: Location,
    /// Where records lie.
    pub state: Location,
    /// Queue of GPU jobs.
    pub job_queue: String,
    /// Definition of the GPU job.
    pub job_definition: String,
    /// Method of scans that do not choose one.
    pub method: Method,
    /// How images are made of filled k-space.
    pub images: ImageOptions,
    /// Seed of everything random.
    pub seed: u64,
}

/// Configuration of `outcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Bucket of raw archives, which are tagged once reconstructed.
    pub raw_bucket: String,
    /// Where records lie.
    pub state: Location,
    /// Where results go, and the worklist at their root.
    pub results: Location,
}

/// Configuration of `refresh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The share that shows the results; without one there is nothing to refresh.
    pub file_share: Option<String>,
}

/// Configuration of `metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Queue of raw objects.
    pub raw_queue: String,
    /// Queue of prepared scans.
    pub recon_queue: String,
    /// Queue of GPU jobs.
    pub job_queue: String,
    /// Queue of CPU jobs.
    pub prepare_queue: String,
    /// Namespace of the metrics.
    pub namespace: String,
}

/// Configuration of `scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Queue of prepared scans.
    pub recon_queue: String,
    /// Queue of GPU jobs.
    pub job_queue: String,
    /// Compute environments in the order of the job queue.
    pub environments: Vec<String>,
    /// Limits and targets.
    pub policy: crate::scale::Policy,
}

impl Decompress {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &[
        "RAKI_RAW_BUCKET",
        "RAKI_PREPARED_BUCKET",
        "RAKI_STATE_BUCKET",
        "RAKI_MAX_RAW_BYTES",
        "RAKI_MAX_RATIO",
        "RAKI_MAX_ENTRIES",
        "RAKI_TRUNCATED_GRACE_SECONDS",
        "RAKI_COIL_COMPRESSION",
        "RAKI_RAW_QUEUE_URL",
        "RAKI_PREPARE_JOB_QUEUE",
        "RAKI_PREPARE_JOB_DEFINITION",
        "RAKI_MAX_LAMBDA_BYTES",
        "RAKI_TIME_RESERVE_SECONDS",
    ];

    fn read(env: &Env<'_>) -> Result<Self> {
        Ok(Self {
            preparation: Preparation::read(env)?,
            raw_queue: env.url("RAKI_RAW_QUEUE_URL")?,
            prepare_queue: env.batch("RAKI_PREPARE_JOB_QUEUE")?,
            prepare_definition: env.batch("RAKI_PREPARE_JOB_DEFINITION")?,
            max_lambda_bytes: env.whole("RAKI_MAX_LAMBDA_BYTES", 0..=1 << 50)?,
            time_reserve: env.seconds("RAKI_TIME_RESERVE_SECONDS", 1..=600)?,
        })
    }
}

impl PrepareJob {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &[
        "RAKI_RAW_BUCKET",
        "RAKI_PREPARED_BUCKET",
        "RAKI_STATE_BUCKET",
        "RAKI_MAX_RAW_BYTES",
        "RAKI_MAX_RATIO",
        "RAKI_MAX_ENTRIES",
        "RAKI_TRUNCATED_GRACE_SECONDS",
        "RAKI_COIL_COMPRESSION",
    ];

    fn read(env: &Env<'_>) -> Result<Self> {
        Ok(Self { preparation: Preparation::read(env)? })
    }
}

impl Submit {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &[
        "RAKI_PREPARED_BUCKET",
        "RAKI_RESULTS_BUCKET",
        "RAKI_STATE_BUCKET",
        "RAKI_JOB_QUEUE",
        "RAKI_JOB_DEFINITION",
        "RAKI_METHOD",
        "RAKI_IMAGES",
        "RAKI_SEED",
    ];

    fn read(env: &Env<'_>) -> Result<Self> {
        let methods = Method::ALL.map(Method::name).join(", ");
        Ok(Self {
            prepared_bucket: env.bucket("RAKI_PREPARED_BUCKET")?,
            results: env.root("RAKI_RESULTS_BUCKET")?,
            state: env.root("RAKI_STATE_BUCKET")?,
            job_queue: env.batch("RAKI_JOB_QUEUE")?,
            job_definition: env.batch("RAKI_JOB_DEFINITION")?,
            method: env.read("RAKI_METHOD", &format!("one of {methods}"), |text| text.parse().ok())?,
            images: env.read("RAKI_IMAGES", IMAGE_OPTIONS, |text| text.parse().ok())?,
            seed: env.whole("RAKI_SEED", 0..=u64::MAX)?,
        })
    }
}

impl Outcome {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &["RAKI_RAW_BUCKET", "RAKI_STATE_BUCKET", "RAKI_RESULTS_BUCKET"];

    fn read(env: &Env<'_>) -> Result<Self> {
        Ok(Self {
            raw_bucket: env.bucket("RAKI_RAW_BUCKET")?,
            state: env.root("RAKI_STATE_BUCKET")?,
            results: env.root("RAKI_RESULTS_BUCKET")?,
        })
    }
}

impl Refresh {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &["RAKI_FILE_SHARE_ARN"];

    fn read(env: &Env<'_>) -> Result<Self> {
        const NAME: &str = "RAKI_FILE_SHARE_ARN";
        if (env.0)(NAME).unwrap_or_default().is_empty() {
            return Ok(Self { file_share: None });
        }
        let accepted = "the ARN of a file share, or nothing";
        let arn = env.read(NAME, accepted, |text| {
            (text.starts_with("arn:") && text.contains(":storagegateway:")).then(|| text.to_owned())
        })?;
        Ok(Self { file_share: Some(arn) })
    }
}

impl Metrics {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &[
        "RAKI_RAW_QUEUE_URL",
        "RAKI_RECON_QUEUE_URL",
        "RAKI_JOB_QUEUE",
        "RAKI_PREPARE_JOB_QUEUE",
        "RAKI_METRICS_NAMESPACE",
    ];

    fn read(env: &Env<'_>) -> Result<Self> {
        let accepted = "a CloudWatch namespace: 1 to 255 characters, not beginning with AWS/";
        Ok(Self {
            raw_queue: env.url("RAKI_RAW_QUEUE_URL")?,
            recon_queue: env.url("RAKI_RECON_QUEUE_URL")?,
            job_queue: env.batch("RAKI_JOB_QUEUE")?,
            prepare_queue: env.batch("RAKI_PREPARE_JOB_QUEUE")?,
            namespace: env.read("RAKI_METRICS_NAMESPACE", accepted, |text| {
                (text.len() <= 255 && !text.starts_with("AWS/")).then(|| text.to_owned())
            })?,
        })
    }
}

impl Scale {
    /// Every variable it reads.
    pub const VARIABLES: &[&str] = &[
        "RAKI_RECON_QUEUE_URL",
        "RAKI_JOB_QUEUE",
        "RAKI_COMPUTE_ENVIRONMENTS",
        "RAKI_MIN_VCPUS",
        "RAKI_MAX_VCPUS",
        "RAKI_VCPUS_PER_JOB",
        "RAKI_LATENCY_TARGET_SECONDS",
        "RAKI_SECONDS_PER_JOB",
    ];

    fn read(env: &Env<'_>) -> Result<Self> {
        let accepted = "names or ARNs of compute environments, with commas, Spot first";
        let environments = env.read("RAKI_COMPUTE_ENVIRONMENTS", accepted, |text| {
            let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
            names.iter().all(|name| !name.is_empty()).then_some(names)
        })?;
        let min_vcpus = env.whole("RAKI_MIN_VCPUS", 0..=100_000)?;
        let vcpus_per_job = env.whole("RAKI_VCPUS_PER_JOB", 1..=1_000)?;
        Ok(Self {
            recon_queue: env.url("RAKI_RECON_QUEUE_URL")?,
            job_queue: env.batch("RAKI_JOB_QUEUE")?,
            environments,
            policy: crate::scale::Policy {
                min_vcpus,
                // A ceiling below one job or below the floor could never hold.
                max_vcpus: env.whole("RAKI_MAX_VCPUS", min_vcpus.max(vcpus_per_job)..=100_000)?,
                vcpus_per_job,
                latency_target: env.seconds("RAKI_LATENCY_TARGET_SECONDS", 1..=604_800)?,
                job_time: env.seconds("RAKI_SECONDS_PER_JOB", 1..=604_800)?,
            },
        })
    }
}

macro_rules! from_env {
    ($($config:ident),*) => {$(
        impl $config {
            /// Reads and checks the environment of the process.
            ///
            /// # Errors
            /// The first variable that is missing or wrong.
            pub fn from_env() -> Result<Self> {
                Self::read(&Env(&process_environment))
            }
        }
    )*};
}

from_env!(Decompress, PrepareJob, Submit, Outcome, Refresh, Metrics, Scale);

#[cfg(test)]
mod tests;
