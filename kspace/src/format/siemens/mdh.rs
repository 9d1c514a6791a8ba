//! The measurement data header (MDH) in front of the samples of every readout.
//!
//! Up to VB a header of 128 bytes precedes the samples of each channel. From VD on one header of 192 bytes precedes all
//! channels, and 32 bytes precede each of them. All numbers are little-endian.

use crate::format::{Counters, Flags};

/// How the software of the scanner lays out readouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// VB.
    Vb,
    /// VD, VE and XA.
    Vd,
}

impl Generation {
    /// Bytes of the header that starts a readout.
    pub(super) const fn header(self) -> usize {
        match self {
            Self::Vb => 128,
            Self::Vd => 192,
        }
    }

    /// Bytes in front of the first channel.
    pub(super) const fn lead(self) -> usize {
        match self {
            Self::Vb => 0,
            Self::Vd => 192,
        }
    }

    /// Bytes in front of the samples of each channel.
    pub(super) const fn channel_header(self) -> usize {
        match self {
            Self::Vb => 128,
            Self::Vd => 32,
        }
    }

    /// Where the number of the channel stands in the bytes in front of its samples.
    pub(super) const fn channel_id(self) -> usize {
        match self {
            Self::Vb => 124,
            Self::Vd => 24,
        }
    }

    /// Where the flags start, which sample count, counters and centre follow.
    const fn flags(self) -> usize {
        match self {
            Self::Vb => 20,
            Self::Vd => 40,
        }
    }

    /// Where the position of the slice starts, which its orientation follows.
    const fn place(self) -> usize {
        match self {
            Self::Vb => 96,
            Self::Vd => 100,
        }
    }
}

/// Bits of the evaluation mask, counted from 0.
pub(super) mod bit {
    pub(in crate::format::siemens) const END: u32 = 0;
    pub(in crate::format::siemens) const RT_FEEDBACK: u32 = 1;
    pub(in crate::format::siemens) const HP_FEEDBACK: u32 = 2;
    pub(in crate::format::siemens) const SYNC_DATA: u32 = 5;
    pub(in crate::format::siemens) const RAW_DATA_CORRECTION: u32 = 10;
    pub(in crate::format::siemens) const LAST_IN_MEASUREMENT: u32 = 11;
    pub(in crate::format::siemens) const PHASE_STABILISATION_REFERENCE: u32 = 14;
    pub(in crate::format::siemens) const PHASE_STABILISATION: u32 = 15;
    pub(in crate::format::siemens) const SIGN_REVERSAL: u32 = 17;
    pub(in crate::format::siemens) const PHASE_CORRECTION: u32 = 21;
    pub(in crate::format::siemens) const CALIBRATION: u32 = 22;
    pub(in crate::format::siemens) const CALIBRATION_AND_IMAGING: u32 = 23;
    pub(in crate::format::siemens) const REFLECT: u32 = 24;
    pub(in crate::format::siemens) const NOISE: u32 = 25;
    pub(in crate::format::siemens) const FIRST_IN_SLICE: u32 = 28;
    pub(in crate::format::siemens) const LAST_IN_SLICE: u32 = 29;
    pub(in crate::format::siemens) const SINGLE_BAND_REFERENCE: u32 = 38;
    pub(in crate::format::siemens) const RETROSPECTIVE_DUMMY: u32 = 51;
    pub(in crate::format::siemens) const B1_CONTROL: u32 = 53;
    pub(in crate::format::siemens) const RF_MONITORING: u32 = 56;
}

/// Whether bit `number` of an evaluation mask is set.
pub(super) const fn has(mask: u64, number: u32) -> bool {
    mask & (1 << number) != 0
}

/// A header, as far as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Mdh {
    /// Bytes of the block that starts here, which is wrong for packed readouts.
    pub(super) length: usize,
    /// Number of the measurement, the same in all its headers.
    pub(super) measurement: u32,
    pub(super) scan_counter: u32,
    /// Evaluation mask.
    pub(super) mask: u64,
    pub(super) samples: u16,
    pub(super) channels: u16,
    pub(super) counters: Counters,
    /// Samples to ignore at the start and at the end.
    pub(super) cut_off: [u16; 2],
    pub(super) center_column: u16,
    /// Line and partition at the centre of k-space.
    pub(super) center: [u16; 2],
    /// Sagittal, coronal, transversal, mm.
    pub(super) position: [f32; 3],
    /// W, X, Y, Z.
    pub(super) quaternion: [f32; 4],
}

impl Mdh {
    /// Reads the header at the start of `bytes`, which hold all of it.
    pub(super) fn parse(bytes: &[u8], generation: Generation) -> Self {
        let (flags, place) = (generation.flags(), generation.place());
        let counter = |number: usize| u16_at(bytes, flags + 12 + 2 * number);
        Self {
            length: (u32_at(bytes, 0) & 0x01ff_ffff) as usize,
            measurement: u32_at(bytes, 4),
            scan_counter: u32_at(bytes, 8),
            mask: u64::from_le_bytes(array(bytes, flags)),
            samples: u16_at(bytes, flags + 8),
            channels: u16_at(bytes, flags + 10),
            counters: Counters {
                step_1: counter(0),
                average: counter(1),
                slice: counter(2),
                step_2: counter(3),
                contrast: counter(4),
                phase: counter(5),
                repetition: counter(6),
                set: counter(7),
                segment: counter(8),
            },
            cut_off: [u16_at(bytes, flags + 40), u16_at(bytes, flags + 42)],
            center_column: u16_at(bytes, flags + 44),
            center: [u16_at(bytes, flags + 56), u16_at(bytes, flags + 58)],
            position: std::array::from_fn(|axis| f32::from_le_bytes(array(bytes, place + 4 * axis))),
            quaternion: std::array::from_fn(|part| f32::from_le_bytes(array(bytes, place + 12 + 4 * part))),
        }
    }

    /// Bytes of the readout that starts with this header.
    pub(super) const fn readout_length(&self, generation: Generation) -> usize {
        let channel = generation.channel_header() + 8 * self.samples as usize;
        generation.lead() + self.channels as usize * channel
    }
}

/// Flags of ISMRMRD for an evaluation mask, as converters set them, but for two: the request to correct the gain of a
/// channel (bit 10) says nothing of the line, which may well be one of the image; and readouts for the control of the
/// transmitter are no part of an image.
pub(super) fn flags(mask: u64) -> Flags {
    let pairs = [
        (bit::RT_FEEDBACK, Flags::NAVIGATION),
        (bit::RT_FEEDBACK, Flags::RT_FEEDBACK),
        (bit::HP_FEEDBACK, Flags::HP_FEEDBACK),
        (bit::SYNC_DATA, Flags::DUMMY),
        (bit::LAST_IN_MEASUREMENT, Flags::LAST_IN_MEASUREMENT),
        (bit::PHASE_STABILISATION_REFERENCE, Flags::PHASE_STABILISATION_REFERENCE),
        (bit::PHASE_STABILISATION, Flags::PHASE_STABILISATION),
        (bit::PHASE_CORRECTION, Flags::PHASE_CORRECTION),
        (bit::REFLECT, Flags::REVERSE),
        (bit::NOISE, Flags::NOISE),
        (bit::FIRST_IN_SLICE, Flags::FIRST_IN_SLICE),
        (bit::LAST_IN_SLICE, Flags::LAST_IN_SLICE),
        (bit::RETROSPECTIVE_DUMMY, Flags::DUMMY),
        (bit::B1_CONTROL, Flags::DUMMY),
        (bit::RF_MONITORING, Flags::DUMMY),
    ];
    let set = |flags: Flags, (from, to): (u32, u32)| if has(mask, from) { flags.with(to) } else { flags };
    let flags = pairs.into_iter().fold(Flags::default(), set);
    if has(mask, bit::CALIBRATION_AND_IMAGING) {
        flags.with(Flags::CALIBRATION_AND_IMAGING)
    } else {
        set(flags, (bit::CALIBRATION, Flags::CALIBRATION))
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// The bytes at `at`. Callers have checked the length; what lies beyond it reads as zero.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_its_flag() {
        let numbers = |mask: u64| (1..=64).filter(|&number| flags(mask).has(number)).collect::<Vec<u32>>();
        let table: [(&[u32], &[u32]); 17] = [
            (&[1], &[23, 28]),
            (&[2], &[26]),
            (&[3, 4, 8, 10, 12, 16, 18, 38], &[]),
            (&[11], &[25]),
            (&[14], &[30]),
            (&[15], &[31]),
            (&[21], &[24]),
            (&[22], &[20]),
            (&[23], &[21]),
            (&[22, 23], &[21]),
            (&[24], &[22]),
            (&[25], &[19]),
            (&[28], &[7]),
            (&[29], &[8]),
            (&[51], &[27]),
            (&[5], &[27]),
            (&[53, 56], &[27]),
        ];
        for (bits, expected) in table {
            assert_eq!(numbers(bits.iter().map(|bit| 1 << bit).sum()), expected, "{bits:?}");
        }
    }
}
