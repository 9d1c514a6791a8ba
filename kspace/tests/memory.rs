//! What preparation holds in memory, in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::borrow::Cow;

use kspace::format::header::{Encoding, Header, Limit, Space};
use kspace::format::{Counters, Flags, RawScan, ReadoutHead};
use kspace::prepare::{Options, plan};
use kspace::{Complex32, Result};

const LINES: u16 = 32;
const AVERAGES: u16 = 400;
const SAMPLES: u16 = 128;
const COILS: u16 = 32;
/// All readouts have 400 MB; the slice has one.
const MOST_MEMORY: u64 = 200 << 20;

/// Averages of one slice, whose samples are made when they are asked for, as those of several channels of a Siemens file are.
struct Averages {
    header: Header,
    heads: Vec<ReadoutHead>,
}

impl Averages {
    fn new() -> Self {
        let space = Space { matrix: [SAMPLES.into(), LINES.into(), 1], field_of_view_mm: [200.0, 200.0, 5.0] };
        let mut encoding = Encoding { encoded: space, recon: space, ..Encoding::default() };
        encoding.limits.step_1 = Some(Limit { minimum: 0, maximum: LINES - 1, center: LINES / 2 });
        let head = |average: u16, line: u16| ReadoutHead {
            samples: SAMPLES,
            channels: COILS,
            center_sample: SAMPLES / 2,
            read_dir: [1.0, 0.0, 0.0],
            phase_dir: [0.0, 1.0, 0.0],
            slice_dir: [0.0, 0.0, 1.0],
            counters: Counters { step_1: line, average, ..Counters::default() },
            ..ReadoutHead::default()
        };
        let mut heads: Vec<ReadoutHead> =
            (0..AVERAGES).flat_map(|average| (0..LINES).map(move |line| head(average, line))).collect();
        heads.last_mut().unwrap().flags = Flags::default().with(Flags::LAST_IN_MEASUREMENT);
        Self { header: Header { encodings: vec![encoding], ..Header::default() }, heads }
    }
}

impl RawScan for Averages {
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
        let Counters { average, step_1, .. } = self.heads[readout].counters;
        // Averages lie evenly around their mean, which is that of the line.
        let deviation = f32::from(average) - f32::from(AVERAGES - 1) / 2.0;
        let samples = usize::from(SAMPLES) * usize::from(COILS);
        Ok(Cow::Owned(vec![Complex32::new(f32::from(step_1) + 1.0, deviation); samples]))
    }
}

/// The largest resident size so far, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[test]
fn averages_are_not_held_all_at_once() {
    let scan = Averages::new();
    let plan = plan(&scan, &Options::default()).unwrap();
    let bytes = plan.write(&scan, Vec::new(), &mut |_, _| {}).unwrap();
    let reader = kspace::prepared::Reader::open(bytes).unwrap();
    let (image, factor) = (reader.entry(0).unwrap(), reader.meta.factor() as f32);
    for ((_, row, _), value) in image.indexed_iter() {
        let expected = Complex32::new(row as f32 + 1.0, 0.0);
        assert!((value * factor - expected).norm() < 1e-3 * expected.norm(), "{row}: {value}");
    }
    if let Some(peak) = peak_memory() {
        assert!(peak < MOST_MEMORY, "{} MB at the peak", peak >> 20);
    }
}
