//! What header and readout heads tell, of every scan that opens.

use std::collections::{BTreeSet, HashMap};

use super::{
    Acceleration, Calibration, Counts, Encoded, Image, NoiseScan, Part, Protocol, Readouts, Report, Scanner, part,
};
use crate::format::header::{Encoding, Space, Trajectory};
use crate::format::{Counters, Flags, Kind, RawScan, ReadoutHead};
use crate::prepare::echo::place;
use crate::prepare::header::acquisition;

/// Names of trajectories and calibration modes that are repeated; others are free text of a file.
const TRAJECTORIES: [&str; 3] = ["radial", "goldenangle", "spiral"];
const MODES: [&str; 5] = ["embedded", "interleaved", "separate", "external", "other"];

/// Whether a readout is a line of the image that is reconstructed.
fn is_image(head: &ReadoutHead) -> bool {
    head.encoding == 0 && head.is_imaging()
}

/// The part of a report that needs no plan.
pub(super) fn report(raw: &dyn RawScan) -> Report {
    let header = acquisition(raw.header());
    let encoding = raw.header().encodings.first();
    let imaging: Vec<&ReadoutHead> = raw.heads().iter().filter(|head| is_image(head)).collect();
    let image = encoding.and_then(|encoding| image(&encoding.recon));
    Report {
        format: raw.format().to_owned(),
        readouts: readouts(raw.heads()),
        scanner: Scanner {
            vendor: header.vendor,
            model: header.model,
            field_strength_t: header.field_strength_t,
            h1_frequency_hz: header.h1_frequency_hz,
        },
        protocol: Protocol {
            dimensions: if is_volume(encoding, &imaging) { 3 } else { 2 },
            trajectory: encoding.map_or("other", |encoding| trajectory(&encoding.trajectory)),
            patient_position: header.patient_position,
            tr_ms: header.tr_ms,
            te_ms: header.te_ms,
            ti_ms: header.ti_ms,
            flip_angle_deg: header.flip_angle_deg,
            dwell_us: dwell(imaging.first().copied()),
        },
        encoded: encoding.map(encoded),
        image,
        coils: imaging.first().map(|head| usize::from(head.channels)),
        virtual_coils: None,
        counts: counts(&imaging),
        acceleration: Acceleration {
            claimed: encoding
                .and_then(|encoding| encoding.acceleration)
                .filter(|it| it.iter().all(|it| it.is_finite())),
            ..Acceleration::default()
        },
        sampling: Vec::new(),
        calibration: Calibration {
            flagged_readouts: raw.heads().iter().filter(|head| is_flagged(head)).count(),
            claimed: encoding.and_then(|it| named(&MODES, it.calibration_mode.as_deref()?)),
            ..Calibration::default()
        },
        noise_scan: noise_scan(raw.heads()),
        partial_fourier: Vec::new(),
        asymmetric_echo: encoding.and_then(|it| asymmetric_echo(it.encoded.matrix[0], &imaging)),
        snr: None,
        geometry_known: None,
        steps: Vec::new(),
        prepared_bytes: None,
        warnings: raw.warnings().to_vec(),
        prepares: false,
        reason: None,
    }
}

fn readouts(heads: &[ReadoutHead]) -> Readouts {
    let mut readouts = Readouts { total: heads.len(), ..Readouts::default() };
    for head in heads {
        *match head.kind() {
            Kind::Imaging if is_image(head) => &mut readouts.imaging,
            Kind::Calibration => &mut readouts.calibration,
            Kind::Noise => &mut readouts.noise,
            Kind::PhaseCorrection => &mut readouts.phase_correction,
            Kind::Imaging | Kind::LeftOut(_) => &mut readouts.other,
        } += 1;
    }
    readouts
}

fn is_flagged(head: &ReadoutHead) -> bool {
    head.flags.has(Flags::CALIBRATION) || head.flags.has(Flags::CALIBRATION_AND_IMAGING)
}

fn named(names: &[&'static str], found: &str) -> Option<&'static str> {
    names.iter().find(|name| **name == found).copied()
}

fn trajectory(trajectory: &Trajectory) -> &'static str {
    match trajectory {
        Trajectory::Cartesian => "cartesian",
        Trajectory::Epi => "epi",
        Trajectory::Other(name) => named(&TRAJECTORIES, name).unwrap_or("other"),
    }
}

fn is_volume(encoding: Option<&Encoding>, imaging: &[&ReadoutHead]) -> bool {
    encoding.is_some_and(|encoding| encoding.encoded.matrix[2] > 1)
        || imaging.iter().any(|head| head.counters.step_2 > 0)
}

/// Of a header field that is 0 where it is not known.
fn dwell(head: Option<&ReadoutHead>) -> Option<f64> {
    head.map(|head| f64::from(head.sample_time_us)).filter(|time| time.is_finite() && *time > 0.0)
}

/// All three extents, where they are possible ones.
fn extent(space: &Space) -> Option<[f64; 3]> {
    Some(space.field_of_view_mm).filter(|extent| extent.iter().all(|mm| mm.is_finite() && *mm > 0.0))
}

fn encoded(encoding: &Encoding) -> Encoded {
    let ratio = encoding.encoded.field_of_view_mm[0] / encoding.recon.field_of_view_mm[0];
    Encoded {
        matrix: encoding.encoded.matrix,
        field_of_view_mm: extent(&encoding.encoded),
        readout_oversampling: (ratio.is_finite() && ratio > 0.0).then_some(ratio),
    }
}

/// The image that the scanner would reconstruct.
fn image(recon: &Space) -> Option<Image> {
    let ([x, y, z], extent) = (recon.matrix, extent(recon)?);
    let voxel_mm = [extent[0] / x as f64, extent[1] / y as f64, extent[2] / z.max(1) as f64];
    (x > 0 && y > 0).then_some(Image { matrix: [x, y], field_of_view_mm: [extent[0], extent[1]], voxel_mm })
}

fn counts(imaging: &[&ReadoutHead]) -> Counts {
    let distinct = |counter: fn(&Counters) -> u16| {
        imaging.iter().map(|head| counter(&head.counters)).collect::<BTreeSet<_>>().len()
    };
    let mut copies = HashMap::<[u16; 7], usize>::new();
    let mut images = BTreeSet::new();
    for head in imaging {
        let Counters { step_1, step_2, slice, contrast, phase, repetition, set, .. } = head.counters;
        images.insert([slice, contrast, phase, repetition, set]);
        *copies.entry([step_1, step_2, slice, contrast, phase, repetition, set]).or_default() += 1;
    }
    Counts {
        images: images.len(),
        slices: distinct(|counters| counters.slice),
        contrasts: distinct(|counters| counters.contrast),
        phases: distinct(|counters| counters.phase),
        repetitions: distinct(|counters| counters.repetition),
        sets: distinct(|counters| counters.set),
        averages: copies.into_values().max().unwrap_or(0),
    }
}

fn noise_scan(heads: &[ReadoutHead]) -> NoiseScan {
    let noise: Vec<&ReadoutHead> = heads.iter().filter(|head| head.kind() == Kind::Noise).collect();
    NoiseScan {
        present: !noise.is_empty(),
        samples: noise.iter().map(|head| usize::from(head.samples)).sum(),
        dwell_us: dwell(noise.first().copied()),
        used: None,
        reason: None,
    }
}

/// The measured part of the most incomplete readout.
fn asymmetric_echo(encoded: usize, imaging: &[&ReadoutHead]) -> Option<Part> {
    let measured = |head: &&ReadoutHead| {
        let placed = place(head, encoded).ok().filter(|placed| placed.count < encoded)?;
        Some(part("kx", placed.start, placed.start + placed.count - 1, encoded))
    };
    imaging.iter().filter_map(measured).min_by(|a, b| a.fraction.total_cmp(&b.fraction))
}
