//! Reading a prepared file slice by slice, wherever it lies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use contract::PreparedMeta;
use contract::prepared::{GEOMETRY, GEOMETRY_LENGTH, KSPACE, MASK, NOISE_COV};
use ndarray::{Array2, Array3};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{SAMPLE_BYTES, Shape, SmallArrays, all_finite, check_entries};
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
    /// What the arrays are.
    pub meta: PreparedMeta,
    /// Shape of k-space.
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
        let shape = Shape { entries, coils, ky, kx };
        if [entries, coils, ky, kx].contains(&0) {
            return Err(Error::corrupt("k-space of a prepared file", format!("{shape:?}"), "no empty axis"));
        }
        let mask = tensor(&metadata, MASK, Dtype::U8)?;
        let geometry = tensor(&metadata, GEOMETRY, Dtype::F32)?;
        let covariance = metadata.info(NOISE_COV).map(|_| tensor(&metadata, NOISE_COV, Dtype::C64)).transpose()?;
        let mut small = 0u64;
        let mut end = data_at;
        for info in [Some(kspace), Some(mask), Some(geometry), covariance].into_iter().flatten() {
            end = end.max(data_at.saturating_add(info.data_offsets.1 as u64));
            if !std::ptr::eq(info, kspace) {
                small = small.saturating_add((info.data_offsets.1 - info.data_offsets.0) as u64);
            }
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
        Ok(Self { kspace_at: data_at + kspace.data_offsets.0 as u64, source, meta, shape, mask, noise_cov, geometry })
    }

    /// k-space of entry `index`, `[coil, ky, kx]`, by one read.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for an index out of range or samples that are not numbers, [`Error::Io`] when reading fails.
    pub fn entry(&self, index: usize) -> Result<Array3<Complex32>> {
        let Shape { entries, coils, ky, kx } = self.shape;
        if index >= entries {
            return Err(Error::corrupt("entry of a prepared file", index, format!("below {entries}")));
        }
        let samples = self.shape.entry_bytes()? / SAMPLE_BYTES;
        let mut samples = vec![Complex32::default(); samples as usize];
        let at = self.kspace_at + index as u64 * self.shape.entry_bytes()?;
        read(&self.source, at, bytemuck::cast_slice_mut(&mut samples))?;
        if !all_finite(&samples) {
            return Err(Error::corrupt(
                format!("entry {index} of a prepared file"),
                "a sample that is not finite",
                "numbers",
            ));
        }
        Array3::from_shape_vec((coils, ky, kx), samples)
            .map_err(|error| Error::corrupt("entry of a prepared file", error, "its shape"))
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
