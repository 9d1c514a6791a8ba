//! Sensitivities of scans whose truth is known.

use ndarray::Array3;
use proptest::prelude::*;

use super::*;
use crate::numerics::Host;
use crate::numerics::fft::ifft2c;
use crate::numerics::testing::scan;

/// Energy of the coil images that the maps cannot explain, over all of it.
fn unexplained(images: &Array3<Complex32>, maps: &Array4<Complex32>) -> f32 {
    let (mut missed, mut total) = (0.0, 0.0);
    let (_, rows, columns) = images.dim();
    for row in 0..rows {
        for column in 0..columns {
            let pixel = images.slice(s![.., row, column]);
            let mut rest = pixel.to_owned();
            for map in maps.outer_iter() {
                let map = map.slice_move(s![.., row, column]);
                let along: Complex32 = map.iter().zip(&pixel).map(|(map, value)| map.conj() * value).sum();
                rest.zip_mut_with(&map, |rest, map| *rest -= along * map);
            }
            missed += rest.iter().map(|value| value.norm_sqr()).sum::<f32>();
            total += pixel.iter().map(|value| value.norm_sqr()).sum::<f32>();
        }
    }
    missed / total
}

fn maps_of(kspace: &Array3<Complex32>, lines: usize, noise: f64, most: usize) -> Result<Maps> {
    let (_, rows, columns) = kspace.dim();
    let region = kspace.slice(s![.., rows / 2 - lines / 2..rows / 2 - lines / 2 + lines, ..]);
    maps(region, noise, (rows, columns), &Options { maps: most, ..Options::default() }, &Host)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn one_map_explains_coil_images_of_any_size(coils in 3usize..9, rows in 40usize..60, columns in 40usize..60) {
        let full = scan(coils, rows, columns, 1e-3);
        let found = maps_of(&full, 24, 2e-6, 1).unwrap();
        prop_assert_eq!(found.maps.dim(), (1, coils, rows, columns));
        let missed = unexplained(&ifft2c(&full), &found.maps);
        prop_assert!(missed < 2e-3, "{}", missed);
        for (row, column) in [(rows / 2, columns / 2), (0, 0)] {
            let length: f32 = found.maps.slice(s![0, .., row, column]).iter().map(|value| value.norm_sqr()).sum();
            prop_assert!((length - 1.0).abs() < 1e-4);
        }
        prop_assert!(found.values[[0, rows / 2, columns / 2]] > 0.95 && found.values[[0, 0, 0]] < 0.9);
    }
}

#[test]
fn a_wrapped_field_of_view_needs_two_maps() {
    let full = scan(8, 96, 64, 1e-3);
    let plain = maps_of(&full, 24, 2e-6, 2).unwrap();
    assert!(plain.wrapped < 0.1, "{}", plain.wrapped);
    // Every second line: the upper and the lower half of the object on top of each other.
    let folded = full.slice(s![.., 0..;2, ..]).to_owned();
    let images = ifft2c(&folded);
    let two = maps_of(&folded, 24, 2e-6, 2).unwrap();
    assert!(two.maps.dim().0 == 2 && two.wrapped > 0.3, "{}", two.wrapped);
    let one = maps_of(&folded, 24, 2e-6, 1).unwrap();
    let (with_two, with_one) = (unexplained(&images, &two.maps), unexplained(&images, &one.maps));
    assert!(with_two < 0.02 && with_one > 5.0 * with_two, "{with_two} {with_one}");
}

#[test]
fn maps_do_not_depend_on_the_scale_and_are_smooth() {
    let full = scan(6, 64, 64, 1e-3);
    let found = maps_of(&full, 24, 2e-6, 1).unwrap().maps;
    let scaled = maps_of(&(&full * 1024.0), 24, 2e-6 * 1024.0 * 1024.0, 1).unwrap().maps;
    assert!(found.iter().zip(&scaled).all(|(a, b)| (a - b).norm() < 1e-3));
    for row in 20..44 {
        for column in 20..43 {
            let step: f32 =
                (0..6).map(|coil| (found[[0, coil, row, column]] - found[[0, coil, row, column + 1]]).norm_sqr()).sum();
            assert!(step < 0.02, "row {row}, column {column}: {step}");
        }
    }
}

#[test]
fn a_region_without_signal_or_smaller_than_a_window_is_refused() {
    let full = scan(4, 32, 32, 1e-3);
    let small = maps_of(&full, 4, 2e-6, 1).unwrap_err();
    assert!(small.to_string().contains("4 lines") && small.to_string().contains("too small"), "{small}");
    let empty = maps_of(&full, 16, 1e12, 1).unwrap_err();
    assert!(empty.to_string().contains("noise only"), "{empty}");
}
