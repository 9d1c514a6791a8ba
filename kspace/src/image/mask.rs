//! Where k-space was sampled, as an indexed PNG: missing places dark, lines of the image light, calibration lines orange.
//!
//! Each distinct sampling is a panel, ky from top to bottom. The panel of a 3-D scan is its ky-kz plane, kz from left to right; lines of
//! a 2-D scan reach across theirs. Panels of separate calibration scans come last.

use std::io::Write;

use contract::PreparedMeta;
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::prepare::{Pattern, Place};
use crate::{Error, Result};

/// Smaller panels are enlarged by a whole factor to at least this many rows, px.
const LEAST_ROWS: usize = 256;
/// Larger panels are reduced by a whole factor to at most this many rows or columns, px.
const MOST: usize = 1024;
/// Width of the panel of a 2-D scan, px: of a single one, and of several side by side.
const SINGLE: usize = 256;
const SEVERAL: usize = 96;
/// Panels of a picture; further samplings are left out.
const PANELS: usize = 8;
/// Between panels and around them, px.
const GAP: usize = 12;

/// Background, missing, image, calibration: red, green, blue.
const COLOURS: [[u8; 3]; 4] = [[112, 112, 118], [20, 20, 24], [226, 226, 222], [240, 140, 32]];
const BACKGROUND: u8 = 0;

const fn colour(place: Place) -> u8 {
    match place {
        Place::Missing => 1,
        Place::Image => 2,
        Place::Calibration => 3,
    }
}

/// Writes the picture of `patterns` to `out`, the first eight of them.
///
/// # Errors
/// [`Error::Corrupt`] without places, [`Error::Io`] when `out` refuses.
pub fn encode<W: Write>(out: W, patterns: &[Pattern]) -> Result<()> {
    let canvas = compose(patterns)?;
    let (rows, columns) = canvas.dim();
    let write = || -> std::result::Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(out, columns as u32, rows as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(COLOURS.as_flattened());
        let mut writer = encoder.write_header()?;
        writer.write_image_data(canvas.as_slice().unwrap_or_default())?;
        writer.finish()
    };
    write().map_err(super::png::failed("sampling mask"))
}

/// Distinct samplings of prepared entries, in their order: `lines` is `[entry, ky]`, 1 where a line was acquired.
#[must_use]
pub fn of_lines(meta: &PreparedMeta, lines: ArrayView2<'_, u8>) -> Vec<Pattern> {
    let mut patterns: Vec<Pattern> = Vec::new();
    for (entry, mask) in meta.entries.iter().zip(lines.outer_iter()) {
        let block = entry.sampling.acs_first..entry.sampling.acs_first + entry.sampling.acs_lines;
        let place = |line: usize| match (mask[line], entry.sampling.acceleration > 1 && block.contains(&line)) {
            (0, _) => Place::Missing,
            (_, true) => Place::Calibration,
            (_, false) => Place::Image,
        };
        let places = Array2::from_shape_fn((mask.len(), 1), |(line, _)| place(line));
        match patterns.iter_mut().find(|known| known.places == places) {
            Some(known) => known.count += 1,
            None => patterns.push(Pattern { places, separate: false, count: 1 }),
        }
    }
    patterns
}

/// Panels side by side, aligned at their middle.
fn compose(patterns: &[Pattern]) -> Result<Array2<u8>> {
    let width = if patterns.len() > 1 { SEVERAL } else { SINGLE };
    let panels: Vec<Array2<u8>> =
        patterns.iter().filter(|pattern| !pattern.places.is_empty()).take(PANELS).map(|it| panel(it, width)).collect();
    let Some(tall) = panels.iter().map(Array2::nrows).max() else {
        return Err(Error::corrupt("sampling mask", "no places of k-space", "those of at least one image"));
    };
    let columns = panels.iter().map(|panel| panel.ncols() + GAP).sum::<usize>() + GAP;
    let mut canvas = Array2::from_elem((tall + 2 * GAP, columns), BACKGROUND);
    let mut left = GAP;
    for panel in &panels {
        let (rows, columns) = panel.dim();
        let top = GAP + (tall - rows) / 2;
        canvas.slice_mut(s![top..top + rows, left..left + columns]).assign(panel);
        left += columns + GAP;
    }
    Ok(canvas)
}

/// One sampling. A pixel of a reduced panel shows what most of the places under it that were acquired are.
fn panel(pattern: &Pattern, width: usize) -> Array2<u8> {
    let (rows, columns) = pattern.places.dim();
    let reduction = rows.max(columns).div_ceil(MOST);
    let small = Array2::from_shape_fn((rows.div_ceil(reduction), columns.div_ceil(reduction)), |(row, column)| {
        let until = |at: usize, end: usize| (at * reduction)..((at + 1) * reduction).min(end);
        let under = pattern.places.slice(s![until(row, rows), until(column, columns)]);
        let count = |wanted: Place| under.iter().filter(|place| **place == wanted).count();
        let (image, calibration) = (count(Place::Image), count(Place::Calibration));
        colour(match (image, calibration) {
            (0, 0) => Place::Missing,
            _ if calibration >= image => Place::Calibration,
            _ => Place::Image,
        })
    });
    // A calibration block that is small beside its image stays as small in the picture.
    let enlargement = if pattern.separate { 1 } else { LEAST_ROWS.div_ceil(small.nrows()) };
    let across = if columns == 1 { width } else { enlargement.min((MOST / small.ncols()).max(1)) };
    let tall = repeat(&small, Axis(0), enlargement);
    repeat(&tall, Axis(1), across)
}

/// Every element `times` times along an axis.
fn repeat(array: &Array2<u8>, axis: Axis, times: usize) -> Array2<u8> {
    let chosen: Vec<usize> = (0..array.len_of(axis) * times).map(|at| at / times).collect();
    array.select(axis, &chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(places: Array2<Place>) -> Pattern {
        Pattern { places, separate: false, count: 1 }
    }

    fn decode(bytes: &[u8]) -> Array2<[u8; 3]> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        let pixels = pixels.as_chunks::<3>().0.to_vec();
        Array2::from_shape_vec((info.height as usize, info.width as usize), pixels).unwrap()
    }

    fn picture(patterns: &[Pattern]) -> Array2<[u8; 3]> {
        let mut bytes = Vec::new();
        encode(&mut bytes, patterns).unwrap();
        decode(&bytes)
    }

    #[test]
    fn every_line_of_a_2_d_scan_reaches_across_in_its_colour() {
        let places = Array2::from_shape_fn((100, 1), |(ky, _)| match ky {
            40..60 => Place::Calibration,
            _ if ky % 4 == 0 => Place::Image,
            _ => Place::Missing,
        });
        let shown = picture(&[pattern(places.clone())]);
        // Three times as high.
        assert_eq!(shown.dim(), (300 + 2 * GAP, SINGLE + 2 * GAP));
        for (ky, place) in places.iter().enumerate() {
            let row = shown.slice(s![GAP + 3 * ky + 1, GAP..GAP + SINGLE]);
            assert!(row.iter().all(|pixel| *pixel == COLOURS[usize::from(colour(*place))]), "line {ky}");
        }
        assert_eq!(shown[[0, 0]], COLOURS[0]);
    }

    #[test]
    fn the_plane_of_a_3_d_scan_has_ky_down_and_kz_to_the_right() {
        let mut places = Array2::from_elem((128, 40), Place::Missing);
        places[[3, 30]] = Place::Image;
        let shown = picture(&[pattern(places)]);
        assert_eq!(shown.dim(), (256 + 2 * GAP, 80 + 2 * GAP));
        let lit: Vec<(usize, usize)> =
            shown.indexed_iter().filter(|(_, pixel)| **pixel == COLOURS[2]).map(|(at, _)| at).collect();
        assert_eq!(lit, [(6, 60), (6, 61), (7, 60), (7, 61)].map(|(ky, kz)| (ky + GAP, kz + GAP)));
    }

    #[test]
    fn a_huge_mask_is_reduced_without_losing_lines_and_many_stay_a_picture() {
        let places =
            Array2::from_shape_fn((5000, 3), |(ky, _)| if ky % 64 == 0 { Place::Image } else { Place::Missing });
        let shown = picture(&vec![pattern(places); 30]);
        assert_eq!(shown.dim(), (1000 + 2 * GAP, PANELS * (1 + GAP) + GAP));
        assert_eq!(shown.column(GAP).iter().filter(|pixel| **pixel == COLOURS[2]).count(), 5000_usize.div_ceil(64));
        let wide = Array2::from_elem((1, 60000), Place::Calibration);
        assert!(picture(&[pattern(wide)]).ncols() <= MOST + 2 * GAP);
    }

    #[test]
    fn nothing_is_no_picture() {
        assert!(matches!(encode(Vec::new(), &[]), Err(Error::Corrupt { .. })));
    }
}
