//! The limits of the compute environments, moved with the backlog.
//!
//! AWS Batch itself scales an environment between its limits, one instance per waiting job if it may. Moving the upper
//! limit with the backlog keeps few instances warm instead of starting many cold ones, and is the budget's cap.
//! `desiredvCpus` belongs to Batch and is never set; other changes than limits would replace instances
//! (<https://docs.aws.amazon.com/batch/latest/userguide/updating-compute-environments.html>).
//!
//! | module | what it holds |
//! |---|---|
//! | [`decide`](mod@decide) | observation → changes: pure |

pub mod decide;

use jiff::Timestamp;

use crate::config::Scale;
use crate::ports::{DescribeEnvironments, JobState, ListJobs, MoveLimits, QueueDepth};
use crate::{Error, Result, age};

pub use decide::{Change, Environment, Load, Policy, decide};

/// Observes, decides, moves. Returns the changes made.
///
/// # Errors
/// [`Error::Service`] when anything could not be observed: then nothing is changed, and the function's error alarm rings.
pub async fn handle<P>(ports: &P, config: &Scale, now: Timestamp) -> Result<Vec<Change>>
where
    P: QueueDepth + ListJobs + DescribeEnvironments + MoveLimits,
{
    let load = load(ports, config, now).await?;
    let found = ports.describe(&config.environments).await?;
    let environments: Vec<Environment> = config
        .environments
        .iter()
        .map(|name| found.iter().find(|environment| environment.name == *name).cloned())
        .collect::<Option<_>>()
        .ok_or(Error::Service {
            what: "asking for compute environments",
            cause: "one of RAKI_COMPUTE_ENVIRONMENTS is not there or tells no limits".to_owned(),
            retryable: false,
        })?;
    let changes = decide(&config.policy, &load, &environments);
    for change in &changes {
        tracing::info!(min = change.min, max = change.max, ?load, "moving limits");
        ports.move_limits(change).await?;
    }
    Ok(changes)
}

async fn load<P: QueueDepth + ListJobs>(ports: &P, config: &Scale, now: Timestamp) -> Result<Load> {
    let mut load = Load { waiting: ports.queue_depth(&config.recon_queue).await?.total(), ..Load::default() };
    for state in JobState::ALL.into_iter().filter(|state| !state.is_over()) {
        let jobs = ports.list_jobs(&config.job_queue, state).await?;
        match state {
            JobState::Starting | JobState::Running => load.at_work += jobs.len() as u64,
            _ => load.waiting += jobs.len() as u64,
        }
        if state == JobState::Runnable {
            let oldest = jobs.iter().filter_map(|job| job.created).min();
            load.longest_wait = age(oldest, now);
        }
    }
    Ok(load)
}

#[cfg(test)]
mod tests;
