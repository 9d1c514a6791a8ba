//! A montage of slices as an 8-bit grey PNG.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use ndarray::{Array2, s};

use crate::numerics::quality::percentile;
use crate::numerics::resample::resize;
use crate::{Error, Result};

/// More tiles than this are too small to judge; slices are then chosen evenly.
const MAX_TILES: usize = 24;
/// Smaller montages are enlarged towards this, px.
const WANTED: usize = 768;
/// Larger montages are reduced to this, px.
const LARGEST: usize = 2400;
/// Beyond this, enlarging shows pixels and not the image.
const MAX_ENLARGEMENT: usize = 8;
/// Width of the lines between tiles, px, and their grey.
const GAP: usize = 4;
const GAP_GREY: u8 = 48;
/// Shares of the pixels that may be darker than black and brighter than white.
const BLACK: f64 = 0.005;
const WHITE: f64 = 0.995;

/// Writes a montage of `slices` (`[y, x]`, in display orientation, of any unit) to a file. See [`encode`].
///
/// # Errors
/// [`Error::Io`], and the errors of [`encode`].
pub fn montage(path: &Path, slices: &[Array2<f32>]) -> Result<()> {
    let failed = "writing the preview";
    let mut file = BufWriter::new(File::create(path).map_err(Error::io(failed))?);
    encode(&mut file, slices)?;
    file.flush().map_err(Error::io(failed))
}

/// Writes a montage of `slices` to `out`: up to 24 of them, evenly chosen, in a grid that is about as wide as high, with one
/// grey window for all from the 0.5 and 99.5 percentile.
///
/// # Errors
/// [`Error::Corrupt`] without slices or for empty ones, [`Error::Io`] when `out` refuses.
pub fn encode<W: Write>(out: W, slices: &[Array2<f32>]) -> Result<()> {
    grey(out, &compose(slices)?)
}

/// Writes `pixels` (`[row, column]`, 0 black, 255 white) to `out` as they are.
///
/// # Errors
/// [`Error::Corrupt`] without pixels, [`Error::Io`] when `out` refuses.
pub fn grey<W: Write>(out: W, pixels: &Array2<u8>) -> Result<()> {
    let pixels = pixels.as_standard_layout();
    let (rows, columns) = pixels.dim();
    let write = || -> std::result::Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(out, columns as u32, rows as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels.as_slice().unwrap_or_default())?;
        writer.finish()
    };
    write().map_err(failed("preview"))
}

/// Why `what` could not be written.
pub(super) fn failed(what: &'static str) -> impl FnOnce(png::EncodingError) -> Error {
    move |error| match error {
        png::EncodingError::IoError(error) => Error::io(format!("writing the {what}"))(error),
        other => Error::corrupt(what, other, "an image that PNG can hold"),
    }
}

fn compose(slices: &[Array2<f32>]) -> Result<Array2<u8>> {
    let count = slices.len().min(MAX_TILES);
    if count == 0 || slices.iter().any(Array2::is_empty) {
        return Err(Error::corrupt("preview", "no slices, or empty ones", "images"));
    }
    let chosen: Vec<&Array2<f32>> = (0..count)
        .map(|at| if count == 1 { slices.len() / 2 } else { (at * (slices.len() - 1) + (count - 1) / 2) / (count - 1) })
        .filter_map(|at| slices.get(at))
        .collect();
    let window = window(chosen.iter().flat_map(|tile| tile.iter().copied()));
    let tall = chosen.iter().map(|tile| tile.nrows()).max().unwrap_or(1);
    let wide = chosen.iter().map(|tile| tile.ncols()).max().unwrap_or(1);
    let across = columns_for(count, tall, wide);
    let down = count.div_ceil(across);

    let longest = (across * wide).max(down * tall);
    let scale = if longest > LARGEST {
        LARGEST as f64 / longest as f64
    } else {
        (WANTED / longest).clamp(1, MAX_ENLARGEMENT) as f64
    };
    let scaled = |size: usize| ((size as f64 * scale).round() as usize).max(1);
    let (cell_rows, cell_columns) = (scaled(tall), scaled(wide));
    let mut canvas = Array2::from_elem(
        (down * (cell_rows + GAP) - GAP, across * (cell_columns + GAP) - GAP),
        if count == 1 { 0 } else { GAP_GREY },
    );
    for cell in 0..across * down {
        let (top, left) = (cell / across * (cell_rows + GAP), cell % across * (cell_columns + GAP));
        let mut to = canvas.slice_mut(s![top..top + cell_rows, left..left + cell_columns]);
        to.fill(0);
        let Some(tile) = chosen.get(cell) else { continue };
        let tile = resize(tile, scaled(tile.nrows()), scaled(tile.ncols()));
        let (rows, columns) = tile.dim();
        let (above, before) = ((cell_rows - rows) / 2, (cell_columns - columns) / 2);
        to.slice_mut(s![above..above + rows, before..before + columns]).assign(&shades(&tile, window));
    }
    Ok(canvas)
}

/// Tiles in a row, so that the montage is about as wide as high with few empty cells.
fn columns_for(count: usize, tall: usize, wide: usize) -> usize {
    let cost = |across: usize| {
        let down = count.div_ceil(across);
        let aspect = (across * wide) as f64 / (down * tall) as f64;
        aspect.ln().abs() + (across * down - count) as f64 / count as f64
    };
    (1..=count).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(1)
}

/// The values shown black and white: percentiles 0.5 and 99.5 of all.
#[must_use]
pub fn window(values: impl IntoIterator<Item = f32>) -> (f32, f32) {
    let mut values: Vec<f32> = values.into_iter().filter(|value| value.is_finite()).collect();
    let (Some(black), Some(white)) = (percentile(&mut values, BLACK), percentile(&mut values, WHITE)) else {
        return (0.0, 1.0);
    };
    if white > black { (black, white) } else { (black, black + black.abs().max(1.0)) }
}

/// Greys of an image whose values `(black, white)` are shown black and white.
#[must_use]
pub fn shades(image: &Array2<f32>, (black, white): (f32, f32)) -> Array2<u8> {
    image.mapv(|value| ((value - black) / (white - black) * 255.0).round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Array2<u8> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Eight));
        Array2::from_shape_vec((info.height as usize, info.width as usize), pixels).unwrap()
    }

    #[test]
    fn rows_go_down_and_columns_to_the_right() {
        let mut image = Array2::zeros((400, 300));
        image.slice_mut(s![..100, 200..]).fill(5.0);
        let mut bytes = Vec::new();
        encode(&mut bytes, &[image]).unwrap();
        let shown = decode(&bytes);
        assert_eq!(shown.dim(), (400, 300));
        assert_eq!((shown[[10, 290]], shown[[390, 290]], shown[[10, 10]]), (255, 0, 0));
    }

    #[test]
    fn a_window_is_black_below_and_white_above() {
        let image = Array2::from_shape_vec((1, 4), vec![0.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!(shades(&image, (1.0, 3.0)).into_raw_vec_and_offset().0, [0, 0, 128, 255]);
    }

    #[test]
    fn grey_pixels_are_written_as_they_are_whatever_their_layout_in_memory() {
        let pixels = Array2::from_shape_fn((3, 5), |(row, column)| (row * 50 + column) as u8);
        let mut bytes = Vec::new();
        grey(&mut bytes, &pixels.t().to_owned().reversed_axes()).unwrap();
        assert_eq!(decode(&bytes), pixels);
        assert!(grey(Vec::new(), &Array2::zeros((0, 4))).is_err());
    }

    #[test]
    fn many_slices_become_a_near_square_grid_of_evenly_chosen_ones() {
        let slices: Vec<_> = (0..70).map(|at| Array2::from_elem((32, 32), at as f32)).collect();
        let canvas = compose(&slices).unwrap();
        let (rows, columns) = canvas.dim();
        assert!(rows.max(columns) <= LARGEST && rows * 2 > columns && columns * 2 > rows, "{rows} {columns}");
        // The first tile is the first slice and the darkest, the brightest is the last slice.
        assert_eq!(canvas[[1, 1]], 0);
        assert!(canvas.iter().any(|grey| *grey == 255));
        let greys: std::collections::BTreeSet<u8> = canvas.iter().copied().collect();
        assert!(greys.len() >= MAX_TILES, "{}", greys.len());
    }

    #[test]
    fn small_images_are_enlarged_and_constant_ones_do_not_fail() {
        assert_eq!(compose(&[Array2::from_elem((96, 64), 3.0)]).unwrap().dim(), (768, 512));
        assert!(compose(&[]).is_err());
        assert!(compose(&[Array2::zeros((0, 4))]).is_err());
    }
}
