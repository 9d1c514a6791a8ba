//! The scan: noise-free lines of k-space, which are acquired, in which order, and what their headers say.

use std::path::Path;

use ndarray::{Array2, Array3, s};
use rayon::prelude::*;

use super::coils::{self, REACH, WAVES};
use super::noise::{LINE_STREAM, Noise, SCAN_STREAM};
use super::object::Section;
use super::record::IsmrmrdWriter;
use super::{Phantom, SLICE_DISTANCE_MM, header};
use crate::format::{Counters, Flags, ReadoutHead};
use crate::numerics::{combine, fft};
use crate::{Complex32, Result};

/// First readout of its slice.
const FIRST_IN_SLICE: u32 = 7;
/// Last readout of its slice.
const LAST_IN_SLICE: u32 = 8;

/// Part of the head that the slices span, in fields of view.
const SPAN: f64 = 0.6;
/// Where an image counts as head: above this part of its largest value.
const HEAD_THRESHOLD: f32 = 0.2;
const DWELL_TIME_US: f32 = 5.0;

/// A phantom with its coils.
pub(super) struct Scan<'a> {
    phantom: &'a Phantom,
    /// `[slice][coil]`
    coils: Vec<Vec<[[Complex32; WAVES]; WAVES]>>,
}

impl<'a> Scan<'a> {
    /// Places the coils.
    pub(super) fn new(phantom: &'a Phantom) -> Result<Self> {
        phantom.validate()?;
        let heights: Vec<f64> = (0..phantom.slices).map(|slice| height(phantom, slice)).collect();
        Ok(Self { phantom, coils: coils::fit(phantom.coils, &heights)? })
    }

    /// Noise-free samples `[coil][kx]` of each of `lines` of a slice, scaled so that a unitary inverse transform gives
    /// the object times the sensitivities.
    fn lines(&self, slice: usize, lines: &[usize]) -> Vec<Vec<Complex32>> {
        let matrix = self.phantom.matrix;
        let samples = 2 * matrix;
        // Half steps of k in both directions, with a margin for the moves of the waves. Along kx the oversampled
        // readout has half steps by itself; line ky is row 2 ky of the grid.
        let (rows, columns) = (2 * matrix + 2 * REACH, samples + 2 * REACH);
        let section = Section::at(height(self.phantom, slice), self.phantom.seed);
        // The integral over k of the inverse transform has steps of 1 and 1/2; the unitary sum is 1/sqrt(2 n^2).
        let scale = matrix as f64 / std::f64::consts::SQRT_2;
        let grid = section.transform(rows, columns, [matrix + REACH; 2], scale);
        lines
            .par_iter()
            .map(|&ky| {
                let mut line = vec![Complex32::default(); self.phantom.coils * samples];
                for (line, waves) in line.chunks_exact_mut(samples).zip(&self.coils[slice]) {
                    for (y, waves) in waves.iter().enumerate() {
                        // Wave y moves the object by y - REACH, so what lands on a line comes from as far before it.
                        let row = &grid[(2 * ky + 2 * REACH - y) * columns..][..columns];
                        for (x, wave) in waves.iter().enumerate() {
                            for (to, from) in line.iter_mut().zip(&row[2 * REACH - x..]) {
                                *to += wave * from;
                            }
                        }
                    }
                }
                line
            })
            .collect()
    }

    /// The noise-free root sum of squares image of a slice.
    pub(super) fn image(&self, slice: usize) -> Array2<f32> {
        let Phantom { matrix, coils, .. } = *self.phantom;
        let lines = self.lines(slice, &(0..matrix).collect::<Vec<_>>());
        let kspace = Array3::from_shape_fn((coils, matrix, 2 * matrix), |(c, ky, kx)| lines[ky][c * 2 * matrix + kx]);
        let images = fft::ifft2c(&kspace);
        combine::rss(&images.slice(s![.., .., matrix / 2..matrix / 2 + matrix]).to_owned())
    }

    /// Standard deviation of the noise for the stated SNR in the middle slice.
    fn sigma(&self) -> f64 {
        let image = self.image(self.phantom.slices / 2);
        let largest = image.iter().copied().fold(0.0, f32::max);
        let head = image.iter().filter(|value| **value > HEAD_THRESHOLD * largest);
        let (sum, count) = head.fold((0.0, 0usize), |(sum, count), value| (sum + f64::from(*value), count + 1));
        sum / count.max(1) as f64 / self.phantom.snr
    }
}

/// Height of a slice in the head.
fn height(phantom: &Phantom, slice: usize) -> f64 {
    SPAN * ((slice as f64 + 0.5) / phantom.slices as f64 - 0.5)
}

/// An acquired line and why it was acquired.
fn acquired(phantom: &Phantom, acceleration: usize) -> Vec<(usize, Flags)> {
    let Phantom { matrix, acs, .. } = *phantom;
    let centre = matrix / 2;
    let block = centre - acs / 2..centre - acs / 2 + acs;
    let line = |ky: usize| {
        let on_grid = ky % acceleration == centre % acceleration;
        match (on_grid, acceleration > 1 && block.contains(&ky)) {
            (true, true) => Some((ky, Flags::default().with(Flags::CALIBRATION_AND_IMAGING))),
            (true, false) => Some((ky, Flags::default())),
            (false, true) => Some((ky, Flags::default().with(Flags::CALIBRATION))),
            (false, false) => None,
        }
    };
    (0..matrix).filter_map(line).collect()
}

/// Writes the phantom with every `acceleration`-th line.
pub(super) fn write(phantom: &Phantom, path: &Path, acceleration: usize) -> Result<()> {
    let scan = Scan::new(phantom)?;
    let Phantom { slices, coils, matrix, .. } = *phantom;
    let noise = Noise::new(phantom.seed, coils, scan.sigma());
    let mut lines = acquired(phantom, acceleration);
    let edges = [(0, FIRST_IN_SLICE), (lines.len() - 1, LAST_IN_SLICE)];
    for (index, flag) in edges {
        lines[index].1 = lines[index].1.with(flag);
    }
    let numbers: Vec<usize> = lines.iter().map(|(ky, _)| *ky).collect();
    let mut file = IsmrmrdWriter::create(path, &header::xml(phantom, acceleration))?;

    let mut head = ReadoutHead {
        flags: Flags::default().with(Flags::NOISE),
        samples: noise_samples(coils) as u16,
        channels: coils as u16,
        center_sample: (noise_samples(coils) / 2) as u16,
        sample_time_us: DWELL_TIME_US,
        position: position(phantom, 0),
        read_dir: [1.0, 0.0, 0.0],
        phase_dir: [0.0, 1.0, 0.0],
        slice_dir: [0.0, 0.0, 1.0],
        ..ReadoutHead::default()
    };
    let mut samples = vec![Complex32::default(); coils * noise_samples(coils)];
    noise.add(SCAN_STREAM, &mut samples);
    file.push(&head, &samples)?;

    head.samples = (2 * matrix) as u16;
    head.center_sample = matrix as u16;
    let order: Vec<usize> = (0..slices).step_by(2).chain((1..slices).step_by(2)).collect();
    for (index, &slice) in order.iter().enumerate() {
        let mut kspace = scan.lines(slice, &numbers);
        kspace.par_iter_mut().zip(&numbers).for_each(|(samples, ky)| {
            noise.add(LINE_STREAM + (slice * matrix + ky) as u64, samples);
        });
        for (at, (samples, &(ky, flags))) in kspace.iter().zip(&lines).enumerate() {
            let last = index + 1 == slices && at + 1 == lines.len();
            head.flags = if last { flags.with(Flags::LAST_IN_MEASUREMENT) } else { flags };
            head.position = position(phantom, slice);
            head.counters = Counters { step_1: ky as u16, slice: slice as u16, ..Counters::default() };
            file.push(&head, samples)?;
        }
    }
    file.finish()
}

/// Samples per coil of the noise scan: enough for a covariance of all coils.
fn noise_samples(coils: usize) -> usize {
    (32 * coils).max(512)
}

/// Centre of a slice; the scan is centred in the magnet.
fn position(phantom: &Phantom, slice: usize) -> [f32; 3] {
    [0.0, 0.0, (SLICE_DISTANCE_MM * (slice as f64 - (phantom.slices - 1) as f64 / 2.0)) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coil_images_are_the_object_times_the_sensitivities() {
        let phantom = Phantom { slices: 3, coils: 3, matrix: 128, ..Phantom::default() };
        let scan = Scan::new(&phantom).unwrap();
        let lines = scan.lines(2, &(0..128).collect::<Vec<_>>());
        let kspace = Array3::from_shape_fn((3, 128, 256), |(c, ky, kx)| lines[ky][c * 256 + kx]);
        let images = fft::ifft2c(&kspace);
        let section = Section::at(height(&phantom, 2), phantom.seed);
        let place = |index: usize| (index as f64 - 64.0) / 128.0;
        // Sampled k-space rings at edges; three points away from them little of that is left.
        let offsets = [-3.0, 0.0, 3.0].map(|points| points / 128.0);
        let flat = |y: f64, x: f64| {
            let value = section.value(y, x);
            offsets.iter().all(|dy| offsets.iter().all(|dx| section.value(y + dy, x + dx) == value))
        };
        for coil in 0..3 {
            let (mut error, mut energy, mut points) = (0.0, 0.0, 0);
            for (row, column) in (0..128).flat_map(|row| (0..128).map(move |column| (row, column))) {
                let (y, x) = (place(row), place(column));
                if !flat(y, x) {
                    continue;
                }
                let expected = coils::sensitivity(&scan.coils[2][coil], y, x) * section.value(y, x);
                let found = images[[coil, row, column + 64]];
                error += (expected.re - f64::from(found.re)).powi(2) + (expected.im - f64::from(found.im)).powi(2);
                energy += expected.norm_sqr();
                points += usize::from(expected.norm_sqr() > 0.0);
            }
            assert!(points > 1000, "{points} points in the object");
            assert!(error < 0.005 * energy, "coil {coil}: {}", error / energy);
        }
    }
}
