//! The ports on AWS.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_batch::types::{CeState, CeStatus, ComputeResourceUpdate, JobStatus, JobSummary as Summary, KeyValuesPair};
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_sdk_s3::types::{Tag, Tagging};
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use store::{Location, Object, ObjectInfo, PutOptions, PutOutcome, Store};

use crate::decompress::prepare;
use crate::message::Created;
use crate::ports::{
    Datum, Depth, DescribeEnvironments, FindJobs, Found, GetObject, HeadObject, JobRequest, JobState, JobSummary,
    ListJobs, MoveLimits, OpenTask, Postpone, Prepare, PrepareTask, PutMetrics, PutObject, QueueDepth, RefreshCache,
    Refreshed, SubmitJob, TagObject,
};
use crate::scale::{Change, Environment};
use crate::{Error, Result};

/// The most values of one `PutMetricData`.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const METRICS_PER_REQUEST: usize = 1000;

/// Clients of every service. They connect when first used, so one that is not used costs nothing.
#[derive(Debug, Clone)]
pub struct Clients {
    store: Store,
    s3: aws_sdk_s3::Client,
    batch: aws_sdk_batch::Client,
    sqs: aws_sdk_sqs::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    gateway: aws_sdk_storagegateway::Client,
}

impl Clients {
    /// Clients of one configuration.
    #[must_use]
    pub fn new(sdk: &SdkConfig) -> Self {
        Self {
            store: Store::new(sdk),
            s3: store::config::s3_client(sdk),
            batch: aws_sdk_batch::Client::new(sdk),
            sqs: aws_sdk_sqs::Client::new(sdk),
            cloudwatch: aws_sdk_cloudwatch::Client::new(sdk),
            gateway: aws_sdk_storagegateway::Client::new(sdk),
        }
    }
}

impl HeadObject for Clients {
    async fn head(&self, at: &Location) -> store::Result<Option<ObjectInfo>> {
        self.store.head(at).await
    }
}

impl GetObject for Clients {
    async fn get_object(&self, at: &Location) -> store::Result<Option<Object>> {
        self.store.get_object(at).await
    }
}

impl PutObject for Clients {
    async fn put(&self, at: &Location, bytes: Bytes, options: &PutOptions) -> store::Result<PutOutcome> {
        self.store.put(at, bytes, options).await
    }
}

impl Prepare for Clients {
    type Opened = prepare::Unpacked;

    async fn open(&self, task: OpenTask) -> Result<(Self::Opened, Vec<Found>)> {
        prepare::open(&self.store, task).await
    }

    async fn prepare(&self, opened: &Self::Opened, number: usize, task: PrepareTask) -> Result<PutOutcome> {
        prepare::prepare(&self.store, opened, number, task).await
    }
}

/// Milliseconds since 1970, as Batch gives times.
fn time(millis: Option<i64>) -> Option<SystemTime> {
    let millis = u64::try_from(millis?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

fn summary(job: &Summary) -> JobSummary {
    JobSummary { created: time(job.created_at()), stopped: time(job.stopped_at()) }
}

impl FindJobs for Clients {
    async fn find_jobs(&self, queue: &str, name: &str) -> Result<Vec<JobState>> {
        const WHAT: &str = "looking for a job";
        let filter = KeyValuesPair::builder().name("JOB_NAME").values(name).build();
        let mut jobs = self.batch.list_jobs().job_queue(queue).filters(filter).into_paginator().items().send();
        let mut states = Vec::new();
        while let Some(job) = jobs.next().await {
            let job = job.map_err(|error| Error::service(WHAT, &error))?;
            // The filter ignores case and may match more than the name.
            if job.job_name() == Some(name) {
                let state = job.status().and_then(|status| JobState::of_name(status.as_str()));
                // A state that is not known is not a failure, and that is all the callers ask.
                states.push(state.unwrap_or(JobState::Submitted));
            }
        }
        Ok(states)
    }
}

impl ListJobs for Clients {
    async fn list_jobs(&self, queue: &str, state: JobState) -> Result<Vec<JobSummary>> {
        const WHAT: &str = "counting jobs";
        let request = self.batch.list_jobs().job_queue(queue).job_status(JobStatus::from(state.name()));
        let mut jobs = request.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(job) = jobs.next().await {
            found.push(summary(&job.map_err(|error| Error::service(WHAT, &error))?));
        }
        Ok(found)
    }
}

impl SubmitJob for Clients {
    async fn submit_job(&self, job: JobRequest) -> Result<()> {
        let request = self
            .batch
            .submit_job()
            .job_name(job.name)
            .job_queue(job.queue)
            .job_definition(job.definition)
            .set_parameters(Some(job.parameters.into_iter().collect()));
        request.send().await.map(drop).map_err(|error| Error::service("submitting a job", &error))
    }
}

impl Postpone for Clients {
    async fn postpone(&self, queue: &str, receipt: &str, wait: Duration) -> Result<()> {
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
        let request =
            self.sqs.change_message_visibility().queue_url(queue).receipt_handle(receipt).visibility_timeout(seconds);
        request.send().await.map(drop).map_err(|error| Error::service("postponing a message", &error))
    }
}

impl QueueDepth for Clients {
    async fn queue_depth(&self, queue: &str) -> Result<Depth> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        const WHAT: &str = "asking for the depth of a queue";
        let names = Some(vec![Visible, InFlight, Delayed]);
        let request = self.sqs.get_queue_attributes().queue_url(queue).set_attribute_names(names);
        let answer = request.send().await.map_err(|error| Error::service(WHAT, &error))?;
        let count = |name: &QueueAttributeName| {
            let text = answer.attributes().and_then(|all| all.get(name));
            let missing = || Error::Service { what: WHAT, cause: format!("no {name} in the answer"), retryable: true };
            text.and_then(|text| text.parse().ok()).ok_or_else(missing)
        };
        Ok(Depth { visible: count(&Visible)?, in_flight: count(&InFlight)?, delayed: count(&Delayed)? })
    }
}

impl PutMetrics for Clients {
    async fn put_metrics(&self, namespace: &str, data: &[Datum]) -> Result<()> {
        for chunk in data.chunks(METRICS_PER_REQUEST) {
            let values = chunk.iter().map(|datum| {
                let dimensions =
                    datum.dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(value).build());
                MetricDatum::builder()
                    .metric_name(datum.name)
                    .set_dimensions(Some(dimensions.collect()))
                    .value(datum.value)
                    .unit(StandardUnit::Count)
                    .build()
            });
            let request =
                self.cloudwatch.put_metric_data().namespace(namespace).set_metric_data(Some(values.collect()));
            request.send().await.map_err(|error| Error::service("publishing metrics", &error))?;
        }
        Ok(())
    }
}

impl DescribeEnvironments for Clients {
    async fn describe(&self, names: &[String]) -> Result<Vec<Environment>> {
        let request = self.batch.describe_compute_environments().set_compute_environments(Some(names.to_vec()));
        let answer = request.send().await.map_err(|error| Error::service("asking for compute environments", &error))?;
        let environments = answer.compute_environments().iter().filter_map(|found| {
            let resources = found.compute_resources()?;
            let vcpus = |count: Option<i32>| count.and_then(|count| u32::try_from(count).ok());
            // The configured name may be either, so that the answer can be matched.
            let listed = |name: Option<&str>| names.iter().find(|listed| Some(listed.as_str()) == name).cloned();
            Some(Environment {
                name: listed(found.compute_environment_arn()).or_else(|| listed(found.compute_environment_name()))?,
                min: vcpus(resources.minv_cpus())?,
                max: vcpus(resources.maxv_cpus())?,
                desired: vcpus(resources.desiredv_cpus())?,
                steady: found.status() == Some(&CeStatus::Valid) && found.state() == Some(&CeState::Enabled),
            })
        });
        Ok(environments.collect())
    }
}

impl MoveLimits for Clients {
    async fn move_limits(&self, change: &Change) -> Result<()> {
        let vcpus = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let limits = ComputeResourceUpdate::builder().minv_cpus(vcpus(change.min)).maxv_cpus(vcpus(change.max)).build();
        let request =
            self.batch.update_compute_environment().compute_environment(&change.name).compute_resources(limits);
        request.send().await.map(drop).map_err(|error| Error::service("moving the limits of an environment", &error))
    }
}

impl RefreshCache for Clients {
    async fn refresh_cache(&self, share: &str, folders: &[String]) -> Result<Refreshed> {
        let request =
            self.gateway.refresh_cache().file_share_arn(share).set_folder_list(Some(folders.to_vec())).recursive(false);
        match request.send().await {
            Ok(_) => Ok(Refreshed::Accepted),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_gateway_request_exception()) => {
                Ok(Refreshed::Later)
            }
            Err(error) => Err(Error::service("refreshing the share", &error)),
        }
    }
}

impl TagObject for Clients {
    async fn tag_object(&self, object: &Created, name: &str, value: &str) -> Result<()> {
        const WHAT: &str = "tagging a raw object";
        let bad = |_| Error::Bug("a tag without name or value");
        let read = self.s3.get_object_tagging().bucket(&object.bucket).key(&object.key);
        let known = match read.set_version_id(object.version.clone()).send().await {
            Ok(known) => known,
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404) => return Ok(()),
            Err(error) => return Err(Error::service(WHAT, &error)),
        };
        let mut tags: Vec<Tag> = known.tag_set().iter().filter(|tag| tag.key() != name).cloned().collect();
        tags.push(Tag::builder().key(name).value(value).build().map_err(bad)?);
        let tagging = Tagging::builder().set_tag_set(Some(tags)).build().map_err(bad)?;
        let write = self.s3.put_object_tagging().bucket(&object.bucket).key(&object.key).tagging(tagging);
        let written = write.set_version_id(object.version.clone()).send().await;
        written.map(drop).map_err(|error| Error::service(WHAT, &error))
    }
}
