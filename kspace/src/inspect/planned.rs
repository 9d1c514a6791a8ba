//! What only the plan of a preparation tells.

use std::collections::BTreeSet;

use contract::PreparedMeta;
use contract::prepared::{Entry, Sampling, Step};

use super::{CalibrationKind, Image, Part, Report, Snr, part};
use crate::format::RawScan;
use crate::prepare::{Pattern, Place, Plan};

/// How warnings about a noise scan that is not used begin.
const NOISE_WARNING: &str = "noise scan";
/// Lines at the ends of k-space that were not measured count from this part of all on.
const LEAST_MISSING: usize = 16;

/// Adds what the plan tells.
pub(super) fn complete(report: &mut Report, raw: &dyn RawScan, plan: &Plan) {
    let (meta, shape) = (plan.meta(), plan.shape());
    let header = &meta.header;
    let distinct = |counter: fn(&Entry) -> u16| meta.entries.iter().map(counter).collect::<BTreeSet<_>>().len();
    report.counts.images = meta.entries.len();
    report.counts.slices = distinct(|entry| entry.slice);
    let ([x, y, _], mm) = (header.recon_matrix, header.recon_field_of_view_mm);
    report.image = Some(Image {
        matrix: [x, y],
        field_of_view_mm: [mm[0], mm[1]],
        voxel_mm: [mm[0] / x as f64, mm[1] / y as f64, mm[2]],
    });
    let from = meta.step("compress_coils").and_then(|step| step.number("from"));
    report.coils = Some(from.map_or(shape.coils, |from| from as usize));
    report.virtual_coils = from.map(|_| shape.coils);

    report.sampling = samplings(&meta.entries);
    let factors: BTreeSet<usize> = report.sampling.iter().map(|sampling| sampling.acceleration).collect();
    let accelerated = factors.iter().any(|factor| *factor > 1);
    report.acceleration.found = factors.into_iter().collect();
    report.acceleration.direction = accelerated.then_some(if plan.accelerates_kz() { "kz" } else { "ky" });
    let embedded = report.sampling.iter().filter(|it| it.acceleration > 1).map(|it| it.acs_lines).min();
    report.calibration.lines = shape.acs.map(|(lines, _)| lines).or(embedded);
    let kind = kind(meta, embedded);
    report.calibration.kind = Some(kind);
    report.calibration.source = (kind == CalibrationKind::Separate).then(|| raw.calibration_source());

    let unused = || meta.warnings.iter().find(|warning| warning.starts_with(NOISE_WARNING)).cloned();
    let used = meta.step(Step::PREWHITEN).is_some();
    if report.noise_scan.present {
        report.noise_scan.used = Some(used);
        report.noise_scan.reason = if used { None } else { unused() };
    }
    report.partial_fourier = partial_fourier(&plan.patterns(), &report.acceleration.found);
    report.snr = plan.estimate().map(|estimate| Snr {
        value: estimate.snr,
        noise_from: if estimate.measured { "noise_scan" } else { "calibration_lines" },
    });
    report.geometry_known = Some(header.geometry_known);
    report.steps.clone_from(&meta.steps);
    report.prepared_bytes = Some(plan.byte_len());
    report.warnings.clone_from(&meta.warnings);
    report.prepares = true;
}

/// Each sampling once, in the order of the entries.
fn samplings(entries: &[Entry]) -> Vec<Sampling> {
    let mut found: Vec<Sampling> = Vec::new();
    for entry in entries {
        if !found.contains(&entry.sampling) {
            found.push(entry.sampling);
        }
    }
    found
}

/// Where the calibration lines of accelerated entries are from, `embedded` of them within the image.
fn kind(meta: &PreparedMeta, embedded: Option<usize>) -> CalibrationKind {
    let apart = meta.step(Step::SEPARATE_CALIBRATION);
    let separate = apart.and_then(|step| step.number("of_a_separate_scan")).unwrap_or(0.0) > 0.0;
    match (embedded, apart) {
        (None, _) => CalibrationKind::FullySampled,
        (_, Some(_)) if separate => CalibrationKind::Separate,
        (_, Some(_)) => CalibrationKind::Apart,
        (Some(0), None) => CalibrationKind::None,
        (Some(_), None) => CalibrationKind::Embedded,
    }
}

/// The measured part of ky and of kz, of the least complete k-space, where it ends before the matrix does.
fn partial_fourier(patterns: &[Pattern], factors: &[usize]) -> Vec<Part> {
    // A grid need not reach the last line.
    let acceleration = factors.iter().copied().max().unwrap_or(1);
    let mut parts = Vec::new();
    for (direction, axis) in [("ky", 0), ("kz", 1)] {
        let range = |pattern: &Pattern| {
            let acquired = || {
                let places = pattern.places.indexed_iter().filter(|(_, place)| **place != Place::Missing);
                places.map(|((ky, kz), _)| if axis == 0 { ky } else { kz })
            };
            let (first, last) = (acquired().min()?, acquired().max()?);
            let of = pattern.places.shape()[axis];
            let missing = of - (last + 1 - first);
            let least = (2 * acceleration).max(of / LEAST_MISSING);
            (of > 1 && missing >= least).then(|| part(direction, first, last, of))
        };
        let images = patterns.iter().filter(|pattern| !pattern.separate);
        parts.extend(images.filter_map(range).min_by(|a, b| a.fraction.total_cmp(&b.fraction)));
    }
    parts
}
