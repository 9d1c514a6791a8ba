//! One file on this machine: what is in it, prepared, reconstructed; and a synthetic one.
//!
//! The same code as in the functions and in the GPU job, so the images are the same to the bit.

mod inspect;

use std::cell::OnceCell;
use std::fs::File;
use std::io::{BufWriter, Read as _};
use std::path::Path;

use contract::keys::part_names;
use contract::scan::hex;
use contract::{DevicePreference, ImageOptions, Manifest, PreparedMeta};
use gpu_job::engine::Recipe;
use kspace::archive::{self, Content, Extracted, RawFile};
use kspace::format::measurements::Measurement;
use kspace::format::{RawScan, bart};
use kspace::opened::Opened;
use kspace::phantom::Phantom;
use kspace::prepare::{self, Compression, Options, Plan};
use kspace::prepared::{FileSource, Reader};
use ndarray::Array2;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub use inspect::{Inspected, Inspection, inspect};

use crate::{Error, Result};

/// An opened raw file or archive, with every scan in it.
pub struct Input {
    /// The scans, in the order of the input.
    pub scans: Vec<Scan>,
    /// Files that cannot be read.
    pub refused: Vec<Refused>,
    files: Vec<RawFile>,
    /// Of a file that is read in place; found out when it is asked for.
    bare_sha256: OnceCell<String>,
    // Dropped last, after the files in it were closed.
    _unpacked: Option<tempfile::TempDir>,
}

/// One scan of an [`Input`].
pub struct Scan {
    /// What tells it from the others, as a part of a path; `None` where it is the only one.
    pub name: Option<String>,
    raw: Box<dyn RawScan>,
    file: usize,
}

/// A file of an [`Input`] that cannot be read, or a scan that cannot be reconstructed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// As [`Scan::name`].
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Opens a raw file in place, or unpacks an archive into a folder of its own in `temp_dir`.
///
/// # Errors
/// [`Error::Usage`] when there is no such file, [`Error::Data`] when it holds no readable raw data.
pub fn open(path: &Path, temp_dir: &Path) -> Result<Input> {
    let file = File::open(path).map_err(|error| Error::Usage(format!("the input cannot be opened: {error}")))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Error::Usage("the input is not a file".to_owned()));
    }
    // BART data have no signature of their own; the header beside them tells.
    let header = path.with_extension("hdr");
    if has_ending(path, "cfl") && header.is_file() {
        return open(&header, temp_dir);
    }
    let mut head = Vec::new();
    (&file).take(Content::HEAD_LENGTH).read_to_end(&mut head).map_err(Error::io("reading the input"))?;
    if Content::of(&head).is_raw() || bart::is_samples(path) {
        let mut bytes = file.metadata().map_err(Error::io("reading the input"))?.len();
        if has_ending(path, "hdr") {
            // The samples; where there are none, opening the header says so.
            bytes += std::fs::metadata(path.with_extension("cfl")).map_or(0, |samples| samples.len());
        }
        let bare = RawFile { path: path.to_owned(), bytes, ..RawFile::default() };
        return assembled(Extracted { files: vec![bare], ..Extracted::default() }, None);
    }
    let file = File::open(path).map_err(Error::io("opening the input"))?;
    let folder = tempfile::tempdir_in(temp_dir).map_err(Error::io("making a scratch folder"))?;
    let extracted = archive::extract(&file, folder.path(), &archive::Limits::default())?;
    assembled(extracted, Some(folder))
}

/// The scans of some files, named as they would be in the cloud.
fn assembled(extracted: Extracted, unpacked: Option<tempfile::TempDir>) -> Result<Input> {
    let mut opened = Opened::of(extracted);
    if opened.scans.is_empty()
        && opened.refused.len() == 1
        && let Some(only) = opened.refused.pop()
    {
        return Err(only.error.into());
    }
    let mut names = part_names(opened.names()).into_iter();
    let several = opened.scans.len() + opened.refused.len() > 1;
    let scan = |(measurement, name): (Measurement, String)| Scan {
        name: several.then_some(name),
        raw: measurement.scan,
        file: measurement.file,
    };
    let scans: Vec<_> = opened.scans.into_iter().zip(names.by_ref()).map(scan).collect();
    let refusal = |(file, name): (archive::Refused, String)| Refused { name, reason: file.error.to_string() };
    let refused: Vec<_> = opened.refused.into_iter().zip(names).map(refusal).collect();
    if scans.is_empty() {
        let what = match refused.first() {
            Some(first) => format!("none of the {} raw files can be read; the first: {}", refused.len(), first.reason),
            None => "the input holds no scan, only noise measurements".to_owned(),
        };
        return Err(kspace::Error::unsupported(
            what,
            "send the raw data of the scanner with the noise that belongs to them",
        )
        .into());
    }
    Ok(Input { scans, refused, files: opened.files, bare_sha256: OnceCell::new(), _unpacked: unpacked })
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

impl Input {
    /// The preparation of a scan; reads a bare file once to hash it.
    fn plan(&self, scan: &Scan, compression: Compression) -> Result<Plan> {
        let source_sha256 = self.files.get(scan.file).map(|file| self.sha256(file)).transpose()?.unwrap_or_default();
        let plan = prepare::plan(&*scan.raw, &Options { scan: None, source_sha256, compression });
        Ok(plan.map_err(|error| self.explain(scan, error))?)
    }

    fn sha256(&self, file: &RawFile) -> Result<String> {
        if !file.sha256.is_empty() {
            return Ok(file.sha256.clone());
        }
        if let Some(known) = self.bare_sha256.get() {
            return Ok(known.clone());
        }
        let found = sha256(&file.path)?;
        Ok(self.bare_sha256.get_or_init(|| found).clone())
    }

    fn explain(&self, scan: &Scan, error: kspace::Error) -> kspace::Error {
        match self.files.get(scan.file) {
            Some(file) => file.explain(error),
            None => error,
        }
    }

    /// Prepares one scan. The prepared file appears complete or not at all; an output that ends in `.cfl` is a BART array with
    /// its header beside it. `progress` hears of entries done and of how
    /// many there are.
    ///
    /// # Errors
    /// [`Error::Data`] when it cannot be prepared, [`Error::Io`] when the file cannot be written.
    pub fn prepare(
        &self,
        scan: &Scan,
        out: &Path,
        compression: Compression,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Prepared> {
        let plan = self.plan(scan, compression)?;
        let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(Error::io("making the output folder"))?;
        let file = tempfile::NamedTempFile::new_in(dir).map_err(Error::io("making the prepared file"))?;
        let written = plan.write(&*scan.raw, BufWriter::with_capacity(1 << 20, file), progress);
        let writer = written.map_err(|error| self.explain(scan, error))?;
        let file = writer.into_inner().map_err(|error| Error::io("writing the prepared file")(error.into_error()))?;
        let meta = plan.meta().clone();
        if bart::is_samples(out) {
            let prepared = Reader::open(FileSource::open(file.path())?)?;
            let bytes = bart::export(&prepared, &out.with_extension(""), &mut |_, _| {})?;
            return Ok(Prepared { bytes, meta });
        }
        persist(file, out)?;
        Ok(Prepared { bytes: plan.byte_len(), meta })
    }

    /// Whether there is more than one scan, those that cannot be read included.
    #[must_use]
    pub const fn is_several(&self) -> bool {
        self.scans.len() + self.refused.len() > 1
    }

    /// The scan of an input that holds one.
    ///
    /// # Errors
    /// [`Error::Usage`] for an input with several.
    pub fn only(&self) -> Result<&Scan> {
        match self.scans.as_slice() {
            [scan] if !self.is_several() => Ok(scan),
            scans => Err(Error::Usage(format!(
                "the input holds {} scans, and this takes one",
                scans.len() + self.refused.len()
            ))),
        }
    }
}

/// SHA-256 of a raw file; of BART data, that of the samples beside the header.
fn sha256(path: &Path) -> Result<String> {
    let path = if has_ending(path, "hdr") { path.with_extension("cfl") } else { path.to_owned() };
    let mut file = File::open(path).map_err(Error::io("opening the input"))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(Error::io("reading the input"))? {
            0 => return Ok(hex(&hash.finalize())),
            length => hash.update(&block[..length]),
        }
    }
}

/// A prepared file that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prepared {
    /// Length.
    pub bytes: u64,
    /// What it says of itself.
    pub meta: PreparedMeta,
}

/// Prepares a raw file or archive that holds one scan, as [`Input::prepare`] does.
///
/// # Errors
/// [`Error::Usage`] for an input with several scans; those of [`open`] and [`Input::prepare`].
pub fn prepare(path: &Path, out: &Path, temp_dir: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Prepared> {
    let input = open(path, temp_dir)?;
    input.prepare(input.only()?, out, Compression::None, progress)
}

fn persist(file: tempfile::NamedTempFile, out: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // A scratch file is private; what a person asked for is as readable as any new file.
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(Error::io("writing the output"))?;
    file.persist(out).map_err(|error| Error::io("writing the output")(error.error))?;
    Ok(())
}

/// How a file is reconstructed.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The method and everything about it.
    pub recipe: Recipe,
    /// How images are made of filled k-space.
    pub images: ImageOptions,
    /// Where to compute.
    pub device: DevicePreference,
}

/// Reconstructs a prepared file into a folder.
///
/// # Errors
/// [`Error::Reconstruction`] with the job's own exit code.
pub fn reconstruct(
    prepared: &Path,
    out: &Path,
    settings: Settings,
    progress: &dyn gpu_job::Progress,
) -> Result<Manifest> {
    let failed = |error: gpu_job::JobError| Error::Reconstruction { message: error.to_string(), exit: error.exit() };
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::Usage("the path of the output must be valid UTF-8".to_owned()))
    };
    std::fs::create_dir_all(out).map_err(Error::io("making the output folder"))?;
    let mut request = gpu_job::Request::new(&text(prepared)?, &text(out)?).map_err(failed)?;
    request.recipe = settings.recipe;
    request.images = settings.images;
    request.device = settings.device;
    gpu_job::reconstruct(&request, progress).map_err(failed)
}

/// Writes a phantom as ISMRMRD. The file appears complete or not at all.
///
/// # Errors
/// [`Error::Usage`] for values that make no phantom, [`Error::Io`].
pub fn write_phantom(phantom: &Phantom, out: &Path, full: bool) -> Result<()> {
    phantom.validate().map_err(|error| Error::Usage(error.to_string()))?;
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(Error::io("making the output folder"))?;
    let file = tempfile::NamedTempFile::new_in(dir).map_err(Error::io("making the output"))?;
    if full {
        phantom.write_full_ismrmrd(file.path())?
    } else {
        phantom.write_ismrmrd(file.path())?
    }
    persist(file, out)
}

/// Mean over the slices of the PSNR of a NIfTI volume against a phantom's truth, dB; `None` when they do not fit.
///
/// # Errors
/// [`Error::Io`] when the volume cannot be read.
pub fn psnr_against(truth: &[Array2<f32>], image: &Path) -> Result<Option<f64>> {
    use nifti::{IntoNdArray as _, NiftiObject as _, ReaderOptions};
    let failed = |error: nifti::NiftiError| Error::io("reading the image")(std::io::Error::other(error));
    let volume = ReaderOptions::new().read_file(image).map_err(failed)?.into_volume();
    let volume = volume.into_ndarray::<f32>().map_err(failed)?;
    let Ok(volume) = volume.into_dimensionality::<ndarray::Ix3>() else { return Ok(None) };
    if volume.dim().2 != truth.len() {
        return Ok(None);
    }
    // The file has x first; the truth is [y, x].
    let slices = volume.axis_iter(ndarray::Axis(2)).zip(truth);
    let values = slices.map(|(slice, truth)| kspace::numerics::metrics::psnr(&slice.t().to_owned(), truth));
    let mean = values.sum::<f64>() / truth.len() as f64;
    Ok(mean.is_finite().then_some(mean))
}
