//! Scans whose lines are not all of one plane: 3-D, separate and small calibration blocks, averages, virtual coils. A known
//! volume is transformed to k-space, acquired line by line, prepared, and compared with what it was.

use ndarray::{Array3, Array4, Axis, s};
use proptest::prelude::*;

use super::testing::{Scan, THICKNESS_MM};
use super::{Compression, Options, plan};
use crate::Complex32;
use crate::format::Flags;
use crate::numerics::fft::{Centred, fft2c, ifft2c};
use crate::prepared::Reader;

/// A smooth volume `[z, coil, y, x]`, different in every coil.
fn volume([x, y, z]: [usize; 3], coils: usize) -> Array4<Complex32> {
    Array4::from_shape_fn((z, coils, y, x), |(z, coil, y, x)| {
        let angle = 0.3 * (x * (coil + 1)) as f32 + 0.5 * y as f32 - 0.9 * (z * (coil + 2)) as f32;
        Complex32::from_polar(1.0 + ((x + 2 * y + 3 * z) % 7) as f32 + coil as f32, angle)
    })
}

/// Transforms along the first axis.
fn along_z(volume: &Array4<Complex32>, transform: &mut Centred) -> Array4<Complex32> {
    let mut done = volume.clone();
    for mut lane in done.lanes_mut(Axis(0)) {
        let mut line = lane.to_vec();
        transform.apply(&mut line);
        lane.iter_mut().zip(line).for_each(|(to, from)| *to = from);
    }
    done
}

/// k-space `[kz, coil, ky, kx]` of a volume `[z, coil, y, x]`.
fn kspace_of(volume: &Array4<Complex32>) -> Array4<Complex32> {
    let mut planes = volume.clone();
    for mut plane in planes.outer_iter_mut() {
        let transformed = fft2c(&plane.to_owned());
        plane.assign(&transformed);
    }
    along_z(&planes, &mut Centred::forward(volume.dim().0))
}

fn prepare(scan: &Scan, options: &Options) -> Reader<Vec<u8>> {
    let plan = plan(scan, options).unwrap();
    let bytes = plan.write(scan, Vec::new(), &mut |_, _| {}).unwrap();
    assert_eq!(bytes.len() as u64, plan.byte_len());
    Reader::open(bytes).unwrap()
}

fn factor(reader: &Reader<Vec<u8>>) -> Complex32 {
    Complex32::from(reader.meta.factor() as f32)
}

fn close(found: &Array3<Complex32>, expected: &Array3<Complex32>) -> bool {
    let largest = expected.iter().map(|value| value.norm()).fold(1e-6, f32::max);
    found.dim() == expected.dim() && found.iter().zip(expected).all(|(a, b)| (a - b).norm() < 1e-4 * largest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn slices_of_a_3_d_scan_are_the_slices_of_the_volume(kx in 3usize..9, ky in 4usize..10, kz in 2usize..9, coils in 1usize..4) {
        let truth = volume([kx, ky, kz], coils);
        let kspace = kspace_of(&truth);
        let mut scan = Scan::empty([kx, ky, kz]);
        for kz in (0..kz).rev() {
            (0..ky).for_each(|ky| scan.acquire(&kspace, ky, kz, Flags::default()));
        }
        let reader = prepare(&scan, &Options::default());
        prop_assert_eq!(reader.shape.entries, kz);
        for z in 0..kz {
            let image = ifft2c(&(reader.entry(z).unwrap() * factor(&reader)));
            prop_assert!(close(&image, &truth.index_axis(Axis(0), z).to_owned()), "slice {z}");
            // The slab's centre is in slice kz / 2, and slices follow each other along their direction.
            let place = 5.0 + (z as f64 - (kz / 2) as f64) * THICKNESS_MM;
            prop_assert!((f64::from(reader.geometry[[z, 0]]) - place).abs() < 1e-4);
            prop_assert_eq!(reader.meta.entries[z].slice as usize, z);
        }
        prop_assert_eq!(reader.meta.header.field_of_view_mm[2], THICKNESS_MM);
    }

    #[test]
    fn acquired_lines_come_out_in_their_places_whatever_the_sampling(
        kx in 3usize..24, rows in 0usize..40, coils in 1usize..=64, acceleration in 1usize..=6, offset in 0usize..6, block in 0usize..6,
    ) {
        let (ky, offset) = (8 * acceleration + 9 + rows, offset % acceleration);
        let first = ky / 2 - (acceleration + block) / 2;
        let acquired = |row: usize| row % acceleration == offset || (first..=first + acceleration + block).contains(&row);
        let kspace = volume([kx, ky, 1], coils);
        let mut scan = Scan::empty([kx, ky, 1]);
        (0..ky).filter(|row| acquired(*row)).for_each(|row| scan.acquire(&kspace, row, 0, Flags::default()));
        let reader = prepare(&scan, &Options::default());
        prop_assert_eq!((reader.shape.coils, reader.shape.ky, reader.shape.kx, reader.shape.acs), (coils, ky, kx, None));
        let found = reader.meta.entries[0].sampling;
        prop_assert_eq!((found.acceleration, found.offset), (acceleration, offset));
        prop_assert!(acceleration == 1 || found.acs_lines > acceleration + block);
        let mut expected = kspace.index_axis(Axis(0), 0).to_owned();
        for row in 0..ky {
            prop_assert_eq!(reader.mask[[0, row]] == 1, acquired(row));
            if !acquired(row) {
                expected.slice_mut(s![.., row, ..]).fill(Complex32::default());
            }
        }
        // A power of two is taken out and put back without a rounding error.
        prop_assert_eq!(reader.entry(0).unwrap() * factor(&reader), expected);
    }

    #[test]
    fn virtual_coils_hold_the_energy_of_all(coils in 2usize..9, kept in 1usize..9) {
        let truth = volume([8, 12, 1], coils);
        let kspace = kspace_of(&truth);
        let mut scan = Scan::empty([8, 12, 1]);
        (0..12).for_each(|ky| scan.acquire(&kspace, ky, 0, Flags::default()));
        let reader = prepare(&scan, &Options { compression: Compression::Coils(kept), ..Options::default() });
        prop_assert_eq!(reader.shape.coils, kept.min(coils));
        let energy = |samples: &Array3<Complex32>| samples.iter().map(|value| value.norm_sqr()).sum::<f32>();
        let before = energy(&kspace.index_axis(Axis(0), 0).to_owned());
        let after = energy(&(reader.entry(0).unwrap() * factor(&reader)));
        let step = reader.meta.steps.iter().find(|step| step.name == "compress_coils");
        let share = step.map_or(1.0, |step| step.parameters["energy"].as_f64().unwrap());
        prop_assert!((f64::from(after / before) - share).abs() < 1e-3, "{} against {share}", after / before);
    }
}

#[test]
fn acceleration_along_the_second_direction_gives_slices_along_the_first() {
    let [kx, ky, kz] = [6, 5, 24];
    let truth = volume([kx, ky, kz], 2);
    let kspace = kspace_of(&truth);
    let mut scan = Scan::empty([kx, ky, kz]);
    let acquired = |kz: usize| kz.is_multiple_of(3) || (9..17).contains(&kz);
    for kz in (0..kz).filter(|kz| acquired(*kz)) {
        (0..ky).for_each(|ky| scan.acquire(&kspace, ky, kz, Flags::default()));
    }
    let reader = prepare(&scan, &Options::default());
    assert_eq!((reader.shape.entries, reader.shape.ky), (ky, kz));
    assert_eq!(reader.meta.entries[0].sampling.acceleration, 3);
    // Rows are steps of the second direction: phase and slice direction change places.
    let row: Vec<f32> = reader.geometry.row(0).to_vec();
    assert_eq!((&row[6..9], &row[9..12]), (&[1.0, 0.0, 0.0][..], &[0.0, 0.0, 1.0][..]));
    assert_eq!(reader.meta.header.field_of_view_mm, [6.0, kz as f64 * THICKNESS_MM, 1.0]);
    let hybrid =
        along_z(&truth.clone().permuted_axes([2, 1, 0, 3]).as_standard_layout().to_owned(), &mut Centred::forward(1));
    for y in 0..ky {
        let mut expected = fft2c(&hybrid.index_axis(Axis(0), y).to_owned());
        for kz in (0..kz).filter(|kz| !acquired(*kz)) {
            expected.slice_mut(s![.., kz, ..]).fill(Complex32::default());
        }
        assert!(close(&(reader.entry(y).unwrap() * factor(&reader)), &expected), "slice {y}");
    }
}

#[test]
fn a_small_calibration_block_of_a_3_d_scan_calibrates_every_slice() {
    let [kx, ky, kz] = [6, 24, 10];
    let truth = volume([kx, ky, kz], 2);
    let kspace = kspace_of(&truth);
    let mut scan = Scan::empty([kx, ky, kz]);
    let block = |ky: usize, kz: usize| (8..17).contains(&ky) && (3..7).contains(&kz);
    let mut low = kspace.clone();
    for kz in 0..kz {
        for ky in 0..ky {
            if ky % 4 == 0 || block(ky, kz) {
                scan.acquire(&kspace, ky, kz, Flags::default());
            }
            if !block(ky, kz) {
                low.slice_mut(s![kz, .., ky, ..]).fill(Complex32::default());
            }
        }
    }
    let low = along_z(&low, &mut Centred::inverse(kz));
    let reader = prepare(&scan, &Options::default());
    assert_eq!((reader.shape.entries, reader.shape.acs), (kz, Some((9, kx))));
    assert_eq!(reader.meta.entries[0].sampling.acceleration, 4);
    for z in 0..kz {
        let found = reader.calibration(z).unwrap().unwrap() * factor(&reader);
        let expected = low.slice(s![z, .., 8..17, ..]).to_owned();
        assert!(close(&found, &expected), "slice {z}");
        assert_eq!(reader.mask.row(z).iter().filter(|acquired| **acquired == 1).count(), 6);
    }
}

#[test]
fn a_separate_calibration_scan_of_its_own_size_is_kept_apart() {
    let truth = volume([12, 24, 1], 3);
    let kspace = kspace_of(&truth);
    let mut scan = Scan::empty([12, 24, 1]);
    scan.header.encodings[0].calibration_mode = Some("separate".to_owned());
    let mut own = scan.header.encodings[0].clone();
    own.encoded.matrix = [8, 10, 1];
    scan.header.encodings.push(own);
    (0..24).step_by(3).for_each(|ky| scan.acquire(&kspace, ky, 0, Flags::default()));
    // The middle eight points of ten lines, which count from 7 on.
    let small = kspace.slice(s![.., .., 7..17, 2..10]).mapv(|value| value * 2.0);
    for ky in 0..10 {
        scan.acquire(&small, ky, 0, Flags::default().with(Flags::CALIBRATION));
        let head = scan.heads.last_mut().unwrap();
        (head.encoding, head.counters.step_1) = (1, 7 + ky as u16);
    }
    let reader = prepare(&scan, &Options::default());
    assert_eq!((reader.shape.kx, reader.shape.acs), (12, Some((10, 8))));
    let found = reader.calibration(0).unwrap().unwrap() * factor(&reader);
    assert!(close(&found, &small.index_axis(Axis(0), 0).to_owned()));
    let image = reader.entry(0).unwrap();
    assert!(image.slice(s![.., 1, ..]).iter().all(|value| *value == Complex32::default()), "not merged with the image");
}

#[test]
fn copies_are_averaged_by_their_number_in_the_data() {
    let kspace = kspace_of(&volume([4, 6, 1], 1));
    let mut scan = Scan::empty([4, 6, 1]);
    for (ky, copies) in [3, 1, 2, 3, 3, 1].into_iter().enumerate() {
        for copy in 0..copies {
            scan.acquire(&kspace, ky, 0, Flags::default());
            // Copies that differ by opposite amounts, so that only their mean is right.
            let change = if copies == 1 { 0.0 } else { copy as f32 - (copies - 1) as f32 / 2.0 };
            scan.samples.last_mut().unwrap().iter_mut().for_each(|value| *value += change);
        }
    }
    scan.heads.last_mut().unwrap().flags = Flags::default().with(Flags::LAST_IN_MEASUREMENT);
    let reader = prepare(&scan, &Options::default());
    assert!(close(&(reader.entry(0).unwrap() * factor(&reader)), &kspace.index_axis(Axis(0), 0).to_owned()));
    let step = reader.meta.steps.iter().find(|step| step.name == "average").unwrap();
    assert_eq!(
        (&step.parameters["least_copies_of_a_line"], &step.parameters["most_copies_of_a_line"]),
        (&1.into(), &3.into())
    );
}

#[test]
fn echo_planar_lines_meet_without_a_ghost() {
    for (kx, ky, oversampling) in [(24, 16, 1.0), (33, 15, 1.0), (48, 16, 2.0)] {
        let (constant, slope) = (0.7f32, -0.05f32);
        let mut truth = volume([kx, ky, 1], 3);
        // What lies outside of the field of view that is kept would be cropped.
        let keep = (kx as f64 / oversampling) as usize;
        let inside = kx / 2 - keep / 2..kx / 2 - keep / 2 + keep;
        truth
            .indexed_iter_mut()
            .filter(|(at, _)| !inside.contains(&at.3))
            .for_each(|(_, value)| *value = Complex32::default());
        let kspace = kspace_of(&truth);
        let mut scan = Scan::empty([kx, ky, 1]);
        scan.header.encodings[0].encoded.field_of_view_mm[0] = kx as f64;
        scan.header.encodings[0].recon.field_of_view_mm[0] = keep as f64;
        let forward = Flags::default();
        let reversed = forward.with(Flags::REVERSE);
        let navigator = |flags: Flags| flags.with(Flags::PHASE_CORRECTION).with(Flags::NAVIGATION);
        for flags in [navigator(reversed), navigator(forward), navigator(reversed)] {
            scan.acquire(&kspace, ky / 2, 0, flags);
        }
        (0..ky).for_each(|line| scan.acquire(&kspace, line, 0, if line % 2 == 0 { forward } else { reversed }));
        let (mut inverse, mut back) = (Centred::inverse(kx), Centred::forward(kx));
        for (head, samples) in
            scan.heads.iter().zip(&mut scan.samples).filter(|(head, _)| head.flags.has(Flags::REVERSE))
        {
            assert!(head.flags.has(Flags::REVERSE));
            for row in samples.chunks_exact_mut(kx) {
                inverse.apply(row);
                row.iter_mut().enumerate().for_each(|(x, value)| {
                    *value *= Complex32::cis(constant + slope * (x as f32 - (kx / 2) as f32));
                });
                back.apply(row);
                row.reverse();
            }
        }
        let reader = prepare(&scan, &Options::default());
        let step = reader.meta.steps.iter().find(|step| step.name == "correct_phase").unwrap();
        assert!(
            (step.parameters["mean_constant_rad"].as_f64().unwrap() - f64::from(constant)).abs() < 1e-3,
            "{step:?}"
        );
        let image = ifft2c(&(reader.entry(0).unwrap() * factor(&reader)));
        let expected = truth.slice(s![0, .., .., inside]).to_owned();
        assert!(close(&image, &expected), "{kx} x {ky}");
    }
}
