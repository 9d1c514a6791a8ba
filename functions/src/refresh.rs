//! Shows new results on the share.
//!
//! A share takes two requests at a time, which are to be 60 s apart, with 1 to 50 folders each
//! (<https://docs.aws.amazon.com/storagegateway/latest/APIReference/API_RefreshCache.html>). The queue's batching window
//! and the concurrency of its mapping see to the first two; this function puts the folders of a batch into one request.

use std::collections::BTreeSet;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use contract::keys::MANIFEST_NAME;

use crate::config::Refresh;
use crate::message::{self, Created};
use crate::ports::{RefreshCache, Refreshed};

/// The most folders of one request.
pub const MAX_FOLDERS: usize = 50;
/// The root of a share.
const ROOT: &str = "/";

/// The folders that have to be looked at for a new result to appear: its own, and each above it, since a folder that
/// the share does not know yet appears only when the one above it is looked at.
#[must_use]
pub fn folders(manifest_key: &str) -> Vec<String> {
    let mut folders = vec![ROOT.to_owned()];
    let parents = manifest_key.match_indices('/').map(|(at, _)| &manifest_key[..at]);
    folders.extend(parents.filter(|folder| !folder.is_empty()).map(str::to_owned));
    folders
}

/// The folders of one request, and for each message whether it is part of it. Messages are taken in their order for as long
/// as there is room; those left out come with a later batch.
#[must_use]
pub fn coalesce(messages: &[BTreeSet<String>]) -> (BTreeSet<String>, Vec<bool>) {
    let mut all = BTreeSet::new();
    let taken = messages.iter().map(|folders| {
        let fits = all.union(folders).count() <= MAX_FOLDERS;
        if fits {
            all.extend(folders.iter().cloned());
        }
        fits
    });
    let taken = taken.collect();
    (all, taken)
}

/// Deals with a batch of S3 notifications of results.
pub async fn handle<P: RefreshCache>(ports: &P, config: &Refresh, event: SqsEvent) -> SqsBatchResponse {
    let mut answer = SqsBatchResponse::default();
    let Some(share) = &config.file_share else {
        tracing::info!(messages = event.records.len(), "acknowledged: there is no share");
        return answer;
    };
    let mut waiting = Vec::new();
    for record in event.records {
        let id = record.message_id.clone().unwrap_or_default();
        match message::created(message::body(&record)) {
            Ok(objects) => waiting
                .push((id, objects.iter().filter(|it| is_manifest(it)).flat_map(|it| folders(&it.key)).collect())),
            Err(error) => {
                message::report(&error);
                answer.add_failure(id);
            }
        }
    }
    let (ids, sets): (Vec<String>, Vec<BTreeSet<String>>) = waiting.into_iter().unzip();
    let (all, taken) = coalesce(&sets);
    let all: Vec<String> = all.into_iter().collect();
    let accepted = all.is_empty() || request(ports, share, &all).await;
    for (id, _) in ids.into_iter().zip(taken).filter(|(_, taken)| !(accepted && *taken)) {
        answer.add_failure(id);
    }
    answer
}

fn is_manifest(object: &Created) -> bool {
    object.key.rsplit('/').next() == Some(MANIFEST_NAME)
}

async fn request<P: RefreshCache>(ports: &P, share: &str, folders: &[String]) -> bool {
    match ports.refresh_cache(share, folders).await {
        Ok(Refreshed::Accepted) => {
            tracing::info!(folders = folders.len(), "the share looks again");
            true
        }
        Ok(Refreshed::Later) => {
            tracing::warn!(folders = folders.len(), "the share is busy: left for another try");
            false
        }
        Err(error) => {
            message::report(&error);
            false
        }
    }
}

#[cfg(test)]
mod tests;
