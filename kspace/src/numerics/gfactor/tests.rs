//! The analytic noise gain against pseudo-replicas and against cases whose gain is known.

use ndarray::{Array4, s};

use super::*;
use crate::numerics::Host;
use crate::numerics::combine::{adaptive, apply, merge, rss};
use crate::numerics::fft::ifft2c;
use crate::numerics::testing::{sample, scan};
use crate::numerics::{grappa, nwg};

fn maps_of(full: &Array3<Complex32>) -> Array4<Complex32> {
    adaptive::maps(&ifft2c(full))
}

/// Relative errors over the object, ascending.
fn errors(found: &Array2<f32>, truth: &Array2<f32>, full: &Array3<Complex32>) -> Vec<f32> {
    let object = rss(&ifft2c(full));
    let floor = 0.1 * object.fold(0f32, |largest, value| largest.max(*value));
    let inside = object.indexed_iter().filter(|(_, value)| **value > floor).map(|(at, _)| at);
    let mut errors: Vec<f32> = inside.map(|at| (found[at] / truth[at] - 1.0).abs()).collect();
    errors.sort_by(f32::total_cmp);
    errors
}

fn hold(what: &str, found: &Array2<f32>, truth: &Array2<f32>, full: &Array3<Complex32>) {
    let errors = errors(found, truth, full);
    let (median, most) = (errors[errors.len() / 2], errors[errors.len() * 95 / 100]);
    println!("{what}: median error {median:.3}, 95 % within {most:.3}");
    assert!(median < 0.05 && most < 0.15, "{what}: median {median}, 95 % within {most}");
}

const REPLICAS: (usize, u64) = (300, 7);

#[test]
fn the_gain_of_grappa_is_that_of_replicas() {
    let full = scan(8, 72, 60, 0.03);
    let maps = maps_of(&full);
    for (acceleration, source_lines) in [(2, 2), (3, 4), (4, 2)] {
        let (kspace, mask, sampling) = sample(&full, acceleration, 1, 20, 72);
        let options = grappa::Options { source_lines, ..grappa::Options::default() };
        let kernel = grappa::Kernel::fit(&kspace, &mask, &sampling, None, &options).unwrap();
        let image = |kspace: &Array3<Complex32>| Ok(merge(&apply(&maps, &ifft2c(&kernel.apply(kspace, &mask)?))));
        let nothing = Array3::zeros(kspace.dim());
        let truth = replicas(&nothing, &mask, 1.0, REPLICAS, image).unwrap();
        let found = kernel.noise_gain(maps.index_axis(Axis(0), 0), &mask);
        hold(&format!("GRAPPA, R {acceleration}"), &found, &truth, &full);
    }
}

#[test]
fn the_gain_of_nwg_is_that_of_replicas() {
    let full = scan(8, 72, 60, 0.03);
    let maps = maps_of(&full);
    for (acceleration, acs) in [(2, 20), (3, 24), (4, 20)] {
        let (kspace, mask, sampling) = sample(&full, acceleration, 0, acs, 72);
        let (_, judge) = nwg::fill_and_judge(&kspace, &mask, &sampling, None, &nwg::Options::default(), &Host).unwrap();
        let image =
            |kspace: &Array3<Complex32>| Ok(merge(&apply(&maps, &ifft2c(&judge.apply(kspace, &mask, &sampling)?))));
        let nothing = Array3::zeros(kspace.dim());
        let truth = replicas(&nothing, &mask, 1.0, REPLICAS, image).unwrap();
        let found = judge.noise_gain(maps.index_axis(Axis(0), 0), &mask, &sampling);
        hold(&format!("nwG, R {acceleration}"), &found, &truth, &full);
    }
}

#[test]
fn without_calibration_lines_in_the_image_the_gain_holds_as_well() {
    let full = scan(8, 72, 60, 0.03);
    let maps = maps_of(&full);
    for acceleration in [2, 4] {
        let (kspace, mask, sampling) = sample(&full, acceleration, 0, 24, 72);
        let kernel = grappa::Kernel::fit(&kspace, &mask, &sampling, None, &grappa::Options::default()).unwrap();
        let grid: Vec<bool> = (0..72).map(|line| line % acceleration == 0).collect();
        let image = |kspace: &Array3<Complex32>| Ok(merge(&apply(&maps, &ifft2c(&kernel.apply(kspace, &grid)?))));
        let nothing = Array3::zeros(kspace.dim());
        let truth = replicas(&nothing, &grid, 1.0, REPLICAS, image).unwrap();
        let found = kernel.noise_gain(maps.index_axis(Axis(0), 0), &grid);
        hold(&format!("grid only, R {acceleration}"), &found, &truth, &full);
        let inner = (&found / ideal_gain(&grid, &sampling) as f32).slice(s![30..42, 24..36]).mean().unwrap();
        assert!(inner > 0.5 && inner < 4.0, "{inner}");
    }
}

#[test]
fn a_full_scan_and_an_empty_half_have_the_gain_of_their_lines() {
    let full = scan(4, 40, 32, 1e-3);
    let maps = maps_of(&full);
    let maps = maps.index_axis(Axis(0), 0);
    let sampling = Sampling { acceleration: 1, offset: 0, acs_first: 0, acs_lines: 40, first: 0, last: 39 };
    let linear = Linear { coils: 4, source_lines: 2, taps: 5, kernels: Vec::new() };
    let gain = linear.noise_gain(maps, &[true; 40], &sampling, |_, _| 0);
    assert!(gain.iter().all(|gain| (gain - 1.0).abs() < 1e-4));
    let half: Vec<bool> = (0..40).map(|line| line < 20).collect();
    let sampling = Sampling { last: 19, acs_lines: 20, ..sampling };
    let gain = linear.noise_gain(maps, &half, &sampling, |_, _| 0);
    assert!(gain.iter().all(|gain| (gain - 0.5f32.sqrt()).abs() < 1e-4));
    assert!((&gain / ideal_gain(&half, &sampling) as f32).iter().all(|g| (g - 1.0).abs() < 1e-4));
}

#[test]
fn lines_are_counted_within_the_range() {
    let sampling = Sampling { acceleration: 4, offset: 2, acs_first: 8, acs_lines: 4, first: 2, last: 17 };
    let mask: Vec<bool> =
        (0..24).map(|line| (2..18).contains(&line) && (line % 4 == 2 || (8..12).contains(&line))).collect();
    assert!((effective_acceleration(&mask, &sampling) - 16.0 / 7.0).abs() < 1e-12);
}
