//! The same work in a container of AWS Batch.

use super::*;

async fn run(world: &World) -> ExitCode {
    let config = PrepareJob { preparation: config().preparation };
    let claim = state::Claim {
        schema: state::Claim::SCHEMA,
        scan: scan(),
        bucket: "raki-raw".to_owned(),
        key: KEY.to_owned(),
        version: Some(VERSION.to_owned()),
        part: None,
    };
    state::record_raw(world, &config.preparation.state, &claim).await.expect("memory");
    job::run(world, &config, &scan()).await
}

#[test]
fn the_one_argument_is_a_scan() {
    let read = |given: &[&str]| job::arguments(given.iter().map(|&part| part.to_owned()));
    assert_eq!(read(&["--scan", scan().as_str()]).expect("complete"), scan());
    for given in [&["--scan"][..], &["--scan", KEY], &["run"], &[]] {
        let error = read(given).expect_err("not a scan").to_string();
        assert!(error.contains("usage") || error.contains("16 lowercase"), "{error}");
    }
}

#[tokio::test]
async fn a_scan_that_was_never_seen_is_a_defect() {
    let config = PrepareJob { preparation: config().preparation };
    assert_eq!(job::run(&world(), &config, &scan()).await, ExitCode::Bug);
}

#[tokio::test]
async fn it_prepares_what_is_too_large_for_the_function() {
    let world = world();
    world.put_object(&format!("s3://raki-raw/{KEY}"), info(VERSION, 5 << 30), "");
    assert_eq!(run(&world).await, ExitCode::Done);
    assert!(world.object(PREPARED).is_some());
    assert_eq!(world.below("s3://raki-state/status/"), Vec::<String>::new(), "the history is outcome's");
    assert_eq!(run(&world).await, ExitCode::Done);
    assert_eq!(world.prepared.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn bad_data_leave_word_and_exit_65() {
    let world = world();
    fail_with(&world, |_| Some(Error::Data(DataError::corrupt("the header", "nothing", "XML"))));
    assert_eq!(run(&world).await, ExitCode::BadData);
    let left = world.text(&format!("s3://raki-state/{}", state::job_failure_key(&scan())));
    assert!(left.contains("bad_data") && left.contains("expected XML"), "{left}");
}

#[tokio::test]
async fn trouble_of_a_service_exits_75_and_a_full_disk_too() {
    for verdict in [|| Error::OutOfTime, || Error::NoSpace] {
        let world = world();
        fail_with(&world, move |_| Some(verdict()));
        assert_eq!(run(&world).await, ExitCode::Transient);
    }
}

#[tokio::test]
async fn an_old_truncated_archive_is_bad_data() {
    let world = world();
    let old = SystemTime::now() - Duration::from_secs(7200);
    let aged = ObjectInfo { modified: Some(old), ..info(VERSION, 1) };
    world.put_object(&format!("s3://raki-raw/{KEY}"), aged, "");
    fail_with(&world, |_| cut());
    assert_eq!(run(&world).await, ExitCode::BadData);
}

#[tokio::test]
async fn an_older_version_is_superseded() {
    let world = world();
    world.put_object(&format!("s3://raki-raw/{KEY}"), info("newer", 1), "");
    assert_eq!(run(&world).await, ExitCode::Done);
    assert_eq!(states(&world, &scan()), [State::Superseded]);
}
