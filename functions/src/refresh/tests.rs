//! The handler on the sample events, with ports in memory.

use super::*;
use crate::fakes::{World, fixture};
use proptest::prelude::*;

fn config() -> Refresh {
    Refresh { file_share: Some("arn:aws:storagegateway:eu-central-1:111122223333:share/share-1".into()) }
}

async fn run(world: &World, config: &Refresh, event: &str) -> usize {
    handle(world, config, fixture(event)).await.batch_item_failures.len()
}

#[tokio::test]
async fn the_results_of_a_minute_are_one_request() {
    let world = World::default();
    assert_eq!(run(&world, &config(), "manifest-put.json").await, 0);
    let expected = ["/", "2026-11-23", "2026-11-23/Kopf t2+flair ä", "2026-11-23/brain_t2"];
    assert_eq!(*world.refreshed.lock().expect("no panic"), [expected.map(str::to_owned)]);
}

#[tokio::test]
async fn a_busy_share_leaves_every_message() {
    let world = World::default();
    *world.share_is_busy.lock().expect("no panic") = true;
    assert_eq!(run(&world, &config(), "manifest-put.json").await, 2);
}

#[tokio::test]
async fn without_a_share_everything_is_acknowledged() {
    let world = World::default();
    assert_eq!(run(&world, &Refresh { file_share: None }, "manifest-put.json").await, 0);
    assert!(world.refreshed.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn what_is_no_manifest_asks_for_nothing() {
    let world = World::default();
    assert_eq!(run(&world, &config(), "s3-test-event.json").await, 0);
    assert_eq!(run(&world, &config(), "prepared-put.json").await, 0);
    assert!(world.refreshed.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn more_folders_than_a_request_takes_come_later() {
    let world = World::default();
    let mut event: SqsEvent = fixture("manifest-put.json");
    let first = event.records[0].clone();
    event.records = (0..60)
        .map(|n| {
            let mut message = first.clone();
            message.message_id = Some(n.to_string());
            message.body = first.body.as_ref().map(|body| body.replace("brain_t2", &format!("scan{n}")));
            message
        })
        .collect();
    let answer = handle(&world, &config(), event).await;
    assert_eq!(world.refreshed.lock().expect("no panic")[0].len(), MAX_FOLDERS);
    // The root and the day leave room for 48 scans.
    let left: Vec<_> = answer.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!(left, (48..60).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn every_folder_above_a_result_is_looked_at() {
    assert_eq!(folders("a/b/c/manifest.json"), ["/", "a", "a/b", "a/b/c"]);
    assert_eq!(folders("manifest.json"), ["/"]);
}

proptest! {
    #[test]
    fn a_request_is_bounded_and_holds_what_it_takes(
        messages in proptest::collection::vec(proptest::collection::btree_set("[a-d]{1,3}", 0..8), 0..60)
    ) {
        let (all, taken) = coalesce(&messages);
        prop_assert!(all.len() <= MAX_FOLDERS);
        prop_assert_eq!(taken.len(), messages.len());
        for (folders, taken) in messages.iter().zip(taken) {
            prop_assert!(!taken || folders.is_subset(&all));
            prop_assert!(taken || all.union(folders).count() > MAX_FOLDERS);
        }
    }
}
