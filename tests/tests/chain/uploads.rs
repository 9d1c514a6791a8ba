//! Uploads, and what they are to end as.

use super::*;

/// A small scan as ISMRMRD bytes, other bytes for every seed.
pub(crate) fn scan(seed: u64) -> Vec<u8> {
    made(&Phantom { slices: 2, coils: 4, matrix: 64, acceleration: 2, acs: 20, seed, ..Phantom::default() })
}

pub(crate) fn made(phantom: &Phantom) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("scan.h5");
    phantom.write_ismrmrd(&path).expect("a phantom");
    std::fs::read(&path).expect("the phantom's bytes")
}

pub(crate) async fn reconstructed(stack: &Stack, scan: &ScanId) -> Result<Manifest> {
    match stack.wait(scan, LIMIT).await? {
        Outcome::Reconstructed(manifest) => Ok(*manifest),
        other => bail!("ended as {other:?}"),
    }
}

/// Waits for a refusal whose reason holds every one of `words`.
pub(crate) async fn refused(stack: &Stack, scan: &ScanId, stage: Stage, words: &[&str]) -> Result<Quarantine> {
    let record = match stack.wait(scan, LIMIT).await? {
        Outcome::Quarantined(record) => record,
        other => bail!("ended as {other:?}"),
    };
    ensure!(record.stage == stage, "refused by {}", record.stage);
    for word in words {
        ensure!(record.reason.contains(word), "the reason does not speak of {word:?}: {}", record.reason);
    }
    ensure!(!record.run_again.is_empty(), "how to run it again is missing");
    Ok(record)
}

/// Versions that ever existed of the objects of `bucket` below `prefix`.
pub(crate) async fn versions(stack: &Stack, bucket: &str, prefix: &str) -> Result<Vec<String>> {
    let answer = stack.s3.list_object_versions().bucket(bucket).prefix(prefix).send().await?;
    Ok(answer.versions().iter().filter_map(|version| version.key().map(str::to_owned)).collect())
}

pub(crate) async fn upload(stack: &Stack, key: &str, bytes: Vec<u8>) -> Result<Uploaded> {
    Ok(stack.upload_bytes(bytes, key, None).await?)
}

/// What S3 tells the raw queue of an upload.
pub(crate) fn event(bucket: &str, uploaded: &Uploaded, encoded_key: &str) -> String {
    serde_json::json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2026-11-23T10:00:00.000Z",
        "eventName": "ObjectCreated:Put", "userIdentity": {"principalId": "x"}, "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {}, "s3": {"s3SchemaVersion": "1.0", "configurationId": "raw",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "x"}, "arn": format!("arn:aws:s3:::{bucket}")},
            "object": {"key": encoded_key, "size": 1, "eTag": "0", "versionId": uploaded.version, "sequencer": "00"}}
    }]})
    .to_string()
}

pub(crate) async fn send_to_raw_queue(stack: &Stack, body: &str) -> Result<()> {
    let url = stack.description.queues.get("RawQueue").context("the raw queue has an output")?;
    stack.sqs.send_message().queue_url(url).message_body(body).send().await?;
    Ok(())
}
