//! One trait per verb. A caller names the verbs it needs, which are also its IAM statement, and is tested with a
//! store in memory.

use std::future::Future;

use bytes::Bytes;

use crate::{Location, Object, ObjectInfo, PutOptions, PutOutcome, Result, Store};

/// `s3:GetObject` without the content.
pub trait HeadObject: Sync {
    /// What is known of an object; `None` when there is none.
    ///
    /// # Errors
    /// Those of the store.
    fn head(&self, at: &Location) -> impl Future<Output = Result<Option<ObjectInfo>>> + Send;
}

/// `s3:GetObject`.
pub trait GetObject: Sync {
    /// A small object; `None` when there is none.
    ///
    /// # Errors
    /// Those of the store.
    fn get_object(&self, at: &Location) -> impl Future<Output = Result<Option<Object>>> + Send;
}

/// `s3:PutObject`.
pub trait PutObject: Sync {
    /// Writes a small object.
    ///
    /// # Errors
    /// Those of the store.
    fn put(&self, at: &Location, bytes: Bytes, options: &PutOptions)
    -> impl Future<Output = Result<PutOutcome>> + Send;
}

impl HeadObject for Store {
    async fn head(&self, at: &Location) -> Result<Option<ObjectInfo>> {
        Self::head(self, at).await
    }
}

impl GetObject for Store {
    async fn get_object(&self, at: &Location) -> Result<Option<Object>> {
        Self::get_object(self, at).await
    }
}

impl PutObject for Store {
    async fn put(&self, at: &Location, bytes: Bytes, options: &PutOptions) -> Result<PutOutcome> {
        Self::put(self, at, bytes, options).await
    }
}
