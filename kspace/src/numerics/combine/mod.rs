//! Coil images to one image.
//!
//! | what | when |
//! |---|---|
//! | [`rss`] | magnitude only, no sensitivities needed |
//! | [`adaptive::maps`], then [`apply`] | phase kept, the best SNR, sensitivities from the coil images themselves |
//! | [`espirit::maps`](super::espirit::maps), then [`apply`] and [`merge`] | the same from calibration lines, also where the field of view is wrapped |
//!
//! Sensitivities are `[map, coil, y, x]`, at most unit vectors over the coils, so that an image is in the unit of the coil images
//! and white noise of the coils has the same deviation in it. They hold for coils of equal and independent noise, which prewhitening
//! makes.

pub mod adaptive;

use ndarray::{Array2, Array3, Array4, Axis, Zip};

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

/// Combines coil images `[coil, y, x]` with sensitivities `[map, coil, y, x]`: `sum(conj(s) c)` over the coils,
/// `[map, y, x]`. The adjoint of [`spread`].
#[must_use]
pub fn apply(maps: &Array4<Complex32>, images: &Array3<Complex32>) -> Array3<Complex32> {
    let (count, _, rows, columns) = maps.dim();
    let mut combined = Array3::zeros((count, rows, columns));
    for (maps, mut to) in maps.outer_iter().zip(combined.outer_iter_mut()) {
        for (map, image) in maps.outer_iter().zip(images.outer_iter()) {
            Zip::from(&mut to).and(&map).and(&image).for_each(|to, map, value| *to += map.conj() * value);
        }
    }
    combined
}

/// Coil images `[coil, y, x]` of images `[map, y, x]` seen with sensitivities `[map, coil, y, x]`: the sum over the maps of `s x`.
#[must_use]
pub fn spread(maps: &Array4<Complex32>, images: &Array3<Complex32>) -> Array3<Complex32> {
    let (_, coils, rows, columns) = maps.dim();
    let mut spread = Array3::zeros((coils, rows, columns));
    for (maps, image) in maps.outer_iter().zip(images.outer_iter()) {
        for (mut to, map) in spread.axis_iter_mut(Axis(0)).zip(maps.outer_iter()) {
            Zip::from(&mut to).and(&map).and(&image).for_each(|to, map, value| *to += map * value);
        }
    }
    spread
}

/// The images of several maps, `[map, y, x]`, as one, `[y, x]`: root of the sum of squares, with the phase of the strongest.
/// The image of a single map is returned as it is.
#[must_use]
pub fn merge(images: &Array3<Complex32>) -> Array2<Complex32> {
    let (count, rows, columns) = images.dim();
    if count == 1 {
        return images.index_axis(Axis(0), 0).to_owned();
    }
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let values = (0..count).map(|map| images[[map, row, column]]);
        let (mut energy, mut strongest) = (0.0, Complex32::default());
        for value in values {
            energy += value.norm_sqr();
            if value.norm_sqr() > strongest.norm_sqr() {
                strongest = value;
            }
        }
        let size = strongest.norm();
        if size > 0.0 { strongest * (energy.sqrt() / size) } else { Complex32::default() }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::numerics::testing::{inner, random};

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

    proptest! {
        #[test]
        fn combining_is_the_adjoint_of_spreading(
            count in 1usize..3, coils in 1usize..6, rows in 1usize..9, columns in 1usize..9, seed in 0u64..1000,
        ) {
            let maps = random((count * coils, rows, columns), seed).into_shape_with_order((count, coils, rows, columns)).unwrap();
            let (u, v) = (random((coils, rows, columns), seed + 1), random((count, rows, columns), seed + 2));
            let (left, right) = (inner(&apply(&maps, &u), &v), inner(&u, &spread(&maps, &v)));
            prop_assert!((left - right).norm() < 1e-4 * left.norm().max(1.0));
        }

        #[test]
        fn merging_keeps_the_energy_and_the_phase_of_the_strongest(seed in 0u64..1000, rows in 1usize..6) {
            let images = random((2, rows, 4), seed);
            let merged = merge(&images);
            for ((row, column), value) in merged.indexed_iter() {
                let (a, b) = (images[[0, row, column]], images[[1, row, column]]);
                let strongest = if a.norm_sqr() >= b.norm_sqr() { a } else { b };
                let energy = a.norm_sqr() + b.norm_sqr();
                prop_assert!((value.norm_sqr() - energy).abs() < 1e-5 * energy);
                prop_assert!((value * strongest.conj()).arg().abs() < 1e-4);
            }
            let one = images.slice(ndarray::s![..1, .., ..]).to_owned();
            prop_assert_eq!(merge(&one), images.index_axis(Axis(0), 0).to_owned());
            prop_assert_eq!(merge(&Array3::zeros((2, rows, 4))), Array2::<Complex32>::zeros((rows, 4)));
        }
    }
}
