//! `demo`: the whole product on this machine, with one scan.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use contract::keys::{WORKLIST_KEY, stem};
use contract::manifest::Timing;
use contract::{Manifest, ScanId};
use flate2::Compression;
use flate2::write::GzEncoder;
use kspace::phantom::Phantom;
use local::chain::{Leg, LegTime};
use local::config::Config;
use local::files::Refused;
use local::{Error, Options, Result, Stack, files};
use ndarray::Array2;
use pages::worklist::{Row, Worklist};
use serde::Serialize;

use crate::cli::stack::Imaged;
use crate::cli::ui::Ui;
use crate::cli::{Kept, args};
use crate::cli::{files as file_commands, stack};

/// Where demonstrations leave their images, a folder for each, and a worklist of all.
const DEMO_OUTPUT: &str = "demo-output";
/// What a person sees of a share is at most this old in a demonstration.
const REFRESH_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Report<'a> {
    scan: &'a ScanId,
    seconds: f64,
    stages: &'a [LegTime],
    job_stages: &'a [Timing],
    quality: &'a std::collections::BTreeMap<String, f64>,
    /// Against the phantom's truth; absent for a file of one's own.
    psnr_db: Option<f64>,
    warnings: &'a [String],
    out: &'a Path,
    images: Vec<PathBuf>,
}

/// As [`Report`], of an upload that holds several scans.
#[derive(Serialize)]
struct PartsReport<'a> {
    scan: &'a ScanId,
    seconds: f64,
    stages: &'a [LegTime],
    parts: &'a [Imaged],
    refused: &'a [Refused],
    out: &'a Path,
    images: Vec<PathBuf>,
}

/// The scan of the demonstration.
struct Sample {
    file: PathBuf,
    truth: Option<Vec<Array2<f32>>>,
    _dir: Option<tempfile::TempDir>,
}

pub(crate) async fn demo(args: args::Demo, config: Config, kept: &Kept, ui: Ui) -> Result<()> {
    let begun = Instant::now();
    if let Some(input) = &args.input {
        stack::readable(input)?;
    }
    let running = stack::start(Options::new(config.clone()), ui).await?;
    let sample = sample(args.input, &config, ui).await?;
    let name = sample.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let key = format!("demo/{name}");
    let (root, folder) = match args.out {
        Some(out) => (out, String::new()),
        None => (PathBuf::from(DEMO_OUTPUT), stem(&name).to_owned()),
    };
    let out = root.join(&folder);

    let (uploaded, mut legs) = stack::send(running.remote(), &sample.file, &key, args.method, ui).await?;
    let followed = stack::watch(running.remote(), &uploaded, ui).await?;
    legs.extend(followed.legs);
    let (imaged, refused) = stack::images(&uploaded.scan, followed.outcome)?;
    for part in &imaged {
        legs.extend(refreshed(&running, &part.scan, ui).await?);
    }
    let mut images = running.download(&uploaded.scan, &out).await?;
    images.push(worklist(&running, &imaged, &root, &folder).await?);
    let psnr_db = match (&sample.truth, images.iter().find(|path| path.ends_with("image.nii.gz"))) {
        (Some(truth), Some(image)) => files::psnr_against(truth, image)?,
        _ => None,
    };
    let (seconds, stages) = (begun.elapsed().as_secs_f64(), legs.as_slice());
    match imaged.as_slice() {
        [Imaged { name: None, manifest, .. }] => {
            let report = Report {
                scan: &uploaded.scan,
                seconds,
                stages,
                job_stages: &manifest.timings,
                quality: &manifest.quality,
                psnr_db,
                warnings: &manifest.warnings,
                out: &out,
                images,
            };
            ui.result(&report, || summary(&report, manifest));
        }
        parts => {
            let (scan, out) = (&uploaded.scan, out.as_path());
            let report = PartsReport { scan, seconds, stages, parts, refused: &refused, out, images };
            ui.result(&report, || parts_summary(&report));
        }
    }
    if args.keep {
        return stack::keep(&running, &config, kept, ui).await;
    }
    stack::unless_all(&imaged, &refused)
}

fn parts_summary(report: &PartsReport<'_>) -> String {
    let part = |part: &Imaged| {
        let name = part.name.as_deref().unwrap_or_default();
        format!("\nInside the job of {name}:\n{}", file_commands::summary(&part.manifest))
    };
    let refused = report.refused.iter().map(|part| format!("\n{} has no images: {}", part.name, part.reason));
    let parts: Vec<_> = report.parts.iter().map(part).chain(refused).collect();
    let (paths, count) = (file_commands::paths(&report.images), report.parts.len());
    format!("{}\n\n{paths}\n\n{count} scans took {:.1} s in all", parts.join("\n"), report.seconds)
}

fn summary(report: &Report<'_>, manifest: &Manifest) -> String {
    let psnr = report.psnr_db.map(|psnr| format!("\n  PSNR against the phantom    {psnr:>9.2} dB")).unwrap_or_default();
    format!(
        "\nInside the job:\n{}{psnr}\n\n{}\n\nscan {} took {:.1} s in all",
        file_commands::summary(manifest),
        file_commands::paths(&report.images),
        report.scan,
        report.seconds,
    )
}

/// The given file, or a phantom in an archive, as a scanner would export it.
async fn sample(input: Option<PathBuf>, config: &Config, ui: Ui) -> Result<Sample> {
    if let Some(file) = input {
        return Ok(Sample { file, truth: None, _dir: None });
    }
    let start = Instant::now();
    let bar = ui.spinner("sample scan");
    let dir = tempfile::tempdir_in(&config.temp_dir).map_err(Error::io("making a scratch folder"))?;
    let folder = dir.path().to_owned();
    let made = tokio::task::spawn_blocking(move || {
        let phantom = Phantom { slices: 4, coils: 8, matrix: 128, acceleration: 4, acs: 32, snr: 60.0, seed: 1 };
        let raw = folder.join("phantom.h5");
        files::write_phantom(&phantom, &raw, false)?;
        let file = folder.join("phantom.tar.gz");
        pack(&raw, &file).map_err(Error::io("packing the sample"))?;
        Ok::<_, Error>((file, phantom.truth()))
    });
    let (file, truth) = made.await.map_err(|error| Error::io("making the sample")(error.into()))??;
    bar.done("sample scan", start.elapsed().as_secs_f64());
    Ok(Sample { file, truth: Some(truth), _dir: Some(dir) })
}

fn pack(raw: &Path, archive: &Path) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(File::create(archive)?, Compression::fast()));
    tar.append_path_with_name(raw, "scan/phantom.h5")?;
    tar.into_inner()?.finish()?;
    Ok(())
}

/// Adds the scans to the worklist of `root`, where earlier demonstrations have theirs; returns its path. `folder` is where the images are
/// below it.
async fn worklist(running: &Stack, imaged: &[Imaged], root: &Path, folder: &str) -> Result<PathBuf> {
    let start = Instant::now();
    let rows = loop {
        let list = running.worklist().await?;
        let rows: Vec<Row> =
            list.rows().iter().filter(|row| imaged.iter().any(|it| it.scan == row.scan)).cloned().collect();
        let complete = rows.len() == imaged.len() && rows.iter().all(|row| row.is_finished() && row.results.is_some());
        if complete || start.elapsed() > REFRESH_LIMIT {
            break rows;
        }
        tokio::time::sleep(POLL).await;
    };
    let path = root.join(WORKLIST_KEY);
    let known = std::fs::read(&path).ok().and_then(|page| Worklist::parse(&page).ok());
    let mut list = known.unwrap_or_default();
    for mut row in rows {
        let part = imaged.iter().find(|it| it.scan == row.scan).and_then(|it| it.name.clone());
        row.folder = match (folder, part) {
            ("", None) => String::new(),
            ("", Some(part)) => part,
            (folder, None) => folder.to_owned(),
            (folder, Some(part)) => format!("{folder}/{part}"),
        };
        list.upsert(row);
    }
    std::fs::create_dir_all(root).map_err(Error::io("making the output folder"))?;
    std::fs::write(&path, list.render()).map_err(Error::io("writing the worklist"))?;
    Ok(path)
}

/// Waits until the share was asked to show the scan's folder. The images are there without it.
async fn refreshed(running: &Stack, scan: &ScanId, ui: Ui) -> Result<Option<LegTime>> {
    let start = Instant::now();
    let bar = ui.spinner(Leg::Refresh.name());
    let prefix = running.results_prefix(scan).await?.unwrap_or_default();
    let covers = |folder: &String| {
        format!("{}/", prefix.trim_matches('/')).starts_with(&format!("{}/", folder.trim_matches('/')))
    };
    while start.elapsed() < REFRESH_LIMIT {
        if running.refreshes().iter().any(|refresh| refresh.folders.iter().any(covers)) {
            let time = LegTime { stage: Leg::Refresh, seconds: start.elapsed().as_secs_f64() };
            bar.done(Leg::Refresh.name(), time.seconds);
            return Ok(Some(time));
        }
        tokio::time::sleep(POLL).await;
    }
    bar.clear();
    ui.line("  the share was not refreshed in time; the images are there all the same");
    Ok(None)
}
