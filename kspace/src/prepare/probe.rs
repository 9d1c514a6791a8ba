//! A look at the calibration lines of some slices, before anything is written: what coil compression, normalisation and the estimate
//! of the signal to noise ratio are read from.

use ndarray::{Array2, Array3, ArrayView3, s};
use rayon::prelude::*;

use super::calibration::{Apart, Origin};
use super::mixing::Mixing;
use super::sort::Line;
use super::stream::{Source, plane};
use super::volume::Axes;
use super::{Chain, Group};
use crate::numerics::combine::rss;
use crate::numerics::fft::ifft2c;
use crate::numerics::window;
use crate::{Complex32, Result};

/// Slices that are looked at.
const GROUPS: usize = 8;
/// Coils that the noise is read from where there is no noise scan.
const NOISE_COILS: usize = 8;
/// Lines of a slice that are looked at.
const ROWS: usize = 32;
/// Part of the brightest pixel above which a pixel shows the object and not the air.
const OBJECT: f32 = 0.2;

/// Calibration samples of one slice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Probe {
    /// `[coil, row, kx]`.
    pub(super) samples: Vec<Complex32>,
    pub(super) rows: usize,
    pub(super) points: usize,
    /// Whether the samples are of the image and not of a calibration scan of another moment.
    pub(super) of_image: bool,
}

impl Probe {
    /// Combines the coils.
    pub(super) fn mix(&mut self, mixing: &Mixing) {
        let mut mixed = vec![Complex32::default(); mixing.channels() * self.rows * self.points];
        mixing.apply(&self.samples, &mut mixed);
        self.samples = mixed;
    }
}

/// Signal and noise of a scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean of the object in a fully sampled image, root sum of squares over the coils, over the standard deviation of
    /// the noise of one coil, of its real part.
    pub snr: f64,
    /// Whether a noise scan gave the noise; if not, the calibration lines did.
    pub measured: bool,
}

/// Calibration lines of some slices: the middle partition of a 3-D scan.
pub(super) fn look(chain: &Chain, source: Source<'_>) -> Result<Vec<Probe>> {
    let step = chain.groups.len().div_ceil(GROUPS).max(1);
    let groups: Vec<&Group> = chain.groups.iter().step_by(step).collect();
    groups.into_par_iter().map(|group| of(chain, source, group)).collect()
}

fn of(chain: &Chain, source: Source<'_>, group: &Group) -> Result<Probe> {
    let (origin, lines) = match &group.calibration {
        Some(Apart { origin, lines }) => (*origin, lines.clone()),
        None => (Origin::Image, embedded(group)),
    };
    let middle = chain.axes.partitions / 2;
    let nearest = lines.iter().map(|line| line.partition).min_by_key(|at| at.abs_diff(middle)).unwrap_or(0);
    let mut lines: Vec<Line> = lines.into_iter().filter(|line| line.partition == nearest).collect();
    let mut rows: Vec<usize> = lines.iter().map(|line| line.row).collect();
    rows.dedup();
    let skip = rows.len().saturating_sub(ROWS) / 2;
    let rows: Vec<usize> = rows.into_iter().skip(skip).take(ROWS).collect();
    lines.retain(|line| rows.binary_search(&line.row).is_ok());
    let readout = chain.readout_of(origin);
    let samples = plane(chain, source, readout, &lines, &rows)?;
    Ok(Probe { samples, rows: rows.len(), points: readout.kept(), of_image: origin == Origin::Image })
}

/// The calibration block within an image, or the lines around the centre of one without a block.
fn embedded(group: &Group) -> Vec<Line> {
    let sampling = group.sampling;
    let range = match sampling.acs_lines {
        0 => sampling.first..sampling.last + 1,
        lines => sampling.acs_first..sampling.acs_first + lines,
    };
    group.lines.iter().filter(|line| range.contains(&line.row)).copied().collect()
}

/// The signal to noise ratio of a fully sampled image; `None` where the noise cannot be told, or where only another scan was looked
/// at. `variance` is the complex noise variance of a sample where it is known.
pub(super) fn estimate(probes: &[Probe], coils: usize, axes: &Axes, variance: Option<f64>) -> Option<Estimate> {
    let mut ratios = Vec::new();
    // The central partition of a unitary transform is the sum of all slices over the root of their number.
    let slab = (axes.partitions as f64).sqrt();
    for probe in probes.iter().filter(|probe| probe.of_image) {
        let samples = ArrayView3::from_shape((coils, probe.rows, probe.points), &probe.samples).ok()?.to_owned();
        let noise = variance.or_else(|| noise_of(&samples)).filter(|noise| *noise > 0.0)?;
        let signal = object_mean(&samples) * (probe.rows as f64 / axes.rows as f64).sqrt() / slab;
        ratios.push(signal / (noise / 2.0).sqrt());
    }
    let strongest = ratios.into_iter().fold(0.0, f64::max);
    (strongest > 0.0).then_some(Estimate { snr: strongest, measured: variance.is_some() })
}

/// Complex noise variance of a sample, mean over some coils: eigenvalues of all of them would take minutes where there are many.
fn noise_of(samples: &Array3<Complex32>) -> Option<f64> {
    let step = samples.dim().0.div_ceil(NOISE_COILS).max(1);
    window::noise_variance(&samples.slice(s![..;step, .., ..]).to_owned()).ok()
}

/// Mean of the pixels of the object in the image of the calibration lines, made with a unitary transform.
fn object_mean(samples: &Array3<Complex32>) -> f64 {
    let image: Array2<f32> = rss(&ifft2c(samples));
    let brightest = image.fold(0.0f32, |most, value| most.max(*value));
    let object: Vec<f64> =
        image.iter().filter(|value| **value > OBJECT * brightest).map(|value| f64::from(*value)).collect();
    object.iter().sum::<f64>() / object.len().max(1) as f64
}
