//! SQS batches and the S3 notifications in them.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>

use aws_lambda_events::s3::S3Event;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use contract::Disposition;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
    /// Its version id, where the bucket keeps versions.
    pub version: Option<String>,
    /// Its ETag, without quotes.
    pub etag: Option<String>,
}

impl Created {
    /// What the scan id is made of, as far as the event tells.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.version.as_deref().or(self.etag.as_deref())
    }
}

/// The objects a notification speaks of; none for the test event that S3 sends when a notification is configured.
///
/// # Errors
/// [`Error::Event`] for anything that is not a notification of S3.
pub fn created(body: &str) -> Result<Vec<Created>> {
    // Serde's message could quote the key.
    let unreadable = |what: &str| Error::Event(format!("{what}: expected a notification of S3"));
    let body: Value = serde_json::from_str(body).map_err(|_| unreadable("the message is not JSON"))?;
    if body["Event"] == "s3:TestEvent" {
        return Ok(Vec::new());
    }
    if body["detail-type"] == "Object Created" {
        let event = Bridged::deserialize(&body).map_err(|_| unreadable("an EventBridge event lacks its object"))?;
        return Ok(vec![event.created()]);
    }
    if !body["Records"].is_array() {
        return Err(unreadable("the message has no Records"));
    }
    let event: S3Event = serde_json::from_value(body).map_err(|_| unreadable("a record is incomplete"))?;
    let written = event.records.into_iter().filter(|record| {
        let name = record.event_name.as_deref().unwrap_or_default();
        name.trim_start_matches("s3:").starts_with("ObjectCreated:")
    });
    written
        .map(|record| {
            let (bucket, object) = (record.s3.bucket, record.s3.object);
            let key = object.key.ok_or_else(|| unreadable("a record has no key"))?;
            Ok(Created {
                bucket: bucket.name.ok_or_else(|| unreadable("a record has no bucket"))?,
                key: decode_key(&key)?,
                version: named(object.version_id),
                etag: named(object.e_tag),
            })
        })
        .collect()
}

/// "null" is S3's word for no version.
fn named(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim_matches('"').to_owned()).filter(|text| !text.is_empty() && text != "null")
}

/// Keys of S3 notifications are form-encoded: a plus is a space, then %XX of UTF-8.
///
/// # Errors
/// [`Error::Event`] when the bytes are not UTF-8.
pub fn decode_key(key: &str) -> Result<String> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Error::Event("a key is not UTF-8".to_owned()))
}

/// S3's event by way of EventBridge, whose keys are not encoded.
#[derive(Deserialize)]
struct Bridged {
    detail: BridgedDetail,
}

#[derive(Deserialize)]
struct BridgedDetail {
    bucket: BridgedBucket,
    object: BridgedObject,
}

#[derive(Deserialize)]
struct BridgedBucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BridgedObject {
    key: String,
    version_id: Option<String>,
    etag: Option<String>,
}

impl Bridged {
    fn created(self) -> Created {
        let BridgedDetail { bucket, object } = self.detail;
        Created { bucket: bucket.name, key: object.key, version: named(object.version_id), etag: named(object.etag) }
    }
}

/// Which try of a message this is, from 1.
#[must_use]
pub fn attempt(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// The text of a message.
#[must_use]
pub fn body(message: &SqsMessage) -> &str {
    message.body.as_deref().unwrap_or_default()
}

/// Deals with the messages of a batch one after the other; those that failed are left in the queue, and only those.
pub async fn each(event: SqsEvent, mut handle: impl AsyncFnMut(&SqsMessage) -> Result<()>) -> SqsBatchResponse {
    let mut answer = SqsBatchResponse::default();
    for message in &event.records {
        if let Err(error) = handle(message).await {
            report(&error);
            answer.add_failure(message.message_id.clone().unwrap_or_default());
        }
    }
    answer
}

/// Logs why a message is left.
pub fn report(error: &Error) {
    if error.disposition() == Disposition::Retry {
        tracing::warn!(%error, "left for another try");
    } else {
        tracing::error!(%error, "left for a person to look at");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::fixture;
    use proptest::prelude::*;

    fn messages(name: &str) -> Vec<Vec<Created>> {
        let event: SqsEvent = fixture(name);
        event.records.iter().map(|message| created(body(message)).expect("a notification")).collect()
    }

    #[test]
    fn keys_are_form_decoded() {
        let all = messages("s3-put-umlaut.json");
        assert_eq!(all[0][0].key, "2026-11-23/Kopf t2+flair ä.tar.gz");
        assert_eq!(all[0][0].revision(), Some("vZ1xKp0Yq8M3cT7nR5sLw2aHdJ6fGbEu"));
        for bad in ["%ff", "%C3%28"] {
            assert!(decode_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_test_event_speaks_of_no_object() {
        assert_eq!(messages("s3-test-event.json"), [vec![]]);
    }

    #[test]
    fn an_event_by_way_of_eventbridge_is_the_same_object() {
        let all = messages("prepared-eventbridge.json");
        assert_eq!(all[0][0].key, "2026-11-23/Kopf t2+flair ä.safetensors");
        assert_eq!(all[0][0].bucket, "raki-prepared");
    }

    #[test]
    fn what_is_no_notification_is_an_error_that_quotes_nothing() {
        for bad in ["", "{}", "[1]", r#"{"Records": [{"s3": {"object": {"key": "Meier^Anna"}}}]}"#, "Meier^Anna"] {
            let error = created(bad).expect_err("no notification");
            assert!(!error.to_string().contains("Meier"), "{error}");
        }
    }

    #[test]
    fn deletions_are_not_creations() {
        let event: SqsEvent = fixture("s3-put.json");
        let deletion = body(&event.records[0]).replace("ObjectCreated:Put", "ObjectRemoved:Delete");
        assert_eq!(created(&deletion).expect("a notification"), []);
    }

    #[tokio::test]
    async fn only_the_messages_that_failed_are_left() {
        let event: SqsEvent = fixture("s3-put-duplicates.json");
        let second = event.records[1].message_id.clone();
        let mut seen = 0;
        let answer = each(event, async |_| {
            seen += 1;
            if seen == 2 { Err(Error::OutOfTime) } else { Ok(()) }
        })
        .await;
        assert_eq!(seen, 3);
        let left: Vec<_> =
            answer.batch_item_failures.into_iter().map(|failure| Some(failure.item_identifier)).collect();
        assert_eq!(left, [second]);
    }

    proptest! {
        #[test]
        fn any_key_survives_the_form(key in ".{1,60}") {
            let encoded: String = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%20", "+");
            prop_assert_eq!(decode_key(&encoded).expect("UTF-8"), key);
        }
    }
}
