//! Slices in the patient, and images of DICOM files as a reader sees them: voxels, and where they are.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use ndarray::Array2;

pub(crate) type Vector = [f64; 3];

/// Directions of read, phase and slice: a rotation by a quaternion; left-handed with the slice direction turned round.
pub(crate) fn directions(quaternion: [f64; 4], left_handed: bool) -> [Vector; 3] {
    let size = quaternion.iter().map(|it| it * it).sum::<f64>().sqrt();
    let [w, x, y, z] = quaternion.map(|it| it / size);
    let read = [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)];
    let phase = [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)];
    let slice = [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)];
    [read, phase, if left_handed { slice.map(|it| -it) } else { slice }]
}

/// One slice.
pub(crate) struct Placed {
    /// Stored values `[row, column]`.
    pub(crate) pixels: Array2<f64>,
    position: Vector,
    /// Directions along a row and along a column.
    directions: [Vector; 2],
    /// Distance from row to row and from column to column, mm.
    pub(crate) spacing: [f64; 2],
}

impl Placed {
    /// Where a point of the image is, LPS, mm (PS3.3 C.7.6.2.1.1).
    pub(crate) fn at(&self, column: f64, row: f64) -> Vector {
        let ([across, down], [of_rows, of_columns]) = (self.directions, self.spacing);
        std::array::from_fn(|axis| {
            self.position[axis] + column * of_columns * across[axis] + row * of_rows * down[axis]
        })
    }
}

fn numbers(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    object.element(tag).unwrap().to_multi_float64().unwrap()
}

fn only(object: &InMemDicomObject, sequence: Tag) -> &InMemDicomObject {
    let items = object.element(sequence).unwrap().items().unwrap();
    assert_eq!(items.len(), 1);
    &items[0]
}

/// Every image of a file, classic or enhanced.
pub(crate) fn images(file: &[u8]) -> Vec<Placed> {
    let object = dicom_object::from_reader(file).unwrap().into_inner();
    let [rows, columns] = [tags::ROWS, tags::COLUMNS].map(|tag| numbers(&object, tag)[0] as usize);
    let pixels = object.element(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
    let frames = pixels
        .chunks_exact(rows * columns)
        .map(|frame| Array2::from_shape_vec((rows, columns), frame.iter().copied().map(f64::from).collect()).unwrap());
    let place = |pixels: Array2<f64>, [position, plane, measures]: [&InMemDicomObject; 3]| {
        let directions = numbers(plane, tags::IMAGE_ORIENTATION_PATIENT);
        let triple = |values: &[f64]| Vector::try_from(values).unwrap();
        Placed {
            pixels,
            position: triple(&numbers(position, tags::IMAGE_POSITION_PATIENT)),
            directions: [triple(&directions[..3]), triple(&directions[3..])],
            spacing: numbers(measures, tags::PIXEL_SPACING).try_into().unwrap(),
        }
    };
    let Ok(groups) = object.element(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) else {
        return frames.map(|frame| place(frame, [&object; 3])).collect();
    };
    let shared = only(&object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let [plane, measures] =
        [tags::PLANE_ORIENTATION_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE].map(|tag| only(shared, tag));
    let of_frame = |(frame, group)| place(frame, [only(group, tags::PLANE_POSITION_SEQUENCE), plane, measures]);
    frames.zip(groups.items().unwrap()).map(of_frame).collect()
}
