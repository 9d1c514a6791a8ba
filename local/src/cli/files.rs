//! `prepare`, `reconstruct` and `phantom`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use contract::Manifest;
use kspace::phantom::Phantom;
use local::config::Config;
use local::files::{self, Prepared, Settings};
use local::{Error, Result};
use serde::Serialize;

use crate::cli::args;
use crate::cli::stack::readable;
use crate::cli::ui::{Bar, Ui, timed};

#[derive(Serialize)]
struct PrepareReport<'a> {
    out: &'a Path,
    seconds: f64,
    #[serde(flatten)]
    prepared: &'a Prepared,
}

pub(crate) fn prepare(args: &args::Prepare, config: &Config, ui: Ui) -> Result<()> {
    readable(&args.file)?;
    let start = Instant::now();
    let bar = ui.bar("prepare", 0);
    let prepared = files::prepare(&args.file, &args.out, &config.temp_dir, &mut |done, total| bar.set(done, total))?;
    bar.clear();
    let seconds = start.elapsed().as_secs_f64();
    ui.result(&PrepareReport { out: &args.out, seconds, prepared: &prepared }, || {
        let warnings: String = prepared.meta.warnings.iter().map(|warning| format!("\nwarning: {warning}")).collect();
        let entries = prepared.meta.entries.len();
        format!(
            "{} ({entries} images, {:.1} MB, {seconds:.2} s){warnings}",
            args.out.display(),
            prepared.bytes as f64 / 1e6
        )
    });
    Ok(())
}

/// Shows a reconstruction's stages; stops it on Ctrl-C or SIGTERM.
pub(crate) struct Shown {
    bar: Bar,
    stop: Arc<AtomicBool>,
}

impl Shown {
    /// Shows on `bar` from now on.
    ///
    /// # Errors
    /// [`Error::Io`] when signals cannot be listened for.
    pub(crate) fn new(bar: Bar) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        stop_on_signals(Arc::clone(&stop))?;
        Ok(Self { bar, stop })
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
        self.stop.load(Ordering::Relaxed)
    }
}

#[derive(Serialize)]
struct ReconstructReport<'a> {
    out: &'a Path,
    files: Vec<PathBuf>,
    seconds: f64,
    prepare_seconds: f64,
    manifest: &'a Manifest,
}

pub(crate) fn reconstruct(args: &args::Reconstruct, config: &Config, ui: Ui) -> Result<()> {
    readable(&args.file)?;
    let start = Instant::now();
    let scratch = tempfile::tempdir_in(&config.temp_dir).map_err(Error::io("making a scratch folder"))?;
    let prepared = scratch.path().join("prepared.safetensors");
    let bar = ui.bar("prepare", 0);
    files::prepare(&args.file, &prepared, &config.temp_dir, &mut |done, total| bar.set(done, total))?;
    let prepare_seconds = start.elapsed().as_secs_f64();
    bar.done("prepare", prepare_seconds);

    let shown = Shown::new(ui.bar("reconstruct", 0))?;
    let settings = Settings {
        method: args.method,
        refine: args.refine,
        slab: args.slab,
        warm: args.warm,
        seed: args.seed,
        device: args.device,
    };
    let manifest = files::reconstruct(&prepared, &args.out, settings, &shown);
    shown.clear();
    let manifest = manifest?;
    let seconds = start.elapsed().as_secs_f64();
    let files = manifest.outputs.iter().map(|output| args.out.join(&output.name)).collect();
    let report = ReconstructReport { out: &args.out, files, seconds, prepare_seconds, manifest: &manifest };
    ui.result(&report, || format!("{}\n\n{}", summary(&manifest), paths(&report.files)));
    Ok(())
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
