//! The commands for single files, run as a person runs them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use contract::ExitCode;
use serde_json::Value;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raki-cloud"));
    command.current_dir(dir).env("XDG_CACHE_HOME", dir).args(arguments).output().unwrap()
}

fn json(dir: &Path, arguments: &[&str], exit: ExitCode) -> Value {
    let output = run(dir, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(exit.code())), "{arguments:?}: {errors}");
    // One document and nothing else.
    let documents: Vec<Value> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<_, _>>().unwrap();
    if exit == ExitCode::Done {
        assert_eq!(errors, "", "{arguments:?}");
    }
    documents.into_iter().next().unwrap()
}

/// A small phantom in a folder.
fn phantom() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let size = ["--slices", "2", "--coils", "4", "--matrix", "64", "--r", "2", "--acs", "24"];
    let written =
        json(dir.path(), &[&["phantom", "--out", "scan.h5", "--full", "full.h5"], &size[..]].concat(), ExitCode::Done);
    assert_eq!((&written["out"], &written["full"]), (&"scan.h5".into(), &"full.h5".into()));
    dir
}

fn tar_gz(dir: &Path, name: &str, member: &str) {
    let file = std::fs::File::create(dir.join(name)).unwrap();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    tar.append_path_with_name(dir.join(member), member).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
}

#[test]
fn inspect_tells_what_is_in_a_file_and_in_an_archive_of_it() {
    let dir = phantom();
    tar_gz(dir.path(), "scan.tar.gz", "scan.h5");
    let without_times = |mut answer: Value| {
        answer["scan"]["cost"].take();
        answer
    };
    let inspect = |file: &str| {
        let answer = json(dir.path(), &["inspect", file], ExitCode::Done);
        assert_eq!((answer["scans"].as_array().map(Vec::len), &answer["reconstructs"]), (Some(1), &true.into()));
        answer["scans"][0].clone()
    };
    let bare = inspect("scan.h5");
    let cost = &bare["scan"]["cost"];
    assert!(cost["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{cost}");
    assert!(cost["gflop"]["training"].as_f64().is_some_and(|training| training > 0.0), "{cost}");
    let packed = inspect("scan.tar.gz");
    assert_eq!(packed["container"], serde_json::json!(["gzip", "tar"]));
    assert_eq!(without_times(bare.clone())["scan"], without_times(packed)["scan"]);
    let expected: Value = serde_json::from_str(include_str!("golden/inspect.json")).unwrap();
    assert_eq!(rounded(without_times(bare)), rounded(expected));

    let text = String::from_utf8(run(dir.path(), &["inspect", "scan.h5"]).stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // How long it takes is this machine's.
    let told: Vec<&str> = text.lines().filter(|line| !line.starts_with("reconstruction ")).collect();
    assert_eq!(told, include_str!("golden/inspect.txt").lines().collect::<Vec<_>>());
    let text = String::from_utf8(run(dir.path(), &["inspect", "scan.tar.gz"]).stdout).unwrap();
    assert!(text.contains("in tar in gzip"), "{text}");

    let full = inspect("full.h5");
    assert_eq!(full["scan"]["acceleration"]["found"], serde_json::json!([1]));
}

/// Numbers with a fraction to four digits: the last ones depend on the machine's vectors.
fn rounded(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, rounded(value))).collect(),
        Value::Number(number) if number.is_f64() => {
            let digits = number.as_f64().map(|number| format!("{number:.3e}"));
            serde_json::from_str(&digits.unwrap()).unwrap()
        }
        other => other,
    }
}

#[test]
fn inspect_writes_its_answer_and_a_picture_of_the_sampling() {
    let dir = phantom();
    let answer = json(dir.path(), &["inspect", "scan.h5", "--out", "deep/look"], ExitCode::Done);
    let out = dir.path().join("deep/look");
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("inspect.json")).unwrap()).unwrap();
    assert_eq!(answer, written);
    assert!(std::fs::read(out.join("mask.png")).unwrap().starts_with(b"\x89PNG\r\n"));
    std::fs::write(dir.path().join("notes.h5"), "no k-space at all").unwrap();
    let refused = json(dir.path(), &["inspect", "notes.h5", "--out", "refused"], ExitCode::BadData);
    assert_eq!((&refused["reconstructs"], &refused["scans"][0]["scan"]), (&false.into(), &Value::Null));
    assert!(dir.path().join("refused/inspect.json").is_file() && !dir.path().join("refused/mask.png").exists());
}

#[test]
fn a_scan_that_can_be_prepared_but_not_filled_is_told_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let size = ["--slices", "1", "--coils", "4", "--matrix", "64", "--r", "4", "--acs", "3"];
    json(dir.path(), &[&["phantom", "--out", "few.h5"], &size[..]].concat(), ExitCode::Done);
    let answer = json(dir.path(), &["inspect", "few.h5"], ExitCode::BadData);
    assert_eq!((&answer["scans"][0]["scan"]["prepares"], &answer["reconstructs"]), (&true.into(), &false.into()));
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains("calibration lines")), "{answer}");
    assert_eq!(answer["scans"][0]["scan"]["cost"], Value::Null);
    let text = String::from_utf8(run(dir.path(), &["inspect", "few.h5"]).stdout).unwrap();
    assert!(text.contains("\nreconstructs    no: "), "{text}");
}

#[test]
fn a_prepared_scan_becomes_a_bart_array_and_comes_back() {
    let dir = phantom();
    let report = json(dir.path(), &["prepare", "full.h5", "--out", "new/kspace.cfl"], ExitCode::Done);
    let lengths = ["new/kspace.cfl", "new/kspace.hdr"].map(|name| dir.path().join(name).metadata().unwrap().len());
    assert_eq!(lengths[0], 2 * 4 * 64 * 64 * 8);
    assert_eq!(report["bytes"], lengths.iter().sum::<u64>());
    assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 2);
    for name in ["new/kspace.cfl", "new/kspace.hdr"] {
        let found = &json(dir.path(), &["inspect", name], ExitCode::Done)["scans"][0]["scan"];
        assert_eq!((&found["format"], &found["counts"]["images"]), (&"BART".into(), &2.into()), "{name}");
        assert_eq!(found["geometry_known"], false, "{name}");
    }
}

#[test]
fn a_file_and_an_archive_of_it_give_the_same_images() {
    let dir = phantom();
    tar_gz(dir.path(), "scan.tgz", "scan.h5");
    for (input, out) in [("scan.h5", "a"), ("scan.tgz", "b")] {
        let report = json(dir.path(), &["reconstruct", input, "--out", out, "--method", "grappa"], ExitCode::Done);
        assert_eq!(report["manifest"]["method"], "grappa");
        for file in report["files"].as_array().unwrap() {
            assert!(dir.path().join(file.as_str().unwrap()).is_file(), "{file}");
        }
    }
    let bytes = |path: &str| std::fs::read(dir.path().join(path)).unwrap();
    assert_eq!(bytes("a/image.nii.gz"), bytes("b/image.nii.gz"));
    let truth =
        kspace::phantom::Phantom { slices: 2, coils: 4, matrix: 64, acceleration: 2, acs: 24, snr: 60.0, seed: 0 };
    let psnr = local::files::psnr_against(&truth.truth(), &dir.path().join("a/image.nii.gz")).unwrap().unwrap();
    assert!(psnr > 25.0, "{psnr}");
}

#[test]
fn an_archive_of_several_scans_gives_each_its_own_images() {
    let dir = phantom();
    std::fs::write(dir.path().join("photo.h5"), b"\x89HDF\r\n\x1a\nand nothing more").unwrap();
    let file = std::fs::File::create(dir.path().join("day.zip")).unwrap();
    let mut archive = zip::ZipWriter::new(file);
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in ["scan.h5", "photo.h5", "full.h5"] {
        archive.start_file(format!("day/{name}"), options).unwrap();
        archive.write_all(&std::fs::read(dir.path().join(name)).unwrap()).unwrap();
    }
    archive.finish().unwrap();

    let inspected = json(dir.path(), &["inspect", "day.zip"], ExitCode::BadData);
    let names: Vec<_> =
        inspected["scans"].as_array().unwrap().iter().map(|scan| scan["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["scan", "full", "photo"]);
    assert_eq!(inspected["scans"][0]["reconstructs"], true);
    assert!(inspected["reason"].as_str().unwrap().starts_with("1 of 3 scans"), "{inspected}");

    let refused = run(dir.path(), &["prepare", "day.zip", "--out", "p.safetensors"]);
    assert_eq!(refused.status.code(), Some(i32::from(ExitCode::Usage.code())));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("give --out a folder"));
    let prepared = json(dir.path(), &["prepare", "day.zip", "--out", "prepared/"], ExitCode::BadData);
    assert_eq!(
        (prepared["scans"].as_array().map(Vec::len), &prepared["refused"][0]["name"]),
        (Some(2), &"photo".into())
    );
    for name in ["scan", "full"] {
        assert!(dir.path().join(format!("prepared/{name}.safetensors")).is_file(), "{name}");
    }
    json(dir.path(), &["prepare", "scan.h5", "--out", "prepared/"], ExitCode::Done);

    let arguments = ["reconstruct", "day.zip", "--out", "images", "--method", "grappa"];
    let report = json(dir.path(), &arguments, ExitCode::BadData);
    for scan in report["scans"].as_array().unwrap() {
        for file in scan["files"].as_array().unwrap() {
            assert!(dir.path().join(file.as_str().unwrap()).is_file(), "{file}");
        }
    }
    assert!(dir.path().join("images/scan/image.nii.gz").is_file() && dir.path().join("images/full").is_dir());
    json(dir.path(), &["reconstruct", "scan.h5", "--out", "alone", "--method", "grappa"], ExitCode::Done);
    let image = |path: &str| std::fs::read(dir.path().join(path).join("image.nii.gz")).unwrap();
    assert_eq!(image("images/scan"), image("alone"), "a scan is the same in company and alone");
}

#[test]
fn prepare_writes_what_it_reports() {
    let dir = phantom();
    let report = json(dir.path(), &["prepare", "scan.h5", "--out", "deep/p.safetensors"], ExitCode::Done);
    let length = std::fs::metadata(dir.path().join("deep/p.safetensors")).unwrap().len();
    assert_eq!(report["bytes"], length);
    assert_eq!(report["meta"]["entries"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["meta"]["source_sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn failures_have_their_exit_codes_and_name_no_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mustermann.h5"), "no k-space at all").unwrap();
    std::fs::write(dir.path().join("mustermann.tar.gz"), [0x1f, 0x8b, 8, 0, 0]).unwrap();
    for (arguments, exit) in [
        (&["inspect", "mustermann.h5"][..], ExitCode::BadData),
        (&["inspect", "mustermann.tar.gz"], ExitCode::BadData),
        (&["prepare", "mustermann.h5", "--out", "p.safetensors"], ExitCode::BadData),
        (&["reconstruct", "mustermann.h5", "--out", "d"], ExitCode::BadData),
        (&["reconstruct", "nothing.h5", "--out", "d"], ExitCode::Usage),
        (&["inspect", "."], ExitCode::Usage),
        (&["status"], ExitCode::Usage),
        (&["upload", "mustermann.h5"], ExitCode::Usage),
        (&["reconstruct", "mustermann.h5", "--out", "d", "--method", "magic"], ExitCode::Usage),
        (&["phantom", "--out", "x.h5", "--matrix", "7"], ExitCode::Usage),
        (&["dance"], ExitCode::Usage),
    ] {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(i32::from(exit.code())), "{arguments:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!errors.is_empty() && !errors.contains("mustermann"), "{arguments:?}: {errors}");
    }
    let refused = run(dir.path(), &["inspect", "mustermann.h5", "--json"]);
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(answer["reconstructs"], false);
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{answer}");
    assert!(!dir.path().join("p.safetensors").exists());
}

#[test]
fn help_lists_the_exit_codes_of_the_contract() {
    let help = run(Path::new("."), &["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for exit in ExitCode::ALL {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{} ", exit.code()))), "{exit:?}");
    }
}
