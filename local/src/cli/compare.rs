//! `compare`.

use std::path::PathBuf;

use local::compare::{Cell, Comparison, Settings, Slices, Study, export, picture, table};
use local::config::Config;
use local::{Error, Result, files};
use serde::Serialize;

use crate::cli::args;
use crate::cli::files::{Shown, paths};
use crate::cli::stack::readable;
use crate::cli::ui::Ui;

/// What `--json` prints and `compare.json` holds.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    files: &'a [PathBuf],
}

pub(crate) fn compare(args: &args::Compare, config: &Config, ui: Ui) -> Result<()> {
    readable(&args.file)?;
    let scratch = tempfile::tempdir_in(&config.temp_dir).map_err(Error::io("making a scratch folder"))?;
    let prepared = scratch.path().join("prepared.safetensors");
    let bar = ui.bar("prepare", 0);
    files::prepare(&args.file, &prepared, &config.temp_dir, &mut |done, total| bar.set(done, total))?;
    bar.clear();

    let study = Study::open(&prepared, args.slice.unwrap_or_default())?;
    if args.export.is_some() && !study.is_complete() {
        return Err(export::no_reference());
    }
    let settings =
        Settings { cells: cells(args)?, choices: args.methods.clone(), seed: args.seed, device: args.device };
    let shown = Shown::new(ui.bar("compare", 0))?;
    let comparison = study.compare(&settings, &shown);
    shown.clear();
    let comparison = comparison?;
    let mut written = Vec::new();
    if let Some(folder) = &args.out {
        let display = study.display();
        for section in &comparison.cells {
            written.extend(picture::write(section, folder, &display)?);
        }
        let path = folder.join("compare.json");
        let report = Report { comparison: &comparison, files: &[] };
        let json = serde_json::to_vec_pretty(&report).map_err(|error| Error::io("writing the answer")(error.into()))?;
        std::fs::create_dir_all(folder).map_err(Error::io("making the output folder"))?;
        std::fs::write(&path, json).map_err(Error::io("writing the answer"))?;
        written.push(path);
    }
    if let Some(folder) = &args.export {
        export::write(&study, &comparison, folder)?;
    }
    ui.result(&Report { comparison: &comparison, files: &written }, || {
        let mut text = format!("{}\n\n{}", heading(&comparison, args.slice), table::text(&comparison));
        if !written.is_empty() {
            text.push_str(&format!("\n\n{}", paths(&written)));
        }
        text
    });
    Ok(())
}

/// The pairs asked for, or every acceleration with every number of calibration lines.
fn cells(args: &args::Compare) -> Result<Vec<Cell>> {
    if args.r.is_empty() && args.acs.is_empty() {
        return Ok(args.cells.clone());
    }
    let usual = Cell::default();
    let or = |asked: &[usize], usual: usize| if asked.is_empty() { vec![usual] } else { asked.to_vec() };
    let (accelerations, lines) = (or(&args.r, usual.acceleration), or(&args.acs, usual.acs));
    let pairs = accelerations.iter().flat_map(|r| lines.iter().map(move |acs| format!("{r}/{acs}")));
    pairs.map(|pair| pair.parse().map_err(Error::Usage)).collect()
}

fn heading(comparison: &Comparison, slice: Option<Slices>) -> String {
    let [points, lines] = comparison.matrix;
    let slices = match (slice, comparison.slices.as_slice()) {
        (Some(Slices::All), slices) => format!("means over {} slices", slices.len()),
        (_, [slice, ..]) => format!("slice {slice} of {}", comparison.slices_in_file),
        (_, []) => "no slice".to_owned(),
    };
    let reference = match comparison.reference {
        true => "undersampled here and scored against the fully sampled image",
        false => "undersampled, no reference",
    };
    format!(
        "{} coils, {lines} lines of {points} samples, {slices}; {reference}; seed {}, device {}",
        comparison.coils, comparison.seed, comparison.device
    )
}
