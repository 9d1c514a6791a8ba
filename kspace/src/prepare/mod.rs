//! Preprocessing: from the readouts of a scanner to sorted, prewhitened k-space without readout oversampling.
//!
//! [`plan`] looks at the header, at the readout heads, at the noise scan and at some calibration lines only, so that it also
//! serves to tell whether a file can be reconstructed; [`Plan::write`] then streams the samples, some images at a time.
//!
//! | step | module | what it does |
//! |---|---|---|
//! | `triage` | `triage` | tells imaging, calibration, navigator and noise readouts apart, refuses what is not reconstructed |
//! | `prewhiten` | `whiten` | makes the noise of the coils independent and of known size |
//! | `place_readout` | `echo` | asymmetric echoes, samples to discard, reversed lines |
//! | `regrid_ramps`, `correct_phase` | [`epi`], `shots` | echo planar lines: samples on ramps, phase between the directions |
//! | `remove_oversampling` | `oversampling` | crop along the readout |
//! | `sort` | `sort` | lines to entries, rows and partitions |
//! | `average` | `average` | mean of repeated lines |
//! | `transform_partitions` | `volume`, `slab` | 3-D scans to slices, along the axis that is fully sampled |
//! | `detect_sampling` | [`sampling`] | acceleration and calibration lines, from the data |
//! | `separate_calibration` | `calibration` | calibration lines that are not part of the image |
//! | `compress_coils` | [`compress`] | fewer virtual coils, where asked for |
//! | `normalise` | `normalise` | samples of about the size 1 |
//!
//! Prewhitening and compression (`mixing`) act on coils and cropping on readouts, so the order in which they are computed does not
//! matter; cropping goes first, because it halves the work. Module `header` keeps the acquisition values that do not
//! identify a person; [`probe`] looks at some calibration lines before anything is written; `pattern` draws the sampling.

mod average;
mod calibration;
mod chain;
pub mod compress;
pub(crate) mod echo;
pub mod epi;
pub(crate) mod header;
mod mixing;
mod normalise;
mod oversampling;
mod pattern;
pub mod probe;
pub mod sampling;
mod shots;
mod slab;
mod sort;
mod stream;
mod triage;
mod volume;
mod whiten;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io::Write;

use contract::prepared::Step;
use contract::{PreparedMeta, ScanId};
use serde_json::Value;

use calibration::{Apart, Origin};
use chain::{Chain, Group};
pub use compress::Compression;
use oversampling::Readout;
pub use pattern::{Pattern, Place};
pub use probe::Estimate;
use sort::{Line, Reference, Sorted};
use volume::Axes;

use crate::format::RawScan;
use crate::prepared::{Layout, Shape, SmallArrays};
use crate::{Error, Result};

/// A slice is held in memory about four times over while it is prepared, in a function of 10 GB.
const MAX_SLICE_BYTES: u64 = 2 << 30;
/// A slab of a 3-D scan is held once, beside a few of its partitions.
const MAX_SLAB_BYTES: u64 = 7 << 30;
/// Fewer acquired lines than one in this many is a header that does not belong to the data.
const SPARSEST: usize = 64;

/// What the prepared file should say of its origin, and what is left to choice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// The scan; `None` for a file prepared by hand.
    pub scan: Option<ScanId>,
    /// SHA-256 of the raw data file, after unpacking.
    pub source_sha256: String,
    /// Virtual coils to keep.
    pub compression: Compression,
}

/// Everything known before the prepared file is written.
pub struct Plan {
    meta: PreparedMeta,
    small: SmallArrays,
    layout: Layout,
    chain: Chain,
    estimate: Option<Estimate>,
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
    raw.warnings().iter().for_each(|warning| log.warn(warning.as_str()));
    let triage = triage::triage(raw, &mut log)?;
    let encoding = triage.encoding;
    let whitening = whiten::plan(raw, &triage, &mut log)?;
    let recon_mm = encoding.recon.field_of_view_mm[0];
    let lines = triage.imaging.iter().chain(&triage.calibration);
    let readout = Readout::new(raw, encoding, recon_mm, lines, &mut log)?;
    let shots = shots::plan(raw, &triage, &readout, &mut log)?;
    let mut sorted = sort::sort(raw, &triage, &mut log)?;
    let axes = volume::arrange(&mut sorted, &triage, &mut log)?;
    check_size(&sorted, &axes, triage.coils, readout.kept())?;

    let mut groups = groups(sorted, &axes, &triage, &mut log)?;
    average::record(&groups, &mut log);
    let references = Reference::sort(raw, &triage);
    let acs_lines = calibration::assign(&mut groups, references, &axes, &triage, &mut log)?;
    let reference = match groups.iter().filter_map(|group| group.calibration.as_ref()).any(Apart::is_separate) {
        // Its steps are those of the image, which are recorded already.
        true => {
            Some(Readout::new(raw, triage.reference_encoding, recon_mm, triage.reference.iter(), &mut Log::default())?)
        }
        false => None,
    };
    warn_of_few_lines(&groups, acs_lines, &mut log);

    let points = reference.as_ref().map_or(readout.kept(), |reference| reference.kept().min(readout.kept()));
    let mut chain = Chain {
        shape: Shape {
            entries: groups.len() * axes.depth(),
            coils: triage.coils,
            ky: axes.rows,
            kx: readout.kept(),
            acs: acs_lines.map(|lines| (lines, points)),
        },
        coils: triage.coils,
        groups,
        axes,
        readout,
        reference,
        shots,
        mixing: whitening.as_ref().map(|it| it.mixing.clone()),
        scale: 1.0,
    };
    let estimate = chain.look(raw, options, whitening.as_ref(), &mut log)?;
    let slab = chain.shape.entry_bytes()?.saturating_mul(chain.axes.partitions as u64);
    if chain.axes.partitions > 1 && slab > MAX_SLAB_BYTES {
        let what = "size of one slab in bytes, which fewer virtual coils (coil compression) make smaller";
        return Err(Error::Limit { what, found: slab, limit: MAX_SLAB_BYTES });
    }

    let (entries, mask, geometry) = chain.describe(encoding)?;
    let header = header::describe(raw.header(), encoding, &chain.shape, &chain.axes, &geometry, &mut log);
    // The covariance is one of the coils that were measured; virtual coils have none of their own.
    let noise_cov = whitening.map(|it| it.covariance).filter(|_| chain.shape.coils == chain.coils);
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
    let layout = Layout::new(&meta, &chain.shape, noise_cov.is_some())?;
    Ok(Plan { meta, small: SmallArrays { mask, geometry, noise_cov }, layout, chain, estimate })
}

/// Checks that a slice fits, and that the matrix of the header belongs to the data.
fn check_size(sorted: &[Sorted], axes: &Axes, coils: usize, kx: usize) -> Result<()> {
    let shape = Shape { entries: sorted.len() * axes.depth(), coils, ky: axes.rows, kx, acs: None };
    let slice = shape.entry_bytes()?;
    if slice > MAX_SLICE_BYTES {
        return Err(Error::Limit { what: "size of one slice in bytes", found: slice, limit: MAX_SLICE_BYTES });
    }
    if sorted.len().saturating_mul(axes.depth()) > usize::from(u16::MAX) {
        return Err(Error::Limit { what: "number of images", found: shape.entries as u64, limit: u16::MAX.into() });
    }
    let acquired: usize = sorted.iter().map(|entry| entry.lines.len()).sum();
    let places = sorted.len().saturating_mul(axes.rows).saturating_mul(axes.partitions);
    if acquired.saturating_mul(SPARSEST) < places {
        let found = format!("{acquired} lines where the header has room for {places}");
        return Err(Error::corrupt("phase encoding", found, format!("at least one line in {SPARSEST}")));
    }
    Ok(())
}

fn groups(sorted: Vec<Sorted>, axes: &Axes, triage: &triage::Triage<'_>, log: &mut Log) -> Result<Vec<Group>> {
    let stated = sampling::stated(triage, axes).map(|factor| factor.round() as usize);
    let mut parts = Vec::with_capacity(sorted.len());
    for mut entry in sorted {
        let block = volume::split(&mut entry.lines, axes, stated)?;
        let apart = (!block.is_empty()).then(|| Apart::new(Origin::Image, block, axes.rows / 2));
        parts.push((entry, apart));
    }
    let lines: Vec<&[Line]> = parts.iter().map(|(entry, _)| entry.lines.as_slice()).collect();
    let samplings = sampling::detect_all(&lines, axes, triage, log)?;
    let group = |((entry, calibration), sampling): ((Sorted, _), _)| {
        let Sorted { key, head, lines } = entry;
        Group { key, head, lines, calibration, sampling }
    };
    Ok(parts.into_iter().zip(samplings).map(group).collect())
}

fn warn_of_few_lines(groups: &[Group], acs_lines: Option<usize>, log: &mut Log) {
    let of = |group: &Group| acs_lines.unwrap_or(group.sampling.acs_lines);
    let few = |group: &&Group| group.sampling.acceleration > 1 && of(group) <= group.sampling.acceleration;
    let entries = groups.iter().filter(few).count();
    if let Some(group) = groups.iter().find(few) {
        log.warn(format!(
            "{entries} entries at acceleration {} have {} calibration lines: too few for GRAPPA and RAKI",
            group.sampling.acceleration,
            of(group)
        ));
    }
}

impl Plan {
    /// Signal and noise of the scan, where they can be told.
    #[must_use]
    pub const fn estimate(&self) -> Option<Estimate> {
        self.estimate
    }

    /// What the prepared file will say of itself.
    #[must_use]
    pub const fn meta(&self) -> &PreparedMeta {
        &self.meta
    }

    /// Shape of its k-space.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.chain.shape
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
