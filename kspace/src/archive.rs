//! Archives as users send them, streamed.
//!
//! An archive is never unpacked to names of its own. Its kind is told by its first bytes, compression, tar and zip are
//! peeled off as the bytes pass, members are judged by their content, and the raw data files among them are copied to a
//! folder of the caller's under numbers. Members may be archives themselves, one level deep. An archive is read to its
//! very end, so that a cut upload is noticed even when the raw files in it look whole. Only a zip archive, whose
//! directory lies at its end, is stored on its way, in a file without a name.
//!
//! | module | what it does |
//! |---|---|
//! | `walk` | peels off one layer after the other |
//! | `zip` | the directory of a zip archive and the members it points to |
//! | `codec` | the compressions that are read |
//! | `content` | tells what a file is by its first bytes |
//! | `scratch` | stores raw files, the two files of BART data as one |
//! | `names` | tells raw files apart by the names they had |
//! | `meter` | counts bytes on both sides of a decoder and stops at the limits |

mod codec;
mod content;
mod meter;
mod names;
mod scratch;
mod walk;
mod zip;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use codec::Codec;
pub use content::{Content, OtherRaw};
use meter::Meter;
use scratch::{Member, Scratch};
use walk::Walk;

use crate::{Error, Result};

/// What an upload may cost, all archives in it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after unpacking, of all members together.
    pub max_output_bytes: u64,
    /// Bytes after unpacking for each byte before. k-space never exceeds 3.
    pub max_ratio: u64,
    /// Members of archives.
    pub max_entries: u64,
    /// Raw data files.
    pub max_files: u64,
    /// When to give up.
    pub deadline: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_output_bytes: 64 << 30, max_ratio: 100, max_entries: 10_000, max_files: 64, deadline: None }
    }
}

/// A raw data file that was extracted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawFile {
    /// Where it is stored; for BART data the header, beside its data.
    pub path: PathBuf,
    /// Its name in the archive without folder and endings, made different from all others; empty for a file that was in
    /// no archive. It can hold the name of a person.
    pub name: String,
    /// Its length; for BART data that of both files.
    pub bytes: u64,
    /// Its SHA-256; for BART data that of the samples. Empty where it was not extracted and is not known.
    pub sha256: String,
    /// What was peeled off, outermost first, such as `["gzip", "tar"]`; empty for a bare file.
    pub container: Vec<&'static str>,
}

impl RawFile {
    /// What is wrong with it. What was packed is all there once its archive is.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        if self.container.is_empty() { error } else { error.settled() }
    }
}

/// A file that is damaged, encrypted, without its other half, or of a kind that must be converted.
#[derive(Debug)]
pub struct Refused {
    /// As [`RawFile::name`].
    pub name: String,
    /// Why.
    pub error: Error,
}

/// What was extracted.
#[derive(Debug, Default)]
pub struct Extracted {
    /// Raw data files, in the order of the archive.
    pub files: Vec<RawFile>,
    /// Files that are not read, in the order of the archive.
    pub refused: Vec<Refused>,
    /// What else there was.
    pub others: Vec<Content>,
}

/// Copies the raw data files in `input` to the folder `scratch`, as `0.h5`, `1.dat` and so on, reading `input` to its
/// end. A damaged file in an archive that is whole is refused by itself. On an error, what was stored until then is left to the caller, who owns the folder.
///
/// # Errors
/// [`Error::Truncated`] when the archive ends early, [`Error::Corrupt`] when it is damaged, [`Error::Limit`] when a
/// limit is passed, [`Error::Unsupported`] when it holds no raw data file, lies too deep or is of a kind that is not
/// read, [`Error::Io`] when `input` or `scratch` fail.
pub fn extract(input: impl Read, scratch: &Path, limits: &Limits) -> Result<Extracted> {
    let meter = Meter::new(*limits);
    let mut walk = Walk::new(meter.clone(), Scratch::new(scratch));
    let packed = walk.visit(Box::new(meter.source(input)), Member::default(), None)?;
    let mut extracted = walk.finish();
    if extracted.files.is_empty()
        && extracted.refused.len() == 1
        && let Some(only) = extracted.refused.pop()
    {
        return Err(only.error);
    }
    if extracted.files.is_empty() && extracted.refused.is_empty() {
        return Err(match extracted.others.as_slice() {
            [bare] if !packed => bare.refusal(),
            others => nothing(others),
        });
    }
    Ok(extracted)
}

/// Why an archive without raw data is refused.
fn nothing(others: &[Content]) -> Error {
    Error::unsupported(
        format!("the archive holds no raw data file, only {}", describe(others)),
        "send the raw data of the scanner, such as ISMRMRD HDF5",
    )
}

/// `2 × a text file, 1 × a DICOM file`, without any name.
fn describe(contents: &[Content]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for content in contents {
        *counts.entry(content.name()).or_insert(0_usize) += 1;
    }
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}
