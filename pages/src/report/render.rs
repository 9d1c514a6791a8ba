//! The page, from the answer at its top to the provenance at its end.

use super::viewer::viewer;
use super::{Report, facts, pictures, tables};
use crate::html;

const STYLE: &str = concat!(
    include_str!("../../assets/common.css"),
    include_str!("../../assets/report.css"),
    include_str!("../../assets/pictures.css"),
);
const SCRIPT: &str = concat!(
    include_str!("../../assets/common.js"),
    include_str!("../../assets/pixels.js"),
    include_str!("../../assets/slices.js"),
    include_str!("../../assets/maps.js"),
    include_str!("../../assets/compare.js"),
    include_str!("../../assets/volume.js"),
    include_str!("../../assets/report.js"),
);

/// The page. The same report gives the same bytes.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let manifest = report.manifest;
    let viewer = viewer().filter(|_| report.slices.space.is_some() && !report.slices.frames.is_empty());
    let mut body = String::new();
    body.push_str(&format!(
        "<header class=\"bar\"><p class=\"brand\">raki-cloud</p><p class=\"scan\">scan <code>{}</code></p><span class=\"push\"></span>\
         <button type=\"button\" class=\"plain\" id=\"theme\" hidden>Theme</button></header>\n<main id=\"main\">\n",
        manifest.scan
    ));
    facts::top(&mut body, report, viewer.is_some());
    pictures::compared(&mut body, report);
    tables::quality(&mut body, report);
    pictures::maps(&mut body, report);
    pictures::sampling(&mut body, report);
    tables::choices(&mut body, report);
    tables::acquisition(&mut body, report);
    tables::provenance(&mut body, report);
    body.push_str("</main>\n");
    body.push_str(&tables::footer(manifest, viewer.as_ref()));
    body.push_str(&pictures::data(report));
    let mut hashes = Vec::new();
    if let Some(viewer) = &viewer {
        hashes.push(viewer.hash);
        body.push_str(&format!(
            "<script type=\"application/octet-stream\" id=\"viewer-code\">{}</script>\n",
            viewer.code
        ));
    }
    let title = format!("Report of scan {}", manifest.scan);
    html::Page { title: &title, style: STYLE, script: SCRIPT, further_scripts: &hashes, pictures: "data:", body: &body }
        .render()
}
