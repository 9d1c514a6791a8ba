//! Writes arrays, and prepared files as arrays. The header comes last, so that a pair is complete or not there at all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use contract::prepared::Entry;
use tempfile::NamedTempFile;

use super::dims::{COIL, DIMENSIONS, Dims, ECHO, PHASE_1, READ, SLICE, TIME, TIME_2, samples, text};
use crate::prepared::{ReadAt, Reader};
use crate::{Complex32, Error, Result};

/// An array being written, front to back.
pub struct Writer {
    stem: PathBuf,
    dims: Dims,
    file: BufWriter<NamedTempFile>,
    missing: usize,
}

impl Writer {
    /// Begins `stem.cfl` and `stem.hdr`, in a folder that exists.
    ///
    /// # Errors
    /// [`Error::Limit`] for more samples than a file can hold, [`Error::Io`].
    pub fn create(stem: &Path, dims: &Dims) -> Result<Self> {
        let bytes = samples(dims).and_then(|count| count.checked_mul(size_of::<Complex32>()));
        bytes.and_then(|bytes| i64::try_from(bytes).ok()).ok_or(Error::Limit {
            what: "the size of a BART array in bytes",
            found: u64::MAX,
            limit: i64::MAX as u64,
        })?;
        let file = BufWriter::with_capacity(1 << 20, scratch(stem)?);
        Ok(Self { stem: stem.to_owned(), dims: *dims, file, missing: samples(dims).unwrap_or(0) })
    }

    /// Appends samples, the first dimension fastest.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for more samples than the dimensions hold, [`Error::Io`].
    pub fn append(&mut self, samples: &[Complex32]) -> Result<()> {
        let rest = self.missing.checked_sub(samples.len());
        self.missing = rest.ok_or_else(|| Error::corrupt("a BART array", "more samples", "those of its dimensions"))?;
        self.file.write_all(bytemuck::cast_slice(samples)).map_err(Error::io("writing the BART array"))
    }

    /// Gives both files their names and returns their length together.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when samples are missing, [`Error::Io`].
    pub fn finish(self) -> Result<u64> {
        if self.missing > 0 {
            return Err(Error::corrupt("a BART array", format!("{} samples too few", self.missing), "all of them"));
        }
        let failed = || Error::io("writing the BART array");
        let samples = self.file.into_inner().map_err(|error| failed()(error.into_error()))?;
        let bytes = samples.as_file().metadata().map_err(failed())?.len();
        let mut header = scratch(&self.stem)?;
        let text = text(&self.dims);
        header.write_all(text.as_bytes()).map_err(failed())?;
        // A header that is there belongs to other samples: without one there is no array until this one is complete.
        match std::fs::remove_file(with_ending(&self.stem, "hdr")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed()(error)),
            _ => {}
        }
        persist(samples, &with_ending(&self.stem, "cfl"))?;
        persist(header, &with_ending(&self.stem, "hdr"))?;
        Ok(bytes + text.len() as u64)
    }
}

/// Stems may hold dots, so that [`Path::with_extension`] would shorten them.
fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(stem);
    path.push(".");
    path.push(ending);
    path.into()
}

fn scratch(stem: &Path) -> Result<NamedTempFile> {
    let folder = stem.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As readable as any new file of this person; the error's own text would name the folder.
    let file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
    file.map_err(|error| Error::io("making the BART array")(error.kind().into()))
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.persist(path).map_err(|error| Error::io("writing the BART array")(error.error.kind().into()))?;
    Ok(())
}

/// Writes an array whose samples are in memory as `stem.cfl` and `stem.hdr`; returns their length together.
///
/// # Errors
/// [`Error::Corrupt`] for samples that are not those of `dims`, [`Error::Io`].
pub fn write(stem: &Path, dims: &Dims, samples: &[Complex32]) -> Result<u64> {
    let mut writer = Writer::create(stem, dims)?;
    writer.append(samples)?;
    writer.finish()
}

/// Writes the k-space of a prepared file as `stem.cfl` and `stem.hdr`, `[READ, PHS1, 1, COIL]` with contrasts along TE,
/// repetitions along TIME, cardiac phases along TIME2 and slices, in the order of the file, along SLICE. Lines that were not
/// acquired are zero, and normalisation is undone, so that arrays of several scans compare. `progress` is told the entries done and their number. Returns the length of both files together.
///
/// # Errors
/// [`Error::Unsupported`] for sets, and for entries that are not every combination of their counters; errors of
/// `prepared`; [`Error::Io`].
pub fn export<R: ReadAt>(prepared: &Reader<R>, stem: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<u64> {
    let shape = prepared.shape;
    let (grid, order) = grid(&prepared.meta.entries)?;
    let mut dims = [1; DIMENSIONS];
    (dims[READ], dims[PHASE_1], dims[COIL]) = (shape.kx, shape.ky, shape.coils);
    [dims[SLICE], dims[TIME_2], dims[TIME], dims[ECHO]] = grid;
    let mut writer = Writer::create(stem, &dims)?;
    let factor = Complex32::from(prepared.meta.factor() as f32);
    for (done, entry) in order.into_iter().enumerate() {
        // [coil, ky, kx] row-major is kx, ky, coil with the first fastest.
        let samples = prepared.entry(entry)? * factor;
        let samples = samples.as_slice().ok_or_else(|| Error::corrupt("an entry", "another order", "rows"))?;
        writer.append(samples)?;
        progress(done + 1, shape.entries);
    }
    writer.finish()
}

/// Lengths along slice, phase, repetition and contrast, the slowest first, and the entries in that order.
fn grid(entries: &[Entry]) -> Result<([usize; 4], Vec<usize>)> {
    let counters = |entry: &Entry| [entry.slice, entry.phase, entry.repetition, entry.contrast, entry.set];
    let mut ranks: [BTreeMap<u16, usize>; 5] = Default::default();
    for entry in entries {
        for (ranks, counter) in ranks.iter_mut().zip(counters(entry)) {
            let next = ranks.len();
            ranks.entry(counter).or_insert(next);
        }
    }
    // Slices keep their order in space, which is that of the file; other counters their own.
    let others = ranks.iter_mut().skip(1);
    others.for_each(|ranks| ranks.values_mut().enumerate().for_each(|(rank, value)| *value = rank));
    let [slices, phases, repetitions, contrasts, sets] = ranks.each_ref().map(BTreeMap::len);
    if sets > 1 {
        return Err(Error::unsupported(
            format!("the scan has {sets} sets, for which BART has no dimension"),
            "write the prepared file instead (an output that ends in .safetensors)",
        ));
    }
    let lengths = [slices, phases, repetitions, contrasts];
    let mut order = vec![None; entries.len()];
    for (number, entry) in entries.iter().enumerate() {
        let place =
            counters(entry).iter().zip(&ranks).zip(lengths).fold(0_usize, |place, ((counter, ranks), length)| {
                place.saturating_mul(length).saturating_add(ranks.get(counter).copied().unwrap_or(0))
            });
        if let Some(slot) = order.get_mut(place) {
            *slot = Some(number);
        }
    }
    // As many places as entries, each of them taken: then every combination is there.
    let places = lengths.iter().try_fold(1_usize, |product, length| product.checked_mul(*length));
    let order = order.into_iter().collect::<Option<Vec<usize>>>().filter(|_| places == Some(entries.len()));
    let order = order.ok_or_else(|| {
        Error::unsupported(
            format!(
                "{} images are not every combination of {slices} slices, {phases} phases, {repetitions} repetitions and \
                 {contrasts} contrasts, as a BART array must be",
                entries.len()
            ),
            "write the prepared file instead (an output that ends in .safetensors)",
        )
    })?;
    Ok((lengths, order))
}
