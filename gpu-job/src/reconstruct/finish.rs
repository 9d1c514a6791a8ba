//! A reconstructed slice in the grid and the unit of the result.

use contract::prepared::Header;
use kspace::Complex32;
use kspace::image::geometry::Grid;
use kspace::numerics::quality::Fold;
use kspace::numerics::resample::{self, resize};
use ndarray::Array2;

use crate::engine::{Compared, Numbers, Reconstructed};

/// A finished slice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Image {
    /// `[y, x]`, in the unit of the raw data.
    pub(super) image: Array2<Complex32>,
    /// `[y, x]`: deviation of noise over that of a k-space sample; `None` where no linear kernel filled.
    pub(super) gain: Option<Array2<f32>>,
    /// The slice by plain methods.
    pub(super) compared: Option<Compared>,
}

/// What is done to every slice.
pub(super) struct Finish {
    /// The part of a slice that is kept, and the grid it has then.
    pub(super) grid: Grid,
    /// The unit of the raw data, where the preparation has normalised these.
    pub(super) factor: Option<f32>,
    /// Part of the deviation of noise that is left in a matrix smaller than the acquired one, which leaves out that of outer k-space.
    pub(super) narrowed: f32,
    /// Where undersampling folds the object to.
    pub(super) fold: Fold,
}

impl Finish {
    /// For the slices of a prepared file, interpolated to the matrix that the scanner would reconstruct where asked.
    pub(super) fn new(header: &Header, interpolate: bool, factor: Option<f32>) -> Self {
        let acquired = Grid::of(header);
        let grid = if interpolate { acquired.interpolated(header) } else { acquired };
        let kept = |now: usize, before: usize| (now as f32 / before.max(1) as f32).min(1.0);
        let narrowed = (kept(grid.rows, acquired.rows) * kept(grid.columns, acquired.columns)).sqrt();
        let scale = grid.rows as f64 / acquired.rows.max(1) as f64;
        let fold = Fold { rows: header.matrix[1] as f64 * scale, first: grid.first_row as f64 * scale };
        Self { grid, factor, narrowed, fold }
    }

    /// Crops to the field of view that was asked for, interpolates to the grid, and undoes the normalisation.
    pub(super) fn apply(&self, slice: Reconstructed) -> (Image, Numbers) {
        let Reconstructed { image, gain, compared, numbers } = slice;
        let factor = self.factor.unwrap_or(1.0);
        let (rows, columns) = (self.grid.rows, self.grid.columns);
        let complex = |image: &Array2<Complex32>| {
            resample::resample(&self.grid.crop(image), rows, columns) * Complex32::new(factor, 0.0)
        };
        let magnitude =
            |image: &Array2<f32>| complex(&image.mapv(|value| Complex32::new(value, 0.0))).mapv(Complex32::norm);
        // A gain has no unit, and its noise is that of the slice before it was interpolated.
        let smooth = |gain: &Array2<f32>| resize(&self.grid.crop(gain), rows, columns);
        let gain = gain.as_ref().map(smooth);
        let interpolated = (self.grid.kept_rows, image.ncols()) != (rows, columns);
        let image = if interpolated && numbers.maps.is_some_and(|(count, _)| count > 1) {
            // Where another of two maps is the stronger one the phase jumps, which leaves a dark line between pixels.
            let mut smooth = complex(&image);
            smooth.zip_mut_with(&magnitude(&image.mapv(Complex32::norm)), |value, size| {
                *value = Complex32::from_polar(*size, value.arg());
            });
            smooth
        } else {
            complex(&image)
        };
        let compared = compared.map(|compared| Compared {
            zero_filled: magnitude(&compared.zero_filled),
            grappa: compared.grappa.as_ref().map(magnitude),
        });
        (Image { image, gain, compared }, numbers)
    }

    /// The factor by which undersampling costs more signal-to-noise ratio than fewer lines must, `[y, x]`; `None` without linear kernels.
    pub(super) fn g_factor(image: &Image, numbers: &Numbers) -> Option<Array2<f32>> {
        let ideal = numbers.ideal_gain.max(f64::from(f32::MIN_POSITIVE)) as f32;
        image.gain.as_ref().map(|gain| gain / ideal)
    }

    /// Deviation of the noise of the real part of an image before any refinement, `[y, x]`, in the unit of the image; `None` where
    /// the noise level is unknown, or what missing lines were filled from.
    pub(super) fn noise(&self, image: &Image, numbers: &Numbers) -> Option<Array2<f32>> {
        // Half of the variance of a complex sample is in its real part.
        let level = (0.5 * numbers.noise_variance?).sqrt() as f32 * self.factor.unwrap_or(1.0) * self.narrowed;
        Some(match &image.gain {
            Some(gain) => gain * level,
            None if numbers.filled_energy > 0.0 => return None,
            // Lines that are left empty add no noise.
            None => Array2::from_elem(image.image.dim(), level * numbers.acquired.sqrt() as f32),
        })
    }
}
