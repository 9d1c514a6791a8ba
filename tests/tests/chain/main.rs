//! The whole chain, with the real functions, queues, template and job: whatever is uploaded ends exactly once, as images
//! or as a refusal that a physicist understands.
//!
//! One stack serves all cases. Cases that disturb nobody run together; the ones that kill processes follow alone. Then no
//! message may be left anywhere, and no record or log may hold a name.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test panics on what it does not expect")]

mod trouble;
mod uploads;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chain_tests::{bomb, gzip, radial, tar_gz};
use contract::keys::part_quarantine_key;
use contract::{Manifest, Method, Quarantine, ScanId, Stage, State};
use kspace::phantom::Phantom;
use local::{Options, Outcome, Stack, Uploaded};
use trouble::{drained, function_killed_in_the_middle, job_killed_in_the_middle, nothing_names_a_person};
use uploads::{event, made, reconstructed, refused, scan, send_to_raw_queue, upload, versions};

/// Long enough for every case on two busy cores.
const LIMIT: Duration = Duration::from_secs(240);
/// A failed message returns after this many seconds.
const VISIBILITY: u64 = 10;
/// Archives over this size go to the CPU job.
const LAMBDA_BYTES: u64 = 8 << 20;
/// A name as people put it into paths.
const NAME: &str = "Müller+Erika *1970";

/// A plain archive becomes images, and the same bytes of image as without AWS.
async fn same_bytes_as_without_aws(stack: &Stack) -> Result<()> {
    let bytes = scan(1);
    let uploaded = upload(stack, "plain/scan.tar.gz", tar_gz(&[("notes.txt", b"hello"), ("scan.h5", &bytes)])?).await?;
    let manifest = reconstructed(stack, &uploaded.scan).await?;
    let dir = tempfile::tempdir()?;
    stack.download(&uploaded.scan, &dir.path().join("chain")).await?;
    std::fs::write(dir.path().join("scan.h5"), &bytes)?;
    let [h5, prepared, out] = ["scan.h5", "scan.safetensors", "local"].map(|name| dir.path().join(name));
    local::files::prepare(&h5, &prepared, dir.path(), &mut |_, _| {})?;
    let settings = local::files::Settings {
        recipe: gpu_job::engine::Recipe::new(Method::Auto, None, 0),
        images: contract::ImageOptions::default(),
        device: contract::DevicePreference::Auto,
    };
    let alone =
        tokio::task::spawn_blocking(move || local::files::reconstruct(&prepared, &out, settings, &gpu_job::Silent))
            .await??;
    let image = |from: &str| std::fs::read(dir.path().join(from).join("image.nii.gz"));
    ensure!(image("chain")? == image("local")?, "chain and command line differ");
    ensure!(manifest.source.sha256 == alone.source.sha256, "the same raw file has two hashes");
    let (slices, names): (BTreeSet<_>, BTreeSet<_>) =
        manifest.outputs.iter().map(|output| output.name.as_str()).partition(|name| name.starts_with("dicom/"));
    ensure!(
        slices.contains(format!("dicom/{}-000001.dcm", manifest.scan).as_str()),
        "there is no DICOM among {slices:?}"
    );
    let expected = [
        "gfactor.nii.gz",
        "image.nii.gz",
        "metrics.json",
        "noise.nii.gz",
        "preview.png",
        "report.html",
        "thumbnail.png",
    ];
    ensure!(names == BTreeSet::from(expected), "outputs are {names:?}");

    // The page of all scans hears of it moments later.
    let row = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let list = stack.worklist().await?;
            let row = list.rows().iter().find(|row| row.scan == manifest.scan && row.results.is_some()).cloned();
            match row {
                Some(row) if row.is_finished() => return Ok::<_, anyhow::Error>(row),
                _ => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    });
    let row = row.await.context("the worklist never heard of the scan")??;
    ensure!(row.results.is_some_and(|results| results.report && results.thumbnail), "the worklist links no report");
    Ok(())
}

/// A key of spaces, plus and umlauts is mirrored exactly.
async fn key_with_space_plus_umlaut(stack: &Stack) -> Result<()> {
    let uploaded = upload(stack, &format!("a b/{NAME}.h5"), scan(2)).await?;
    reconstructed(stack, &uploaded.scan).await?;
    let keys = stack.list(&stack.description.buckets.results, "a b/").await?;
    ensure!(keys.contains(&format!("a b/{NAME}/manifest.json")), "results lie under {keys:?}");
    Ok(())
}

/// The same event, twice more: one prepared file, one job, one manifest.
async fn the_same_event_again(stack: &Stack) -> Result<()> {
    let uploaded = upload(stack, "twice/scan.h5", scan(3)).await?;
    let body = event(&stack.description.buckets.raw, &uploaded, "twice/scan.h5");
    send_to_raw_queue(stack, &body).await?;
    reconstructed(stack, &uploaded.scan).await?;
    send_to_raw_queue(stack, &body).await?;
    drained(stack, &["RawQueue", "ReconQueue"]).await?;
    let buckets = &stack.description.buckets;
    ensure!(
        versions(stack, &buckets.results, "twice/scan/manifest.json").await?.len() == 1,
        "the manifest was written again"
    );
    ensure!(versions(stack, &buckets.prepared, "twice/").await?.len() == 1, "the scan was prepared again");
    ensure!(stack.jobs_of(&uploaded.scan).len() == 1, "the scan was submitted again");
    Ok(())
}

/// Two scans at once, whose names collide without their endings, keep apart.
async fn two_scans_of_one_stem_at_once(stack: &Stack) -> Result<()> {
    let (first, second) =
        tokio::try_join!(upload(stack, "pair/scan.h5", scan(4)), upload(stack, "pair/scan.h5.gz", gzip(&scan(5))?))?;
    let (first, second) = tokio::try_join!(reconstructed(stack, &first.scan), reconstructed(stack, &second.scan))?;
    ensure!(first.source.sha256 != second.source.sha256, "both are of one file");
    let manifests = stack.list(&stack.description.buckets.results, "pair/").await?;
    ensure!(manifests.iter().filter(|key| key.ends_with("/manifest.json")).count() == 2, "results are {manifests:?}");
    Ok(())
}

/// A new upload under an old name replaces the images.
async fn a_new_version_replaces_the_images(stack: &Stack) -> Result<()> {
    let old = upload(stack, "again/scan.h5", scan(6)).await?;
    reconstructed(stack, &old.scan).await?;
    let new = upload(stack, "again/scan.h5", scan(7)).await?;
    ensure!(old.scan != new.scan, "two versions are one scan");
    let manifest = reconstructed(stack, &new.scan).await?;
    ensure!(manifest.scan == new.scan, "the manifest is still the old one");
    Ok(())
}

/// A method asked for at the upload is used, an unknown one is refused with the choices.
async fn method_of_the_upload(stack: &Stack) -> Result<()> {
    let uploaded = stack.upload_bytes(scan(8), "method/grappa.h5", Some(Method::Grappa)).await?;
    let manifest = reconstructed(stack, &uploaded.scan).await?;
    ensure!(manifest.method == Method::Grappa && manifest.losses.is_empty(), "it was {}", manifest.method);
    Ok(())
}

async fn refusals_of_archives(stack: &Stack) -> Result<()> {
    let whole = tar_gz(&[("scan.h5", &scan(9))])?;
    let cases: [(&str, Vec<u8>, &[&str]); 6] = [
        ("refused/truncated.tar.gz", whole[..whole.len() / 2].to_vec(), &["incomplete"]),
        (
            "refused/no raw data.tar.gz",
            tar_gz(&[("a.txt", b"hello"), ("b.pdf", b"%PDF-1.7")])?,
            &["no raw data", "a text file"],
        ),
        ("refused/bomb.tar.gz", bomb()?, &["ratio", "limit is 100"]),
        ("refused/radial.h5", radial(&scan(10))?, &["radial", "Cartesian"]),
        ("refused/holiday.h5", b"\xff\xd8\xff\xe0 a picture".to_vec(), &["a JPEG image", "k-space"]),
        ("refused/empty.h5", Vec::new(), &["an empty file"]),
    ];
    for (key, bytes, words) in cases {
        let uploaded = upload(stack, key, bytes).await?;
        let record = refused(stack, &uploaded.scan, Stage::Decompress, words).await.with_context(|| key.to_owned())?;
        println!("      {}", record.reason);
        let kept = stack.get(&stack.description.buckets.raw, key).await?;
        ensure!(kept.is_some(), "{key}: the raw file is gone");
    }
    Ok(())
}

/// An archive of two scans and a bad file: images of both, a refusal of the third, each under its name.
async fn several_scans_in_one_archive(stack: &Stack) -> Result<()> {
    let members = [("day/T1.h5", scan(31)), ("day/photo.h5", radial(&scan(32))?), ("day/T2.h5", scan(33))];
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let key = format!("several/{NAME}.tar.gz");
    let uploaded = upload(stack, &key, tar_gz(&members)?).await?;
    let parts = match stack.wait(&uploaded.scan, LIMIT).await? {
        Outcome::Parts(parts) => parts,
        other => bail!("ended as {other:?}"),
    };
    let mut sources = BTreeSet::new();
    for part in &parts {
        match (part.name.as_str(), &part.outcome) {
            ("T1" | "T2", Outcome::Reconstructed(manifest)) => {
                sources.insert(manifest.source.sha256.clone());
                ensure!(stack.jobs_of(&part.scan).len() == 1, "{}: other than one job", part.name);
            }
            ("photo", Outcome::Quarantined(record)) => ensure!(record.reason.contains("radial"), "{}", record.reason),
            (name, outcome) => bail!("{name} ended as {outcome:?}"),
        }
    }
    ensure!((parts.len(), sources.len()) == (3, 2), "parts are {parts:?}");
    let status = stack.status(&uploaded.scan).await?.context("a status")?;
    let told = status.history.iter().filter_map(|event| event.reason.as_deref());
    ensure!(told.clone().any(|reason| reason.starts_with("2 scans, 1 refused")), "{:?}", told.collect::<Vec<_>>());
    let dir = tempfile::tempdir()?;
    stack.download(&uploaded.scan, dir.path()).await?;
    ensure!(dir.path().join("T1/image.nii.gz").is_file() && dir.path().join("T2/image.nii.gz").is_file());
    ensure!(stack.get(&stack.description.buckets.state, &part_quarantine_key(&key, "photo")).await?.is_some());

    // Delivered again, nothing is done again.
    let encoded = "several/M%C3%BCller%2BErika+%2A1970.tar.gz";
    send_to_raw_queue(stack, &event(&stack.description.buckets.raw, &uploaded, encoded)).await?;
    drained(stack, &["RawQueue"]).await?;
    ensure!(versions(stack, &stack.description.buckets.prepared, "several/").await?.len() == 2, "prepared again");
    Ok(())
}

/// A job that fails for good: without calibration lines nothing can be trained.
async fn job_that_fails_for_good(stack: &Stack) -> Result<()> {
    let bytes = made(&Phantom { slices: 1, coils: 4, matrix: 64, acceleration: 4, acs: 0, ..Phantom::default() });
    let uploaded = upload(stack, "refused/no calibration.h5", bytes).await?;
    let record = refused(stack, &uploaded.scan, Stage::Reconstruct, &["calibration"]).await?;
    println!("      {}", record.reason);
    ensure!(stack.jobs_of(&uploaded.scan).iter().all(|job| job.attempts.len() == 1), "bad data were tried again");
    Ok(())
}

/// S3's own test event is acknowledged and starts nothing.
async fn test_event(stack: &Stack) -> Result<()> {
    let raw = &stack.description.buckets.raw;
    let body = serde_json::json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-23T10:00:00.000Z",
        "Bucket": raw, "RequestId": "1", "HostId": "1"});
    send_to_raw_queue(stack, &body.to_string()).await
}

/// An archive over the Lambda's limit takes the way of the CPU job and ends the same.
async fn large_archive(stack: &Stack) -> Result<()> {
    let bytes = made(&Phantom { slices: 4, coils: 8, matrix: 192, acceleration: 1, acs: 0, ..Phantom::default() });
    ensure!(bytes.len() as u64 > LAMBDA_BYTES, "the file has {} bytes", bytes.len());
    let uploaded = upload(stack, "large/scan.h5", bytes).await?;
    reconstructed(stack, &uploaded.scan).await?;
    let status = stack.status(&uploaded.scan).await?.context("a status")?;
    ensure!(status.history.iter().any(|e| e.state == State::HandedOver), "the Lambda did it: {:?}", status.history);
    ensure!(stack.jobs_of(&uploaded.scan).len() == 2, "one job prepares, one reconstructs");
    Ok(())
}

type Case<'a> = (&'static str, Pin<Box<dyn Future<Output = Result<()>> + 'a>>);

/// Runs cases together and tells each end. Returns the names of those that failed.
async fn run(cases: Vec<Case<'_>>) -> Vec<&'static str> {
    let cases = cases.into_iter().map(|(name, case)| async move {
        let start = Instant::now();
        let result = case.await;
        let seconds = start.elapsed().as_secs_f64();
        match &result {
            Ok(()) => println!("ok    {name} ({seconds:.1} s)"),
            Err(error) => println!("FAIL  {name} ({seconds:.1} s): {error:#}"),
        }
        result.is_err().then_some(name)
    });
    futures::future::join_all(cases).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_upload_ends_exactly_once() -> Result<()> {
    let mut options = Options::new(local::config::Config::from_env());
    for (name, value) in [("LocalVisibilitySeconds", VISIBILITY), ("MaxLambdaBytes", LAMBDA_BYTES)] {
        options.parameters.insert(name.to_owned(), value.to_string());
    }
    let dir = tempfile::tempdir()?;
    options.work_dir = Some(dir.path().to_owned());
    options.refresh_spacing = Duration::from_millis(200);
    let stack = &Stack::start(options).await?;
    ensure!(Path::new(&stack.description.logs).is_dir(), "logs are kept while the stack runs");

    let mut failed = run(vec![
        ("same bytes as without AWS", Box::pin(same_bytes_as_without_aws(stack))),
        ("key with space, plus and umlaut", Box::pin(key_with_space_plus_umlaut(stack))),
        ("the same event again", Box::pin(the_same_event_again(stack))),
        ("two scans of one stem at once", Box::pin(two_scans_of_one_stem_at_once(stack))),
        ("a new version replaces the images", Box::pin(a_new_version_replaces_the_images(stack))),
        ("method of the upload", Box::pin(method_of_the_upload(stack))),
        ("refusals of archives", Box::pin(refusals_of_archives(stack))),
        ("several scans in one archive", Box::pin(several_scans_in_one_archive(stack))),
        ("job that fails for good", Box::pin(job_that_fails_for_good(stack))),
        ("test event", Box::pin(test_event(stack))),
        ("large archive", Box::pin(large_archive(stack))),
    ])
    .await;
    failed.extend(run(vec![("job killed in the middle", Box::pin(job_killed_in_the_middle(stack)))]).await);
    failed.extend(run(vec![("function killed in the middle", Box::pin(function_killed_in_the_middle(stack)))]).await);
    failed.extend(
        run(vec![
            ("no message is left", Box::pin(drained(stack, &[]))),
            ("nothing names a person", Box::pin(nothing_names_a_person(stack))),
        ])
        .await,
    );
    ensure!(failed.is_empty(), "failed: {failed:?}");
    ensure!(!stack.refreshes().is_empty(), "the share was never refreshed");
    Ok(())
}
