//! What jobs of Batch run in: compute environments, queues and definitions.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, client, page, parse};
use crate::shim::registry::arn;
use crate::shim::{Shared, State};

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

pub(super) fn describe_compute_environments(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    describe(shared, body, "computeEnvironments", |state| {
        state.registry.environments.iter().map(|(name, detail)| (name.as_str(), detail)).collect()
    })
}

pub(super) fn describe_job_queues(shared: &Arc<Shared>, body: &[u8]) -> Answer {
    describe(shared, body, "jobQueues", |state| {
        state.registry.queues.iter().map(|(name, detail)| (name.as_str(), detail)).collect()
    })
}

pub(super) fn describe_job_definitions(shared: &Arc<Shared>, body: &[u8]) -> Answer {
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

pub(super) fn update_compute_environment(shared: &Arc<Shared>, body: &[u8]) -> Answer {
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
