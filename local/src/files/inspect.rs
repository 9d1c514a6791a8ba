//! What is in an input, and what will become of it.

use std::path::Path;

use kspace::prepare::Compression;
use serde::Serialize;

use super::{Input, Scan, open};
use crate::inspect::{Look, look};
use crate::{Error, Result};

/// What is in an input, and what will become of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspected {
    /// Every scan, and every file that cannot be read.
    pub scans: Vec<Inspection>,
    /// Whether the default method reconstructs all of them.
    pub reconstructs: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What is in a scan, and what will become of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Inspection {
    /// What tells it from the others of the input; absent where it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was peeled off, outermost first; empty for a bare file.
    pub container: Vec<&'static str>,
    /// Length of the raw data file.
    pub bytes: Option<u64>,
    /// The scan itself; absent when it does not open.
    pub scan: Option<Look>,
    /// Whether the default method reconstructs it.
    pub reconstructs: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// Looks into a file without reconstructing it. A file that cannot be reconstructed is not an error: the answer says why.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Io`].
pub fn inspect(path: &Path, temp_dir: &Path, compression: Compression) -> Result<Inspected> {
    let refused = |name, reason| Inspection { name, reason: Some(reason), ..Inspection::default() };
    let scans = match open(path, temp_dir) {
        Err(Error::Data(error)) => vec![refused(None, error.to_string())],
        result => {
            let input = result?;
            let mut scans =
                input.scans.iter().map(|scan| inspect_scan(&input, scan, compression)).collect::<Result<Vec<_>>>()?;
            scans.extend(input.refused.iter().map(|file| refused(Some(file.name.clone()), file.reason.clone())));
            scans
        }
    };
    let failing: Vec<_> = scans.iter().filter_map(|scan| scan.reason.as_deref()).collect();
    let reason = failing.first().map(|first| match scans.len() {
        1 => (*first).to_owned(),
        all => format!("{} of {all} scans; the first: {first}", failing.len()),
    });
    Ok(Inspected { reconstructs: reason.is_none(), reason, scans })
}

fn inspect_scan(input: &Input, scan: &Scan, compression: Compression) -> Result<Inspection> {
    let file = input.files.get(scan.file);
    let look = look(&*scan.raw, compression)?;
    Ok(Inspection {
        name: scan.name.clone(),
        container: file.map(|file| file.container.clone()).unwrap_or_default(),
        bytes: file.map(|file| file.bytes),
        reconstructs: look.reconstructs,
        reason: look.report.reason.clone(),
        scan: Some(look),
    })
}
