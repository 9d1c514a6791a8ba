//! Files of scanners, and what twixtools makes of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use kspace::Error;
use kspace::format::header::{Ramp, Trajectory};
use kspace::format::{Flags, RawScan, open_all};
use kspace::numerics::combine::rss;
use kspace::numerics::fft::ifft2c;
use kspace::prepare::{Options, plan};
use kspace::prepared::Reader;
use ndarray::Array2;
use serde_json::Value;

#[expect(
    clippy::disallowed_methods,
    reason = "tests with programs and data of others are switched on by the environment"
)]
pub(super) fn switched_on(variable: &str, what: &str) -> Option<OsString> {
    let value = std::env::var_os(variable);
    if value.is_none() {
        eprintln!("skipped: {variable} does not name {what}");
    }
    value
}

/// What is known of a real file.
struct Real {
    name: &'static str,
    channels: u16,
    samples: u16,
    imaging: usize,
    dwell_us: f32,
    encoded: [usize; 3],
    columns: usize,
    coils: [&'static str; 2],
    /// Words of the warnings.
    doubts: &'static [&'static str],
}

const REAL: [Real; 5] = [
    Real {
        name: "twixtools_gre.dat",
        channels: 2,
        samples: 320,
        imaging: 160,
        dwell_us: 11.6,
        encoded: [320, 160, 1],
        columns: 160,
        coils: ["Body:1:BC2", "Body:1:BC"],
        doubts: &[],
    },
    Real {
        name: "twixtools_epi.dat",
        channels: 2,
        samples: 160,
        imaging: 80,
        dwell_us: 3.1,
        encoded: [160, 80, 1],
        columns: 80,
        coils: ["Body:1:BC2", "Body:1:BC"],
        doubts: &[],
    },
    Real {
        name: "siemens_xa61_2ch.dat",
        channels: 2,
        samples: 128,
        imaging: 128,
        dwell_us: 20.0,
        encoded: [128, 128, 1],
        columns: 128,
        coils: ["Body:1:BC1", "Body:1:BC0"],
        doubts: &["states 64 points along the readout", "states 64 lines"],
    },
    Real {
        name: "siemens_ve11_32ch.dat",
        channels: 32,
        samples: 64,
        imaging: 64,
        dwell_us: 10.0,
        encoded: [64, 64, 1],
        columns: 64,
        coils: ["Head_32:1:H10", "Head_32:1:H20"],
        doubts: &["gain of each channel"],
    },
    Real {
        name: "siemens_ve12_1ch.dat",
        channels: 1,
        samples: 256,
        imaging: 256,
        dwell_us: 10.0,
        encoded: [256, 256, 1],
        columns: 256,
        coils: ["Tuneup_Coil:1:TC", ""],
        doubts: &["another centre of k-space"],
    },
];

pub(super) fn open_real(folder: &Path, name: &str) -> Box<dyn RawScan> {
    let mut scans = open_all(&folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(scans.len(), 1, "{name}");
    scans.pop().unwrap()
}

fn is_imaging(flags: Flags) -> bool {
    !flags.has(Flags::PHASE_CORRECTION) && !flags.has(Flags::NOISE)
}

#[test]
fn real_scans_are_read() {
    let Some(folder) = switched_on("RAKI_CLOUD_DATA", "the folder of real scans") else { return };
    for real in REAL {
        let name = real.name;
        let scan = open_real(Path::new(&folder), name);
        let lines: Vec<_> = scan.heads().iter().filter(|head| is_imaging(head.flags)).collect();
        assert_eq!(lines.len(), real.imaging, "{name}");
        for head in &lines {
            assert_eq!(
                (head.channels, head.samples, head.sample_time_us),
                (real.channels, real.samples, real.dwell_us)
            );
            let [read, phase, slice] = [head.read_dir, head.phase_dir, head.slice_dir];
            let dot = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            for (a, b, expected) in [(read, read, 1.0), (phase, phase, 1.0), (slice, slice, 1.0), (read, phase, 0.0)] {
                assert!((dot(a, b) - expected).abs() < 1e-5, "{name}");
            }
            let cross =
                [0, 1, 2].map(|i| read[(i + 1) % 3] * phase[(i + 2) % 3] - read[(i + 2) % 3] * phase[(i + 1) % 3]);
            assert!((dot(cross, slice) - 1.0).abs() < 1e-5, "{name}");
            // All are transversal slices, read from right to left and phase encoded along the back.
            assert!(read[0] > 0.99 && phase[1] < -0.99 && slice[2] < -0.99, "{name}: {read:?} {phase:?} {slice:?}");
        }
        assert!(scan.heads().last().unwrap().flags.has(Flags::LAST_IN_MEASUREMENT));
        let warnings = scan.warnings();
        assert_eq!(warnings.len(), real.doubts.len(), "{name}: {warnings:?}");
        assert!(
            warnings.iter().zip(real.doubts).all(|(warning, words)| warning.contains(words)),
            "{name}: {warnings:?}"
        );
        let header = scan.header();
        let encoding = &header.encodings[0];
        assert_eq!((encoding.encoded.matrix, encoding.recon.matrix[0]), (real.encoded, real.columns), "{name}");
        assert_eq!(encoding.limits.step_1.unwrap().center as usize, real.encoded[1] / 2, "{name}");
        assert_eq!(encoding.trajectory == Trajectory::Epi, name.contains("epi"), "{name}");
        assert_eq!(header.patient_position.as_deref(), Some("HFS"));
        assert!(header.system.field_strength_t.is_some_and(|tesla| (2.8..7.1).contains(&tesla)), "{name}");
        let gyromagnetic_mhz = header.h1_frequency_hz.unwrap() / 1e6 / header.system.field_strength_t.unwrap();
        assert!((42.5..42.65).contains(&gyromagnetic_mhz), "{name}: {gyromagnetic_mhz}");
        let coils = &header.system.coil_names;
        assert_eq!(coils.len(), usize::from(real.channels), "{name}");
        assert_eq!(
            (coils[0].as_str(), coils.get(1).map_or("", String::as_str)),
            (real.coils[0], real.coils[1]),
            "{name}"
        );
        assert!(header.system.model.is_some() && header.sequence.te_ms.len() == 1 && header.sequence.ti_ms.is_empty());
    }
    let epi = open_real(Path::new(&folder), "twixtools_epi.dat");
    let (up_us, flat_us, down_us) = (160.0, 240.0, 160.0);
    let ramp = Ramp { up_us, flat_us, down_us, delay_us: 32.0, dwell_us: 3.1, against_read_dir: true };
    assert_eq!(epi.header().encodings[0].ramp, Some(ramp));
    let count = |flag: u32| epi.heads().iter().filter(|head| head.flags.has(flag)).count();
    assert_eq!((count(Flags::PHASE_CORRECTION), count(Flags::REVERSE)), (3, 42));
}

#[test]
fn damaged_and_cut_real_scans_never_panic() {
    let Some(folder) = switched_on("RAKI_CLOUD_DATA", "the folder of real scans") else { return };
    // Constants of Numerical Recipes; the seed is as good as any.
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(state) * below as u64) >> 32) as usize
    };
    for real in REAL {
        let whole = std::fs::read(Path::new(&folder).join(real.name)).unwrap();
        for _ in 0..20 {
            let mut damaged = whole.clone();
            for _ in 0..20 {
                let at = random(whole.len());
                damaged[at] = random(256) as u8;
            }
            let _ = crate::read_all(&damaged);
            let length = random(whole.len() - 1000);
            match crate::read_all(&whole[..length]) {
                Err(error) => {
                    assert!(matches!(error, Error::Truncated { .. }) || length < 32, "{}: {error}", real.name)
                }
                Ok(samples) => assert!(samples < whole.len() / 8, "{} at {length}", real.name),
            }
        }
    }
}

/// What `check_twix.py` prints of each readout.
fn describe(scan: &dyn RawScan, index: usize) -> Vec<f64> {
    let head = &scan.heads()[index];
    let mut weighted = [0.0; 2];
    for (sample, weight) in scan.samples(index).unwrap().iter().zip(1..) {
        weighted[0] += f64::from(sample.re) * f64::from(weight);
        weighted[1] += f64::from(sample.im) * f64::from(weight);
    }
    let c = &head.counters;
    let numbers = [head.samples, head.channels, head.center_sample, head.discard_pre, head.discard_post];
    let counters = [c.step_1, c.step_2, c.average, c.slice, c.contrast, c.phase, c.repetition, c.set, c.segment];
    let flags = [Flags::REVERSE, Flags::PHASE_CORRECTION, Flags::NOISE].map(|flag| u16::from(head.flags.has(flag)));
    let whole = numbers.into_iter().chain(counters).chain(flags).map(f64::from);
    whole.chain(head.position.map(f64::from)).chain(weighted).collect()
}

/// A list of numbers.
pub(super) fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Root of the squared differences of an image from what is expected of it, `[y, x]`, over that of the squares expected.
pub(super) fn difference(image: &Array2<f32>, expected: &[f64]) -> f64 {
    assert_eq!(image.len(), expected.len());
    let apart = image.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>();
    (apart / expected.iter().map(|value| value * value).sum::<f64>()).sqrt()
}

#[test]
fn real_scans_are_read_as_twixtools_reads_them() {
    let Some(folder) = switched_on("RAKI_CLOUD_DATA", "the folder of real scans") else { return };
    let Some(python) = switched_on("RAKI_CLOUD_PYTHON", "an interpreter with the package twixtools") else { return };
    if !Command::new(&python).args(["-c", "import twixtools"]).output().unwrap().status.success() {
        eprintln!("skipped: the package twixtools is not installed");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_twix.py");
    for real in REAL {
        let name = real.name;
        let file = PathBuf::from(&folder).join(name);
        let columns = real.columns.to_string();
        let output = Command::new(&python).arg(&script).arg(&file).arg(columns).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // The package prints warnings of its own first.
        let answer = output.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
        let found: Value = serde_json::from_slice(answer).unwrap();
        let scan = open_real(Path::new(&folder), name);
        let readouts = found["readouts"].as_array().unwrap();
        assert_eq!(scan.heads().len(), readouts.len(), "{name}");
        for (index, expected) in readouts.iter().enumerate() {
            let expected = numbers(expected);
            let found = describe(scan.as_ref(), index);
            assert_eq!(found.len(), expected.len());
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * b.abs().max(1e-3);
            assert!(found.iter().zip(&expected).all(close), "{name}, readout {index}: {found:?} for {expected:?}");
        }
        let plan = plan(scan.as_ref(), &Options::default()).unwrap();
        if scan.header().encodings[0].trajectory == Trajectory::Epi {
            super::epi::compare(scan.as_ref(), &found);
            continue;
        }
        let prepared = Reader::open(plan.write(scan.as_ref(), Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
        let images = found["images"].as_array().unwrap();
        assert_eq!(prepared.meta.entries.len(), images.len(), "{name}");
        for (entry, expected) in images.iter().enumerate() {
            let image = rss(&ifft2c(&prepared.entry(entry).unwrap())) * prepared.meta.factor() as f32;
            let relative = difference(&image, &numbers(expected));
            assert!(relative < 1e-4, "{name}, slice {entry}: {relative}");
        }
    }
}
