//! Pictures of an object that never was: ellipses with folds and noise, filled in better and worse ways.

use std::error::Error;
use std::f64::consts::PI;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Grey values of a slice, row by row, 0 to 1 and beyond.
pub(crate) type Slice = Vec<f64>;

/// How a slice was filled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    /// Aliases beside the object.
    ZeroFilled,
    /// More noise.
    Grappa,
    /// What is shown.
    Best,
}

/// One slice of `size` x `size` at a height of -1 to 1. `contrast` 0 or 1.
pub(crate) fn slice(size: usize, height: f64, contrast: usize, way: Way) -> Slice {
    let at = |row: f64, column: f64| {
        object(2.2 * (column / size as f64 - 0.5), 2.2 * (row / size as f64 - 0.5), height, contrast)
    };
    let mut noise = Noise::new((height * 1000.0).to_bits() ^ contrast as u64);
    let deviation = match way {
        Way::ZeroFilled => 0.015,
        Way::Grappa => 0.06,
        Way::Best => 0.022,
    };
    let mut out = Vec::with_capacity(size * size);
    for row in 0..size {
        for column in 0..size {
            let (y, x) = (row as f64, column as f64);
            let quarter = size as f64 / 4.0;
            let clean = match way {
                Way::ZeroFilled => {
                    let ghost = |shift: f64| at((y + shift).rem_euclid(size as f64), x);
                    let blurred = (-2..=2).map(|step| at(y + f64::from(step) * 1.5, x)).sum::<f64>() / 5.0;
                    0.8 * blurred + 0.16 * (ghost(quarter) + ghost(-quarter) + ghost(2.0 * quarter))
                }
                _ => at(y, x),
            };
            let spread = deviation * if way == Way::Grappa { gain(size, y, x) } else { 1.0 };
            // The magnitude of a complex sample.
            out.push((clean + spread * noise.next()).hypot(spread * noise.next()));
        }
    }
    out
}

/// How much noise a parallel reconstruction adds: most in the middle.
pub(crate) fn gain(size: usize, y: f64, x: f64) -> f64 {
    let from = ((y / size as f64 - 0.5).powi(2) * 5.0 + (x / size as f64 - 0.48).powi(2) * 8.0).sqrt();
    1.0 + 0.85 * (-(from * from) * 5.0).exp() * (1.0 + 0.25 * (24.0 * y / size as f64).cos())
}

fn object(x: f64, y: f64, height: f64, contrast: usize) -> f64 {
    let shrink = (1.0 - 0.55 * height * height).sqrt();
    let (x, y) = (x / shrink, y / shrink);
    let inside = |cx: f64, cy: f64, a: f64, b: f64, turn: f64| {
        let (sin, cos) = turn.sin_cos();
        let (u, v) = ((x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin);
        (u / a).powi(2) + (v / b).powi(2)
    };
    let (fluid, grey, white) = if contrast == 0 { (0.95, 0.62, 0.45) } else { (0.25, 0.5, 0.72) };
    let edge = |distance: f64, width: f64| 1.0 / (1.0 + ((distance - 1.0) / width).exp());
    let angle = y.atan2(x);
    let mut value =
        0.55 * edge(inside(0.0, 0.0, 0.78, 0.95, 0.0), 0.02) - 0.5 * edge(inside(0.0, 0.0, 0.72, 0.89, 0.0), 0.02);
    let brain = inside(0.0, 0.0, 0.66, 0.82, 0.0);
    let folds = 0.5 + 0.5 * (18.0 * angle + 5.0 * (3.0 * angle + 4.0 * height).sin() + 14.0 * brain).sin();
    let cortex = edge(brain, 0.02);
    let core = edge(brain * (1.3 + 0.55 * folds), 0.04);
    value += cortex * (fluid * (1.0 - core) * (1.0 - folds) * 0.9 + grey * (1.0 - core) * folds + white * core);
    value = value.max(0.02 * cortex);
    for side in [-1.0, 1.0] {
        let ventricle = edge(inside(side * 0.14, -0.08, 0.075, 0.3 * (1.0 - 0.6 * height.abs()), side * 0.28), 0.06);
        value += (fluid - value) * ventricle;
        let nucleus = edge(inside(side * 0.3, 0.02, 0.1, 0.19, -side * 0.3), 0.08);
        value += (grey - value) * nucleus * 0.8;
    }
    // Texture, so that the pictures are as hard to pack as real ones.
    value
        * (1.0 + 0.035 * (61.0 * x + 13.0 * height).sin() * (47.0 * y).cos() + 0.02 * (113.0 * (x + y)).sin())
        * (1.0 + 0.18 * (x * 1.1).powi(2))
}

struct Noise {
    random: ChaCha8Rng,
}

impl Noise {
    fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A normal number (Box and Muller, 1958).
    fn next(&mut self) -> f64 {
        let (u, v): (f64, f64) = (self.random.random(), self.random.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * PI * v).cos()
    }
}

/// Grey bytes of numbers between `low` and `high`.
pub(crate) fn window(slice: &[f64], low: f64, high: f64) -> Vec<u8> {
    slice.iter().map(|value| (255.0 * (value - low) / (high - low)).clamp(0.0, 255.0).round() as u8).collect()
}

/// Slices of `size` x `size` side by side, `columns` in a row; as PNG.
pub(crate) fn sheet(slices: &[Vec<u8>], size: usize, columns: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let (wide, high) = (size * columns, size * slices.len().div_ceil(columns));
    let mut out = vec![0; wide * high];
    for (index, slice) in slices.iter().enumerate() {
        let (left, top) = ((index % columns) * size, (index / columns) * size);
        for (row, line) in slice.chunks(size).enumerate() {
            let at = (top + row) * wide + left;
            out[at..at + size].copy_from_slice(line);
        }
    }
    png(&out, wide, high, png::ColorType::Grayscale)
}

/// Half the size, by means of four.
pub(crate) fn half(slice: &[u8], size: usize) -> Vec<u8> {
    let small = size / 2;
    let at = |row: usize, column: usize| u16::from(slice[row * size + column]);
    (0..small * small)
        .map(|index| {
            let (row, column) = (2 * (index / small), 2 * (index % small));
            ((at(row, column) + at(row, column + 1) + at(row + 1, column) + at(row + 1, column + 1)) / 4) as u8
        })
        .collect()
}

/// Where k-space was sampled: one line a row, two pixels high.
pub(crate) fn mask(
    lines: usize,
    acceleration: usize,
    calibration: std::ops::Range<usize>,
) -> Result<Vec<u8>, Box<dyn Error>> {
    const WIDE: usize = 256;
    let mut out = Vec::with_capacity(lines * 2 * WIDE * 3);
    for row in 0..2 * lines {
        let line = row / 2;
        let colour: [u8; 3] = if calibration.contains(&line) {
            [240, 140, 32]
        } else if line.is_multiple_of(acceleration) {
            [226, 226, 222]
        } else {
            [20, 20, 24]
        };
        out.extend(std::iter::repeat_n(colour, WIDE).flatten());
    }
    png(&out, WIDE, 2 * lines, png::ColorType::Rgb)
}

fn png(pixels: &[u8], wide: usize, high: usize, colour: png::ColorType) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, u32::try_from(wide)?, u32::try_from(high)?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(out)
}
