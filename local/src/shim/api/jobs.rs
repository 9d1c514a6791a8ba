//! Jobs of Batch: submitted, described, listed, stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ClientException, client, job_id, page, parse};
use crate::shim::Shared;
use crate::shim::job::{Job, JobStatus};
use crate::shim::retry::{RetryStrategy, matches_pattern};
use crate::shim::runner::{Stop, now, substitute};

/// <https://docs.aws.amazon.com/batch/latest/userguide/service_limits.html>
const MAX_PAYLOAD: usize = 30 * 1024;
const MAX_NAME: usize = 128;
const MAX_DESCRIBED: usize = 100;
const MIN_TIMEOUT_SECONDS: u64 = 60;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubmitJob {
    #[serde(default)]
    job_name: String,
    #[serde(default)]
    job_queue: String,
    #[serde(default)]
    job_definition: String,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    #[serde(default)]
    container_overrides: ContainerOverrides,
    retry_strategy: Option<RetryStrategy>,
    timeout: Option<Timeout>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    depends_on: Vec<Value>,
    array_properties: Option<Value>,
    node_overrides: Option<Value>,
    eks_properties_override: Option<Value>,
    ecs_properties_override: Option<Value>,
}

#[derive(Deserialize, Default)]
struct ContainerOverrides {
    command: Option<Vec<String>>,
    #[serde(default)]
    environment: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timeout {
    attempt_duration_seconds: u64,
}

pub(super) fn submit_job(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    if body.len() > MAX_PAYLOAD {
        return Err(client(format!("SubmitJob payload must be at most {MAX_PAYLOAD} bytes, found {}", body.len())));
    }
    let request: SubmitJob = parse(body)?;
    check_name(&request.job_name)?;
    let unsupported = [
        ("arrayProperties", request.array_properties.is_some()),
        ("nodeOverrides", request.node_overrides.is_some()),
        ("eksPropertiesOverride", request.eks_properties_override.is_some()),
        ("ecsPropertiesOverride", request.ecs_properties_override.is_some()),
        ("dependsOn", !request.depends_on.is_empty()),
    ];
    if let Some((name, _)) = unsupported.into_iter().find(|(_, given)| *given) {
        return Err(client(format!("{name} is not played on one machine")));
    }
    let job = {
        let state = shared.lock();
        let registry = &state.registry;
        let queue = registry.queue(&request.job_queue);
        let queue = queue.ok_or_else(|| client(format!("JobQueue {} not found.", request.job_queue)))?.to_owned();
        let definition = registry.definition(&request.job_definition);
        let definition =
            definition.ok_or_else(|| client(format!("JobDefinition {} not found.", request.job_definition)))?;
        let retry = request.retry_strategy.unwrap_or_else(|| definition.retry.clone());
        if let Some(message) = retry.refusal() {
            return Err(client(message));
        }
        let timeout_seconds = request.timeout.map(|timeout| timeout.attempt_duration_seconds);
        if timeout_seconds.is_some_and(|seconds| seconds < MIN_TIMEOUT_SECONDS) {
            return Err(client(format!("attemptDurationSeconds must be at least {MIN_TIMEOUT_SECONDS}")));
        }
        let timeout_seconds = timeout_seconds.or(definition.timeout_seconds);
        let mut parameters = definition.parameters.clone();
        parameters.extend(request.parameters);
        let mut environment = definition.environment.clone();
        environment.extend(request.container_overrides.environment.into_iter().map(|v| (v.name, v.value)));
        let command = request.container_overrides.command.unwrap_or_else(|| definition.command.clone());
        Job {
            id: job_id(),
            name: request.job_name,
            queue,
            definition: definition.detail["jobDefinitionArn"].as_str().unwrap_or_default().to_owned(),
            container: definition.detail["containerProperties"].clone(),
            program: definition.program,
            command: substitute(&command, &parameters),
            parameters,
            environment,
            retry,
            timeout_seconds,
            tags: request.tags,
            status: JobStatus::Submitted,
            status_reason: None,
            created: now(),
            started: None,
            stopped: None,
            attempts: Vec::new(),
            log: None,
            cancelled: false,
            terminated: false,
            pid: None,
        }
    };
    let answer = json!({ "jobArn": job.arn(), "jobName": job.name, "jobId": job.id });
    shared.submit(job);
    Ok(answer)
}

/// Up to 128 letters, digits, `-` and `_`, the first a letter or digit:
/// <https://docs.aws.amazon.com/batch/latest/APIReference/API_SubmitJob.html>.
fn check_name(name: &str) -> Result<(), ClientException> {
    let valid = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if valid { Ok(()) } else { Err(client("Job name should match valid pattern")) }
}

#[derive(Deserialize)]
struct DescribeJobs {
    jobs: Vec<String>,
}

pub(super) fn describe_jobs(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    let request: DescribeJobs = parse(body)?;
    if !(1..=MAX_DESCRIBED).contains(&request.jobs.len()) {
        return Err(client(format!("jobs must have 1 to {MAX_DESCRIBED} members, found {}", request.jobs.len())));
    }
    let state = shared.lock();
    let wanted = request.jobs.iter().map(|reference| reference.rsplit('/').next().unwrap_or_default());
    let found = wanted.filter_map(|id| state.jobs.iter().find(|job| job.id == id));
    Ok(json!({ "jobs": found.map(Job::detail).collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListJobs {
    job_queue: Option<String>,
    job_status: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
struct Filter {
    name: String,
    #[serde(default)]
    values: Vec<String>,
}

/// Without a filter, the jobs of one status, `RUNNING` unless stated; with a filter, of every status:
/// <https://docs.aws.amazon.com/batch/latest/APIReference/API_ListJobs.html>.
pub(super) fn list_jobs(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    let request: ListJobs = parse(body)?;
    let state = shared.lock();
    let queue = request.job_queue.as_deref().ok_or_else(|| client("jobQueue must be specified"))?;
    let queue = state.registry.queue(queue).ok_or_else(|| client(format!("JobQueue {queue} not found.")))?;
    let status = request.job_status.as_deref().unwrap_or("RUNNING");
    let status = JobStatus::from_name(status).ok_or_else(|| client(format!("{status} is no job status")))?;
    let filter = match request.filters.as_slice() {
        [] => None,
        [one] => Some(checked(one)?),
        _ => return Err(client("only one filter can be used at a time")),
    };
    let listed = state.jobs.iter().filter(|job| job.queue == queue).filter(|job| match filter {
        Some(filter) => passes(job, filter),
        None => job.status == status,
    });
    // Newest first, as AWS lists them.
    let summaries: Vec<Value> = listed.rev().map(Job::summary).collect();
    Ok(page("jobSummaryList", &summaries, request.max_results, request.next_token.as_deref()))
}

fn checked(filter: &Filter) -> Result<&Filter, ClientException> {
    let known = ["JOB_NAME", "JOB_DEFINITION", "BEFORE_CREATED_AT", "AFTER_CREATED_AT"];
    if !known.contains(&filter.name.as_str()) {
        return Err(client(format!("filter {} is not one of {}", filter.name, known.join(", "))));
    }
    let time = filter.name.ends_with("CREATED_AT");
    if time && filter.values.iter().any(|value| value.parse::<i64>().is_err()) {
        return Err(client("a time is given in milliseconds since 1970"));
    }
    Ok(filter)
}

fn passes(job: &Job, filter: &Filter) -> bool {
    filter.values.iter().any(|value| match filter.name.as_str() {
        "JOB_NAME" => matches_pattern(value, &job.name),
        "JOB_DEFINITION" => {
            let name = job.definition.rsplit('/').next().unwrap_or_default();
            matches_pattern(value, name) || matches_pattern(value, name.split(':').next().unwrap_or_default())
        }
        "BEFORE_CREATED_AT" => value.parse().is_ok_and(|time: i64| job.created < time),
        _ => value.parse().is_ok_and(|time: i64| job.created > time),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopJob {
    #[serde(default)]
    job_id: String,
    #[serde(default)]
    reason: String,
}

pub(super) fn terminate_job(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    stop_job(shared, body, |job| job.terminated = true, Stop::Terminate)
}

pub(super) fn cancel_job(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    stop_job(shared, body, |job| job.cancelled = job.status < JobStatus::Starting, Stop::Cancel)
}

fn stop_job(shared: &Arc<Shared>, body: &[u8], mark: fn(&mut Job), stop: fn(String) -> Stop) -> Answer {
    let request: StopJob = parse(body)?;
    if request.job_id.is_empty() || request.reason.is_empty() {
        return Err(client("jobId and reason must be specified"));
    }
    // An id that is not known, or of a job that is over, is answered like any other.
    shared.change(&request.job_id, |job| {
        if !job.status.is_over() {
            mark(job);
        }
    });
    shared.stop(&request.job_id, stop(request.reason));
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_names_follow_the_pattern_of_batch() {
        for name in ["recon-0123456789abcdef", "a", "A_b-1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "_a", "a.b", "a b", "ä", &"a".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
