//! What the emulator lacks: AWS Batch, and `RefreshCache` of Storage Gateway.
//!
//! The services' own SDKs talk to it through their endpoint variables. Batch runs the real programs as processes.
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | the routes, their checks and their answers |
//! | [`registry`] | definitions, queues, compute environments out of the template |
//! | [`job`] | a job, and how Batch describes it |
//! | [`runner`] | the life of a job |
//! | [`retry`] | what follows a failed attempt |
//! | [`events`] | state changes to EventBridge |
//! | [`gateway`] | `RefreshCache` |

pub mod api;
pub mod events;
pub mod gateway;
pub mod job;
pub mod registry;
pub mod retry;
pub mod runner;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_eventbridge::Client;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{Error, Result};
use events::StateChange;
use gateway::{Gateway, Refresh};
use job::{Job, JobStatus};
use registry::Registry;
use runner::{Launch, Stop};

/// A running shim. It has a runtime of its own, so that it outlives the runtime it was started from; dropping it kills
/// its jobs.
#[derive(Debug)]
pub struct Shim {
    shared: Arc<Shared>,
    address: SocketAddr,
    changes: Mutex<Option<mpsc::UnboundedReceiver<StateChange>>>,
    runtime: Option<Runtime>,
}

/// State of the shim, shared by requests and jobs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) launch: OnceLock<Launch>,
    pub(crate) gpu_slots: Semaphore,
    pub(crate) prepare_slots: Semaphore,
    state: Mutex<State>,
    changes: mpsc::UnboundedSender<StateChange>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) registry: Registry,
    /// In the order of submission.
    pub(crate) jobs: Vec<Job>,
    pub(crate) stops: HashMap<String, watch::Sender<Option<Stop>>>,
    pub(crate) gateway: Gateway,
}

impl Shim {
    /// Starts listening on a free port. Until [`Shim::connect`] there are no definitions to submit to.
    ///
    /// # Errors
    /// [`Error::Io`] when no port or no thread can be had.
    pub fn start(file_share: &str, refresh_spacing: Duration) -> Result<Self> {
        let failed = || Error::io("starting the Batch shim");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("shim")
            .enable_all()
            .build()
            .map_err(failed())?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let (changes, pending) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            launch: OnceLock::new(),
            gpu_slots: Semaphore::new(0),
            prepare_slots: Semaphore::new(0),
            state: Mutex::new(State {
                registry: Registry::default(),
                jobs: Vec::new(),
                stops: HashMap::new(),
                gateway: Gateway::new(file_share.to_owned(), refresh_spacing),
            }),
            changes,
        });
        let app = api::router(Arc::clone(&shared));
        runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "the Batch shim ended");
            }
        });
        Ok(Self { shared, address, changes: Mutex::new(Some(pending)), runtime: Some(runtime) })
    }

    /// Gives the shim what exists only once the stack is deployed. Without `events` state changes go nowhere.
    /// A second call changes nothing.
    pub fn connect(&self, registry: Registry, launch: Launch, events: Option<Client>) {
        let (gpu_slots, prepare_slots) = (launch.gpu_slots, launch.prepare_slots);
        if self.shared.launch.set(launch).is_err() {
            return;
        }
        self.shared.lock().registry = registry;
        self.shared.gpu_slots.add_permits(gpu_slots);
        self.shared.prepare_slots.add_permits(prepare_slots);
        let pending = self.changes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(client), Some(pending), Some(runtime)) = (events, pending, &self.runtime) {
            runtime.spawn(events::send_all(client, pending));
        }
    }

    /// URL of both services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every job, in the order of submission.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.lock().jobs.clone()
    }

    /// Every refresh that was accepted.
    #[must_use]
    pub fn refreshes(&self) -> Vec<Refresh> {
        self.shared.lock().gateway.refreshes.clone()
    }

    /// Sends SIGTERM to the program of a running job, as a host does that is about to go. Whether it runs.
    pub fn interrupt(&self, job_id: &str) -> bool {
        self.shared.stop_running(job_id, Stop::Interrupt)
    }

    /// Kills the program of a running job as if its host were gone. Whether it runs.
    pub fn lose_host(&self, job_id: &str) -> bool {
        self.shared.stop_running(job_id, Stop::LoseHost)
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping the tasks kills their jobs. Waiting is not allowed where this may be dropped.
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock is given back, even by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn job(&self, id: &str) -> Option<Job> {
        self.lock().jobs.iter().find(|job| job.id == id).cloned()
    }

    /// Changes a job without an event.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.lock().jobs.iter_mut().find(|job| job.id == id) {
            change(job);
        }
    }

    /// Moves a job to a status and tells so.
    pub(crate) fn transition(
        &self,
        id: &str,
        status: JobStatus,
        reason: Option<String>,
        change: impl FnOnce(&mut Job),
    ) {
        let mut state = self.lock();
        let Some(job) = state.jobs.iter_mut().find(|job| job.id == id) else { return };
        (job.status, job.status_reason) = (status, reason);
        change(job);
        // Sent under the lock, so that events leave in the order of the changes. Without a receiver nobody listens.
        let _ = self.changes.send(StateChange { job: job.arn(), detail: job.event() });
    }

    /// Takes a job in and starts its life.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) {
        let (sender, receiver) = watch::channel(None);
        let id = job.id.clone();
        {
            let mut state = self.lock();
            state.stops.insert(id.clone(), sender);
            state.jobs.push(job);
        }
        tokio::spawn(runner::run(Arc::clone(self), id, receiver));
    }

    pub(crate) fn stop(&self, id: &str, stop: Stop) {
        if let Some(sender) = self.lock().stops.get(id) {
            sender.send_replace(Some(stop));
        }
    }

    fn stop_running(&self, id: &str, stop: Stop) -> bool {
        let runs = self.job(id).is_some_and(|job| job.status == JobStatus::Running);
        if runs {
            self.stop(id, stop);
        }
        runs
    }
}
