//! The de-identified header of a prepared file, by allow-list.

use contract::prepared::Header;
use ndarray::{Array2, ArrayView1};

use super::Log;
use super::volume::Axes;
use crate::format::header as raw;
use crate::prepared::Shape;

/// Characters of a maker's or a model's name.
const NAME_LENGTH: usize = 64;
/// How far directions may be from unit length and from right angles.
const DIRECTION_TOLERANCE: f32 = 0.02;

/// Keeps what does not identify a person. Numbers that are not finite are dropped, since JSON cannot hold them.
pub(super) fn describe(
    raw: &raw::Header,
    encoding: &raw::Encoding,
    shape: &Shape,
    axes: &Axes,
    geometry: &Array2<f32>,
    log: &mut Log,
) -> Header {
    let extent = |value: f64| (value.is_finite() && value > 0.0).then_some(value);

    let (encoded, recon) = (&encoding.encoded, &encoding.recon);
    let mut known = true;
    let mut field_of_view = |axis: usize, points: usize| {
        let stated = extent(encoded.field_of_view_mm[axis]).or(extent(recon.field_of_view_mm[axis]));
        known &= stated.is_some();
        stated.unwrap_or(points as f64)
    };
    let (rows, slices) = (axes.row_axis(), axes.slice_axis());
    let encoded_x = field_of_view(0, encoded.matrix[0]);
    // The slices of a 3-D scan share its slab.
    let field_of_view_mm = [
        encoded_x * shape.kx as f64 / encoded.matrix[0] as f64,
        field_of_view(rows, shape.ky),
        field_of_view(slices, axes.partitions) / axes.partitions as f64,
    ];
    if !known {
        log.warn("field of view incomplete: voxels of 1 mm are assumed where it is missing");
    }
    let matrix = [shape.kx, shape.ky, 1];
    let wanted = |axis: usize, points: usize| if recon.matrix[axis] == 0 { points } else { recon.matrix[axis] };
    let recon_matrix = [wanted(0, shape.kx), wanted(rows, shape.ky), 1];
    let wanted = |axis: usize, otherwise: f64| extent(recon.field_of_view_mm[axis]).unwrap_or(otherwise);
    let thickness = if axes.partitions > 1 { field_of_view_mm[2] } else { wanted(slices, field_of_view_mm[2]) };
    let recon_field_of_view_mm = [wanted(0, field_of_view_mm[0]), wanted(rows, field_of_view_mm[1]), thickness];

    let geometry_known = geometry.outer_iter().all(is_orthonormal);
    if !geometry_known {
        log.warn("slice directions missing or not at right angles: the orientation of the images is unknown");
    }
    Header {
        matrix,
        field_of_view_mm,
        recon_matrix,
        recon_field_of_view_mm,
        stated_acceleration: number(encoding.acceleration.map(|factors| factors[rows - 1])),
        geometry_known,
        ..acquisition(raw)
    }
}

/// What the header says of scanner and protocol; the rest is empty.
pub(crate) fn acquisition(raw: &raw::Header) -> Header {
    let name = |text: &Option<String>| text.as_ref().map(|text| text.chars().take(NAME_LENGTH).collect());
    let numbers = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect();
    Header {
        vendor: name(&raw.system.vendor),
        model: name(&raw.system.model),
        field_strength_t: number(raw.system.field_strength_t),
        h1_frequency_hz: number(raw.h1_frequency_hz),
        patient_position: raw.patient_position.clone().filter(|position| raw::POSITIONS.contains(&position.as_str())),
        tr_ms: numbers(&raw.sequence.tr_ms),
        te_ms: numbers(&raw.sequence.te_ms),
        ti_ms: numbers(&raw.sequence.ti_ms),
        flip_angle_deg: numbers(&raw.sequence.flip_angle_deg),
        ..Header::default()
    }
}

fn number(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// Whether a row of the geometry array holds three directions at right angles.
fn is_orthonormal(row: ArrayView1<'_, f32>) -> bool {
    let direction = |at: usize| [row[3 * at], row[3 * at + 1], row[3 * at + 2]];
    let dot = |a: usize, b: usize| direction(a).iter().zip(direction(b)).map(|(a, b)| a * b).sum::<f32>();
    let unit = (1..=3).all(|at| (dot(at, at).sqrt() - 1.0).abs() < DIRECTION_TOLERANCE);
    unit && [(1, 2), (1, 3), (2, 3)].into_iter().all(|(a, b)| dot(a, b).abs() < DIRECTION_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::Space;

    const SHAPE: Shape = Shape { entries: 1, coils: 2, ky: 100, kx: 128, acs: None };
    const FLAT: Axes = Axes { rows: 100, partitions: 1, kept: 0..1, exchanged: false };

    fn straight() -> Array2<f32> {
        Array2::from_shape_vec((1, 12), vec![0., 0., 0., 1., 0., 0., 0., 1., 0., 0., 0., 1.]).unwrap()
    }

    #[test]
    fn free_text_and_numbers_that_are_not_finite_are_dropped() {
        let mut raw = raw::Header { patient_position: Some("Jane Doe".into()), ..raw::Header::default() };
        raw.sequence.te_ms = vec![f64::NAN, 12.5];
        raw.h1_frequency_hz = Some(f64::INFINITY);
        let space = Space { matrix: [256, 100, 1], field_of_view_mm: [400.0, 200.0, 3.0] };
        let encoding = raw::Encoding { encoded: space, ..raw::Encoding::default() };
        let mut log = Log::default();
        let header = describe(&raw, &encoding, &SHAPE, &FLAT, &straight(), &mut log);
        assert_eq!((header.patient_position, header.h1_frequency_hz), (None, None));
        assert_eq!(header.te_ms, [12.5]);
        assert_eq!(header.field_of_view_mm, [200.0, 200.0, 3.0]);
        assert_eq!(header.recon_matrix, [128, 100, 1]);
        assert!(header.geometry_known && log.warnings.is_empty());
    }

    #[test]
    fn a_missing_field_of_view_and_missing_directions_are_said() {
        let mut log = Log::default();
        let space = Space { matrix: [128, 100, 1], field_of_view_mm: [0.0; 3] };
        let encoding = raw::Encoding { encoded: space, ..raw::Encoding::default() };
        let header = describe(&raw::Header::default(), &encoding, &SHAPE, &FLAT, &Array2::zeros((1, 12)), &mut log);
        assert_eq!(header.field_of_view_mm, [128.0, 100.0, 1.0]);
        assert!(!header.geometry_known);
        assert_eq!(log.warnings.len(), 2);
    }

    #[test]
    fn slices_of_a_slab_share_it_whichever_axis_they_lie_along() {
        let mut log = Log::default();
        let space = Space { matrix: [128, 100, 20], field_of_view_mm: [128.0, 200.0, 60.0] };
        let encoding = raw::Encoding { encoded: space, acceleration: Some([3.0, 2.0]), ..raw::Encoding::default() };
        let straight_axes = Axes { partitions: 20, kept: 0..20, ..FLAT };
        let header = describe(&raw::Header::default(), &encoding, &SHAPE, &straight_axes, &straight(), &mut log);
        assert_eq!((header.field_of_view_mm, header.stated_acceleration), ([128.0, 200.0, 3.0], Some(3.0)));
        let exchanged = Axes { rows: 20, partitions: 100, kept: 0..100, exchanged: true };
        let shape = Shape { ky: 20, ..SHAPE };
        let header = describe(&raw::Header::default(), &encoding, &shape, &exchanged, &straight(), &mut log);
        assert_eq!((header.field_of_view_mm, header.stated_acceleration), ([128.0, 60.0, 2.0], Some(2.0)));
    }
}
