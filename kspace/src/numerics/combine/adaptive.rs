//! Adaptive combination: sensitivities from the coil images themselves (Walsh, Gmitro and Marcellin, MRM 43:682, 2000).
//!
//! Within a small neighbourhood the coil images are one image times the sensitivities there, so that their covariance, summed over
//! the neighbourhood, has the sensitivities as its dominant eigenvector. White noise adds a multiple of the identity and changes
//! no eigenvector.
//!
//! Sensitivities are smooth. So the covariance is summed over cells of some pixels and smoothed over neighbouring cells, the eigenvectors
//! are found at the cells, and between their centres they are interpolated linearly and brought back to unit length. Each vector is
//! turned so that its product with a virtual reference coil, the strongest combination of all coils over the whole image, is real:
//! the phase of a combined image is that of this coil.

mod power;

use std::ops::Range;

use faer::{Mat, c64};
use ndarray::{Array3, Array4};
use num_complex::Complex64;
use rayon::prelude::*;

use crate::Complex32;
use crate::numerics::wide::wide;
use crate::numerics::window::{one_thread, strongest};
use power::{Planar, dominant};

/// Cells along an axis at most.
const CELLS: usize = 80;
/// Pixels of a cell along an axis: an image of few pixels has small cells, since its sensitivities change faster from pixel to pixel.
const CELL: (usize, usize) = (2, 4);
/// Cells that an image of few pixels has along an axis.
const FEW_CELLS: usize = 32;

/// Sensitivities `[1, coil, y, x]` of coil images `[coil, y, x]`: unit vectors over the coils everywhere, also where there is no signal
/// (there the reference coil). Coil images of a lower resolution, on the same grid, do as well.
#[must_use]
pub fn maps(images: &Array3<Complex32>) -> Array4<Complex32> {
    let (coils, rows, columns) = images.dim();
    if images.is_empty() {
        return Array4::zeros((1, coils, rows, columns));
    }
    let images = images.as_standard_layout();
    let samples = images.as_slice().unwrap_or_default();
    let cells = Cells::new(coils, rows, columns);
    let largest = largest(bytemuck::cast_slice(samples));
    let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
    let sums: Vec<Planar> = (0..cells.rows).into_par_iter().map(|row| cells.covariance(samples, row, scale)).collect();
    let reference = cells.reference(&sums);
    let vectors: Vec<Vec<Complex32>> =
        (0..cells.rows).into_par_iter().map(|row| cells.vectors(&sums, row, &reference)).collect();
    let maps = cells.interpolate(&vectors);
    Array4::from_shape_vec((1, coils, rows, columns), maps).unwrap_or_default()
}

/// The image in cells.
struct Cells {
    coils: usize,
    /// Pixels of the image along y and x.
    image: (usize, usize),
    /// Pixels of a cell along y and x; the last ones may have fewer.
    cell: (usize, usize),
    rows: usize,
    columns: usize,
}

impl Cells {
    fn new(coils: usize, rows: usize, columns: usize) -> Self {
        let along = |pixels: usize| pixels.div_ceil(CELLS).max((pixels / FEW_CELLS).clamp(CELL.0, CELL.1));
        let cell = (along(rows), along(columns));
        Self { coils, image: (rows, columns), cell, rows: rows.div_ceil(cell.0), columns: columns.div_ceil(cell.1) }
    }

    fn pairs(&self) -> usize {
        self.coils * (self.coils + 1) / 2
    }

    /// `sum(c_i conj(c_j))` over each cell of a row of cells, pairs i >= j in rows of a triangle, `[pair, cell]`, smoothed along
    /// the row.
    fn covariance(&self, samples: &[Complex32], row: usize, scale: f32) -> Planar {
        let ((rows, columns), count) = (self.image, self.columns);
        let (first, last) = (row * self.cell.0, ((row + 1) * self.cell.0).min(rows));
        // [coil, pixel of a cell, cell]
        let inside = (last - first) * self.cell.1;
        let mut pixels = Planar::zeros(self.coils * inside * count);
        for coil in 0..self.coils {
            for y in first..last {
                let line = &samples[(coil * rows + y) * columns..][..columns];
                for at in 0..self.cell.1.min(columns) {
                    let to = ((coil * (last - first) + y - first) * self.cell.1 + at) * count;
                    for (cell, value) in line[at..].iter().step_by(self.cell.1).enumerate() {
                        pixels.re[to + cell] = value.re * scale;
                        pixels.im[to + cell] = value.im * scale;
                    }
                }
            }
        }
        let mut sums = Planar::zeros(self.pairs() * count);
        let each = inside * count;
        wide(|| {
            let mut pair = 0;
            for i in 0..self.coils {
                let (a_re, a_im) = pixels.part(i * each, each);
                for j in 0..=i {
                    let (b_re, b_im) = pixels.part(j * each, each);
                    let (re, im) = (&mut sums.re[pair * count..][..count], &mut sums.im[pair * count..][..count]);
                    for at in (0..each).step_by(count) {
                        let a = (&a_re[at..at + count], &a_im[at..at + count]);
                        let b = (&b_re[at..at + count], &b_im[at..at + count]);
                        for cell in 0..count {
                            re[cell] += a.0[cell] * b.0[cell] + a.1[cell] * b.1[cell];
                            im[cell] += a.1[cell] * b.0[cell] - a.0[cell] * b.1[cell];
                        }
                    }
                    pair += 1;
                }
            }
        });
        sums.re.chunks_exact_mut(count).chain(sums.im.chunks_exact_mut(count)).for_each(smooth);
        sums
    }

    /// The strongest combination of the coils over the whole image.
    fn reference(&self, sums: &[Planar]) -> Vec<Complex32> {
        one_thread();
        let total = |pair: usize| {
            let over = |part: fn(&Planar) -> &[f32]| -> f64 {
                let cells = |sums| part(sums)[pair * self.columns..][..self.columns].iter().sum::<f32>();
                sums.iter().map(|sums| f64::from(cells(sums))).sum()
            };
            c64::new(over(|sums| &sums.re), over(|sums| &sums.im))
        };
        let moments =
            Mat::from_fn(
                self.coils,
                self.coils,
                |i, j| {
                    if j <= i { total(i * (i + 1) / 2 + j) } else { c64::default() }
                },
            );
        let narrow = |value: Complex64| Complex32::new(value.re as f32, value.im as f32);
        strongest(&moments).into_iter().map(narrow).collect()
    }

    /// Dominant eigenvectors of a row of cells, `[coil, cell]`.
    fn vectors(&self, sums: &[Planar], row: usize, reference: &[Complex32]) -> Vec<Complex32> {
        let (above, here, below) = (&sums[row.saturating_sub(1)], &sums[row], &sums[(row + 1).min(self.rows - 1)]);
        let smoothed = |part: fn(&Planar) -> &[f32]| {
            let three = part(above).iter().zip(part(here)).zip(part(below));
            three.map(|((above, here), below)| above + 2.0 * here + below).collect()
        };
        let matrices = Planar { re: smoothed(|sums| &sums.re), im: smoothed(|sums| &sums.im) };
        let found = dominant(&matrices, self.coils, self.columns);
        let mut vectors = vec![Complex32::default(); self.coils * self.columns];
        for cell in 0..self.columns {
            let value = |coil: usize| found.at(coil * self.columns + cell);
            let signal = (0..self.coils).any(|coil| value(coil) != Complex32::default());
            let value = |coil: usize| if signal { value(coil) } else { reference[coil] };
            let along: Complex32 = reference.iter().enumerate().map(|(coil, r)| r.conj() * value(coil)).sum();
            let size = along.norm();
            let turn = if size > 0.0 { along.conj() / size } else { Complex32::new(1.0, 0.0) };
            for coil in 0..self.coils {
                vectors[coil * self.columns + cell] = value(coil) * turn;
            }
        }
        vectors
    }

    /// The vectors between the centres of the cells, unit length, `[coil, y, x]`.
    fn interpolate(&self, vectors: &[Vec<Complex32>]) -> Vec<Complex32> {
        let (rows, columns) = self.image;
        let down = between(rows, self.cell.0, self.rows);
        let across = between(columns, self.cell.1, self.columns);
        let shares: Vec<f32> = across.iter().map(|(_, _, share)| *share).collect();
        // Pixels between the same two centres.
        let mut runs: Vec<(usize, usize, Range<usize>)> = Vec::new();
        for run in across.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let start = runs.last().map_or(0, |(_, _, pixels)| pixels.end);
            runs.push((run[0].0, run[0].1, start..start + run.len()));
        }
        let mut maps = vec![Complex32::default(); self.coils * rows * columns];
        // [coil, x] of a row, which stays in the cache until its length is known.
        let mut lines = vec![Complex32::default(); self.coils * columns];
        let mut cells = vec![Complex32::default(); self.columns];
        let mut lengths = vec![0f32; columns];
        wide(|| {
            for (row, (before, after, share)) in down.iter().enumerate() {
                lengths.fill(0.0);
                for (coil, line) in lines.chunks_exact_mut(columns).enumerate() {
                    let of = |row: usize| &vectors[row][coil * self.columns..][..self.columns];
                    for ((cell, a), b) in cells.iter_mut().zip(of(*before)).zip(of(*after)) {
                        *cell = a + (b - a) * share;
                    }
                    for (before, after, pixels) in &runs {
                        let (from, step) = (cells[*before], cells[*after] - cells[*before]);
                        let to = line[pixels.clone()].iter_mut().zip(&shares[pixels.clone()]);
                        to.for_each(|(to, share)| *to = from + step * share);
                    }
                    lengths.iter_mut().zip(&*line).for_each(|(length, value)| *length += value.norm_sqr());
                }
                lengths.iter_mut().for_each(|length| *length = if *length > 0.0 { 1.0 / length.sqrt() } else { 0.0 });
                for (line, plane) in lines.chunks_exact(columns).zip(maps.chunks_exact_mut(rows * columns)) {
                    let to = &mut plane[row * columns..][..columns];
                    to.iter_mut().zip(line).zip(&lengths).for_each(|((to, value), scale)| *to = value * scale);
                }
            }
        });
        maps
    }
}

/// The largest absolute value that is a number.
fn largest(values: &[f32]) -> f32 {
    wide(|| {
        // Side by side, since each comparison would wait for the one before.
        let mut lanes = [0f32; 16];
        for values in values.chunks(lanes.len()) {
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane = if value.abs() > *lane { value.abs() } else { *lane };
            }
        }
        lanes.into_iter().fold(0.0, f32::max)
    })
}

/// Each value's mean with its neighbours, 1/4, 1/2 and 1/4; an end counts as its own neighbour.
fn smooth(values: &mut [f32]) {
    let Some(mut before) = values.first().copied() else { return };
    for at in 0..values.len() {
        let (value, after) = (values[at], values[(at + 1).min(values.len() - 1)]);
        values[at] = 0.25 * before + 0.5 * value + 0.25 * after;
        before = value;
    }
}

/// The cells whose centres are before and after each of `pixels`, and the share of the second.
fn between(pixels: usize, cell: usize, cells: usize) -> Vec<(usize, usize, f32)> {
    let at = |pixel: usize| {
        let place = ((pixel as f32 + 0.5) / cell as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let before = place as usize;
        (before, (before + 1).min(cells - 1), place - before as f32)
    };
    (0..pixels).map(at).collect()
}

#[cfg(test)]
mod tests;
