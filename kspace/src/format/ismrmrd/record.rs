//! One readout record: a compound of `head`, `traj` and `data`, whose offsets differ by writer.

use hdf5_reader::error::ByteOrder;
use hdf5_reader::{CompoundField, Datatype};

use crate::format::hdf5::heap::Reference;
use crate::format::{Counters, Flags, ReadoutHead};
use crate::{Error, Result};

/// Byte offsets of the members, by name.
pub(super) struct Layout {
    /// Bytes of a record.
    pub(super) size: usize,
    data: usize,
    /// Floats in one element of the samples: one, or a pair.
    floats: u64,
    head: HeadLayout,
}

struct HeadLayout {
    flags: usize,
    scan_counter: usize,
    samples: usize,
    channels: usize,
    discard_pre: usize,
    discard_post: usize,
    center_sample: usize,
    encoding: usize,
    trajectory_dimensions: usize,
    sample_time_us: usize,
    position: usize,
    read_dir: usize,
    phase_dir: usize,
    slice_dir: usize,
    /// step 1, step 2, average, slice, contrast, phase, repetition, set, segment
    counters: [usize; 9],
}

/// Names of the counters in the order of [`HeadLayout::counters`].
const COUNTERS: [&str; 9] = [
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
];

impl Layout {
    /// Finds every member that is read, with its type.
    pub(super) fn of(datatype: &Datatype) -> Result<Self> {
        let (size, fields) = compound("data", datatype)?;
        let data = field("data", fields, "data")?;
        let floats = match &data.datatype {
            Datatype::VarLen { base, .. } => sample_floats(base)?,
            _ => return Err(wrong("data/data", "samples of variable length")),
        };
        let (_, head) = compound("data/head", &field("data", fields, "head")?.datatype)?;
        let base = field("data", fields, "head")?.byte_offset as usize;
        let at = |name: &'static str, kind: Kind| -> Result<usize> {
            let member = field("data/head", head, name)?;
            kind.check(name, &member.datatype)?;
            let offset = base + member.byte_offset as usize;
            // Every offset is checked here, once, so that reading a record needs no check.
            if offset + kind.bytes() > size { Err(wrong(name, "a member inside the record")) } else { Ok(offset) }
        };
        let idx = field("data/head", head, "idx")?;
        let (_, idx_fields) = compound("data/head/idx", &idx.datatype)?;
        let mut counters = [0; COUNTERS.len()];
        for (slot, name) in counters.iter_mut().zip(COUNTERS) {
            let member = field("data/head/idx", idx_fields, name)?;
            Kind::U16.check(name, &member.datatype)?;
            *slot = base + idx.byte_offset as usize + member.byte_offset as usize;
            if *slot + 2 > size {
                return Err(wrong(name, "a member inside the record"));
            }
        }
        let data = data.byte_offset as usize;
        if data + Reference::BYTES > size {
            return Err(wrong("data/data", "a reference inside the record"));
        }
        let head = HeadLayout {
            flags: at("flags", Kind::U64)?,
            scan_counter: at("scan_counter", Kind::U32)?,
            samples: at("number_of_samples", Kind::U16)?,
            channels: at("active_channels", Kind::U16)?,
            discard_pre: at("discard_pre", Kind::U16)?,
            discard_post: at("discard_post", Kind::U16)?,
            center_sample: at("center_sample", Kind::U16)?,
            encoding: at("encoding_space_ref", Kind::U16)?,
            trajectory_dimensions: at("trajectory_dimensions", Kind::U16)?,
            sample_time_us: at("sample_time_us", Kind::F32)?,
            position: at("position", Kind::Vector)?,
            read_dir: at("read_dir", Kind::Vector)?,
            phase_dir: at("phase_dir", Kind::Vector)?,
            slice_dir: at("slice_dir", Kind::Vector)?,
            counters,
        };
        Ok(Self { size, data, floats, head })
    }

    /// The head of a record of [`Self::size`] bytes.
    pub(super) fn head(&self, record: &[u8]) -> ReadoutHead {
        let head = &self.head;
        let u16_at = |at: usize| u16::from_le_bytes(bytes(record, at));
        let f32_at = |at: usize| f32::from_le_bytes(bytes(record, at));
        let vector = |at: usize| [f32_at(at), f32_at(at + 4), f32_at(at + 8)];
        let [step_1, step_2, average, slice, contrast, phase, repetition, set, segment] = head.counters.map(u16_at);
        ReadoutHead {
            flags: Flags(u64::from_le_bytes(bytes(record, head.flags))),
            scan_counter: u32::from_le_bytes(bytes(record, head.scan_counter)),
            samples: u16_at(head.samples),
            channels: u16_at(head.channels),
            discard_pre: u16_at(head.discard_pre),
            discard_post: u16_at(head.discard_post),
            center_sample: u16_at(head.center_sample),
            encoding: u16_at(head.encoding),
            trajectory_dimensions: u16_at(head.trajectory_dimensions),
            sample_time_us: f32_at(head.sample_time_us),
            position: vector(head.position),
            read_dir: vector(head.read_dir),
            phase_dir: vector(head.phase_dir),
            slice_dir: vector(head.slice_dir),
            counters: Counters { step_1, step_2, average, slice, contrast, phase, repetition, set, segment },
        }
    }

    /// Where the samples of a record are, and how many floats they are.
    pub(super) fn samples(&self, record: &[u8]) -> (Reference, u64) {
        let reference = Reference::read(bytes(record, self.data));
        (reference, self.floats * u64::from(reference.count))
    }
}

/// `N` bytes at an offset that [`Layout::of`] has checked.
fn bytes<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&record[at..at + N]);
    value
}

/// Types of the members that are read.
#[derive(Clone, Copy)]
enum Kind {
    U16,
    U32,
    U64,
    F32,
    Vector,
}

impl Kind {
    const fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
            Self::U64 => 8,
            Self::Vector => 12,
        }
    }

    fn check(self, name: &str, datatype: &Datatype) -> Result<()> {
        let fits = match (self, datatype) {
            (Self::U16 | Self::U32 | Self::U64, Datatype::FixedPoint { size, byte_order, .. }) => {
                usize::from(*size) == self.bytes() && *byte_order == ByteOrder::LittleEndian
            }
            (Self::F32, float) => is_float(float),
            (Self::Vector, Datatype::Array { base, dims }) => is_float(base) && dims == &[3],
            _ => false,
        };
        if fits { Ok(()) } else { Err(wrong(name, "the type of the ISMRMRD standard, little-endian")) }
    }
}

fn is_float(datatype: &Datatype) -> bool {
    matches!(datatype, Datatype::FloatingPoint { size: 4, byte_order: ByteOrder::LittleEndian })
}

/// Floats in one element of the samples: plain floats, or pairs of real and imaginary part.
fn sample_floats(base: &Datatype) -> Result<u64> {
    if is_float(base) {
        return Ok(1);
    }
    match base {
        Datatype::Compound { size: 8, fields } if fields.len() == 2 && fields.iter().all(|f| is_float(&f.datatype)) => {
            Ok(2)
        }
        _ => Err(wrong("data/data", "single-precision floats or pairs of them, little-endian")),
    }
}

fn compound<'a>(name: &str, datatype: &'a Datatype) -> Result<(usize, &'a [CompoundField])> {
    match datatype {
        Datatype::Compound { size, fields } => Ok((*size as usize, fields)),
        _ => Err(wrong(name, "a compound")),
    }
}

fn field<'a>(parent: &str, fields: &'a [CompoundField], name: &str) -> Result<&'a CompoundField> {
    fields
        .iter()
        .find(|field| field.name == name)
        .ok_or_else(|| wrong(&format!("{parent}/{name}"), "a member of that name"))
}

fn wrong(name: &str, expected: &str) -> Error {
    Error::corrupt(format!("the type of ISMRMRD member {name}"), "something else", expected)
}
