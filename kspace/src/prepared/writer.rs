//! Writing a prepared file front to back.

use std::collections::BTreeMap;
use std::io::Write;

use contract::PreparedMeta;
use contract::prepared::{GEOMETRY, KSPACE, MASK, NOISE_COV};
use serde::Serialize;

use super::{SAMPLE_BYTES, Shape, SmallArrays, all_finite, check_entries, too_large};
use crate::{Complex32, Error, Result};

/// Complex arrays begin at multiples of this in the file.
const ALIGNMENT: usize = 8;

#[derive(Serialize)]
struct Tensor {
    dtype: &'static str,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The bytes in front of the arrays and the length of the whole file, known before any sample is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    header: Vec<u8>,
    byte_len: u64,
}

impl Layout {
    /// Lays out a file.
    ///
    /// # Errors
    /// [`Error::Limit`] when its size does not fit, [`Error::Contract`] when the metadata cannot be written as JSON.
    pub fn new(meta: &PreparedMeta, shape: &Shape, with_noise: bool) -> Result<Self> {
        let mut at = 0u64;
        let mut tensors = BTreeMap::new();
        let mut place = |name, dtype, shape: Vec<usize>, bytes: Option<u64>| {
            let end = bytes.and_then(|bytes| at.checked_add(bytes)).filter(|end| i64::try_from(*end).is_ok());
            let end = end.ok_or_else(too_large)?;
            tensors.insert(name, Tensor { dtype, shape, data_offsets: [at, end] });
            at = end;
            Ok::<_, Error>(())
        };
        let product = |values: &[usize]| {
            values.iter().try_fold(1u64, |product, value| product.checked_mul(u64::try_from(*value).ok()?))
        };
        let Shape { entries, coils, ky, kx } = *shape;
        let bytes = product(&[entries, coils, ky, kx]).and_then(|count| count.checked_mul(SAMPLE_BYTES));
        place(KSPACE, "C64", vec![entries, coils, ky, kx], bytes)?;
        if with_noise {
            let bytes = product(&[coils, coils]).and_then(|count| count.checked_mul(SAMPLE_BYTES));
            place(NOISE_COV, "C64", vec![coils, coils], bytes)?;
        }
        let floats = contract::prepared::GEOMETRY_LENGTH;
        place(GEOMETRY, "F32", vec![entries, floats], product(&[entries, floats, size_of::<f32>()]))?;
        place(MASK, "U8", vec![entries, ky], product(&[entries, ky]))?;

        let metadata: BTreeMap<String, String> = meta.to_metadata()?.into_iter().collect();
        let unwritable = |source| contract::ContractError::Json { record: "prepared file", source };
        let mut fields = serde_json::Map::new();
        fields.insert("__metadata__".to_owned(), serde_json::to_value(metadata).map_err(unwritable)?);
        for (name, tensor) in tensors {
            fields.insert(name.to_owned(), serde_json::to_value(tensor).map_err(unwritable)?);
        }
        let mut json = serde_json::to_vec(&fields).map_err(unwritable)?;
        json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.append(&mut json);
        let byte_len = at.checked_add(header.len() as u64).ok_or_else(too_large)?;
        Ok(Self { header, byte_len })
    }

    /// Length of the whole file.
    #[must_use]
    pub const fn byte_len(&self) -> u64 {
        self.byte_len
    }
}

/// Writes a prepared file front to back: the header, every entry in order, then the small arrays.
pub struct Writer<W> {
    out: W,
    shape: Shape,
    small: SmallArrays,
    written: usize,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when arrays, shape and metadata do not fit together, [`Error::Io`] when `out` refuses.
    pub fn new(out: W, meta: &PreparedMeta, shape: Shape, small: SmallArrays) -> Result<Self> {
        small.check(&shape)?;
        check_entries(meta, &shape, small.mask.view())?;
        let layout = Layout::new(meta, &shape, small.noise_cov.is_some())?;
        let mut writer = Self { out, shape, small, written: 0 };
        writer.write(&layout.header)?;
        Ok(writer)
    }

    /// Writes the next entry, `[coil, ky, kx]`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong number of samples, one entry too many or a sample that is not a number,
    /// [`Error::Io`] when the output refuses.
    pub fn entry(&mut self, samples: &[Complex32]) -> Result<()> {
        if self.written == self.shape.entries || Some(samples.len()) != self.shape.entry_samples() {
            return Err(Error::corrupt(
                format!("entry {} of a prepared file", self.written),
                format!("{} samples", samples.len()),
                format!("{:?}", self.shape),
            ));
        }
        if !all_finite(samples) {
            return Err(Error::corrupt(
                format!("entry {} of a prepared file", self.written),
                "a sample that is not finite",
                "numbers",
            ));
        }
        self.written += 1;
        self.write(bytemuck::cast_slice(samples))
    }

    /// Writes the small arrays and hands the output back, not flushed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when entries are missing, [`Error::Io`] when the output refuses.
    pub fn finish(mut self) -> Result<W> {
        if self.written != self.shape.entries {
            return Err(Error::corrupt("prepared file", format!("{} entries", self.written), self.shape.entries));
        }
        let mut tail = Vec::new();
        if let Some(covariance) = &self.small.noise_cov {
            tail.extend(covariance.iter().flat_map(|value| [value.re.to_le_bytes(), value.im.to_le_bytes()]).flatten());
        }
        tail.extend(self.small.geometry.iter().flat_map(|value| value.to_le_bytes()));
        tail.extend(self.small.mask.iter());
        self.write(&tail)?;
        Ok(self.out)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("writing the prepared file"))
    }
}
