//! Whole objects, wherever they lie.

use std::ops::Range;

use aws_config::SdkConfig;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::read::{Reader, Source};
use crate::write::Writer;
use crate::{Error, Location, Object, ObjectInfo, PutOptions, PutOutcome, Result, disk, s3};

/// Reads and writes objects. Cheap to clone.
///
/// Requests are boxed: the SDK's futures are some 10 KiB and deeply nested, and would make every caller's as large.
#[derive(Debug, Clone)]
pub struct Store {
    s3: Option<aws_sdk_s3::Client>,
}

impl Store {
    /// A store for buckets and folders.
    #[must_use]
    pub fn new(sdk: &SdkConfig) -> Self {
        Self { s3: Some(crate::config::s3_client(sdk)) }
    }

    /// A store for folders only. Unlike [`aws_config`](crate::aws_config), it looks for no credentials and no region.
    #[must_use]
    pub const fn folders() -> Self {
        Self { s3: None }
    }

    fn client(&self, what: &'static str) -> Result<&aws_sdk_s3::Client> {
        self.s3.as_ref().ok_or_else(|| Error::Final { what, cause: "this store knows folders only".to_owned() })
    }

    /// What is known of an object; `None` when there is none.
    ///
    /// S3 answers 403 instead of 404 to a role without `s3:ListBucket`, which is then [`Error::Final`].
    ///
    /// # Errors
    /// [`Error::Retryable`] or [`Error::Final`].
    pub async fn head(&self, at: &Location) -> Result<Option<ObjectInfo>> {
        match at {
            Location::S3 { bucket, key } => {
                Box::pin(s3::head(self.client("looking for an object")?, bucket, key)).await
            }
            Location::Path(path) => disk::head(path.clone()).await,
        }
    }

    /// The content of an object. Meant for small ones: it is held in memory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Retryable`] or [`Error::Final`].
    pub async fn get(&self, at: &Location) -> Result<Bytes> {
        let object = self.get_object(at).await?.ok_or(Error::NotFound { what: "reading an object" })?;
        Ok(object.bytes)
    }

    /// The content of an object and what is known of it; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Retryable`] or [`Error::Final`].
    pub async fn get_object(&self, at: &Location) -> Result<Option<Object>> {
        match at {
            Location::S3 { bucket, key } => Box::pin(s3::get(self.client("reading an object")?, bucket, key)).await,
            Location::Path(path) => disk::get(path.clone()).await,
        }
    }

    /// Bytes `range` of an object.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Final`] for a range that is not inside the object; [`Error::Retryable`].
    pub async fn get_range(&self, at: &Location, range: Range<u64>) -> Result<Bytes> {
        match at {
            Location::S3 { bucket, key } => {
                Box::pin(s3::get_range(self.client("reading a range")?, bucket, key, range, None)).await
            }
            Location::Path(path) => disk::get_range(path.clone(), range).await,
        }
    }

    /// Writes a small object in one request.
    ///
    /// # Errors
    /// [`Error::Retryable`] or [`Error::Final`]; a condition that does not hold is [`PutOutcome::Conflict`].
    pub async fn put(&self, at: &Location, bytes: impl Into<Bytes>, options: &PutOptions) -> Result<PutOutcome> {
        let bytes = bytes.into();
        match at {
            Location::S3 { bucket, key } => {
                Box::pin(s3::put(self.client("writing an object")?, bucket, key, bytes, options)).await
            }
            Location::Path(path) => disk::put(path.clone(), bytes, options.condition.clone()).await,
        }
    }

    /// A stream over an object, for blocking code; parts are fetched ahead in parallel.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Retryable`] or [`Error::Final`].
    pub async fn reader(&self, at: &Location) -> Result<Reader> {
        let info = self.head(at).await?.ok_or(Error::NotFound { what: "opening an object" })?;
        self.reader_of(at, &info)
    }

    /// As [`Store::reader`], pinned to the object that `info` describes: if it is replaced meanwhile, reading fails
    /// with [`Error::Changed`]. Must be called where a Tokio runtime is running.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Final`].
    pub fn reader_of(&self, at: &Location, info: &ObjectInfo) -> Result<Reader> {
        match at {
            Location::S3 { bucket, key } => {
                let client = self.client("opening an object")?.clone();
                Ok(Reader::s3(&Handle::current(), client, bucket.clone(), key.clone(), info))
            }
            Location::Path(path) => Reader::path(path),
        }
    }

    /// Random access to an object, for blocking code.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Retryable`] or [`Error::Final`].
    pub async fn range_source(&self, at: &Location) -> Result<Source> {
        match at {
            Location::S3 { bucket, key } => {
                let info = self.head(at).await?.ok_or(Error::NotFound { what: "opening an object" })?;
                let client = self.client("opening an object")?.clone();
                Ok(Source::s3(Handle::current(), client, bucket.clone(), key.clone(), &info))
            }
            Location::Path(path) => Source::path(path),
        }
    }

    /// A stream into an object, for blocking code. Must be called where a Tokio runtime is running; nothing is
    /// visible before [`Writer::finish`].
    ///
    /// `expected_len` chooses the part size of a multipart upload; without it, parts are as large as they get.
    ///
    /// # Errors
    /// [`Error::Final`] for an object that does not fit a multipart upload of bounded memory, or a folder that cannot
    /// be written to.
    pub fn writer(&self, at: &Location, options: PutOptions, expected_len: Option<u64>) -> Result<Writer> {
        match at {
            Location::S3 { bucket, key } => {
                let client = self.client("writing an object")?.clone();
                Writer::s3(Handle::current(), client, bucket.clone(), key.clone(), options, expected_len)
            }
            Location::Path(path) => Writer::path(path, options.condition),
        }
    }
}
