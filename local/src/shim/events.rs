//! Job state changes, sent to EventBridge one after the other in the order they happened.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::Value;
use tokio::sync::mpsc;

/// Source of the events. AWS accepts `aws.batch` from nobody but itself, so the rule of the template lists this too.
pub const SOURCE: &str = "raki-cloud.batch";
/// Detail type of the events, as on AWS.
pub const DETAIL_TYPE: &str = "Batch Job State Change";

const TRIES: u32 = 5;

/// One state change.
#[derive(Debug, Clone)]
pub struct StateChange {
    /// ARN of the job.
    pub job: String,
    /// `detail` of the event.
    pub detail: Value,
}

/// Sends what arrives until the shim ends. A change that cannot be sent is logged and dropped, as EventBridge drops an
/// event whose target stays away.
pub(crate) async fn send_all(client: Client, mut changes: mpsc::UnboundedReceiver<StateChange>) {
    while let Some(change) = changes.recv().await {
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .resources(&change.job)
            .detail(change.detail.to_string())
            .build();
        let mut attempt = 1;
        while !put(&client, entry.clone()).await {
            if attempt == TRIES {
                tracing::error!(job = change.job, "state change could not be sent");
                break;
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            attempt += 1;
        }
    }
}

async fn put(client: &Client, entry: PutEventsRequestEntry) -> bool {
    match client.put_events().entries(entry).send().await {
        Ok(answer) if answer.failed_entry_count() == 0 => true,
        Ok(answer) => {
            let message = answer.entries().first().and_then(|entry| entry.error_message()).unwrap_or("no message");
            tracing::warn!(message, "EventBridge refused a state change");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "EventBridge did not answer");
            false
        }
    }
}
