//! Objects in buckets. Checksums: the SDK sends CRC-32 with every body and S3 refuses one that does not match.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::ChecksumAlgorithm;
use bytes::Bytes;

use crate::error::{Answer, answer, sdk};
use crate::{Condition, Error, Object, ObjectInfo, PutOptions, PutOutcome, Result};

/// Checksum of every body: S3 knows stronger ones, but this one is computed at memory speed everywhere.
pub(crate) const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

/// Tries for a body that breaks off: the SDK repeats requests, but not a body it has begun to hand over.
const BODY_TRIES: u32 = 4;
/// Wait before the second try; doubled for each further one.
const BODY_WAIT: Duration = Duration::from_millis(200);
/// Tries for a conditional write that meets another write under way (409).
const BUSY_TRIES: u32 = 4;

pub(crate) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn info(
    len: Option<i64>,
    etag: Option<&str>,
    version: Option<&str>,
    metadata: Option<&HashMap<String, String>>,
    modified: Option<&DateTime>,
) -> ObjectInfo {
    ObjectInfo {
        len: len.and_then(|len| u64::try_from(len).ok()).unwrap_or_default(),
        etag: unquoted(etag),
        // "null" is S3's word for an object from before versions were switched on.
        version: version.filter(|version| !version.is_empty() && *version != "null").map(str::to_owned),
        metadata: metadata.cloned().unwrap_or_default(),
        modified: modified.and_then(|time| SystemTime::try_from(*time).ok()),
    }
}

pub(crate) async fn head(client: &Client, bucket: &str, key: &str) -> Result<Option<ObjectInfo>> {
    match client.head_object().bucket(bucket).key(key).send().await {
        Ok(found) => Ok(Some(info(
            found.content_length(),
            found.e_tag(),
            found.version_id(),
            found.metadata(),
            found.last_modified(),
        ))),
        Err(error) if answer(&error) == Answer::Missing => Ok(None),
        Err(error) => Err(sdk("looking for an object", &error)),
    }
}

pub(crate) async fn get(client: &Client, bucket: &str, key: &str) -> Result<Option<Object>> {
    const WHAT: &str = "reading an object";
    let mut wait = BODY_WAIT;
    for attempt in 1..=BODY_TRIES {
        let found = match client.get_object().bucket(bucket).key(key).send().await {
            Ok(found) => found,
            Err(error) if answer(&error) == Answer::Missing => return Ok(None),
            Err(error) => return Err(sdk(WHAT, &error)),
        };
        let info =
            info(found.content_length(), found.e_tag(), found.version_id(), found.metadata(), found.last_modified());
        match found.body.collect().await {
            Ok(body) => return Ok(Some(Object { bytes: body.into_bytes(), info })),
            Err(_) if attempt < BODY_TRIES => tokio::time::sleep(wait).await,
            Err(_) => break,
        }
        wait *= 2;
    }
    Err(broken_off(WHAT))
}

fn broken_off(what: &'static str) -> Error {
    Error::Retryable { what, cause: format!("the answer broke off {BODY_TRIES} times") }
}

/// Bytes `range`; with `etag`, only of that object.
pub(crate) async fn get_range(
    client: &Client,
    bucket: &str,
    key: &str,
    range: Range<u64>,
    etag: Option<&str>,
) -> Result<Bytes> {
    const WHAT: &str = "reading a range";
    if range.start >= range.end {
        return Ok(Bytes::new());
    }
    let expected = range.end - range.start;
    let mut wait = BODY_WAIT;
    for attempt in 1..=BODY_TRIES {
        let found = client
            .get_object()
            .bucket(bucket)
            .key(key)
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_if_match(etag.map(quoted))
            .send()
            .await
            .map_err(|error| sdk(WHAT, &error))?;
        match found.body.collect().await {
            Ok(body) => {
                let bytes = body.into_bytes();
                if bytes.len() as u64 == expected {
                    return Ok(bytes);
                }
                let cause = format!("asked for {expected} bytes, the object ends after {}", bytes.len());
                return Err(Error::Final { what: WHAT, cause });
            }
            Err(_) if attempt < BODY_TRIES => tokio::time::sleep(wait).await,
            Err(_) => break,
        }
        wait *= 2;
    }
    Err(broken_off(WHAT))
}

/// The two headers of a condition.
pub(crate) fn headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::Always => (None, None),
        Condition::IfAbsent => (None, Some("*".to_owned())),
        Condition::IfMatch(etag) => (Some(quoted(etag)), None),
    }
}

pub(crate) async fn put(
    client: &Client,
    bucket: &str,
    key: &str,
    bytes: Bytes,
    options: &PutOptions,
) -> Result<PutOutcome> {
    let (if_match, if_none_match) = headers(&options.condition);
    let metadata = (!options.metadata.is_empty()).then(|| options.metadata.clone());
    let mut wait = BODY_WAIT;
    let mut tries = 0;
    loop {
        tries += 1;
        let sent = client
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from(bytes.clone()))
            .checksum_algorithm(CHECKSUM)
            .set_metadata(metadata.clone())
            .set_content_type(options.content_type.clone())
            .set_if_match(if_match.clone())
            .set_if_none_match(if_none_match.clone())
            .send()
            .await;
        match sent {
            Ok(written) => return Ok(PutOutcome::Written { etag: unquoted(written.e_tag()) }),
            Err(error) => match (answer(&error), &options.condition) {
                (Answer::Busy, _) if tries < BUSY_TRIES => tokio::time::sleep(wait).await,
                (Answer::Precondition | Answer::Busy, Condition::IfAbsent | Condition::IfMatch(_))
                | (Answer::Missing, Condition::IfMatch(_)) => return Ok(PutOutcome::Conflict),
                _ => return Err(sdk("writing an object", &error)),
            },
        }
        wait *= 2;
    }
}
