//! The prepared file of [`contract::prepared`]: written as a stream, read slice by slice.
//!
//! A safetensors file: 8 bytes of length, a JSON header padded with spaces so that the arrays begin at a multiple of
//! 8 bytes, then `kspace`, `acs`, `noise_cov`, `geometry` and `mask` in this order. k-space comes first, so that entry `i` lies
//! at a known place and every complex array is aligned. `acs` and `noise_cov` are optional. Python's `safetensors` reads the file from release 0.7 on.
//!
//! | part | what it does |
//! |---|---|
//! | [`Writer`] | header, then one entry after the other, calibration lines likewise, then the small arrays |
//! | [`Reader`] | checks everything a hostile file can claim, then reads one entry or its calibration lines a request |

mod reader;
mod writer;

pub use reader::{FileSource, ReadAt, Reader};
pub use writer::{Layout, Writer};

use ndarray::{Array2, ArrayView2};

use crate::{Complex32, Error, Result};

#[cfg(target_endian = "big")]
compile_error!("samples are read in place and are little-endian in every format");

/// Bytes of a complex sample.
pub(crate) const SAMPLE_BYTES: u64 = size_of::<Complex32>() as u64;

/// Shape of the k-space array, outermost axis first, and of the calibration lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// 2-D k-spaces in the file.
    pub entries: usize,
    /// Coils.
    pub coils: usize,
    /// Lines.
    pub ky: usize,
    /// Points of a readout.
    pub kx: usize,
    /// Calibration lines of an entry besides those in k-space, and points of one of them; `None` where there are none.
    pub acs: Option<(usize, usize)>,
}

impl Shape {
    /// Complex samples of one entry; `None` when the number does not fit.
    #[must_use]
    pub fn entry_samples(&self) -> Option<usize> {
        self.coils.checked_mul(self.ky)?.checked_mul(self.kx)
    }

    /// Complex samples of the calibration lines of one entry, 0 where it has none; `None` when the number does not fit.
    #[must_use]
    pub fn calibration_samples(&self) -> Option<usize> {
        let (lines, points) = self.acs.unwrap_or((0, 0));
        self.coils.checked_mul(lines)?.checked_mul(points)
    }

    /// Bytes of one entry.
    ///
    /// # Errors
    /// [`Error::Limit`] when the number does not fit.
    pub fn entry_bytes(&self) -> Result<u64> {
        bytes(self.entry_samples())
    }

    /// Bytes of the calibration lines of one entry.
    ///
    /// # Errors
    /// [`Error::Limit`] when the number does not fit.
    pub fn calibration_bytes(&self) -> Result<u64> {
        bytes(self.calibration_samples())
    }
}

/// Bytes of complex samples.
fn bytes(samples: Option<usize>) -> Result<u64> {
    let samples = samples.and_then(|samples| u64::try_from(samples).ok());
    samples.and_then(|samples| samples.checked_mul(SAMPLE_BYTES)).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::Limit { what: "size of a prepared file in bytes", found: u64::MAX, limit: i64::MAX as u64 }
}

/// The arrays of a prepared file besides k-space.
#[derive(Debug, Clone, PartialEq)]
pub struct SmallArrays {
    /// `[entry, ky]`, 1 where a line was acquired.
    pub mask: Array2<u8>,
    /// `[entry, 12]`: position, read, phase and slice direction; LPS, mm.
    pub geometry: Array2<f32>,
    /// `[coil, coil]`, before prewhitening; absent without a noise scan.
    pub noise_cov: Option<Array2<Complex32>>,
}

impl SmallArrays {
    /// Checks the arrays against the shape of k-space and for values that cannot be.
    fn check(&self, shape: &Shape) -> Result<()> {
        let same = |what: &str, found: (usize, usize), expected: (usize, usize)| {
            if found == expected {
                return Ok(());
            }
            Err(Error::corrupt(what, format!("{found:?} values"), format!("{expected:?} values")))
        };
        same("mask of a prepared file", self.mask.dim(), (shape.entries, shape.ky))?;
        same("geometry of a prepared file", self.geometry.dim(), (shape.entries, contract::prepared::GEOMETRY_LENGTH))?;
        if let Some(covariance) = &self.noise_cov {
            same("noise covariance of a prepared file", covariance.dim(), (shape.coils, shape.coils))?;
            if !covariance.iter().all(|value| value.is_finite()) {
                return Err(Error::corrupt(
                    "noise covariance of a prepared file",
                    "a value that is not finite",
                    "numbers",
                ));
            }
        }
        if self.mask.iter().any(|value| *value > 1) {
            return Err(Error::corrupt("mask of a prepared file", "a value above 1", "0 or 1"));
        }
        if !self.geometry.iter().all(|value| value.is_finite()) {
            return Err(Error::corrupt("geometry of a prepared file", "a value that is not finite", "numbers"));
        }
        Ok(())
    }
}

/// Whether every sample is a number. Bits are compared, because that is done several at a time.
pub(crate) fn all_finite(samples: &[Complex32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    !samples.iter().fold(false, |bad, value| {
        bad | (value.re.to_bits() & EXPONENT == EXPONENT) | (value.im.to_bits() & EXPONENT == EXPONENT)
    })
}

/// Refuses an array of calibration lines that holds none.
fn check_calibration(shape: &Shape) -> Result<()> {
    match shape.acs {
        Some((0, _) | (_, 0)) => {
            Err(Error::corrupt("calibration lines of a prepared file", format!("{shape:?}"), "no empty axis"))
        }
        _ => Ok(()),
    }
}

/// Checks what [`contract::PreparedMeta`] says of each entry against the arrays.
fn check_entries(meta: &contract::PreparedMeta, shape: &Shape, mask: ArrayView2<'_, u8>) -> Result<()> {
    let misfit = |found: String, expected: String| Err(Error::corrupt("metadata of a prepared file", found, expected));
    if meta.entries.len() != shape.entries {
        return misfit(format!("{} entries", meta.entries.len()), format!("{}", shape.entries));
    }
    let matrix = meta.header.matrix;
    if matrix[..2] != [shape.kx, shape.ky] {
        return misfit(format!("matrix {matrix:?}"), format!("{} by {} as the arrays", shape.kx, shape.ky));
    }
    for (entry, mask) in meta.entries.iter().zip(mask.outer_iter()) {
        let it = entry.sampling;
        let block = it.acs_first.checked_add(it.acs_lines);
        let valid = it.acceleration >= 1
            && it.offset < it.acceleration
            && it.first <= it.last
            && it.last < shape.ky
            && block.is_some_and(|end| end <= shape.ky)
            && mask.iter().skip(it.acs_first).take(it.acs_lines).all(|acquired| *acquired == 1);
        if !valid {
            return misfit(
                format!("{it:?}"),
                format!("a regular grid within {} lines that the mask confirms", shape.ky),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
