//! What a physicist asks of a raw scan before reconstructing it: [`Report`], whether or not the scan can be prepared.
//!
//! | module | what it does |
//! |---|---|
//! | `heads` | what header and readout heads tell without a plan |
//! | `planned` | what only the plan of a preparation tells |
//!
//! Names of fields are stable and hold their unit. Nothing in a report identifies a person: of the header it has numbers, scanner and
//! names that the standard knows, and no free text.

mod heads;
mod planned;

use contract::prepared::{Sampling, Step};
use serde::Serialize;

use crate::Error;
use crate::format::{CalibrationSource, RawScan};
use crate::prepare::{self, Plan};

/// What is in a raw scan. What cannot be told is `None` or empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the raw format.
    pub format: String,
    /// Readouts by kind.
    pub readouts: Readouts,
    /// The scanner.
    pub scanner: Scanner,
    /// How the scan was acquired.
    pub protocol: Protocol,
    /// What was encoded, as the header says.
    pub encoded: Option<Encoded>,
    /// The image that it gives.
    pub image: Option<Image>,
    /// Receiver coils.
    pub coils: Option<usize>,
    /// Coils that are reconstructed, where compression makes them fewer.
    pub virtual_coils: Option<usize>,
    /// How many of everything.
    pub counts: Counts,
    /// Undersampling.
    pub acceleration: Acceleration,
    /// The distinct samplings that were found.
    pub sampling: Vec<Sampling>,
    /// Calibration lines.
    pub calibration: Calibration,
    /// The noise scan.
    pub noise_scan: NoiseScan,
    /// Directions along which a part of k-space was never measured.
    pub partial_fourier: Vec<Part>,
    /// The part of the readout that was measured, where that is not all.
    pub asymmetric_echo: Option<Part>,
    /// Signal and noise.
    pub snr: Option<Snr>,
    /// Whether positions and directions come from the scanner.
    pub geometry_known: Option<bool>,
    /// Steps of the preparation, in their order.
    pub steps: Vec<Step>,
    /// Length of the prepared file.
    pub prepared_bytes: Option<u64>,
    /// What a person should know before trusting the images.
    pub warnings: Vec<String>,
    /// Whether the scan can be prepared.
    pub prepares: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// Readouts by their flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Readouts {
    /// All of them.
    pub total: usize,
    /// Lines of the image, those that calibrate too among them.
    pub imaging: usize,
    /// Lines for calibration only.
    pub calibration: usize,
    /// Noise.
    pub noise: usize,
    /// Phase correction.
    pub phase_correction: usize,
    /// Anything else.
    pub other: usize,
}

/// The scanner as the header names it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Scanner {
    /// Manufacturer.
    pub vendor: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Field strength, T.
    pub field_strength_t: Option<f64>,
    /// Larmor frequency of hydrogen, Hz.
    pub h1_frequency_hz: Option<f64>,
}

/// How the scan was acquired.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Protocol {
    /// 2 or 3.
    pub dimensions: u8,
    /// `cartesian`, `epi`, `radial`, `goldenangle`, `spiral` or `other`.
    pub trajectory: &'static str,
    /// How the patient lay, such as `HFS`.
    pub patient_position: Option<String>,
    /// Repetition times, ms.
    pub tr_ms: Vec<f64>,
    /// Echo times, ms.
    pub te_ms: Vec<f64>,
    /// Inversion times, ms.
    pub ti_ms: Vec<f64>,
    /// Flip angles, degrees.
    pub flip_angle_deg: Vec<f64>,
    /// Dwell time of the image, us.
    pub dwell_us: Option<f64>,
}

/// The encoded space of the header.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Encoded {
    /// kx, ky, kz.
    pub matrix: [usize; 3],
    /// x, y, z, mm; `None` where the header does not state all of them.
    pub field_of_view_mm: Option<[f64; 3]>,
    /// Encoded field of view over that of the image, along the readout.
    pub readout_oversampling: Option<f64>,
}

/// One image; a 3-D scan gives one for each slice of its slab.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Image {
    /// Columns and rows.
    pub matrix: [usize; 2],
    /// Along columns and rows, mm.
    pub field_of_view_mm: [f64; 2],
    /// Along columns, rows and slices, mm.
    pub voxel_mm: [f64; 3],
}

/// How many of everything. Of counters, distinct values count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Images: every combination of what follows, without averages.
    pub images: usize,
    /// Slices; of a 3-D scan those that its slabs give.
    pub slices: usize,
    /// Contrasts (echoes).
    pub contrasts: usize,
    /// Cardiac phases.
    pub phases: usize,
    /// Repetitions.
    pub repetitions: usize,
    /// Sets.
    pub sets: usize,
    /// Most copies of one line.
    pub averages: usize,
}

/// Undersampling, found and claimed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Acceleration {
    /// The distinct factors in the data.
    pub found: Vec<usize>,
    /// Direction along which lines are missing, `ky` or `kz`.
    pub direction: Option<&'static str>,
    /// What the header states along ky and kz.
    pub claimed: Option<[f64; 2]>,
}

/// Where calibration lines are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationKind {
    /// None is needed.
    FullySampled,
    /// There is none.
    None,
    /// Lines of the image.
    Embedded,
    /// Lines of the same acquisition that are not all part of an image: a small block of a 3-D scan, or other frames.
    Apart,
    /// A scan of its own.
    Separate,
}

/// Calibration lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Calibration {
    /// Where they are from, as found in the data.
    pub kind: Option<CalibrationKind>,
    /// Which measurement a scan of their own is from.
    pub source: Option<CalibrationSource>,
    /// Fewest lines that an image has.
    pub lines: Option<usize>,
    /// Readouts that are flagged as calibration.
    pub flagged_readouts: usize,
    /// What the header states: `embedded`, `interleaved`, `separate`, `external` or `other`.
    pub claimed: Option<&'static str>,
}

/// The noise scan.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NoiseScan {
    /// Whether there is one.
    pub present: bool,
    /// Samples of a channel.
    pub samples: usize,
    /// Dwell time, us.
    pub dwell_us: Option<f64>,
    /// Whether the coils are prewhitened with it.
    pub used: Option<bool>,
    /// Why it is not.
    pub reason: Option<String>,
}

/// The part of one direction of k-space that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Part {
    /// `kx`, `ky` or `kz`.
    pub direction: &'static str,
    /// First place that was measured.
    pub first: usize,
    /// Last place that was measured.
    pub last: usize,
    /// Places of the matrix.
    pub of: usize,
    /// Measured part.
    pub fraction: f64,
}

/// Signal to noise ratio of a fully sampled image: mean of the object over the standard deviation of one coil's noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Snr {
    /// The estimate.
    pub value: f64,
    /// `noise_scan` or `calibration_lines`.
    pub noise_from: &'static str,
}

impl Report {
    /// What is known of `raw`, with the plan of its preparation or the reason why there is none.
    #[must_use]
    pub fn new(raw: &dyn RawScan, plan: Result<&Plan, &Error>) -> Self {
        let mut report = heads::report(raw);
        match plan {
            Ok(plan) => planned::complete(&mut report, raw, plan),
            Err(error) => report.reason = Some(error.to_string()),
        }
        report
    }

    /// The report of a scan that is planned for it without hashing its source.
    #[must_use]
    pub fn of(raw: &dyn RawScan) -> Self {
        let plan = prepare::plan(raw, &prepare::Options::default());
        Self::new(raw, plan.as_ref())
    }
}

/// First to last of `of` places.
fn part(direction: &'static str, first: usize, last: usize, of: usize) -> Part {
    let fraction = (last + 1 - first) as f64 / of as f64;
    Part { direction, first, last, of, fraction }
}

#[cfg(test)]
mod tests;
