//! Coil images to one magnitude image.

use ndarray::{Array2, Array3, Axis, Zip};

use crate::Complex32;

/// Root sum of squares over the coils: `[coil, y, x]` to `[y, x]`, in the unit of the coil images.
#[must_use]
pub fn rss(images: &Array3<Complex32>) -> Array2<f32> {
    let (_, rows, columns) = images.dim();
    let mut sum = Array2::zeros((rows, columns));
    for image in images.axis_iter(Axis(0)) {
        Zip::from(&mut sum).and(image).for_each(|sum: &mut f32, value| *sum += value.norm_sqr());
    }
    sum.mapv_inplace(f32::sqrt);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_squares_over_coils_only() {
        let mut images = Array3::zeros((2, 2, 3));
        images[[0, 1, 2]] = Complex32::new(0.0, 3.0);
        images[[1, 1, 2]] = Complex32::new(-4.0, 0.0);
        images[[1, 0, 0]] = Complex32::new(1.0, 1.0);
        let image = rss(&images);
        assert_eq!(image.dim(), (2, 3));
        assert_eq!(image[[1, 2]], 5.0);
        assert!((image[[0, 0]] - 2f32.sqrt()).abs() < 1e-7);
        assert_eq!(image[[0, 1]], 0.0);
    }
}
