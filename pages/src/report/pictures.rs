//! Pictures: plain images first, with the data that the scripts need to make them scroll.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Map, Report, Sheet, charts};
use crate::html::{self, data_url, escape};
use crate::words::number;

const PNG: &str = "image/png";

/// The slices: the montage, and where there is a script a view that scrolls.
pub(super) fn slices(out: &mut String, report: &Report<'_>, has_viewer: bool) {
    let slices = &report.slices;
    out.push_str("<section class=\"slices\" id=\"images\" aria-label=\"Images\">\n");
    let _ = writeln!(
        out,
        "<figure class=\"montage\" id=\"montage\"><img src=\"{}\" alt=\"Montage of the slices\"></figure>",
        data_url(PNG, report.montage)
    );
    if !slices.frames.is_empty() {
        out.push_str("<div class=\"scroller\" id=\"scroller\" hidden></div>\n");
    }
    if has_viewer {
        out.push_str("<div class=\"volume\" id=\"volume\" hidden></div>\n");
    }
    out.push_str("</section>\n");
}

/// One slice filled in several ways.
pub(super) fn compared(out: &mut String, report: &Report<'_>) {
    if report.compared.is_empty() {
        return;
    }
    out.push_str(
        "<section id=\"compare\" aria-labelledby=\"compare-title\">\n<h2 id=\"compare-title\">Side by side</h2>\n\
         <p class=\"lead\">The same data, filled in several ways and shown with one window.</p>\n\
         <div class=\"sides\">\n<div class=\"wipe\" id=\"wipe\" hidden></div>\n",
    );
    for (index, slice) in report.compared.iter().enumerate() {
        let _ = write!(
            out,
            "<div class=\"strip\" data-compared=\"{index}\"><h3>{}</h3>\n<div class=\"tiles\">",
            escape(&slice.label)
        );
        for image in &slice.images {
            let name = escape(&image.name);
            let _ = writeln!(
                out,
                "<figure><img class=\"way\" src=\"{}\" alt=\"{name}, {}\"><figcaption>{name}</figcaption></figure>",
                data_url(PNG, image.png),
                escape(&slice.label)
            );
        }
        for difference in &slice.differences {
            let name = escape(&difference.name);
            let _ = writeln!(
                out,
                "<figure><img src=\"{}\" alt=\"Difference {name}, {}\"><figcaption>{name} <span>difference, white is {} of the \
                 images' white</span></figcaption></figure>",
                data_url(PNG, difference.png),
                escape(&slice.label),
                crate::words::percent(difference.white)
            );
        }
        out.push_str("</div></div>\n");
    }
    out.push_str("</div>\n</section>\n");
}

/// Noise and g-factor. Without a script the grey sheets are shown.
pub(super) fn maps(out: &mut String, report: &Report<'_>) {
    if report.maps.is_empty() {
        return;
    }
    out.push_str(
        "<section id=\"maps\" aria-labelledby=\"maps-title\">\n<h2 id=\"maps-title\">Maps</h2>\n<div class=\"tiles maps\">\n",
    );
    for (index, map) in report.maps.iter().enumerate() {
        let _ = writeln!(
            out,
            "<figure class=\"map\" data-map=\"{index}\"><img id=\"map-{index}\" src=\"{}\" alt=\"{}, all slices\">\
             <figcaption><b>{}</b> {} <span class=\"range\">{}</span></figcaption></figure>",
            data_url(PNG, map.sheet.png),
            escape(&map.name),
            escape(&map.name),
            escape(&map.sentence),
            escape(&range(map)),
        );
    }
    out.push_str("</div>\n</section>\n");
}

fn range(map: &Map<'_>) -> String {
    let unit = if map.unit.is_empty() { String::new() } else { format!(" {}", map.unit) };
    format!("Black is {}, white {}{unit}", number(map.low), number(map.high))
}

/// Where k-space was sampled, and how training went.
pub(super) fn sampling(out: &mut String, report: &Report<'_>) {
    let training = charts::training(report);
    if report.mask.is_none() && training.is_none() {
        return;
    }
    let title = match (report.mask, &training) {
        (Some(_), Some(_)) => "Sampling and training",
        (Some(_), None) => "Sampling",
        (None, _) => "Training",
    };
    let _ = write!(
        out,
        "<section id=\"sampling\" aria-labelledby=\"sampling-title\">\n<h2 id=\"sampling-title\">{title}</h2>\n<div class=\"plots\">\n"
    );
    if let Some(mask) = report.mask {
        let _ = writeln!(
            out,
            "<figure class=\"plot mask\"><img src=\"{}\" alt=\"Sampling of k-space\"><figcaption>Sampling, ky from top to bottom.\
             <ul class=\"legend\"><li class=\"line\">acquired</li><li class=\"calibration\">calibration</li><li class=\"missing\">\
             missing</li></ul></figcaption></figure>",
            data_url(PNG, mask)
        );
    }
    out.push_str(&training.unwrap_or_default());
    out.push_str("</div>\n</section>\n");
}

/// What the scripts need to know of the pictures, and the sheets that only they use.
pub(super) fn data(report: &Report<'_>) -> String {
    let slices = &report.slices;
    let sheet = |sheet: &Sheet<'_>| -> Value {
        json!({ "width": sheet.tile.0, "height": sheet.tile.1, "columns": sheet.columns.max(1), "count": sheet.count })
    };
    let space = slices.space.map(|space| json!({ "affine": space.affine, "known": space.known }));
    let value = json!({
        "scan": report.manifest.scan,
        "labels": slices.labels,
        "frames": slices.frames.iter().map(|frame| json!({ "name": frame.name, "sheet": sheet(&frame.sheet) })).collect::<Vec<_>>(),
        "space": space,
        "maps": report.maps.iter().map(|map| json!({
            "name": map.name, "unit": map.unit, "low": map.low, "high": map.high, "sheet": sheet(&map.sheet),
        })).collect::<Vec<_>>(),
        "compared": report.compared.iter().map(|slice| slice.label.as_str()).collect::<Vec<_>>(),
    });
    let mut out = html::json_element("pictures", &html::json(&value));
    for (index, frame) in slices.frames.iter().enumerate() {
        // Data and not an image element: a browser would unpack all frames at once.
        let _ = writeln!(
            out,
            "<script type=\"text/plain\" id=\"sheet-{index}\">{}</script>",
            data_url(PNG, frame.sheet.png)
        );
    }
    out
}
