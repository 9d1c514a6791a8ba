//! `compare` on a phantom whose truth is known.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gpu_job::Silent;
use kspace::phantom::Phantom;
use local::compare::{Cell, Choice, Comparison, Settings, Slices, Study};
use local::{Error, files};
use serde_json::Value;

const CELL: Cell = Cell { acceleration: 3, acs: 24 };

fn phantom(folder: &Path, slices: usize) -> (PathBuf, PathBuf) {
    let phantom =
        Phantom { slices, coils: 6, matrix: 80, acceleration: CELL.acceleration, acs: CELL.acs, snr: 40.0, seed: 3 };
    let (full, under) = (folder.join("full.h5"), folder.join("under.h5"));
    files::write_phantom(&phantom, &full, true).unwrap();
    files::write_phantom(&phantom, &under, false).unwrap();
    (full, under)
}

fn study(folder: &Path, file: &Path, slices: Slices) -> Result<Study, Error> {
    let prepared = folder.join("prepared.safetensors");
    files::prepare(file, &prepared, folder, &mut |_, _| {}).unwrap();
    Study::open(&prepared, slices)
}

fn settings(methods: &str) -> Settings {
    let choices: Vec<Choice> = methods.split(',').map(|name| name.parse().unwrap()).collect();
    Settings { choices, ..Settings::default() }
}

fn psnr(comparison: &Comparison, method: &str) -> f64 {
    let row = comparison.cells[0].methods.iter().find(|row| row.method == method).unwrap();
    row.figures.as_ref().unwrap().scores.unwrap().psnr
}

#[test]
fn a_fill_beats_none_and_auto_is_not_below_the_better_of_what_it_mixes() {
    let folder = tempfile::tempdir().unwrap();
    let (full, _) = phantom(folder.path(), 1);
    let study = study(folder.path(), &full, Slices::Middle).unwrap();
    assert!(study.is_complete());
    let settings = Settings { cells: vec![CELL], ..settings("zero-filled,nwg,nwg+sparse,raki+sparse,auto") };
    let first = study.compare(&settings, &Silent).unwrap();
    assert!(psnr(&first, "nwg") > psnr(&first, "zero-filled") + 3.0, "{first:?}");
    let better = psnr(&first, "nwg+sparse").max(psnr(&first, "raki+sparse"));
    assert!(psnr(&first, "auto") > better - 0.1, "{} below {better}", psnr(&first, "auto"));
    assert!(first.cells[0].methods.iter().all(|row| row.image.is_some()));

    let second = study.compare(&settings, &Silent).unwrap();
    for (row, again) in first.cells[0].methods.iter().zip(&second.cells[0].methods) {
        assert_eq!(row.image, again.image, "{} differs between two runs", row.method);
    }
}

#[test]
fn undersampling_here_is_what_the_scanner_would_have_done() {
    let folder = tempfile::tempdir().unwrap();
    let (full, under) = phantom(folder.path(), 1);
    let methods = settings("zero-filled,grappa,nwg");
    let here = study(folder.path(), &full, Slices::Middle).unwrap();
    let here = here.compare(&Settings { cells: vec![CELL], ..methods.clone() }, &Silent).unwrap();
    let there = study(folder.path(), &under, Slices::Middle).unwrap();
    assert!(!there.is_complete());
    let there = there.compare(&methods, &Silent).unwrap();
    assert_eq!(here.cells[0].acquired_fraction, there.cells[0].acquired_fraction);
    for (here, there) in here.cells[0].methods.iter().zip(&there.cells[0].methods) {
        assert_eq!(here.image, there.image, "{}", here.method);
        let (here, there) = (here.figures.as_ref().unwrap(), there.figures.as_ref().unwrap());
        assert_eq!(here.calibration_residual, there.calibration_residual);
        assert!(here.scores.is_some() && there.scores.is_none());
        assert!(here.background.is_none() && there.background.is_some());
    }
}

#[test]
fn all_slices_give_means_and_a_slice_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (full, _) = phantom(folder.path(), 2);
    let methods = Settings { cells: vec![CELL], ..settings("nwg") };
    let of = |slices| psnr(&study(folder.path(), &full, slices).unwrap().compare(&methods, &Silent).unwrap(), "nwg");
    let (first, second) = (of(Slices::One(0)), of(Slices::One(1)));
    assert!((of(Slices::All) - (first + second) / 2.0).abs() < 1e-9);
    assert!((of(Slices::Middle) - second).abs() < 1e-9);
    let Err(error) = study(folder.path(), &full, Slices::One(2)) else { panic!("a third slice of two") };
    assert!(error.to_string().contains("found 2 slices"), "{error}");
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_raki-cloud")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document on standard output")
}

#[test]
fn the_program_prints_json_writes_files_and_says_why_a_cell_has_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let (full, under) = phantom(folder.path(), 1);
    let [full, under] = [&full, &under].map(|path| path.to_str().unwrap());
    let [out, export] = ["out", "export"].map(|name| folder.path().join(name));
    let done = program(&[
        "compare",
        full,
        "--r",
        "3,4",
        "--acs",
        "4",
        "--methods",
        "zero-filled,nwg",
        "--json",
        "--out",
        out.to_str().unwrap(),
        "--export",
        export.to_str().unwrap(),
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let answer = json(&done);
    let cells = answer["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    assert_eq!((&cells[1]["acceleration"], &cells[1]["acs"]), (&Value::from(4), &Value::from(4)));
    assert!(cells[1]["methods"][0]["psnr"].as_f64().unwrap() > 10.0);
    let reason = cells[1]["methods"][1]["reason"].as_str().unwrap();
    assert!(reason.contains("calibration lines"), "{reason}");
    for file in ["compare.json", "compare-3-4.svg", "compare-3-4.png", "compare-4-4.svg"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let samples = std::fs::read(export.join("4-4/kspace.npy")).unwrap();
    assert!(String::from_utf8_lossy(&samples[..128]).contains("(6, 80, 80, )"));
    assert_eq!(samples.len() % 64, 6 * 80 * 80 * 8 % 64);

    let refused = program(&["compare", under, "--cells", "4/24", "--json"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(json(&refused)["error"].as_str().unwrap().contains("acceleration 3"));
    assert_eq!(program(&["compare", full, "--cells", "4x24"]).status.code(), Some(64));
}
