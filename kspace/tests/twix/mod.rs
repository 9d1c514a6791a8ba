//! Siemens raw data: `writer` writes them, module `real` compares with files of scanners, `epi` with an echo planar one, `calibration`
//! writes calibration scans.

mod calibration;
mod epi;
mod real;
mod writer;

pub(crate) use writer::{Block, Layout, Measurement, PATIENT, Readout, elements, protocol, write};
