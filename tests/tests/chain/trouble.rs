//! Processes that are killed, and what must not be left of anything.

use super::*;

/// A job asked to stop ends with 75, is tried again and succeeds; so does one whose host is gone.
pub(crate) async fn job_killed_in_the_middle(stack: &Stack) -> Result<()> {
    let slow = Phantom { slices: 4, coils: 8, matrix: 160, acceleration: 4, acs: 32, ..Phantom::default() };
    for (key, seed, host) in [("killed/terminated.h5", 21, false), ("killed/lost host.h5", 22, true)] {
        let uploaded = upload(stack, key, made(&Phantom { seed, ..slow })).await?;
        let start = Instant::now();
        loop {
            let stopped =
                if host { stack.lose_host_of_jobs(&uploaded.scan) } else { stack.interrupt_jobs(&uploaded.scan) };
            if stopped > 0 {
                break;
            }
            ensure!(start.elapsed() < LIMIT, "{key}: no job ran");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        reconstructed(stack, &uploaded.scan).await.with_context(|| key.to_owned())?;
        let jobs = stack.jobs_of(&uploaded.scan);
        ensure!(jobs.len() == 1 && jobs[0].attempts.len() == 2, "{key}: {jobs:?}");
        if !host {
            ensure!(jobs[0].attempts[0].ended.exit_code == Some(75), "{key}: {:?}", jobs[0].attempts);
        }
    }
    Ok(())
}

/// A function killed in the middle of its work leaves the message, which is delivered again.
pub(crate) async fn function_killed_in_the_middle(stack: &Stack) -> Result<()> {
    // Compressed noise takes a while to unpack, and stays below the limit of the Lambda.
    let bytes =
        made(&Phantom { slices: 2, coils: 6, matrix: 144, acceleration: 1, acs: 0, seed: 23, ..Phantom::default() });
    let archive = gzip(&bytes)?;
    ensure!((archive.len() as u64) < LAMBDA_BYTES, "the archive has {} bytes", archive.len());
    let uploaded = upload(stack, "killed/function.h5.gz", archive).await?;
    let start = Instant::now();
    loop {
        let started = stack.status(&uploaded.scan).await?.is_some_and(|status| !status.history.is_empty());
        if started && stack.kill_function("Decompress") > 0 {
            break;
        }
        ensure!(start.elapsed() < LIMIT, "the function was never seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    reconstructed(stack, &uploaded.scan).await?;
    let results = &stack.description.buckets.results;
    ensure!(
        versions(stack, results, "killed/function/manifest.json").await?.len() == 1,
        "the manifest was written again"
    );
    Ok(())
}

/// Waits until no message is left in the queues named, or in all of them.
pub(crate) async fn drained(stack: &Stack, names: &[&str]) -> Result<()> {
    let start = Instant::now();
    loop {
        let left: Vec<_> = stack
            .queue_depths()
            .await?
            .into_iter()
            .filter(|(name, depth)| (names.is_empty() || names.contains(&name.as_str())) && depth.total() > 0)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(start.elapsed() < LIMIT, "messages are left: {left:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// No record that people and machines read, and no log of a job, holds a name of a file.
pub(crate) async fn nothing_names_a_person(stack: &Stack) -> Result<()> {
    let mut texts = Vec::new();
    for (bucket, prefix) in [(&stack.description.buckets.state, "status/"), (&stack.description.buckets.results, "")] {
        for key in stack.list(bucket, prefix).await?.into_iter().filter(|key| key.ends_with(".json")) {
            texts.extend(stack.get(bucket, &key).await?);
        }
    }
    let jobs = stack.description.logs.join("logs");
    for entry in std::fs::read_dir(&jobs).with_context(|| format!("{}", jobs.display()))? {
        texts.push(std::fs::read(entry?.path())?);
    }
    ensure!(texts.len() > 20, "only {} records and logs were found", texts.len());
    let (name, encoded) = ("Erika", b"M%C3%BCller");
    for text in &texts {
        let holds = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
        ensure!(
            !holds(name.as_bytes()) && !holds(encoded),
            "a record names a person: {}",
            String::from_utf8_lossy(text)
        );
    }
    Ok(())
}
