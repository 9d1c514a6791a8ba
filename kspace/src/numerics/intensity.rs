//! Brightness that falls off with the distance from the coils, evened out without a body coil: the image over its own low-pass, which
//! is taken over the object alone (homomorphic unsharp masking: Brinkmann, Manduca and Robb, IEEE TMI 17:161, 1998).

use ndarray::{Array2, Array4, Axis, Zip};

use super::quality::object;
use super::resample::mirrored;

/// Width of the low-pass over the longer side of the image, as the deviation of a Gaussian.
const WIDTH: f64 = 0.09;
/// Largest factor, and one over the smallest.
const MOST: f32 = 8.0;

/// Factors for magnitudes `[frame, slice, y, x]`, of the same shape: smooth within a slice, between 1/8 and 8, and such that the mean
/// over the objects of all slices together is kept. What is not object is scaled as its surroundings are.
#[must_use]
pub fn gains(magnitude: &Array4<f32>) -> Array4<f32> {
    let mut gains = Array4::ones(magnitude.dim());
    let (mut before, mut after) = (0.0, 0.0);
    let mut level = (0.0, 0.0);
    let mut smooth = Vec::new();
    for frame in magnitude.outer_iter() {
        for slice in frame.outer_iter() {
            let slice = slice.to_owned();
            let inside = object(&slice);
            let weight = inside.mapv(|inside| f32::from(u8::from(inside)));
            let (over, under) = (blur(&(&slice * &weight)), blur(&weight));
            level.0 +=
                slice.iter().zip(&inside).filter(|(_, inside)| **inside).map(|(v, _)| f64::from(*v)).sum::<f64>();
            level.1 += f64::from(weight.sum());
            smooth.push((over, under, inside));
        }
    }
    let level = (level.0 / f64::max(level.1, 1.0)) as f32;
    let slices = magnitude.dim().1;
    for (at, (over, under, inside)) in smooth.into_iter().enumerate() {
        let mut gain = gains.index_axis_mut(Axis(0), at / slices);
        let mut gain = gain.index_axis_mut(Axis(0), at % slices);
        let slice = magnitude.index_axis(Axis(0), at / slices);
        Zip::from(&mut gain).and(&over).and(&under).for_each(|gain, over, under| {
            // Far from the object there is nothing to even out.
            let local = if *under > 1e-3 { over / under } else { level };
            *gain = (level / local.max(f32::MIN_POSITIVE)).clamp(1.0 / MOST, MOST);
        });
        Zip::from(slice.index_axis(Axis(0), at % slices)).and(&gain).and(&inside).for_each(|value, gain, inside| {
            if *inside {
                before += f64::from(*value);
                after += f64::from(value * gain);
            }
        });
    }
    if after > 0.0 {
        gains *= (before / after) as f32;
    }
    gains
}

/// Low-pass along both axes; the border is mirrored.
fn blur(image: &Array2<f32>) -> Array2<f32> {
    let (rows, columns) = image.dim();
    let deviation = WIDTH * rows.max(columns) as f64;
    // Three boxes are a Gaussian to within a few per cent.
    let half = ((deviation * deviation * 4.0 + 1.0).sqrt() / 2.0).round().max(1.0) as isize;
    let mut output = image.clone();
    for axis in [Axis(0), Axis(1)] {
        for mut line in output.lanes_mut(axis) {
            for _ in 0..3 {
                let source = line.to_vec();
                let at = |at: isize| source[mirrored(at, source.len())];
                let mut sum: f64 = (-half..=half).map(|place| f64::from(at(place))).sum();
                for (place, to) in line.iter_mut().enumerate() {
                    *to = (sum / (2 * half + 1) as f64) as f32;
                    sum += f64::from(at(place as isize + half + 1)) - f64::from(at(place as isize - half));
                }
            }
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_becomes_even_and_the_mean_of_the_objects_stays() {
        let shape = (1, 2, 96, 80);
        let inside = |y: usize, x: usize| (y as f32 - 48.0).hypot(x as f32 - 40.0) < 32.0;
        let texture = |y: usize, x: usize| 1.0 + 0.2 * ((y / 3 + x / 3) % 2) as f32;
        let volume = Array4::from_shape_fn(shape, |(_, slice, y, x)| {
            let near = 3.0 * (-(y as f32) / 60.0).exp() + 0.3 * slice as f32;
            if inside(y, x) { texture(y, x) * near } else { 0.0 }
        });
        let gains = gains(&volume);
        assert!(gains.iter().all(|gain| gain.is_finite() && *gain > 0.0));
        let even = &volume * &gains;
        let spread = |volume: &Array4<f32>| {
            let band = |from: usize| {
                let mut values = Vec::new();
                for y in from..from + 6 {
                    (28..52).for_each(|x| values.push(volume[[0, 0, y, x]]));
                }
                values.iter().sum::<f32>() / values.len() as f32
            };
            band(24) / band(66)
        };
        assert!(spread(&volume) > 1.9 && (spread(&even) - 1.0).abs() < 0.25, "{} {}", spread(&volume), spread(&even));
        let mean = |volume: &Array4<f32>| volume.iter().map(|value| f64::from(*value)).sum::<f64>();
        assert!((mean(&even) / mean(&volume) - 1.0).abs() < 0.02);
    }

    #[test]
    fn nothing_is_changed_where_there_is_nothing() {
        assert!(gains(&Array4::zeros((1, 1, 8, 8))).iter().all(|gain| gain.is_finite()));
    }
}
