//! The large products of a fill, which a device may carry out.

use std::ops::AddAssign;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, c32, c64};
use ndarray::{Array2, Array3, s};
use rayon::prelude::*;

use super::{SOURCE_LINES, TAPS};
use crate::numerics::Host;
use crate::numerics::patch::Patch;
use crate::numerics::window::{add_outer, wide};
use crate::{Complex32, Result};

/// Calibration rows summed by one worker; a constant, so that sums do not depend on the number of workers.
const ROWS: usize = 16;
const PATCH: Patch = Patch { lines: SOURCE_LINES, taps: TAPS };

/// Where the lines to predict are, as seen from their source lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The R-1 lines between two source lines.
    Between,
    /// The R-1 lines before the first source line, then the R-1 after the last one.
    Beyond,
}

impl Reach {
    /// Lines that are predicted from one patch.
    #[must_use]
    pub const fn outputs(self, acceleration: usize) -> usize {
        match self {
            Self::Between => acceleration - 1,
            Self::Beyond => 2 * (acceleration - 1),
        }
    }

    /// The first source line of an equation, from the first line that is part of it.
    #[must_use]
    pub const fn source(self, acceleration: usize) -> usize {
        match self {
            Self::Between => 0,
            Self::Beyond => acceleration - 1,
        }
    }

    /// The line of an output, from the first line that is part of an equation.
    #[must_use]
    pub const fn line(self, output: usize, acceleration: usize) -> usize {
        match self {
            Self::Between => output + 1,
            Self::Beyond if output < acceleration - 1 => output,
            Self::Beyond => SOURCE_LINES * acceleration + output - (acceleration - 1),
        }
    }

    /// Lines that are part of an equation.
    #[must_use]
    pub const fn span(self, acceleration: usize) -> usize {
        let sources = (SOURCE_LINES - 1) * acceleration + 1;
        match self {
            Self::Between => sources,
            Self::Beyond => sources + self.outputs(acceleration),
        }
    }

    /// An output of the patch whose first source line is `anchor`; `None` where it lies before the first line.
    pub(super) fn target(self, acceleration: usize, anchor: isize, output: usize) -> Option<Target> {
        let start = anchor - self.source(acceleration) as isize;
        let line = usize::try_from(start + self.line(output, acceleration) as isize).ok()?;
        Some(Target { anchor, output, line })
    }
}

/// The equations of a calibration region: one for every shift along ky and every place along kx where a patch and its targets fit.
#[derive(Debug, Clone, Copy)]
pub struct Equations<'a> {
    /// `[coil, line, point]`.
    pub lines: &'a Array3<Complex32>,
    /// Lines from one source line to the next.
    pub acceleration: usize,
    /// Which lines are targets.
    pub reach: Reach,
    /// `[shift, place]`.
    pub weights: &'a Array2<f64>,
}

impl Equations<'_> {
    /// Source samples and targets of an equation.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let coils = self.lines.dim().0;
        (coils * SOURCE_LINES * TAPS, coils * self.reach.outputs(self.acceleration))
    }
}

/// Weighted moments of equations with sources x and targets y. A source sample is numbered coil, line, point; a target output, coil.
#[derive(Debug, Clone)]
pub struct Sums {
    /// `sum(w x xᴴ)`, lower triangle.
    pub normal: Mat<c64>,
    /// `sum(w x yᴴ)`.
    pub cross: Mat<c64>,
    /// `sum(w |y|²)`.
    pub targets: f64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.normal += other.normal;
        self.cross += other.cross;
        self.targets += other.targets;
    }
}

/// A line to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its first source line, which may lie outside.
    pub anchor: isize,
    /// Its number among the outputs of a patch.
    pub output: usize,
    /// The line itself.
    pub line: usize,
}

/// Lines to predict, each sample with the weights of its step of energy.
pub struct Gaps<'a> {
    /// `[coil, line, point]`.
    pub kspace: &'a Array3<Complex32>,
    /// Lines that serve as sources; others count as zeros, like points outside the readout.
    pub present: &'a [bool],
    /// Lines from one source line to the next.
    pub acceleration: usize,
    /// In the order of their anchors.
    pub targets: &'a [Target],
    /// `[line, point]`: number of the weights.
    pub bins: &'a Array2<usize>,
    /// `[output coil, patch]` each, numbered as in [`Sums`].
    pub weights: &'a [MatRef<'a, c32>],
}

/// Where large products are carried out. All compute the same sums, in another order.
pub trait Products: Sync {
    /// The moments of equations.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a device refuses.
    fn moments(&self, equations: &Equations<'_>) -> Result<Sums>;

    /// The targets of gaps, `[coil, point]` each.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a device refuses.
    fn predict(&self, gaps: &Gaps<'_>) -> Result<Vec<Vec<Complex32>>>;
}

impl Products for Host {
    fn moments(&self, equations: &Equations<'_>) -> Result<Sums> {
        let rows: Vec<usize> = (0..equations.weights.nrows()).collect();
        let parts: Vec<Sums> = rows.par_chunks(ROWS).map(|rows| of_rows(equations, rows)).collect();
        let mut parts = parts.into_iter();
        let mut sum = parts.next().unwrap_or_else(|| of_rows(equations, &[]));
        parts.for_each(|part| sum += part);
        Ok(sum)
    }

    fn predict(&self, gaps: &Gaps<'_>) -> Result<Vec<Vec<Complex32>>> {
        let same: Vec<&[Target]> = gaps.targets.chunk_by(|a, b| a.anchor == b.anchor).collect();
        let predicted: Vec<Vec<Vec<Complex32>>> = same.into_par_iter().map(|targets| gap(gaps, targets)).collect();
        Ok(predicted.into_iter().flatten().collect())
    }
}

fn of_rows(equations: &Equations<'_>, rows: &[usize]) -> Sums {
    let Equations { lines: region, acceleration, reach, weights } = *equations;
    let coils = region.dim().0;
    let places = weights.ncols();
    let (patch, targets) = equations.sizes();
    let mut sum = Sums { normal: Mat::zeros(patch, patch), cross: Mat::zeros(patch, targets), targets: 0.0 };
    let mut x = vec![c64::default(); patch * places];
    let mut y = vec![c64::default(); targets * places];
    for first in rows {
        let roots: Vec<f64> = weights.row(*first).iter().map(|weight| weight.sqrt()).collect();
        let scaled = |to: &mut [c64], coil: usize, line: usize, point: usize| {
            let from = region.slice(s![coil, line, point..point + places]);
            for ((to, from), root) in to.iter_mut().zip(from).zip(&roots) {
                *to = wide(*from) * *root;
            }
        };
        for (row, to) in x.chunks_exact_mut(places).enumerate() {
            let (coil, line, tap) = PATCH.place(row);
            scaled(to, coil, first + reach.source(acceleration) + line * acceleration, tap);
        }
        for (row, to) in y.chunks_exact_mut(places).enumerate() {
            scaled(to, row % coils, first + reach.line(row / coils, acceleration), TAPS / 2);
        }
        add_outer(&mut sum.normal, &x, places);
        let (x, y) =
            (MatRef::from_row_major_slice(&x, patch, places), MatRef::from_row_major_slice(&y, targets, places));
        matmul(sum.cross.as_mut(), Accum::Add, x, y.adjoint(), c64::new(1.0, 0.0), Par::Seq);
        sum.targets += y.squared_norm_l2();
    }
    sum
}

/// Lines of one anchor.
fn gap(gaps: &Gaps<'_>, targets: &[Target]) -> Vec<Vec<Complex32>> {
    let Gaps { kspace, present, acceleration, bins, weights, .. } = *gaps;
    let (coils, _, points) = kspace.dim();
    let (Some(first), Some(patch)) = (targets.first(), weights.first().map(|weights| weights.ncols())) else {
        return Vec::new();
    };
    let mut x = vec![c32::default(); patch * points];
    PATCH.gather(kspace, present, (first.anchor, acceleration), &mut x);
    let mut gathered = vec![c32::default(); patch * points];
    let mut y = vec![c32::default(); coils * points];
    let fill = |target: &Target| {
        let mut values = vec![Complex32::default(); coils * points];
        for (bin, weights) in weights.iter().enumerate() {
            let places: Vec<usize> = (0..points).filter(|kx| bins[[target.line, *kx]] == bin).collect();
            if places.is_empty() {
                continue;
            }
            for (to, from) in gathered.chunks_exact_mut(places.len()).zip(x.chunks_exact(points)) {
                to.iter_mut().zip(&places).for_each(|(to, kx)| *to = from[*kx]);
            }
            let y = &mut y[..coils * places.len()];
            matmul(
                MatMut::from_row_major_slice_mut(y, coils, places.len()),
                Accum::Replace,
                weights.subrows(target.output * coils, coils),
                MatRef::from_row_major_slice(&gathered[..patch * places.len()], patch, places.len()),
                c32::new(1.0, 0.0),
                Par::Seq,
            );
            for (coil, from) in y.chunks_exact(places.len()).enumerate() {
                places.iter().zip(from).for_each(|(kx, value)| values[coil * points + kx] = *value);
            }
        }
        values
    };
    targets.iter().map(fill).collect()
}
