//! ISMRMRD readouts as the C library lays them out: types and bytes.

use std::io;
use std::path::Path;

use super::hdf5::{Bytes, Writer};
use crate::format::ReadoutHead;
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
    hdf5: Writer,
    xml: [u8; 16],
    records: Vec<u8>,
}

impl IsmrmrdWriter {
    pub(super) fn create(path: &Path, xml: &str) -> Result<Self> {
        let mut hdf5 = Writer::create(path).map_err(failed)?;
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
        let xml = self.hdf5.single("xml", &variable_type(true, &integer_type(1, false)), &self.xml)?;
        let dataset = self.hdf5.group("dataset", &[data, xml])?;
        let root = self.hdf5.group("/", &[dataset])?;
        self.hdf5.finish(&root)
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
    let floats = variable_type(false, &float_type());
    compound_type(
        RECORD_BYTES,
        &[("head", 0, head_type()), ("traj", TRAJECTORY_AT, floats.clone()), ("data", SAMPLES_AT, floats)],
    )
}

fn head_type() -> Vec<u8> {
    let [u16_type, u32_type, u64_type] = [2, 4, 8].map(|bytes| integer_type(bytes, false));
    let counters = packed([
        ("kspace_encode_step_1", u16_type.clone(), 2),
        ("kspace_encode_step_2", u16_type.clone(), 2),
        ("average", u16_type.clone(), 2),
        ("slice", u16_type.clone(), 2),
        ("contrast", u16_type.clone(), 2),
        ("phase", u16_type.clone(), 2),
        ("repetition", u16_type.clone(), 2),
        ("set", u16_type.clone(), 2),
        ("segment", u16_type.clone(), 2),
        ("user", array_type(8, &u16_type), 16),
    ]);
    let vector = array_type(3, &float_type());
    packed([
        ("version", u16_type.clone(), 2),
        ("flags", u64_type.clone(), 8),
        ("measurement_uid", u32_type.clone(), 4),
        ("scan_counter", u32_type.clone(), 4),
        ("acquisition_time_stamp", u32_type.clone(), 4),
        ("physiology_time_stamp", array_type(3, &u32_type), 12),
        ("number_of_samples", u16_type.clone(), 2),
        ("available_channels", u16_type.clone(), 2),
        ("active_channels", u16_type.clone(), 2),
        ("channel_mask", array_type(16, &u64_type), 128),
        ("discard_pre", u16_type.clone(), 2),
        ("discard_post", u16_type.clone(), 2),
        ("center_sample", u16_type.clone(), 2),
        ("encoding_space_ref", u16_type.clone(), 2),
        ("trajectory_dimensions", u16_type, 2),
        ("sample_time_us", float_type(), 4),
        ("position", vector.clone(), 12),
        ("read_dir", vector.clone(), 12),
        ("phase_dir", vector.clone(), 12),
        ("slice_dir", vector.clone(), 12),
        ("patient_table_position", vector, 12),
        ("idx", counters, 34),
        ("user_int", array_type(8, &integer_type(4, true)), 32),
        ("user_float", array_type(8, &float_type()), 32),
    ])
}

/// A compound without gaps of `(name, type, bytes)`.
fn packed<const N: usize>(members: [(&'static str, Vec<u8>, usize); N]) -> Vec<u8> {
    let mut offset = 0;
    let placed = members.map(|(name, datatype, bytes)| {
        let member = (name, offset, datatype);
        offset += bytes;
        member
    });
    compound_type(offset, &placed)
}

/// Datatype messages (HDF5 File Format Specification, IV.A.2.d), version 2 where arrays ask for it.
fn compound_type(bytes: usize, members: &[(&str, usize, Vec<u8>)]) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x26]).u16(members.len() as u16).raw(&[0]).u32(bytes as u32);
    for (name, offset, datatype) in members {
        let padded = (name.len() + 1).next_multiple_of(8);
        message.raw(name.as_bytes()).pad(padded - name.len()).u32(*offset as u32).raw(datatype);
    }
    message.0
}

fn array_type(count: u32, base: &[u8]) -> Vec<u8> {
    let size = u32::from_le_bytes([base[4], base[5], base[6], base[7]]);
    let mut message = Bytes::default();
    message.raw(&[0x2a, 0, 0, 0]).u32(count * size).raw(&[1, 0, 0, 0]).u32(count).u32(0).raw(base);
    message.0
}

fn variable_type(string: bool, base: &[u8]) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x19, u8::from(string), 0, 0]).u32(16).raw(base);
    message.0
}

fn integer_type(bytes: u8, signed: bool) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x10, if signed { 8 } else { 0 }, 0, 0]).u32(bytes.into()).u16(0).u16(8 * u16::from(bytes));
    message.0
}

/// IEEE 754 single precision, little-endian.
fn float_type() -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x11, 0x20, 31, 0]).u32(4).u16(0).u16(32).raw(&[23, 8, 0, 23]).u32(127);
    message.0
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
