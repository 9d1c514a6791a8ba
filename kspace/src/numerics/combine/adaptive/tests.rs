//! Maps of images of known truth, and what they do to the noise.

use ndarray::{Array2, Axis, s};
use proptest::prelude::*;

use super::*;
use crate::numerics::combine::{apply, merge, rss, spread};
use crate::numerics::fft::ifft2c;
use crate::numerics::metrics::psnr;
use crate::numerics::testing::{random, scan};

fn lengths(maps: &Array4<Complex32>) -> Array2<f32> {
    maps.index_axis(Axis(0), 0).map(|value| value.norm_sqr()).sum_axis(Axis(0)).mapv(f32::sqrt)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn maps_are_unit_vectors_that_explain_the_images_and_keep_their_length(
        coils in 2usize..9, rows in 48usize..90, columns in 48usize..90, power in -30i32..30,
    ) {
        let images = ifft2c(&scan(coils, rows, columns, 1e-4)) * 2f32.powi(power);
        let maps = maps(&images);
        prop_assert!(lengths(&maps).iter().all(|length| (length - 1.0).abs() < 1e-5));
        let explained = spread(&maps, &apply(&maps, &images));
        let missed: f32 = (&explained - &images).iter().map(|value| (value / 2f32.powi(power)).norm_sqr()).sum();
        let total: f32 = images.iter().map(|value| (value / 2f32.powi(power)).norm_sqr()).sum();
        prop_assert!(missed < 2e-3 * total, "{}", missed / total);
    }

    #[test]
    fn nothing_is_ever_not_a_number(
        coils in 1usize..5, rows in 1usize..20, columns in 1usize..20, seed in 0u64..99, part in 0usize..3,
    ) {
        let mut images = random((coils, rows, columns), seed);
        images.slice_mut(s![.., part * rows / 2.., ..]).fill(Complex32::default());
        images.slice_mut(s![seed as usize % coils, .., ..]).fill(Complex32::default());
        let lengths = lengths(&maps(&images));
        prop_assert!(lengths.iter().all(|length| (length - 1.0).abs() < 1e-5), "{}", lengths);
    }
}

#[test]
fn one_coil_has_a_map_of_magnitude_one_and_keeps_its_image() {
    let images = ifft2c(&scan(1, 40, 37, 1e-3));
    let maps = maps(&images);
    assert_eq!(maps.dim(), (1, 1, 40, 37));
    let combined = merge(&apply(&maps, &images));
    for (found, truth) in combined.iter().zip(&images) {
        assert!((found.norm() - truth.norm()).abs() < 1e-5 * truth.norm());
    }
}

#[test]
fn coils_that_see_different_places_only_are_both_combined() {
    // The left half is seen by the first coil, the right one by the second: neighbouring eigenvectors are orthogonal.
    let images =
        Array3::from_shape_fn((2, 32, 32), |(coil, _, x)| Complex32::new(f32::from(u8::from(x / 16 == coil)), 0.0));
    let combined = merge(&apply(&maps(&images), &images));
    for ((y, x), value) in combined.indexed_iter() {
        if x.abs_diff(16) > 5 {
            assert!((value.norm() - 1.0).abs() < 1e-3, "row {y}, column {x}: {value}");
        }
    }
}

#[test]
fn the_power_iteration_finds_what_faer_finds_in_every_cell() {
    let (coils, cells) = (8, 5);
    // Three signals of falling strength in each cell; in cell 3 there is none, and in cell 4 it is weak.
    let (strength, of_cell) = ([1.0, 0.4, 0.1], [1.0, 2.0, 1e3, 0.0, 1e-12]);
    let columns = random((cells, coils, 3), 5);
    let value = |cell: usize, i: usize, j: usize| -> Complex32 {
        let all = (0..3).map(|k| columns[[cell, i, k]] * columns[[cell, j, k]].conj() * strength[k]);
        all.sum::<Complex32>() * of_cell[cell]
    };
    let mut matrices = Planar::zeros(coils * (coils + 1) / 2 * cells);
    for (pair, (i, j)) in (0..coils).flat_map(|i| (0..=i).map(move |j| (i, j))).enumerate() {
        for cell in 0..cells {
            let value = value(cell, i, j);
            (matrices.re[pair * cells + cell], matrices.im[pair * cells + cell]) = (value.re, value.im);
        }
    }
    let all = dominant(&matrices, coils, cells);
    for (cell, size) in of_cell.into_iter().enumerate() {
        let found: Vec<Complex32> = (0..coils).map(|coil| all.at(coil * cells + cell)).collect();
        if size == 0.0 {
            assert_eq!(found, [Complex32::default(); 8]);
            continue;
        }
        let wide = Mat::from_fn(coils, coils, |i, j| {
            let value = value(cell, i, j);
            c64::new(value.re.into(), value.im.into())
        });
        let along: Complex64 =
            strongest(&wide).iter().zip(&found).map(|(a, b)| a.conj() * Complex64::new(b.re.into(), b.im.into())).sum();
        assert!((along.norm() - 1.0).abs() < 1e-4, "cell {cell}: {}", along.norm());
    }
}

#[test]
fn at_low_snr_the_noise_floor_falls_and_the_object_stays() {
    let truth = rss(&ifft2c(&scan(8, 160, 128, 0.0)));
    let images = ifft2c(&scan(8, 160, 128, 0.1));
    let combined = merge(&apply(&maps(&images), &images)).mapv(|value| value.norm());
    let (plain, adaptive) = (psnr(&rss(&images), &truth), psnr(&combined, &truth));
    assert!(adaptive > plain - 0.2, "{plain} {adaptive}");
    let corner = |image: &Array2<f32>| image.slice(s![..10, ..10]).mean().unwrap();
    assert!(corner(&combined) < 0.7 * corner(&rss(&images)));
}

#[test]
fn maps_of_the_centre_of_kspace_combine_as_well_as_those_of_all_of_it() {
    let full = scan(8, 160, 128, 0.05);
    let truth = rss(&ifft2c(&scan(8, 160, 128, 0.0)));
    let images = ifft2c(&full);
    let mut centre = Array3::zeros(full.dim());
    let middle = s![.., 80 - 20..80 + 20, 64 - 20..64 + 20];
    centre.slice_mut(middle).assign(&full.slice(middle));
    let of = |maps: &Array4<Complex32>| psnr(&merge(&apply(maps, &images)).mapv(|value| value.norm()), &truth);
    let (all, some) = (of(&maps(&images)), of(&maps(&ifft2c(&centre))));
    assert!((all - some).abs() < 0.5, "{all} {some}");
}

#[test]
fn the_number_of_threads_changes_no_bit_and_the_phase_is_smooth() {
    let images = ifft2c(&scan(6, 96, 80, 1e-3));
    let on = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| maps(&images))
    };
    let maps = on(1);
    assert_eq!(maps, on(3));
    let combined = merge(&apply(&maps, &images));
    // Within the object, far from its edge.
    for row in 30..66 {
        for column in 30..50 {
            let step = (combined[[row, column]] * combined[[row, column + 1]].conj()).arg().abs();
            assert!(step < 0.3, "row {row}, column {column}: {step}");
        }
    }
}
