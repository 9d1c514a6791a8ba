//! The routes of both services: checks as AWS makes them, answers in its form.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::shim::gateway::{Refusal, Request};
use crate::shim::job::{Job, JobStatus};
use crate::shim::registry::arn;
use crate::shim::retry::{RetryStrategy, matches_pattern};
use crate::shim::runner::{Stop, now, substitute};
use crate::shim::{Shared, State};

/// <https://docs.aws.amazon.com/batch/latest/userguide/service_limits.html>
const MAX_PAYLOAD: usize = 30 * 1024;
const MAX_NAME: usize = 128;
const MAX_DESCRIBED: usize = 100;
const MIN_TIMEOUT_SECONDS: u64 = 60;
const DEFAULT_PAGE: usize = 100;
const REFRESH_CACHE: &str = "StorageGateway_20130630.RefreshCache";

/// A refusal the caller is to blame for.
struct ClientException(String);

type Answer = Result<Value, ClientException>;
type Handler = fn(&Arc<Shared>, &[u8]) -> Answer;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let batch: [(&str, Handler); 9] = [
        ("/v1/submitjob", submit_job),
        ("/v1/describejobs", describe_jobs),
        ("/v1/listjobs", list_jobs),
        ("/v1/terminatejob", terminate_job),
        ("/v1/canceljob", cancel_job),
        ("/v1/describecomputeenvironments", describe_compute_environments),
        ("/v1/updatecomputeenvironment", update_compute_environment),
        ("/v1/describejobqueues", describe_job_queues),
        ("/v1/describejobdefinitions", describe_job_definitions),
    ];
    let mut router = Router::new().route("/", post(storage_gateway));
    for (path, handler) in batch {
        let answer = move |Extract(shared): Extract<Arc<Shared>>, body: Bytes| async move {
            match handler(&shared, &body) {
                Ok(answer) => (StatusCode::OK, axum::Json(answer)).into_response(),
                Err(ClientException(message)) => refusal("ClientException", json!({ "message": message })),
            }
        };
        router = router.route(path, post(answer));
    }
    router.with_state(shared)
}

fn refusal(exception: &'static str, body: Value) -> Response {
    let mut response = (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(exception));
    response
}

fn client(message: impl Into<String>) -> ClientException {
    ClientException(message.into())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientException> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| client(format!("Error executing request, Exception : {error}")))
}

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

fn submit_job(shared: &Arc<Shared>, body: &[u8]) -> Answer {
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

/// Looks like the ids of AWS, which are version 4 UUIDs.
fn job_id() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // RandomState is seeded by the system; every instance differs.
    let random = || RandomState::new().build_hasher().finish();
    let (a, b) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | ((b >> 48) & 0x3fff),
        b & 0xffff_ffff_ffff
    )
}

#[derive(Deserialize)]
struct DescribeJobs {
    jobs: Vec<String>,
}

fn describe_jobs(shared: &Arc<Shared>, body: &[u8]) -> Answer {
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
fn list_jobs(shared: &Arc<Shared>, body: &[u8]) -> Answer {
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

fn page(key: &str, items: &[Value], size: Option<usize>, token: Option<&str>) -> Value {
    let start = token.and_then(|token| token.parse().ok()).unwrap_or(0).min(items.len());
    let end = (start + size.unwrap_or(DEFAULT_PAGE).clamp(1, DEFAULT_PAGE)).min(items.len());
    let mut answer = json!({ key: items[start..end] });
    if end < items.len() {
        answer["nextToken"] = end.to_string().into();
    }
    answer
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopJob {
    #[serde(default)]
    job_id: String,
    #[serde(default)]
    reason: String,
}

fn terminate_job(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    stop_job(shared, body, |job| job.terminated = true, Stop::Terminate)
}

fn cancel_job(shared: &Arc<Shared>, body: &[u8]) -> Answer {
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Describe {
    #[serde(alias = "computeEnvironments", alias = "jobQueues", alias = "jobDefinitions", default)]
    names: Vec<String>,
    job_definition_name: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

fn describe(shared: &Arc<Shared>, body: &[u8], key: &str, all: fn(&State) -> Vec<(&str, &Value)>) -> Answer {
    let request: Describe = parse(body)?;
    let state = shared.lock();
    let short = |reference: &str| {
        let name = reference.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(":1").unwrap_or(name).to_owned()
    };
    let names: Vec<String> = request.names.iter().chain(&request.job_definition_name).map(|name| short(name)).collect();
    let wanted = all(&state).into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name));
    let found: Vec<Value> = wanted.map(|(_, detail)| detail.clone()).collect();
    Ok(page(key, &found, request.max_results, request.next_token.as_deref()))
}

fn describe_compute_environments(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    describe(shared, body, "computeEnvironments", |state| {
        state.registry.environments.iter().map(|(name, detail)| (name.as_str(), detail)).collect()
    })
}

fn describe_job_queues(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    describe(shared, body, "jobQueues", |state| {
        state.registry.queues.iter().map(|(name, detail)| (name.as_str(), detail)).collect()
    })
}

fn describe_job_definitions(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    describe(shared, body, "jobDefinitions", |state| {
        state.registry.definitions.iter().map(|(name, definition)| (name.as_str(), &definition.detail)).collect()
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateComputeEnvironment {
    #[serde(default)]
    compute_environment: String,
    state: Option<String>,
    compute_resources: Option<ComputeResourceUpdate>,
}

#[derive(Deserialize)]
struct ComputeResourceUpdate {
    #[serde(rename = "minvCpus")]
    minimum: Option<i64>,
    #[serde(rename = "maxvCpus")]
    maximum: Option<i64>,
    #[serde(rename = "desiredvCpus")]
    desired: Option<i64>,
}

fn update_compute_environment(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    let request: UpdateComputeEnvironment = parse(body)?;
    let name = request.compute_environment.rsplit('/').next().unwrap_or_default();
    let mut state = shared.lock();
    let environment = state.registry.environments.get_mut(name);
    let environment = environment.ok_or_else(|| client(format!("{name} does not exist")))?;
    if let Some(wanted) = request.compute_resources {
        let compute = &mut environment["computeResources"];
        let minimum = wanted.minimum.or_else(|| compute["minvCpus"].as_i64()).unwrap_or(0);
        let maximum = wanted.maximum.or_else(|| compute["maxvCpus"].as_i64()).unwrap_or(0);
        let before = compute["desiredvCpus"].as_i64().unwrap_or(0);
        let desired = wanted.desired.unwrap_or_else(|| before.clamp(minimum, maximum.max(minimum)));
        if !(0 <= minimum && minimum <= desired && desired <= maximum) {
            return Err(client("minvCpus must be at most desiredvCpus, and desiredvCpus at most maxvCpus"));
        }
        if wanted.desired.is_some_and(|wanted| wanted < before) {
            return Err(client("Manually scaling down compute environment is not supported."));
        }
        compute["minvCpus"] = minimum.into();
        compute["maxvCpus"] = maximum.into();
        compute["desiredvCpus"] = desired.into();
    }
    if let Some(wanted) = request.state {
        environment["state"] = wanted.into();
    }
    Ok(json!({ "computeEnvironmentName": name, "computeEnvironmentArn": arn("compute-environment", name) }))
}

async fn storage_gateway(Extract(shared): Extract<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = if target == REFRESH_CACHE {
        serde_json::from_slice(&body)
            .map_err(|error| Refusal { exception: "ValidationException", message: error.to_string() })
            .and_then(|request: Request| {
                let share = request.file_share_arn.clone();
                let refresh = shared.lock().gateway.refresh(request, Instant::now(), job_id())?;
                Ok(json!({ "FileShareARN": share, "NotificationId": refresh.notification_id }))
            })
    } else {
        let message = "only RefreshCache of Storage Gateway is played on one machine".to_owned();
        Err(Refusal { exception: "UnknownOperationException", message })
    };
    let mut response = match answer {
        Ok(answer) => (StatusCode::OK, axum::Json(answer)).into_response(),
        Err(Refusal { exception, message }) => {
            let mut body = json!({ "__type": exception, "message": message });
            if exception == "InvalidGatewayRequestException" {
                body["error"] = json!({ "errorCode": "InvalidParameters", "errorDetails": { "message": message } });
            }
            refusal(exception, body)
        }
    };
    let json = HeaderValue::from_static("application/x-amz-json-1.1");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn job_names_follow_the_pattern_of_batch() {
        for name in ["recon-0123456789abcdef", "a", "A_b-1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "_a", "a.b", "a b", "ä", &"a".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn pages_hold_every_item_once(count in 0..230usize, size in 1..120usize) {
            let items: Vec<Value> = (0..count).map(Value::from).collect();
            let (mut seen, mut token) = (Vec::new(), None::<String>);
            loop {
                let answer = page("items", &items, Some(size), token.as_deref());
                seen.extend(answer["items"].as_array().cloned().unwrap_or_default());
                token = answer["nextToken"].as_str().map(str::to_owned);
                if token.is_none() { break; }
            }
            prop_assert_eq!(seen, items);
        }
    }
}
