//! The page: a table that is complete without scripts, and the rows as JSON for the next event.

use std::fmt::Write as _;

use contract::{State, keys};

use super::{DATA_ID, Row, Worklist, superseded};
use crate::html::{self, escape, link};
use crate::words;

const STYLE: &str = concat!(include_str!("../../assets/common.css"), include_str!("../../assets/worklist.css"));
const SCRIPT: &str = concat!(include_str!("../../assets/common.js"), include_str!("../../assets/worklist.js"));

/// Pictures lie in the folders beside the page. A page on a disk has no origin that `'self'` could mean.
const PICTURES: &str = "'self' file:";

/// What a chip of the page selects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Running,
    Done,
    Check,
    Failed,
    Superseded,
}

impl Group {
    const ALL: [(Self, &str, &str); 5] = [
        (Self::Running, "running", "Running"),
        (Self::Done, "done", "Done"),
        (Self::Check, "check", "Check this"),
        (Self::Failed, "failed", "Refused or failed"),
        (Self::Superseded, "superseded", "Superseded"),
    ];

    fn of(row: &Row, superseded: bool) -> Self {
        let doubted = row.results.as_ref().is_some_and(|results| results.check);
        match row.state {
            _ if superseded => Self::Superseded,
            State::Quarantined | State::Failed => Self::Failed,
            _ if !row.is_finished() && row.results.is_none() => Self::Running,
            _ if doubted => Self::Check,
            _ => Self::Done,
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(group, ..)| *group == self).map_or("", |(_, name, _)| name)
    }
}

pub(super) fn page(list: &Worklist) -> String {
    let owners = list.owners();
    let grouped: Vec<(&Row, Group)> =
        list.rows.iter().map(|row| (row, Group::of(row, superseded(&owners, row)))).collect();
    let mut body = String::new();
    body.push_str(
        "<header class=\"bar\"><p class=\"brand\">raki-cloud</p><span class=\"push\"></span>\
         <button type=\"button\" class=\"plain\" id=\"theme\" hidden>Theme</button></header>\n<main id=\"main\">\n<h1>Scans</h1>\n",
    );
    controls(&mut body, &grouped);
    table(&mut body, &grouped);
    let empty = if grouped.is_empty() {
        "No scans yet. Put a raw archive on the share; it appears here as soon as work on it begins."
    } else {
        "No scan matches."
    };
    let _ = writeln!(
        body,
        "<p class=\"empty\" id=\"empty\"{}>{empty}</p>",
        if grouped.is_empty() { "" } else { " hidden" }
    );
    body.push_str("</main>\n<footer>Research software. Not for diagnostic use.</footer>\n");
    body.push_str(&html::json_element(DATA_ID, &list.json()));
    html::Page { title: "Scans", style: STYLE, script: SCRIPT, further_scripts: &[], pictures: PICTURES, body: &body }
        .render()
}

/// What needs a script stays hidden until there is one.
fn controls(out: &mut String, rows: &[(&Row, Group)]) {
    let count = |wanted: Group| rows.iter().filter(|(_, group)| *group == wanted).count();
    out.push_str(
        "<div class=\"controls\" id=\"controls\" hidden>\n<label class=\"search\"><span>Filter</span>\
         <input type=\"search\" id=\"filter\" placeholder=\"Name, scan, state, method\" autocomplete=\"off\" spellcheck=\"false\"></label>\n\
         <label class=\"order\"><span>Sort by</span><select id=\"order\"></select></label>\n\
         <div class=\"chips\" role=\"group\" aria-label=\"State\">\n",
    );
    let current = rows.len() - count(Group::Superseded);
    let _ = writeln!(
        out,
        "<button type=\"button\" class=\"chip\" data-group=\"\" aria-pressed=\"true\">All <b>{current}</b></button>"
    );
    for (group, name, label) in Group::ALL {
        let count = count(group);
        if count > 0 {
            let _ = writeln!(
                out,
                "<button type=\"button\" class=\"chip\" data-group=\"{name}\" aria-pressed=\"false\">{label} <b>{count}</b></button>"
            );
        }
    }
    out.push_str("</div>\n<p class=\"count\" id=\"count\" role=\"status\"></p>\n</div>\n");
}

fn table(out: &mut String, rows: &[(&Row, Group)]) {
    if rows.is_empty() {
        return;
    }
    out.push_str(
        "<table id=\"list\">\n<thead><tr><th scope=\"col\" class=\"picture\"><span class=\"quiet\">Image</span></th>",
    );
    for (key, label) in [
        ("name", "Scan"),
        ("state", "State"),
        ("method", "Method"),
        ("snr", "SNR"),
        ("residual", "Residual"),
        ("updated", "Updated"),
    ] {
        let sorted = if key == "updated" { " aria-sort=\"descending\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\" data-key=\"{key}\"{sorted}>{label}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    // The newest event first: what moves is what people look for.
    let mut newest: Vec<_> = rows.iter().collect();
    newest.sort_by_key(|(row, _)| std::cmp::Reverse(row.updated));
    for (row, group) in newest {
        line(out, row, *group);
    }
    out.push_str("</tbody>\n</table>\n");
}

fn line(out: &mut String, row: &Row, group: Group) {
    let results = row.results.as_ref().filter(|_| group != Group::Superseded);
    // Results at the root of the share itself have no folder.
    let path = |file: &str| if row.folder.is_empty() { file.to_owned() } else { format!("{}/{file}", row.folder) };
    let below = |has: bool, file: &str| has.then(|| link(&path(file))).flatten();
    let report = below(results.is_some_and(|results| results.report), keys::REPORT_NAME);
    let picture = below(results.is_some_and(|results| results.thumbnail), keys::THUMBNAIL_NAME);
    let _ = write!(out, "<tr data-group=\"{}\"><td class=\"picture\">", group.name());
    match picture {
        Some(source) => {
            let _ = write!(
                out,
                "<img src=\"{source}\" alt=\"\" width=\"64\" height=\"64\" loading=\"lazy\" decoding=\"async\">"
            );
        }
        None => out.push_str("<span class=\"no-picture\" aria-hidden=\"true\"></span>"),
    }
    let (path, name) = row.name.rsplit_once('/').unwrap_or(("", &row.name));
    let (path, name) = (escape(path), escape(name));
    let _ = match report {
        Some(target) => write!(out, "</td><td class=\"name\"><a href=\"{target}\">{name}</a>"),
        None => write!(out, "</td><td class=\"name\"><b>{name}</b>"),
    };
    let _ = write!(out, "<span class=\"path\">{path}</span> <code>{}</code></td><td class=\"state\">", row.scan);
    // A scan that is done and doubted says so once.
    let label = if group == Group::Superseded { "Superseded" } else { words::state(row.stage, row.state) };
    let _ = write!(
        out,
        "<span class=\"badge {}\">{}</span>",
        group.name(),
        if group == Group::Check { "Check this" } else { label }
    );
    let doubt = results.and_then(|results| results.doubt.as_ref()).filter(|_| group == Group::Check);
    if let Some(why) = doubt.or(row.reason.as_ref()) {
        let _ = write!(out, "<p>{}</p>", escape(&words::sentence(why)));
    }
    let method = row.results.as_ref().map_or_else(String::new, |results| escape(&results.method));
    let _ = write!(out, "</td><td class=\"method\">{method}</td>");
    quality(out, row, "snr", "SNR", words::number);
    quality(out, row, "calibration_residual", "Residual", words::percent);
    let _ = writeln!(
        out,
        "<td class=\"updated\"><time datetime=\"{}\">{}</time></td></tr>",
        row.updated,
        words::time(row.updated)
    );
}

/// A number with what it is, for narrow screens, where a row is a card without a heading.
fn quality(out: &mut String, row: &Row, name: &str, label: &str, show: fn(f64) -> String) {
    match row.results.as_ref().and_then(|results| results.quality.get(name)) {
        Some(value) => {
            let _ =
                write!(out, "<td class=\"number\" data-label=\"{label}\" data-value=\"{value}\">{}</td>", show(*value));
        }
        None => out.push_str("<td class=\"number\"></td>"),
    }
}
