//! Reading a prepared file slice by slice, wherever it lies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use contract::PreparedMeta;
use contract::prepared::{ACS, GEOMETRY, GEOMETRY_LENGTH, KSPACE, MASK, NOISE_COV};
use ndarray::{Array2, Array3};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{SAMPLE_BYTES, Shape, SmallArrays, all_finite, check_calibration, check_entries};
use crate::{Complex32, Error, Result};

/// A study of 100 000 entries has a header of 20 MB.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// The mask, the geometry and the noise covariance together.
const MAX_SMALL_BYTES: u64 = 1 << 30;
const LENGTH_BYTES: u64 = 8;

/// Bytes at any place: a file, or an object behind ranged requests.
pub trait ReadAt: Send + Sync {
    /// Fills `buf` with the bytes that start at `offset`.
    ///
    /// # Errors
    /// The system's or the service's; [`io::ErrorKind::UnexpectedEof`] past the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file on disk.
pub struct FileSource {
    file: File,
    length: u64,
}

impl FileSource {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> io::Result<Self> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok(Self { file, length })
        };
        open().map_err(Error::io("opening the prepared file"))
    }
}

impl ReadAt for FileSource {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn len(&self) -> u64 {
        self.length
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> u64 {
        Self::len(self) as u64
    }
}

/// An opened prepared file. Everything but k-space is in memory.
pub struct Reader<R> {
    source: R,
    /// Offset of the first entry in the file.
    kspace_at: u64,
    /// Offset of the calibration lines of the first entry; meaningless where there are none.
    acs_at: u64,
    /// What the arrays are.
    pub meta: PreparedMeta,
    /// Shape of k-space and of the calibration lines.
    pub shape: Shape,
    /// `[entry, ky]`, 1 where a line was acquired.
    pub mask: Array2<u8>,
    /// `[coil, coil]`, before prewhitening.
    pub noise_cov: Option<Array2<Complex32>>,
    /// `[entry, 12]`: position, read, phase and slice direction; LPS, mm.
    pub geometry: Array2<f32>,
}

impl<R: ReadAt> Reader<R> {
    /// Reads the header and the small arrays, and checks every claim in them against the length of the file.
    ///
    /// # Errors
    /// [`Error::Truncated`] for a file that ends early, [`Error::Limit`] for one that claims too much,
    /// [`Error::Contract`] for another schema, [`Error::Corrupt`] otherwise; [`Error::Io`] when reading fails.
    pub fn open(source: R) -> Result<Self> {
        let mut length = [0; LENGTH_BYTES as usize];
        read(&source, 0, &mut length)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES {
            return Err(Error::Limit {
                what: "header of a prepared file in bytes",
                found: header_bytes,
                limit: MAX_HEADER_BYTES,
            });
        }
        let data_at = LENGTH_BYTES + header_bytes;
        ensure_length(&source, data_at)?;
        let mut header = vec![0; header_bytes as usize];
        read(&source, LENGTH_BYTES, &mut header)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| Error::corrupt("header of a prepared file", error, "a safetensors header"))?;
        let meta = PreparedMeta::from_metadata(metadata.metadata().as_ref().unwrap_or(&Default::default()))?;

        let kspace = tensor(&metadata, KSPACE, Dtype::C64)?;
        let &[entries, coils, ky, kx] = kspace.shape.as_slice() else {
            return Err(Error::corrupt("k-space of a prepared file", format!("{:?}", kspace.shape), "four axes"));
        };
        let calibration = metadata.info(ACS).map(|_| tensor(&metadata, ACS, Dtype::C64)).transpose()?;
        let acs = match calibration.map(|info| info.shape.as_slice()) {
            None => None,
            Some(&[of_entries, of_coils, lines, points]) if (of_entries, of_coils) == (entries, coils) => {
                Some((lines, points))
            }
            Some(found) => {
                let expected = format!("lines and points of {entries} entries and {coils} coils");
                return Err(Error::corrupt("calibration lines of a prepared file", format!("{found:?}"), expected));
            }
        };
        let shape = Shape { entries, coils, ky, kx, acs };
        if [entries, coils, ky, kx].contains(&0) {
            return Err(Error::corrupt("k-space of a prepared file", format!("{shape:?}"), "no empty axis"));
        }
        check_calibration(&shape)?;
        let mask = tensor(&metadata, MASK, Dtype::U8)?;
        let geometry = tensor(&metadata, GEOMETRY, Dtype::F32)?;
        let covariance = metadata.info(NOISE_COV).map(|_| tensor(&metadata, NOISE_COV, Dtype::C64)).transpose()?;
        let mut small = 0u64;
        let mut end = data_at;
        for info in [Some(kspace), calibration].into_iter().flatten() {
            end = end.max(data_at.saturating_add(info.data_offsets.1 as u64));
        }
        for info in [Some(mask), Some(geometry), covariance].into_iter().flatten() {
            end = end.max(data_at.saturating_add(info.data_offsets.1 as u64));
            small = small.saturating_add((info.data_offsets.1 - info.data_offsets.0) as u64);
        }
        ensure_length(&source, end)?;
        if source.len() != end {
            return Err(Error::corrupt("prepared file", format!("{} bytes", source.len()), format!("{end} bytes")));
        }
        if small > MAX_SMALL_BYTES {
            return Err(Error::Limit { what: "mask and geometry in bytes", found: small, limit: MAX_SMALL_BYTES });
        }

        let load = |info: &TensorInfo, shape: (usize, usize)| {
            if info.shape != [shape.0, shape.1] {
                let expected = format!("{shape:?}");
                return Err(Error::corrupt("array of a prepared file", format!("{:?}", info.shape), expected));
            }
            let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
            read(&source, data_at + info.data_offsets.0 as u64, &mut bytes)?;
            Ok(bytes)
        };
        let mask = array((entries, ky), load(mask, (entries, ky))?)?;
        let geometry = load(geometry, (entries, GEOMETRY_LENGTH))?;
        let geometry = array((entries, GEOMETRY_LENGTH), floats(&geometry))?;
        let covariance = covariance.map(|info| load(info, (coils, coils))).transpose()?;
        let noise_cov = covariance
            .map(|bytes| {
                let samples = floats(&bytes).chunks_exact(2).map(|pair| Complex32::new(pair[0], pair[1])).collect();
                array((coils, coils), samples)
            })
            .transpose()?;

        let small = SmallArrays { mask, geometry, noise_cov };
        small.check(&shape)?;
        check_entries(&meta, &shape, small.mask.view())?;
        let SmallArrays { mask, geometry, noise_cov } = small;
        let place = |info: &TensorInfo| data_at + info.data_offsets.0 as u64;
        let (kspace_at, acs_at) = (place(kspace), calibration.map_or(0, place));
        Ok(Self { source, kspace_at, acs_at, meta, shape, mask, noise_cov, geometry })
    }

    /// k-space of entry `index`, `[coil, ky, kx]`, by one read.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an index out of range or samples that are not numbers, [`Error::Io`] when reading fails.
    pub fn entry(&self, index: usize) -> Result<Array3<Complex32>> {
        let Shape { coils, ky, kx, .. } = self.shape;
        let at = |bytes| self.kspace_at + index as u64 * bytes;
        self.block(&format!("entry {index} of a prepared file"), index, (coils, ky, kx), at)
    }

    /// Calibration lines of entry `index`, `[coil, line, point]`, by one read; `None` for a file whose calibration lines
    /// are part of k-space.
    ///
    /// # Errors
    /// Those of [`Self::entry`].
    pub fn calibration(&self, index: usize) -> Result<Option<Array3<Complex32>>> {
        let Some((lines, points)) = self.shape.acs else { return Ok(None) };
        let at = |bytes| self.acs_at + index as u64 * bytes;
        let what = format!("calibration lines {index} of a prepared file");
        self.block(&what, index, (self.shape.coils, lines, points), at).map(Some)
    }

    /// The samples of one block, which begins where `at` of its bytes says.
    fn block(
        &self,
        what: &str,
        index: usize,
        shape: (usize, usize, usize),
        at: impl FnOnce(u64) -> u64,
    ) -> Result<Array3<Complex32>> {
        if index >= self.shape.entries {
            return Err(Error::corrupt("entry of a prepared file", index, format!("below {}", self.shape.entries)));
        }
        // The arrays lie in the file, so their sizes fit.
        let mut samples = vec![Complex32::default(); shape.0 * shape.1 * shape.2];
        read(&self.source, at(samples.len() as u64 * SAMPLE_BYTES), bytemuck::cast_slice_mut(&mut samples))?;
        if !all_finite(&samples) {
            return Err(Error::corrupt(what, "a sample that is not finite", "numbers"));
        }
        Array3::from_shape_vec(shape, samples).map_err(|error| Error::corrupt(what, error, "its shape"))
    }
}

fn tensor<'a>(metadata: &'a Metadata, name: &str, dtype: Dtype) -> Result<&'a TensorInfo> {
    let info = metadata
        .info(name)
        .ok_or_else(|| Error::corrupt("prepared file", format!("no array `{name}`"), "one, prepare the file again"))?;
    if info.dtype != dtype {
        return Err(Error::corrupt(format!("array `{name}`"), format!("{:?}", info.dtype), format!("{dtype:?}")));
    }
    Ok(info)
}

fn array<T>(shape: (usize, usize), values: Vec<T>) -> Result<Array2<T>> {
    Array2::from_shape_vec(shape, values)
        .map_err(|error| Error::corrupt("array of a prepared file", error, "its shape"))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
}

fn ensure_length(source: &impl ReadAt, expected: u64) -> Result<()> {
    if source.len() < expected {
        return Err(Error::Truncated { what: "prepared file".to_owned(), found: source.len(), expected });
    }
    Ok(())
}

fn read(source: &impl ReadAt, offset: u64, buf: &mut [u8]) -> Result<()> {
    ensure_length(source, offset.saturating_add(buf.len() as u64))?;
    source.read_at(offset, buf).map_err(Error::io("reading the prepared file"))
}
