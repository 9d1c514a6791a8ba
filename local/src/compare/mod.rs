//! Methods side by side on one file.
//!
//! | module | what it does |
//! |---|---|
//! | [`cells`] | samplings, methods and slices as a person writes them |
//! | [`study`] | runs every method on every sampling |
//! | [`figures`] | what is known of a result: scores, times, numbers without a reference |
//! | [`table`] | all of that as text |
//! | [`picture`] | images and their errors side by side |
//! | [`export`] | k-space, masks and images for other software |
//!
//! A fully sampled file is undersampled in memory and its own image is the reference; of an undersampled one only numbers
//! without a reference are known. Images are `[y, x]`, k-space is `[coil, ky, kx]`.

pub mod cells;
pub mod export;
pub mod figures;
pub mod picture;
pub mod study;
pub mod table;

pub use cells::{Cell, Choice, Slices};
pub use figures::{Figures, RoundTrip, Scores};
pub use study::{Settings, Study};

use ndarray::Array2;
use serde::Serialize;

/// The answer to one comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Receiver coils.
    pub coils: usize,
    /// Samples along kx and lines along ky.
    pub matrix: [usize; 2],
    /// Slices compared, in the order of the prepared file.
    pub slices: Vec<usize>,
    /// Slices in the file.
    pub slices_in_file: usize,
    /// Whether the file is fully sampled, so that there is a reference.
    pub reference: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Where networks were trained.
    pub device: String,
    /// One for each sampling.
    pub cells: Vec<Section>,
}

/// Every method on one sampling.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// Distance R of the acquired lines.
    pub acceleration: usize,
    /// Calibration lines: as asked for, or as found in an undersampled file.
    pub acs: usize,
    /// Acquired lines over all lines.
    pub acquired_fraction: f64,
    /// One for each method, in the order asked for.
    pub methods: Vec<Row>,
    /// The fully sampled image of the slice that is shown.
    #[serde(skip)]
    pub reference: Option<Array2<f32>>,
}

impl Section {
    /// The name that files of this sampling bear, such as `4-32`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.acceleration, self.acs)
    }
}

/// A method on one sampling.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// The method, as it would be asked for.
    pub method: String,
    /// What is known of its result.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The image of the slice that is shown, the middle one of those compared.
    #[serde(skip)]
    pub image: Option<Array2<f32>>,
}
