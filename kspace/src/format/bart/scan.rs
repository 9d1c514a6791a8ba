//! K-space of an array as readouts: one for each line along READ that is not zero in every coil.

use std::borrow::Cow;

use super::dims::{AVERAGE, COIL, DIMENSIONS, Dims, ECHO, PHASE_1, PHASE_2, READ, SLICE, TIME, TIME_2, check, samples};
use crate::format::header::{Encoding, Header, Limit, Space};
use crate::format::mapped::{self, Mapped};
use crate::format::{Counters, RawScan, ReadoutHead, check_readouts, end, no_such_readout};
use crate::{Complex32, Error, Result};

const SAMPLE_BYTES: usize = size_of::<Complex32>();

/// An opened array.
pub struct BartScan {
    map: Mapped,
    dims: Dims,
    header: Header,
    heads: Vec<ReadoutHead>,
}

/// Opens k-space of these dimensions.
pub(super) fn open(dims: Dims, map: Mapped) -> Result<BartScan> {
    check(&dims)?;
    let found = map.bytes().len() as u64;
    let expected = samples(&dims).and_then(|count| count.checked_mul(SAMPLE_BYTES)).map_or(u64::MAX, |it| it as u64);
    if found < expected {
        return Err(Error::Truncated { what: "the BART .cfl file".to_owned(), found, expected });
    }
    if found > expected {
        let expected = format!("{expected}, as the .hdr file says");
        return Err(Error::corrupt("the BART .cfl file", format!("{found} bytes"), expected));
    }
    check_readouts((samples(&dims).unwrap_or(0) / (dims[READ] * dims[COIL])) as u64)?;
    let mut scan = BartScan { map, dims, header: header(&dims), heads: Vec::new() };
    let lines = Lines { dims, next: Some([0; DIMENSIONS]) };
    let heads = lines.filter(|at| scan.is_acquired(at)).zip(0..).map(|(at, number)| head(&dims, &at, number));
    scan.heads = heads.collect();
    end(&mut scan.heads);
    if scan.heads.is_empty() {
        return Err(Error::corrupt("the BART .cfl file", "nothing but zeros", "k-space samples"));
    }
    Ok(scan)
}

fn header(dims: &Dims) -> Header {
    let matrix = [dims[READ], dims[PHASE_1], dims[PHASE_2]];
    let space = Space { matrix, ..Space::default() };
    // [`check`] has compared every length with the largest counter.
    let limit = |dimension: usize| Limit {
        minimum: 0,
        maximum: (dims[dimension] - 1) as u16,
        center: (dims[dimension] / 2) as u16,
    };
    let mut encoding = Encoding { encoded: space, recon: space, ..Encoding::default() };
    encoding.limits.step_1 = Some(limit(PHASE_1));
    encoding.limits.step_2 = (dims[PHASE_2] > 1).then(|| limit(PHASE_2));
    Header { encodings: vec![encoding], ..Header::default() }
}

fn head(dims: &Dims, at: &Dims, number: u32) -> ReadoutHead {
    ReadoutHead {
        scan_counter: number,
        samples: dims[READ] as u16,
        channels: dims[COIL] as u16,
        center_sample: (dims[READ] / 2) as u16,
        counters: Counters {
            step_1: at[PHASE_1] as u16,
            step_2: at[PHASE_2] as u16,
            average: at[AVERAGE] as u16,
            slice: at[SLICE] as u16,
            contrast: at[ECHO] as u16,
            phase: at[TIME_2] as u16,
            repetition: at[TIME] as u16,
            ..Counters::default()
        },
        ..ReadoutHead::default()
    }
}

/// Places of the lines, along every dimension but READ and COIL.
struct Lines {
    dims: Dims,
    next: Option<Dims>,
}

impl Iterator for Lines {
    type Item = Dims;

    fn next(&mut self) -> Option<Dims> {
        let at = self.next?;
        let mut next = at;
        self.next = (0..DIMENSIONS).filter(|dimension| ![READ, COIL].contains(dimension)).find_map(|dimension| {
            next[dimension] += 1;
            if next[dimension] < self.dims[dimension] {
                return Some(next);
            }
            next[dimension] = 0;
            None
        });
        Some(at)
    }
}

impl BartScan {
    /// The bytes of a line in one coil.
    fn line(&self, at: &Dims, coil: usize) -> &[u8] {
        let place = |dimension: usize| if dimension == COIL { coil } else { at[dimension] };
        let sample = (0..DIMENSIONS).rev().fold(0, |index, dimension| index * self.dims[dimension] + place(dimension));
        &self.map.bytes()[sample * SAMPLE_BYTES..][..self.dims[READ] * SAMPLE_BYTES]
    }

    /// Zeros may be negative ones.
    fn is_acquired(&self, at: &Dims) -> bool {
        let zero = |bytes: &[u8]| bytes.chunks_exact(4).all(|float| matches!(float, [0, 0, 0, 0 | 0x80]));
        (0..self.dims[COIL]).any(|coil| !zero(self.line(at, coil)))
    }
}

impl RawScan for BartScan {
    fn format(&self) -> &'static str {
        "BART"
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let head = self.heads.get(readout).ok_or_else(|| no_such_readout(readout, self.heads.len()))?;
        let Counters { step_1, step_2, average, slice, contrast, phase, repetition, .. } = head.counters;
        let mut at = [0; DIMENSIONS];
        let counters = [
            (PHASE_1, step_1),
            (PHASE_2, step_2),
            (AVERAGE, average),
            (SLICE, slice),
            (ECHO, contrast),
            (TIME_2, phase),
            (TIME, repetition),
        ];
        counters.into_iter().for_each(|(dimension, counter)| at[dimension] = counter.into());
        if self.dims[COIL] == 1 {
            return Ok(mapped::samples(self.line(&at, 0)));
        }
        let mut samples = Vec::with_capacity(self.dims[COIL] * self.dims[READ]);
        (0..self.dims[COIL]).for_each(|coil| samples.extend_from_slice(&mapped::samples(self.line(&at, coil))));
        Ok(Cow::Owned(samples))
    }
}
