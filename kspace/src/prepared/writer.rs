//! Writing a prepared file front to back.

use std::collections::BTreeMap;
use std::io::Write;

use contract::PreparedMeta;
use contract::prepared::{ACS, GEOMETRY, KSPACE, MASK, NOISE_COV};
use serde::Serialize;

use super::{SAMPLE_BYTES, Shape, SmallArrays, all_finite, check_calibration, check_entries, too_large};
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
        let Shape { entries, coils, ky, kx, acs } = *shape;
        let bytes = product(&[entries, coils, ky, kx]).and_then(|count| count.checked_mul(SAMPLE_BYTES));
        place(KSPACE, "C64", vec![entries, coils, ky, kx], bytes)?;
        if let Some((lines, points)) = acs {
            let bytes = product(&[entries, coils, lines, points]).and_then(|count| count.checked_mul(SAMPLE_BYTES));
            place(ACS, "C64", vec![entries, coils, lines, points], bytes)?;
        }
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

/// Writes a prepared file front to back: the header, every entry in order, the calibration lines of every entry in
/// order where the shape has some, then the small arrays.
pub struct Writer<W> {
    out: W,
    shape: Shape,
    small: SmallArrays,
    entries: usize,
    calibrations: usize,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when arrays, shape and metadata do not fit together, [`Error::Io`] when `out` refuses.
    pub fn new(out: W, meta: &PreparedMeta, shape: Shape, small: SmallArrays) -> Result<Self> {
        check_calibration(&shape)?;
        small.check(&shape)?;
        check_entries(meta, &shape, small.mask.view())?;
        let layout = Layout::new(meta, &shape, small.noise_cov.is_some())?;
        let mut writer = Self { out, shape, small, entries: 0, calibrations: 0 };
        writer.write(&layout.header)?;
        Ok(writer)
    }

    /// Writes the next entry, `[coil, ky, kx]`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a wrong number of samples, one entry too many or a sample that is not a number,
    /// [`Error::Io`] when the output refuses.
    pub fn entry(&mut self, samples: &[Complex32]) -> Result<()> {
        let what = format!("entry {} of a prepared file", self.entries);
        self.block(what, samples, self.entries < self.shape.entries, self.shape.entry_samples())?;
        self.entries += 1;
        Ok(())
    }

    /// Writes the calibration lines of the next entry, `[coil, line, point]`, after the k-space of all entries.
    ///
    /// # Errors
    /// As [`Self::entry`]; [`Error::Corrupt`] as well before the last entry, or for a shape without calibration lines.
    pub fn calibration(&mut self, samples: &[Complex32]) -> Result<()> {
        let what = format!("calibration lines {} of a prepared file", self.calibrations);
        let expected = self.entries == self.shape.entries && self.calibrations < self.expected_calibrations();
        self.block(what, samples, expected, self.shape.calibration_samples())?;
        self.calibrations += 1;
        Ok(())
    }

    /// Entries with calibration lines.
    const fn expected_calibrations(&self) -> usize {
        if self.shape.acs.is_some() { self.shape.entries } else { 0 }
    }

    fn block(&mut self, what: String, samples: &[Complex32], expected: bool, count: Option<usize>) -> Result<()> {
        if !expected || Some(samples.len()) != count {
            return Err(Error::corrupt(what, format!("{} samples", samples.len()), format!("{:?}", self.shape)));
        }
        if !all_finite(samples) {
            return Err(Error::corrupt(what, "a sample that is not finite", "numbers"));
        }
        self.write(bytemuck::cast_slice(samples))
    }

    /// Writes the small arrays and hands the output back, not flushed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when entries or calibration lines are missing, [`Error::Io`] when the output refuses.
    pub fn finish(mut self) -> Result<W> {
        let counts = [
            ("entries", self.entries, self.shape.entries),
            ("entries with calibration lines", self.calibrations, self.expected_calibrations()),
        ];
        for (what, found, expected) in counts {
            if found != expected {
                return Err(Error::corrupt("prepared file", format!("{found} {what}"), expected));
            }
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
