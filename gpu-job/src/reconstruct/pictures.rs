//! What a person sees of a result: 8-bit pictures in display orientation.

use kspace::image::display::Display;
use kspace::image::png;
use kspace::numerics::resample::resize;
use ndarray::{Array2, Array4, ArrayView4, Axis, s};
use rayon::prelude::*;

use super::volume::Stack;
use crate::error::JobError;

/// Pixels of all slices of all frames in the report, and of a map in it: what keeps it below 8 MB.
const SLICES_PIXELS: usize = 3_300_000;
const MAP_PIXELS: usize = 500_000;
/// Frames in the report; more of them are chosen evenly.
const FRAMES: usize = 8;
/// Longest side of a compared picture, px.
const COMPARED: usize = 384;
/// Height of the picture in the worklist, px.
const THUMBNAIL: usize = 160;
/// Part of the white of the images that is white in a picture of a difference.
pub(super) const DIFFERENCE_WHITE: f64 = 0.2;

/// Slices of one frame side by side.
pub(super) struct Sheet {
    pub(super) png: Vec<u8>,
    /// Width and height of a slice, px.
    pub(super) tile: (usize, usize),
    /// Slices in a row.
    pub(super) columns: usize,
    pub(super) count: usize,
}

/// A slice by several methods, and what is between them.
pub(super) struct Compared {
    /// Place of the slice in the volume.
    pub(super) slice: usize,
    /// Name and picture; the last one is the result.
    pub(super) images: Vec<(&'static str, Vec<u8>)>,
    pub(super) differences: Vec<(String, Vec<u8>)>,
}

/// What the report shows.
pub(super) struct Pictures {
    pub(super) montage: Vec<u8>,
    /// Frames with their numbers.
    pub(super) frames: Vec<(usize, Sheet)>,
    pub(super) compared: Vec<Compared>,
    pub(super) g_factor: Option<Map>,
    pub(super) noise: Option<Map>,
}

/// A map of numbers.
pub(super) struct Map {
    pub(super) sheet: Sheet,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Draws slices of a stack with one window for all.
pub(super) struct Painter<'a> {
    stack: &'a Stack,
    display: Display,
    magnitude: ArrayView4<'a, f32>,
    /// The values shown black and white.
    window: (f32, f32),
}

impl<'a> Painter<'a> {
    /// `magnitude` is that of the stack, `[frame, slice, y, x]`.
    pub(super) fn new(stack: &'a Stack, magnitude: ArrayView4<'a, f32>) -> Self {
        let window = png::window(magnitude.index_axis(Axis(0), 0).iter().copied());
        Self { stack, display: Display::of(&stack.placed), magnitude, window }
    }

    /// All of them; `name` is that of the result.
    pub(super) fn pictures(&self, name: &'static str) -> Result<Pictures, JobError> {
        let map = |values: Option<&Array4<f32>>, low, least| {
            values.map(|values| self.map(values.view(), low, least)).transpose()
        };
        let (noise, g_factor) = (self.stack.noise.as_ref(), self.stack.g_factor.as_ref());
        Ok(Pictures {
            montage: self.montage()?,
            frames: self.frames()?,
            compared: self.compared(name)?,
            g_factor: map(g_factor, 1.0, 2.0)?,
            noise: map(noise, 0.0, f32::MIN_POSITIVE)?,
        })
    }

    /// Slices `[slice, y, x]` of a frame of `volume`.
    fn upright(&self, volume: ArrayView4<'_, f32>, frame: usize) -> Vec<Array2<f32>> {
        let slices = volume.index_axis_move(Axis(0), frame);
        let slices: Vec<_> = slices.outer_iter().collect();
        slices.into_par_iter().map(|slice| self.display.apply(&slice.to_owned())).collect()
    }

    /// A montage of the first frame.
    fn montage(&self) -> Result<Vec<u8>, JobError> {
        let mut bytes = Vec::new();
        png::encode(&mut bytes, &self.upright(self.magnitude, 0))?;
        Ok(bytes)
    }

    /// The middle slice, small.
    pub(super) fn thumbnail(&self) -> Result<Vec<u8>, JobError> {
        let middle = self.magnitude.dim().1 / 2;
        let slice = self.display.apply(&self.magnitude.slice(s![0, middle, .., ..]).to_owned());
        let (rows, columns) = slice.dim();
        let wide = (columns * THUMBNAIL).div_ceil(rows.max(1)).clamp(1, 2 * THUMBNAIL);
        picture(&resize(&slice, THUMBNAIL, wide), self.window)
    }

    /// The frames that are shown, with their numbers.
    fn frames(&self) -> Result<Vec<(usize, Sheet)>, JobError> {
        let all = self.magnitude.dim().0;
        let shown = all.min(FRAMES);
        let chosen = (0..shown).map(|at| at * all / shown);
        chosen
            .map(|frame| Ok((frame, sheet(&self.upright(self.magnitude, frame), self.window, SLICES_PIXELS / shown)?)))
            .collect()
    }

    /// A map over the first frame of numbers `[frame, slice, y, x]` that begin at `low`; its end is the 99th percentile, at least `least`.
    fn map(&self, values: ArrayView4<'_, f32>, low: f32, least: f32) -> Result<Map, JobError> {
        let tiles = self.upright(values, 0);
        let mut all: Vec<f32> = tiles.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        let at = all.len().saturating_sub(1) * 99 / 100;
        let top = if all.is_empty() { least } else { *all.select_nth_unstable_by(at, f32::total_cmp).1 };
        let high = top.max(least);
        Ok(Map { sheet: sheet(&tiles, (low, high), MAP_PIXELS)?, low: low.into(), high: high.into() })
    }

    /// Slices by several methods with the window of the result, and the absolute differences from it.
    fn compared(&self, name: &'static str) -> Result<Vec<Compared>, JobError> {
        let (black, white) = self.window;
        let difference = (0.0, (white - black) * DIFFERENCE_WHITE as f32);
        let mut all = Vec::new();
        for (slice, compared) in &self.stack.compared {
            let result = self.fitted(&self.magnitude.slice(s![0, *slice, .., ..]).to_owned());
            let others = [("zero-filled", Some(&compared.zero_filled)), ("GRAPPA", compared.grappa.as_ref())];
            let mut pictures = Compared { slice: *slice, images: Vec::new(), differences: Vec::new() };
            for (other_name, other) in others {
                let Some(other) = other else { continue };
                let other = self.fitted(other);
                let apart = (&result - &other).mapv(f32::abs);
                pictures.images.push((other_name, picture(&other, self.window)?));
                pictures.differences.push((format!("{name} − {other_name}"), picture(&apart, difference)?));
            }
            pictures.images.push((name, picture(&result, self.window)?));
            all.push(pictures);
        }
        Ok(all)
    }

    /// A slice as it is shown, no larger than a compared picture.
    fn fitted(&self, slice: &Array2<f32>) -> Array2<f32> {
        let upright = self.display.apply(slice);
        let (rows, columns) = upright.dim();
        let scale = (COMPARED as f64 / rows.max(columns).max(1) as f64).min(1.0);
        resize(&upright, scaled(rows, scale), scaled(columns, scale))
    }
}

fn picture(image: &Array2<f32>, window: (f32, f32)) -> Result<Vec<u8>, JobError> {
    let mut bytes = Vec::new();
    png::grey(&mut bytes, &png::shades(image, window))?;
    Ok(bytes)
}

fn scaled(size: usize, scale: f64) -> usize {
    ((size as f64 * scale).round() as usize).max(1)
}

/// Tiles of one size in a grid about as wide as high, reduced to at most so many pixels in all.
fn sheet(tiles: &[Array2<f32>], window: (f32, f32), pixels: usize) -> Result<Sheet, JobError> {
    let (rows, columns) = tiles.first().map_or((1, 1), Array2::dim);
    let all = (rows * columns * tiles.len()).max(1);
    let scale = (pixels as f64 / all as f64).sqrt().min(1.0);
    let (tall, wide) = (scaled(rows, scale), scaled(columns, scale));
    let across =
        ((tiles.len() * tall) as f64 / wide as f64).sqrt().ceil().clamp(1.0, tiles.len().max(1) as f64) as usize;
    let mut canvas = Array2::<u8>::zeros((tiles.len().div_ceil(across) * tall, across * wide));
    let small: Vec<_> = tiles.par_iter().map(|tile| png::shades(&resize(tile, tall, wide), window)).collect();
    for (at, tile) in small.iter().enumerate() {
        let (top, left) = (at / across * tall, at % across * wide);
        canvas.slice_mut(s![top..top + tall, left..left + wide]).assign(tile);
    }
    let mut png = Vec::new();
    png::grey(&mut png, &canvas)?;
    Ok(Sheet { png, tile: (wide, tall), columns: across, count: tiles.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets_hold_every_slice_within_their_pixels() {
        let tiles: Vec<Array2<f32>> = (0..7).map(|at| Array2::from_elem((40, 30), at as f32)).collect();
        for pixels in [100_000, 2_000] {
            let sheet = sheet(&tiles, (0.0, 6.0), pixels).unwrap();
            assert_eq!(sheet.count, 7);
            assert!(7 * sheet.tile.0 * sheet.tile.1 <= pixels + 7 * (sheet.tile.0 + sheet.tile.1));
            let size = |at: usize| u32::from_be_bytes(sheet.png[at..at + 4].try_into().unwrap()) as usize;
            assert_eq!(
                (size(16), size(20)),
                (sheet.columns * sheet.tile.0, 7usize.div_ceil(sheet.columns) * sheet.tile.1)
            );
        }
    }
}
