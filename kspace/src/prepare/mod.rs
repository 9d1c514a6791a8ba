//! Preprocessing: from the readouts of a scanner to sorted, prewhitened k-space without readout oversampling.
//!
//! [`plan`] looks at the header, at the readout heads and at the noise scan only, so that it also serves to tell whether
//! a file can be reconstructed; [`Plan::write`] then streams the samples, one group of entries at a time.
//!
//! | step | module | what it does |
//! |---|---|---|
//! | `triage` | `triage` | tells imaging, calibration and noise readouts apart, refuses what is not reconstructed |
//! | `prewhiten` | `whiten` | makes the noise of the coils independent and of known size |
//! | `place_readout`, `remove_oversampling` | `oversampling` | asymmetric echoes, crop along the readout |
//! | `sort`, `average` | `sort` | lines to entries and rows, repeated lines averaged |
//! | `detect_sampling` | [`sampling`] | acceleration and calibration lines, from the data |
//!
//! Prewhitening acts on coils and cropping on readouts, so the order in which they are computed does not matter; cropping
//! goes first, because it halves the work. Module `header` keeps the acquisition values that do not identify a person.

pub mod epi;
mod header;
mod oversampling;
pub mod sampling;
mod sort;
mod stream;
mod triage;
mod whiten;

#[cfg(test)]
pub(crate) mod testing;

use std::io::Write;

use contract::prepared::{Entry, GEOMETRY_LENGTH, Step};
use contract::{PreparedMeta, ScanId};
use ndarray::Array2;
use serde_json::Value;

use crate::format::{RawScan, ReadoutHead};
use crate::prepared::{Layout, Shape, SmallArrays};
use crate::{Error, Result};

/// One entry is held in memory a few times over.
const MAX_ENTRY_BYTES: u64 = 4 << 30;
/// Fewer acquired lines than one in this many is a header that does not belong to the data.
const SPARSEST: usize = 64;

/// What the prepared file should say of its origin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The scan; `None` for a file prepared by hand.
    pub scan: Option<ScanId>,
    /// SHA-256 of the raw data file, after unpacking.
    pub source_sha256: String,
}

/// Everything known before the samples are read.
pub struct Plan {
    meta: PreparedMeta,
    shape: Shape,
    small: SmallArrays,
    layout: Layout,
    readout: oversampling::Readout,
    whitening: Option<whiten::Whitening>,
    lines: Vec<Vec<sort::Line>>,
}

/// Steps done and warnings found so far.
#[derive(Default)]
struct Log {
    steps: Vec<Step>,
    warnings: Vec<String>,
}

impl Log {
    fn step<const N: usize>(&mut self, name: &str, parameters: [(&str, Value); N]) {
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.steps.push(Step { name: name.to_owned(), parameters });
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

/// Plans the preparation of `raw`.
///
/// # Errors
/// [`Error::Unsupported`] for data that are not reconstructed, [`Error::Corrupt`] for a header and readouts that
/// contradict each other, [`Error::Truncated`] for a measurement that was cut, [`Error::Limit`] for a slice too large.
pub fn plan(raw: &dyn RawScan, options: &Options) -> Result<Plan> {
    let mut log = Log::default();
    let triage = triage::triage(raw, &mut log)?;
    let encoding = triage.encoding;
    let whitening = whiten::plan(raw, &triage, &mut log)?;
    let readout = oversampling::Readout::new(raw, &triage, &mut log)?;
    let sorted = sort::sort(raw, &triage, &mut log)?;

    let shape =
        Shape { entries: sorted.len(), coils: triage.coils, ky: encoding.encoded.matrix[1], kx: readout.kept() };
    let entry_bytes = shape.entry_bytes()?;
    if entry_bytes > MAX_ENTRY_BYTES {
        return Err(Error::Limit { what: "size of one slice in bytes", found: entry_bytes, limit: MAX_ENTRY_BYTES });
    }
    let acquired: usize = sorted.iter().map(|entry| entry.rows().count()).sum();
    if acquired.saturating_mul(SPARSEST) < shape.entries.saturating_mul(shape.ky) {
        let found = format!("{acquired} lines in {} slices of {} lines", shape.entries, shape.ky);
        return Err(Error::corrupt("phase encoding", found, format!("at least one line in {SPARSEST}")));
    }

    let samplings = sampling::detect_all(&sorted, shape.ky, &triage, &mut log)?;
    let mut mask = Array2::zeros((shape.entries, shape.ky));
    let mut geometry = Array2::zeros((shape.entries, GEOMETRY_LENGTH));
    let mut entries = Vec::with_capacity(shape.entries);
    for (index, (entry, sampling)) in sorted.iter().zip(samplings).enumerate() {
        entry.rows().for_each(|row| mask[[index, row]] = 1);
        for (to, from) in geometry.row_mut(index).iter_mut().zip(pose(&entry.head)) {
            *to = if from.is_finite() { from } else { 0.0 };
        }
        let sort::Key { slice, contrast, phase, repetition, set } = entry.key;
        entries.push(Entry { slice, contrast, phase, repetition, set, sampling });
    }
    let header = header::describe(raw.header(), encoding, &shape, &geometry, &mut log);
    let small = SmallArrays { mask, geometry, noise_cov: whitening.as_ref().map(|it| it.covariance.clone()) };
    let meta = PreparedMeta {
        schema: PreparedMeta::SCHEMA,
        scan: options.scan.clone(),
        header,
        entries,
        steps: log.steps,
        warnings: log.warnings,
        source_sha256: options.source_sha256.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let layout = Layout::new(&meta, &shape, small.noise_cov.is_some())?;
    let lines = sorted.into_iter().map(|entry| entry.lines).collect();
    Ok(Plan { meta, shape, small, layout, readout, whitening, lines })
}

/// Position and directions of a readout, as a row of the geometry array.
fn pose(head: &ReadoutHead) -> impl Iterator<Item = f32> {
    [head.position, head.read_dir, head.phase_dir, head.slice_dir].into_iter().flatten()
}

impl Plan {
    /// What the prepared file will say of itself.
    #[must_use]
    pub const fn meta(&self) -> &PreparedMeta {
        &self.meta
    }

    /// Shape of its k-space.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn byte_len(&self) -> u64 {
        self.layout.byte_len()
    }

    /// Writes the prepared file to `out` and hands `out` back, not flushed. `raw` is the scan that was planned;
    /// `progress` is told the entries done and their number.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for samples that are not numbers, errors of `raw`, [`Error::Io`] when `out` refuses.
    pub fn write<W: Write>(&self, raw: &dyn RawScan, out: W, progress: &mut dyn FnMut(usize, usize)) -> Result<W> {
        stream::write(self, raw, out, progress)
    }
}
