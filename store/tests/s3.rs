//! The store against an S3 service, with `RAKI_CLOUD_S3_ENDPOINT` naming its endpoint; else it says that it was skipped.

use std::collections::HashMap;
use std::io::{Read, Write};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use store::{Condition, Error, Location, PutOptions, PutOutcome, RangeSource, Store};

const BUCKET: &str = "raki-cloud-store-test";

#[expect(clippy::disallowed_methods, reason = "tests are switched on by the environment")]
fn endpoint() -> Option<String> {
    let found = std::env::var("RAKI_CLOUD_S3_ENDPOINT").ok();
    if found.is_none() {
        eprintln!("skipped: RAKI_CLOUD_S3_ENDPOINT names no endpoint");
    }
    found
}

async fn service() -> Option<(Store, aws_sdk_s3::Client)> {
    let sdk = aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(Credentials::new(
            "test", "test", None, None, "test",
        )))
        .endpoint_url(endpoint()?)
        .build();
    let client = store::config::s3_client(&sdk);
    // The other test may have made it.
    let _ = client.create_bucket().bucket(BUCKET).send().await;
    Some((Store::new(&sdk), client))
}

fn options(condition: Condition) -> PutOptions {
    let metadata = HashMap::from([("scan-id".to_owned(), "7d8f1c2ab3e4f506".to_owned())]);
    PutOptions { metadata, condition, content_type: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_and_conditions() -> Result<(), Error> {
    let Some((store, client)) = service().await else { return Ok(()) };
    let at = Location::bucket(BUCKET).join("a b/köpf+1%20.json");
    let Location::S3 { key, .. } = &at else { panic!("a bucket") };
    client.delete_object().bucket(BUCKET).key(key).send().await.expect("deleted");

    assert_eq!(store.head(&at).await?, None);
    assert_eq!(store.get_object(&at).await?, None);
    assert_eq!(store.put(&at, "x", &options(Condition::IfMatch("0".into()))).await?, PutOutcome::Conflict);
    let PutOutcome::Written { etag } = store.put(&at, "one", &options(Condition::IfAbsent)).await? else {
        panic!("nothing was there")
    };
    assert_eq!(store.put(&at, "two", &options(Condition::IfAbsent)).await?, PutOutcome::Conflict);
    assert!(store.put(&at, "two", &options(Condition::IfMatch(etag.clone()))).await?.is_written());
    assert_eq!(store.put(&at, "six", &options(Condition::IfMatch(etag))).await?, PutOutcome::Conflict);
    let found = store.get_object(&at).await?.expect("it was written");
    assert_eq!((found.bytes.as_ref(), found.info.len), (b"two".as_ref(), 3));
    assert_eq!(found.info.metadata.get("scan-id").map(String::as_str), Some("7d8f1c2ab3e4f506"));
    assert_eq!(store.get_range(&at, 1..3).await?, "wo");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_go_in_parts_and_come_back() -> Result<(), Error> {
    let Some((store, client)) = service().await else { return Ok(()) };
    let at = Location::bucket(BUCKET).join("large.bin");
    client.delete_object().bucket(BUCKET).key("large.bin").send().await.expect("deleted");
    let content: Vec<u8> = (0..20_000_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();

    let write = |condition: Condition, content: Vec<u8>| {
        let (store, at) = (store.clone(), at.clone());
        tokio::task::spawn_blocking(move || {
            let mut writer = store.writer(&at, options(condition), Some(content.len() as u64))?;
            for piece in content.chunks(1_000_003) {
                writer.write_all(piece).expect("parts are accepted");
            }
            writer.finish()
        })
    };
    assert!(write(Condition::IfAbsent, content.clone()).await.expect("no panic")?.is_written());
    let second = write(Condition::IfAbsent, vec![0; 9_000_000]).await.expect("no panic")?;
    assert_eq!(second, PutOutcome::Conflict);

    let info = store.head(&at).await?.expect("it was written");
    assert_eq!(info.metadata.get("scan-id").map(String::as_str), Some("7d8f1c2ab3e4f506"));
    let mut reader = store.reader(&at).await?;
    let mut stale = store.reader_of(&at, &store::ObjectInfo { etag: "0".into(), ..info })?;
    let source = store.range_source(&at).await?;
    let read = tokio::task::spawn_blocking(move || {
        let (mut all, mut part) = (Vec::new(), vec![0; 9_000_000]);
        reader.read_to_end(&mut all).expect("readable");
        source.read_at(7_000_001, &mut part).expect("inside");
        let mut none = [0; 1];
        assert!(stale.read(&mut none).is_err());
        (all, part, stale.take_failure())
    });
    let (all, part, failure) = read.await.expect("no panic");
    assert!(all == content, "the stream equals what was written");
    assert!(part == content[7_000_001..16_000_001], "a range over several parts equals what was written");
    assert!(matches!(failure, Some(Error::Changed { .. })), "{failure:?}");

    // An upload given up leaves no parts behind.
    let (aborted, place) = (store.clone(), at.join("never"));
    let failure = tokio::task::spawn_blocking(move || {
        let mut writer = aborted.writer(&place, options(Condition::Always), None)?;
        writer.write_all(&vec![1; 17 << 20]).expect("parts are accepted");
        Ok::<_, Error>(writer.abort())
    });
    assert!(failure.await.expect("no panic")?.is_none());
    let open = client.list_multipart_uploads().bucket(BUCKET).send().await.expect("listed");
    assert!(open.uploads().is_empty(), "{} uploads are open", open.uploads().len());
    Ok(())
}
