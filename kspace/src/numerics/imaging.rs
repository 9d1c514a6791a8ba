//! The large computations on the way from filled k-space to an image, which a device may carry out.

use ndarray::{Array3, Array4};

use super::espirit::{self, Pixels};
use super::{Host, fft, sparse};
use crate::{Complex32, Result};

/// Where they are carried out. All compute the same numbers but for the order of sums.
pub trait Imaging: Sync {
    /// [`fft::ifft2c`]: k-space `[coil, ky, kx]` to coil images `[coil, y, x]`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a device refuses.
    fn transform(&self, kspace: &Array3<Complex32>) -> Result<Array3<Complex32>>;

    /// Eigenvectors `[map, coil, y, x]` of the largest eigenvalues at every pixel, unit length and with the phase of the reference, and
    /// these values `[map, y, x]`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a device refuses.
    fn eigenvectors(&self, pixels: &Pixels<'_>) -> Result<(Array4<Complex32>, Array3<f32>)>;

    /// [`sparse::refine`].
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a device refuses.
    fn refine(&self, problem: &sparse::Problem<'_>, options: &sparse::Options) -> Result<sparse::Refined>;
}

impl Imaging for Host {
    fn transform(&self, kspace: &Array3<Complex32>) -> Result<Array3<Complex32>> {
        Ok(fft::ifft2c(kspace))
    }

    fn eigenvectors(&self, pixels: &Pixels<'_>) -> Result<(Array4<Complex32>, Array3<f32>)> {
        Ok(espirit::eigenvectors(pixels))
    }

    fn refine(&self, problem: &sparse::Problem<'_>, options: &sparse::Options) -> Result<sparse::Refined> {
        Ok(sparse::refine(problem, options))
    }
}
