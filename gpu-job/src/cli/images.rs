//! Options of the images, of every command that makes some.

use clap::Args;
use contract::ImageOptions;
use contract::images::{Combine, Dicom, PartialFourier};

/// How images are made of filled k-space.
#[derive(Debug, Clone, Copy, Args)]
pub struct ImageArguments {
    /// How coil images become one: adaptive, espirit or rss
    #[arg(long, default_value_t, value_name = "HOW")]
    combine: Combine,
    /// What is done about lines that were never measured: pocs, homodyne or zero-fill
    #[arg(long, default_value_t, value_name = "HOW")]
    partial_fourier: PartialFourier,
    /// Give images the matrix that the scanner would reconstruct, by zeros around k-space
    #[arg(long)]
    interpolate: bool,
    /// Even out the brightness near the coils
    #[arg(long)]
    flatten: bool,
    /// Write the phase as well
    #[arg(long)]
    phase: bool,
    /// Write the images as an ISMRMRD file as well
    #[arg(long)]
    ismrmrd: bool,
    /// What DICOM files are written: classic (a file for each slice), enhanced (a file for each series) or none
    #[arg(long, default_value_t, value_name = "KIND")]
    dicom: Dicom,
}

impl From<ImageArguments> for ImageOptions {
    fn from(given: ImageArguments) -> Self {
        let ImageArguments { combine, partial_fourier, interpolate, flatten, phase, ismrmrd, dicom } = given;
        Self { combine, partial_fourier, interpolate, flatten, phase, ismrmrd, dicom }
    }
}
