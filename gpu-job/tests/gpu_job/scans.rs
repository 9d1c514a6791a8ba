//! Small prepared files with a known object.

use std::path::{Path, PathBuf};

use contract::prepared::{Entry, Header, Sampling, Step};
use contract::{PreparedMeta, ScanId};
use kspace::Complex32;
use kspace::numerics::fft::fft2c;
use kspace::prepared::{Shape, SmallArrays, Writer};
use ndarray::{Array2, Array3};

/// What a test file holds.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) slices: usize,
    pub(crate) coils: usize,
    pub(crate) lines: usize,
    pub(crate) samples: usize,
    pub(crate) acceleration: usize,
    pub(crate) acs_lines: usize,
    pub(crate) scan: Option<ScanId>,
    /// Lines and points of calibration lines that are not part of k-space, of another contrast.
    pub(crate) separate: Option<(usize, usize)>,
    /// What the samples are divided by.
    pub(crate) factor: Option<f32>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            slices: 3,
            coils: 4,
            lines: 34,
            samples: 29,
            acceleration: 2,
            acs_lines: 16,
            scan: None,
            separate: None,
            factor: None,
        }
    }
}

fn normalised(factor: f32) -> Step {
    Step { name: Step::NORMALISE.to_owned(), parameters: [("factor".to_owned(), f64::from(factor).into())].into() }
}

pub(crate) fn scan_id(text: &str) -> ScanId {
    ScanId::of_object("raw", text, "1")
}

impl Recipe {
    pub(crate) fn sampling(&self) -> Sampling {
        let acs_first = self.lines / 2 - self.acs_lines / 2;
        let (acceleration, offset) = (self.acceleration, self.lines / 2 % self.acceleration);
        let acquired = |ky: usize| ky % acceleration == offset || (acs_first..acs_first + self.acs_lines).contains(&ky);
        let lines: Vec<usize> = (0..self.lines).filter(|ky| acquired(*ky)).collect();
        let (first, last) = (lines[0], lines[lines.len() - 1]);
        Sampling { acceleration, offset, acs_first, acs_lines: self.acs_lines, first, last }
    }

    pub(crate) fn mask(&self) -> Vec<bool> {
        let it = self.sampling();
        let block = it.acs_first..it.acs_first + it.acs_lines;
        (0..self.lines).map(|ky| ky % it.acceleration == it.offset || block.contains(&ky)).collect()
    }

    /// Coil images of an ellipse with a bright spot, seen by coils around it.
    pub(crate) fn images(&self, slice: usize) -> Array3<Complex32> {
        Array3::from_shape_fn((self.coils, self.lines, self.samples), |(coil, y, x)| {
            let v = 2.0 * y as f32 / self.lines as f32 - 1.0;
            let u = 2.0 * x as f32 / self.samples as f32 - 1.0;
            let body = if u * u / 0.64 + v * v / 0.8 < 1.0 { 1.0 } else { 0.0 };
            let spot = if (u - 0.2).hypot(v - 0.1 * slice as f32) < 0.2 { 1.0 } else { 0.0 };
            let turn = std::f32::consts::TAU * coil as f32 / self.coils as f32;
            let (near_u, near_v) = (u - 1.2 * turn.cos(), v - 1.2 * turn.sin());
            let sensitivity = 1.0 / (0.5 + near_u * near_u + near_v * near_v);
            Complex32::from_polar((body + spot) * sensitivity, turn + u * near_v)
        })
    }

    /// What was acquired of it.
    pub(crate) fn kspace(&self, slice: usize) -> Array3<Complex32> {
        let mut kspace = fft2c(&self.images(slice));
        if let Some(factor) = self.factor {
            kspace /= Complex32::from(factor);
        }
        for (ky, acquired) in self.mask().into_iter().enumerate() {
            if !acquired {
                kspace.index_axis_mut(ndarray::Axis(1), ky).fill(Complex32::default());
            }
        }
        kspace
    }

    /// Calibration lines of the same coils and field of view, of another contrast and phase, and three times as strong.
    pub(crate) fn calibration(&self, slice: usize) -> Option<Array3<Complex32>> {
        let (lines, points) = self.separate?;
        let mut images = self.images(slice);
        for ((_, y, x), value) in images.indexed_iter_mut() {
            let (v, u) = (y as f32 / self.lines as f32, x as f32 / self.samples as f32);
            *value *= Complex32::from_polar(3.0 * (1.0 + 0.3 * (7.0 * u - 5.0 * v).sin()), 0.7 + v);
        }
        let (first, start) = (self.lines / 2 - lines / 2, self.samples / 2 - points / 2);
        Some(fft2c(&images).slice(ndarray::s![.., first..first + lines, start..start + points]).to_owned())
    }

    pub(crate) fn write(&self, path: &Path) -> PathBuf {
        let entry = |slice: usize| Entry {
            slice: slice as u16,
            contrast: 0,
            phase: 0,
            repetition: 0,
            set: 0,
            sampling: self.sampling(),
        };
        let size = [self.samples as f64, self.lines as f64, 4.0];
        let header = Header {
            matrix: [self.samples, self.lines, 1],
            field_of_view_mm: size,
            recon_matrix: [self.samples, self.lines, 1],
            recon_field_of_view_mm: size,
            geometry_known: true,
            ..Header::default()
        };
        let meta = PreparedMeta {
            schema: PreparedMeta::SCHEMA,
            scan: self.scan.clone(),
            header,
            entries: (0..self.slices).map(entry).collect(),
            steps: self.factor.map(normalised).into_iter().collect(),
            warnings: vec!["a warning of the preparation".to_owned()],
            source_sha256: "ab".repeat(32),
            tool_version: "0.0.0".to_owned(),
        };
        let shape =
            Shape { entries: self.slices, coils: self.coils, ky: self.lines, kx: self.samples, acs: self.separate };
        let mask = self.mask();
        let small = SmallArrays {
            mask: Array2::from_shape_fn((self.slices, self.lines), |(_, ky)| u8::from(mask[ky])),
            geometry: Array2::from_shape_fn((self.slices, 12), |(slice, at)| match at {
                2 => 4.0 * slice as f32,
                3 | 7 | 11 => 1.0,
                _ => 0.0,
            }),
            noise_cov: None,
        };
        let file = std::fs::File::create(path).unwrap();
        let mut writer = Writer::new(file, &meta, shape, small).unwrap();
        for slice in 0..self.slices {
            writer.entry(self.kspace(slice).as_slice().unwrap()).unwrap();
        }
        for lines in (0..self.slices).filter_map(|slice| self.calibration(slice)) {
            writer.calibration(lines.as_slice().unwrap()).unwrap();
        }
        writer.finish().unwrap();
        path.to_owned()
    }
}
