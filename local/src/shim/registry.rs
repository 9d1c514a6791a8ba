//! Job definitions, queues and compute environments, read out of the template.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::endpoints::{ACCOUNT, REGION};
use crate::shim::retry::RetryStrategy;
use crate::template::Template;
use crate::template::intrinsics::Resolver;
use crate::{Error, Result};

/// Everything of Batch that exists before a job.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Job definitions by name.
    pub definitions: BTreeMap<String, Definition>,
    /// `JobQueueDetail` of every queue by name.
    pub queues: BTreeMap<String, Value>,
    /// `ComputeEnvironmentDetail` of every compute environment by name.
    pub environments: BTreeMap<String, Value>,
}

/// Which program a container of a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// The reconstruction job; its definition asks for a GPU.
    Gpu,
    /// The preparation of archives that are too large for a function.
    Prepare,
}

/// A job definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// `JobDefinition` as `DescribeJobDefinitions` answers it.
    pub detail: Value,
    /// What the container runs.
    pub program: Program,
    /// Arguments, with `Ref::name` placeholders.
    pub command: Vec<String>,
    /// Default values of the placeholders.
    pub parameters: BTreeMap<String, String>,
    /// Variables of the container.
    pub environment: BTreeMap<String, String>,
    /// What happens after an attempt.
    pub retry: RetryStrategy,
    /// Limit of one attempt, s.
    pub timeout_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

impl Registry {
    /// Reads the Batch resources of a template. Their `Condition` does not count: it keeps them away from an emulator
    /// that has no Batch. Their names are those the template uses where they do not exist.
    ///
    /// # Errors
    /// [`Error::Template`] for a resource that cannot be resolved or lacks what a container needs.
    pub fn of(template: &Template, resolver: &Resolver<'_>) -> Result<Self> {
        let names = template.names_off_aws();
        let mut ids = resolver.resources.clone();
        for (kind, arn_kind) in [
            ("AWS::Batch::JobDefinition", "job-definition"),
            ("AWS::Batch::JobQueue", "job-queue"),
            ("AWS::Batch::ComputeEnvironment", "compute-environment"),
        ] {
            for (id, _) in template.resources(kind) {
                // As CloudFormation does, Ref of these gives the ARN.
                ids.extend(names.get(id).map(|name| (id.to_owned(), arn(arn_kind, name))));
            }
        }
        let resolver = &Resolver { resources: &ids, ..resolver.clone() };
        let name = |properties: &Value, key: &str, id: &str| {
            let named = names.get(id).map(String::as_str).or_else(|| properties[key].as_str());
            // Without a name CloudFormation makes one of stack, logical id and random digits.
            named.map_or_else(|| format!("{}-{id}", resolver.stack), str::to_owned)
        };
        let resources = |kind| {
            template.resources(kind).map(move |(id, resource)| {
                let properties = resolver.resolve(&resource["Properties"])?.unwrap_or_default();
                Ok::<_, Error>((id, api_form(&properties)))
            })
        };
        let mut registry = Self::default();
        for resource in resources("AWS::Batch::JobDefinition") {
            let (id, properties) = resource?;
            let definition = definition(&name(&properties, "jobDefinitionName", id), &properties)?;
            registry.definitions.insert(definition.name.clone(), definition);
        }
        for resource in resources("AWS::Batch::ComputeEnvironment") {
            let (id, mut properties) = resource?;
            let name = name(&properties, "computeEnvironmentName", id);
            properties["computeEnvironmentName"] = name.as_str().into();
            properties["computeEnvironmentArn"] = arn("compute-environment", &name).into();
            properties["status"] = "VALID".into();
            properties["statusReason"] = "ComputeEnvironment Healthy".into();
            if let Some(fields) = properties.as_object_mut() {
                // Accepted when one is made, not part of what describes it.
                fields.remove("replaceComputeEnvironment");
                fields.entry("state").or_insert_with(|| "ENABLED".into());
                fields.entry("type").or_insert_with(|| "MANAGED".into());
            }
            if let Some(compute) = properties["computeResources"].as_object_mut() {
                compute.remove("updateToLatestImageVersion");
                let minimum = compute.get("minvCpus").cloned().unwrap_or_else(|| 0.into());
                compute.entry("desiredvCpus").or_insert(minimum);
            }
            registry.environments.insert(name, properties);
        }
        for resource in resources("AWS::Batch::JobQueue") {
            let (id, mut properties) = resource?;
            let name = name(&properties, "jobQueueName", id);
            properties["jobQueueName"] = name.as_str().into();
            properties["jobQueueArn"] = arn("job-queue", &name).into();
            properties["status"] = "VALID".into();
            if let Some(fields) = properties.as_object_mut() {
                fields.entry("state").or_insert_with(|| "ENABLED".into());
            }
            registry.queues.insert(name, properties);
        }
        Ok(registry)
    }

    /// A definition by name, `name:revision` or ARN. There is one revision of each.
    #[must_use]
    pub fn definition(&self, reference: &str) -> Option<&Definition> {
        let name = reference.rsplit('/').next()?;
        self.definitions.get(name.strip_suffix(":1").unwrap_or(name))
    }

    /// Name of a queue given by name or ARN.
    #[must_use]
    pub fn queue(&self, reference: &str) -> Option<&str> {
        let name = reference.rsplit('/').next()?;
        self.queues.get_key_value(name).map(|(name, _)| name.as_str())
    }
}

/// Amazon resource name of something of Batch.
pub(crate) fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:batch:{REGION}:{ACCOUNT}:{kind}/{name}")
}

fn definition(name: &str, properties: &Value) -> Result<Definition> {
    let wrong = |what: &str| Error::Template(format!("job definition {name}: {what}"));
    let container = &properties["containerProperties"];
    let field = |value: &Value| if value.is_null() { None } else { Some(value.clone()) };
    let read = |value: &Value, what: &str, default: Value| {
        serde_json::from_value(field(value).unwrap_or(default)).map_err(|error| wrong(&format!("{what}: {error}")))
    };
    if !container.is_object() {
        return Err(wrong("it has no ContainerProperties"));
    }
    let command: Vec<String> =
        serde_json::from_value(container["command"].clone()).map_err(|_| wrong("Command is no list of text"))?;
    let variables: Vec<Variable> = serde_json::from_value(field(&container["environment"]).unwrap_or(json!([])))
        .map_err(|error| wrong(&format!("Environment: {error}")))?;
    let retry: RetryStrategy = serde_json::from_value(field(&properties["retryStrategy"]).unwrap_or(json!({})))
        .map_err(|error| wrong(&format!("RetryStrategy: {error}")))?;
    if let Some(refusal) = retry.refusal() {
        return Err(wrong(&refusal));
    }
    let needs = container["resourceRequirements"].as_array().into_iter().flatten();
    let gpu = needs.into_iter().any(|need| need["type"].as_str() == Some("GPU"));
    let mut detail = json!({
        "jobDefinitionName": name,
        "jobDefinitionArn": arn("job-definition", &format!("{name}:1")),
        "revision": 1,
        "status": "ACTIVE",
        "type": "container",
        "retryStrategy": retry,
        "containerProperties": container,
    });
    for key in ["parameters", "timeout", "platformCapabilities", "propagateTags", "tags"] {
        if !properties[key].is_null() {
            detail[key] = properties[key].clone();
        }
    }
    Ok(Definition {
        name: name.to_owned(),
        detail,
        program: if gpu { Program::Gpu } else { Program::Prepare },
        command,
        parameters: read(&properties["parameters"], "Parameters", json!({}))?,
        environment: variables.into_iter().map(|variable| (variable.name, variable.value)).collect(),
        retry,
        timeout_seconds: properties["timeout"]["attemptDurationSeconds"].as_u64(),
    })
}

/// Properties of CloudFormation in the form of the Batch API: field names begin with a small letter, and numbers that
/// went through an expression are numbers again.
fn api_form(value: &Value) -> Value {
    const NAMES_OF_THE_USER: [&str; 3] = ["Parameters", "Tags", "Options"];
    const NUMBERS: [&str; 8] = [
        "MinvCpus",
        "MaxvCpus",
        "DesiredvCpus",
        "AttemptDurationSeconds",
        "Attempts",
        "Priority",
        "Order",
        "BidPercentage",
    ];
    match value {
        Value::Array(items) => items.iter().map(api_form).collect(),
        Value::Object(fields) => Value::Object(Map::from_iter(fields.iter().map(|(key, field)| {
            let mut letters = key.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            let name: String = first.into_iter().chain(letters).collect();
            let number = || field.as_str().and_then(|text| text.parse::<i64>().ok()).map(Value::from);
            let field = match key.as_str() {
                key if NAMES_OF_THE_USER.contains(&key) => field.clone(),
                key if NUMBERS.contains(&key) => number().unwrap_or_else(|| api_form(field)),
                _ => api_form(field),
            };
            (name, field)
        }))),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(template: &str, parameters: &[(&str, &str)]) -> Result<Registry> {
        let template = Template::parse(template)?;
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let resolver = Resolver {
            template: &template.document,
            parameters: &parameters,
            resources: &BTreeMap::new(),
            stack: "raki-cloud",
            region: REGION,
            account: ACCOUNT,
        };
        Registry::of(&template, &resolver)
    }

    #[test]
    fn the_built_in_template_has_one_definition_for_each_program_and_holds_to_the_exit_codes() {
        let registry = registry(crate::template::BUILT_IN, &[("Target", "local")]).unwrap();
        let mut programs: Vec<_> = registry.definitions.values().map(|d| d.program == Program::Gpu).collect();
        programs.sort_unstable();
        assert_eq!(programs, [false, true]);
        for definition in registry.definitions.values() {
            let after = |code| {
                let status_reason = Some("Essential container in task exited".to_owned());
                let ended = crate::shim::retry::Ended { exit_code: Some(code), reason: None, status_reason };
                definition.retry.tries_again(1, &ended)
            };
            for exit in contract::ExitCode::ALL {
                let again = exit.disposition() == contract::Disposition::Retry;
                assert_eq!(after(i32::from(exit.code())), again, "{}: {exit:?}", definition.name);
            }
        }
        assert!(!registry.queues.is_empty() && !registry.environments.is_empty());
    }

    #[test]
    fn names_revisions_and_arns_find_the_same_definition_and_queue() {
        let text = "Resources:\n  D: {Type: 'AWS::Batch::JobDefinition', Properties: {JobDefinitionName: !Sub '${AWS::StackName}-recon', ContainerProperties: {Command: [run, 'Ref::spec']}, Timeout: {AttemptDurationSeconds: '60'}}}\n  Q: {Type: 'AWS::Batch::JobQueue', Properties: {JobQueueName: q, Priority: 1, ComputeEnvironmentOrder: []}}\n";
        let registry = registry(text, &[]).unwrap();
        for reference in ["raki-cloud-recon", "raki-cloud-recon:1", &arn("job-definition", "raki-cloud-recon:1")] {
            assert_eq!(registry.definition(reference).map(|d| d.timeout_seconds), Some(Some(60)), "{reference}");
        }
        assert!(registry.definition("recon").is_none());
        assert_eq!(registry.queue(&arn("job-queue", "q")), Some("q"));
        assert_eq!(registry.queue("other"), None);
    }

    #[test]
    fn a_definition_without_a_container_is_refused() {
        let text = "Resources: {D: {Type: 'AWS::Batch::JobDefinition', Properties: {Type: container}}}";
        assert!(registry(text, &[]).unwrap_err().to_string().contains("no ContainerProperties"));
    }
}
