//! Uploads that hold several scans.

use super::*;

#[tokio::test]
async fn each_scan_of_an_upload_goes_its_own_way_and_a_bad_one_is_refused_alone() {
    let world = study(&["t1", "T1", "photo"], &["photo"]);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    let below = "s3://raki-prepared/2026-11-23/brain_t2";
    assert_eq!(
        world.below("s3://raki-prepared/"),
        [format!("{below}/T1_2.safetensors"), format!("{below}/t1.safetensors")]
    );
    let prepared = world.object(&format!("{below}/t1.safetensors")).expect("it was prepared").info.metadata;
    assert_eq!(prepared.get(SCAN_METADATA), Some(&part("t1").to_string()));
    assert_eq!(prepared.get(metadata::KEY_SHA256), Some(&key_sha256("raki-raw", KEY)));
    assert_eq!(states(&world, &part("t1")), [State::Done]);
    assert_eq!(states(&world, &part("photo")), [State::Quarantined]);
    let record = world.text(&format!("s3://raki-state/{}", contract::keys::part_quarantine_key(KEY, "photo")));
    assert!(record.contains("a picture (5): send k-space"), "{record}");
    assert_eq!(world.object(&format!("s3://raki-state/{}", quarantine_key(KEY))), None);
    assert_eq!(states(&world, &scan()), [State::Started, State::Done]);
    let status = world.text(&format!("s3://raki-state/{}", status_key(&scan())));
    assert!(status.contains("2 scans, 1 refused"), "{status}");
    // Each leads back to the raw object.
    let claim =
        state::raw_of(&world, &config().preparation.state, &part("T1_2")).await.expect("memory").expect("a claim");
    assert_eq!((claim.key.as_str(), claim.version.as_deref()), (KEY, Some(VERSION)));
    assert_eq!(claim.part.map(|part| part.upload), Some(scan()));
}

#[tokio::test]
async fn an_upload_that_is_delivered_again_is_not_unpacked_again() {
    let world = study(&["t1", "photo"], &["photo"]);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    let before = world.objects.lock().expect("no panic").clone();
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(*world.opened.lock().expect("no panic"), 1);
    assert_eq!(*world.objects.lock().expect("no panic"), before);
}

#[tokio::test]
async fn what_a_crash_left_is_done_by_the_next_delivery_and_nothing_else() {
    for crash_at in 0..3 {
        let world = study(&["a", "b", "c"], &[]);
        let doomed = part(["a", "b", "c"][crash_at]);
        fail_with(&world, move |task| {
            (task.scan == doomed)
                .then_some(Error::Store(store::Error::Retryable { what: "writing", cause: "gone".into() }))
        });
        assert_eq!(run(&world, "s3-put.json").await, 1);
        assert_eq!(world.object(&parts_url()), None, "not all of it is done");
        assert_eq!(world.below("s3://raki-prepared/").len(), crash_at);
        *world.verdict.lock().expect("no panic") = None;
        world.prepared.lock().expect("no panic").clear();
        assert_eq!(run(&world, "s3-put.json").await, 0);
        assert_eq!(world.prepared.lock().expect("no panic").len(), 3 - crash_at, "what was there is not done again");
        assert_eq!(world.below("s3://raki-prepared/").len(), 3);
        for name in ["a", "b", "c"] {
            assert_eq!(states(&world, &part(name)), [State::Done], "{name}");
        }
        assert!(world.object(&parts_url()).is_some());
    }
}

#[tokio::test]
async fn two_functions_at_one_upload_write_every_part_once() {
    let world = study(&["a", "b"], &[]);
    *world.meanwhile.lock().expect("no panic") = Some(Box::new(|world| {
        let metadata = HashMap::from([(SCAN_METADATA.to_owned(), part("a").to_string())]);
        let url = "s3://raki-prepared/2026-11-23/brain_t2/a.safetensors";
        world.put_object(url, ObjectInfo { metadata, ..info("p", 1) }, "the same");
    }));
    assert_eq!(run(&world, "s3-put.json").await, 0);
    let first = world.object("s3://raki-prepared/2026-11-23/brain_t2/a.safetensors").map(|object| object.bytes);
    assert_eq!(first, Some("the same".into()));
    assert_eq!(states(&world, &part("b")), [State::Done]);
    assert_eq!(world.below("s3://raki-prepared/").len(), 2);
}

#[tokio::test]
async fn a_newer_upload_ends_the_work_on_the_parts_of_an_older_one() {
    let world = study(&["a", "b"], &[]);
    *world.meanwhile.lock().expect("no panic") =
        Some(Box::new(|world| world.put_object(&format!("s3://raki-raw/{KEY}"), info("newer", 7), "")));
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(states(&world, &scan()), [State::Started, State::Superseded]);
    assert_eq!(states(&world, &part("b")), [State::Superseded]);
    assert_eq!(world.object(&parts_url()), None);
}

#[tokio::test]
async fn an_upload_of_which_no_part_can_be_prepared_is_refused_whole() {
    let world = study(&["a", "b"], &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(run(&world, "s3-put.json").await, 0);
    }
    assert!(quarantined(&world, KEY).contains("none of its 2 scans can be prepared; the first: a picture"));
    assert_eq!(states(&world, &part("b")), [State::Quarantined]);
    assert_eq!(states(&world, &scan()), [State::Started, State::Quarantined]);

    let world = study(&[], &[]);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert!(quarantined(&world, KEY).contains("only noise measurements"));
}

#[tokio::test]
async fn a_cut_part_waits_for_its_grace_while_the_others_go_on() {
    let world = study(&["a", "b"], &[]);
    fail_with(&world, |task| (task.scan == part("a")).then(cut).flatten());
    assert_eq!(run(&world, "s3-put.json").await, 1);
    assert_eq!(*world.postponed.lock().expect("no panic"), [Duration::from_secs(3001)]);
    assert_eq!(states(&world, &part("b")), [State::Done]);
    assert_eq!(world.object(&parts_url()), None);

    let old: Timestamp = "2026-11-23T09:00:00Z".parse().expect("a time");
    let aged = ObjectInfo { modified: Some(system(old)), ..info(VERSION, 1) };
    world.put_object(&format!("s3://raki-raw/{KEY}"), aged, "");
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(states(&world, &part("a")), [State::Quarantined]);
    assert!(world.object(&parts_url()).is_some());
}

#[tokio::test]
async fn parts_that_take_too_long_go_to_the_cpu_job_which_does_the_rest() {
    let world = study(&["a", "b"], &[]);
    fail_with(&world, |task| (task.scan == part("b")).then_some(Error::OutOfTime));
    assert_eq!(run(&world, "s3-put.json").await, 0);
    assert_eq!(states(&world, &scan()), [State::Started, State::HandedOver]);
    *world.verdict.lock().expect("no panic") = None;
    let config = PrepareJob { preparation: config().preparation };
    assert_eq!(job::run(&world, &config, &scan()).await, ExitCode::Done);
    assert_eq!(states(&world, &part("b")), [State::Done]);
    assert!(world.object(&parts_url()).is_some());
}

#[tokio::test]
async fn a_part_whose_name_belongs_to_another_upload_lies_below_the_full_name() {
    let other = format!("{{\"schema\":1,\"key_sha256\":\"{}\"}}", key_sha256("raki-raw", "2026-11-23/brain_t2/a.h5"));
    let world = study(&["a", "b"], &[]);
    world.put_object(&format!("s3://raki-state/{}", owner_key("2026-11-23/brain_t2/a")), info("o", 1), &other);
    assert_eq!(run(&world, "s3-put.json").await, 0);
    let expected = [
        format!("s3://raki-prepared/{KEY}/a.safetensors"),
        "s3://raki-prepared/2026-11-23/brain_t2/b.safetensors".into(),
    ];
    assert_eq!(world.below("s3://raki-prepared/"), expected);
}
