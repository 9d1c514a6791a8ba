//! The schema of the prepared file.
//!
//! A prepared file is one safetensors file per reconstruction job: an 8-byte length, a JSON header, then raw
//! little-endian arrays. One slice of k-space is one contiguous block, so a job reads a slice with one ranged request.
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `kspace` | C64 | entry, coil, ky, kx | sorted, prewhitened, oversampling removed; zero where nothing was acquired |
//! | `acs` | C64 | entry, coil, line, point | calibration lines of their own, prepared like `kspace`; absent where they are part of it |
//! | `mask` | U8 | entry, ky | 1 where a line of `kspace` was acquired |
//! | `noise_cov` | C64 | coil, coil | noise covariance before prewhitening; absent without a noise scan |
//! | `geometry` | F32 | entry, 12 | position, read, phase and slice direction; LPS, mm |
//!
//! The lines of `acs` are neighbours and show the field of view of the image. The centre of k-space is at point `points / 2`
//! of a line; where there are enough lines for it, at line `lines / 2`.
//!
//! An entry is one combination of slice, contrast, phase, repetition and set: [`Entry`] lists them. The string map
//! `__metadata__` holds [`PreparedMeta`], one JSON value per field.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{ContractError, ScanId, check_schema};

/// Tensor of sorted k-space.
pub const KSPACE: &str = "kspace";
/// Tensor of calibration lines that are not all part of k-space.
pub const ACS: &str = "acs";
/// Tensor of acquired lines.
pub const MASK: &str = "mask";
/// Tensor of the noise covariance.
pub const NOISE_COV: &str = "noise_cov";
/// Tensor of positions and directions.
pub const GEOMETRY: &str = "geometry";
/// Floats per entry of [`GEOMETRY`].
pub const GEOMETRY_LENGTH: usize = 12;

const RECORD: &str = "prepared file";

/// Everything about a prepared file that is not an array. De-identified: nothing in it names a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedMeta {
    /// Layout of the file.
    pub schema: u32,
    /// The scan; absent for a file prepared by hand.
    pub scan: Option<ScanId>,
    /// Acquisition values, chosen from the raw header by an allow-list.
    pub header: Header,
    /// What each entry of the arrays is.
    pub entries: Vec<Entry>,
    /// The preprocessing steps done, in order, with their parameters.
    pub steps: Vec<Step>,
    /// What a person should know before trusting the data.
    pub warnings: Vec<String>,
    /// SHA-256 of the raw data file, after unpacking.
    pub source_sha256: String,
    /// Release of raki-cloud that prepared the file.
    pub tool_version: String,
}

/// Acquisition values that do not identify anyone. Free text of the scanner is left out, since people type names into it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Header {
    /// Manufacturer.
    pub vendor: Option<String>,
    /// Scanner model.
    pub model: Option<String>,
    /// Field strength, T.
    pub field_strength_t: Option<f64>,
    /// Larmor frequency of hydrogen, Hz.
    pub h1_frequency_hz: Option<f64>,
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
    /// Matrix of the arrays in this file: kx, ky, kz.
    pub matrix: [usize; 3],
    /// Field of view of that matrix: x, y, z, mm.
    pub field_of_view_mm: [f64; 3],
    /// Matrix the scanner would reconstruct: x, y, z.
    pub recon_matrix: [usize; 3],
    /// Field of view the scanner would reconstruct: x, y, z, mm.
    pub recon_field_of_view_mm: [f64; 3],
    /// Acceleration along ky as the raw header states it.
    pub stated_acceleration: Option<f64>,
    /// Whether positions and directions come from the scanner; if not, orientation is unknown.
    pub geometry_known: bool,
}

/// One 2-D k-space to reconstruct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Slice counter of the raw data.
    pub slice: u16,
    /// Contrast (echo) counter.
    pub contrast: u16,
    /// Cardiac phase counter.
    pub phase: u16,
    /// Repetition counter.
    pub repetition: u16,
    /// Set counter.
    pub set: u16,
    /// The sampling of ky found in the data.
    pub sampling: Sampling,
}

/// Which lines of ky were acquired, found in the data and not taken from the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// Distance R of the regular grid, 1 for a fully sampled entry.
    pub acceleration: usize,
    /// The grid is every line with `ky % acceleration == offset`.
    pub offset: usize,
    /// First line of the fully sampled calibration block.
    pub acs_first: usize,
    /// Lines of the calibration block within k-space; 0 when there is none, and `acs_first` is the centre line then.
    pub acs_lines: usize,
    /// First acquired line.
    pub first: usize,
    /// Last acquired line. Lines outside `first..=last` were never measured (partial Fourier).
    pub last: usize,
}

/// A preprocessing step that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Name of the step.
    pub name: String,
    /// Its parameters and what it found.
    pub parameters: BTreeMap<String, serde_json::Value>,
}

impl Step {
    /// The step that makes the noise of the coils independent. With both dwell times, `dwell_us` and `dwell_noise_us`, known, the real
    /// and the imaginary part of noise have a variance of 1 each after it.
    pub const PREWHITEN: &str = "prewhiten";
    /// The step that averages repeated lines; `copies` is there where every line has as many.
    pub const AVERAGE: &str = "average";
    /// The step that turns the partitions of a 3-D scan into slices; `fewest_partitions_of_a_line` below `partitions` means that some
    /// were not acquired, which leaves less noise in a slice.
    pub const PARTITIONS: &str = "transform_partitions";
    /// The step that takes calibration lines which are not part of the image.
    pub const SEPARATE_CALIBRATION: &str = "separate_calibration";
    /// The step that divides every sample by `factor`.
    pub const NORMALISE: &str = "normalise";

    /// A parameter that is a number.
    #[must_use]
    pub fn number(&self, parameter: &str) -> Option<f64> {
        self.parameters.get(parameter)?.as_f64()
    }
}

impl PreparedMeta {
    /// What every sample was divided by: a sample times this is in the unit of the raw data, or of the noise after prewhitening.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.step(Step::NORMALISE).and_then(|step| step.number("factor")).unwrap_or(1.0)
    }

    /// The step of this name, where it was done.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The schema number this build reads and writes.
    pub const SCHEMA: u32 = 1;

    /// The string map of a safetensors header.
    ///
    /// # Errors
    /// [`ContractError::Json`] when a number in it is not finite.
    pub fn to_metadata(&self) -> Result<HashMap<String, String>, ContractError> {
        let json = |source| ContractError::Json { record: RECORD, source };
        let serde_json::Value::Object(fields) = serde_json::to_value(self).map_err(json)? else {
            return Err(ContractError::MissingMetadata("schema"));
        };
        Ok(fields.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }

    /// Reads the string map of a safetensors header.
    ///
    /// # Errors
    /// [`ContractError::MissingMetadata`], [`ContractError::Schema`] or [`ContractError::Json`].
    pub fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, ContractError> {
        let json = |source| ContractError::Json { record: RECORD, source };
        let schema = metadata.get("schema").ok_or(ContractError::MissingMetadata("schema"))?;
        check_schema(RECORD, serde_json::from_str(schema).map_err(json)?, Self::SCHEMA)?;
        let fields = metadata
            .iter()
            .map(|(name, text)| Ok((name.clone(), serde_json::from_str(text).map_err(json)?)))
            .collect::<Result<serde_json::Map<_, _>, ContractError>>()?;
        serde_json::from_value(fields.into()).map_err(json)
    }
}
