//! The typed header of a measurement, from its readouts and a handful of values of its protocol.

use std::collections::BTreeSet;

use super::matrix::{Axis, Doubt, Lines, Reach, points};
use super::mdh::{bit, has};
use super::protocol::Protocol;
use super::walk::Walk;
use crate::format::header::{Encoding, Header, Limit, Limits, POSITIONS, Ramp, Sequence, Space, System, Trajectory};
use crate::format::separate::is_separate;
use crate::format::{Counters, Flags, ReadoutHead, calibrates_only};

/// `alRegridMode` of a trapezoidal readout gradient.
const TRAPEZOID: f64 = 2.0;
/// `alRegridMode` of samples that are evenly spaced already.
const EVEN: f64 = 1.0;
/// Counters have 16 bits.
const MOST_POINTS: f64 = 65536.0;
/// `sKSpace.ucDimension` of a 3-D measurement.
const THREE_D: f64 = 4.0;

/// Values that were looked for in vain, and other doubts.
#[derive(Default)]
pub(super) struct Notes {
    missing: Vec<&'static str>,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    fn need(&mut self, value: Option<f64>, name: &'static str) -> Option<f64> {
        if value.is_none() {
            self.missing.push(name);
        }
        value
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// One warning for all that is missing.
    pub(super) fn close(mut self) -> Vec<String> {
        if !self.missing.is_empty() {
            self.warnings.push(format!("the protocol does not state: {}", self.missing.join(", ")));
        }
        self.warnings
    }
}

/// Describes a measurement. `coil_names` are those of its channels.
pub(super) fn describe(protocol: &Protocol<'_>, walk: &Walk, coil_names: Vec<String>, notes: &mut Notes) -> Header {
    let channels = walk.heads.iter().map(|head| u32::from(head.channels)).max();
    let encodings = encodings(protocol, walk, notes);
    let position = ["tPatientPosition", "sPatPosition", "PatientPosition"];
    let position = position.into_iter().find_map(|name| protocol.nested_text(name));
    let hydrogen = protocol.text("sTXSPEC.asNucleusInfo[0].tNucleus").is_none_or(|nucleus| nucleus == "1H");
    let frequency = protocol.positive("sTXSPEC.asNucleusInfo[0].lFrequency");
    let field = protocol.positive("sProtConsistencyInfo.flNominalB0");
    Header {
        h1_frequency_hz: frequency.or_else(|| protocol.nested_number("lFrequency")).filter(|_| hydrogen),
        system: System {
            vendor: Some("SIEMENS".to_owned()),
            model: protocol.nested_text("ManufacturersModelName").map(str::to_owned),
            field_strength_t: field.or_else(|| protocol.nested_number("flMagneticFieldStrength")),
            relative_noise_bandwidth: None,
            channels,
            coil_names,
        },
        encodings,
        sequence: sequence(protocol),
        patient_position: position.filter(|position| POSITIONS.contains(position)).map(str::to_owned),
        measurement_id: None,
        noise_dependency: None,
        dependencies: Vec::new(),
    }
}

/// A readout and the line and partition that it states to be at the centre of k-space.
type Line<'a> = (&'a ReadoutHead, [u16; 2]);

/// The image, and lines of a calibration scan of its own, which have a matrix of their own; nothing where there are no lines.
fn encodings(protocol: &Protocol<'_>, walk: &Walk, notes: &mut Notes) -> Vec<Encoding> {
    // Lines of a measurement that calibrates others are described by its own protocol. Protocols have modes that say nothing
    // of it, those of echo planar sequences among them.
    let stated = calibration_mode(protocol) == Some("separate");
    let separate = (stated || is_separate(&walk.heads)) && !calibrates_only(&walk.heads);
    let lines = walk.heads.iter().zip(walk.centers.iter().copied()).filter(|(head, _)| head.is_line());
    let (calibration, image): (Vec<Line<'_>>, Vec<Line<'_>>) =
        lines.partition(|(head, _)| separate && head.is_calibration());
    if image.is_empty() {
        return Vec::new();
    }
    let first = encoding(protocol, walk, &image, notes);
    let second = (!calibration.is_empty()).then(|| calibration_encoding(&first, &calibration));
    [Some(first), second].into_iter().flatten().collect()
}

/// Extent of the lines along a direction of phase encoding.
fn extent(lines: &[Line<'_>], direction: usize, stated: Option<usize>) -> (Axis, Limit) {
    let counter = |(head, _): &Line<'_>| [head.counters.step_1, head.counters.step_2][direction];
    let (first, last) = (lines.iter().map(counter).min().unwrap_or(0), lines.iter().map(counter).max().unwrap_or(0));
    let center = lines.iter().map(|(_, center)| center[direction]).find(|center| *center > 0).unwrap_or(0);
    let axis = Lines { first, last, center, stated }.axis();
    (axis, Limit { minimum: first, maximum: last, center: axis.center })
}

fn reaches(lines: &[Line<'_>]) -> Vec<Reach> {
    lines.iter().map(|(head, _)| reach(head)).collect::<BTreeSet<Reach>>().into_iter().collect()
}

/// Calibration lines have the field of view of the image and fewer points.
fn calibration_encoding(image: &Encoding, lines: &[Line<'_>]) -> Encoding {
    let oversampling = image.encoded.matrix[0] as f64 / image.recon.matrix[0].max(1) as f64;
    let x = points(&reaches(lines), None, None).size;
    let ((y, step_1), (z, step_2)) = (extent(lines, 0, None), extent(lines, 1, None));
    let mut own = image.clone();
    own.encoded.matrix = [x, y.size, z.size];
    own.recon.matrix = [(x as f64 / oversampling).round() as usize, y.size, z.size];
    (own.limits.step_1, own.limits.step_2) = (Some(step_1), Some(step_2));
    // Echo planar images are often calibrated by lines of a gradient echo.
    if !lines.iter().any(|(head, _)| head.flags.has(Flags::REVERSE)) {
        (own.trajectory, own.ramp) = (Trajectory::Cartesian, None);
    }
    own
}

fn encoding(protocol: &Protocol<'_>, walk: &Walk, lines: &[Line<'_>], notes: &mut Notes) -> Encoding {
    let size = |value: Option<f64>| value.filter(|value| *value <= MOST_POINTS).map(|value| value as usize);
    let base = size(notes.need(protocol.positive("sKSpace.lBaseResolution"), "base resolution"));
    let x = points(&reaches(lines), base, protocol.nested_number("flReadoutOSFactor"));
    if x.doubt {
        notes.warn(format!(
            "the protocol states {} points along the readout, the data have {}: they are taken as they are, without \
             readout oversampling",
            base.unwrap_or_default(),
            x.size
        ));
    }

    let mut axis = |direction: usize, stated: Option<usize>, name: &str| {
        let (axis, limit) = extent(lines, direction, stated);
        let range = format!("{name} {} to {}", limit.minimum, limit.maximum);
        match axis.doubt {
            Some(Doubt::Size) => notes.warn(format!(
                "the protocol states {} {name}, the data have {range}: a matrix of {} is taken",
                stated.unwrap_or_default(),
                axis.size
            )),
            Some(Doubt::Center) => notes.warn(format!(
                "the readouts state another centre of k-space than the middle of the complete {range}, which is taken"
            )),
            None => {}
        }
        (axis.size, limit)
    };
    let three_d = protocol.number("sKSpace.ucDimension") == Some(THREE_D);
    let stated = size(protocol.positive("sKSpace.lPhaseEncodingLines"));
    let (y, step_1) = axis(0, stated, "lines");
    let partitions = lines.iter().any(|(head, _)| head.counters.step_2 > 0);
    let stated = size(protocol.positive("sKSpace.lPartitions")).filter(|_| partitions && three_d);
    let (z, step_2) = axis(1, stated, "partitions");

    let slice = |name: &str| protocol.positive(&format!("sSliceArray.asSlice[0].{name}"));
    let read_fov = notes.need(slice("dReadoutFOV"), "field of view along the readout").unwrap_or(0.0);
    let phase_fov = notes.need(slice("dPhaseFOV"), "field of view along the phase direction").unwrap_or(0.0);
    let thickness = notes.need(slice("dThickness"), "slice thickness").unwrap_or(0.0);
    let oversampling =
        |name: &str| 1.0 + protocol.positive(&format!("sKSpace.{name}OversamplingForDialog")).unwrap_or(0.0);
    let phase_oversampling = oversampling("dPhase");
    let slice_oversampling = if z > 1 { oversampling("dSlice") } else { 1.0 };

    let points = (x.size as f64 / x.oversampling).round() as usize;
    let square = if read_fov > 0.0 { (points as f64 * phase_fov / read_fov).round() as usize } else { 0 };
    let images = if z > 1 { size(protocol.positive("sKSpace.lImagesPerSlab")).unwrap_or(z) } else { 1 };
    let range = |counter: fn(&Counters) -> u16| {
        let counters = || lines.iter().map(|(head, _)| counter(&head.counters));
        Some(Limit { minimum: counters().min()?, maximum: counters().max()?, center: 0 })
    };
    let trajectory = trajectory(protocol, walk, lines);
    let ramp = if trajectory == Trajectory::Epi { ramp(protocol, notes) } else { None };
    Encoding {
        encoded: Space {
            matrix: [x.size, y, z],
            field_of_view_mm: [
                read_fov * x.oversampling,
                phase_fov * phase_oversampling,
                thickness * slice_oversampling,
            ],
        },
        recon: Space {
            matrix: [points, if square > 0 { square } else { y }, images],
            field_of_view_mm: [read_fov, phase_fov, thickness],
        },
        limits: Limits {
            step_1: Some(step_1),
            step_2: Some(step_2),
            average: range(|counters| counters.average),
            slice: range(|counters| counters.slice),
            contrast: range(|counters| counters.contrast),
            phase: range(|counters| counters.phase),
            repetition: range(|counters| counters.repetition),
            set: range(|counters| counters.set),
        },
        trajectory,
        acceleration: protocol
            .positive("sPat.lAccelFactPE")
            .map(|factor| [factor, protocol.positive("sPat.lAccelFact3D").unwrap_or(1.0)]),
        calibration_mode: calibration_mode(protocol).map(str::to_owned),
        multiband: multiband(protocol, walk, notes),
        ramp,
    }
}

fn reach(head: &ReadoutHead) -> Reach {
    let [samples, pre, post, center] =
        [head.samples, head.discard_pre, head.discard_post, head.center_sample].map(usize::from);
    // A centre that was not filled in, or lies outside of the readout, tells nothing: the middle is as good.
    let center = if center == 0 || center >= samples { samples / 2 } else { center };
    let end = samples.saturating_sub(post);
    Reach { before: center.min(end).saturating_sub(pre), behind: end.saturating_sub(center.max(pre)) }
}

/// Single-shot and segmented echo planar sequences come with lines for the correction of their phase, and with lines acquired
/// from right to left.
fn trajectory(protocol: &Protocol<'_>, walk: &Walk, lines: &[Line<'_>]) -> Trajectory {
    match protocol.number("sKSpace.ucTrajectory").map(|value| value as u32) {
        Some(2) => Trajectory::Other("radial".to_owned()),
        Some(4) => Trajectory::Other("spiral".to_owned()),
        Some(8 | 16 | 32) => Trajectory::Other("other".to_owned()),
        _ => {
            let reversed = lines.iter().any(|(head, _)| head.flags.has(Flags::REVERSE));
            let corrected = has(walk.bits, bit::PHASE_CORRECTION);
            if reversed && corrected { Trajectory::Epi } else { Trajectory::Cartesian }
        }
    }
}

fn ramp(protocol: &Protocol<'_>, notes: &mut Notes) -> Option<Ramp> {
    let mode = protocol.nested_number("alRegridMode").unwrap_or(EVEN);
    if mode == EVEN {
        return None;
    }
    if mode != TRAPEZOID {
        notes.warn(format!(
            "the readout gradient has a shape (kind {mode}) that is not known: its ramps are not regridded"
        ));
        return None;
    }
    let mut need = |name: &str, what| notes.need(protocol.nested_number(name), what);
    let samples = need("alRegridDestSamples", "samples on the readout gradient")?;
    let duration = need("aflRegridADCDuration", "duration of the readout")?;
    Some(Ramp {
        up_us: need("alRegridRampupTime", "rising ramp of the readout gradient")?,
        flat_us: need("alRegridFlattopTime", "plateau of the readout gradient")?,
        down_us: need("alRegridRampdownTime", "falling ramp of the readout gradient")?,
        delay_us: need("alRegridDelaySamplesTime", "begin of the readout on its gradient")?,
        dwell_us: duration / samples,
        against_read_dir: true,
    })
    .filter(|ramp| ramp.dwell_us.is_finite() && ramp.dwell_us > 0.0)
}

fn calibration_mode(protocol: &Protocol<'_>) -> Option<&'static str> {
    match protocol.number("sPat.ucRefScanMode")? as u32 {
        2 => Some("embedded"),
        4 | 8 => Some("separate"),
        16 | 32 | 64 => Some("interleaved"),
        _ => Some("other"),
    }
}

fn multiband(protocol: &Protocol<'_>, walk: &Walk, notes: &mut Notes) -> Option<f64> {
    let line = protocol.positive("sSliceAcceleration.lMultiBandFactor");
    let factor = line.or_else(|| protocol.nested_number("lMultiBandFactor"));
    if has(walk.bits, bit::SINGLE_BAND_REFERENCE) && factor.is_none_or(|factor| factor <= 1.0) {
        notes.warn("lines of a single-band reference, but no multiband factor in the protocol: 2 is assumed");
        return Some(2.0);
    }
    factor
}

fn sequence(protocol: &Protocol<'_>) -> Sequence {
    let contrasts = protocol.positive("lContrasts").map_or(1, |count| count as usize).min(128);
    let times = |name: &str, count: usize| {
        let time = |number| protocol.positive(&format!("{name}[{number}]")).map(|us| us / 1000.0);
        (0..count).map_while(time).collect::<Vec<f64>>()
    };
    // 1 is slice-selective, 2 is not; without inversion a time is left over in the protocol.
    let inverts = matches!(protocol.number("sPrepPulses.ucInversion"), Some(1.0 | 2.0));
    let angle = protocol.positive("adFlipAngleDegree[0]").or_else(|| protocol.positive("dFlipAngleDegree"));
    Sequence {
        tr_ms: times("alTR", 1),
        te_ms: times("alTE", contrasts),
        ti_ms: if inverts { times("alTI", 1) } else { Vec::new() },
        flip_angle_deg: angle.into_iter().collect(),
    }
}
