//! Copies of DICOM results that name their patients again, on premises.
//!
//! Results name nobody: the patient is the scan id. A side file, which never leaves the site, says who that is. It is a table of
//! comma-separated values whose first row names the columns: `scan`, which is the id of a scan or its folder of results, and any of
//! [`kspace::image::dicom::identity::FIELDS`].
//!
//! Everything is checked before the first byte is written, and the copies appear at once or not at all. No message holds a value of the
//! side file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use contract::keys::MANIFEST_NAME;
use contract::scan::hex;
use contract::{Manifest, Record as _, ScanId};
use kspace::image::dicom::identity::{FIELDS, Field, Identity, identify};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// The column that says which scan a row is of.
const SCAN: &str = "scan";
/// Folders within folders that are looked into.
const DEEPEST: usize = 16;
/// Bytes of a side file.
const LARGEST: u64 = 64 << 20;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reidentified {
    /// Scans in the order of the side file, and their DICOM files.
    pub scans: Vec<Copied>,
    /// Scans of the results that the side file does not have.
    pub left_out: usize,
}

/// One scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Its id.
    pub scan: ScanId,
    /// DICOM files.
    pub files: usize,
}

/// Complete results of one scan.
struct Found {
    /// Below the folder of results.
    folder: PathBuf,
    manifest: Manifest,
}

/// Writes copies of the DICOM files below `results` to the folder `out`, with what the table `names` says of their patients. `stopped` is
/// asked between files.
///
/// # Errors
/// [`Error::Usage`] for a side file that is not as it must be and for a place that cannot be written to, [`Error::Data`] for DICOM files
/// that are not as they were written, [`Error::Interrupted`]. There is no folder `out` then.
pub fn reidentify(results: &Path, names: &Path, out: &Path, stopped: &dyn Fn() -> bool) -> Result<Reidentified> {
    let results = results.canonicalize().map_err(Error::io("opening the results"))?;
    let parent = place(&results, out)?;
    let mut found = Vec::new();
    look(&results, Path::new(""), 0, &mut found)?;
    let rows = rows(names, &results, &found)?;

    let private = fs::Permissions::from_mode(0o700);
    let scratch = tempfile::Builder::new().prefix(".reidentify-").permissions(private).tempdir_in(&parent);
    let scratch = scratch.map_err(Error::io("making a folder beside --out"))?;
    let mut scans = Vec::new();
    for (at, identity) in &rows {
        let Found { folder, manifest } = &found[*at];
        let to = scratch.path().join(folder);
        fs::create_dir_all(&to).map_err(Error::io("making a folder for copies"))?;
        let mut files = 0;
        for (name, sha256) in images(manifest) {
            if stopped() {
                return Err(Error::Interrupted);
            }
            let original = results.join(folder).join("dicom").join(name);
            let content = fs::read(original).map_err(Error::io("reading a DICOM file of the results"))?;
            if hex(&Sha256::digest(&content)) != *sha256 {
                return Err(Error::Usage(format!(
                    "a DICOM file of scan {} is not the one of its manifest: copy the results again",
                    manifest.scan
                )));
            }
            write(&to.join(name), &identify(&content, &manifest.scan, identity)?)?;
            files += 1;
        }
        if files == 0 {
            return Err(Error::Usage(format!(
                "scan {} has no DICOM files: reconstruct it with --dicom classic or enhanced",
                manifest.scan
            )));
        }
        scans.push(Copied { scan: manifest.scan.clone(), files });
    }
    // A rename would take the place of an empty folder that appeared meanwhile, and of nothing else.
    fs::rename(scratch.path(), out).map_err(Error::io("moving the copies to --out"))?;
    // What it would remove is no longer there.
    let _ = scratch.keep();
    Ok(Reidentified { left_out: found.len() - scans.len(), scans })
}

/// The folder in which `out` will be made.
fn place(results: &Path, out: &Path) -> Result<PathBuf> {
    if out.symlink_metadata().is_ok() {
        return Err(Error::Usage("--out exists already: give the name of a new folder".to_owned()));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("making the folder around --out"))?;
    let parent = parent.canonicalize().map_err(Error::io("opening the folder around --out"))?;
    if parent.starts_with(results) {
        return Err(Error::Usage(
            "--out lies among the results, whose share reaches the cloud: give a folder elsewhere".to_owned(),
        ));
    }
    Ok(parent)
}

/// Finds complete results below `folder`, in the order of their paths. Links are not followed.
fn look(results: &Path, folder: &Path, depth: usize, found: &mut Vec<Found>) -> Result<()> {
    let opened = || Error::io("looking through the results");
    let mut folders = Vec::new();
    for entry in fs::read_dir(results.join(folder)).map_err(opened())? {
        let entry = entry.map_err(opened())?;
        let kind = entry.file_type().map_err(opened())?;
        if kind.is_dir() && depth < DEEPEST {
            folders.push(folder.join(entry.file_name()));
        } else if kind.is_file() && entry.file_name() == MANIFEST_NAME {
            let content = fs::read(entry.path()).map_err(opened())?;
            // Other software has files of that name, too.
            if let Ok(manifest) = Manifest::from_json(&content) {
                found.push(Found { folder: folder.to_owned(), manifest });
            }
        }
    }
    folders.sort();
    folders.iter().try_for_each(|folder| look(results, folder, depth + 1, found))
}

/// Names within the folder `dicom` and hashes. A manifest comes from a share: what would lead out of the folder is no DICOM file.
fn images(manifest: &Manifest) -> impl Iterator<Item = (&str, &String)> {
    manifest.outputs.iter().filter_map(|output| {
        let name = output.name.strip_prefix("dicom/")?;
        let mut parts = Path::new(name).components();
        let single = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
        single.then_some((name, &output.sha256))
    })
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(Error::io("writing a copy"))
}

/// Which results each row is of, and what it says.
fn rows(names: &Path, results: &Path, found: &[Found]) -> Result<Vec<(usize, Identity)>> {
    let size = fs::metadata(names).map_err(Error::io("opening --names"))?.len();
    if size > LARGEST {
        return Err(Error::Usage(format!("--names has {size} bytes, the limit is {LARGEST}: is it the right file?")));
    }
    let content = fs::read(names).map_err(Error::io("reading --names"))?;
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let columns = columns(reader.headers().map_err(|error| unreadable(&error))?)?;
    let mut rows = Vec::new();
    let mut seen = BTreeMap::<usize, u64>::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let refused = |what: String| Err(Error::Usage(format!("line {line} of --names {what}")));
        let (mut at, mut identity) = (None, Identity::default());
        for (column, value) in columns.iter().zip(&record) {
            match column {
                None => match &matching(value, results, found)[..] {
                    [one] => at = Some(*one),
                    [] => {
                        return refused("is of no scan among the results: give its id or its folder".to_owned());
                    }
                    _ => return refused("is of several scans: give the id of one".to_owned()),
                },
                Some(field) => {
                    if let Err(expected) = identity.set(*field, value) {
                        return refused(format!("has another {} than {expected}", field.name));
                    }
                }
            }
        }
        let Some(at) = at else { continue };
        if let Some(first) = seen.insert(at, line) {
            return refused(format!("is of the same scan as line {first}: leave one of them out"));
        }
        rows.push((at, identity));
    }
    if rows.is_empty() {
        return Err(Error::Usage("--names has no row: expected one for each scan".to_owned()));
    }
    Ok(rows)
}

/// What each column holds, `None` for the scan. The names may be those of a patient where the first row is missing.
fn columns(header: &csv::StringRecord) -> Result<Vec<Option<Field>>> {
    let known = || [SCAN].into_iter().chain(FIELDS.map(|field| field.name)).collect::<Vec<_>>().join(", ");
    let mut columns = Vec::new();
    for (name, number) in header.iter().zip(1..) {
        let field = FIELDS.into_iter().find(|field| field.name == name);
        if field.is_none() && name != SCAN {
            return Err(Error::Usage(format!(
                "column {number} of --names is unknown: expected a first row of these, with commas between them: {}",
                known()
            )));
        }
        if columns.contains(&field) {
            return Err(Error::Usage(format!("column {number} of --names is there twice: leave one of them out")));
        }
        columns.push(field);
    }
    if !columns.contains(&None) {
        return Err(Error::Usage(format!("--names has no column {SCAN}: expected {}", known())));
    }
    Ok(columns)
}

/// The results that a row can mean: by the id of the scan, else by the folder, else by the last part of it.
fn matching(value: &str, results: &Path, found: &[Found]) -> Vec<usize> {
    let whole = Path::new(value);
    let name = |found: &Found| found.folder.file_name().or(results.file_name()).map(ToOwned::to_owned);
    let ways: [&dyn Fn(&Found) -> bool; 3] = [
        &|found| found.manifest.scan.as_str() == value,
        &|found| !value.is_empty() && found.folder == whole,
        &|found| name(found).is_some_and(|name| name == whole.as_os_str()),
    ];
    let by = |way: &dyn Fn(&Found) -> bool| (0..found.len()).filter(|at| way(&found[*at])).collect::<Vec<_>>();
    ways.into_iter().map(by).find(|matches| !matches.is_empty()).unwrap_or_default()
}

/// What is wrong with the table, without what is in it.
fn unreadable(error: &csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} values, the first row has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8: save the table as \"CSV UTF-8\"".to_owned(),
        _ => "cannot be read as comma-separated values".to_owned(),
    };
    Error::Usage(format!("line {line} of --names {what}"))
}
