//! Numbers, choices, acquisition and provenance.

use std::fmt::Write as _;

use contract::manifest::Check;
use contract::prepared::{Header, Step};
use contract::{Manifest, Method};
use serde_json::Value;

use super::viewer::Viewer;
use super::{Report, charts, facts};
use crate::html::escape;
use crate::svg;
use crate::words::{self, number};

/// Checks with their limits, the other numbers, and what differs from slice to slice.
pub(super) fn quality(out: &mut String, report: &Report<'_>) {
    let manifest = report.manifest;
    let plots: String = report.series.iter().filter_map(|series| charts::series(report, series)).collect();
    if manifest.checks.is_empty() && manifest.quality.is_empty() && plots.is_empty() {
        return;
    }
    out.push_str("<section id=\"quality\" aria-labelledby=\"quality-title\">\n<h2 id=\"quality-title\">Quality</h2>\n");
    if !manifest.checks.is_empty() {
        out.push_str(
            "<table class=\"checks\"><thead><tr><th scope=\"col\">Check</th><th scope=\"col\" class=\"number\">Found</th>\
             <th scope=\"col\" class=\"number\">Limit</th><th scope=\"col\">What it means</th></tr></thead><tbody>\n",
        );
        let mut checks: Vec<&Check> = manifest.checks.iter().collect();
        checks.sort_by_key(|check| check.passed);
        for check in checks {
            let _ = writeln!(
                out,
                "<tr class=\"{}\"><th scope=\"row\"><span><span class=\"badge {}\">{}</span><span>{}</span></span></th><td class=\"number\" data-label=\"Found\">{}</td>\
                 <td class=\"number\" data-label=\"Limit\">{}</td><td>{}</td></tr>",
                if check.passed { "passed" } else { "broken" },
                if check.passed { "done" } else { "check" },
                if check.passed { "fine" } else { "check" },
                escape(&words::quantity(&check.name)),
                words::quality(&check.name, check.value),
                words::quality(&check.name, check.limit),
                escape(&words::sentence(&check.sentence)),
            );
        }
        out.push_str("</tbody></table>\n");
    }
    let rest = manifest.quality.iter().filter(|(name, _)| !manifest.checks.iter().any(|check| check.name == **name));
    let rows: Vec<(String, String)> =
        rest.map(|(name, value)| (words::quantity(name), words::quality(name, *value))).collect();
    pairs(out, &rows);
    if !plots.is_empty() {
        let _ = write!(out, "<div class=\"plots\">\n{plots}</div>\n");
    }
    out.push_str("</section>\n");
}

/// What was chosen and why, how long it took, and all parameters.
pub(super) fn choices(out: &mut String, report: &Report<'_>) {
    let manifest = report.manifest;
    out.push_str(
        "<section id=\"making\" aria-labelledby=\"making-title\">\n<h2 id=\"making-title\">How it was made</h2>\n",
    );
    if !manifest.decisions.is_empty() {
        out.push_str(
            "<h3>Choices</h3><table class=\"choices\"><thead><tr><th scope=\"col\">What</th><th scope=\"col\">Choice</th><th scope=\"col\">Why</th></tr>\
             </thead><tbody>\n",
        );
        for decision in &manifest.decisions {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                escape(&words::capital(&decision.what)),
                escape(&decision.choice),
                escape(&words::sentence(&decision.reason))
            );
        }
        out.push_str("</tbody></table>\n");
    }
    timings(out, manifest);
    let mut rows: Vec<(String, String)> =
        manifest.parameters.iter().map(|(name, parameter)| (words::plain(name), value(parameter))).collect();
    rows.push(("Images as asked".to_owned(), manifest.images.to_string()));
    if !matches!(manifest.method, Method::Grappa | Method::Nwg | Method::ZeroFilled) {
        rows.push(("Seed".to_owned(), manifest.seed.to_string()));
    }
    out.push_str("<h3>Parameters</h3>");
    pairs(out, &rows);
    steps(out, report.steps);
    out.push_str("</section>\n");
}

fn timings(out: &mut String, manifest: &Manifest) {
    let known = |seconds: f64| if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let longest = manifest.timings.iter().map(|timing| known(timing.seconds)).fold(0.0, f64::max);
    if longest <= 0.0 {
        return;
    }
    out.push_str("<h3>Time</h3><table class=\"times\"><tbody>\n");
    for timing in &manifest.timings {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"bar\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            escape(&words::plain(&timing.stage)),
            svg::bar(known(timing.seconds) / longest),
            words::seconds(timing.seconds),
            timing.cpu_seconds.map_or_else(String::new, |cpu| format!("CPU {}", words::seconds(cpu)))
        );
    }
    out.push_str("</tbody></table>\n");
}

fn steps(out: &mut String, steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    let _ = write!(out, "<details><summary>Preparation, {} steps</summary><ol class=\"steps\">", steps.len());
    for step in steps {
        let parameters: Vec<String> = step
            .parameters
            .iter()
            .map(|(name, parameter)| format!("{} {}", words::plain(name).to_lowercase(), value(parameter)))
            .collect();
        let _ = write!(out, "<li><b>{}</b> {}</li>", escape(&words::plain(&step.name)), escape(&parameters.join(", ")));
    }
    out.push_str("</ol></details>\n");
}

/// How the scan was acquired.
pub(super) fn acquisition(out: &mut String, report: &Report<'_>) {
    let header = report.header;
    let several = |values: &[f64], unit: &str| -> String {
        let mut shown: Vec<String> = values.iter().map(|value| number(*value)).collect();
        shown.dedup();
        if shown.is_empty() { String::new() } else { format!("{}{unit}", shown.join(", ")) }
    };
    let of =
        |value: Option<f64>, unit: &str| value.map(|value| format!("{} {unit}", number(value))).unwrap_or_default();
    let rows = [
        ("Manufacturer", header.vendor.clone().unwrap_or_default()),
        ("Model", header.model.clone().unwrap_or_default()),
        ("Field strength", of(header.field_strength_t, "T")),
        ("Larmor frequency", of(header.h1_frequency_hz.map(|hertz| hertz / 1e6), "MHz")),
        ("Patient position", header.patient_position.clone().unwrap_or_default()),
        ("Repetition time", several(&header.tr_ms, " ms")),
        ("Echo time", several(&header.te_ms, " ms")),
        ("Inversion time", several(&header.ti_ms, " ms")),
        ("Flip angle", several(&header.flip_angle_deg, "°")),
        ("Acquired matrix", header.matrix.map(|size| size.to_string()).join(" × ")),
        ("Acquired field of view", millimetres(&header.field_of_view_mm)),
        ("Matrix of the scanner's images", header.recon_matrix.map(|size| size.to_string()).join(" × ")),
        ("Their field of view", millimetres(&header.recon_field_of_view_mm)),
        ("Acceleration found", facts::acceleration(report)),
        ("Acceleration stated", header.stated_acceleration.map(number).unwrap_or_default()),
        ("Orientation", orientation(header).to_owned()),
    ];
    out.push_str(
        "<section id=\"acquisition\" aria-labelledby=\"acquisition-title\">\n<h2 id=\"acquisition-title\">Acquisition</h2>\n",
    );
    let rows: Vec<(String, String)> = rows.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    pairs(out, &rows);
    out.push_str("</section>\n");
}

fn millimetres(lengths: &[f64; 3]) -> String {
    if lengths.iter().all(|length| *length == 0.0) {
        return String::new();
    }
    format!("{} mm", lengths.map(number).join(" × "))
}

const fn orientation(header: &Header) -> &'static str {
    if header.geometry_known { "from the scanner" } else { "unknown" }
}

/// Where the images come from.
pub(super) fn provenance(out: &mut String, report: &Report<'_>) {
    let manifest = report.manifest;
    out.push_str(
        "<section id=\"provenance\" aria-labelledby=\"provenance-title\">\n<h2 id=\"provenance-title\">Provenance</h2>\n",
    );
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = [
        ("Scan", manifest.scan.to_string()),
        ("Made", manifest.created.clone()),
        ("raki-cloud", manifest.tool.version.clone()),
        ("Git revision", optional(&manifest.tool.git_revision)),
        ("Container image", optional(&manifest.tool.image_digest)),
        ("Computed on", manifest.device.clone()),
        ("SHA-256 of the raw data", manifest.source.sha256.clone()),
        ("SHA-256 of its key", manifest.source.key_sha256.clone()),
        ("Version of the raw object", optional(&manifest.source.version)),
        ("ETag of the raw object", optional(&manifest.source.etag)),
    ];
    let rows: Vec<(String, String)> = rows.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    pairs(out, &rows);
    if !manifest.outputs.is_empty() {
        let total = manifest.outputs.iter().map(|output| output.bytes).sum();
        let _ = writeln!(
            out,
            "<details><summary>Files, {} with {}</summary><table class=\"files\"><thead><tr><th scope=\"col\">Name</th>\
             <th scope=\"col\" class=\"number\">Size</th><th scope=\"col\">SHA-256</th></tr></thead><tbody>",
            manifest.outputs.len(),
            words::bytes(total)
        );
        for output in &manifest.outputs {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td><code>{}</code></td></tr>",
                escape(&output.name),
                words::bytes(output.bytes),
                escape(&output.sha256)
            );
        }
        out.push_str("</tbody></table></details>\n");
    }
    out.push_str("</section>\n");
}

/// What the page is, and the licences of what lies in it.
pub(super) fn footer(manifest: &Manifest, viewer: Option<&Viewer>) -> String {
    let mut out = format!(
        "<footer><p>Made by raki-cloud {}. Research software. Not for diagnostic use.</p>\n",
        escape(&manifest.tool.version)
    );
    if let Some(viewer) = viewer {
        let _ = writeln!(
            out,
            "<details><summary>Licences of the 3-D view</summary><pre>{}</pre></details>",
            escape(viewer.licences)
        );
    }
    out.push_str("</footer>\n");
    out
}

/// Names and texts; what has no text is left out.
fn pairs(out: &mut String, rows: &[(String, String)]) {
    out.push_str("<dl class=\"pairs\">");
    for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(text));
    }
    out.push_str("</dl>\n");
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(found) => match found.as_f64() {
            Some(float) if !found.is_i64() && !found.is_u64() => number(float),
            _ => found.to_string(),
        },
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Null => "none".to_owned(),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(", "),
        Value::Object(_) => value.to_string(),
    }
}
