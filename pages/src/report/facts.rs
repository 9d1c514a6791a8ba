//! The top of the page: is it fine, what was it, and the picture.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use contract::Manifest;
use contract::prepared::{Header, Sampling, Step};

use super::{Report, pictures};
use crate::html::escape;
use crate::words::{self, number};

pub(super) fn top(out: &mut String, report: &Report<'_>, has_viewer: bool) {
    let manifest = report.manifest;
    let doubts: Vec<&str> = manifest.doubts().map(|check| check.sentence.as_str()).collect();
    let (class, heading) = if doubts.is_empty() { ("fine", "No doubts found") } else { ("doubt", "Check this") };
    let _ = write!(
        out,
        "<div class=\"top\">\n<div class=\"answer\">\n<section class=\"verdict {class}\" aria-labelledby=\"verdict\">"
    );
    let _ = write!(out, "<h1 id=\"verdict\">{heading}</h1>");
    if doubts.is_empty() {
        let _ = write!(out, "<p>{}</p>", fine(manifest));
    } else {
        list(out, &doubts);
    }
    out.push_str("</section>\n");
    let warnings: BTreeSet<&str> = manifest.warnings.iter().map(String::as_str).collect();
    if !warnings.is_empty() {
        let _ = write!(
            out,
            "<section class=\"warnings\" aria-labelledby=\"warnings\"><h2 id=\"warnings\">{}</h2>",
            if warnings.len() == 1 { "One warning".to_owned() } else { format!("{} warnings", warnings.len()) }
        );
        // In their order, each of them once.
        let mut left = warnings.clone();
        let shown: Vec<&str> = manifest.warnings.iter().map(String::as_str).filter(|text| left.remove(text)).collect();
        list(out, &shown);
        out.push_str("</section>\n");
    }
    facts(out, report);
    out.push_str("<p class=\"research\">Research software. Not for diagnostic use.</p>\n</div>\n");
    pictures::slices(out, report, has_viewer);
    out.push_str("</div>\n");
}

fn fine(manifest: &Manifest) -> String {
    match manifest.checks.len() {
        0 => "No limit was checked for this method; look at the numbers below.".to_owned(),
        1 => "The one number that is checked is within its limit.".to_owned(),
        count => format!("All {count} numbers that are checked are within their limits."),
    }
}

/// Sentences, as a list where there are several. Long lists fold.
fn list(out: &mut String, sentences: &[&str]) {
    const SHOWN: usize = 4;
    let items = |out: &mut String, some: &[&str]| {
        out.push_str("<ul>");
        for sentence in some {
            let _ = write!(out, "<li>{}</li>", escape(&words::sentence(sentence)));
        }
        out.push_str("</ul>");
    };
    items(out, &sentences[..sentences.len().min(SHOWN)]);
    if sentences.len() > SHOWN {
        let _ = write!(out, "<details><summary>{} more</summary>", sentences.len() - SHOWN);
        items(out, &sentences[SHOWN..]);
        out.push_str("</details>");
    }
}

fn facts(out: &mut String, report: &Report<'_>) {
    let (manifest, header) = (report.manifest, report.header);
    let mut rows = vec![
        ("Method", words::method(manifest.method, manifest.refine)),
        ("Acceleration", acceleration(report)),
        ("Images", images(report)),
    ];
    rows.extend(quality(manifest));
    rows.push(("Scanner", scanner(header)));
    rows.push(("Made", made(manifest)));
    out.push_str("<dl class=\"facts\">");
    for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(text));
    }
    out.push_str("</dl>\n");
}

/// What a physicist asks first of the numbers; where one is unknown its text is empty.
fn quality(manifest: &Manifest) -> [(&'static str, String); 3] {
    let found = |name: &str| manifest.quality.get(name).copied();
    let g_factor = match (found("g_factor"), found("g_factor_95")) {
        (Some(median), Some(high)) => format!("{}, 95\u{a0}% of the object below {}", number(median), number(high)),
        _ => String::new(),
    };
    [
        (
            "SNR",
            found("snr")
                .map_or_else(String::new, |snr| format!("{}, median of the object before refinement", number(snr))),
        ),
        ("g-factor", g_factor),
        (
            "Residual",
            found("calibration_residual")
                .map_or_else(String::new, |it| format!("{} of the calibration lines", words::percent(it))),
        ),
    ]
}

fn made(manifest: &Manifest) -> String {
    let when = manifest.created.parse().map_or_else(|_| manifest.created.clone(), words::time);
    let total: f64 = manifest.timings.iter().map(|timing| timing.seconds).filter(|seconds| seconds.is_finite()).sum();
    format!("{when}, in {} on {}", words::seconds(total), manifest.device)
}

fn scanner(header: &Header) -> String {
    let field = header.field_strength_t.map(|field| format!("{} T", number(field)));
    let parts: Vec<String> = [header.vendor.clone(), header.model.clone(), field].into_iter().flatten().collect();
    parts.join(" ")
}

/// `R 4, 60 of 168 lines, 24 for calibration`; numbers that differ between entries as a range.
pub(super) fn acceleration(report: &Report<'_>) -> String {
    let (entries, header) = (report.entries, report.header);
    let separate = report.steps.iter().any(|step| step.name == Step::SEPARATE_CALIBRATION);
    let range = |of: &dyn Fn(&Sampling) -> usize| {
        let values: BTreeSet<usize> = entries.iter().map(|entry| of(&entry.sampling)).collect();
        match (values.first(), values.last()) {
            (Some(low), Some(high)) if low < high => format!("{low} to {high}"),
            (Some(low), _) => low.to_string(),
            _ => String::new(),
        }
    };
    if entries.is_empty() {
        return String::new();
    }
    if entries.iter().all(|entry| entry.sampling.acceleration == 1) {
        return format!("none: {} of {} lines", range(&acquired), header.matrix[1]);
    }
    let calibration = if separate {
        "calibrated by lines of their own".to_owned()
    } else {
        format!("{} for calibration", range(&|sampling| sampling.acs_lines))
    };
    let found = range(&|sampling| sampling.acceleration);
    format!("{found} ({} of {} lines, {calibration})", range(&acquired), header.matrix[1])
}

/// Lines of the grid and of the calibration block.
fn acquired(sampling: &Sampling) -> usize {
    let acs = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
    let step = sampling.acceleration.max(1);
    (sampling.first..=sampling.last).filter(|line| line % step == sampling.offset % step || acs.contains(line)).count()
}

fn images(report: &Report<'_>) -> String {
    let distinct: BTreeSet<u16> = report.entries.iter().map(|entry| entry.slice).collect();
    let slices = distinct.len();
    let frames = if slices == 0 { 0 } else { report.entries.len().div_ceil(slices) };
    let [x, y] = report.matrix;
    let [wide, high, _] = report.header.recon_field_of_view_mm;
    let mut text = if slices == 1 { "1 slice".to_owned() } else { format!("{slices} slices") };
    if frames > 1 {
        let _ = write!(text, ", {frames} frames");
    }
    let _ = write!(text, ", {x} × {y}");
    if wide > 0.0 && high > 0.0 {
        let _ = write!(text, " of {} × {} mm", number(wide), number(high));
    }
    text
}
