//! Deploys the template to the emulator as `sam deploy` does: package, upload, create the stack, wait.
//!
//! | module | what it does |
//! |---|---|
//! | [`package`] | a compiled function as an archive |

pub mod package;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};

use crate::template::Template;
use crate::{Error, Result, endpoints};

/// Name of the stack; it begins the names of buckets and functions.
pub const STACK: &str = "raki-cloud";
const ARTEFACTS: &str = "raki-cloud-artefacts";
const LIMIT: Duration = Duration::from_secs(120);

/// A deployed stack.
#[derive(Debug, Clone, Default)]
pub struct Deployed {
    /// Physical ids by logical id.
    pub resources: BTreeMap<String, String>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, String>,
}

impl Deployed {
    /// An output of the stack.
    ///
    /// # Errors
    /// [`Error::Template`] when the template has no such output.
    pub fn output(&self, name: &str) -> Result<String> {
        self.outputs.get(name).cloned().ok_or_else(|| Error::Template(format!("there is no output {name}")))
    }
}

/// Deploys `template` with the programs in `bin_dir`.
///
/// # Errors
/// [`Error::Usage`] for a missing program, [`Error::Service`] with the first failed resource's reason.
pub async fn deploy(
    config: &SdkConfig,
    mut template: Template,
    bin_dir: &Path,
    parameters: &BTreeMap<String, String>,
) -> Result<Deployed> {
    let s3 = endpoints::s3(config);
    s3.create_bucket().bucket(ARTEFACTS).send().await.map_err(Error::service("S3", "create the artefact bucket"))?;
    for function in template.functions() {
        let path = bin_dir.join(&function.program);
        let archive = tokio::task::spawn_blocking(move || package::zip(&path)).await;
        let archive = archive.map_err(|error| Error::io("packing a function")(error.into()))??;
        let key = format!("{}.zip", function.program);
        let body = archive.into();
        let put = s3.put_object().bucket(ARTEFACTS).key(&key).body(body).send().await;
        put.map_err(Error::service("S3", "take a function"))?;
        template.set_code(&function.logical_id, &format!("s3://{ARTEFACTS}/{key}"));
    }
    // In a bucket, since the API takes 51,200 bytes at most directly.
    let body = template.document.to_string().into_bytes().into();
    let put = s3.put_object().bucket(ARTEFACTS).key("template.json").body(body).send().await;
    put.map_err(Error::service("S3", "take the template"))?;
    let endpoint = config.endpoint_url().unwrap_or_default();
    let client = Client::new(config);
    let parameter =
        |(name, value): (&String, &String)| Parameter::builder().parameter_key(name).parameter_value(value).build();
    client
        .create_stack()
        .stack_name(STACK)
        .template_url(format!("{endpoint}/{ARTEFACTS}/template.json"))
        .set_parameters(Some(parameters.iter().map(parameter).collect()))
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityNamedIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .send()
        .await
        .map_err(Error::service("CloudFormation", "create the stack"))?;
    let outputs = wait(&client).await?;
    let resources = client.describe_stack_resources().stack_name(STACK).send().await;
    let resources = resources.map_err(Error::service("CloudFormation", "describe the stack"))?;
    let id = |resource: &aws_sdk_cloudformation::types::StackResource| {
        Some((resource.logical_resource_id()?.to_owned(), resource.physical_resource_id()?.to_owned()))
    };
    Ok(Deployed { resources: resources.stack_resources().iter().filter_map(id).collect(), outputs })
}

async fn wait(client: &Client) -> Result<BTreeMap<String, String>> {
    let start = Instant::now();
    loop {
        let answer = client.describe_stacks().stack_name(STACK).send().await;
        let answer = answer.map_err(Error::service("CloudFormation", "describe the stack"))?;
        let stack = answer.stacks().first();
        match stack.and_then(|stack| stack.stack_status()) {
            Some(StackStatus::CreateComplete) => {
                let outputs = stack.map(aws_sdk_cloudformation::types::Stack::outputs).unwrap_or_default();
                let pair = |output: &aws_sdk_cloudformation::types::Output| {
                    Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
                };
                return Ok(outputs.iter().filter_map(pair).collect());
            }
            Some(StackStatus::CreateInProgress) | None => {}
            Some(_) => return Err(failure(client).await),
        }
        if start.elapsed() > LIMIT {
            return Err(Error::Timeout { what: "deploying the stack".to_owned(), seconds: LIMIT.as_secs() });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The first resource that failed, and why: what follows it is only its consequence.
async fn failure(client: &Client) -> Error {
    let events = match client.describe_stack_events().stack_name(STACK).send().await {
        Ok(events) => events,
        Err(error) => return Error::service("CloudFormation", "create the stack")(error),
    };
    let failed = events
        .stack_events()
        .iter()
        .rev()
        .find(|event| event.resource_status().is_some_and(|status| status.as_str().ends_with("_FAILED")));
    let message = failed.map_or_else(
        || "it was rolled back without a reason".to_owned(),
        |event| {
            let id = event.logical_resource_id().unwrap_or("a resource");
            format!("{id}: {}", event.resource_status_reason().unwrap_or("no reason"))
        },
    );
    Error::Service { service: "CloudFormation", action: "create the stack", message }
}
