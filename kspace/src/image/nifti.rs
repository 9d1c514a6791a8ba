//! Volumes as NIfTI-1 (`.nii.gz`, float32).
//!
//! The header has 348 bytes (the official `nifti1.h`), so it is written here. The same volume gives the same bytes, but for the operating system that a
//! gzip header names.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use ndarray::Array4;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status, Strategy};

use super::geometry::Affine;
use crate::{Error, Result};

const HEADER_BYTES: usize = 348;
/// Header and four zero bytes: no extensions follow.
const DATA_OFFSET: usize = 352;
const FLOAT32: i16 = 16;
const MILLIMETRES: u8 = 2;
/// `NIFTI_XFORM_SCANNER_ANAT`.
const SCANNER: i16 = 1;
const UNKNOWN: i16 = 0;
/// What the voxels of a volume are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Magnitude, in the unit of the raw data.
    Magnitude,
    /// Phase, radians.
    Phase,
    /// Deviation of noise, in the unit of the magnitude.
    Noise,
    /// g-factor, without a unit.
    GFactor,
}

impl Content {
    /// The description in the header, of at most 79 bytes.
    const fn description(self) -> &'static [u8] {
        match self {
            Self::Magnitude => b"magnitude; not for diagnostic use",
            Self::Phase => b"phase, rad; not for diagnostic use",
            Self::Noise => b"deviation of noise; not for diagnostic use",
            Self::GFactor => b"g-factor; not for diagnostic use",
        }
    }

    /// Low bits of a number that are zero.
    const fn zeros(self) -> u32 {
        match self {
            Self::Magnitude | Self::Phase => 0,
            Self::Noise | Self::GFactor => MAP_ZEROS,
        }
    }
}

/// Where numbers repeat; higher levels cost time and save one per cent. The others are searched for runs only.
const LEVEL: i32 = 2;
/// The largest window, 15 bits, and 16 for the format.
const GZIP_WINDOW: i32 = 15 + 16;
/// Low bits of the numbers of a map that are zero, which makes its file a quarter smaller: an estimate is not known to 1e-4 of itself.
const MAP_ZEROS: u32 = 11;
/// Numbers that are rounded at a time.
const BLOCK: usize = 1 << 14;

/// Writes `volume`, `[time, slice, y, x]`, to a file. See [`encode`].
///
/// # Errors
/// [`Error::Io`], and the errors of [`encode`].
pub fn write_gz(path: &Path, volume: &Array4<f32>, affine: &Affine, content: Content) -> Result<()> {
    let failed = "writing the NIfTI image";
    let file = File::create(path).map_err(Error::io(failed))?;
    encode(BufWriter::new(file), volume, affine, content)?.flush().map_err(Error::io(failed))
}

/// Writes `volume`, `[time, slice, y, x]`, gzipped to `out` and hands `out` back, not flushed. Magnitudes and phases are written as
/// they are, maps rounded to 2^-13 of each number. The image is 3-D when time has
/// one step, else 4-D. qform and sform are the same; both have code 0 when the orientation is unknown.
///
/// # Errors
/// [`Error::Limit`] for more than 32767 voxels along an axis, [`Error::Corrupt`] for values that are not finite or an
/// empty volume, [`Error::Io`] when `out` refuses.
pub fn encode<W: Write>(out: W, volume: &Array4<f32>, affine: &Affine, content: Content) -> Result<W> {
    if volume.is_empty() || !volume.iter().all(|value| value.is_finite()) {
        return Err(Error::corrupt("image", "no voxels, or values that are not finite", "numbers"));
    }
    let failed = "writing the NIfTI image";
    let header = header(volume.dim(), affine, content)?;
    let volume = volume.as_standard_layout();
    let values = volume.as_slice().unwrap_or_default();
    let mut gzip = Gzip::new(out, strategy(values));
    gzip.write(&header, DeflateFlush::NoFlush).map_err(Error::io(failed))?;
    for block in values.chunks(BLOCK) {
        let block = match content.zeros() {
            0 => Cow::Borrowed(block),
            zeros => Cow::Owned(block.iter().map(|value| rounded(*value, zeros)).collect()),
        };
        gzip.write(bytemuck::cast_slice(&block), DeflateFlush::NoFlush).map_err(Error::io(failed))?;
    }
    gzip.write(&[], DeflateFlush::Finish).map_err(Error::io(failed))?;
    Ok(gzip.out)
}

/// Where most numbers are as the one before, as in the even noise of a fully sampled scan, matches are worth looking for. Else there
/// are hardly any, and looking costs most of the time.
fn strategy(values: &[f32]) -> Strategy {
    let repeated = values.windows(2).filter(|pair| pair[0] == pair[1]).count();
    if 2 * repeated > values.len() { Strategy::Default } else { Strategy::Rle }
}

/// A gzip file on its way, without a time in its header.
struct Gzip<W> {
    out: W,
    state: Deflate,
    compressed: Vec<u8>,
}

impl<W: Write> Gzip<W> {
    fn new(out: W, strategy: Strategy) -> Self {
        let config = DeflateConfig { window_bits: GZIP_WINDOW, strategy, ..DeflateConfig::new(LEVEL) };
        Self { out, state: Deflate::new_with_config(config), compressed: vec![0; 4 * BLOCK] }
    }

    fn write(&mut self, mut bytes: &[u8], flush: DeflateFlush) -> std::io::Result<()> {
        loop {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.compress(bytes, &mut self.compressed, flush);
            let status = status.map_err(|error| std::io::Error::other(error.as_str()))?;
            bytes = &bytes[(self.state.total_in() - read) as usize..];
            let written = (self.state.total_out() - written) as usize;
            self.out.write_all(&self.compressed[..written])?;
            // What it keeps for later is written by a later call.
            if status == Status::StreamEnd || (bytes.is_empty() && written < self.compressed.len()) {
                return Ok(());
            }
        }
    }
}

/// The nearest finite number whose `zeros` lowest bits are zero.
fn rounded(value: f32, zeros: u32) -> f32 {
    let half = 1 << (zeros - 1);
    let nearest = f32::from_bits((value.to_bits() + half) >> zeros << zeros);
    if nearest.is_finite() { nearest } else { f32::from_bits(value.to_bits() >> zeros << zeros) }
}

fn header(
    (times, slices, rows, columns): (usize, usize, usize, usize),
    affine: &Affine,
    content: Content,
) -> Result<[u8; DATA_OFFSET]> {
    let mut bytes = [0u8; DATA_OFFSET];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(HEADER_BYTES as i32).to_le_bytes());
    let axes = if times > 1 { 4i16 } else { 3 };
    put(40, &axes.to_le_bytes());
    for (at, length) in [columns, rows, slices, times, 1, 1, 1].into_iter().enumerate() {
        let what = "voxels of an image along an axis";
        let limit = Error::Limit { what, found: length as u64, limit: i16::MAX as u64 };
        put(42 + 2 * at, &i16::try_from(length).map_err(|_| limit)?.to_le_bytes());
    }
    put(70, &FLOAT32.to_le_bytes());
    put(72, &32i16.to_le_bytes());

    let columns: [[f64; 3]; 3] = std::array::from_fn(|column| std::array::from_fn(|row| affine.matrix[row][column]));
    let size = columns.map(|column| column.iter().map(|value| value * value).sum::<f64>().sqrt());
    let (quaternion, handedness) = quaternion(columns, size);
    let spacing = [handedness, size[0], size[1], size[2], 1.0, 0.0, 0.0, 0.0];
    spacing.iter().enumerate().for_each(|(at, value)| put(76 + 4 * at, &(*value as f32).to_le_bytes()));
    put(108, &(DATA_OFFSET as f32).to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[MILLIMETRES]);
    put(148, content.description());
    let code = if affine.known { SCANNER } else { UNKNOWN };
    put(252, &code.to_le_bytes());
    put(254, &code.to_le_bytes());
    let offset = affine.matrix.map(|row| row[3]);
    for (at, value) in quaternion.into_iter().chain(offset).chain(affine.matrix.into_iter().flatten()).enumerate() {
        put(256 + 4 * at, &(value as f32).to_le_bytes());
    }
    put(344, b"n+1\0");
    Ok(bytes)
}

/// Components b, c, d of the unit quaternion of a rotation given by its columns, and -1 where the columns are left-handed
/// and the third is to be negated. After `nifti_mat44_to_quatern` of the standard: the largest component first.
fn quaternion(columns: [[f64; 3]; 3], size: [f64; 3]) -> ([f64; 3], f64) {
    let unit = |column: usize, axis: usize| match size[column] {
        0.0 => f64::from(u8::from(column == axis)),
        length => columns[column][axis] / length,
    };
    let mut r: [[f64; 3]; 3] = std::array::from_fn(|row| std::array::from_fn(|column| unit(column, row)));
    let minor = |a: usize, b: usize| r[1][a] * r[2][b] - r[1][b] * r[2][a];
    let determinant = r[0][0] * minor(1, 2) - r[0][1] * minor(0, 2) + r[0][2] * minor(0, 1);
    let handedness = if determinant < 0.0 { -1.0 } else { 1.0 };
    r.iter_mut().for_each(|row| row[2] *= handedness);

    let trace = r[0][0] + r[1][1] + r[2][2];
    // Four times each squared component.
    let squares = [1.0 + trace, 1.0 + 2.0 * r[0][0] - trace, 1.0 + 2.0 * r[1][1] - trace, 1.0 + 2.0 * r[2][2] - trace];
    let largest = (0..4).max_by(|a, b| squares[*a].total_cmp(&squares[*b])).unwrap_or(0);
    let twice = squares[largest].sqrt();
    let differences = [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]];
    let mut abcd = [0.0; 4];
    abcd[largest] = twice / 2.0;
    if largest == 0 {
        (0..3).for_each(|axis| abcd[axis + 1] = differences[axis] / (2.0 * twice));
    } else {
        let main = largest - 1;
        abcd[0] = differences[main] / (2.0 * twice);
        for axis in (0..3).filter(|axis| *axis != main) {
            abcd[axis + 1] = (r[axis][main] + r[main][axis]) / (2.0 * twice);
        }
    }
    let sign = if abcd[0] < 0.0 { -1.0 } else { 1.0 };
    ([sign * abcd[1], sign * abcd[2], sign * abcd[3]], handedness)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rotation of a quaternion, by the formula of the standard.
    fn rotation([b, c, d]: [f64; 3]) -> [[f64; 3]; 3] {
        let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
        [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    }

    #[test]
    fn the_quaternion_gives_the_rotation_back() {
        let angles = [(0.3f64, -1.2f64, 2.0f64), (3.1, 0.0, 0.0), (0.0, 3.12, 0.1), (-2.0, 1.5, 3.0), (0.0, 0.0, 0.0)];
        for (x, y, z) in angles {
            let (cx, sx, cy, sy, cz, sz) = (x.cos(), x.sin(), y.cos(), y.sin(), z.cos(), z.sin());
            let columns = [
                [cz * cy, sz * cy, -sy],
                [cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx],
                [cz * sy * cx + sz * sx, sz * sy * cx - cz * sx, cy * cx],
            ];
            for sign in [1.0, -1.0] {
                let size = [2.0, 0.5, 3.0];
                let scaled: [[f64; 3]; 3] = std::array::from_fn(|column| {
                    columns[column].map(|value| value * size[column] * if column == 2 { sign } else { 1.0 })
                });
                let (found, handedness) = quaternion(scaled, size);
                assert_eq!(handedness, sign);
                let found = rotation(found);
                for row in 0..3 {
                    for column in 0..3 {
                        assert!((found[row][column] - columns[column][row]).abs() < 1e-6, "{x} {y} {z} {sign}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_of_maps_are_rounded_to_the_nearest_and_stay_finite(
            value in prop_oneof![any::<f32>(), Just(f32::MAX), Just(f32::MIN), Just(0.0)], zeros in 1u32..20,
        ) {
            prop_assume!(value.is_finite());
            let found = rounded(value, zeros);
            prop_assert!(found.is_finite() && found.to_bits().trailing_zeros() >= zeros);
            let ends = value.abs() > f32::MAX / 2.0;
            let unit = f32::from_bits((value.to_bits() & 0x7f80_0000).max(0x0080_0000)) * 2f32.powi(zeros as i32 - 23);
            prop_assert!((found - value).abs() <= if ends { unit } else { 0.5 * unit }, "{value} {found}");
        }
    }

    #[test]
    fn values_that_cannot_be_written_are_refused() {
        let affine = Affine { matrix: [[1.0, 0.0, 0.0, 0.0]; 3], known: false };
        let mut volume = Array4::zeros((1, 1, 2, 2));
        volume[[0, 0, 1, 1]] = f32::NAN;
        assert!(matches!(encode(Vec::new(), &volume, &affine, Content::Magnitude), Err(Error::Corrupt { .. })));
        let long = Array4::zeros((1, 1, 1, 40_000));
        assert!(matches!(
            encode(Vec::new(), &long, &affine, Content::Magnitude),
            Err(Error::Limit { found: 40_000, .. })
        ));
    }
}
