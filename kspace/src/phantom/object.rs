//! The imaged object: ellipsoids cut at the height of a slice, whose Fourier transform is known in closed form.
//!
//! Lengths are in fields of view, spatial frequencies in cycles per field of view. An ellipse of half axes a, b and
//! value v has the transform `v a b J1(2 pi q) / q` with `q = |(a ku, b kv)|` along its axes; its centre adds a phase
//! ramp.

use std::f64::consts::{PI, TAU};

use num_complex::Complex64;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::bessel::j1;
use crate::Complex32;

/// An ellipsoid; it turns about the slice direction.
#[derive(Debug, Clone, Copy)]
struct Ellipsoid {
    value: f64,
    half_axes: [f64; 3],
    centre: [f64; 3],
    /// Degrees.
    turn: f64,
}

/// An ellipse in a slice.
#[derive(Debug, Clone, Copy)]
struct Ellipse {
    value: f64,
    half_axes: [f64; 2],
    centre: [f64; 2],
    sin: f64,
    cos: f64,
}

/// Scalp, skull, brain and what is in it: value, half axes, centre, turn.
const HEAD: [(f64, [f64; 3], [f64; 3], f64); 12] = [
    (1.0, [0.360, 0.445, 0.46], [0.0, 0.0, 0.0], 0.0),
    (-0.85, [0.338, 0.422, 0.44], [0.0, -0.004, 0.0], 0.0),
    (0.55, [0.316, 0.402, 0.42], [0.0, -0.006, 0.0], 0.0),
    // White matter of both sides, ventricles, deep nuclei.
    (0.15, [0.125, 0.280, 0.33], [0.145, -0.010, 0.03], -8.0),
    (0.15, [0.125, 0.280, 0.33], [-0.145, -0.010, 0.03], 8.0),
    (-0.35, [0.038, 0.125, 0.17], [0.060, -0.030, 0.05], -18.0),
    (-0.35, [0.042, 0.135, 0.17], [-0.062, -0.026, 0.05], 18.0),
    (0.12, [0.045, 0.070, 0.12], [0.130, 0.020, -0.02], 12.0),
    (0.12, [0.045, 0.070, 0.12], [-0.130, 0.020, -0.02], -12.0),
    // Cerebellum, a bright and a dark lesion.
    (0.10, [0.150, 0.080, 0.16], [0.0, 0.270, -0.22], 0.0),
    (0.40, [0.022, 0.016, 0.20], [0.175, -0.190, 0.08], 30.0),
    (-0.25, [0.018, 0.026, 0.25], [-0.190, 0.170, -0.06], 60.0),
];

/// Small ellipsoids that give the brain a texture.
const SPECKLES: usize = 36;

/// A slice of the object.
pub(super) struct Section(Vec<Ellipse>);

impl Section {
    /// The section at height `z` in -0.5..0.5, with a texture drawn from `seed`.
    pub(super) fn at(z: f64, seed: u64) -> Self {
        let head = HEAD.iter().map(|&(value, half_axes, centre, turn)| Ellipsoid { value, half_axes, centre, turn });
        Self(head.chain(speckles(seed)).filter_map(|ellipsoid| ellipsoid.cut(z)).collect())
    }

    /// The object at a point, in fields of view from the centre.
    #[cfg(test)]
    pub(super) fn value(&self, y: f64, x: f64) -> f64 {
        self.0.iter().filter(|ellipse| ellipse.contains(y, x)).map(|ellipse| ellipse.value).sum()
    }

    /// The transform on a grid of half steps of k: `rows` by `columns` samples, row-major, the first at
    /// `(-origin[0] / 2, -origin[1] / 2)` cycles per field of view along (ky, kx); times `scale`.
    pub(super) fn transform(&self, rows: usize, columns: usize, origin: [usize; 2], scale: f64) -> Vec<Complex32> {
        let frequency = |index: usize, origin: usize| (index as f64 - origin as f64) / 2.0;
        // The phase of an off-centre ellipse is a product of one factor along each axis.
        let ramps: Vec<Vec<Complex64>> = self
            .0
            .iter()
            .map(|e| (0..columns).map(|x| Complex64::cis(-TAU * frequency(x, origin[1]) * e.centre[0])).collect())
            .collect();
        let mut grid = vec![Complex32::default(); rows * columns];
        grid.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, line)| {
            let ky = frequency(row, origin[0]);
            let mut sum = vec![Complex64::default(); columns];
            for (ellipse, ramp) in self.0.iter().zip(&ramps) {
                let along_y = Complex64::cis(-TAU * ky * ellipse.centre[1]) * scale;
                for (column, (sum, along_x)) in sum.iter_mut().zip(ramp).enumerate() {
                    *sum += along_y * along_x * ellipse.centred(frequency(column, origin[1]), ky);
                }
            }
            for (to, value) in line.iter_mut().zip(sum) {
                *to = Complex32::new(value.re as f32, value.im as f32);
            }
        });
        grid
    }
}

fn speckles(seed: u64) -> impl Iterator<Item = Ellipsoid> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut between = move |low: f64, high: f64| low + (high - low) * random.random::<f64>();
    (0..SPECKLES).map(move |_| {
        let (radius, angle) = (between(0.0, 1.0).sqrt(), between(0.0, TAU));
        Ellipsoid {
            value: between(-0.06, 0.06),
            half_axes: [between(0.008, 0.035), between(0.008, 0.035), between(0.05, 0.20)],
            centre: [0.26 * radius * angle.cos(), 0.34 * radius * angle.sin(), between(-0.3, 0.3)],
            turn: between(0.0, 180.0),
        }
    })
}

impl Ellipsoid {
    fn cut(self, z: f64) -> Option<Ellipse> {
        let height = (z - self.centre[2]) / self.half_axes[2];
        let shrink = (1.0 - height * height).max(0.0).sqrt();
        let [a, b, _] = self.half_axes;
        let (sin, cos) = self.turn.to_radians().sin_cos();
        let [x, y, _] = self.centre;
        (shrink > 0.0).then_some(Ellipse {
            value: self.value,
            half_axes: [a * shrink, b * shrink],
            centre: [x, y],
            sin,
            cos,
        })
    }
}

impl Ellipse {
    #[cfg(test)]
    fn contains(&self, y: f64, x: f64) -> bool {
        let ([a, b], dx, dy) = (self.half_axes, x - self.centre[0], y - self.centre[1]);
        ((dx * self.cos + dy * self.sin) / a).hypot((dy * self.cos - dx * self.sin) / b) <= 1.0
    }

    /// The transform of the ellipse moved to the origin, which is real.
    fn centred(&self, kx: f64, ky: f64) -> f64 {
        let [a, b] = self.half_axes;
        let q = (a * (kx * self.cos + ky * self.sin)).hypot(b * (ky * self.cos - kx * self.sin));
        // J1(2 pi q) / q tends to pi.
        let shape = if q < 1e-9 { PI } else { j1(TAU * q) / q };
        self.value * a * b * shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transform of one ellipse by brute force over points in it.
    #[test]
    fn the_transform_is_the_integral_over_the_ellipse() {
        let (sin, cos) = 25f64.to_radians().sin_cos();
        let ellipse = Ellipse { value: 1.5, half_axes: [0.2, 0.3], centre: [0.05, -0.1], sin, cos };
        let section = Section(vec![ellipse]);
        let (rows, columns, origin) = (9, 11, [3, 6]);
        let grid = section.transform(rows, columns, origin, 1.0);
        let n = 1500;
        let step = 1.0 / f64::from(n);
        for (row, column) in [(0, 0), (3, 6), (8, 10), (5, 2)] {
            let (ky, kx) = ((row as f64 - 3.0) / 2.0, (column as f64 - 6.0) / 2.0);
            let mut sum = Complex64::default();
            for i in 0..n {
                for j in 0..n {
                    let (y, x) = ((f64::from(i) + 0.5) * step - 0.5, (f64::from(j) + 0.5) * step - 0.5);
                    sum += Complex64::cis(-TAU * (kx * x + ky * y)) * section.value(y, x) * step * step;
                }
            }
            let value = grid[row * columns + column];
            let value = Complex64::new(value.re.into(), value.im.into());
            assert!((value - sum).norm() < 2e-4, "({ky}, {kx}): {value} but {sum}");
        }
    }

    #[test]
    fn slices_differ_and_none_is_empty() {
        let total = |z: f64| Section::at(z, 1).0.iter().map(|e| e.value * e.half_axes[0] * e.half_axes[1]).sum::<f64>();
        assert!(total(0.0) > total(0.2) && total(0.2) > total(0.3) && total(0.3) > 0.0);
    }
}
