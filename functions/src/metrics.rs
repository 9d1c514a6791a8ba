//! Depth of the queues and jobs by state, every minute.
//!
//! The age of the oldest message is not here: SQS tells it to CloudWatch only, as `ApproximateAgeOfOldestMessage` in
//! `AWS/SQS`, and the alarms take it from there.
//!
//! `PutMetricData` carries one value per queue and state, for the dashboard. The line in CloudWatch's embedded metric format
//! carries their sums, beside the numbers of each queue as plain fields for Logs Insights
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//! The names differ, so that nothing is counted twice.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Result;
use crate::config::Metrics;
use crate::ports::{Datum, Depth, JobState, JobSummary, ListJobs, PutMetrics, QueueDepth};

/// Messages of a queue: ready, in flight and delayed.
const MESSAGES: &str = "Messages";
/// Jobs of a queue in a state. Jobs that are over count in the minute after they ended.
const JOBS: &str = "Jobs";

/// The one dimension of the sums.
const SERVICE: &str = "raki-cloud";

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Messages by the role of their queue.
    pub queues: Vec<(&'static str, Depth)>,
    /// Jobs by queue and state.
    pub jobs: Vec<(String, JobState, u64)>,
}

/// The whole minute before the one of `now`. A job that ended in it is counted once, since the schedule has one call a minute.
#[must_use]
pub fn last_minute(now: Timestamp) -> (SystemTime, SystemTime) {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(now.as_second() / 60 * 60).unwrap_or(0));
    (end - Duration::from_secs(60), end)
}

/// How many of the jobs in a state count now.
#[must_use]
pub fn count(state: JobState, jobs: &[JobSummary], now: Timestamp) -> u64 {
    let (start, end) = last_minute(now);
    let counts = |job: &&JobSummary| !state.is_over() || job.stopped.is_some_and(|at| (start..end).contains(&at));
    jobs.iter().filter(counts).count() as u64
}

/// The values for `PutMetricData`.
#[must_use]
pub fn data(counts: &Counts) -> Vec<Datum> {
    let value = |count: u64| count as f64;
    let messages = counts.queues.iter().map(|(queue, depth)| Datum {
        name: MESSAGES,
        dimensions: vec![("Queue", (*queue).to_owned())],
        value: value(depth.total()),
    });
    let jobs = counts.jobs.iter().map(|(queue, state, jobs)| Datum {
        name: JOBS,
        dimensions: vec![("JobQueue", queue.clone()), ("State", state.name().to_owned())],
        value: value(*jobs),
    });
    messages.chain(jobs).collect()
}

/// The line in embedded metric format.
#[must_use]
pub fn embedded(counts: &Counts, namespace: &str, now: Timestamp) -> Value {
    let jobs = |states: &[JobState]| -> u64 {
        counts.jobs.iter().filter(|(_, state, _)| states.contains(state)).map(|(_, _, jobs)| jobs).sum()
    };
    let sums = [
        ("MessagesWaiting", counts.queues.iter().map(|(_, depth)| depth.visible + depth.delayed).sum::<u64>()),
        ("MessagesInFlight", counts.queues.iter().map(|(_, depth)| depth.in_flight).sum()),
        ("JobsWaiting", jobs(&[JobState::Submitted, JobState::Pending, JobState::Runnable])),
        ("JobsAtWork", jobs(&[JobState::Starting, JobState::Running])),
        ("JobsSucceeded", jobs(&[JobState::Succeeded])),
        ("JobsFailed", jobs(&[JobState::Failed])),
    ];
    let names: Vec<Value> = sums.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [["Service"]], "Metrics": names}],
        },
        "Service": SERVICE,
    });
    for (name, sum) in sums {
        line[name] = sum.into();
    }
    for (queue, depth) in &counts.queues {
        line["Queues"][*queue] =
            json!({"Visible": depth.visible, "InFlight": depth.in_flight, "Delayed": depth.delayed});
    }
    for (queue, state, jobs) in &counts.jobs {
        line["JobQueues"][queue][state.name()] = (*jobs).into();
    }
    line
}

/// The last part of an ARN: what people call the queue.
fn short(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// Counts, publishes, and gives the line to print.
///
/// # Errors
/// [`crate::Error::Service`]; the next minute asks again.
pub async fn handle<P>(ports: &P, config: &Metrics, now: Timestamp) -> Result<Value>
where
    P: QueueDepth + ListJobs + PutMetrics,
{
    let mut counts = Counts { queues: Vec::new(), jobs: Vec::new() };
    for (role, url) in [("raw", &config.raw_queue), ("recon", &config.recon_queue)] {
        counts.queues.push((role, ports.queue_depth(url).await?));
    }
    for queue in [&config.job_queue, &config.prepare_queue] {
        for state in JobState::ALL {
            let jobs = ports.list_jobs(queue, state).await?;
            counts.jobs.push((short(queue), state, count(state, &jobs, now)));
        }
    }
    ports.put_metrics(&config.namespace, &data(&counts)).await?;
    Ok(embedded(&counts, &config.namespace, now))
}

/// Prints a line in embedded metric format, which must be alone on its line.
///
/// # Errors
/// When standard output is closed.
pub fn print(line: &Value) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{line}")
}

#[cfg(test)]
mod tests;
