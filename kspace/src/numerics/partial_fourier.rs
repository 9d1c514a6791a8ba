//! Lines beyond one end of k-space that were never measured.
//!
//! An image whose phase is known has a k-space of conjugate symmetry: what is missing on one side is on the other. The phase is that of
//! the lines around the centre that were measured on both sides, where nearly all of it is.
//!
//! | way | what it does |
//! |---|---|
//! | zero-fill | leaves them zero behind a smooth edge: no ringing, less resolution |
//! | homodyne | counts the lines that have no partner twice and keeps what is in phase (Noll, Nishimura and Macovski, IEEE TMI 10:154, 1991) |
//! | POCS | estimates them from the image with that phase, puts the measured lines back, and begins again (Haacke, Lindskog and Lin, JMR 92:126, 1991) |

use contract::images::PartialFourier;
use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;

use super::fft::Centred;
use crate::Complex32;

/// Part of the lines over which the edge of a zero-filled k-space falls.
const EDGE: f64 = 0.15;
/// Most estimates of POCS, and the relative change of the image below which it ends.
const ESTIMATES: usize = 12;
const SETTLED: f32 = 0.005;
/// Fewer lines on both sides of the centre than these know no phase.
const LEAST_SYMMETRIC: usize = 8;

/// What was measured of a k-space that is not symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asymmetry {
    /// First and last measured line.
    pub range: (usize, usize),
    /// Lines on each side of the centre that were measured on both.
    pub symmetric: usize,
    /// Whether the lines before the first measured one are missing, and not those after the last.
    pub before: bool,
}

/// How the lines from the first to the last measured one are not symmetric around the centre, line `lines / 2`. A grid of every
/// `acceleration`-th line that ends a little earlier on one side is symmetric, and so are zeros on both sides.
#[must_use]
pub fn missing(range: (usize, usize), lines: usize, acceleration: usize) -> Option<Asymmetry> {
    let centre = lines / 2;
    let (before, after) = (centre.checked_sub(range.0)?, range.1.checked_sub(centre)?);
    (before.abs_diff(after) > acceleration.max(1)).then_some(Asymmetry {
        range,
        symmetric: before.min(after),
        before: before < after,
    })
}

/// What is done where `how` is asked for: with too few lines on both sides of the centre the phase is unknown.
#[must_use]
pub const fn way(asymmetry: &Asymmetry, how: PartialFourier) -> PartialFourier {
    if asymmetry.symmetric < LEAST_SYMMETRIC { PartialFourier::ZeroFill } else { how }
}

/// Coil images `[coil, y, x]` with what was never measured zero-filled or estimated. Lines that were measured stay, except for the edge of
/// `ZeroFill` and in `Homodyne`, which have the same image through other lines. With fewer than 8 lines on both sides of the
/// centre the phase is unknown and they are zero-filled.
#[must_use]
pub fn complete(images: &Array3<Complex32>, asymmetry: &Asymmetry, how: PartialFourier) -> Array3<Complex32> {
    let how = way(asymmetry, how);
    let completed: Vec<Array2<Complex32>> = (0..images.len_of(Axis(0)))
        .into_par_iter()
        .map(|coil| {
            // Columns become lines, since everything happens along y.
            let image = images.index_axis(Axis(0), coil).t().as_standard_layout().into_owned();
            Columns::new(image, asymmetry).complete(how).reversed_axes()
        })
        .collect();
    let mut result = Array3::zeros(images.dim());
    for (mut to, from) in result.outer_iter_mut().zip(&completed) {
        to.assign(from);
    }
    result
}

/// One coil image, `[x, y]`.
struct Columns {
    asymmetry: Asymmetry,
    forward: Centred,
    inverse: Centred,
    /// Measured lines of k-space, `[x, ky]`.
    measured: Array2<Complex32>,
}

impl Columns {
    fn new(image: Array2<Complex32>, asymmetry: &Asymmetry) -> Self {
        let lines = image.ncols();
        let (mut forward, inverse) = (Centred::forward(lines), Centred::inverse(lines));
        let mut measured = image;
        transform(&mut forward, &mut measured);
        let this = Self { asymmetry: *asymmetry, forward, inverse, measured };
        let within = |line: usize| if this.is_measured(line) { 1.0 } else { 0.0 };
        let measured = this.weighted(within);
        Self { measured, ..this }
    }

    const fn is_measured(&self, line: usize) -> bool {
        line >= self.asymmetry.range.0 && line <= self.asymmetry.range.1
    }

    /// Measured lines by a weight each, `[x, ky]`.
    fn weighted(&self, weight: impl Fn(usize) -> f32) -> Array2<Complex32> {
        let weights: Vec<f32> = (0..self.measured.ncols()).map(weight).collect();
        let mut lines = self.measured.clone();
        for mut column in lines.outer_iter_mut() {
            column.iter_mut().zip(&weights).for_each(|(value, weight)| *value *= *weight);
        }
        lines
    }

    fn image(&mut self, mut lines: Array2<Complex32>) -> Array2<Complex32> {
        transform(&mut self.inverse, &mut lines);
        lines
    }

    /// Lines from the cut edge inwards; negative beyond it.
    fn depth(&self, line: usize) -> f32 {
        let (first, last) = self.asymmetry.range;
        if self.asymmetry.before { line as f32 - first as f32 } else { last as f32 - line as f32 }
    }

    /// Unit phases `[x, y]` of the symmetric lines, whose ends fall off smoothly.
    fn phase(&mut self) -> Array2<Complex32> {
        let (centre, reach) = (self.measured.ncols() / 2, self.asymmetry.symmetric as f32);
        let lines = self.weighted(|line| {
            let away = line.abs_diff(centre) as f32 / (reach + 1.0);
            if away < 1.0 { 0.5 + 0.5 * (std::f32::consts::PI * away).cos() } else { 0.0 }
        });
        self.image(lines).mapv(|value| {
            let size = value.norm();
            if size > 0.0 { value / size } else { Complex32::new(1.0, 0.0) }
        })
    }

    fn complete(mut self, how: PartialFourier) -> Array2<Complex32> {
        match how {
            PartialFourier::ZeroFill => {
                let edge = (EDGE * self.measured.ncols() as f64) as f32;
                let edge = edge.min(self.asymmetry.symmetric as f32).max(1.0);
                let fall = |depth: f32| {
                    0.5 - 0.5 * (std::f32::consts::PI * ((depth + 1.0) / (edge + 1.0)).clamp(0.0, 1.0)).cos()
                };
                let lines = self.weighted(|line| fall(self.depth(line)));
                self.image(lines)
            }
            PartialFourier::Homodyne => {
                let phase = self.phase();
                let (centre, reach) = (self.measured.ncols() / 2, self.asymmetry.symmetric as f32);
                let before = self.asymmetry.before;
                // 0 on the side that is missing, 2 on the other, a ramp where both are there: opposite lines add to 2.
                let lines = self.weighted(|line| {
                    let away = if before { line as f32 - centre as f32 } else { centre as f32 - line as f32 };
                    1.0 + (away / (reach + 0.5)).clamp(-1.0, 1.0)
                });
                let mut image = self.image(lines);
                image.zip_mut_with(&phase, |value, phase| *value = phase * (*value * phase.conj()).re);
                image
            }
            PartialFourier::Pocs => self.pocs(),
        }
    }

    fn pocs(mut self) -> Array2<Complex32> {
        let phase = self.phase();
        let mut image = self.image(self.measured.clone());
        for _ in 0..ESTIMATES {
            let mut lines = image.clone();
            // What is out of phase is an artefact of the missing lines.
            lines.zip_mut_with(&phase, |value, phase| *value = phase * (*value * phase.conj()).re.max(0.0));
            transform(&mut self.forward, &mut lines);
            for (line, mut estimated) in lines.columns_mut().into_iter().enumerate() {
                if self.is_measured(line) {
                    estimated.assign(&self.measured.column(line));
                }
            }
            let next = self.image(lines);
            let (mut change, mut power) = (0.0, 0.0);
            next.iter().zip(&image).for_each(|(next, image)| {
                change += (next - image).norm_sqr();
                power += next.norm_sqr();
            });
            image = next;
            if change <= SETTLED * SETTLED * power {
                break;
            }
        }
        image
    }
}

/// Along the second axis.
fn transform(along: &mut Centred, columns: &mut Array2<Complex32>) {
    if let Some(lines) = columns.as_slice_mut() {
        along.apply(lines);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;
    use crate::numerics::combine::rss;
    use crate::numerics::fft::{fft2c, ifft2c};
    use crate::numerics::metrics::psnr;
    use crate::numerics::testing::scan;

    fn cut(full: &Array3<Complex32>, range: (usize, usize)) -> Array3<Complex32> {
        let mut kspace = full.clone();
        kspace.slice_mut(s![.., ..range.0, ..]).fill(Complex32::default());
        kspace.slice_mut(s![.., range.1 + 1.., ..]).fill(Complex32::default());
        kspace
    }

    #[test]
    fn only_what_is_missing_on_one_side_is_partial() {
        assert_eq!(missing((0, 63), 64, 1), None);
        assert_eq!(missing((0, 62), 63, 1), None);
        assert_eq!(missing((1, 61), 64, 4), None, "a grid that ends early");
        assert_eq!(missing((10, 53), 64, 1), None, "zeros on both sides");
        assert_eq!(missing((16, 63), 64, 2), Some(Asymmetry { range: (16, 63), symmetric: 16, before: true }));
        assert_eq!(missing((0, 44), 64, 2), Some(Asymmetry { range: (0, 44), symmetric: 12, before: false }));
        assert_eq!(missing((40, 63), 64, 1), None, "nothing of the centre was measured");
    }

    #[test]
    fn estimated_lines_come_near_to_what_was_not_measured() {
        for (rows, before) in [(96, true), (95, false), (96, false)] {
            let full = scan(4, rows, 40, 0.0);
            let truth = rss(&ifft2c(&full));
            let range = if before { (rows / 4, rows - 1) } else { (0, rows - 1 - rows / 4) };
            let asymmetry = missing(range, rows, 1).unwrap();
            let images = ifft2c(&cut(&full, range));
            let score = |how| psnr(&rss(&complete(&images, &asymmetry, how)), &truth);
            let scores = PartialFourier::ALL.map(score);
            let plain = psnr(&rss(&images), &truth);
            assert!(scores[1] > plain + 3.0 && scores[2] > plain + 3.0, "{scores:?} {plain}");

            let completed = fft2c(&complete(&images, &asymmetry, PartialFourier::Pocs));
            let kept = &completed.slice(s![.., range.0..=range.1, ..]) - &full.slice(s![.., range.0..=range.1, ..]);
            let size = full.iter().map(|value| value.norm()).fold(0f32, f32::max);
            assert!(kept.iter().all(|value| value.norm() < 1e-4 * size));
        }
    }

    #[test]
    fn without_a_centre_the_rest_stays_zero() {
        let full = scan(2, 64, 16, 0.0);
        let asymmetry = missing((28, 63), 64, 1).unwrap();
        let completed = fft2c(&complete(&ifft2c(&full), &asymmetry, PartialFourier::Pocs));
        let energy = |lines: std::ops::Range<usize>| -> f32 {
            completed.slice(s![.., lines, ..]).iter().map(|value| value.norm_sqr()).sum()
        };
        assert!(energy(0..28) < 1e-6 * energy(28..64));
    }
}
