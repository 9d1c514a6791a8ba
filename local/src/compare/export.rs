//! k-space, masks and images for other software, as `.npy` (NumPy's format, version 1.0).
//!
//! | file | content |
//! |---|---|
//! | `reference.npy` | f4 `[y, x]`, root sum of squares of the fully sampled coil images |
//! | `R-ACS/kspace.npy` | c8 `[coil, ky, kx]`, prewhitened where there is a noise scan, zero where nothing is kept |
//! | `R-ACS/mask.npy` | bool `[ky]`, true where a line is kept |
//! | `R-ACS/METHOD.npy` | f4 `[y, x]` |

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use kspace::undersample;

use super::{Cell, Comparison, Study};
use crate::{Error, Result};

/// Length of the header is a multiple of this, so that the samples are aligned.
const ALIGNMENT: usize = 64;

/// Writes the slice that is shown of a fully sampled file into `folder`, which is made.
///
/// # Errors
/// [`Error::Usage`] for an undersampled file, [`Error::Io`], [`Error::Data`].
pub fn write(study: &Study, comparison: &Comparison, folder: &Path) -> Result<()> {
    if !study.is_complete() {
        return Err(no_reference());
    }
    let full = study.kspace()?;
    for section in &comparison.cells {
        let at = folder.join(section.name());
        std::fs::create_dir_all(&at).map_err(Error::io("making the export folder"))?;
        let cell = Cell { acceleration: section.acceleration, acs: section.acs };
        let (mask, _) = cell.sample(full.dim().1)?;
        let kspace = undersample::keep(&full, &mask);
        let samples = kspace.iter().flat_map(|sample| [sample.re.to_le_bytes(), sample.im.to_le_bytes()]);
        npy(&at.join("kspace.npy"), "<c8", kspace.shape(), samples.flatten())?;
        npy(&at.join("mask.npy"), "|b1", &[mask.len()], mask.iter().map(|kept| u8::from(*kept)))?;
        let images = section.methods.iter().filter_map(|row| Some((row.method.as_str(), row.image.as_ref()?)));
        for (method, image) in images {
            let values = image.iter().flat_map(|value| value.to_le_bytes());
            npy(&at.join(format!("{method}.npy")), "<f4", image.shape(), values)?;
        }
        if let Some(reference) = &section.reference {
            let values = reference.iter().flat_map(|value| value.to_le_bytes());
            npy(&folder.join("reference.npy"), "<f4", reference.shape(), values)?;
        }
    }
    Ok(())
}

/// The refusal of an undersampled file.
#[must_use]
pub fn no_reference() -> Error {
    Error::Usage("the file is undersampled, so there is no reference to export: leave out --export".to_owned())
}

/// Writes an array in C order.
fn npy(path: &Path, kind: &str, shape: &[usize], bytes: impl Iterator<Item = u8>) -> Result<()> {
    let bytes: Vec<u8> = bytes.collect();
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&header(kind, shape))?;
        file.write_all(&bytes)?;
        file.flush()
    };
    write().map_err(Error::io("writing the export"))
}

fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let shape: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    const BEFORE: usize = 10;
    let padding = (BEFORE + text.len() + 1).next_multiple_of(ALIGNMENT) - (BEFORE + text.len() + 1);
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    // Headers of arrays of up to three axes are far shorter than 64 KiB.
    let length = text.len() as u16;
    [b"\x93NUMPY\x01\x00".as_slice(), &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_format() {
        let header = header("<c8", &[8, 168, 320]);
        assert_eq!(header.len() % ALIGNMENT, 0);
        assert_eq!(&header[..8], b"\x93NUMPY\x01\x00");
        assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
        let text = std::str::from_utf8(&header[10..]).unwrap();
        assert!(text.starts_with("{'descr': '<c8', 'fortran_order': False, 'shape': (8, 168, 320, ), }"), "{text}");
        assert!(text.ends_with('\n'));
    }
}
