//! DICOM files, as programs of others see them.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::path::{Path, PathBuf};
use std::process::Command;

use contract::prepared::{Entry, Header, Sampling, Step};
use contract::{PreparedMeta, ScanId};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use kspace::image::Frame;
use kspace::image::dicom::{Study, classic, enhanced};
use kspace::image::geometry::{Grid, Stack, stack};
use kspace::image::nifti;
use ndarray::{Array2, Array4};

mod peers;

use peers::{has, python};

/// Makes the files of a study.
type Write = fn(&Study<'_>) -> kspace::Result<Vec<(String, Vec<u8>)>>;
const KINDS: [(&str, Write); 2] = [("MRImage", classic), ("EnhancedMRImage", enhanced)];

fn header(known: bool) -> Header {
    Header {
        vendor: Some("vendor".to_owned()),
        model: Some("model".to_owned()),
        field_strength_t: Some(2.893_62),
        h1_frequency_hz: Some(123_204_567.0),
        patient_position: Some("HFS".to_owned()),
        tr_ms: vec![500.0],
        te_ms: vec![4.92, 7.38],
        ti_ms: vec![900.0],
        flip_angle_deg: vec![25.0],
        matrix: [40, 32, 1],
        field_of_view_mm: [220.0, 192.0, 4.0],
        recon_matrix: [40, 32, 1],
        recon_field_of_view_mm: [220.0, 192.0, 4.0],
        geometry_known: known,
        ..Header::default()
    }
}

/// A scan without a word that it need not have.
fn silent() -> Header {
    Header {
        vendor: None,
        model: None,
        patient_position: None,
        field_strength_t: None,
        h1_frequency_hz: None,
        tr_ms: Vec::new(),
        te_ms: Vec::new(),
        ti_ms: Vec::new(),
        flip_angle_deg: Vec::new(),
        ..header(false)
    }
}

const ONE: Frame = Frame { contrast: 0, phase: 0, repetition: 0, set: 0 };

/// What is acquired.
struct Case {
    header: Header,
    slices: usize,
    frames: Vec<Frame>,
    sampling: Sampling,
    slab: bool,
}

impl Case {
    fn new(slices: usize, frames: &[Frame]) -> Self {
        let sampling = Sampling { acceleration: 2, offset: 0, acs_first: 8, acs_lines: 16, first: 0, last: 30 };
        Self { header: header(true), slices, frames: frames.to_vec(), sampling, slab: false }
    }

    fn has_times(&self) -> bool {
        self.frames.iter().any(|frame| frame.phase + frame.repetition > 0)
    }

    fn meta(&self) -> PreparedMeta {
        let entry = |frame: &Frame, slice: usize| Entry {
            slice: slice as u16,
            contrast: frame.contrast,
            phase: frame.phase,
            repetition: frame.repetition,
            set: frame.set,
            sampling: self.sampling,
        };
        let partitions = Step { name: Step::PARTITIONS.to_owned(), parameters: Default::default() };
        PreparedMeta {
            schema: PreparedMeta::SCHEMA,
            scan: None,
            header: self.header.clone(),
            entries: self
                .frames
                .iter()
                .flat_map(|frame| (0..self.slices).map(move |slice| entry(frame, slice)))
                .collect(),
            steps: self.slab.then_some(partitions).into_iter().collect(),
            warnings: Vec::new(),
            source_sha256: String::new(),
            tool_version: String::new(),
        }
    }

    fn volume(&self) -> Array4<f32> {
        let shape = (self.frames.len(), self.slices, 32, 40);
        // Raw data have any unit, also one in which an image is next to nothing.
        Array4::from_shape_fn(shape, |(f, s, y, x)| {
            1e-7 * ((1 + f) as f32 * (s * 7 + y * 3 + x) as f32 * 0.37 + y as f32)
        })
    }

    /// Writes the study and its NIfTI file into a folder; returns the DICOM files.
    fn write(&self, folder: &Path, kind: Write) -> Vec<PathBuf> {
        let (stack, volume) = (placed(&self.header, self.slices), self.volume());
        let study = Study {
            scan: &ScanId::of_object("raw", "a", "1"),
            meta: &self.meta(),
            method: "auto, sparse, seed 0",
            options: "images default",
            version: "0.1.0",
            stack: &stack,
            frames: &self.frames,
            volume: volume.view(),
        };
        let files = kind(&study).unwrap();
        assert_eq!(files, kind(&study).unwrap(), "the same scan gives the same bytes");
        nifti::write_gz(&folder.join("image.nii.gz"), &volume, &stack.affine, nifti::Content::Magnitude).unwrap();
        std::fs::create_dir(folder.join("dicom")).unwrap();
        let store = |(name, bytes): (String, Vec<u8>)| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        files.into_iter().map(store).collect()
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

/// Scans of every kind: echoes, repetitions, cardiac phases, sets, one slice, a slab, partial Fourier, nothing known.
fn cases() -> Vec<Case> {
    let partial = Sampling { acceleration: 1, offset: 0, acs_first: 0, acs_lines: 24, first: 0, last: 23 };
    vec![
        Case::new(3, &[ONE, Frame { contrast: 1, ..ONE }]),
        Case::new(1, &[ONE]),
        Case { header: silent(), ..Case::new(2, &[ONE]) },
        Case { slab: true, sampling: partial, ..Case::new(4, &[ONE]) },
        Case::new(3, &[0, 1, 2].map(|repetition| Frame { repetition, ..ONE })),
        Case::new(2, &[0, 1, 2, 3].map(|phase| Frame { phase, ..ONE })),
        Case::new(2, &[0, 1].map(|set| Frame { set, ..ONE })),
    ]
}

fn check(python: &Path, script: &str, folder: &Path, rest: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(python);
    command.arg(script).args([folder.join("dicom"), folder.join("image.nii.gz")]).args(rest);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn dciodvfy_finds_no_error_and_dcmdump_reads_every_file() {
    if !has("dciodvfy") || !has("dcmdump") {
        return;
    }
    for (case, (class, kind)) in cases().iter().flat_map(|case| KINDS.map(|kind| (case, kind))) {
        let folder = tempfile::tempdir().unwrap();
        for file in case.write(folder.path(), kind) {
            let found = Command::new("dciodvfy").arg(&file).output().unwrap();
            let said = String::from_utf8_lossy(&found.stderr).into_owned();
            assert!(said.lines().any(|line| line == class) && !said.contains("Error"), "{said}");
            let dump = Command::new("dcmdump").arg(&file).output().unwrap();
            let text = String::from_utf8_lossy(&dump.stdout).into_owned();
            assert!(dump.status.success() && text.contains("raki-cloud"), "{text}");
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
    for (class, kind) in KINDS {
        // It sorts the frames of one file by slice first, unless it knows the maker (1.0.20220720).
        let read = |case: &Case| case.header.geometry_known && (class == "MRImage" || !case.has_times());
        for case in cases().iter().filter(|case| read(case)) {
            let folder = tempfile::tempdir().unwrap();
            case.write(folder.path(), kind);
            check(&python, "check_dicom.py", folder.path(), &["dcm2niix"]);
        }
    }
}

#[test]
fn pydicom_reads_the_same_voxels_places_and_times_as_our_nifti() {
    let Some(python) = python() else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON is not set");
        return;
    };
    for (case, (_, kind)) in cases().iter().flat_map(|case| KINDS.map(|kind| (case, kind))) {
        let folder = tempfile::tempdir().unwrap();
        case.write(folder.path(), kind);
        check(&python, "check_pydicom.py", folder.path(), &[]);
    }
}

fn objects(case: &Case, kind: Write) -> Vec<InMemDicomObject> {
    let folder = tempfile::tempdir().unwrap();
    let open = |file: PathBuf| dicom_object::open_file(file).unwrap().into_inner();
    case.write(folder.path(), kind).into_iter().map(open).collect()
}

fn text(object: &InMemDicomObject, tag: dicom_core::Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().into_owned()
}

#[test]
fn identifiers_are_valid_and_no_two_images_share_one() {
    let mut seen = std::collections::BTreeSet::new();
    for (_, kind) in KINDS {
        let repetition = |repetition, contrast| Frame { repetition, contrast, ..ONE };
        for object in objects(&Case::new(4, &[repetition(0, 0), repetition(1, 0), repetition(0, 1)]), kind) {
            let uid = text(&object, tags::SOP_INSTANCE_UID);
            assert!(uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{uid}");
            assert!(seen.insert(uid));
        }
    }
    assert_eq!(seen.len(), 12 + 2);
}

#[test]
fn the_scanner_is_named_as_what_measured_and_not_as_what_made_the_images() {
    for (_, kind) in KINDS {
        let object = &objects(&Case::new(1, &[ONE]), kind)[0];
        assert_eq!(text(object, tags::MANUFACTURER), "raki-cloud");
        let contributing = object.element(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE).unwrap().items().unwrap();
        assert_eq!((contributing.len(), text(&contributing[0], tags::MANUFACTURER).as_str()), (1, "vendor"));
        let silent = Case { header: silent(), ..Case::new(1, &[ONE]) };
        assert!(objects(&silent, kind)[0].element(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE).is_err());
    }
}

#[test]
fn repetitions_and_cardiac_phases_are_times_and_sets_are_series() {
    let times = |case: &Case| -> Vec<String> {
        objects(case, classic)
            .iter()
            .map(|it| {
                let time = it.element(tags::TEMPORAL_POSITION_IDENTIFIER).map(|it| it.to_str().unwrap().into_owned());
                format!("{}/{}", text(it, tags::SERIES_NUMBER), time.as_deref().unwrap_or("-"))
            })
            .collect()
    };
    assert_eq!(times(&Case::new(1, &[0, 1].map(|repetition| Frame { repetition, ..ONE }))), ["1/1", "1/2"]);
    assert_eq!(times(&Case::new(1, &[0, 1].map(|set| Frame { set, ..ONE }))), ["1/-", "2/-"]);
    // The volume is sorted by phase, the series by time.
    let of = |phase, repetition| Frame { phase, repetition, ..ONE };
    let case = Case::new(1, &[of(0, 0), of(0, 1), of(1, 0), of(1, 1)]);
    let found = objects(&case, enhanced);
    assert_eq!((found.len(), text(&found[0], tags::CARDIAC_NUMBER_OF_IMAGES).as_str()), (1, "2"));
    let volume = case.volume();
    let first = |frame: usize| volume[[frame, 0, 31, 39]];
    let pixels = found[0].element(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
    let last: Vec<u16> = pixels.chunks(32 * 40).map(|frame| frame[32 * 40 - 1]).collect();
    let order = |a: usize, b: usize| (last[a] < last[b]) == (first([0, 2, 1, 3][a]) < first([0, 2, 1, 3][b]));
    assert!((0..4).all(|a| (0..4).all(|b| order(a, b))), "{last:?}");
}

#[test]
fn slices_of_a_slab_are_told_from_slices_of_their_own() {
    for (slab, expected) in [(true, "3D"), (false, "2D")] {
        let object = &objects(&Case { slab, ..Case::new(4, &[ONE]) }, classic)[0];
        assert_eq!(text(object, tags::MR_ACQUISITION_TYPE), expected);
    }
}
