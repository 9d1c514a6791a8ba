//! Datatypes of HDF5 as a writer states them.
//!
//! Messages of the HDF5 File Format Specification Version 3.0, IV.A.2.d, version 2 where arrays ask for it.

use super::writer::Bytes;

/// Bytes of an element, which every message states.
fn size(datatype: &[u8]) -> u32 {
    u32::from_le_bytes([datatype[4], datatype[5], datatype[6], datatype[7]])
}

/// A compound without gaps of `(name, type)`.
pub(crate) fn packed<const N: usize>(members: [(&'static str, Vec<u8>); N]) -> Vec<u8> {
    let mut offset = 0;
    let placed = members.map(|(name, datatype)| {
        let at = offset;
        offset += size(&datatype) as usize;
        (name, at, datatype)
    });
    compound_type(offset, &placed)
}

/// A compound of `bytes` with `(name, offset, type)` as its members.
pub(crate) fn compound_type(bytes: usize, members: &[(&str, usize, Vec<u8>)]) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x26]).u16(members.len() as u16).raw(&[0]).u32(bytes as u32);
    for (name, offset, datatype) in members {
        let padded = (name.len() + 1).next_multiple_of(8);
        message.raw(name.as_bytes()).pad(padded - name.len()).u32(*offset as u32).raw(datatype);
    }
    message.0
}

/// `count` elements side by side.
pub(crate) fn array_type(count: u32, base: &[u8]) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x2a, 0, 0, 0]).u32(count * size(base)).raw(&[1, 0, 0, 0]).u32(count).u32(0).raw(base);
    message.0
}

/// Sequences of any length.
pub(crate) fn variable_type(base: &[u8]) -> Vec<u8> {
    variable(0, base)
}

/// Strings of any length.
pub(crate) fn string_type() -> Vec<u8> {
    variable(1, &integer_type(1, false))
}

fn variable(kind: u8, base: &[u8]) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x19, kind, 0, 0]).u32(16).raw(base);
    message.0
}

/// A little-endian integer.
pub(crate) fn integer_type(bytes: u8, signed: bool) -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x10, if signed { 8 } else { 0 }, 0, 0]).u32(bytes.into()).u16(0).u16(8 * u16::from(bytes));
    message.0
}

/// IEEE 754 single precision, little-endian.
pub(crate) fn float_type() -> Vec<u8> {
    let mut message = Bytes::default();
    message.raw(&[0x11, 0x20, 31, 0]).u32(4).u16(0).u16(32).raw(&[23, 8, 0, 23]).u32(127);
    message.0
}
