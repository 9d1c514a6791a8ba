//! A running stack, seen through its services: what `upload` and `status` of another terminal need of it.
//!
//! | module | what it holds |
//! |---|---|
//! | `description` | how it is reached |
//! | `outcome` | how a scan ended |

mod description;
mod outcome;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sqs::types::QueueAttributeName;
use contract::keys::{METHOD_METADATA, STATUS_PREFIX, WORKLIST_KEY, claim_key, parts_key, status_key};
use contract::{JobSpec, Manifest, Method, Quarantine, ScanId, Stage, Status};
use pages::worklist::Worklist;
use serde::Serialize;
use store::state::{Claim, Parts};

pub use description::{Buckets, Description};
pub use outcome::{Ended, Outcome};

use crate::{Error, Result, endpoints};

/// How often a record is looked at while it is waited for.
pub(crate) const POLL: Duration = Duration::from_millis(150);

/// Messages of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Depth {
    /// Waiting.
    pub visible: u64,
    /// Received and neither deleted nor given back.
    pub in_flight: u64,
    /// Not yet to be received.
    pub delayed: u64,
}

impl Depth {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// An uploaded raw object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uploaded {
    /// The scan it starts.
    pub scan: ScanId,
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: Option<String>,
}

/// Clients of a running stack.
#[derive(Debug, Clone)]
pub struct Remote {
    /// How it is reached.
    pub description: Description,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// Settings for further clients.
    pub sdk: SdkConfig,
}

impl Remote {
    /// Clients for a stack.
    #[must_use]
    pub fn new(description: Description) -> Self {
        let sdk = endpoints::sdk_config(&description.endpoint);
        Self { s3: endpoints::s3(&sdk), sqs: aws_sdk_sqs::Client::new(&sdk), sdk, description }
    }

    /// Uploads a file to the raw bucket.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Service`] when S3 refuses.
    pub async fn upload(&self, file: &Path, key: &str, method: Option<Method>) -> Result<Uploaded> {
        let body = ByteStream::from_path(file).await.map_err(|error| Error::io("reading the file")(error.into()))?;
        self.put_raw(body, key, method).await
    }

    /// Uploads bytes to the raw bucket.
    ///
    /// # Errors
    /// [`Error::Service`] when S3 refuses.
    pub async fn upload_bytes(&self, bytes: Vec<u8>, key: &str, method: Option<Method>) -> Result<Uploaded> {
        self.put_raw(bytes.into(), key, method).await
    }

    async fn put_raw(&self, body: ByteStream, key: &str, method: Option<Method>) -> Result<Uploaded> {
        let raw = &self.description.buckets.raw;
        let mut put = self.s3.put_object().bucket(raw).key(key).body(body);
        if let Some(method) = method {
            put = put.metadata(METHOD_METADATA, method.name());
        }
        let answer = put.send().await.map_err(Error::service("S3", "take the file"))?;
        let version = answer.version_id().map(str::to_owned);
        let etag = answer.e_tag().unwrap_or_default().trim_matches('"').to_owned();
        let scan = ScanId::of_object(raw, key, version.as_ref().unwrap_or(&etag));
        Ok(Uploaded { scan, key: key.to_owned(), version })
    }

    /// Content of an object; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = match self.s3.get_object().bucket(bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if matches!(error.code(), Some("NoSuchKey" | "NotFound")) => return Ok(None),
            Err(error) => return Err(Error::service("S3", "give an object")(error)),
        };
        let body = answer.body.collect().await.map_err(Error::service("S3", "give an object"))?;
        Ok(Some(body.to_vec()))
    }

    /// Every key below a prefix.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut pages = self.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(Error::service("S3", "list objects"))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        Ok(keys)
    }

    async fn record<R: contract::Record>(&self, bucket: &str, key: &str) -> Result<Option<R>> {
        let bytes = self.get(bucket, key).await?;
        Ok(bytes.map(|bytes| R::from_json(&bytes)).transpose()?)
    }

    /// The history of a scan; `None` before anything happened.
    ///
    /// # Errors
    /// [`Error::Service`], or [`Error::Contract`] for a record of another release.
    pub async fn status(&self, scan: &ScanId) -> Result<Option<Status>> {
        self.record(&self.description.buckets.state, &status_key(scan)).await
    }

    /// The histories of all scans.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn statuses(&self) -> Result<Vec<Status>> {
        let state = &self.description.buckets.state;
        let mut found = Vec::new();
        for key in self.list(state, STATUS_PREFIX).await? {
            found.extend(self.record::<Status>(state, &key).await?);
        }
        found.sort_by(|a, b| a.history.first().map(|e| &e.time).cmp(&b.history.first().map(|e| &e.time)));
        Ok(found)
    }

    /// The scans of an upload that holds several, once all of them are prepared or refused.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn parts(&self, upload: &ScanId) -> Result<Option<Parts>> {
        self.record(&self.description.buckets.state, &parts_key(upload)).await
    }

    /// What the job of a scan was asked to do.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn job_spec(&self, scan: &ScanId) -> Result<Option<JobSpec>> {
        self.record(&self.description.buckets.state, &contract::keys::job_key(scan)).await
    }

    /// Prefix of the results of a scan in the results bucket, with its final `/`.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn results_prefix(&self, scan: &ScanId) -> Result<Option<String>> {
        let spec = self.job_spec(scan).await?;
        let start = format!("s3://{}/", self.description.buckets.results);
        Ok(spec.and_then(|spec| spec.results.strip_prefix(&start).map(str::to_owned)))
    }

    /// The manifest of a scan; `None` while there are no results.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn manifest(&self, scan: &ScanId) -> Result<Option<Manifest>> {
        let Some(prefix) = self.results_prefix(scan).await? else { return Ok(None) };
        let key = format!("{prefix}{}", contract::keys::MANIFEST_NAME);
        let manifest: Option<Manifest> = self.record(&self.description.buckets.results, &key).await?;
        Ok(manifest.filter(|manifest| manifest.scan == *scan))
    }

    /// The quarantine record of a scan. It lies under the name of the raw file, which the scan's claim knows.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn quarantine(&self, scan: &ScanId) -> Result<Option<Quarantine>> {
        let state = &self.description.buckets.state;
        let claim: Option<Claim> = self.record(state, &claim_key(Stage::Decompress, scan)).await?;
        let Some(claim) = claim else { return Ok(None) };
        let record = self.record(state, &claim.quarantine_key()).await?;
        Ok(record.filter(|record: &Quarantine| record.scan == *scan))
    }

    /// Messages in every queue of the stack, by the name of the template's output without `Url`.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn queue_depths(&self) -> Result<BTreeMap<String, Depth>> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed, ApproximateNumberOfMessagesNotVisible,
        };
        let mut depths = BTreeMap::new();
        for (name, url) in &self.description.queues {
            let answer = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
            let answer = answer.send().await.map_err(Error::service("SQS", "describe a queue"))?;
            let number = |attribute| {
                let text = answer.attributes().and_then(|attributes| attributes.get(&attribute));
                text.and_then(|text| text.parse().ok()).unwrap_or(0)
            };
            let depth = Depth {
                visible: number(ApproximateNumberOfMessages),
                in_flight: number(ApproximateNumberOfMessagesNotVisible),
                delayed: number(ApproximateNumberOfMessagesDelayed),
            };
            depths.insert(name.clone(), depth);
        }
        Ok(depths)
    }

    /// The page of all scans, as far as it is written; events are still on their way for moments after a scan has ended.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub async fn worklist(&self) -> Result<Worklist> {
        let page = self.get(&self.description.buckets.results, WORKLIST_KEY).await?;
        Ok(page.and_then(|page| Worklist::parse(&page).ok()).unwrap_or_default())
    }

    /// Copies the results of a scan into a folder, those of an upload of several into a folder of each in it, and returns
    /// the paths.
    ///
    /// # Errors
    /// [`Error::Service`] or [`Error::Io`].
    pub async fn download(&self, scan: &ScanId, dir: &Path) -> Result<Vec<PathBuf>> {
        let Some(parts) = self.parts(scan).await? else { return self.download_one(scan, dir).await };
        let mut paths = Vec::new();
        for part in parts.parts {
            // A name from a record is not trusted to stay in the folder.
            if let [std::path::Component::Normal(name)] = Path::new(&part.name).components().collect::<Vec<_>>()[..] {
                paths.extend(self.download_one(&part.scan, &dir.join(name)).await?);
            }
        }
        Ok(paths)
    }

    async fn download_one(&self, scan: &ScanId, dir: &Path) -> Result<Vec<PathBuf>> {
        let results = &self.description.buckets.results;
        let Some(prefix) = self.results_prefix(scan).await? else { return Ok(Vec::new()) };
        let mut paths = Vec::new();
        for key in self.list(results, &prefix).await? {
            let name = Path::new(key.strip_prefix(&prefix).unwrap_or_default());
            let inside = name.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            let Some(bytes) = self.get(results, &key).await?.filter(|_| inside && name.file_name().is_some()) else {
                continue;
            };
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(Error::io("making the output folder"))?;
            std::fs::write(&path, bytes).map_err(Error::io("writing a result"))?;
            paths.push(path);
        }
        Ok(paths)
    }
}
