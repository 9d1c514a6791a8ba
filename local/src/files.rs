//! One file on this machine: what is in it, prepared, reconstructed; and a synthetic one.
//!
//! The same code as in the functions and in the GPU job, so the images are the same to the bit.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;

use contract::scan::hex;
use contract::{DevicePreference, Manifest, Method, PreparedMeta, Refine};
use gpu_job::engine::Recipe;
use kspace::archive::{self, Content};
use kspace::format::{RawScan, bart};
use kspace::phantom::Phantom;
use kspace::prepare::{self, Options, Plan};
use kspace::prepared::{FileSource, Reader};
use ndarray::Array2;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::inspect::{Look, look};
use crate::{Error, Result};

/// A raw data file, out of its archive if it was in one.
pub struct Opened {
    raw: Box<dyn RawScan>,
    /// What was peeled off, outermost first.
    pub container: Vec<&'static str>,
    /// Length of the raw data file.
    pub bytes: u64,
    sha256: Option<String>,
    file: File,
    _unpacked: Option<tempfile::NamedTempFile>,
}

/// Opens a raw file in place, or unpacks an archive into `temp_dir`.
///
/// # Errors
/// [`Error::Usage`] when there is no such file, [`Error::Data`] when it holds no readable raw data.
pub fn open(path: &Path, temp_dir: &Path) -> Result<Opened> {
    let file = File::open(path).map_err(|error| Error::Usage(format!("the input cannot be opened: {error}")))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Error::Usage("the input is not a file".to_owned()));
    }
    let mut head = Vec::new();
    (&file).take(Content::HEAD_LENGTH).read_to_end(&mut head).map_err(Error::io("reading the input"))?;
    if Content::of(&head).is_raw() || bart::is_samples(path) {
        let bytes = file.metadata().map_err(Error::io("reading the input"))?.len();
        let raw = kspace::format::open(path)?;
        return Ok(Opened { raw, container: Vec::new(), bytes, sha256: None, file, _unpacked: None });
    }
    let file = File::open(path).map_err(Error::io("opening the input"))?;
    let mut unpacked = tempfile::NamedTempFile::new_in(temp_dir).map_err(Error::io("making a scratch file"))?;
    let extracted = archive::extract(&file, unpacked.as_file_mut(), &archive::Limits::default())?;
    unpacked.flush().map_err(Error::io("writing a scratch file"))?;
    Ok(Opened {
        raw: kspace::format::open(unpacked.path())?,
        container: extracted.container,
        bytes: extracted.bytes,
        sha256: Some(extracted.sha256),
        file,
        _unpacked: Some(unpacked),
    })
}

impl Opened {
    /// The raw data.
    #[must_use]
    pub fn raw(&self) -> &dyn RawScan {
        self.raw.as_ref()
    }

    /// The preparation of this file; reads a bare file once to hash it.
    fn plan(&self) -> Result<Plan> {
        let source_sha256 = match &self.sha256 {
            Some(sha256) => sha256.clone(),
            None => sha256(&self.file)?,
        };
        Ok(prepare::plan(self.raw(), &Options { source_sha256, ..Options::default() })?)
    }
}

fn sha256(mut file: &File) -> Result<String> {
    use std::io::Seek as _;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    file.rewind().map_err(Error::io("reading the input"))?;
    loop {
        match file.read(&mut block).map_err(Error::io("reading the input"))? {
            0 => return Ok(hex(&hash.finalize())),
            length => hash.update(&block[..length]),
        }
    }
}

/// What is in a file, and what will become of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// What was peeled off, outermost first; empty for a bare file.
    pub container: Vec<&'static str>,
    /// Length of the raw data file.
    pub bytes: Option<u64>,
    /// The scan in it; absent when it does not open.
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
pub fn inspect(path: &Path, temp_dir: &Path) -> Result<Inspection> {
    let opened = match open(path, temp_dir) {
        Err(Error::Data(error)) => {
            let reason = Some(error.to_string());
            return Ok(Inspection { container: Vec::new(), bytes: None, scan: None, reconstructs: false, reason });
        }
        result => result?,
    };
    let look = look(opened.raw())?;
    Ok(Inspection {
        container: opened.container.clone(),
        bytes: Some(opened.bytes),
        reconstructs: look.reconstructs,
        reason: look.report.reason.clone(),
        scan: Some(look),
    })
}

/// A prepared file that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prepared {
    /// Length.
    pub bytes: u64,
    /// What it says of itself.
    pub meta: PreparedMeta,
}

/// Prepares a raw file or archive. The prepared file appears complete or not at all; an output that ends in `.cfl` is a BART
/// array with its header beside it. `progress` hears of entries done and of how many there are.
///
/// # Errors
/// [`Error::Data`] when it cannot be prepared, [`Error::Io`] when the file cannot be written.
pub fn prepare(path: &Path, out: &Path, temp_dir: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Prepared> {
    let opened = open(path, temp_dir)?;
    let plan = opened.plan()?;
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(Error::io("making the output folder"))?;
    let file = tempfile::NamedTempFile::new_in(dir).map_err(Error::io("making the prepared file"))?;
    let writer = plan.write(opened.raw(), BufWriter::with_capacity(1 << 20, file), progress)?;
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

fn persist(file: tempfile::NamedTempFile, out: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // A scratch file is private; what a person asked for is as readable as any new file.
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(Error::io("writing the output"))?;
    file.persist(out).map_err(|error| Error::io("writing the output")(error.error))?;
    Ok(())
}

/// How a file is reconstructed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// How missing lines are filled.
    pub method: Method,
    /// What follows; `None` for what goes with the method.
    pub refine: Option<Refine>,
    /// Slices that share networks; `None` for what goes with the method.
    pub slab: Option<u16>,
    /// Steps in which the other slices of a slab adapt the shared networks; `None` for what goes with the method.
    pub warm: Option<u16>,
    /// Seed of everything random.
    pub seed: u64,
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
    request.recipe = Recipe::new(settings.method, settings.refine, settings.seed).sharing(settings.slab, settings.warm);
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
