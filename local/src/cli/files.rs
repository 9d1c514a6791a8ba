//! `prepare`, `reconstruct` and `phantom`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use contract::Manifest;
use contract::keys::{PREPARED_ENDING, stem};
use gpu_job::engine::Recipe;
use kspace::phantom::Phantom;
use local::config::Config;
use local::files::{self, Prepared, Refused, Scan, Settings};
use local::{Error, Result};
use serde::Serialize;

use crate::cli::args;
use crate::cli::stack::readable;
use crate::cli::ui::{Bar, Ui, timed};

#[derive(Serialize)]
struct PrepareReport {
    /// Absent where it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    out: PathBuf,
    seconds: f64,
    #[serde(flatten)]
    prepared: Prepared,
}

/// What happened to an input of several scans.
#[derive(Serialize)]
struct Several<'a, T> {
    scans: &'a [T],
    refused: &'a [Refused],
}

/// Reports on the scans of an input: the only one by itself. A scan that was refused is a failure, after the report.
fn report<T: Serialize>(
    ui: Ui,
    done: &[T],
    refused: &[Refused],
    several: bool,
    human: impl Fn(&T) -> String,
) -> Result<()> {
    let told = || {
        let refused = refused.iter().map(|scan| format!("{} was refused: {}", scan.name, scan.reason));
        done.iter().map(&human).chain(refused).collect::<Vec<_>>().join("\n")
    };
    match done {
        [only] if !several => ui.result(only, told),
        scans => ui.result(&Several { scans, refused }, told),
    }
    match refused.first() {
        None => Ok(()),
        Some(first) => {
            let all = done.len() + refused.len();
            Err(Error::Answered(format!("{} of {all} scans refused; the first: {}", refused.len(), first.reason)))
        }
    }
}

/// Keeps why a scan was refused and lets the others go on; everything else ends the command.
fn unless_refused<T>(result: Result<T>, scan: &Scan, refused: &mut Vec<Refused>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if scan.name.is_some() && error.exit_code() == contract::ExitCode::BadData => {
            refused.push(Refused { name: scan.name.clone().unwrap_or_default(), reason: error.to_string() });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn prepare(args: &args::Prepare, config: &Config, ui: Ui) -> Result<()> {
    readable(&args.file)?;
    let start = Instant::now();
    let bar = ui.bar("prepare", 0);
    let input = files::open(&args.file, &config.temp_dir)?;
    let into_folder = args.out.is_dir() || args.out.as_os_str().as_encoded_bytes().ends_with(b"/");
    let several = input.is_several();
    if several && !into_folder {
        let found = input.scans.len() + input.refused.len();
        return Err(Error::Usage(format!("the input holds {found} scans: give --out a folder, as in `--out DIR/`")));
    }
    let mut refused = input.refused.clone();
    let mut done = Vec::new();
    for scan in &input.scans {
        let own = args.file.file_name().unwrap_or_default().to_string_lossy();
        let name = scan.name.as_deref().unwrap_or_else(|| stem(&own));
        let out = if into_folder { args.out.join(format!("{name}{PREPARED_ENDING}")) } else { args.out.clone() };
        let prepared = input.prepare(scan, &out, args.coils, &mut |done, total| bar.set(done, total));
        if let Some(prepared) = unless_refused(prepared, scan, &mut refused)? {
            done.push(PrepareReport { name: scan.name.clone(), out, seconds: start.elapsed().as_secs_f64(), prepared });
        }
    }
    bar.clear();
    report(ui, &done, &refused, several, |scan| {
        let meta = &scan.prepared.meta;
        let warnings: String = meta.warnings.iter().map(|warning| format!("\nwarning: {warning}")).collect();
        let (entries, megabytes) = (meta.entries.len(), scan.prepared.bytes as f64 / 1e6);
        format!("{} ({entries} images, {megabytes:.1} MB, {:.2} s){warnings}", scan.out.display(), scan.seconds)
    })
}

/// Set by Ctrl-C or SIGTERM.
#[derive(Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set by signals from now on.
    ///
    /// # Errors
    /// [`Error::Io`] when signals cannot be listened for.
    pub(crate) fn new() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        stop_on_signals(Arc::clone(&stop))?;
        Ok(Self(stop))
    }

    pub(crate) fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shows a reconstruction's stages; stops it on Ctrl-C or SIGTERM.
pub(crate) struct Shown {
    bar: Bar,
    stop: Stop,
}

impl Shown {
    /// Shows on `bar` from now on.
    ///
    /// # Errors
    /// [`Error::Io`] when signals cannot be listened for.
    pub(crate) fn new(bar: Bar) -> Result<Self> {
        Ok(Self { bar, stop: Stop::new()? })
    }

    pub(crate) fn clear(&self) {
        self.bar.clear();
    }
}

impl gpu_job::Progress for Shown {
    fn stage(&self, name: &'static str, total: u64) {
        self.bar.begin(name, total);
    }

    fn advance(&self, steps: u64) {
        self.bar.advance(steps);
    }

    fn cancelled(&self) -> bool {
        self.stop.stopped()
    }
}

#[derive(Serialize)]
struct ReconstructReport {
    /// Absent where it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    out: PathBuf,
    files: Vec<PathBuf>,
    seconds: f64,
    prepare_seconds: f64,
    manifest: Manifest,
}

pub(crate) fn reconstruct(args: &args::Reconstruct, config: &Config, ui: Ui) -> Result<()> {
    readable(&args.file)?;
    let start = Instant::now();
    let scratch = tempfile::tempdir_in(&config.temp_dir).map_err(Error::io("making a scratch folder"))?;
    let prepared = scratch.path().join("prepared.safetensors");
    let recipe = args.tuning.of(Recipe::new(args.method, args.refine, args.seed));
    let recipe = recipe.map_err(|error| Error::Usage(error.to_string()))?;
    let settings = Settings { recipe, images: args.images.into(), device: args.device };
    let input = files::open(&args.file, &config.temp_dir)?;
    let mut refused = input.refused.clone();
    let mut done = Vec::new();
    let (mut begun, stop) = (start, Stop::new()?);
    for scan in &input.scans {
        if let Some(name) = &scan.name {
            ui.line(format!("scan {name}"));
        }
        let bar = ui.bar("prepare", 0);
        let result = input.prepare(scan, &prepared, args.coils, &mut |done, total| bar.set(done, total));
        if unless_refused(result, scan, &mut refused)?.is_none() {
            bar.clear();
            continue;
        }
        let prepare_seconds = begun.elapsed().as_secs_f64();
        bar.done("prepare", prepare_seconds);

        let out = scan.name.as_ref().map_or_else(|| args.out.clone(), |name| args.out.join(name));
        let shown = Shown { bar: ui.bar("reconstruct", 0), stop: stop.clone() };
        let result = files::reconstruct(&prepared, &out, settings, &shown);
        shown.clear();
        if let Some(manifest) = unless_refused(result, scan, &mut refused)? {
            let files = manifest.outputs.iter().map(|output| out.join(&output.name)).collect();
            let (name, seconds) = (scan.name.clone(), begun.elapsed().as_secs_f64());
            done.push(ReconstructReport { name, out, files, seconds, prepare_seconds, manifest });
        }
        begun = Instant::now();
    }
    report(ui, &done, &refused, input.is_several(), |scan| {
        let heading = scan.name.as_ref().map(|name| format!("scan {name}\n")).unwrap_or_default();
        format!("{heading}{}\n\n{}", summary(&scan.manifest), paths(&scan.files))
    })
}

fn stop_on_signals(stop: Arc<AtomicBool>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("listening for signals"))?;
    std::thread::spawn(move || {
        // Without handlers a signal ends the program at once, which is as good.
        if runtime.block_on(super::interrupted()).is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Times, quality and warnings of a result, for people.
pub(crate) fn summary(manifest: &Manifest) -> String {
    let mut lines: Vec<String> =
        manifest.timings.iter().map(|timing| timed(&format!("  {}", timing.stage), timing.seconds)).collect();
    lines.push(format!("method {}, seed {}, device {}", manifest.method, manifest.seed, manifest.device));
    lines.extend(manifest.quality.iter().map(|(name, value)| format!("  {name:<26} {value:>10.4}")));
    lines.extend(manifest.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

/// One path a line.
pub(crate) fn paths(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize)]
struct PhantomReport<'a> {
    out: &'a Path,
    full: Option<&'a Path>,
}

pub(crate) fn phantom(args: &args::Phantom, ui: Ui) -> Result<()> {
    let phantom = Phantom {
        slices: args.slices,
        coils: args.coils,
        matrix: args.matrix,
        acceleration: args.r,
        acs: args.acs,
        snr: args.snr,
        seed: args.seed,
    };
    let bar = ui.spinner("phantom");
    files::write_phantom(&phantom, &args.out, false)?;
    if let Some(full) = &args.full {
        files::write_phantom(&phantom, full, true)?;
    }
    bar.clear();
    let written: Vec<PathBuf> = [Some(&args.out), args.full.as_ref()].into_iter().flatten().cloned().collect();
    ui.result(&PhantomReport { out: &args.out, full: args.full.as_deref() }, || paths(&written));
    Ok(())
}
