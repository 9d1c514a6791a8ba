//! Methods on a real brain scan, where the environment variable `RAKI_CLOUD_DATA` names the folder with the data.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::path::{Path, PathBuf};

use contract::images::PartialFourier;
use kspace::Complex32;
use kspace::format;
use kspace::numerics::combine::{self, rss};
use kspace::numerics::fft::ifft2c;
use kspace::numerics::metrics::{nrmse, psnr, ssim};
use kspace::numerics::{Host, espirit, grappa, nwg, partial_fourier};
use kspace::prepare::{Compression, Options, plan};
use kspace::prepared::Reader;
use ndarray::{Array2, Array3, s};

#[expect(clippy::disallowed_methods, reason = "tests with data of others are switched on by the environment")]
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("RAKI_CLOUD_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: RAKI_CLOUD_DATA is not set");
    }
    folder
}

fn prepare(path: &Path, compression: Compression) -> Reader<Vec<u8>> {
    let raw = format::open(path).unwrap();
    let plan = plan(raw.as_ref(), &Options { compression, ..Options::default() }).unwrap();
    Reader::open(plan.write(raw.as_ref(), Vec::new(), &mut |_, _| {}).unwrap()).unwrap()
}

/// Root sum of squares in the units of the scanner.
fn image(reader: &Reader<Vec<u8>>, kspace: &Array3<Complex32>) -> Array2<f32> {
    rss(&ifft2c(kspace)) * reader.meta.factor() as f32
}

fn grappa_image(path: &Path, acceleration: usize, compression: Compression) -> (Array2<f32>, usize) {
    let reader = prepare(path, compression);
    let sampling = reader.meta.entries[0].sampling;
    assert_eq!((sampling.acceleration, sampling.acs_lines >= 32), (acceleration, true));
    let mask: Vec<bool> = reader.mask.row(0).iter().map(|acquired| *acquired == 1).collect();
    let filled = grappa::fill(&reader.entry(0).unwrap(), &mask, &sampling, &grappa::Options::default()).unwrap();
    (image(&reader, &filled), reader.shape.coils)
}

#[test]
fn grappa_reaches_the_measured_quality() {
    let Some(folder) = data() else { return };
    let full = prepare(&folder.join("brain8_full.h5"), Compression::None);
    assert_eq!(full.meta.entries[0].sampling.acceleration, 1);
    let reference = image(&full, &full.entry(0).unwrap());
    for (name, acceleration, floor) in [("brain8_r4.h5", 4, 30.7), ("brain8_r3.h5", 3, 32.9)] {
        let (image, _) = grappa_image(&folder.join(name), acceleration, Compression::None);
        let (psnr, nrmse, ssim) = (psnr(&image, &reference), nrmse(&image, &reference), ssim(&image, &reference));
        println!("R={acceleration}: PSNR {psnr:.3} dB, NRMSE {nrmse:.4}, SSIM {ssim:.4}");
        assert!(psnr >= floor && ssim > 0.78, "R={acceleration}: {psnr} dB, {ssim}");
    }
}

#[test]
fn virtual_coils_with_nearly_all_energy_give_nearly_the_same_image() {
    let Some(folder) = data() else { return };
    let full = prepare(&folder.join("brain8_full.h5"), Compression::None);
    let reference = image(&full, &full.entry(0).unwrap());
    let of = |compression| {
        let (image, coils) = grappa_image(&folder.join("brain8_r4.h5"), 4, compression);
        (psnr(&image, &reference), coils)
    };
    let (all, compressed) = (of(Compression::None), of(Compression::Energy(0.998)));
    println!("{} coils {:.3} dB, {} virtual coils {:.3} dB", all.1, all.0, compressed.1, compressed.0);
    assert!((all.0 - compressed.0).abs() < 0.3, "{all:?} {compressed:?}");
    assert!(compressed.1 <= all.1);
}

/// Against the fully sampled image that is combined with the same sensitivities, adaptive ones are at least 0.5 dB better than a root sum of
/// squares. With those of the calibration lines a wrapped place has two maps, and its sum of squares gains little.
#[test]
fn combining_with_sensitivities_is_better_than_a_root_sum_of_squares() {
    let Some(folder) = data() else { return };
    let full = prepare(&folder.join("brain8_full.h5"), Compression::None);
    let truth = ifft2c(&full.entry(0).unwrap()) * Complex32::new(full.meta.factor() as f32, 0.0);
    let reader = prepare(&folder.join("brain8_r4.h5"), Compression::None);
    let sampling = reader.meta.entries[0].sampling;
    let mask: Vec<bool> = reader.mask.row(0).iter().map(|acquired| *acquired == 1).collect();
    let kspace = reader.entry(0).unwrap();
    let filled = nwg::fill(&kspace, &mask, &sampling, &nwg::Options::default()).unwrap();
    let images = ifft2c(&filled.kspace) * Complex32::new(reader.meta.factor() as f32, 0.0);
    let lines = kspace.slice(s![.., sampling.acs_first..sampling.acs_first + sampling.acs_lines, ..]);
    let (_, rows, columns) = kspace.dim();
    let calibrated =
        espirit::maps(lines, filled.noise_variance, (rows, columns), &espirit::Options::default(), &Host).unwrap().maps;
    for (name, maps, gain) in [("adaptive", combine::adaptive::maps(&images), 0.5), ("espirit", calibrated, 0.0)] {
        let combined =
            |images: &Array3<Complex32>| combine::merge(&combine::apply(&maps, images)).mapv(Complex32::norm);
        let reference = combined(&truth);
        let (with, without) = (psnr(&combined(&images), &reference), psnr(&rss(&images), &reference));
        println!("{name}: {with:.2} dB, root sum of squares {without:.2} dB");
        assert!(with >= without + gain, "{name}: {with} {without}");
    }
}

/// Lines of the fully sampled scan left out beyond one end.
#[test]
fn lines_that_were_never_measured_are_estimated_best_by_pocs() {
    let Some(folder) = data() else { return };
    let full = prepare(&folder.join("brain8_full.h5"), Compression::None);
    let kspace = full.entry(0).unwrap();
    let reference = rss(&ifft2c(&kspace));
    let lines = kspace.dim().1;
    for eighths in [6, 5] {
        let range = (lines - lines * eighths / 8, lines - 1);
        let mut cut = kspace.clone();
        cut.slice_mut(s![.., ..range.0, ..]).fill(Complex32::default());
        let images = ifft2c(&cut);
        let asymmetry = partial_fourier::missing(range, lines, 1).unwrap();
        let score = |how| psnr(&rss(&partial_fourier::complete(&images, &asymmetry, how)), &reference);
        let [zero, homodyne, pocs] = PartialFourier::ALL.map(score);
        println!("{eighths}/8: zero-fill {zero:.2} dB, homodyne {homodyne:.2} dB, POCS {pocs:.2} dB");
        assert!(pocs > zero && pocs > homodyne, "{zero} {homodyne} {pocs}");
    }
}
