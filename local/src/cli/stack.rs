//! `up`, `upload` and `status`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::{Manifest, ScanId, Status};
use jiff::Timestamp;
use local::chain::{self, Followed, Leg, LegTime, Sight};
use local::config::Config;
use local::files::Refused;
use local::remote::Description;
use local::stack::OnStep;
use local::{Error, Options, Outcome, Remote, Result, Stack, Uploaded};
use serde::Serialize;

use crate::cli::ui::{Bar, Ui};
use crate::cli::{Kept, args};

/// A person's own scan may be large; a job may take an hour.
pub(crate) const SCAN_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Starts a stack, with a spinner for each step.
pub(crate) async fn start(mut options: Options, ui: Ui) -> Result<Stack> {
    let spinner: Arc<Mutex<Option<Bar>>> = Arc::default();
    let shown = Arc::clone(&spinner);
    let on_step: OnStep = Arc::new(move |step, time| {
        let mut bar = shown.lock().unwrap_or_else(PoisonError::into_inner);
        match time {
            None => *bar = Some(ui.spinner(step.name())),
            Some(time) => {
                if let Some(bar) = bar.take() {
                    bar.done(step.name(), time.as_secs_f64());
                }
            }
        }
    });
    options.on_step = Some(on_step);
    Stack::start(options).await
}

pub(crate) async fn up(args: args::Up, config: Config, kept: &Kept, ui: Ui) -> Result<()> {
    let mut options = Options::new(config.clone());
    options.parameters = args.parameters.into_iter().collect();
    options.work_dir = args.work_dir;
    let stack = start(options, ui).await?;
    keep(&stack, &config, kept, ui).await
}

/// Keeps a stack until Ctrl-C, and tells other terminals of it. Ctrl-C is its ordinary end.
pub(crate) async fn keep(stack: &Stack, config: &Config, kept: &Kept, ui: Ui) -> Result<()> {
    let description = &stack.remote().description;
    description.publish(config)?;
    let _published = Published { description, config };
    kept.set();
    ui.result(description, || {
        format!(
            "\nThe stack is running. In another terminal:\n  raki-cloud upload FILE --wait\n  raki-cloud status\n\
             Services  {}\nRaw       s3://{}\nResults   s3://{}\nLogs      {}\nCtrl-C ends it.",
            description.endpoint,
            description.buckets.raw,
            description.buckets.results,
            description.logs.display(),
        )
    });
    // Until this is dropped.
    std::future::pending().await
}

/// Takes the description back when the stack ends.
struct Published<'a> {
    description: &'a Description,
    config: &'a Config,
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.description.withdraw(self.config);
    }
}

#[derive(Serialize)]
struct UploadReport<'a> {
    #[serde(flatten)]
    uploaded: &'a Uploaded,
    /// Of an upload of one scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<&'a Manifest>,
    /// Of an upload of several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parts: &'a [Imaged],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: &'a [Refused],
    stages: &'a [LegTime],
    files: Vec<std::path::PathBuf>,
}

pub(crate) async fn upload(args: args::Upload, config: Config, ui: Ui) -> Result<()> {
    readable(&args.file)?;
    let remote = Remote::new(Description::find(&config).await?);
    let key = args.key.unwrap_or_else(|| {
        let name = args.file.file_name().unwrap_or_default().to_string_lossy();
        format!("{}/{name}", Timestamp::now().strftime("%Y-%m-%d"))
    });
    let (uploaded, mut legs) = send(&remote, &args.file, &key, args.method, ui).await?;
    let report =
        UploadReport { uploaded: &uploaded, manifest: None, parts: &[], refused: &[], stages: &[], files: Vec::new() };
    if !args.wait {
        ui.result(&UploadReport { stages: &legs, ..report }, || {
            format!("scan {}: `raki-cloud status {}` tells where it stands", uploaded.scan, uploaded.scan)
        });
        return Ok(());
    }
    let followed = watch(&remote, &uploaded, ui).await?;
    legs.extend(followed.legs);
    let (imaged, refused) = images(&uploaded.scan, followed.outcome)?;
    let files = match &args.out {
        Some(dir) => remote.download(&uploaded.scan, dir).await?,
        None => Vec::new(),
    };
    let (manifest, parts) = match imaged.as_slice() {
        [only] if only.name.is_none() => (Some(&only.manifest), &[][..]),
        parts => (None, parts),
    };
    let report = UploadReport { manifest, parts, refused: &refused, stages: &legs, files, ..report };
    ui.result(&report, || {
        let bucket = &remote.description.buckets.results;
        let line = |imaged: &Imaged| {
            let name = imaged.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            format!("scan {}{name} is reconstructed; its images are in s3://{bucket}", imaged.scan)
        };
        let refused = refused.iter().map(|part| format!("{} has no images: {}", part.name, part.reason));
        imaged.iter().map(line).chain(refused).collect::<Vec<_>>().join("\n")
    });
    unless_all(&imaged, &refused)
}

/// Uploads a file with a spinner.
pub(crate) async fn send(
    remote: &Remote,
    file: &Path,
    key: &str,
    method: Option<contract::Method>,
    ui: Ui,
) -> Result<(Uploaded, Vec<LegTime>)> {
    let start = std::time::Instant::now();
    let bar = ui.spinner(Leg::Upload.name());
    let uploaded = remote.upload(file, key, method).await?;
    let time = LegTime { stage: Leg::Upload, seconds: start.elapsed().as_secs_f64() };
    bar.done(Leg::Upload.name(), time.seconds);
    Ok((uploaded, vec![time]))
}

/// Follows a scan, with a spinner for each leg.
pub(crate) async fn watch(remote: &Remote, uploaded: &Uploaded, ui: Ui) -> Result<Followed> {
    let mut bar: Option<Bar> = None;
    let mut see = |sight| match sight {
        Sight::Begins(leg) => bar = Some(ui.spinner(leg.name())),
        Sight::Ends(time) => {
            if let Some(bar) = bar.take() {
                bar.done(time.stage.name(), time.seconds);
            }
        }
        Sight::Note(text) => {
            if let Some(bar) = &bar {
                bar.note(&text);
            }
        }
    };
    let followed = chain::follow(remote, &uploaded.scan, Timestamp::now(), SCAN_LIMIT, &mut see).await;
    if let Some(bar) = bar {
        bar.clear();
    }
    followed
}

/// A scan that was followed to its images.
#[derive(Debug, Serialize)]
pub(crate) struct Imaged {
    /// What tells it from the others of the upload; absent where it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The scan.
    pub(crate) scan: ScanId,
    /// How its images were made.
    pub(crate) manifest: Manifest,
}

/// The scans of an upload that ended with images, and why others did not.
///
/// # Errors
/// Why there are none at all.
pub(crate) fn images(scan: &ScanId, outcome: Outcome) -> Result<(Vec<Imaged>, Vec<Refused>)> {
    let Outcome::Parts(parts) = outcome else {
        return Ok((vec![Imaged { name: None, scan: scan.clone(), manifest: manifest(outcome)? }], Vec::new()));
    };
    let (mut imaged, mut refused) = (Vec::new(), Vec::new());
    for part in parts {
        match manifest(part.outcome) {
            Ok(manifest) => imaged.push(Imaged { name: Some(part.name), scan: part.scan, manifest }),
            Err(error) => refused.push(Refused { name: part.name, reason: error.to_string() }),
        }
    }
    match refused.first().filter(|_| imaged.is_empty()) {
        Some(first) => Err(Error::Refused(format!("no scan has images; the first: {}", first.reason))),
        None => Ok((imaged, refused)),
    }
}

/// The failure of an upload of which some scans have images and others do not; said after the report.
pub(crate) fn unless_all(imaged: &[Imaged], refused: &[Refused]) -> Result<()> {
    let all = imaged.len() + refused.len();
    refused.first().map_or(Ok(()), |first| {
        Err(Error::Answered(format!("{} of {all} scans have no images; the first: {}", refused.len(), first.reason)))
    })
}

/// The manifest of a scan that ended with images, or why there are none.
fn manifest(outcome: Outcome) -> Result<Manifest> {
    match outcome {
        Outcome::Reconstructed(manifest) => Ok(*manifest),
        Outcome::Quarantined(record) => Err(Error::Refused(format!(
            "the scan was refused in {}: {}. {}",
            record.stage, record.reason, record.run_again
        ))),
        Outcome::Superseded => Err(Error::Refused("a newer upload under the same name replaced the scan".to_owned())),
        Outcome::Failed { stage, reason } => Err(Error::Service {
            service: "the chain",
            action: "reconstruct the scan",
            message: format!("{stage}: {reason}"),
        }),
        Outcome::Parts(_) => Err(Error::Refused("the upload is part of itself".to_owned())),
    }
}

/// Refuses what is not a file before anything is started.
pub(crate) fn readable(file: &Path) -> Result<()> {
    let metadata =
        std::fs::metadata(file).map_err(|error| Error::Usage(format!("the input cannot be read: {error}")))?;
    if metadata.is_file() { Ok(()) } else { Err(Error::Usage("the input is not a file".to_owned())) }
}

#[derive(Serialize)]
struct StatusReport<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// Histories of the scans of an upload that holds several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parts: &'a [Status],
}

pub(crate) async fn status(args: args::Status, config: Config, ui: Ui) -> Result<()> {
    let remote = Remote::new(Description::find(&config).await?);
    match args.scan {
        Some(scan) => {
            let status = remote.status(&scan).await?;
            let status = status.ok_or_else(|| Error::Usage(format!("nothing is known of scan {scan}")))?;
            let mut parts = Vec::new();
            for part in remote.parts(&scan).await?.map(|record| record.parts).unwrap_or_default() {
                parts.extend(remote.status(&part.scan).await?);
            }
            let report = StatusReport { status: &status, parts: &parts };
            ui.result(&report, || std::iter::once(&status).chain(&parts).map(history).collect::<Vec<_>>().join("\n\n"));
        }
        None => {
            let all = remote.statuses().await?;
            ui.result(&all, || {
                if all.is_empty() {
                    "no scans yet".to_owned()
                } else {
                    all.iter().map(last).collect::<Vec<_>>().join("\n")
                }
            });
        }
    }
    Ok(())
}

fn state(state: contract::State) -> String {
    let name = serde_json::to_value(state).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().replace('_', " ")
}

fn history(status: &Status) -> String {
    let line = |event: &contract::status::Event| {
        let reason = event.reason.as_deref().map(|reason| format!("  {reason}")).unwrap_or_default();
        format!("{}  {:<12} {:<12}{reason}", event.time, event.stage.to_string(), state(event.state))
    };
    format!("scan {}\n{}", status.scan, status.history.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn last(status: &Status) -> String {
    let event = status.end().or(status.history.last());
    let text = event.map_or_else(String::new, |event| {
        let reason = event.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{}  {} {}{reason}", event.time, event.stage, state(event.state))
    });
    format!("{}  {text}", status.scan)
}
