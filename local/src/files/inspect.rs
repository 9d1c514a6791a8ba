//! What is in a file, and what will become of it.

use std::path::Path;

use contract::prepared::Sampling;
use contract::{Method, PreparedMeta};
use gpu_job::engine::Recipe;
use kspace::format::Flags;
use kspace::prepare::{self, Options};
use serde::Serialize;

use super::{Input, Scan, open};
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
    /// Name of the raw format.
    pub format: Option<String>,
    /// Length of the raw data file.
    pub bytes: Option<u64>,
    /// Readouts of every kind.
    pub readouts: Option<usize>,
    /// Whether there is a noise scan.
    pub noise_scan: Option<bool>,
    /// What would be reconstructed; absent when it cannot be prepared.
    pub contents: Option<Contents>,
    /// Whether the default method reconstructs it.
    pub reconstructs: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What would be reconstructed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contents {
    /// Samples along kx and lines along ky, oversampling removed.
    pub matrix: [usize; 2],
    /// Field of view of that matrix: x, y, z, mm.
    pub field_of_view_mm: [f64; 3],
    /// Receiver coils.
    pub coils: usize,
    /// Images: every combination of the counters below that was acquired.
    pub entries: usize,
    /// Distinct slices.
    pub slices: usize,
    /// Distinct contrasts.
    pub contrasts: usize,
    /// Distinct cardiac phases.
    pub phases: usize,
    /// Distinct repetitions.
    pub repetitions: usize,
    /// Distinct sets.
    pub sets: usize,
    /// The samplings found in the data, each once.
    pub sampling: Vec<Sampling>,
    /// Whether positions and directions come from the scanner.
    pub geometry_known: bool,
    /// Steps that preparation would do.
    pub steps: Vec<String>,
    /// What a person should know before trusting the images.
    pub warnings: Vec<String>,
}

/// Looks into a file without reconstructing it. A file that cannot be reconstructed is not an error: the answer says why.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Io`] only.
pub fn inspect(path: &Path, temp_dir: &Path) -> Result<Inspected> {
    let refused = |name, reason| Inspection { name, reason: Some(reason), ..Inspection::default() };
    let scans = match open(path, temp_dir) {
        Err(Error::Data(error)) => vec![refused(None, error.to_string())],
        result => {
            let input = result?;
            let scans = input.scans.iter().map(|scan| inspect_scan(&input, scan));
            let unread = input.refused.iter().map(|file| refused(Some(file.name.clone()), file.reason.clone()));
            scans.chain(unread).collect()
        }
    };
    let failing: Vec<_> = scans.iter().filter_map(|scan| scan.reason.as_deref()).collect();
    let reason = failing.first().map(|first| match scans.len() {
        1 => (*first).to_owned(),
        all => format!("{} of {all} scans; the first: {first}", failing.len()),
    });
    Ok(Inspected { reconstructs: reason.is_none(), reason, scans })
}

fn inspect_scan(input: &Input, scan: &Scan) -> Inspection {
    let file = input.files.get(scan.file);
    let raw = &*scan.raw;
    let known = Inspection {
        name: scan.name.clone(),
        container: file.map(|file| file.container.clone()).unwrap_or_default(),
        format: Some(raw.format().to_owned()),
        bytes: file.map(|file| file.bytes),
        readouts: Some(raw.heads().len()),
        noise_scan: Some(raw.heads().iter().any(|head| head.flags.has(Flags::NOISE))),
        ..Inspection::default()
    };
    // The hash is of no interest here and costs a pass over the file.
    let plan = match prepare::plan(raw, &Options::default()) {
        Err(error) => return Inspection { reason: Some(error.to_string()), ..known },
        Ok(plan) => plan,
    };
    let (meta, shape) = (plan.meta(), plan.shape());
    let contents = contents(meta, shape.coils, [shape.kx, shape.ky]);
    let reason = contents.sampling.iter().find_map(|sampling| obstacle(*sampling, shape.coils, shape.kx));
    Inspection { contents: Some(contents), reconstructs: reason.is_none(), reason, ..known }
}

/// Why the default method cannot fill an entry.
fn obstacle(sampling: Sampling, coils: usize, kx: usize) -> Option<String> {
    Recipe::new(Method::default(), None, 0).check(&sampling, coils, kx).err()
}

fn contents(meta: &PreparedMeta, coils: usize, matrix: [usize; 2]) -> Contents {
    let distinct = |counter: fn(&contract::prepared::Entry) -> u16| {
        meta.entries.iter().map(counter).collect::<std::collections::BTreeSet<_>>().len()
    };
    let mut sampling: Vec<Sampling> = Vec::new();
    for entry in &meta.entries {
        if !sampling.contains(&entry.sampling) {
            sampling.push(entry.sampling);
        }
    }
    Contents {
        matrix,
        field_of_view_mm: meta.header.field_of_view_mm,
        coils,
        entries: meta.entries.len(),
        slices: distinct(|entry| entry.slice),
        contrasts: distinct(|entry| entry.contrast),
        phases: distinct(|entry| entry.phase),
        repetitions: distinct(|entry| entry.repetition),
        sets: distinct(|entry| entry.set),
        sampling,
        geometry_known: meta.header.geometry_known,
        steps: meta.steps.iter().map(|step| step.name.clone()).collect(),
        warnings: meta.warnings.clone(),
    }
}
