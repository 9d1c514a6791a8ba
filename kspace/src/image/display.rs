//! Slices as radiologists expect to see them.

use ndarray::Array2;

use super::geometry::{Affine, Stack, dot};
use crate::numerics::resample::resize;

/// Sides of a pixel closer than this are the same.
const SAME: f64 = 0.01;
/// Longest side of a displayed image after its pixels were made square.
const MAX_DISPLAY: f64 = 4096.0;

/// How to show a slice as radiologists expect it: a transverse slice seen from the feet with the nose up, a coronal one
/// from the front and a sagittal one from the left, both with the head up. The patient's left is on the right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Display {
    transpose: bool,
    flip_rows: bool,
    flip_columns: bool,
    /// Height over width of a pixel, before transposing.
    aspect: f64,
}

impl Display {
    /// The display of slices of `stack`. With an unknown orientation rows and columns stay as they are.
    #[must_use]
    pub fn of(stack: &Stack) -> Self {
        let aspect = stack.voxel_mm[1] / stack.voxel_mm[0];
        let aspect = if aspect.is_finite() && (aspect - 1.0).abs() > SAME { aspect } else { 1.0 };
        if !stack.affine.known {
            return Self { transpose: false, flip_rows: false, flip_columns: false, aspect };
        }
        let [columns, rows, normal] = [0, 1, 2].map(|column| stack.affine.lps(column));
        let largest = (0..3).max_by(|a, b| normal[*a].abs().total_cmp(&normal[*b].abs())).unwrap_or(2);
        let (left, back, feet) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]);
        let (right, down) = match largest {
            0 => (back, feet),
            1 => (left, feet),
            _ => (left, back),
        };
        let transpose = dot(columns, down).abs() > dot(columns, right).abs();
        let (across, along) = if transpose { (rows, columns) } else { (columns, rows) };
        Self { transpose, flip_rows: dot(along, down) < 0.0, flip_columns: dot(across, right) < 0.0, aspect }
    }

    /// From (column, row, slice, 1) of slices as they are shown, with `shown` rows and columns, to where `affine` puts the voxels of slices of
    /// `native` rows and columns.
    #[must_use]
    pub fn affine(&self, affine: &Affine, native: (usize, usize), shown: (usize, usize)) -> [[f64; 4]; 3] {
        // Along each shown axis the native index is `scale * index + start`.
        let along = |count: usize, native: usize, flipped: bool| {
            let scale = native as f64 / count.max(1) as f64;
            let start = 0.5 * scale - 0.5;
            if flipped { (-scale, native as f64 - 1.0 - start) } else { (scale, start) }
        };
        let (across, down) = if self.transpose { (native.0, native.1) } else { (native.1, native.0) };
        let (columns, rows) = (along(shown.1, across, self.flip_columns), along(shown.0, down, self.flip_rows));
        let (of_columns, of_rows) = if self.transpose { (1, 0) } else { (0, 1) };
        affine.matrix.map(|row| {
            let (column, down) = (row[of_columns], row[of_rows]);
            [column * columns.0, down * rows.0, row[2], row[3] + column * columns.1 + down * rows.1]
        })
    }

    /// A slice `[y, x]` turned for display, with square pixels.
    #[must_use]
    pub fn apply(&self, image: &Array2<f32>) -> Array2<f32> {
        let (rows, columns) = image.dim();
        let (mut tall, mut wide) = (rows as f64 * self.aspect.max(1.0), columns as f64 / self.aspect.min(1.0));
        let shrink = (MAX_DISPLAY / tall.max(wide)).min(1.0);
        tall *= shrink;
        wide *= shrink;
        let mut view = if self.aspect == 1.0 {
            image.clone()
        } else {
            resize(image, (tall.round() as usize).max(1), (wide.round() as usize).max(1))
        };
        if self.transpose {
            view = view.reversed_axes();
        }
        if self.flip_rows {
            view.invert_axis(ndarray::Axis(0));
        }
        if self.flip_columns {
            view.invert_axis(ndarray::Axis(1));
        }
        view.as_standard_layout().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use contract::prepared::Header;
    use ndarray::array;

    use super::*;
    use crate::image::geometry::{Grid, stack};

    fn header(matrix: [usize; 3]) -> Header {
        let field_of_view_mm = [240.0, 200.0, 4.0];
        Header {
            matrix,
            field_of_view_mm,
            recon_matrix: matrix,
            recon_field_of_view_mm: field_of_view_mm,
            geometry_known: true,
            ..Header::default()
        }
    }

    /// A slice at the origin.
    fn slice(directions: [f32; 9]) -> Array2<f32> {
        let row = [[0.0; 3].as_slice(), directions.as_slice()].concat();
        Array2::from_shape_vec((1, 12), row).unwrap()
    }

    #[test]
    fn every_orientation_is_shown_upright() {
        // Each image has one bright corner: the voxel furthest to the patient's left and back (transverse), left and
        // feet (coronal), back and feet (sagittal). It belongs at the lower right.
        let header = header([2, 2, 1]);
        let grid = Grid { columns: 2, rows: 2, first_row: 0, voxel_mm: [1.0; 3], kept_rows: 2 };
        let axes = [[1f32, 0., 0.], [0., 1., 0.], [0., 0., 1.]];
        for (normal, right, down) in
            [(2, [1., 0., 0.], [0., 1., 0.]), (1, axes[0], [0., 0., -1.]), (0, axes[1], [0., 0., -1.])]
        {
            let plane: Vec<usize> = (0..3).filter(|axis| *axis != normal).collect();
            for (read, phase) in [(plane[0], plane[1]), (plane[1], plane[0])] {
                for (sign_read, sign_phase) in [(1f32, 1f32), (1., -1.), (-1., 1.), (-1., -1.)] {
                    let (read, phase) = (axes[read].map(|v| v * sign_read), axes[phase].map(|v| v * sign_phase));
                    let mut directions = [0.0; 9];
                    [read, phase, axes[normal]]
                        .concat()
                        .iter()
                        .enumerate()
                        .for_each(|(at, value)| directions[at] = *value);
                    let stack = stack(&header, &grid, slice(directions).view());
                    let score = |x: usize, y: usize| -> f32 {
                        (0..3).map(|a| (read[a] * x as f32 + phase[a] * y as f32) * (right[a] + down[a])).sum()
                    };
                    let image = Array2::from_shape_fn((2, 2), |(y, x)| score(x, y));
                    let shown = Display::of(&stack).apply(&image);
                    let most = image.fold(f32::MIN, |most, value| most.max(*value));
                    assert_eq!(shown[[1, 1]], most, "{read:?} {phase:?}");
                    assert!(shown[[0, 0]] < shown[[0, 1]] && shown[[0, 0]] < shown[[1, 0]]);
                }
            }
        }
    }

    #[test]
    fn display_has_square_pixels() {
        let grid = Grid { columns: 4, rows: 2, first_row: 0, voxel_mm: [1.0, 2.0, 1.0], kept_rows: 2 };
        let unknown = Header { geometry_known: false, ..header([4, 2, 1]) };
        let stack = stack(&unknown, &grid, Array2::zeros((1, 12)).view());
        let shown = Display::of(&stack).apply(&array![[0., 0., 0., 0.], [1., 1., 1., 1.]]);
        assert_eq!(shown.dim(), (4, 4));
        assert!(shown[[0, 0]] < shown[[2, 0]]);
    }
}
