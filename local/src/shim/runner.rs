//! The life of one job: waits for a place, runs its program, is tried again as its strategy says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::shim::Shared;
use crate::shim::job::{Attempt, Job, JobStatus};
use crate::shim::registry::Program;
use crate::shim::retry::Ended;

/// Time between SIGTERM and SIGKILL, as on AWS:
/// <https://docs.aws.amazon.com/batch/latest/userguide/job_timeouts.html>.
const GRACE: Duration = Duration::from_secs(30);
const EXITED: &str = "Essential container in task exited";

/// How containers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The reconstruction job.
    pub gpu: PathBuf,
    /// The preparation job.
    pub prepare: PathBuf,
    /// Reconstruction jobs at once; a machine has one GPU.
    pub gpu_slots: usize,
    /// Preparation jobs at once.
    pub prepare_slots: usize,
    /// The whole environment of a container besides its definition's variables.
    pub environment: Vec<(String, OsString)>,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// Process group the containers join, so that they end with it.
    pub process_group: Option<i32>,
}

/// What is asked of a job from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `CancelJob`: only before it starts.
    Cancel(String),
    /// `TerminateJob`: SIGTERM, after the grace SIGKILL, never tried again.
    Terminate(String),
    /// The host is about to go: SIGTERM and nothing else; the exit code says what follows.
    Interrupt,
    /// The host is gone, as when EC2 takes back a Spot instance.
    LoseHost,
}

enum AttemptEnd {
    /// The program ended by itself or after a signal.
    Ended(Ended),
    /// It was stopped for good.
    Stopped(Ended),
}

/// Runs the job `id` to its end.
pub(crate) async fn run(shared: Arc<Shared>, id: String, mut stop: watch::Receiver<Option<Stop>>) {
    let Some(job) = shared.job(&id) else { return };
    shared.transition(&id, JobStatus::Submitted, None, |_| {});
    shared.transition(&id, JobStatus::Pending, None, |_| {});
    let slots = match job.program {
        Program::Gpu => &shared.gpu_slots,
        Program::Prepare => &shared.prepare_slots,
    };
    for attempt in 1.. {
        shared.transition(&id, JobStatus::Runnable, None, |_| {});
        let permit = tokio::select! {
            permit = slots.acquire() => permit,
            reason = stopped_before_start(&mut stop) => {
                shared.transition(&id, JobStatus::Failed, Some(reason), |job| job.stopped = Some(now()));
                return;
            }
        };
        // The semaphores are never closed.
        let Ok(_permit) = permit else { return };
        shared.transition(&id, JobStatus::Starting, None, |_| {});
        let started = now();
        let log = format!("{}-{attempt}.log", job.name);
        let end = run_attempt(&shared, &job, attempt, &log, started, &mut stop).await;
        let (ended, again) = match end {
            AttemptEnd::Ended(ended) => {
                let again = ended.exit_code != Some(0) && job.retry.tries_again(attempt, &ended);
                (ended, again)
            }
            AttemptEnd::Stopped(ended) => (ended, false),
        };
        let record = Attempt { started, stopped: now(), ended: ended.clone(), log };
        shared.change(&id, |job| {
            job.pid = None;
            job.attempts.push(record);
        });
        if again {
            // A signal sent to the last attempt is not meant for the next one.
            stop.mark_unchanged();
            continue;
        }
        let status = if ended.exit_code == Some(0) { JobStatus::Succeeded } else { JobStatus::Failed };
        shared.transition(&id, status, ended.status_reason, |job| job.stopped = Some(now()));
        return;
    }
}

async fn run_attempt(
    shared: &Shared,
    job: &Job,
    attempt: u32,
    log: &str,
    started: i64,
    stop: &mut watch::Receiver<Option<Stop>>,
) -> AttemptEnd {
    let never_ran = |reason: String| {
        let status_reason = Some("Task failed to start".to_owned());
        AttemptEnd::Ended(Ended { exit_code: None, reason: Some(reason), status_reason })
    };
    let mut child = match spawn(shared, job, attempt, log) {
        Ok(child) => child,
        Err(error) => return never_ran(format!("CannotStartContainerError: {error}")),
    };
    let pid = child.id();
    shared.transition(&job.id, JobStatus::Running, None, |job| {
        (job.pid, job.started, job.log) = (pid, Some(started), Some(log.to_owned()));
    });
    let limit = job.timeout_seconds.map_or(Duration::MAX, Duration::from_secs);
    let timeout = tokio::time::sleep(limit);
    tokio::pin!(timeout);
    loop {
        tokio::select! {
            status = child.wait() => return AttemptEnd::Ended(ended(status, EXITED)),
            () = &mut timeout => {
                return AttemptEnd::Stopped(ended(terminate(&mut child).await, "Job attempt duration exceeded timeout"));
            }
            change = stop.changed() => {
                // The sender lives as long as the job; an error means that the shim is going down.
                let asked = if change.is_err() { Some(Stop::LoseHost) } else { stop.borrow_and_update().clone() };
                match asked {
                    Some(Stop::Terminate(reason)) => {
                        return AttemptEnd::Stopped(ended(terminate(&mut child).await, &reason));
                    }
                    Some(Stop::LoseHost) => {
                        let _ = child.start_kill();
                        let reason = "Host EC2 (instance i-0123456789abcdef0) terminated.";
                        return AttemptEnd::Ended(ended(child.wait().await, reason));
                    }
                    Some(Stop::Interrupt) => signal(&child, Signal::TERM),
                    // Too late to cancel what runs; AWS does nothing then.
                    Some(Stop::Cancel(_)) | None => {}
                }
            }
        }
    }
}

fn spawn(shared: &Shared, job: &Job, attempt: u32, log: &str) -> std::io::Result<Child> {
    let launch = shared.launch.get().ok_or_else(|| std::io::Error::other("the stack is not deployed yet"))?;
    let output = File::create(launch.logs.join(log))?;
    let errors = output.try_clone()?;
    let program = match job.program {
        Program::Gpu => &launch.gpu,
        Program::Prepare => &launch.prepare,
    };
    let mut command = Command::new(program);
    command
        .args(&job.command)
        .env_clear()
        .envs(launch.environment.iter().cloned())
        .envs(&job.environment)
        .env("AWS_BATCH_JOB_ID", &job.id)
        .env("AWS_BATCH_JOB_ATTEMPT", attempt.to_string())
        .env("AWS_BATCH_JQ_NAME", &job.queue)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .kill_on_drop(true);
    // In the emulator's process group a job dies with the stack, however the stack ends.
    if let Some(group) = launch.process_group {
        command.process_group(group);
    }
    command.spawn()
}

async fn stopped_before_start(stop: &mut watch::Receiver<Option<Stop>>) -> String {
    loop {
        if stop.changed().await.is_err() {
            return "The shim ended".to_owned();
        }
        let asked = stop.borrow_and_update().clone();
        if let Some(Stop::Cancel(reason) | Stop::Terminate(reason)) = asked {
            return reason;
        }
    }
}

async fn terminate(child: &mut Child) -> std::io::Result<ExitStatus> {
    signal(child, Signal::TERM);
    if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
        return status;
    }
    child.start_kill()?;
    child.wait().await
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // A process that has just ended takes no signal; that is no failure.
        let _ = kill_process(pid, signal);
    }
}

/// A shell's convention, which container runtimes follow: 128 and the signal's number.
fn ended(status: std::io::Result<ExitStatus>, reason: &str) -> Ended {
    let code = status.ok().and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
    Ended { exit_code: code, reason: None, status_reason: Some(reason.to_owned()) }
}

/// ms since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Fills `Ref::name` placeholders in.
pub(crate) fn substitute(command: &[String], parameters: &BTreeMap<String, String>) -> Vec<String> {
    // The longest names first, so that Ref::key is not found inside Ref::key_id.
    let mut names: Vec<&String> = parameters.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let fill = |argument: &String| match argument.strip_prefix("Ref::") {
        // A whole placeholder is replaced once: its value may hold the same letters.
        Some(name) if parameters.contains_key(name) => parameters[name].clone(),
        _ => {
            names.iter().fold(argument.clone(), |text, name| text.replace(&format!("Ref::{name}"), &parameters[*name]))
        }
    };
    command.iter().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_take_the_values_and_the_longest_name_wins() {
        let command = ["run", "--spec", "Ref::spec", "a=Ref::key", "Ref::key_id", "Ref::other"].map(str::to_owned);
        let parameters = [("spec", "s3://b/Ref::key"), ("key", "K"), ("key_id", "I")];
        let parameters = parameters.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let expected = ["run", "--spec", "s3://b/Ref::key", "a=K", "I", "Ref::other"];
        assert_eq!(substitute(&command, &parameters), expected);
    }
}
