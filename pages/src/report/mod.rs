//! `report.html` beside the images of a scan: what was done, and whether it can be trusted.
//!
//! [`Report`] is plain data; [`render`] makes the page of it and reads nothing else. Pictures come as PNG files in display
//! orientation with square pixels, already windowed to 8 bits; they lie in the page once each, and the 3-D view is made of the same
//! pictures in the browser.

mod charts;
mod facts;
mod pictures;
mod render;
mod tables;
mod viewer;

use contract::Manifest;
use contract::prepared::{Entry, Header, Step};

pub use render::render;
pub use viewer::HAS_VIEWER;

/// Everything the page shows.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// How the images were made, what was chosen, what is doubted and where they come from.
    pub manifest: &'a Manifest,
    /// How the scan was acquired.
    pub header: &'a Header,
    /// What was reconstructed: one entry for each k-space.
    pub entries: &'a [Entry],
    /// What was done before the reconstruction; may be empty.
    pub steps: &'a [Step],
    /// Columns and rows of the images as they were written.
    pub matrix: [usize; 2],
    /// A picture of all or of evenly chosen slices, PNG: shown without scripts and printed. 1200 px of width are plenty.
    pub montage: &'a [u8],
    /// All slices, to scroll through. Without frames the montage is shown.
    pub slices: Slices<'a>,
    /// The same slices filled in several ways.
    pub compared: Vec<Compared<'a>>,
    /// Maps of numbers, slice by slice as in `slices`.
    pub maps: Vec<Map<'a>>,
    /// Where k-space was sampled, PNG: missing places dark, lines light, calibration lines orange.
    pub mask: Option<&'a [u8]>,
    /// How training went.
    pub curves: Vec<Curve>,
    /// Numbers of each slice, such as the calibration residual and the SNR.
    pub series: Vec<Series>,
}

/// All slices of the images, in one or more frames (contrasts, phases, repetitions).
#[derive(Debug, Clone, Default)]
pub struct Slices<'a> {
    /// Name of each slice, such as its position: `"-12.5 mm"`. As many as there are slices; empty ones are numbered only.
    pub labels: Vec<String>,
    /// The frames. All have the same tiles.
    pub frames: Vec<Frame<'a>>,
    /// Where the voxels of the frames lie; without it there is no 3-D view.
    pub space: Option<Space>,
}

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// What tells it from the others, such as `"echo 2"`.
    pub name: String,
    /// Its slices.
    pub sheet: Sheet<'a>,
}

/// Slices side by side in one PNG of 8-bit grey, row by row, without gaps: slice `i` is at column `i % columns` and row
/// `i / columns` of the grid. Browsers take pictures of up to 16384 px and 2^28 px in all.
#[derive(Debug, Clone, Copy)]
pub struct Sheet<'a> {
    /// The PNG file.
    pub png: &'a [u8],
    /// Width and height of a slice, px.
    pub tile: (usize, usize),
    /// Slices in a row.
    pub columns: usize,
    /// Slices.
    pub count: usize,
}

/// Where the voxels of a frame lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Space {
    /// From (column, row, slice, 1) of the sheet to the centre of the voxel: right, anterior, superior, mm.
    pub affine: [[f64; 4]; 3],
    /// Whether the directions are those of the patient.
    pub known: bool,
}

/// One slice, filled in several ways with one window, and how these differ.
#[derive(Debug, Clone)]
pub struct Compared<'a> {
    /// Which slice, such as `"slice 15 of 30"`.
    pub label: String,
    /// At least two pictures of one size; the last one is the result.
    pub images: Vec<Named<'a>>,
    /// Absolute differences.
    pub differences: Vec<Difference<'a>>,
}

/// A picture and its name.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// Its name, such as `"GRAPPA"`.
    pub name: String,
    /// The PNG file.
    pub png: &'a [u8],
}

/// A picture of a difference.
#[derive(Debug, Clone)]
pub struct Difference<'a> {
    /// Of what, such as `"RAKI − GRAPPA"`.
    pub name: String,
    /// The PNG file.
    pub png: &'a [u8],
    /// What white means in units of the images' white, such as `0.2` for differences shown five times as bright.
    pub white: f64,
}

/// Numbers over the image, shown in colours.
#[derive(Debug, Clone)]
pub struct Map<'a> {
    /// What it is, such as `"g-factor"`.
    pub name: String,
    /// What it means, in one sentence.
    pub sentence: String,
    /// Grey 0 is `low`, grey 255 is `high`.
    pub sheet: Sheet<'a>,
    /// Smallest number of the colour bar.
    pub low: f64,
    /// Largest number of the colour bar.
    pub high: f64,
    /// Unit of the numbers; empty for none.
    pub unit: String,
}

/// A training loss by step.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Of what, such as `"slice 15"`.
    pub name: String,
    /// Steps and losses, in the order of steps. What is not a positive number is left out.
    pub points: Vec<(u32, f64)>,
}

/// What numbers of each image are counted by: slices, or of several frames the images of all.
#[must_use]
pub const fn counted(frames: usize) -> &'static str {
    if frames > 1 { "image" } else { "slice" }
}

/// A number of each slice, of several volumes one after the other.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is, such as `"SNR"`.
    pub name: String,
    /// Unit of the numbers; empty for none.
    pub unit: String,
    /// One for each; what is not finite is left out.
    pub values: Vec<f64>,
    /// Drawn as a line across, where there is one.
    pub limit: Option<f64>,
}
