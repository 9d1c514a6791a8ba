//! A scan in memory for the tests of the steps.

use std::borrow::Cow;

use ndarray::{Array4, s};

use crate::format::header::{Encoding, Header, Limit, Space};
use crate::format::{Counters, Flags, RawScan, ReadoutHead};
use crate::{Complex32, Error, Result};

/// Distance of the slices of [`Scan::empty`].
pub(crate) const THICKNESS_MM: f64 = 2.5;

/// Readouts whose heads and samples a test may change at will.
pub(crate) struct Scan {
    pub(crate) header: Header,
    pub(crate) heads: Vec<ReadoutHead>,
    pub(crate) samples: Vec<Vec<Complex32>>,
}

impl Scan {
    /// One slice of `lines` lines by `samples` points, fully sampled; sample values tell line, coil and point apart.
    pub(crate) fn new(coils: u16, samples: u16, lines: u16) -> Self {
        let matrix = [samples.into(), lines.into(), 1];
        let space = Space { matrix, field_of_view_mm: [200.0, 200.0, 5.0] };
        let mut encoding = Encoding { encoded: space, recon: space, ..Encoding::default() };
        encoding.limits.step_1 = Some(Limit { minimum: 0, maximum: lines - 1, center: lines / 2 });
        let mut scan = Self {
            header: Header { encodings: vec![encoding], ..Header::default() },
            heads: Vec::new(),
            samples: Vec::new(),
        };
        (0..lines).for_each(|line| scan.push(coils, samples, line));
        scan
    }

    /// A 3-D scan of lines of `samples` points at the places that `acquired(ky, kz)` names, partition by partition.
    pub(crate) fn volume(samples: u16, rows: u16, partitions: u16, acquired: impl Fn(u16, u16) -> bool) -> Self {
        let mut scan = Self::new(1, samples, rows);
        scan.heads.clear();
        scan.samples.clear();
        scan.header.encodings[0].encoded.matrix[2] = partitions.into();
        scan.header.encodings[0].recon.matrix[2] = partitions.into();
        scan.header.encodings[0].limits.step_2 =
            Some(Limit { minimum: 0, maximum: partitions - 1, center: partitions / 2 });
        for (ky, kz) in (0..partitions).flat_map(|kz| (0..rows).map(move |ky| (ky, kz))) {
            if acquired(ky, kz) {
                scan.push(1, samples, ky);
                if let Some(head) = scan.heads.last_mut() {
                    head.counters.step_2 = kz;
                }
            }
        }
        scan
    }

    /// A scan of a volume of voxels of 1 mm by 1 mm by [`THICKNESS_MM`], without lines.
    pub(crate) fn empty([kx, ky, kz]: [usize; 3]) -> Self {
        let field_of_view_mm = [kx as f64, ky as f64, kz as f64 * THICKNESS_MM];
        let space = Space { matrix: [kx, ky, kz], field_of_view_mm };
        let mut encoding = Encoding { encoded: space, recon: space, ..Encoding::default() };
        let limit = |size: usize| Some(Limit { minimum: 0, maximum: size as u16 - 1, center: size as u16 / 2 });
        (encoding.limits.step_1, encoding.limits.step_2) = (limit(ky), limit(kz));
        Self {
            header: Header { encodings: vec![encoding], ..Header::default() },
            heads: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Appends the line (ky, kz) of k-space `[kz, coil, ky, kx]`.
    pub(crate) fn acquire(&mut self, kspace: &Array4<Complex32>, ky: usize, kz: usize, flags: Flags) {
        let (_, coils, _, kx) = kspace.dim();
        self.heads.push(ReadoutHead {
            flags,
            samples: kx as u16,
            channels: coils as u16,
            center_sample: kx as u16 / 2,
            position: [5.0, 6.0, 7.0],
            read_dir: [0.0, 1.0, 0.0],
            phase_dir: [0.0, 0.0, 1.0],
            slice_dir: [1.0, 0.0, 0.0],
            counters: Counters { step_1: ky as u16, step_2: kz as u16, ..Counters::default() },
            ..ReadoutHead::default()
        });
        self.samples.push(kspace.slice(s![kz, .., ky, ..]).iter().copied().collect());
    }

    /// Appends a line of slice 0.
    pub(crate) fn push(&mut self, coils: u16, samples: u16, line: u16) {
        self.heads.push(ReadoutHead {
            scan_counter: self.heads.len() as u32,
            samples,
            channels: coils,
            center_sample: samples / 2,
            sample_time_us: 5.0,
            read_dir: [1.0, 0.0, 0.0],
            phase_dir: [0.0, 1.0, 0.0],
            slice_dir: [0.0, 0.0, 1.0],
            counters: Counters { step_1: line, ..Counters::default() },
            ..ReadoutHead::default()
        });
        let value = |coil: u16, point: u16| {
            let angle = f32::from(line) * 0.7 + f32::from(coil) * 2.1 + f32::from(point) * 0.3;
            Complex32::from_polar(1.0 + f32::from(line % 5), angle)
        };
        self.samples.push((0..coils).flat_map(|coil| (0..samples).map(move |point| value(coil, point))).collect());
    }
}

impl RawScan for Scan {
    fn format(&self) -> &'static str {
        "memory"
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let samples = self.samples.get(readout).map(|samples| Cow::Borrowed(samples.as_slice()));
        samples.ok_or_else(|| Error::corrupt("readout", readout, "an existing one"))
    }
}
