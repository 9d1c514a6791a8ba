//! Charts of the report with their captions.

use std::fmt::Write as _;

use super::{Curve, Report, Series, counted};
use crate::html::escape;
use crate::svg::{COLOURS, Chart, Line};
use crate::words;

/// A chart of a number of each slice.
pub(super) fn series(report: &Report<'_>, series: &Series) -> Option<String> {
    // One number is no chart; it stands in the table.
    if series.values.len() < 2 {
        return None;
    }
    let points = series.values.iter().enumerate().map(|(index, value)| ((index + 1) as f64, *value)).collect();
    let lines = [Line { name: series.name.clone(), points }];
    let counted = counted(report.slices.frames.len());
    let title = format!("{} by {counted}", series.name);
    let chart = Chart {
        title: &title,
        x: counted,
        y: &series.unit,
        lines: &lines,
        logarithmic: false,
        counted: true,
        limit: series.limit,
    };
    let note = series.limit.map(|limit| format!(" Dashed: the limit, {}.", words::number(limit))).unwrap_or_default();
    Some(figure(&chart.render()?, &format!("{title}.{note}"), &[]))
}

/// How training went: the loss by step where it was kept, else the final loss of each that was trained.
pub(super) fn training(report: &Report<'_>) -> Option<String> {
    let losses = &report.manifest.losses;
    if report.curves.is_empty() && losses.len() > 1 {
        let points = losses.iter().enumerate().map(|(index, loss)| ((index + 1) as f64, *loss)).collect();
        let lines = [Line { name: String::new(), points }];
        let chart = Chart {
            title: "Final training loss",
            x: "trained",
            y: "final loss",
            lines: &lines,
            logarithmic: false,
            counted: true,
            limit: None,
        };
        return Some(figure(&chart.render()?, "Final training loss of the slices that were trained.", &[]));
    }
    let line = |curve: &Curve| Line {
        name: curve.name.clone(),
        points: curve.points.iter().map(|(step, loss)| (f64::from(*step), *loss)).collect(),
    };
    let lines: Vec<Line> = report.curves.iter().map(line).collect();
    let chart = Chart {
        title: "Training loss by step",
        x: "step",
        y: "loss",
        lines: &lines,
        logarithmic: true,
        counted: true,
        limit: None,
    };
    let shown = chart.render()?;
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).filter(|name| !name.is_empty()).collect();
    if names.len() <= COLOURS {
        return Some(figure(&shown, "Training loss by step.", &names));
    }
    Some(figure(&shown, &format!("Training loss by step, {} networks.", names.len()), &[]))
}

fn figure(chart: &str, caption: &str, names: &[&str]) -> String {
    let mut out = format!("<figure class=\"plot\">{chart}<figcaption>{}", escape(caption));
    if names.len() > 1 {
        out.push_str("<ul class=\"legend\">");
        for (index, name) in names.iter().enumerate() {
            let _ = write!(out, "<li class=\"c{index}\">{}</li>", escape(name));
        }
        out.push_str("</ul>");
    }
    out.push_str("</figcaption></figure>\n");
    out
}
