//! `inspect`: a report as aligned names and values, in 80 columns.

use std::fmt::Write as _;
use std::path::Path;

use contract::prepared::Sampling;
use kspace::format::CalibrationSource;
use kspace::inspect::{Acceleration, Calibration, CalibrationKind, Counts, NoiseScan, Part, Protocol, Report};
use local::config::Config;
use local::files::{self, Inspected, Inspection};
use local::inspect::{Cost, Look};
use local::{Error, Result};

use crate::cli::args;
use crate::cli::ui::Ui;

/// Columns of names, and of a line.
const NAME: usize = 16;
const WIDTH: usize = 80;
/// Further samplings are counted only.
const SAMPLINGS: usize = 4;

pub(crate) fn inspect(args: &args::Inspect, config: &Config, ui: Ui) -> Result<()> {
    let bar = ui.spinner("reading");
    let inspected = files::inspect(&args.file, &config.temp_dir, args.coils)?;
    bar.clear();
    if let Some(out) = &args.out {
        write(out, &inspected)?;
    }
    ui.result(&inspected, || inspected.scans.iter().map(describe).collect::<Vec<_>>().join("\n\n"));
    match &inspected.reason {
        // The answer is complete; only the exit code is left to say.
        Some(reason) => Err(Error::Answered(format!("it will not reconstruct: {reason}"))),
        None => Ok(()),
    }
}

/// Writes `inspect.json` and, for each scan that has one, `mask.png`, in a folder of the scan's name where there are several.
fn write(out: &Path, inspected: &Inspected) -> Result<()> {
    std::fs::create_dir_all(out).map_err(Error::io("making the output folder"))?;
    let json = serde_json::to_vec_pretty(inspected).map_err(|error| Error::io("writing the report")(error.into()))?;
    std::fs::write(out.join("inspect.json"), json).map_err(Error::io("writing the report"))?;
    for scan in &inspected.scans {
        let Some(mask) = scan.scan.as_ref().and_then(|look| look.mask.as_ref()) else { continue };
        let folder = scan.name.as_ref().map_or_else(|| out.to_owned(), |name| out.join(name));
        std::fs::create_dir_all(&folder).map_err(Error::io("making the output folder"))?;
        std::fs::write(folder.join("mask.png"), mask).map_err(Error::io("writing the sampling mask"))?;
    }
    Ok(())
}

fn describe(inspection: &Inspection) -> String {
    let mut lines = Lines::default();
    if let Some(name) = &inspection.name {
        lines.add("scan", name);
    }
    if let Some(look) = &inspection.scan {
        let container: Vec<_> = inspection.container.iter().rev().map(|layer| format!(" in {layer}")).collect();
        lines.add("format", &format!("{}{}", look.report.format, container.concat()));
    }
    if let Some(bytes) = inspection.bytes {
        lines.add("size", &format!("{:.1} MB", bytes as f64 / 1e6));
    }
    if let Some(look) = &inspection.scan {
        describe_scan(look, &mut lines);
    }
    let reason = inspection.reason.as_ref().map_or_else(|| "yes".to_owned(), |reason| format!("no: {reason}"));
    lines.add("reconstructs", &reason);
    lines.0
}

/// Names and values, the values broken into lines.
#[derive(Default)]
pub(crate) struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        let mut name = name;
        let mut line = String::new();
        for word in value.split(' ') {
            if !line.is_empty() && NAME + line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.push(std::mem::take(&mut name), &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.push(name, &line);
    }

    fn push(&mut self, name: &str, line: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        // Writing to a string does not fail.
        let _ = write!(self.0, "{name:<NAME$}{line}");
    }
}

/// All that is told of a scan besides its format and whether it reconstructs.
pub(crate) fn describe_scan(look: &Look, lines: &mut Lines) {
    let report = &look.report;
    describe_acquisition(report, lines);
    lines.add("images", &images(&report.counts));
    if report.counts.averages > 1 {
        lines.add("averages", &report.counts.averages.to_string());
    }
    if let Some(acceleration) = acceleration(&report.acceleration) {
        lines.add("acceleration", &acceleration);
    }
    for sampling in report.sampling.iter().take(SAMPLINGS) {
        lines.add("sampling", &self::sampling(sampling));
    }
    if let Some(more) = report.sampling.len().checked_sub(SAMPLINGS).filter(|more| *more > 0) {
        lines.add("sampling", &format!("and {more} others"));
    }
    lines.add("calibration", &calibration(&report.calibration));
    lines.add("noise scan", &noise_scan(&report.noise_scan));
    for part in &report.partial_fourier {
        lines.add("partial Fourier", &self::part(part));
    }
    if let Some(part) = &report.asymmetric_echo {
        lines.add("asymmetric echo", &self::part(part));
    }
    if let Some(snr) = &report.snr {
        lines.add("SNR", &format!("about {:.0}, noise from the {}", snr.value, snr.noise_from.replace('_', " ")));
    }
    if let Some(known) = report.geometry_known {
        lines.add("geometry", if known { "from the scanner" } else { "unknown" });
    }
    for warning in &report.warnings {
        lines.add("warning", warning);
    }
    if !report.steps.is_empty() {
        let steps: Vec<&str> = report.steps.iter().map(|step| step.name.as_str()).collect();
        lines.add("preparation", &steps.join(", "));
    }
    if let Some(cost) = &look.cost {
        lines.add("reconstruction", &self::cost(cost));
    }
}

fn describe_acquisition(report: &Report, lines: &mut Lines) {
    let readouts = report.readouts;
    let kinds = [
        (readouts.imaging, "imaging"),
        (readouts.calibration, "calibration"),
        (readouts.noise, "noise"),
        (readouts.phase_correction, "phase correction"),
        (readouts.other, "other"),
    ];
    lines.add("readouts", &format!("{} ({})", readouts.total, several(&kinds, 0)));
    let scanner = &report.scanner;
    let names: Vec<&str> = [&scanner.vendor, &scanner.model].into_iter().flatten().map(String::as_str).collect();
    let field = scanner.field_strength_t.map(|tesla| format!("{} T", short(tesla)));
    let scanner: Vec<String> = (!names.is_empty()).then(|| names.join(" ")).into_iter().chain(field).collect();
    lines.add("scanner", &if scanner.is_empty() { "not stated".to_owned() } else { scanner.join(", ") });
    lines.add("protocol", &protocol(&report.protocol));
    if let Some(encoded) = &report.encoded {
        let [x, y, z] = encoded.matrix;
        let oversampling = encoded.readout_oversampling.filter(|ratio| (ratio - 1.0).abs() > 0.01);
        let oversampling = oversampling.map(|ratio| format!(", readout oversampled {}-fold", short(ratio)));
        lines.add("encoded", &format!("{x} x {y} x {z}{}", oversampling.unwrap_or_default()));
    }
    if let Some(image) = &report.image {
        let ([x, y], [width, height], [dx, dy, dz]) = (image.matrix, image.field_of_view_mm, image.voxel_mm);
        lines.add("matrix", &format!("{x} x {y}"));
        lines.add("field of view", &format!("{width:.1} x {height:.1} mm"));
        lines.add("voxel", &format!("{dx:.2} x {dy:.2} x {dz:.2} mm"));
    }
    if let Some(coils) = report.coils {
        let fewer = report.virtual_coils.map(|coils| format!(", compressed to {coils}")).unwrap_or_default();
        lines.add("coils", &format!("{coils}{fewer}"));
    }
}

/// A number without zeros that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What there is more than `most` of.
fn several(counts: &[(usize, &str)], most: usize) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > most);
    counts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

fn protocol(protocol: &Protocol) -> String {
    let trajectory = match protocol.trajectory {
        "cartesian" => "Cartesian",
        "epi" => "EPI",
        "other" => "of another trajectory",
        name => name,
    };
    let list = |values: &[f64]| values.iter().map(|value| short(*value)).collect::<Vec<_>>().join(" / ");
    let times = [
        ("TR", &protocol.tr_ms, "ms"),
        ("TE", &protocol.te_ms, "ms"),
        ("TI", &protocol.ti_ms, "ms"),
        ("flip angle", &protocol.flip_angle_deg, "deg"),
    ];
    let times = times.into_iter().filter(|(_, values, _)| !values.is_empty());
    let times = times.map(|(name, values, unit)| format!("{name} {} {unit}", list(values)));
    let first = format!("{}-D {trajectory}", protocol.dimensions);
    let dwell = protocol.dwell_us.map(|dwell| format!("dwell time {} us", short(dwell)));
    std::iter::once(first)
        .chain(times)
        .chain(dwell)
        .chain(protocol.patient_position.clone())
        .collect::<Vec<_>>()
        .join(", ")
}

fn images(counts: &Counts) -> String {
    let kinds = [
        (counts.slices, "slices"),
        (counts.contrasts, "contrasts"),
        (counts.phases, "phases"),
        (counts.repetitions, "repetitions"),
        (counts.sets, "sets"),
    ];
    let several = several(&kinds, 1);
    if several.is_empty() { counts.images.to_string() } else { format!("{} ({several})", counts.images) }
}

fn acceleration(acceleration: &Acceleration) -> Option<String> {
    let found: Vec<String> = acceleration.found.iter().map(usize::to_string).collect();
    let direction = acceleration.direction.map(|direction| format!(" along {direction}")).unwrap_or_default();
    let found = (!found.is_empty()).then(|| format!("R = {} found{direction}", found.join(" and ")));
    let claimed = acceleration.claimed.map(|[ky, kz]| format!("{} x {} claimed", short(ky), short(kz)));
    let parts: Vec<String> = found.into_iter().chain(claimed).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn sampling(sampling: &Sampling) -> String {
    let lines = format!("lines {} to {}", sampling.first, sampling.last);
    if sampling.acceleration == 1 {
        return format!("fully sampled, {lines}");
    }
    let (first, count) = (sampling.acs_first, sampling.acs_lines);
    let calibration = match count {
        0 => String::new(),
        _ => format!("{count} calibration lines, {first} to {}, ", first + count - 1),
    };
    format!("R = {}, {calibration}{lines}", sampling.acceleration)
}

fn calibration(calibration: &Calibration) -> String {
    let lines = calibration.lines.unwrap_or(0);
    let found = match calibration.kind {
        Some(CalibrationKind::FullySampled) => "not needed".to_owned(),
        Some(CalibrationKind::None) => "no lines".to_owned(),
        Some(CalibrationKind::Embedded) => format!("{lines} lines of the image"),
        Some(CalibrationKind::Apart) => format!("{lines} lines that are not all part of each image"),
        Some(CalibrationKind::Separate) => format!("{lines} lines of a separate scan{}", source(calibration.source)),
        None => "unknown".to_owned(),
    };
    let flagged = format!("{} readouts flagged", calibration.flagged_readouts);
    let claimed = calibration.claimed.map(|mode| format!(", {mode} claimed")).unwrap_or_default();
    format!("{found}, {flagged}{claimed}")
}

/// Where a calibration scan is from, if that is not where its image is from.
fn source(source: Option<CalibrationSource>) -> &'static str {
    match source {
        None | Some(CalibrationSource::SameMeasurement) => "",
        Some(CalibrationSource::OtherMeasurement) => " in another measurement of the file",
        Some(CalibrationSource::OtherFile) => " in another file",
    }
}

fn noise_scan(noise: &NoiseScan) -> String {
    if !noise.present {
        return "none".to_owned();
    }
    let dwell =
        noise.dwell_us.map_or_else(|| "unknown dwell time".to_owned(), |it| format!("dwell time {} us", short(it)));
    let used = match (noise.used, &noise.reason) {
        (Some(true), _) => ", prewhitens the coils",
        (Some(false), _) => ", not used: see the warning",
        (None, _) => "",
    };
    format!("{} samples a coil, {dwell}{used}", noise.samples)
}

fn part(part: &Part) -> String {
    let Part { direction, first, last, of, fraction } = part;
    format!("{direction}: {first} to {last} of {of} measured, {:.0} %", 100.0 * fraction)
}

fn cost(cost: &Cost) -> String {
    let Some(seconds) = cost.seconds else { return "GPU: not estimated".to_owned() };
    let time = match seconds {
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    };
    format!("about {time} on {} threads, {:.0} GFLOP", cost.cpu.threads, cost.gflop.total())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_broken_between_words_under_their_name() {
        let mut lines = Lines::default();
        lines.add("warning", &"lines that were never measured stay zero ".repeat(4));
        lines.add("coils", "8");
        assert!(lines.0.lines().all(|line| line.chars().count() <= WIDTH), "{}", lines.0);
        let starts: Vec<&str> = lines.0.lines().filter_map(|line| line.get(..NAME)).map(str::trim).collect();
        assert_eq!(starts, ["warning", "", "", "coils"]);
    }

    #[test]
    fn numbers_and_times_are_as_short_as_they_can_be() {
        assert_eq!([3.0, 2.5, 0.0, 1.999].map(short), ["3", "2.5", "0", "2"]);
    }
}
