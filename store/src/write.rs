//! Streamed writes for blocking code.
//!
//! In a bucket: one request where the object fits a part, else a multipart upload, whose parts go out while more is
//! written. In a folder: a temporary file. Either way nothing is visible before [`Writer::finish`], and the condition
//! of the write is checked at that moment.
//!
//! Limits of S3: 10,000 parts, each but the last at least 5 MiB
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
//!
//! Never call these from asynchronous code; see [`crate::read`].

use std::io::{self, Write};
use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::disk::Draft;
use crate::error::{Answer, answer, sdk};
use crate::{Condition, Error, PutOptions, PutOutcome, Result, s3};

/// The most parts of an upload.
pub const MAX_PARTS: u64 = 10_000;
/// The usual part.
pub const MIN_PART: u64 = 8 << 20;
/// The largest part, which bounds memory; objects end at this times [`MAX_PARTS`], 156 GiB.
pub const MAX_PART: u64 = 16 << 20;
/// Parts in flight; one more is being filled.
const IN_FLIGHT: usize = 3;

const WHAT: &str = "writing an object in parts";

/// The part size for an object of `expected` bytes: as small as the number of parts allows.
fn part_size(expected: Option<u64>) -> Result<u64> {
    let Some(expected) = expected else { return Ok(MAX_PART) };
    let needed = expected.div_ceil(MAX_PARTS).next_multiple_of(1 << 20);
    if needed > MAX_PART {
        let cause = format!("{expected} bytes are more than {MAX_PARTS} parts of {MAX_PART} bytes");
        return Err(Error::Final { what: WHAT, cause });
    }
    Ok(needed.max(MIN_PART))
}

/// A stream into an object. Dropped without [`Writer::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    target: Target,
}

#[derive(Debug)]
enum Target {
    File { draft: Draft, condition: Condition, failure: Option<Error> },
    Upload(Box<Upload>),
}

impl Writer {
    pub(crate) fn path(path: &Path, condition: Condition) -> Result<Self> {
        let draft = Draft::new(path).map_err(|error| Error::io("creating a file", &error))?;
        Ok(Self { target: Target::File { draft, condition, failure: None } })
    }

    pub(crate) fn s3(
        handle: Handle,
        client: Client,
        bucket: String,
        key: String,
        options: PutOptions,
        expected_len: Option<u64>,
    ) -> Result<Self> {
        let part_size = usize::try_from(part_size(expected_len)?)
            .map_err(|error| Error::Final { what: WHAT, cause: error.to_string() })?;
        Ok(Self {
            target: Target::Upload(Box::new(Upload {
                handle,
                client,
                bucket,
                key,
                options,
                part_size,
                buffer: Vec::new(),
                id: None,
                started: 0,
                tasks: JoinSet::new(),
                done: Vec::new(),
                failure: None,
            })),
        })
    }

    /// Makes the object visible, if the condition holds.
    ///
    /// # Errors
    /// [`Error::Retryable`] or [`Error::Final`], also of parts written before.
    pub fn finish(self) -> Result<PutOutcome> {
        match self.target {
            Target::File { failure: Some(failure), .. } => Err(failure),
            Target::File { draft, condition, .. } => {
                draft.commit(&condition).map_err(|error| Error::io("writing a file", &error))
            }
            Target::Upload(mut upload) => upload.finish(),
        }
    }

    /// Gives the object up and waits until the parts are discarded. Returns the error of the store that made writing
    /// fail, if that was the reason.
    pub fn abort(self) -> Option<Error> {
        match self.target {
            Target::File { failure, .. } => failure,
            Target::Upload(mut upload) => {
                upload.discard();
                upload.failure.take()
            }
        }
    }
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.target {
            Target::File { draft, failure, .. } => draft.file.write(buf).inspect_err(|error| {
                *failure = Some(Error::io("writing a file", error));
            }),
            Target::Upload(upload) => upload.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A part cannot be sent before it is full; `finish` sends the last one.
        Ok(())
    }
}

/// A multipart upload, begun with its first full part.
#[derive(Debug)]
struct Upload {
    handle: Handle,
    client: Client,
    bucket: String,
    key: String,
    options: PutOptions,
    part_size: usize,
    buffer: Vec<u8>,
    id: Option<String>,
    started: i32,
    tasks: JoinSet<Result<CompletedPart>>,
    done: Vec<CompletedPart>,
    failure: Option<Error>,
}

impl Upload {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(io::Error::other(failure.to_string()));
        }
        // Sent only when more comes, so that an object of exactly one part needs no multipart upload.
        if self.buffer.len() == self.part_size
            && let Err(error) = self.send_part()
        {
            let shown = io::Error::other(error.to_string());
            self.failure = Some(error);
            return Err(shown);
        }
        let count = buf.len().min(self.part_size - self.buffer.len());
        self.buffer.extend_from_slice(&buf[..count]);
        Ok(count)
    }

    fn send_part(&mut self) -> Result<()> {
        if u64::from(self.started.unsigned_abs()) >= MAX_PARTS {
            let cause = format!("the object has more than {MAX_PARTS} parts of {} bytes", self.part_size);
            return Err(Error::Final { what: WHAT, cause });
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin()?,
        };
        while self.tasks.len() >= IN_FLIGHT {
            self.join_one()?;
        }
        self.started += 1;
        let body = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(self.part_size)));
        let part = upload_part(self.client.clone(), self.bucket.clone(), self.key.clone(), id, self.started, body);
        self.tasks.spawn_on(part, &self.handle);
        Ok(())
    }

    fn begin(&mut self) -> Result<String> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .checksum_algorithm(s3::CHECKSUM)
            .set_metadata((!self.options.metadata.is_empty()).then(|| self.options.metadata.clone()))
            .set_content_type(self.options.content_type.clone());
        let begun = self.handle.block_on(request.send()).map_err(|error| sdk(WHAT, &error))?;
        let id = begun.upload_id().unwrap_or_default().to_owned();
        self.id = Some(id.clone());
        Ok(id)
    }

    fn join_one(&mut self) -> Result<()> {
        match self.handle.block_on(self.tasks.join_next()) {
            Some(Ok(part)) => self.done.push(part?),
            Some(Err(_)) => return Err(Error::task(WHAT)),
            None => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<PutOutcome> {
        if let Some(failure) = self.failure.take() {
            self.discard();
            return Err(failure);
        }
        if self.id.is_none() {
            let body = Bytes::from(std::mem::take(&mut self.buffer));
            return self.handle.block_on(s3::put(&self.client, &self.bucket, &self.key, body, &self.options));
        }
        let outcome = self.complete();
        match outcome {
            Ok(PutOutcome::Written { .. }) => self.id = None,
            Ok(PutOutcome::Conflict) | Err(_) => self.discard(),
        }
        outcome
    }

    fn complete(&mut self) -> Result<PutOutcome> {
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        while !self.tasks.is_empty() {
            self.join_one()?;
        }
        self.done.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.done))).build();
        let (if_match, if_none_match) = s3::headers(&self.options.condition);
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .set_upload_id(self.id.clone())
            .multipart_upload(parts)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match);
        match self.handle.block_on(request.send()) {
            Ok(written) => Ok(PutOutcome::Written { etag: s3::unquoted(written.e_tag()) }),
            Err(error) => match (answer(&error), &self.options.condition) {
                (Answer::Precondition | Answer::Busy, _) | (Answer::Missing, Condition::IfMatch(_)) => {
                    Ok(PutOutcome::Conflict)
                }
                // The answer to an earlier try was lost: the upload is complete, or was taken away.
                _ if error.code() == Some("NoSuchUpload") => Ok(PutOutcome::Conflict),
                _ => Err(sdk(WHAT, &error)),
            },
        }
    }

    /// Discards the parts. The bucket's lifecycle rule discards those of an upload whose process was killed.
    fn discard(&mut self) {
        self.tasks.abort_all();
        if let Some(request) = self.abort_request() {
            // Should this fail, the lifecycle rule remains.
            let _ = self.handle.block_on(request.send());
        }
    }

    fn abort_request(
        &mut self,
    ) -> Option<aws_sdk_s3::operation::abort_multipart_upload::builders::AbortMultipartUploadFluentBuilder> {
        let id = self.id.take()?;
        Some(self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(id))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.tasks.abort_all();
        if let Some(request) = self.abort_request() {
            // Dropping may happen on an async thread, where waiting is not allowed.
            self.handle.spawn(request.send());
        }
    }
}

async fn upload_part(
    client: Client,
    bucket: String,
    key: String,
    id: String,
    number: i32,
    body: Bytes,
) -> Result<CompletedPart> {
    let sent = client
        .upload_part()
        .bucket(bucket)
        .key(key)
        .upload_id(id)
        .part_number(number)
        .checksum_algorithm(s3::CHECKSUM)
        .body(ByteStream::from(body))
        .send()
        .await
        .map_err(|error| sdk(WHAT, &error))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag().map(str::to_owned))
        .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_few_and_bounded(expected in 0..MAX_PART * MAX_PARTS) {
            let size = part_size(Some(expected)).expect("it fits");
            prop_assert!((MIN_PART..=MAX_PART).contains(&size));
            prop_assert!(expected.div_ceil(size) <= MAX_PARTS);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = part_size(Some(MAX_PART * MAX_PARTS + 1));
        assert!(matches!(refused, Err(Error::Final { .. })), "{refused:?}");
        assert_eq!(part_size(None).ok(), Some(MAX_PART));
    }
}
