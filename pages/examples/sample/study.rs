//! A scan as the pipeline would describe it, with pictures.

use std::collections::BTreeMap;
use std::error::Error;

use contract::manifest::{Check, Decision, Manifest, Output, Source, Timing, Tool};
use contract::prepared::{Entry, Header, Sampling, Step};
use contract::{ImageOptions, Method, Refine, ScanId};
use pages::report::{Compared, Curve, Difference, Frame, Map, Named, Report, Series, Sheet, Slices, Space};
use serde_json::json;

use crate::pictures::{self, Way};

const ACCELERATION: usize = 4;
const CALIBRATION: usize = 24;
const VOXEL_MM: [f64; 3] = [0.72, 0.72, 4.4];

/// Everything that a report borrows.
pub(crate) struct Study {
    pub(crate) manifest: Manifest,
    header: Header,
    entries: Vec<Entry>,
    steps: Vec<Step>,
    size: usize,
    slices: usize,
    columns: usize,
    montage: Vec<u8>,
    frames: Vec<Vec<u8>>,
    ways: Vec<Ways>,
    gain: Vec<u8>,
    noise: Vec<u8>,
    mask: Vec<u8>,
    snr: Vec<f64>,
    residual: Vec<f64>,
}

/// One slice, filled in several ways.
struct Ways {
    slice: usize,
    images: Vec<(&'static str, Vec<u8>)>,
    apart: Vec<u8>,
}

impl Study {
    /// `slices` slices of `size` x `size` in `contrasts` frames; a doubtful one breaks a limit.
    pub(crate) fn new(size: usize, slices: usize, contrasts: usize, doubtful: bool) -> Result<Self, Box<dyn Error>> {
        let columns = (slices as f64).sqrt().ceil() as usize;
        let height = |slice: usize| 1.7 * ((slice as f64 + 0.5) / slices as f64 - 0.5);
        let shown = |slice: usize, contrast, way| {
            pictures::window(&pictures::slice(size, height(slice), contrast, way), 0.0, 1.05)
        };
        let mut frames = Vec::new();
        let mut montage = Vec::new();
        for contrast in 0..contrasts {
            let frame: Vec<Vec<u8>> = (0..slices).map(|slice| shown(slice, contrast, Way::Best)).collect();
            if contrast == 0 {
                montage = frame.iter().map(|slice| pictures::half(slice, size)).collect();
            }
            frames.push(pictures::sheet(&frame, size, columns)?);
        }
        let mut ways = Vec::new();
        for slice in if slices > 2 { vec![slices / 3, slices / 2, 2 * slices / 3] } else { vec![0] } {
            let of = |way| shown(slice, 0, way);
            let (zero, grappa, best) = (of(Way::ZeroFilled), of(Way::Grappa), of(Way::Best));
            let apart: Vec<u8> = grappa.iter().zip(&best).map(|(a, b)| a.abs_diff(*b).saturating_mul(5)).collect();
            let picture = |grey: Vec<u8>| pictures::sheet(&[grey], size, 1);
            let images = vec![
                ("zero-filled", picture(zero)?),
                ("GRAPPA", picture(grappa)?),
                ("RAKI + nwG, sparse", picture(best)?),
            ];
            ways.push(Ways { slice, images, apart: picture(apart)? });
        }
        let field = |spread: f64| -> Vec<Vec<u8>> {
            let one = |slice: usize| {
                let place = |index: usize| pictures::gain(size, (index / size) as f64, (index % size) as f64);
                let numbers: Vec<f64> = (0..size * size)
                    .map(|index| 1.0 + (place(index) - 1.0) * spread * (1.0 - 0.4 * height(slice).abs()))
                    .collect();
                pictures::window(&numbers, 1.0, 2.2)
            };
            (0..slices).map(one).collect()
        };
        let lines = size / 2 - 8;
        let first = lines / 2 - CALIBRATION / 2;
        let sampling = Sampling {
            acceleration: ACCELERATION,
            offset: 0,
            acs_first: first,
            acs_lines: CALIBRATION,
            first: 0,
            last: lines - 1,
        };
        let entry = |slice: usize, contrast: usize| Entry {
            slice: slice as u16,
            contrast: contrast as u16,
            phase: 0,
            repetition: 0,
            set: 0,
            sampling,
        };
        let wave = |slice: usize, low: f64, high: f64| {
            low + (high - low) * (0.5 + 0.5 * (slice as f64 * 0.9).sin()) * (1.0 - 0.5 * height(slice).abs())
        };
        Ok(Self {
            manifest: manifest(slices, doubtful),
            header: header(size, lines, slices, contrasts),
            entries: (0..contrasts).flat_map(|contrast| (0..slices).map(move |slice| entry(slice, contrast))).collect(),
            steps: steps(),
            size,
            slices,
            columns,
            montage: pictures::sheet(&montage, size / 2, columns)?,
            frames,
            ways,
            gain: pictures::sheet(&field(1.0), size, columns)?,
            noise: pictures::sheet(&field(0.6), size, columns)?,
            mask: pictures::mask(lines, ACCELERATION, first..first + CALIBRATION)?,
            snr: (0..slices).map(|slice| wave(slice, 18.0, 27.0)).collect(),
            residual: (0..slices).map(|slice| 100.0 * wave(slice, 0.05, 0.075)).collect(),
        })
    }

    pub(crate) fn report(&self) -> Report<'_> {
        let sheet = |png| Sheet { png, tile: (self.size, self.size), columns: self.columns, count: self.slices };
        let middle = |count: usize, length: f64| -length * (count as f64 / 2.0).floor();
        let [dx, dy, dz] = VOXEL_MM;
        let affine = [
            [-dx, 0.0, 0.0, -middle(self.size, dx)],
            [0.0, -dy, 0.0, -middle(self.size, dy)],
            [0.0, 0.0, dz, middle(self.slices, dz)],
        ];
        let map = |name: &str, sentence: &str, png, unit: &str| Map {
            name: name.to_owned(),
            sentence: sentence.to_owned(),
            sheet: sheet(png),
            low: 1.0,
            high: 2.2,
            unit: unit.to_owned(),
        };
        let curve = |index: usize| Curve {
            name: format!("slice {}", (index + 1) * self.slices / 4),
            points: (0..500)
                .map(|step| {
                    (step, 0.9 * (-f64::from(step) / (60.0 + 20.0 * index as f64)).exp() + 0.02 + 0.01 * index as f64)
                })
                .collect(),
        };
        Report {
            manifest: &self.manifest,
            header: &self.header,
            entries: &self.entries,
            steps: &self.steps,
            matrix: [self.size, self.size],
            montage: &self.montage,
            slices: Slices {
                labels: (0..self.slices)
                    .map(|slice| format!("{:.1} mm", middle(self.slices, dz) + dz * slice as f64))
                    .collect(),
                frames: self
                    .frames
                    .iter()
                    .enumerate()
                    .map(|(index, png)| Frame { name: format!("echo {}", index + 1), sheet: sheet(png) })
                    .collect(),
                space: Some(Space { affine, known: true }),
            },
            compared: self
                .ways
                .iter()
                .map(|Ways { slice, images, apart }| Compared {
                    label: format!("Slice {} of {}", slice + 1, self.slices),
                    images: images.iter().map(|(name, png)| Named { name: (*name).to_owned(), png }).collect(),
                    differences: vec![Difference {
                        name: "RAKI + nwG, sparse − GRAPPA".to_owned(),
                        png: apart,
                        white: 0.2,
                    }],
                })
                .collect(),
            maps: vec![
                map(
                    "g-factor",
                    "How much more noise than a fully sampled scan of the same duration would have.",
                    &self.gain,
                    "",
                ),
                map("Noise", "Standard deviation of the noise in the image.", &self.noise, "a.u."),
            ],
            mask: Some(&self.mask),
            curves: (0..3).map(curve).collect(),
            series: vec![
                Series { name: "SNR".to_owned(), unit: String::new(), values: self.snr.clone(), limit: Some(10.0) },
                Series {
                    name: "Residual on calibration lines".to_owned(),
                    unit: "%".to_owned(),
                    values: self.residual.clone(),
                    limit: None,
                },
            ],
        }
    }
}

fn manifest(slices: usize, doubtful: bool) -> Manifest {
    let check = |name: &str, value: f64, limit: f64, passed: bool, sentence: &str| Check {
        name: name.to_owned(),
        value,
        limit,
        passed,
        sentence: sentence.to_owned(),
    };
    let ghosting = if doubtful {
        check(
            "ghosting",
            0.081,
            0.05,
            false,
            "Aliases of the object beside it reach 8.1 % of its brightness: compare the images with the GRAPPA image before trusting small structures",
        )
    } else {
        check("ghosting", 0.012, 0.05, true, "aliases of the object beside it are weak")
    };
    let digest = |digit: &str| digit.repeat(64 / digit.len());
    let output = |name: String, bytes: u64| Output { name, bytes, sha256: digest("9f86d081884c7d65") };
    let mut outputs: Vec<Output> =
        (1..=slices).map(|slice| output(format!("dicom/344f0e7cd478fc5f-{slice:06}.dcm"), 206_000)).collect();
    outputs.extend(
        [
            ("image.nii.gz", 5_100_000),
            ("preview.png", 410_000),
            ("report.html", 5_900_000),
            ("thumbnail.png", 9_000),
            ("metrics.json", 21_000),
        ]
        .map(|(name, bytes)| output(name.to_owned(), bytes)),
    );
    Manifest {
        schema: 1,
        scan: ScanId::of_object("raw", "2026-11-24/brain_t2.tar.gz", "1"),
        created: "2026-11-24T10:04:09Z".to_owned(),
        source: Source { key_sha256: digest("5f2b51ca2fdc5baa"), version: Some("3sL4kqtJlcpXroDTDmJ".to_owned()), etag: Some("9b2cf535f27731c974343645a3985328-3".to_owned()), sha256: digest("e3b0c44298fc1c14") },
        tool: Tool { version: "0.1.0".to_owned(), git_revision: Some("4f1d2c3b".to_owned()), image_digest: Some(format!("sha256:{}", digest("a1b2c3d4"))) },
        method: Method::Auto,
        refine: Refine::Sparse,
        images: ImageOptions::default(),
        parameters: [("iterations", json!(500)), ("learning_rate", json!(0.01)), ("hidden_features", json!([32, 8])), ("kernel_1", json!([2, 7])), ("ensemble", json!(1)), ("slab", json!(3)), ("warm", json!(0.25)), ("refits", json!(2)), ("sparse_iterations", json!(20)), ("sparse_iterations_most", json!(60)), ("sparse_threshold", json!(0.22)), ("maps_window", json!(6))]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        seed: 0,
        device: "cuda:0".to_owned(),
        decisions: [
            ("device", "cuda:0", "a CUDA driver answered"),
            ("share of the networks", "0.52", "round trips to acquired lines err by 6.1 % with nwG, 6.0 % with RAKI and 5.6 % with both: the mix errs least"),
            ("sensitivity maps", "two maps in 3 slices", "the field of view is slightly wrapped there"),
        ]
        .map(|(what, choice, reason)| Decision { what: what.to_owned(), choice: choice.to_owned(), reason: reason.to_owned() })
        .into(),
        warnings: if doubtful { vec!["the raw header states acceleration 2, the data are sampled with 4: the data were believed".to_owned(), "no noise scan was found: noise was estimated from the calibration lines".to_owned()] } else { Vec::new() },
        losses: (0..slices).map(|slice| 0.02 + 0.004 * (slice as f64).sin()).collect(),
        timings: [("open", 0.21), ("read", 1.4), ("fill", 6.8), ("train", 41.5), ("image", 12.2), ("write", 3.9)].map(|(stage, seconds)| Timing { stage: stage.to_owned(), seconds, cpu_seconds: (stage != "read").then_some(1.9 * seconds) }).into(),
        quality: [("snr", 24.1), ("calibration_residual", 0.0612), ("noise_level", 0.0034), ("round_trip", 0.056), ("filled_energy", 0.18), ("acquired_fraction", 0.36), ("ghosting", ghosting.value), ("g_factor", 1.42)]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        checks: vec![
            check("snr", 24.1, 10.0, true, "the object stands well above the noise"),
            check("calibration_residual", 0.0612, 0.2, true, "kernels predict the calibration lines"),
            check("g_factor", 1.42, 2.5, true, "the coils can tell the folded places apart"),
            ghosting,
        ],
        outputs,
    }
}

fn header(size: usize, lines: usize, slices: usize, contrasts: usize) -> Header {
    Header {
        vendor: Some("Sample".to_owned()),
        model: Some("Phantom 3T".to_owned()),
        field_strength_t: Some(2.89),
        h1_frequency_hz: Some(123_255_000.0),
        patient_position: Some("HFS".to_owned()),
        tr_ms: vec![5000.0],
        te_ms: [23.0, 99.0].into_iter().take(contrasts).collect(),
        ti_ms: Vec::new(),
        flip_angle_deg: vec![150.0],
        matrix: [size, lines, 1],
        field_of_view_mm: [230.0, 230.0, 4.0],
        recon_matrix: [size, size, slices],
        recon_field_of_view_mm: [230.0, 230.0, 4.0],
        stated_acceleration: Some(2.0),
        geometry_known: true,
    }
}

fn steps() -> Vec<Step> {
    let step = |name: &str, parameters: &[(&str, serde_json::Value)]| Step {
        name: name.to_owned(),
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
    };
    vec![
        step("remove_oversampling", &[("from", json!(640)), ("to", json!(320))]),
        step("sort", &[("lines", json!(1680))]),
        step(Step::NORMALISE, &[("factor", json!(0.000_183_4))]),
    ]
}
