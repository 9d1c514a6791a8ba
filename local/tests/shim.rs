//! The Batch shim, driven by the AWS SDK and by boto3, with a shell script in the place of the programs and the
//! definitions of the real template.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aws_sdk_batch::Client;
use aws_sdk_batch::types::{JobDetail, JobStatus, KeyValuesPair};
use local::endpoints::{ACCOUNT, REGION, sdk_config};
use local::shim::Shim;
use local::shim::gateway::SPACING;
use local::shim::registry::Registry;
use local::shim::runner::Launch;
use local::stack::FILE_SHARE;
use local::template::intrinsics::Resolver;
use local::template::{BUILT_IN, Template};

/// Called as `run --spec WHAT` by the definition of the real template.
const PROGRAM: &str = r#"#!/bin/sh
trap 'exit 75' TERM
echo "attempt $AWS_BATCH_JOB_ATTEMPT of $AWS_BATCH_JOB_ID in $RAKI_IMAGE_DIGEST"
case "$3" in
  exit-*) exit "${3#exit-}" ;;
  flaky) [ "$AWS_BATCH_JOB_ATTEMPT" -ge 2 ] || exit 75 ;;
  first-waits) [ "$AWS_BATCH_JOB_ATTEMPT" -ge 2 ] && exit 0; sleep 60 & wait ;;
  waits) sleep 60 & wait ;;
esac
"#;

/// Written once, before the first job starts: Linux refuses to run a file that a child forked meanwhile holds open.
static PROGRAM_FILE: LazyLock<tempfile::TempPath> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&file, PROGRAM).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
});

struct Running {
    shim: Shim,
    batch: Client,
    dir: tempfile::TempDir,
}

fn start(template: &str) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let program = PROGRAM_FILE.to_path_buf();
    let template = Template::parse(template).unwrap();
    let stated = [("Target", "local"), ("GpuImageDigest", "sha256:0123")];
    let parameters = stated.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let resources = BTreeMap::new();
    let resolver = Resolver {
        template: &template.document,
        parameters: &parameters,
        resources: &resources,
        stack: "raki-cloud",
        region: REGION,
        account: ACCOUNT,
    };
    let shim = Shim::start(FILE_SHARE, SPACING).unwrap();
    let launch = Launch {
        gpu: program.clone(),
        prepare: program,
        gpu_slots: 1,
        prepare_slots: 1,
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".into())],
        logs: dir.path().to_owned(),
        process_group: None,
    };
    shim.connect(Registry::of(&template, &resolver).unwrap(), launch, None);
    let batch = Client::new(&sdk_config(&shim.url()));
    Running { shim, batch, dir }
}

impl Running {
    async fn submit(&self, name: &str, spec: &str) -> String {
        let job = self.batch.submit_job().job_name(name).job_queue("raki-gpu").job_definition("raki-reconstruct");
        job.parameters("spec", spec).send().await.unwrap().job_id.unwrap()
    }

    async fn detail(&self, id: &str) -> JobDetail {
        self.batch.describe_jobs().jobs(id).send().await.unwrap().jobs.unwrap().remove(0)
    }

    async fn until(&self, id: &str, statuses: &[JobStatus]) -> JobDetail {
        let start = Instant::now();
        loop {
            let job = self.detail(id).await;
            if job.status().is_some_and(|status| statuses.contains(status)) {
                return job;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{id} is {:?}", job.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until the program of a job's running attempt has said so, and hears signals.
    async fn until_it_speaks(&self, id: &str) {
        let job = self.until(id, &[JobStatus::Running]).await;
        let log = job.container().and_then(|container| container.log_stream_name()).unwrap();
        while std::fs::read_to_string(self.dir.path().join(log)).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(&self, id: &str) -> JobDetail {
        self.until(id, &[JobStatus::Succeeded, JobStatus::Failed]).await
    }
}

fn codes(job: &JobDetail) -> Vec<Option<i32>> {
    job.attempts().iter().map(|attempt| attempt.container().and_then(|container| container.exit_code())).collect()
}

#[tokio::test]
async fn exit_codes_lead_where_the_template_says() {
    let running = start(BUILT_IN);
    for (spec, status, expected) in [
        ("exit-0", JobStatus::Succeeded, vec![Some(0)]),
        ("exit-65", JobStatus::Failed, vec![Some(65)]),
        ("exit-70", JobStatus::Failed, vec![Some(70)]),
        ("exit-75", JobStatus::Failed, vec![Some(75); 3]),
        ("flaky", JobStatus::Succeeded, vec![Some(75), Some(0)]),
    ] {
        let id = running.submit(&format!("recon-{spec}"), spec).await;
        let job = running.end(&id).await;
        assert_eq!((job.status(), codes(&job)), (Some(&status), expected), "{spec}");
        let log = job.container().and_then(|container| container.log_stream_name()).unwrap();
        let log = std::fs::read_to_string(running.dir.path().join(log)).unwrap();
        assert_eq!(log, format!("attempt {} of {id} in sha256:0123\n", codes(&job).len()));
    }
}

#[tokio::test]
async fn a_job_whose_host_goes_runs_again_and_a_terminated_one_does_not() {
    let running = start(BUILT_IN);
    let interrupted = running.submit("recon-interrupted", "first-waits").await;
    running.until_it_speaks(&interrupted).await;
    assert!(running.shim.interrupt(&interrupted));
    assert_eq!(codes(&running.end(&interrupted).await), [Some(75), Some(0)]);

    let lost = running.submit("recon-lost", "first-waits").await;
    running.until_it_speaks(&lost).await;
    assert!(running.shim.lose_host(&lost));
    assert_eq!(codes(&running.end(&lost).await), [Some(137), Some(0)]);

    let terminated = running.submit("recon-terminated", "waits").await;
    running.until_it_speaks(&terminated).await;
    let waiting = running.submit("recon-waiting", "exit-0").await;
    assert_eq!(running.detail(&waiting).await.status(), Some(&JobStatus::Runnable), "one GPU, one job");
    running.batch.cancel_job().job_id(&waiting).reason("not wanted").send().await.unwrap();
    let waiting = running.end(&waiting).await;
    assert_eq!((waiting.status_reason(), waiting.attempts().len()), (Some("not wanted"), 0));
    running.batch.terminate_job().job_id(&terminated).reason("enough").send().await.unwrap();
    let terminated = running.end(&terminated).await;
    assert_eq!((terminated.status_reason(), codes(&terminated)), (Some("enough"), vec![Some(75)]));
}

#[tokio::test]
async fn an_attempt_over_its_time_is_stopped_and_not_repeated() {
    let text = "Resources:\n  D: {Type: 'AWS::Batch::JobDefinition', Properties: {JobDefinitionName: raki-reconstruct, RetryStrategy: {Attempts: 3}, Timeout: {AttemptDurationSeconds: 1}, ContainerProperties: {Command: [run, --spec, 'Ref::spec'], ResourceRequirements: [{Type: GPU, Value: '1'}]}}}\n  Q: {Type: 'AWS::Batch::JobQueue', Properties: {JobQueueName: raki-gpu, Priority: 1, ComputeEnvironmentOrder: []}}\n";
    let running = start(text);
    let id = running.submit("recon-slow", "waits").await;
    let job = running.end(&id).await;
    assert_eq!(job.status_reason(), Some("Job attempt duration exceeded timeout"));
    assert_eq!(codes(&job), [Some(75)]);
}

#[tokio::test]
async fn jobs_are_found_by_name_whatever_their_state_and_bad_requests_are_refused() {
    let running = start(BUILT_IN);
    let id = running.submit("recon-0123456789abcdef", "exit-0").await;
    running.submit("recon-other", "exit-0").await;
    running.end(&id).await;
    let filter = KeyValuesPair::builder().name("JOB_NAME").values("recon-0123456789abcdef").build();
    let found = running.batch.list_jobs().job_queue("raki-gpu").filters(filter).send().await.unwrap();
    let ids: Vec<_> = found.job_summary_list().iter().filter_map(|job| job.job_id()).collect();
    assert_eq!(ids, [id.as_str()]);
    for (name, queue, definition, what) in [
        ("a b", "raki-gpu", "raki-reconstruct", "pattern"),
        ("a", "nowhere", "raki-reconstruct", "JobQueue nowhere not found"),
        ("a", "raki-gpu", "nothing", "JobDefinition nothing not found"),
    ] {
        let job = running.batch.submit_job().job_name(name).job_queue(queue).job_definition(definition);
        let error = job.send().await.unwrap_err().into_service_error();
        assert!(error.is_client_exception(), "{error:?}");
        assert!(format!("{error:?}").contains(what), "{error:?}");
    }
}

/// Every answer against the service models that boto3 ships.
#[tokio::test]
async fn answers_follow_the_models_of_boto3() {
    #[allow(clippy::disallowed_methods, reason = "an opt-in of the person who runs the tests")]
    let Ok(python) = std::env::var("RAKI_CLOUD_PYTHON") else {
        println!("skipped: RAKI_CLOUD_PYTHON names no interpreter with boto3");
        return;
    };
    let running = start(BUILT_IN);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_shim.py");
    let output = tokio::process::Command::new(python).arg(script).args([&running.shim.url(), FILE_SHARE]).output();
    let output = output.await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("checked 9 operations of batch and 1 of storagegateway"), "{out}");
}
