//! GRAPPA on a real brain scan, where the environment variable `RAKI_CLOUD_DATA` names the folder with the data.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::path::{Path, PathBuf};

use kspace::format;
use kspace::numerics::combine::rss;
use kspace::numerics::fft::ifft2c;
use kspace::numerics::grappa;
use kspace::numerics::metrics::{nrmse, psnr, ssim};
use kspace::prepare::{Options, plan};
use kspace::prepared::Reader;
use ndarray::Array2;

#[expect(clippy::disallowed_methods, reason = "tests with data of others are switched on by the environment")]
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("RAKI_CLOUD_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: RAKI_CLOUD_DATA is not set");
    }
    folder
}

fn prepare(path: &Path) -> Reader<Vec<u8>> {
    let raw = format::open(path).unwrap();
    let plan = plan(raw.as_ref(), &Options::default()).unwrap();
    Reader::open(plan.write(raw.as_ref(), Vec::new(), &mut |_, _| {}).unwrap()).unwrap()
}

fn grappa_image(path: &Path, acceleration: usize) -> Array2<f32> {
    let reader = prepare(path);
    let sampling = reader.meta.entries[0].sampling;
    assert_eq!((sampling.acceleration, sampling.acs_lines >= 32), (acceleration, true));
    let mask: Vec<bool> = reader.mask.row(0).iter().map(|acquired| *acquired == 1).collect();
    let filled = grappa::fill(&reader.entry(0).unwrap(), &mask, &sampling, &grappa::Options::default()).unwrap();
    rss(&ifft2c(&filled))
}

#[test]
fn grappa_reaches_the_measured_quality() {
    let Some(folder) = data() else { return };
    let full = prepare(&folder.join("brain8_full.h5"));
    assert_eq!(full.meta.entries[0].sampling.acceleration, 1);
    let reference = rss(&ifft2c(&full.entry(0).unwrap()));
    for (name, acceleration, floor) in [("brain8_r4.h5", 4, 30.7), ("brain8_r3.h5", 3, 32.9)] {
        let image = grappa_image(&folder.join(name), acceleration);
        let (psnr, nrmse, ssim) = (psnr(&image, &reference), nrmse(&image, &reference), ssim(&image, &reference));
        println!("R={acceleration}: PSNR {psnr:.3} dB, NRMSE {nrmse:.4}, SSIM {ssim:.4}");
        assert!(psnr >= floor && ssim > 0.78, "R={acceleration}: {psnr} dB, {ssim}");
    }
}
