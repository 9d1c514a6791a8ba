//! Images side by side, their errors below.
//!
//! All images share one grey scale, from zero to the brightest value of the reference but for the brightest half per cent;
//! errors are shown in the same scale, magnified [`MAGNIFIED`] times. Each image is first multiplied by the factor that fits
//! the reference best, as the scores do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kspace::image::png;
use kspace::numerics::metrics;
use ndarray::{Array2, s};

use super::{Row, Section};
use crate::{Error, Result};

/// How many times brighter errors are shown.
pub const MAGNIFIED: f32 = 5.0;
/// Part of the pixels that may be brighter than white.
const CLIPPED: f64 = 0.005;
/// Longest side of a panel, distance of panels, height of the two lines of text over one; px.
const PANEL: f64 = 250.0;
const GAP: f64 = 10.0;
const TEXT: f64 = 38.0;
/// Width over height that a figure should have.
const ASPECT: f64 = 1.5;
/// The same distance in the picture without text, px.
const PIXEL_GAP: usize = 4;
const GAP_GREY: u8 = 48;

/// One image, the error below it, and what is said of it.
struct Panel {
    title: String,
    caption: String,
    image: Array2<u8>,
    error: Option<Array2<u8>>,
}

/// Writes `compare-R-ACS.svg` and, without text, `compare-R-ACS.png` into `folder`, and returns their paths: none when there are
/// no images. `display` turns an image upright.
///
/// # Errors
/// [`Error::Io`], [`Error::Data`].
pub fn write(section: &Section, folder: &Path, display: &impl Fn(&Array2<f32>) -> Array2<f32>) -> Result<Vec<PathBuf>> {
    let panels = panels(section, display);
    if panels.is_empty() {
        return Ok(Vec::new());
    }
    let failed = || Error::io("writing the figure");
    std::fs::create_dir_all(folder).map_err(Error::io("making the output folder"))?;
    let [drawn, plain] = ["svg", "png"].map(|kind| folder.join(format!("compare-{}.{kind}", section.name())));
    std::fs::write(&drawn, svg(section, &panels)?).map_err(failed())?;
    let mut bytes = Vec::new();
    png::grey(&mut bytes, &mosaic(&panels))?;
    std::fs::write(&plain, bytes).map_err(failed())?;
    Ok(vec![drawn, plain])
}

fn panels(section: &Section, display: &impl Fn(&Array2<f32>) -> Array2<f32>) -> Vec<Panel> {
    let results: Vec<(&Row, &Array2<f32>)> =
        section.methods.iter().filter_map(|row| Some((row, row.image.as_ref()?))).collect();
    // Without a reference the brightest value is that of all images.
    let brightest = match &section.reference {
        Some(reference) => white(&[reference]),
        None => white(&results.iter().map(|(_, image)| *image).collect::<Vec<_>>()),
    };
    let grey = |image: &Array2<f32>, factor: f32| {
        display(image).mapv(|value| (value * factor / brightest * 255.0).round().clamp(0.0, 255.0) as u8)
    };
    let mut panels = Vec::new();
    if let Some(reference) = &section.reference {
        panels.push(Panel {
            title: "reference".to_owned(),
            caption: "fully sampled".to_owned(),
            image: grey(reference, 1.0),
            error: None,
        });
    }
    for (row, image) in results {
        let fitted = section.reference.as_ref().and_then(|reference| metrics::fitted(image, reference));
        let error = fitted.as_ref().zip(section.reference.as_ref()).map(|(fitted, reference)| {
            let difference = (fitted - reference).mapv(f32::abs);
            grey(&difference, MAGNIFIED)
        });
        panels.push(Panel {
            title: row.method.clone(),
            caption: caption(row),
            image: grey(fitted.as_ref().unwrap_or(image), 1.0),
            error,
        });
    }
    panels
}

fn caption(row: &Row) -> String {
    let figures = row.figures.as_ref();
    match figures.and_then(|figures| figures.scores) {
        Some(scores) => format!("{:.2} dB, SSIM {:.3}", scores.psnr, scores.ssim),
        None => figures
            .and_then(|figures| figures.background)
            .map_or_else(String::new, |background| format!("background {background:.4}")),
    }
}

/// The value that is shown white.
fn white(images: &[&Array2<f32>]) -> f32 {
    let mut values: Vec<f32> = images.iter().flat_map(|image| image.iter()).copied().collect();
    let last = values.len().saturating_sub(1);
    let at = (last as f64 * (1.0 - CLIPPED)).round() as usize;
    if values.is_empty() {
        return 1.0;
    }
    let value = *values.select_nth_unstable_by(at, f32::total_cmp).1;
    if value > 0.0 { value } else { 1.0 }
}

/// Panels in a row, so that the figure has about the wanted shape, and as few empty places as may be.
fn across(count: usize, wide: f64, tall: f64) -> usize {
    let cost = |across: usize| {
        let down = count.div_ceil(across);
        let shape = (across as f64 * wide) / (down as f64 * tall);
        (shape / ASPECT).ln().abs() + (across * down - count) as f64 / count as f64
    };
    (1..=count).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(1)
}

/// Rows of images and errors without text, one pixel a pixel.
fn mosaic(panels: &[Panel]) -> Array2<u8> {
    let errors = panels.iter().any(|panel| panel.error.is_some());
    let (tall, wide) = panels.first().map_or((1, 1), |panel| panel.image.dim());
    let block = if errors { 2 * tall + PIXEL_GAP } else { tall };
    let columns = across(panels.len(), wide as f64, block as f64);
    let rows = panels.len().div_ceil(columns);
    let mut canvas =
        Array2::from_elem((rows * (block + PIXEL_GAP) - PIXEL_GAP, columns * (wide + PIXEL_GAP) - PIXEL_GAP), GAP_GREY);
    for (at, panel) in panels.iter().enumerate() {
        let (top, left) = (at / columns * (block + PIXEL_GAP), at % columns * (wide + PIXEL_GAP));
        canvas.slice_mut(s![top..top + tall, left..left + wide]).assign(&panel.image);
        if let Some(error) = &panel.error {
            let top = top + tall + PIXEL_GAP;
            canvas.slice_mut(s![top..top + tall, left..left + wide]).assign(error);
        }
    }
    canvas
}

fn svg(section: &Section, panels: &[Panel]) -> Result<String> {
    let errors = panels.iter().any(|panel| panel.error.is_some());
    let (rows, columns) = panels.first().map_or((1, 1), |panel| panel.image.dim());
    let scale = PANEL / rows.max(columns) as f64;
    let (tall, wide) = (rows as f64 * scale, (columns as f64 * scale).max(PANEL / 2.0));
    let block = TEXT + tall + if errors { GAP / 2.0 + tall } else { 0.0 };
    let columns = across(panels.len(), wide, block);
    let rows = panels.len().div_ceil(columns);
    let (width, height) = (columns as f64 * (wide + GAP) + GAP, TEXT + rows as f64 * (block + GAP));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="Helvetica, Arial, sans-serif" fill="#eee">
<rect width="100%" height="100%" fill="#111"/>
<text x="{GAP}" y="25" font-size="16">R = {}, {} calibration lines, {:.0} % of the lines{}</text>"##,
        section.acceleration,
        section.acs,
        100.0 * section.acquired_fraction,
        if errors { format!("; below each image its error, {MAGNIFIED} times as bright") } else { String::new() },
    );
    for (at, panel) in panels.iter().enumerate() {
        let left = GAP + (at % columns) as f64 * (wide + GAP);
        let top = TEXT + (at / columns) as f64 * (block + GAP);
        let _ = writeln!(
            text,
            r##"<text x="{left:.1}" y="{:.1}" font-size="14" font-weight="bold">{}</text>
<text x="{left:.1}" y="{:.1}" font-size="12" fill="#bbb">{}</text>"##,
            top + 14.0,
            panel.title,
            top + 31.0,
            panel.caption
        );
        text.push_str(&embedded(&panel.image, left, top + TEXT, wide, tall)?);
        if let Some(error) = &panel.error {
            text.push_str(&embedded(error, left, top + TEXT + tall + GAP / 2.0, wide, tall)?);
        }
    }
    text.push_str("</svg>\n");
    Ok(text)
}

/// An image element that holds its pixels.
fn embedded(pixels: &Array2<u8>, left: f64, top: f64, wide: f64, tall: f64) -> Result<String> {
    let mut bytes = Vec::new();
    png::grey(&mut bytes, pixels)?;
    Ok(format!(
        "<image x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\" href=\"data:image/png;base64,{}\"/>\n",
        STANDARD.encode(bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{Figures, Scores};
    use super::*;

    fn section(reference: bool) -> Section {
        let image = Array2::from_shape_fn((20, 12), |(y, x)| 1.0 + (y * x) as f32 / 100.0);
        let figures = Figures { scores: Some(Scores { psnr: 35.0, nrmse: 0.1, ssim: 0.9 }), ..Figures::default() };
        let row = |method: &str, image| Row {
            method: method.to_owned(),
            figures: Some(figures.clone()),
            image: Some(image),
            reason: None,
        };
        let mut worse = &image * 3.0;
        worse[[5, 7]] += 1.5;
        Section {
            acceleration: 4,
            acs: 8,
            acquired_fraction: 0.4,
            methods: vec![
                row("nwg", image.clone()),
                row("grappa", worse),
                Row { method: "raki".to_owned(), reason: Some("too few lines".to_owned()), ..Row::default() },
            ],
            reference: reference.then_some(image),
        }
    }

    #[test]
    fn a_perfect_image_has_a_black_error_and_a_wrong_pixel_shows_whatever_the_unit() {
        let panels = panels(&section(true), &Array2::clone);
        let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
        assert_eq!(titles, ["reference", "nwg", "grappa"]);
        assert!(panels[0].error.is_none());
        assert!(panels[1].error.as_ref().unwrap().iter().all(|grey| *grey == 0));
        let wrong = panels[2].error.as_ref().unwrap();
        assert!(wrong[[5, 7]] > 100 && wrong[[15, 3]] < 30, "{} {}", wrong[[5, 7]], wrong[[15, 3]]);
    }

    #[test]
    fn figures_hold_every_panel_and_an_undersampled_file_has_no_errors() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(&section(true), folder.path(), &Array2::clone).unwrap();
        let text = std::fs::read_to_string(&written[0]).unwrap();
        assert_eq!(text.matches("<image ").count(), 5);
        assert!(text.contains("35.00 dB, SSIM 0.900") && text.contains("R = 4, 8 calibration lines"));
        assert!(written[1].ends_with("compare-4-8.png"));
        let text = svg(&section(false), &panels(&section(false), &Array2::clone)).unwrap();
        assert_eq!(text.matches("<image ").count(), 2);
        assert!(!text.contains("error"));
        let none = Section { methods: Vec::new(), ..section(false) };
        assert!(write(&none, folder.path(), &Array2::clone).unwrap().is_empty());
    }
}
