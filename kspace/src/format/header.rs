//! The typed ISMRMRD XML header: the elements a reconstruction needs, by local name, whatever the prefix.

/// The eight ways to lie in a scanner; anything else is free text.
pub const POSITIONS: [&str; 8] = ["HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"];

/// Fields of view closer than this, relatively, are the same.
const SAME_FIELD_OF_VIEW: f64 = 0.01;

/// The header of a scan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Header {
    /// Larmor frequency of hydrogen, Hz.
    pub h1_frequency_hz: Option<f64>,
    /// The scanner and its coils.
    pub system: System,
    /// One or more encodings; readouts refer to them by index.
    pub encodings: Vec<Encoding>,
    /// TR, TE, TI, flip angle.
    pub sequence: Sequence,
    /// How the patient lay, such as `HFS`.
    pub patient_position: Option<String>,
    /// Name of this measurement, which others refer to. May identify a person: it is compared and never shown.
    pub measurement_id: Option<String>,
    /// Measurement that holds the noise scan of this one.
    pub noise_dependency: Option<String>,
    /// Other measurements that this one depends on, among them its calibration scan.
    pub dependencies: Vec<String>,
}

/// `acquisitionSystemInformation`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct System {
    /// Manufacturer.
    pub vendor: Option<String>,
    /// Scanner model.
    pub model: Option<String>,
    /// Field strength, T.
    pub field_strength_t: Option<f64>,
    /// Relative noise bandwidth of the receiver.
    pub relative_noise_bandwidth: Option<f64>,
    /// Receiver channels.
    pub channels: Option<u32>,
    /// Names of the coil elements in the order of the channels; empty where the header has none.
    pub coil_names: Vec<String>,
}

/// `encoding`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Encoding {
    /// What was encoded.
    pub encoded: Space,
    /// What is to be reconstructed.
    pub recon: Space,
    /// Limits of the counters.
    pub limits: Limits,
    /// How k-space is travelled.
    pub trajectory: Trajectory,
    /// Stated acceleration along step 1 and step 2.
    pub acceleration: Option<[f64; 2]>,
    /// Stated calibration mode, such as `embedded`.
    pub calibration_mode: Option<String>,
    /// Stated multiband factor.
    pub multiband: Option<f64>,
    /// How an echo planar readout samples its ramps; absent where samples are evenly spaced in k-space.
    pub ramp: Option<Ramp>,
}

/// A trapezoidal readout gradient whose ramps are sampled too.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ramp {
    /// Time of the rising ramp, us.
    pub up_us: f64,
    /// Time of the plateau, us.
    pub flat_us: f64,
    /// Time of the falling ramp, us.
    pub down_us: f64,
    /// Time from the begin of the rising ramp to the first sample, us.
    pub delay_us: f64,
    /// Time from sample to sample, us.
    pub dwell_us: f64,
    /// Whether the gradient of a line from left to right points against the read direction of its head. The heads of ISMRMRD hold
    /// the direction of the gradient; the reader of Siemens files gives that of the pixels, which is the opposite.
    pub against_read_dir: bool,
}

/// A matrix and its field of view.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Space {
    /// Samples along x, y, z.
    pub matrix: [usize; 3],
    /// Extent along x, y, z, mm.
    pub field_of_view_mm: [f64; 3],
}

impl Space {
    /// Whether lines of k-space along an axis are as far apart as those of `other`: where either says nothing of its field of view,
    /// nothing speaks against it.
    #[must_use]
    pub fn has_spacing_of(&self, other: &Self, axis: usize) -> bool {
        let ratio = self.field_of_view_mm[axis] / other.field_of_view_mm[axis];
        !ratio.is_finite() || ratio <= 0.0 || (ratio - 1.0).abs() < SAME_FIELD_OF_VIEW
    }
}

/// `encodingLimits`; every limit is optional in the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Phase encoding.
    pub step_1: Option<Limit>,
    /// Partition encoding.
    pub step_2: Option<Limit>,
    /// Averages.
    pub average: Option<Limit>,
    /// Slices.
    pub slice: Option<Limit>,
    /// Contrasts.
    pub contrast: Option<Limit>,
    /// Cardiac phases.
    pub phase: Option<Limit>,
    /// Repetitions.
    pub repetition: Option<Limit>,
    /// Sets.
    pub set: Option<Limit>,
}

/// Range of a counter and the value at the centre of k-space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Smallest value.
    pub minimum: u16,
    /// Largest value.
    pub maximum: u16,
    /// Value at the centre of k-space.
    pub center: u16,
}

/// How k-space is travelled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trajectory {
    /// Parallel lines.
    #[default]
    Cartesian,
    /// Echo planar.
    Epi,
    /// Anything else, by its name.
    Other(String),
}

/// `sequenceParameters`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sequence {
    /// Repetition times, ms.
    pub tr_ms: Vec<f64>,
    /// Echo times, ms.
    pub te_ms: Vec<f64>,
    /// Inversion times, ms.
    pub ti_ms: Vec<f64>,
    /// Flip angles, degrees.
    pub flip_angle_deg: Vec<f64>,
}
