//! Images as ISMRMRD keeps them, for tools of the research community: the header of the scan and, for each slice of each frame, an image
//! with its own header (<https://ismrmrd.readthedocs.io/en/stable/mrd_image_data.html>).
//!
//! An image is one slice, `[channel, z, y, x]` with one channel and one partition. Its position is that of its voxel `n / 2`, as the position
//! of a readout is, so images lie where the readouts they come from lie.

use std::fmt::Display;
use std::io::{self, Cursor};

use contract::prepared::Header;
use ndarray::ArrayView4;
use quick_xml::escape::escape;

use super::Frame;
use super::geometry::{Grid, Pose, Stack};
use crate::format::hdf5::types::{array_type, float_type, integer_type, packed, string_type};
use crate::format::hdf5::writer::{Bytes, Writer};
use crate::{Complex32, Error, Result};

/// Version of the image header.
const VERSION: u16 = 1;
/// Codes of sample types and of what an image shows.
const FLOATS: u16 = 5;
const COMPLEX_FLOATS: u16 = 7;
const MAGNITUDE: u16 = 1;
const COMPLEX: u16 = 5;
/// Larmor frequency of hydrogen over field strength, Hz/T.
const HYDROGEN: f64 = 42.577_478_518e6;

/// Voxels `[frame, slice, y, x]`, in the unit of the raw data.
#[derive(Debug, Clone, Copy)]
pub enum Voxels<'a> {
    /// Magnitudes, of a combination that has no phase.
    Magnitude(ArrayView4<'a, f32>),
    /// Images with their phase.
    Complex(ArrayView4<'a, Complex32>),
}

/// What is written.
pub struct Study<'a> {
    /// How it was acquired.
    pub header: &'a Header,
    /// The grid of the images.
    pub grid: &'a Grid,
    /// Where the slices are.
    pub stack: &'a Stack,
    /// What each frame is.
    pub frames: &'a [Frame],
    /// Name and value of what a person should know of every image.
    pub notes: &'a [(&'a str, String)],
    /// The images.
    pub voxels: Voxels<'a>,
}

/// The bytes of the file: group `dataset` with `xml` and the images in `image_0`, by frame and in it by slice.
///
/// # Errors
/// [`Error::Limit`] for images that are larger than the format can hold, [`Error::Corrupt`] for ones without voxels.
pub fn encode(study: &Study<'_>) -> Result<Vec<u8>> {
    let shape = match study.voxels {
        Voxels::Magnitude(voxels) => voxels.dim(),
        Voxels::Complex(voxels) => voxels.dim(),
    };
    let (frames, slices, rows, columns) = shape;
    if frames * slices * rows * columns == 0 || study.frames.len() != frames {
        return Err(Error::corrupt("image", "no voxels, or frames of no contrast", "at least one image"));
    }
    let largest = rows.max(columns).max(frames * slices);
    if largest > usize::from(u16::MAX) {
        return Err(Error::Limit {
            what: "rows, columns or number of ISMRMRD images",
            found: largest as u64,
            limit: u16::MAX.into(),
        });
    }
    file(study, shape).map_err(Error::io("writing the ISMRMRD images"))
}

fn file(study: &Study<'_>, (frames, slices, rows, columns): (usize, usize, usize, usize)) -> io::Result<Vec<u8>> {
    let mut hdf5 = Writer::new(Cursor::new(Vec::new()))?;
    let xml = header(study, slices);
    let xml = hdf5.variable(xml.len() as u32, xml.as_bytes())?;
    let text = notes(study.notes);
    // Every image has the same notes: one text, as many references.
    let notes = hdf5.variable(text.len() as u32, text.as_bytes())?;
    let count = frames * slices;
    let head = |at: usize| head(study, at, (at / slices, at % slices), text.len());
    let heads: Vec<u8> = (0..count).flat_map(head).collect();
    let shape = [count, 1, 1, rows, columns];
    let data = match study.voxels {
        Voxels::Magnitude(voxels) => {
            let voxels = voxels.as_standard_layout();
            hdf5.array("data", &float_type(), &shape, bytemuck::cast_slice(voxels.as_slice().unwrap_or_default()))?
        }
        Voxels::Complex(voxels) => {
            let datatype = packed([("real", float_type()), ("imag", float_type())]);
            let voxels = voxels.as_standard_layout();
            hdf5.array("data", &datatype, &shape, bytemuck::cast_slice(voxels.as_slice().unwrap_or_default()))?
        }
    };
    // Groups list their children by name.
    let images = [
        hdf5.array("attributes", &string_type(), &[count], &notes.repeat(count))?,
        data,
        hdf5.array("header", &head_type(), &[count], &heads)?,
    ];
    let images = hdf5.group("image_0", &images)?;
    let xml = hdf5.array("xml", &string_type(), &[1], &xml)?;
    let dataset = hdf5.group("dataset", &[images, xml])?;
    let root = hdf5.group("/", &[dataset])?;
    hdf5.finish(&root).map(Cursor::into_inner)
}

/// Extent of an image and the thickness of its slice, mm.
fn field_of_view(Study { grid, header, .. }: &Study<'_>) -> [f64; 3] {
    let [x, y, _] = grid.voxel_mm;
    [x * grid.columns as f64, y * grid.rows as f64, header.field_of_view_mm[2]]
}

/// The header of image `number`.
fn head(study: &Study<'_>, number: usize, (frame, slice): (usize, usize), notes: usize) -> Vec<u8> {
    let grid = study.grid;
    let Frame { contrast, phase, repetition, set } = study.frames[frame];
    let (sample, shows) = match study.voxels {
        Voxels::Magnitude(_) => (FLOATS, MAGNITUDE),
        Voxels::Complex(_) => (COMPLEX_FLOATS, COMPLEX),
    };
    let Pose { first, directions: [across, down], normal } = study.stack.pose(slice);
    let [x, y] = [grid.voxel_mm[0] * (grid.columns / 2) as f64, grid.voxel_mm[1] * (grid.rows / 2) as f64];
    let position: [f64; 3] = std::array::from_fn(|axis| first[axis] + across[axis] * x + down[axis] * y);
    let vector = |bytes: &mut Bytes, values: [f64; 3]| {
        for value in values {
            bytes.u32((value as f32).to_bits());
        }
    };
    let mut bytes = Bytes::default();
    bytes.u16(VERSION).u16(sample).u64(0).u32(1);
    for points in [grid.columns, grid.rows, 1] {
        bytes.u16(points as u16);
    }
    vector(&mut bytes, field_of_view(study));
    bytes.u16(1);
    for values in [position, across, down, normal, [0.0; 3]] {
        vector(&mut bytes, values);
    }
    for counter in [0, slice as u16, contrast, phase, repetition, set] {
        bytes.u16(counter);
    }
    // Time stamps of readouts are not kept in prepared files.
    bytes.pad(4 + 3 * 4);
    bytes.u16(shows).u16(number as u16).u16(0);
    bytes.pad(8 * 4 + 8 * 4);
    bytes.u32(notes as u32);
    bytes.0
}

fn head_type() -> Vec<u8> {
    let [u16_type, u32_type, u64_type] = [2, 4, 8].map(|bytes| integer_type(bytes, false));
    let vector = array_type(3, &float_type());
    packed([
        ("version", u16_type.clone()),
        ("data_type", u16_type.clone()),
        ("flags", u64_type),
        ("measurement_uid", u32_type.clone()),
        ("matrix_size", array_type(3, &u16_type)),
        ("field_of_view", vector.clone()),
        ("channels", u16_type.clone()),
        ("position", vector.clone()),
        ("read_dir", vector.clone()),
        ("phase_dir", vector.clone()),
        ("slice_dir", vector.clone()),
        ("patient_table_position", vector),
        ("average", u16_type.clone()),
        ("slice", u16_type.clone()),
        ("contrast", u16_type.clone()),
        ("phase", u16_type.clone()),
        ("repetition", u16_type.clone()),
        ("set", u16_type.clone()),
        ("acquisition_time_stamp", u32_type.clone()),
        ("physiology_time_stamp", array_type(3, &u32_type)),
        ("image_type", u16_type.clone()),
        ("image_index", u16_type.clone()),
        ("image_series_index", u16_type),
        ("user_int", array_type(8, &integer_type(4, true))),
        ("user_float", array_type(8, &float_type())),
        ("attribute_string_len", u32_type),
    ])
}

/// What a person should know of every image, in the form that ISMRMRD calls MetaContainer.
fn notes(notes: &[(&str, String)]) -> String {
    let notes = notes.iter().map(|(name, value)| group("meta", [element("name", name), element("value", value)]));
    format!("<?xml version=\"1.0\"?>\n{}\n", group("ismrmrdMeta", notes))
}

/// The XML header: what of the scan is known and names nobody, complete by the ISMRMRD schema and in its order.
fn header(study: &Study<'_>, slices: usize) -> String {
    let (header, grid) = (study.header, study.grid);
    let encoded = space("encodedSpace", header.matrix, header.field_of_view_mm);
    let recon = space("reconSpace", [grid.columns, grid.rows, 1], field_of_view(study));
    let limit = |name: &str, count: usize| {
        let (last, middle) = (count.saturating_sub(1), count / 2);
        let limits = [("minimum", 0), ("maximum", last), ("center", middle)];
        group(name, limits.map(|(name, value)| element(name, value)))
    };
    let counters = |frame: &Frame| [frame.contrast, frame.phase, frame.repetition, frame.set].map(usize::from);
    let mut limits = vec![limit("kspace_encoding_step_1", header.matrix[1]), limit("slice", slices)];
    for (at, name) in ["contrast", "phase", "repetition", "set"].into_iter().enumerate() {
        let last = study.frames.iter().map(|frame| counters(frame)[at]).max();
        limits.push(limit(name, last.unwrap_or(0) + 1));
    }
    let encoding = [encoded, recon, group("encodingLimits", limits), element("trajectory", "cartesian")];

    let system = [
        header.vendor.as_ref().map(|vendor| element("systemVendor", vendor)),
        header.model.as_ref().map(|model| element("systemModel", model)),
        header.field_strength_t.map(|field| element("systemFieldStrength_T", field)),
    ];
    // The schema demands a frequency.
    let frequency = header.h1_frequency_hz.or(header.field_strength_t.map(|field| field * HYDROGEN)).unwrap_or(0.0);
    let times = [("TR", &header.tr_ms), ("TE", &header.te_ms), ("TI", &header.ti_ms)];
    let times = times.into_iter().chain([("flipAngle_deg", &header.flip_angle_deg)]);
    let sequence = times.flat_map(|(name, values)| values.iter().map(move |value| element(name, value)));
    let position = header.patient_position.as_ref().map(|position| element("patientPosition", position));
    let content = [
        position.map_or_else(String::new, |position| group("measurementInformation", [position])),
        group("acquisitionSystemInformation", system.into_iter().flatten()),
        group("experimentalConditions", [element("H1resonanceFrequency_Hz", frequency.round())]),
        group("encoding", encoding),
        group("sequenceParameters", sequence),
    ];
    let content: String = content.into_iter().collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\">{content}</ismrmrdHeader>\n"
    )
}

fn space(name: &str, matrix: [usize; 3], extent: [f64; 3]) -> String {
    let axes = ["x", "y", "z"];
    let matrix = axes.iter().zip(matrix).map(|(axis, points)| element(axis, points));
    let extent = axes.iter().zip(extent).map(|(axis, length)| element(axis, length));
    group(name, [group("matrixSize", matrix), group("fieldOfView_mm", extent)])
}

fn element(name: &str, value: impl Display) -> String {
    format!("<{name}>{}</{name}>", escape(value.to_string()))
}

fn group(name: &str, content: impl IntoIterator<Item = String>) -> String {
    let content: String = content.into_iter().collect();
    format!("<{name}>{content}</{name}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of an image header, packed.
    const HEAD_BYTES: u32 = 198;

    #[test]
    fn heads_have_the_length_of_the_standard() {
        let datatype = head_type();
        assert_eq!(u32::from_le_bytes([datatype[4], datatype[5], datatype[6], datatype[7]]), HEAD_BYTES);
    }
}
