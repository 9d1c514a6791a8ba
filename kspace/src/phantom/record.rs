//! ISMRMRD readouts as the C library lays them out: types and bytes.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use crate::format::ReadoutHead;
use crate::format::hdf5::types::{
    array_type, compound_type, float_type, integer_type, packed, string_type, variable_type,
};
use crate::format::hdf5::writer::{Bytes, Writer};
use crate::{Complex32, Error, Result};

/// Bytes of an acquisition header, packed.
const HEAD_BYTES: usize = 340;
/// Bytes of a record, and where its members start.
const RECORD_BYTES: usize = 376;
const TRAJECTORY_AT: usize = 344;
const SAMPLES_AT: usize = 360;
/// Version of the acquisition header.
const VERSION: u16 = 1;

/// An ISMRMRD file being written; readouts are appended one by one.
pub(super) struct IsmrmrdWriter {
    hdf5: Writer<BufWriter<File>>,
    xml: [u8; 16],
    records: Vec<u8>,
}

impl IsmrmrdWriter {
    pub(super) fn create(path: &Path, xml: &str) -> Result<Self> {
        let file = File::create(path).map_err(failed)?;
        let mut hdf5 = Writer::new(BufWriter::with_capacity(1 << 20, file)).map_err(failed)?;
        let xml = hdf5.variable(xml.len() as u32, xml.as_bytes()).map_err(failed)?;
        Ok(Self { hdf5, xml, records: Vec::new() })
    }

    /// Appends a readout; its number is its scan counter.
    pub(super) fn push(&mut self, head: &ReadoutHead, samples: &[Complex32]) -> Result<()> {
        let data = self.hdf5.variable(2 * samples.len() as u32, bytemuck::cast_slice(samples)).map_err(failed)?;
        let counter = (self.records.len() / RECORD_BYTES) as u32;
        let mut record = Bytes(encode(head, counter));
        record.pad(TRAJECTORY_AT - HEAD_BYTES).pad(SAMPLES_AT - TRAJECTORY_AT).raw(&data);
        self.records.append(&mut record.0);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        self.write_structure().map_err(failed)
    }

    fn write_structure(mut self) -> io::Result<()> {
        let data = self.hdf5.records("data", &record_type(), RECORD_BYTES, &self.records)?;
        let xml = self.hdf5.array("xml", &string_type(), &[1], &self.xml)?;
        let dataset = self.hdf5.group("dataset", &[data, xml])?;
        let root = self.hdf5.group("/", &[dataset])?;
        self.hdf5.finish(&root).map(drop)
    }
}

fn failed(error: io::Error) -> Error {
    Error::io("the phantom cannot be written")(error)
}

fn encode(head: &ReadoutHead, counter: u32) -> Vec<u8> {
    let mut bytes = Bytes::default();
    bytes.u16(VERSION).u64(head.flags.0).u32(1).u32(counter);
    // Time stamps are in units of 2.5 ms; one readout follows the other.
    bytes.u32(counter).pad(12);
    bytes.u16(head.samples).u16(head.channels).u16(head.channels);
    for word in 0..16 {
        let channels = u32::from(head.channels).saturating_sub(64 * word).min(64);
        bytes.u64(if channels == 0 { 0 } else { u64::MAX >> (64 - channels) });
    }
    bytes.u16(head.discard_pre).u16(head.discard_post).u16(head.center_sample);
    bytes.u16(head.encoding).u16(head.trajectory_dimensions);
    bytes.u32(head.sample_time_us.to_bits());
    for vector in [head.position, head.read_dir, head.phase_dir, head.slice_dir, [0.0; 3]] {
        vector.into_iter().for_each(|value| {
            bytes.u32(value.to_bits());
        });
    }
    let c = &head.counters;
    let counters = [c.step_1, c.step_2, c.average, c.slice, c.contrast, c.phase, c.repetition, c.set, c.segment];
    counters.into_iter().for_each(|value| {
        bytes.u16(value);
    });
    bytes.pad(8 * 2 + 8 * 4 + 8 * 4);
    bytes.0
}

fn record_type() -> Vec<u8> {
    let floats = variable_type(&float_type());
    compound_type(
        RECORD_BYTES,
        &[("head", 0, head_type()), ("traj", TRAJECTORY_AT, floats.clone()), ("data", SAMPLES_AT, floats)],
    )
}

fn head_type() -> Vec<u8> {
    let [u16_type, u32_type, u64_type] = [2, 4, 8].map(|bytes| integer_type(bytes, false));
    let counters = packed([
        ("kspace_encode_step_1", u16_type.clone()),
        ("kspace_encode_step_2", u16_type.clone()),
        ("average", u16_type.clone()),
        ("slice", u16_type.clone()),
        ("contrast", u16_type.clone()),
        ("phase", u16_type.clone()),
        ("repetition", u16_type.clone()),
        ("set", u16_type.clone()),
        ("segment", u16_type.clone()),
        ("user", array_type(8, &u16_type)),
    ]);
    let vector = array_type(3, &float_type());
    packed([
        ("version", u16_type.clone()),
        ("flags", u64_type.clone()),
        ("measurement_uid", u32_type.clone()),
        ("scan_counter", u32_type.clone()),
        ("acquisition_time_stamp", u32_type.clone()),
        ("physiology_time_stamp", array_type(3, &u32_type)),
        ("number_of_samples", u16_type.clone()),
        ("available_channels", u16_type.clone()),
        ("active_channels", u16_type.clone()),
        ("channel_mask", array_type(16, &u64_type)),
        ("discard_pre", u16_type.clone()),
        ("discard_post", u16_type.clone()),
        ("center_sample", u16_type.clone()),
        ("encoding_space_ref", u16_type.clone()),
        ("trajectory_dimensions", u16_type),
        ("sample_time_us", float_type()),
        ("position", vector.clone()),
        ("read_dir", vector.clone()),
        ("phase_dir", vector.clone()),
        ("slice_dir", vector.clone()),
        ("patient_table_position", vector),
        ("idx", counters),
        ("user_int", array_type(8, &integer_type(4, true))),
        ("user_float", array_type(8, &float_type())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_the_length_of_the_standard() {
        let head = ReadoutHead { channels: 70, ..ReadoutHead::default() };
        let bytes = encode(&head, 5);
        assert_eq!(bytes.len(), HEAD_BYTES);
        assert_eq!(bytes[40..56], [[0xff; 8], [0x3f, 0, 0, 0, 0, 0, 0, 0]].concat());
    }
}
