//! BART's arrays (Berkeley Advanced Reconstruction Toolbox): `name.hdr`, text, and `name.cfl`, complex samples.
//!
//! The header holds up to 16 numbers after the line `# Dimensions`; the samples are complex64, little-endian, the first
//! dimension fastest. There are no flags, no positions and no field of view. (BART `src/misc/io.c`, `src/misc/mri.h`.)
//!
//! | module | what it does |
//! |---|---|
//! | `dims` | the header, and what each dimension means |
//! | `scan` | k-space behind [`super::RawScan`] |
//! | `writer` | writes arrays, and prepared files as arrays |

mod dims;
mod scan;
mod writer;

use std::ffi::OsStr;
use std::path::Path;

use crate::Result;
use crate::format::mapped::Mapped;

pub use dims::{DIMENSIONS, Dims};
pub use scan::BartScan;
pub use writer::{Writer, export, write};

/// Whether a path is one of samples, which have no signature.
#[must_use]
pub fn is_samples(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|ending| ending.eq_ignore_ascii_case("cfl"))
}

/// Opens the array that `path`, of either of its files, belongs to.
///
/// # Errors
/// [`crate::Error::Unsupported`] where the other file is missing and for arrays that are not Cartesian k-space;
/// [`crate::Error::Truncated`] and [`crate::Error::Corrupt`] for samples that are fewer or more than the header says.
pub fn open(path: &Path) -> Result<BartScan> {
    let sibling = |ending: &str, missing: &str| {
        let named = path.extension().and_then(OsStr::to_str).is_some_and(|it| it.eq_ignore_ascii_case(ending));
        let beside = [ending.to_owned(), ending.to_ascii_uppercase()].map(|ending| path.with_extension(ending));
        // A file under a name of our own is the one its content tells.
        let own = named || (ending == "hdr" && !is_samples(path));
        let found = if own { Some(path.to_owned()) } else { beside.into_iter().find(|path| path.is_file()) };
        found.ok_or_else(|| {
            crate::Error::unsupported(
                format!("BART {missing} is missing"),
                "send the .hdr and the .cfl file together, in one archive",
            )
        })
    };
    let header = Mapped::open(&sibling("hdr", "data come in two files, and the .hdr file")?)?;
    let samples = sibling("cfl", "data come in two files, and the .cfl file")?;
    scan::open(dims::parse(header.bytes())?, Mapped::open(&samples)?)
}
