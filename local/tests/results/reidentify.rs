//! `raki-cloud reidentify`, run as a person runs it, its copies as programs of others see them.

use std::path::{Path, PathBuf};
use std::process::Command;

use contract::{ExitCode, Manifest, Record};

use crate::peers::{has, python};
use crate::run;

/// Results of three scans: classic files, enhanced ones, and none.
fn results() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (seed, (folder, kind)) in [("head", "classic"), ("knee", "enhanced"), ("bare", "none")].into_iter().enumerate()
    {
        let seed = seed.to_string();
        let size = ["--slices", "2", "--coils", "4", "--matrix", "48", "--r", "2", "--acs", "16", "--seed", &seed];
        let out = format!("share/day/{folder}");
        let written = run(dir.path(), &[&["phantom", "--out", "scan.h5"], &size[..]].concat());
        assert!(written.status.success());
        let options = ["--method", "zero-filled", "--dicom", kind];
        let done = run(dir.path(), &[&["reconstruct", "scan.h5", "--out", &out], &options[..]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    dir
}

fn manifest(dir: &Path, folder: &str) -> Manifest {
    Manifest::from_json(&std::fs::read(dir.join("share/day").join(folder).join("manifest.json")).unwrap()).unwrap()
}

/// Runs the command with this side file; nothing that it says holds a value of it.
fn reidentify(dir: &Path, names: &str, out: &str) -> (ExitCode, String) {
    std::fs::write(dir.join("names.csv"), names).unwrap();
    let mut said = String::new();
    let mut exits = Vec::new();
    for more in [&["--json"][..], &[]] {
        let done = run(dir, &[&["reidentify", "share", "--names", "names.csv", "--out", out], more].concat());
        exits.push(done.status.code().and_then(ExitCode::from_code).unwrap());
        said = [said, String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap()].concat();
        if exits[0] == ExitCode::Done {
            break;
        }
    }
    for secret in ["Ünal", "Leyla", "4711", "19790405", "1979-04-05", "ACC-9", "Referrer"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(exits.iter().all(|exit| *exit == exits[0]));
    (exits[0], said)
}

fn row(scan: &str) -> String {
    format!(
        "{scan},Ünal^Leyla,4711,1979-04-05,F,ACC-9,ST1,Referrer^Max,2026-11-23,08:15,1.2.826.0.1.3680043.2.1125.1\n"
    )
}

const HEADER: &str = "scan,patient_name,patient_id,birth_date,sex,accession_number,study_id,referring_physician,\
                      study_date,study_time,study_instance_uid\n";

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn copies_name_their_patient_and_are_valid_and_hold_the_same_voxels() {
    let dir = results();
    let head = manifest(dir.path(), "head").scan;
    // As Excel writes it.
    let names = ["\u{feff}", HEADER, &row(head.as_str()), &row("day/knee")].concat();
    let (exit, said) = reidentify(dir.path(), &names, "named");
    assert_eq!(exit, ExitCode::Done, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["scans"][0]["scan"], &report["left_out"]), (&head.as_str().into(), &1.into()));
    let day = dir.path().join("named/day");
    assert_eq!((files(&day.join("head")).len(), files(&day.join("knee")).len()), (2, 1));
    assert!(!day.join("bare").exists());
    // Nothing else is left, and nobody else may look.
    let left = files(dir.path()).iter().filter(|path| path.to_string_lossy().contains(".reidentify-")).count();
    assert_eq!(left, 0);
    assert_eq!(mode(&dir.path().join("named")), 0o700);

    for folder in ["head", "knee"] {
        for copy in files(&day.join(folder)) {
            if has("dciodvfy") {
                let found = Command::new("dciodvfy").arg(&copy).output().unwrap();
                let said = String::from_utf8_lossy(&found.stderr).into_owned();
                assert!(said.contains("MRImage") && !said.contains("Error"), "{said}");
            }
            if has("dcmdump") {
                let dump = Command::new("dcmdump").arg(&copy).output().unwrap();
                let text = String::from_utf8_lossy(&dump.stdout).into_owned();
                assert!(text.contains("Ünal^Leyla") && !text.contains(head.as_str()), "{text}");
                assert!(!text.contains("DeidentificationMethod"), "{text}");
            }
        }
    }
    let Some(python) = python() else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON is not set");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_identity.py");
    for folder in ["head", "knee"] {
        let original = dir.path().join("share/day").join(folder).join("dicom");
        let done = Command::new(&python).arg(&script).args([original, day.join(folder)]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_not_clear_is_refused_before_anything_is_written() {
    let dir = results();
    let short = |rows: &str| format!("scan,patient_name,birth_date,patient_id\n{rows}");
    let head = manifest(dir.path(), "head").scan;
    for (names, why) in [
        (short("nobody,Ünal^Leyla,,4711\n"), "line 2 of --names is of no scan among the results"),
        ("scan,name\nhead,Ünal^Leyla\n".to_owned(), "column 2 of --names is unknown"),
        ("Ünal^Leyla,4711\nhead,4711\n".to_owned(), "column 1 of --names is unknown"),
        ("scan,patient_id,patient_id\nhead,4711,4711\n".to_owned(), "column 3 of --names is there twice"),
        ("patient_id\n4711\n".to_owned(), "has no column scan"),
        ("scan,patient_id\n".to_owned(), "has no row"),
        (
            short(&format!("head,Ünal^Leyla,,\n{head},Ünal^Leyla,,\n")),
            "line 3 of --names is of the same scan as line 2",
        ),
        (short("head,Ünal^Leyla,1979-04-31,\n"), "line 2 of --names has another birth_date than a date as YYYYMMDD"),
        (
            short(&format!("head,Ünal^Leyla,,{}\n", "4711".repeat(17))),
            "has another patient_id than at most 64 characters",
        ),
        ("scan,study_instance_uid\nhead,1.2.04711\n".to_owned(), "has another study_instance_uid than"),
        (short("head,Ünal^Leyla\n"), "line 2 of --names has 2 values, the first row has 4"),
        (short("bare,Ünal^Leyla,,\n"), "has no DICOM files"),
    ] {
        let (exit, said) = reidentify(dir.path(), &names, "named");
        assert_eq!(exit, ExitCode::Usage, "{said}");
        assert!(said.contains(why), "{why}: {said}");
        assert!(!dir.path().join("named").exists(), "{why}");
    }
    std::fs::write(dir.path().join("latin.csv"), b"scan,patient_name\nhead,\xdcnal\n").unwrap();
    let latin = run(dir.path(), &["reidentify", "share", "--names", "latin.csv", "--out", "named"]);
    assert!(String::from_utf8_lossy(&latin.stderr).contains("line 2 of --names is not UTF-8"));

    let good = short("head,Ünal^Leyla,,4711\n");
    std::fs::create_dir(dir.path().join("old")).unwrap();
    assert!(reidentify(dir.path(), &good, "old").1.contains("exists already"));
    assert!(reidentify(dir.path(), &good, "share/named").1.contains("lies among the results"));
    let image = files(&dir.path().join("share/day/head/dicom")).remove(0);
    let original = std::fs::read(&image).unwrap();
    std::fs::write(&image, &original[..original.len() - 2]).unwrap();
    assert!(reidentify(dir.path(), &good, "named").1.contains("not the one of its manifest"));
    std::fs::write(&image, original).unwrap();
    let left: Vec<PathBuf> =
        files(dir.path()).into_iter().filter(|path| path.to_string_lossy().contains("named")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(reidentify(dir.path(), &good, "named").0, ExitCode::Done);
}
