//! Results of a real run, opened by software of others.

use std::path::Path;
use std::process::Command;

use crate::peers::python;
use crate::run;

fn done(dir: &Path, arguments: &[&str]) {
    let done = run(dir, arguments);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn pydicom_and_nibabel_open_the_same_images_of_a_reconstruction() {
    let Some(python) = python() else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    done(
        dir.path(),
        &["phantom", "--out", "scan.h5", "--slices", "3", "--coils", "6", "--matrix", "64", "--acs", "24"],
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kspace/tests/check_pydicom.py");
    for (kind, files) in [("classic", 3), ("enhanced", 1), ("none", 0)] {
        let given = ["reconstruct", "scan.h5", "--out", kind, "--method", "nwg", "--interpolate", "--dicom", kind];
        done(dir.path(), &given);
        let (images, dicom) = (dir.path().join(kind).join("image.nii.gz"), dir.path().join(kind).join("dicom"));
        assert_eq!(std::fs::read_dir(&dicom).map_or(0, Iterator::count), files, "{kind}");
        if files > 0 {
            let done = Command::new(&python).arg(&script).args([dicom, images]).output().unwrap();
            assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
