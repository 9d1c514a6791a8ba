//! The whole stack on one machine: emulator, shim and deployed template, ended together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::ScanId;
use rustix::process::{Pid, Signal, kill_process};

use crate::config::Config;
use crate::deploy::{self, Deployed, STACK};
use crate::emulator::Emulator;
use crate::emulator::venv::Venv;
use crate::endpoints::{ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY};
use crate::remote::{Description, Remote};
use crate::shim::Shim;
use crate::shim::gateway::{Refresh, SPACING};
use crate::shim::job::Job;
use crate::shim::registry::Registry;
use crate::shim::runner::Launch;
use crate::template::intrinsics::Resolver;
use crate::template::{self, Template};
use crate::{Error, Result, endpoints};

/// The file share the local gateway plays.
pub const FILE_SHARE: &str = "arn:aws:storagegateway:us-east-1:000000000000:share/share-10CA1000";

/// A step of starting the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The virtual environment of the emulator is found or made.
    Environment,
    /// The emulator starts.
    Emulator,
    /// The template is deployed.
    Deploy,
}

impl Step {
    /// What a person reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "emulator packages",
            Self::Emulator => "emulator",
            Self::Deploy => "deploy",
        }
    }
}

/// Hears of each step before it starts (`None`) and after it (its time).
pub type OnStep = Arc<dyn Fn(Step, Option<Duration>) + Send + Sync>;

/// How a stack is started.
#[derive(Clone)]
pub struct Options {
    /// What the environment says.
    pub config: Config,
    /// Values of template parameters besides `Target` and `FileShareArn`.
    pub parameters: BTreeMap<String, String>,
    /// Reconstruction jobs at once.
    pub gpu_slots: usize,
    /// Time the gateway wants between two refreshes.
    pub refresh_spacing: Duration,
    /// Folder for logs and scratch files; without it a temporary one that is removed at the end.
    pub work_dir: Option<PathBuf>,
    /// Hears of each step.
    pub on_step: Option<OnStep>,
}

impl Options {
    /// The settings of a demonstration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            parameters: BTreeMap::new(),
            gpu_slots: 1,
            refresh_spacing: SPACING,
            work_dir: None,
            on_step: None,
        }
    }

    async fn step<T>(&self, step: Step, work: impl Future<Output = Result<T>>) -> Result<T> {
        let start = Instant::now();
        if let Some(hear) = &self.on_step {
            hear(step, None);
        }
        let result = work.await?;
        if let Some(hear) = &self.on_step {
            hear(step, Some(start.elapsed()));
        }
        Ok(result)
    }
}

/// A running stack. Dropping it ends every process and removes its scratch files.
#[derive(Debug)]
pub struct Stack {
    remote: Remote,
    deployed: Deployed,
    // Dropped in this order: jobs first, then the emulator with the functions, then their files.
    shim: Shim,
    emulator: Emulator,
    _scratch: Option<tempfile::TempDir>,
}

impl Deref for Stack {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        &self.remote
    }
}

impl Stack {
    /// Starts everything and deploys the built-in template.
    ///
    /// # Errors
    /// [`Error::Usage`] when Python or a compiled program is missing, [`Error::Service`] when the emulator does not start
    /// or refuses the template.
    pub async fn start(options: Options) -> Result<Self> {
        let config = &options.config;
        let bin_dir = config.find_bin_dir("gpu-job").ok_or_else(|| {
            Error::Usage("the compiled programs were not found beside this one: run `make build` first".to_owned())
        })?;
        let (scratch, dir) = match &options.work_dir {
            Some(dir) => (None, dir.clone()),
            None => {
                let scratch = tempfile::Builder::new().prefix("raki-cloud-").tempdir_in(&config.temp_dir);
                let scratch = scratch.map_err(Error::io("making a scratch folder"))?;
                let dir = scratch.path().to_owned();
                (Some(scratch), dir)
            }
        };
        let logs = dir.join("logs");
        std::fs::create_dir_all(&logs).map_err(Error::io("making the log folder"))?;
        let template = Template::parse(template::BUILT_IN)?;
        let parameters = parameters(&template, &options)?;
        let venv = options.step(Step::Environment, Venv::ensure(config)).await?;
        let shim = Shim::start(FILE_SHARE, options.refresh_spacing)?;
        let emulator = options.step(Step::Emulator, Emulator::start(&venv, &dir, &shim.url(), config)).await?;
        let sdk = endpoints::sdk_config(&emulator.endpoint());
        let work = deploy::deploy(&sdk, template.clone(), &bin_dir, &parameters);
        let deployed = options.step(Step::Deploy, work).await?;
        let resolver = Resolver {
            template: &template.document,
            parameters: &parameters,
            resources: &deployed.resources,
            stack: STACK,
            region: REGION,
            account: ACCOUNT,
        };
        let registry = Registry::of(&template, &resolver)?;
        let launch = launch(&options, &bin_dir, &emulator, &shim, logs.clone());
        shim.connect(registry, launch, Some(aws_sdk_eventbridge::Client::new(&sdk)));
        let description = Description::of(&deployed, emulator.endpoint(), shim.url(), dir)?;
        Ok(Self { remote: Remote::new(description), deployed, shim, emulator, _scratch: scratch })
    }

    /// How the stack is reached, for clients of another runtime or terminal.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Physical ids and outputs of the stack.
    #[must_use]
    pub fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    /// Process id of the emulator, which leads the process group of functions and jobs.
    #[must_use]
    pub fn emulator_pid(&self) -> u32 {
        self.emulator.pid()
    }

    /// Every Batch job, in the order of submission.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.shim.jobs()
    }

    /// The Batch jobs of a scan: its reconstruction, and its preparation where that was handed over.
    #[must_use]
    pub fn jobs_of(&self, scan: &ScanId) -> Vec<Job> {
        self.jobs().into_iter().filter(|job| job.name.ends_with(scan.as_str())).collect()
    }

    /// Every refresh the gateway accepted.
    #[must_use]
    pub fn refreshes(&self) -> Vec<Refresh> {
        self.shim.refreshes()
    }

    /// Sends SIGTERM to the running jobs of a scan. How many there were.
    pub fn interrupt_jobs(&self, scan: &ScanId) -> usize {
        self.jobs_of(scan).iter().filter(|job| self.shim.interrupt(&job.id)).count()
    }

    /// Kills the running jobs of a scan as if their host were gone. How many there were.
    pub fn lose_host_of_jobs(&self, scan: &ScanId) -> usize {
        self.jobs_of(scan).iter().filter(|job| self.shim.lose_host(&job.id)).count()
    }

    /// Kills the processes of a function, given by its logical id. How many there were. Finds none where there is no
    /// `/proc`.
    #[must_use]
    pub fn kill_function(&self, logical_id: &str) -> usize {
        let Some(name) = self.deployed.resources.get(logical_id) else { return 0 };
        let variable = format!("AWS_LAMBDA_FUNCTION_NAME={name}");
        let parent = format!("PPid:\t{}\n", self.emulator.pid());
        let is_one = |pid: &i32| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains(&parent) && environ.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        };
        let processes = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let pids = processes.filter(is_one).filter_map(Pid::from_raw);
        pids.filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count()
    }
}

fn parameters(template: &Template, options: &Options) -> Result<BTreeMap<String, String>> {
    let own = [("Target", "local"), ("FileShareArn", FILE_SHARE)];
    let mut parameters: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    parameters.extend(options.parameters.clone());
    match parameters.keys().find(|name| !template.has_parameter(name)) {
        Some(name) => Err(Error::Template(format!("there is no parameter {name}"))),
        None => Ok(parameters),
    }
}

fn launch(options: &Options, bin_dir: &Path, emulator: &Emulator, shim: &Shim, logs: PathBuf) -> Launch {
    let config = &options.config;
    let variable = |name: &str, value: &str| (name.to_owned(), OsString::from(value));
    let mut environment = config.inherited.clone();
    environment.extend([
        variable("AWS_ENDPOINT_URL", &emulator.endpoint()),
        variable("AWS_ENDPOINT_URL_BATCH", &shim.url()),
        variable("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        variable("AWS_REGION", REGION),
        variable("AWS_EC2_METADATA_DISABLED", "true"),
        variable("RUST_LOG", &config.log_filter),
        ("TMPDIR".to_owned(), config.temp_dir.clone().into_os_string()),
    ]);
    Launch {
        gpu: bin_dir.join("gpu-job"),
        prepare: bin_dir.join("prepare-job"),
        gpu_slots: options.gpu_slots,
        prepare_slots: 1,
        environment,
        logs,
        process_group: i32::try_from(emulator.pid()).ok(),
    }
}
