//! Where variable-length data lie: the global heap of HDF5.
//!
//! A reference is a count, the address of a collection and the number of an object in it. A collection is `GCOL`, a
//! version, its size, then objects: number, reference count, size, data padded to eight bytes. (HDF5 file format
//! specification, III.E.)

use std::collections::HashMap;

use crate::{Error, Result};

const SIGNATURE: &[u8] = b"GCOL\x01";
const COLLECTION_HEADER: usize = 16;
const OBJECT_HEADER: usize = 16;

/// A part of the file, already checked to lie inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) length: usize,
}

/// A reference to variable-length data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    /// Elements of four bytes, or pairs of them.
    pub(super) count: u32,
    /// Bytes of one element.
    pub(super) element: usize,
    /// Address of the collection.
    pub(super) address: u64,
    /// Number of the object in it.
    pub(super) object: u32,
}

/// Looks objects up, each collection parsed once.
pub(super) struct Heap<'a> {
    file: &'a [u8],
    base: u64,
    collections: HashMap<u64, HashMap<u16, Span>>,
}

impl<'a> Heap<'a> {
    /// The heap of a file whose addresses count from `base`.
    pub(super) fn new(file: &'a [u8], base: u64) -> Self {
        Self { file, base, collections: HashMap::new() }
    }

    /// The bytes of readout `readout`, which must be exactly `floats` floats long.
    pub(super) fn find(&mut self, reference: Reference, floats: u64, readout: usize) -> Result<Span> {
        let expected = floats * 4;
        let found = u64::from(reference.count) * reference.element as u64;
        if found != expected {
            return Err(Error::corrupt(
                format!("readout {readout}"),
                format!("{found} bytes of samples"),
                format!("{expected} from its samples and channels"),
            ));
        }
        if expected == 0 {
            return Ok(Span::default());
        }
        if !self.collections.contains_key(&reference.address) {
            let parsed = self.parse(reference.address)?;
            self.collections.insert(reference.address, parsed);
        }
        let object = u16::try_from(reference.object).ok();
        let span = self
            .collections
            .get(&reference.address)
            .and_then(|objects| object.and_then(|number| objects.get(&number)))
            .ok_or_else(|| Error::corrupt(format!("readout {readout}"), "a reference to no object", "its samples"))?;
        if (span.length as u64) < expected {
            return Err(Error::corrupt(format!("readout {readout}"), format!("{} bytes", span.length), expected));
        }
        Ok(Span { start: span.start, length: expected as usize })
    }

    fn parse(&self, address: u64) -> Result<HashMap<u16, Span>> {
        let broken =
            |found: &str| Error::corrupt(format!("heap collection at byte {address}"), found, "a sound collection");
        let outside = || broken("an address outside the file");
        let start = usize::try_from(address.checked_add(self.base).ok_or_else(outside)?).map_err(|_| outside())?;
        let rest = self.file.get(start..).ok_or_else(outside)?;
        if !rest.starts_with(SIGNATURE) {
            return Err(broken("no signature"));
        }
        let size = read_u64(rest, 8).and_then(|size| usize::try_from(size).ok()).ok_or_else(outside)?;
        if size > rest.len() {
            let (found, expected) = (self.file.len() as u64, (start as u64).saturating_add(size as u64));
            return Err(Error::Truncated { what: "the HDF5 file".to_owned(), found, expected });
        }
        let collection = &rest[..size];
        let mut objects = HashMap::new();
        let mut at = COLLECTION_HEADER;
        while at + OBJECT_HEADER <= size {
            let (Some(number), Some(length)) = (read_u16(collection, at), read_u64(collection, at + 8)) else { break };
            if number == 0 {
                // Object 0 is the free space, which ends the collection.
                break;
            }
            let data = at + OBJECT_HEADER;
            let length = usize::try_from(length).ok().filter(|&length| length <= size - data);
            let length = length.ok_or_else(|| broken("an object larger than its collection"))?;
            objects.insert(number, Span { start: start + data, length });
            at = data + length.next_multiple_of(8);
        }
        Ok(objects)
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}
