//! The numerical core: linear, shape-checked, free of file formats.
//!
//! | module | what it does |
//! |---|---|
//! | [`fft`] | centred unitary Fourier transform, right for odd sizes |
//! | [`grappa`] | fills missing lines by a kernel fitted to the calibration lines |
//! | [`combine`] | coil images to one magnitude image |
//! | [`metrics`] | PSNR, NRMSE and SSIM against a reference |
//!
//! k-space is `[coil, ky, kx]`, coil images `[coil, y, x]`, images `[y, x]`; the centre of an axis of n points is
//! index `n / 2`.

pub mod combine;
pub mod fft;
pub mod grappa;
pub mod metrics;
