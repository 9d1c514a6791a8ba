//! What is known of a readout besides its samples: its kind, its counters, where it was taken.

/// Flags of a readout, numbered from 1 as in the ISMRMRD standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

impl Flags {
    /// First readout of a slice.
    pub const FIRST_IN_SLICE: u32 = 7;
    /// Last readout of a slice.
    pub const LAST_IN_SLICE: u32 = 8;
    /// Noise measurement.
    pub const NOISE: u32 = 19;
    /// Calibration line that is not part of the image.
    pub const CALIBRATION: u32 = 20;
    /// Calibration line that is also part of the image.
    pub const CALIBRATION_AND_IMAGING: u32 = 21;
    /// Line acquired from right to left.
    pub const REVERSE: u32 = 22;
    /// Navigator.
    pub const NAVIGATION: u32 = 23;
    /// Phase correction line.
    pub const PHASE_CORRECTION: u32 = 24;
    /// Last readout of the measurement.
    pub const LAST_IN_MEASUREMENT: u32 = 25;
    /// High-priority feedback.
    pub const HP_FEEDBACK: u32 = 26;
    /// Dummy scan.
    pub const DUMMY: u32 = 27;
    /// Real-time feedback.
    pub const RT_FEEDBACK: u32 = 28;
    /// Surface coil correction scan.
    pub const SURFACE_COIL_CORRECTION: u32 = 29;
    /// Phase stabilisation reference.
    pub const PHASE_STABILISATION_REFERENCE: u32 = 30;
    /// Phase stabilisation.
    pub const PHASE_STABILISATION: u32 = 31;
    /// First of the four flags of compressed samples.
    pub const COMPRESSION_1: u32 = 53;
    /// Last of the four flags of compressed samples.
    pub const COMPRESSION_4: u32 = 56;

    /// Readouts that belong to no image and correct none, with their names.
    pub const LEFT_OUT: [(u32, &str); 7] = [
        (Self::NAVIGATION, "navigator"),
        (Self::HP_FEEDBACK, "feedback"),
        (Self::DUMMY, "dummy"),
        (Self::RT_FEEDBACK, "real-time feedback"),
        (Self::SURFACE_COIL_CORRECTION, "surface coil correction"),
        (Self::PHASE_STABILISATION_REFERENCE, "phase stabilisation reference"),
        (Self::PHASE_STABILISATION, "phase stabilisation"),
    ];

    /// The name of what it is that belongs to no image, if it is that.
    #[must_use]
    pub fn left_out(self) -> Option<&'static str> {
        Self::LEFT_OUT.iter().find(|(number, _)| self.has(*number)).map(|(_, name)| *name)
    }

    /// Whether flag `number` is set.
    #[must_use]
    pub const fn has(self, number: u32) -> bool {
        self.0 & (1 << (number - 1)) != 0
    }

    /// These flags and flag `number`.
    #[must_use]
    pub const fn with(self, number: u32) -> Self {
        Self(self.0 | 1 << (number - 1))
    }

    /// These flags without flag `number`.
    #[must_use]
    pub const fn without(self, number: u32) -> Self {
        Self(self.0 & !(1 << (number - 1)))
    }
}

/// Encoding counters of a readout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Phase encoding step.
    pub step_1: u16,
    /// Partition encoding step.
    pub step_2: u16,
    /// Average.
    pub average: u16,
    /// Slice.
    pub slice: u16,
    /// Contrast (echo).
    pub contrast: u16,
    /// Cardiac phase.
    pub phase: u16,
    /// Repetition.
    pub repetition: u16,
    /// Set.
    pub set: u16,
    /// Segment.
    pub segment: u16,
}

/// What a readout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A line of an image, which may calibrate it too.
    Imaging,
    /// A line that calibrates and is not part of the image.
    Calibration,
    /// Noise.
    Noise,
    /// A phase correction line of an echo planar scan.
    PhaseCorrection,
    /// What belongs to no image and corrects none, by its name.
    LeftOut(&'static str),
}

/// What is known of a readout besides its samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReadoutHead {
    /// What kind of readout it is.
    pub flags: Flags,
    /// Running number.
    pub scan_counter: u32,
    /// Complex samples per channel.
    pub samples: u16,
    /// Channels with data.
    pub channels: u16,
    /// Samples to ignore at the start.
    pub discard_pre: u16,
    /// Samples to ignore at the end.
    pub discard_post: u16,
    /// Index of the sample at the centre of k-space.
    pub center_sample: u16,
    /// Which encoding of the header it belongs to.
    pub encoding: u16,
    /// Dimensions of a stored trajectory, 0 for none.
    pub trajectory_dimensions: u16,
    /// Dwell time, us.
    pub sample_time_us: f32,
    /// Centre of the slice or slab, LPS, mm.
    pub position: [f32; 3],
    /// Readout direction, LPS.
    pub read_dir: [f32; 3],
    /// Phase encoding direction, LPS.
    pub phase_dir: [f32; 3],
    /// Slice direction, LPS.
    pub slice_dir: [f32; 3],
    /// Encoding counters.
    pub counters: Counters,
}

impl ReadoutHead {
    /// Whether its samples are stored in a compressed form.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        (Flags::COMPRESSION_1..=Flags::COMPRESSION_4).any(|flag| self.flags.has(flag))
    }

    /// What it is, by its flags, whatever its encoding.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let flags = self.flags;
        if flags.has(Flags::NOISE) {
            Kind::Noise
        } else if flags.has(Flags::PHASE_CORRECTION) {
            // Before the others: Siemens marks phase correction lines as feedback too.
            Kind::PhaseCorrection
        } else if let Some(name) = flags.left_out() {
            Kind::LeftOut(name)
        } else if flags.has(Flags::CALIBRATION) && !flags.has(Flags::CALIBRATION_AND_IMAGING) {
            Kind::Calibration
        } else {
            Kind::Imaging
        }
    }

    /// Whether it is a line of an image or of its calibration: no noise and no correction.
    #[must_use]
    pub fn is_line(&self) -> bool {
        matches!(self.kind(), Kind::Imaging | Kind::Calibration)
    }

    /// Whether it is a line of an image: no noise, no correction and not for calibration alone.
    #[must_use]
    pub fn is_imaging(&self) -> bool {
        self.kind() == Kind::Imaging
    }

    /// Whether it is a calibration line that is not part of the image.
    #[must_use]
    pub fn is_calibration(&self) -> bool {
        self.kind() == Kind::Calibration
    }
}

/// Whether there are calibration lines and no lines of an image.
pub(super) fn calibrates_only(heads: &[ReadoutHead]) -> bool {
    let mut lines = heads.iter().filter(|head| head.is_line()).peekable();
    lines.peek().is_some() && lines.all(ReadoutHead::is_calibration)
}
