//! The samples of a fastMRI file: in place where they lie in one piece; where they lie in chunks, as many slices at a time as
//! share chunks, the last ones kept.

use std::sync::{Arc, Mutex, PoisonError};

use hdf5_reader::dataset::Dataset;
use hdf5_reader::error::ByteOrder;
use hdf5_reader::{Datatype, H5Type, SliceInfo, SliceInfoElem};

use crate::format::hdf5::heap::Span;
use crate::format::hdf5::{Hdf5, MAX_RATIO, explain};
use crate::{Complex32, Error, Result};

/// Memory for decompressed slices, unless two blocks need more.
const CACHE_BYTES: usize = 512 << 20;
/// Slices that share chunks are decompressed together.
const MAX_BLOCK_BYTES: u64 = 1 << 30;
const SAMPLE_BYTES: usize = size_of::<Complex32>();

/// Shape of k-space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) slices: usize,
    pub(super) coils: usize,
    pub(super) readout: usize,
    pub(super) phase: usize,
}

impl Shape {
    /// The shape of the dataset `kspace`, each axis at most 65535 long.
    pub(super) fn of(dataset: &Dataset) -> Result<Self> {
        let precise = matches!(dataset.dtype(), Datatype::Compound { size: 8, fields }
            if fields.len() == 2
                && fields.iter().zip([0, 4]).all(|(field, offset)| field.byte_offset == offset && is_float(&field.datatype)));
        if !precise {
            return Err(Error::unsupported(
                "the dataset `kspace` does not hold complex numbers of single precision, little-endian",
                "write it as complex64 and send that",
            ));
        }
        let (slices, coils, readout, phase) = match *dataset.shape() {
            [slices, coils, readout, phase] => (slices, coils, readout, phase),
            [slices, readout, phase] => (slices, 1, readout, phase),
            _ => {
                return Err(Error::unsupported(
                    format!("the dataset `kspace` has {} axes", dataset.shape().len()),
                    "write it as [slice, coil, readout, phase] and send that",
                ));
            }
        };
        for axis in [slices, coils, readout, phase] {
            if axis > u16::MAX.into() {
                return Err(Error::Limit { what: "an axis of `kspace`", found: axis, limit: u16::MAX.into() });
            }
            if axis == 0 {
                return Err(Error::corrupt("the dataset `kspace`", "an empty axis", "samples"));
            }
        }
        let [slices, coils, readout, phase] = [slices, coils, readout, phase].map(|axis| axis as usize);
        Ok(Self { slices, coils, readout, phase })
    }

    /// Samples of one slice; four factors below 65536 fit.
    const fn slice_samples(&self) -> usize {
        self.coils * self.readout * self.phase
    }
}

fn is_float(datatype: &Datatype) -> bool {
    matches!(datatype, Datatype::FloatingPoint { size: 4, byte_order: ByteOrder::LittleEndian })
}

/// The sample in eight bytes.
fn sample(bytes: &[u8]) -> Complex32 {
    bytemuck::pod_read_unaligned(bytes)
}

/// The samples of a file.
pub(super) struct Slices {
    file: Hdf5,
    dataset: Dataset,
    shape: Shape,
    place: Place,
}

enum Place {
    InPlace(Span),
    /// In chunks: slices of a block share them.
    Chunks {
        block: usize,
        kept: Mutex<Vec<(usize, Slot)>>,
    },
}

/// A block that is decompressed by the first who asks for it, while the others wait. The structure reader works on the
/// thread that asks, so none who waits can be needed by it.
type Slot = Arc<Mutex<Option<Arc<Vec<Complex32>>>>>;

/// A sample as the structure reader hands it out, which copies the bytes of the file into it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Sample(Complex32);

impl H5Type for Sample {
    fn hdf5_type() -> Datatype {
        let float = || Datatype::FloatingPoint { size: 4, byte_order: ByteOrder::LittleEndian };
        let field = |name: &str, byte_offset| hdf5_reader::CompoundField {
            name: name.to_owned(),
            byte_offset,
            datatype: float(),
        };
        Datatype::Compound { size: 8, fields: vec![field("r", 0), field("i", 4)] }
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> hdf5_reader::error::Result<Self> {
        bytes
            .get(..SAMPLE_BYTES)
            .map(sample)
            .map(Self)
            .ok_or_else(|| hdf5_reader::error::Error::InvalidData("a short sample".to_owned()))
    }

    fn element_size(_: &Datatype) -> usize {
        SAMPLE_BYTES
    }

    fn decode_vec(raw: &[u8], _: &Datatype, count: usize) -> Option<hdf5_reader::error::Result<Vec<Self>>> {
        let samples = raw.get(..count.checked_mul(SAMPLE_BYTES)?)?.chunks_exact(SAMPLE_BYTES);
        Some(Ok(samples.map(sample).map(Self).collect()))
    }

    fn native_copy_compatible(_: &Datatype) -> bool {
        // Shape::of has compared the type.
        true
    }
}

impl Slices {
    pub(super) fn new(file: Hdf5, dataset: Dataset, shape: Shape) -> Result<Self> {
        if let Some(span) = file.contiguous(&dataset)? {
            return Ok(Self { file, dataset, shape, place: Place::InPlace(span) });
        }
        let slice = (shape.slice_samples() as u64).saturating_mul(SAMPLE_BYTES as u64);
        let found = slice.saturating_mul(shape.slices as u64);
        let limit = (file.bytes().len() as u64).saturating_mul(MAX_RATIO as u64);
        if found > limit {
            return Err(Error::Limit {
                what: "the size of `kspace` for a file of this length, in bytes,",
                found,
                limit,
            });
        }
        let chunk = dataset.chunks().and_then(|chunk| chunk.first().copied()).unwrap_or(1);
        let block = (chunk as usize).clamp(1, shape.slices);
        let found = slice.saturating_mul(block as u64);
        if found > MAX_BLOCK_BYTES {
            return Err(Error::unsupported(
                format!("the chunks of `kspace` run through {block} slices of {slice} bytes"),
                "copy the file with h5repack so that a chunk holds one slice at most, and send that",
            ));
        }
        Ok(Self { file, dataset, shape, place: Place::Chunks { block, kept: Mutex::default() } })
    }

    /// Whether each column of each slice holds a sample that is not zero, `[slice][phase]`.
    pub(super) fn acquired(&self) -> Result<Vec<Vec<bool>>> {
        let phase = self.shape.phase;
        (0..self.shape.slices)
            .map(|slice| {
                let mut acquired = vec![false; phase];
                self.with_slice(slice, |bytes| {
                    for row in bytes.chunks_exact(phase * SAMPLE_BYTES) {
                        for (acquired, bytes) in acquired.iter_mut().zip(row.chunks_exact(SAMPLE_BYTES)) {
                            *acquired |= sample(bytes) != Complex32::new(0.0, 0.0);
                        }
                    }
                })?;
                Ok(acquired)
            })
            .collect()
    }

    /// Samples of a column of a slice, `[coil][readout]`.
    pub(super) fn column(&self, slice: usize, column: usize) -> Result<Vec<Complex32>> {
        self.with_slice(slice, |bytes| {
            bytes.chunks_exact(SAMPLE_BYTES).skip(column).step_by(self.shape.phase).map(sample).collect()
        })
    }

    /// Hands the bytes of a slice, `[coil][readout][phase]`, to `take`; they may lie at any place.
    fn with_slice<T>(&self, slice: usize, take: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let count = self.shape.slice_samples();
        match &self.place {
            Place::InPlace(span) => {
                let bytes = count * SAMPLE_BYTES;
                let start = span.start + slice * bytes;
                Ok(take(&self.file.bytes()[start..start + bytes]))
            }
            Place::Chunks { block, kept } => {
                let samples = self.block(slice / block, *block, kept)?;
                Ok(take(bytemuck::cast_slice(&samples[slice % block * count..][..count])))
            }
        }
    }

    /// The block of that number, kept or read.
    fn block(&self, number: usize, block: usize, kept: &Mutex<Vec<(usize, Slot)>>) -> Result<Arc<Vec<Complex32>>> {
        let slot = {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let place = kept.iter().position(|(other, _)| *other == number);
            // The one asked for last comes last, so that the first is the one to drop.
            let slot = place.map_or_else(Slot::default, |place| kept.remove(place).1);
            kept.push((number, Arc::clone(&slot)));
            let bytes = block * self.shape.slice_samples() * SAMPLE_BYTES;
            let most = (CACHE_BYTES / bytes).max(2);
            let surplus = kept.len().saturating_sub(most);
            kept.drain(..surplus);
            slot
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(samples) = slot.as_ref() {
            return Ok(Arc::clone(samples));
        }
        let samples = Arc::new(self.read(number * block, block)?);
        *slot = Some(Arc::clone(&samples));
        Ok(samples)
    }

    fn read(&self, first: usize, block: usize) -> Result<Vec<Complex32>> {
        let slices = block.min(self.shape.slices - first);
        let whole = || SliceInfoElem::Slice { start: 0, end: u64::MAX, step: 1 };
        let mut selections: Vec<SliceInfoElem> = self.dataset.shape().iter().map(|_| whole()).collect();
        if let Some(axis) = selections.first_mut() {
            *axis = SliceInfoElem::Slice { start: first as u64, end: (first + slices) as u64, step: 1 };
        }
        let samples = self.dataset.read_slice::<Sample>(&SliceInfo { selections }).map_err(explain)?;
        let (samples, _) = samples.into_raw_vec_and_offset();
        let expected = slices * self.shape.slice_samples();
        if samples.len() != expected {
            return Err(Error::corrupt("the dataset `kspace`", format!("{} samples", samples.len()), expected));
        }
        Ok(samples.into_iter().map(|sample| sample.0).collect())
    }
}
