//! The HDF5 files of the fastMRI data set (Knoll et al., Radiol. Artif. Intell. 2:e190007, 2020).
//!
//! `kspace` is complex64, `[slice, coil, readout, phase]`, or `[slice, readout, phase]` of one coil; the readout is twice
//! oversampled. Columns that were not acquired are zero. `ismrmrd_header` is the header of the scan as text; `mask`, where
//! there is one, is not zero for acquired columns. There are no heads of readouts: positions and directions are unknown,
//! and nothing is made up for them.
//!
//! | module | what it does |
//! |---|---|
//! | `slices` | the samples: in place, or some slices of a compressed array at a time |

mod slices;

use std::borrow::Cow;

use hdf5_reader::dataset::Dataset;

use super::hdf5::{Hdf5, explain};
use super::header::{Encoding, Header, Limit, Space, Trajectory};
use super::{Counters, RawScan, ReadoutHead, xml};
use crate::{Complex32, Error, Result};
use slices::{Shape, Slices};

/// A mask is as long as a line has columns.
const MAX_MASK_BYTES: usize = 1 << 20;

/// An opened file: one readout for each acquired column of each slice.
pub(super) struct FastMri {
    slices: Slices,
    header: Header,
    heads: Vec<ReadoutHead>,
    warnings: Vec<String>,
}

/// Whether an HDF5 file is one of fastMRI.
pub(super) fn is(file: &Hdf5) -> Result<bool> {
    let (_, datasets) = file.root()?.member_names().map_err(explain)?;
    Ok(datasets.iter().any(|name| name == "kspace"))
}

/// Opens a file. The samples are read once to tell which columns were acquired, and again on demand.
///
/// # Errors
/// [`Error::Unsupported`] for samples of another precision or shape, [`Error::Limit`] for sizes out of proportion to the
/// file, [`Error::Corrupt`] for damage.
pub(super) fn open(file: Hdf5) -> Result<FastMri> {
    let root = file.root()?;
    let (_, names) = root.member_names().map_err(explain)?;
    let dataset = |name: &str| -> Result<Option<Dataset>> {
        names.iter().any(|it| it == name).then(|| root.dataset(name).map_err(explain)).transpose()
    };
    let Some(kspace) = dataset("kspace")? else {
        return Err(Error::corrupt("the fastMRI file", "no dataset `kspace`", "one"));
    };
    let shape = Shape::of(&kspace)?;
    super::check_readouts(shape.slices as u64 * shape.phase as u64)?;
    let (mut header, mut warnings) = match dataset("ismrmrd_header")? {
        Some(text) => xml::parse(&file.text(&text)?)?,
        None => (Header::default(), vec!["the fastMRI file has no header: only the matrix is known".to_owned()]),
    };
    let mask = match dataset("mask")? {
        Some(mask) => read_mask(&mask, &shape, &mut warnings)?,
        None => None,
    };
    let slices = Slices::new(file, kspace, shape)?;
    let padding = fit_header(&mut header, &shape, &mut warnings);
    let acquired = slices.acquired()?;
    compare(&acquired, mask.as_deref(), padding, &mut warnings);
    let mut heads: Vec<ReadoutHead> = acquired
        .iter()
        .enumerate()
        .flat_map(|(slice, columns)| {
            let columns = columns.iter().enumerate().filter(|(_, acquired)| **acquired);
            columns.map(move |(column, _)| (slice, column))
        })
        .zip(0..)
        .map(|((slice, column), number)| head(&shape, slice, column, number))
        .collect();
    super::end(&mut heads);
    if heads.is_empty() {
        return Err(Error::corrupt("the fastMRI file", "nothing but zeros", "k-space samples"));
    }
    Ok(FastMri { slices, header, heads, warnings })
}

/// [`Shape::of`] has checked that every number fits.
fn head(shape: &Shape, slice: usize, column: usize, number: u32) -> ReadoutHead {
    ReadoutHead {
        scan_counter: number,
        samples: shape.readout as u16,
        channels: shape.coils as u16,
        center_sample: (shape.readout / 2) as u16,
        counters: Counters { step_1: column as u16, slice: slice as u16, ..Counters::default() },
        ..ReadoutHead::default()
    }
}

/// Whether each column was acquired, as the file states it.
fn read_mask(mask: &Dataset, shape: &Shape, warnings: &mut Vec<String>) -> Result<Option<Vec<bool>>> {
    let bytes = mask.raw_byte_len().map_err(explain)?;
    let elements = mask.num_elements().map_err(explain)?;
    if elements != shape.phase as u64 || bytes > MAX_MASK_BYTES {
        warnings.push(format!("the mask has {elements} values for {} columns and is not used", shape.phase));
        return Ok(None);
    }
    // Zero is all bits zero in every type that masks are written in.
    let bytes = mask.read_raw_bytes().map_err(explain)?;
    Ok(Some(bytes.chunks_exact(bytes.len() / shape.phase).map(|value| value.iter().any(|byte| *byte != 0)).collect()))
}

/// Makes the first encoding that of the samples, and returns which columns were acquired after the header: the others pad
/// the matrix. The row of a column is its number, so that the middle one is the centre of k-space.
fn fit_header(header: &mut Header, shape: &Shape, warnings: &mut Vec<String>) -> (usize, usize) {
    header.encodings.truncate(1);
    if header.encodings.is_empty() {
        header.encodings.push(Encoding::default());
    }
    // The files hold Cartesian k-space, whatever the sequence was called.
    let Some(encoding) = header.encodings.first_mut() else { return (0, shape.phase) };
    if encoding.trajectory != Trajectory::Cartesian {
        warnings.push("the header states another trajectory than Cartesian, which fastMRI files are".to_owned());
        encoding.trajectory = Trajectory::Cartesian;
    }
    let stated = encoding.encoded.matrix;
    let found = [shape.readout, shape.phase, 1];
    for (axis, name) in ["readout", "phase encoding"].into_iter().enumerate() {
        if stated[axis] != 0 && stated[axis] != found[axis] {
            warnings.push(format!(
                "the header states {} points along {name}, the data have {}: the data are followed",
                stated[axis], found[axis]
            ));
        }
    }
    encoding.encoded.matrix = found;
    if encoding.recon == Space::default() {
        encoding.recon = encoding.encoded;
    }
    let middle = shape.phase / 2;
    let padding = encoding.limits.step_1.map_or((0, shape.phase), |limit| {
        let left = middle.saturating_sub(limit.center.into());
        (left, (left + usize::from(limit.maximum) + 1).min(shape.phase))
    });
    encoding.limits.step_1 =
        Some(Limit { minimum: padding.0 as u16, maximum: padding.1.saturating_sub(1) as u16, center: middle as u16 });
    encoding.limits.step_2 = None;
    padding
}

/// What the header and the mask say against what is there; the data win.
fn compare(acquired: &[Vec<bool>], mask: Option<&[bool]>, padding: (usize, usize), warnings: &mut Vec<String>) {
    let columns = acquired.first().map_or(0, Vec::len);
    let any: Vec<bool> = (0..columns).map(|column| acquired.iter().any(|slice| slice[column])).collect();
    let outside = |column: &usize| !(padding.0..padding.1).contains(column);
    let padded = (0..columns).filter(|column| any[*column] && outside(column)).count();
    if padded > 0 {
        warnings
            .push(format!("{padded} columns that pad the matrix after the header hold samples: the data are followed"));
    }
    let Some(mask) = mask else { return };
    let hidden = (0..columns).filter(|column| any[*column] && !mask[*column]).count();
    let empty = (0..columns).filter(|column| !any[*column] && mask[*column] && !outside(column)).count();
    if hidden + empty > 0 {
        warnings.push(format!(
            "the mask leaves out {hidden} columns that hold samples and names {empty} that hold none: the data are followed"
        ));
    }
}

impl RawScan for FastMri {
    fn format(&self) -> &'static str {
        "fastMRI HDF5"
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let head = self.heads.get(readout).ok_or_else(|| super::no_such_readout(readout, self.heads.len()))?;
        self.slices.column(head.counters.slice.into(), head.counters.step_1.into()).map(Cow::Owned)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { slices: 2, coils: 3, readout: 640, phase: 368 };

    fn header(limit: Limit) -> Header {
        let encoded = Space { matrix: [640, 368, 1], field_of_view_mm: [280.0, 160.0, 4.5] };
        let mut encoding = Encoding { encoded, recon: encoded, ..Encoding::default() };
        encoding.limits.step_1 = Some(limit);
        Header { encodings: vec![encoding], ..Header::default() }
    }

    #[test]
    fn padding_is_that_of_the_data_set() {
        let mut warnings = Vec::new();
        // Knee file1000000: limits 0 to 321, centre 161.
        let mut knee = header(Limit { minimum: 0, maximum: 321, center: 161 });
        assert_eq!(fit_header(&mut knee, &SHAPE, &mut warnings), (23, 345));
        assert_eq!(knee.encodings[0].limits.step_1, Some(Limit { minimum: 23, maximum: 344, center: 184 }));
        assert!(warnings.is_empty());
        let mut far = header(Limit { minimum: 0, maximum: u16::MAX, center: u16::MAX });
        assert_eq!(fit_header(&mut far, &SHAPE, &mut warnings), (0, 368));
        let mut none = Header::default();
        assert_eq!(fit_header(&mut none, &SHAPE, &mut warnings), (0, 368));
        assert_eq!(none.encodings[0].recon.matrix, [640, 368, 1]);
    }

    #[test]
    fn contradictions_are_said() {
        let acquired = vec![vec![true, false, true, false], vec![true, false, false, false]];
        let said = |mask: Option<&[bool]>, padding| {
            let mut warnings = Vec::new();
            compare(&acquired, mask, padding, &mut warnings);
            warnings
        };
        assert!(said(None, (0, 4)).is_empty());
        assert!(said(Some(&[true, false, true, false]), (0, 4)).is_empty());
        // A mask that goes on where the matrix is padded is usual.
        assert!(said(Some(&[true, false, true, true]), (0, 3)).is_empty());
        assert!(said(None, (1, 4))[0].starts_with("1 columns that pad"));
        let mask = said(Some(&[false, true, true, false]), (0, 4));
        assert!(mask[0].contains("leaves out 1 columns") && mask[0].contains("names 1 that"), "{mask:?}");
    }
}
