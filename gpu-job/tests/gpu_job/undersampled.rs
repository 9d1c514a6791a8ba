//! Undersampled slices of random samples, and what is done with them.

use contract::prepared::Sampling;
use gpu_job::progress::Silent;
use gpu_job::raki::fill::{Entry, Filled, Lesson};
use gpu_job::raki::{Backend, Cpu, Fit, Parameters};
use kspace::Complex32;
use ndarray::Array3;
use proptest::prelude::*;

use crate::definition::random_kspace;

/// A scan with a regular grid, a calibration block anywhere, and lines never measured at both ends.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) kspace: Array3<Complex32>,
    pub(crate) mask: Vec<bool>,
    pub(crate) sampling: Sampling,
}

impl Scan {
    pub(crate) fn entry(&self, number: u64) -> Entry<'_> {
        self.with(number, Parameters::paper(), None)
    }

    pub(crate) fn with<'a>(&'a self, number: u64, parameters: Parameters, lesson: Option<Lesson<'a>>) -> Entry<'a> {
        Entry {
            kspace: &self.kspace,
            mask: &self.mask,
            sampling: self.sampling,
            number,
            parameters,
            calibration: None,
            lesson,
            linear: None,
        }
    }
}

pub(crate) fn scan(
    coils: usize,
    width: usize,
    r: usize,
    offset: usize,
    block: (usize, usize),
    ends: (usize, usize),
    seed: u64,
) -> Scan {
    let (before, after) = block;
    let acs_lines = 2 * r + 1;
    let lines = ends.0 + before + acs_lines + after + ends.1;
    let acs_first = ends.0 + before;
    let measured = ends.0..lines - ends.1;
    let mask: Vec<bool> = (0..lines)
        .map(|ky| {
            let in_block = (acs_first..acs_first + acs_lines).contains(&ky);
            measured.contains(&ky) && (in_block || ky % r == offset)
        })
        .collect();
    let mut kspace = random_kspace(coils, lines, width, seed);
    for (mut line, acquired) in kspace.axis_iter_mut(ndarray::Axis(1)).zip(&mask) {
        if !acquired {
            line.fill(Complex32::default());
        }
    }
    let first = mask.iter().position(|acquired| *acquired).unwrap();
    let last = mask.iter().rposition(|acquired| *acquired).unwrap();
    Scan { kspace, mask, sampling: Sampling { acceleration: r, offset, acs_first, acs_lines, first, last } }
}

pub(crate) fn scans() -> impl Strategy<Value = Scan> {
    (1usize..=8, 9usize..24, 2usize..=6)
        .prop_flat_map(|(coils, width, r)| {
            let block = (0..3 * r, 0..3 * r);
            (Just(coils), Just(width), Just(r), 0..r, block, (0usize..4, 0usize..4), any::<u64>())
        })
        .prop_map(|(coils, width, r, offset, block, ends, seed)| scan(coils, width, r, offset, block, ends, seed))
}

pub(crate) fn train(backend: &dyn Backend, scan: &Scan, iterations: usize, seed: u64) -> Fit {
    let problem = scan.entry(0).problem().unwrap().unwrap();
    let parameters = Parameters { iterations, seed, ..Parameters::paper() };
    backend.fit(&[problem], &parameters, &Silent).unwrap().remove(0)
}

/// Trains and fills on the CPU.
pub(crate) fn filled(entry: &Entry<'_>) -> Filled {
    let problem = entry.problem().unwrap().unwrap();
    let fit = Cpu.fit(&[problem], &entry.parameters, &Silent).unwrap().remove(0);
    entry.fill(&Cpu, &fit).unwrap()
}

pub(crate) fn size(kspace: &Array3<Complex32>) -> f32 {
    kspace.iter().map(|v| v.norm_sqr()).sum::<f32>().sqrt()
}
