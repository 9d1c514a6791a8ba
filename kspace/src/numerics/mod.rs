//! The numerical core: linear, shape-checked, free of file formats.
//!
//! | module | what it does |
//! |---|---|
//! | [`fft`] | centred unitary Fourier transform, right for odd sizes |
//! | [`grappa`] | fills missing lines by a kernel fitted to the calibration lines |
//! | [`nwg`] | the same with a calibration that knows the noise |
//! | [`calibration`] | calibration lines that are not part of the k-space they calibrate |
//! | [`window`] | noise level of calibration lines and of an image |
//! | [`espirit`] | coil sensitivities from calibration lines |
//! | [`imaging`] | where the large computations of an image are carried out |
//! | [`sparse`] | refines a filled slice with sensitivities and wavelets |
//! | [`wavelet`] | orthonormal wavelet transform |
//! | [`combine`] | coil images to one image: root sum of squares, or with sensitivities |
//! | [`gfactor`] | noise of a combined image: analytic noise gain, pseudo-replicas |
//! | [`partial_fourier`] | lines beyond one end of k-space that were never measured |
//! | [`resample`] | images of another matrix |
//! | [`intensity`] | brightness that falls off with the distance from the coils |
//! | [`quality`] | numbers of an image that need no reference |
//! | [`metrics`] | PSNR, NRMSE and SSIM against a reference |
//! | [`mod@wide`] | loops with the widest vectors of the machine |
//!
//! k-space is `[coil, ky, kx]`, coil images `[coil, y, x]`, images `[y, x]`; the centre of an axis of n points is
//! index `n / 2`.

pub mod calibration;
pub mod combine;
pub mod espirit;
pub mod fft;
pub mod gfactor;
pub mod grappa;
pub mod imaging;
pub mod intensity;
pub mod metrics;
pub mod nwg;
pub mod partial_fourier;
mod patch;
pub mod quality;
pub mod resample;
pub mod sparse;
#[cfg(test)]
mod testing;
pub mod wavelet;
pub mod wide;
pub mod window;

/// The CPU as the place of large computations, on all threads of the current rayon pool; its results do not depend on their number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;
