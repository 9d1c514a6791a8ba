//! DICOM files, as programs of others see them.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::path::{Path, PathBuf};
use std::process::Command;

use contract::ScanId;
use contract::prepared::Header;
use kspace::image::dicom::{Study, classic};
use kspace::image::geometry::{Grid, Stack, stack};
use kspace::image::nifti;
use ndarray::{Array2, Array4};

#[expect(clippy::disallowed_methods, reason = "tests that need Python are switched on by the environment")]
fn python() -> Option<PathBuf> {
    std::env::var_os("RAKI_CLOUD_PYTHON").map(PathBuf::from)
}

/// Whether a program of Debian is there.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--help").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn header(known: bool) -> Header {
    Header {
        vendor: Some("vendor".to_owned()),
        model: Some("model".to_owned()),
        field_strength_t: Some(2.893_62),
        h1_frequency_hz: Some(123_204_567.0),
        patient_position: Some("HFS".to_owned()),
        tr_ms: vec![500.0],
        te_ms: vec![4.92, 7.38],
        flip_angle_deg: vec![25.0],
        matrix: [40, 32, 1],
        field_of_view_mm: [220.0, 192.0, 4.0],
        recon_matrix: [40, 32, 1],
        recon_field_of_view_mm: [220.0, 192.0, 4.0],
        geometry_known: known,
        ..Header::default()
    }
}

fn placed(header: &Header, slices: usize) -> Stack {
    // Oblique: turned by 30 degrees about x, then by 20 about the slice direction.
    let ((s, c), (t, d)) = (30f32.to_radians().sin_cos(), 20f32.to_radians().sin_cos());
    let read = [d, t * c, t * s];
    let phase = [-t, d * c, d * s];
    let normal = [0.0, -s, c];
    let mut positions = Array2::zeros((slices, 12));
    for (number, mut row) in positions.outer_iter_mut().enumerate() {
        let centre: [f32; 3] =
            std::array::from_fn(|axis| [12.0, -30.0, 45.0][axis] + 5.0 * number as f32 * normal[axis]);
        let all = centre.into_iter().chain(read).chain(phase).chain(normal);
        row.iter_mut().zip(all).for_each(|(to, value)| *to = value);
    }
    stack(header, &Grid::of(header), positions.view())
}

/// Writes a study and its NIfTI file into a folder; returns the DICOM files.
fn write(folder: &Path, header: &Header, slices: usize, contrasts: &[u16]) -> Vec<PathBuf> {
    let stack = placed(header, slices);
    let shape = (contrasts.len(), slices, 32, 40);
    let volume =
        Array4::from_shape_fn(shape, |(f, s, y, x)| (1 + f) as f32 * (s * 7 + y * 3 + x) as f32 * 0.37 + y as f32);
    let scan = ScanId::of_object("raw", "a", "1");
    let study = Study {
        scan: &scan,
        header,
        method: "auto, sparse, seed 0",
        version: "0.1.0",
        stack: &stack,
        contrasts,
        volume: volume.view(),
    };
    let files = classic(&study).unwrap();
    assert_eq!(files, classic(&study).unwrap(), "the same scan gives the same bytes");
    nifti::write_gz(&folder.join("image.nii.gz"), &volume, &stack.affine, nifti::Content::Magnitude).unwrap();
    std::fs::create_dir(folder.join("dicom")).unwrap();
    let store = |(name, bytes): (String, Vec<u8>)| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    files.into_iter().map(store).collect()
}

#[test]
fn dciodvfy_finds_no_error_and_dcmdump_reads_every_file() {
    if !has("dciodvfy") || !has("dcmdump") {
        return;
    }
    for (known, slices, contrasts) in [(true, 3, &[0u16, 1][..]), (true, 1, &[0]), (false, 2, &[0])] {
        let folder = tempfile::tempdir().unwrap();
        for file in write(folder.path(), &header(known), slices, contrasts) {
            let found = Command::new("dciodvfy").arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&found.stderr).into_owned();
            assert!(said.contains("MRImage") && !said.contains("Error"), "{said}");
            let dump = Command::new("dcmdump").arg(&file).output().unwrap();
            let text = String::from_utf8_lossy(&dump.stdout).into_owned();
            assert!(dump.status.success() && text.contains("not for diagnostic use"), "{text}");
        }
    }
}

#[test]
fn dcm2niix_makes_the_same_voxels_and_affine_as_our_nifti() {
    let Some(python) = python() else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON is not set");
        return;
    };
    if !has("dcm2niix") {
        return;
    }
    for (slices, contrasts) in [(5, &[0u16, 1][..]), (3, &[0])] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &header(true), slices, contrasts);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_dicom.py");
        let done = Command::new(&python)
            .arg(script)
            .args([folder.path().join("dicom"), folder.path().join("image.nii.gz"), "dcm2niix".into()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn identifiers_are_valid_and_no_two_images_share_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for file in write(folder.path(), &header(true), 4, &[0, 0, 1]) {
        let object = dicom_object::open_file(file).unwrap();
        let uid = object.element(dicom_dictionary_std::tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned();
        assert!(uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{uid}");
        assert!(seen.insert(uid));
    }
    assert_eq!(seen.len(), 12);
}
