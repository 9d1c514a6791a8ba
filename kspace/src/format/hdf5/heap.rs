//! Where variable-length data lie: the global heap of HDF5.
//!
//! A reference is a count, the address of a collection and the number of an object in it. A collection is `GCOL`, a
//! version, its size, then objects: number, reference count, size, data padded to eight bytes. (HDF5 file format
//! specification, III.E.) Addresses count from the superblock, and so does the slice that is searched.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::{Error, Result};

const SIGNATURE: &[u8] = b"GCOL\x01";
const COLLECTION_HEADER: usize = 16;
const OBJECT_HEADER: usize = 16;
/// Objects that are passed by before a table of the collection is worth its memory. Readouts mostly have a
/// collection of their own.
const STEPS_WITHOUT_TABLE: usize = 16;
/// Objects in all tables together: 64 MiB. A hostile file could ask for more.
const MOST_TABLED: usize = 2 << 20;

/// Sound collections lie apart from each other, so that all of them have less bytes than the file; how many times its length
/// those may have that tables were made of.
const MOST_OVERLAP: usize = 2;

/// A part of the file, already checked to lie inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::format) struct Span {
    pub(in crate::format) start: usize,
    pub(in crate::format) length: usize,
}

/// A reference to variable-length data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format) struct Reference {
    /// Elements.
    pub(in crate::format) count: u32,
    /// Address of the collection.
    pub(in crate::format) address: u64,
    /// Number of the object in it.
    pub(in crate::format) object: u32,
}

impl Reference {
    /// Bytes of a reference with eight-byte addresses.
    pub(in crate::format) const BYTES: usize = 16;

    /// Reads a reference.
    pub(in crate::format) fn read(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, address @ .., w, x, y, z] = bytes;
        Self {
            count: u32::from_le_bytes([a, b, c, d]),
            address: u64::from_le_bytes(address),
            object: u32::from_le_bytes([w, x, y, z]),
        }
    }
}

/// Looks objects up; large collections are parsed once.
#[derive(Default)]
pub(in crate::format) struct Heap {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    by_address: HashMap<u64, Arc<HashMap<u32, Span>>>,
    objects: usize,
    /// Addresses of which a table was made, some of which may be gone again, and the bytes of these collections.
    parsed: HashSet<u64>,
    bytes: usize,
}

impl Heap {
    /// The first `length` bytes of the object that `reference` names, in `file`.
    pub(in crate::format) fn find(&self, file: &[u8], reference: Reference, length: usize) -> Result<Span> {
        let span = match self.table(reference.address) {
            Some(table) => table.get(&reference.object).copied(),
            None => self.walk(file, reference)?,
        };
        let span = span.ok_or_else(|| broken(reference.address, "no object of that number"))?;
        if span.length < length {
            return Err(broken(
                reference.address,
                &format!("an object of {} bytes where {length} belong", span.length),
            ));
        }
        Ok(Span { start: span.start, length })
    }

    fn table(&self, address: u64) -> Option<Arc<HashMap<u32, Span>>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).by_address.get(&address).map(Arc::clone)
    }

    /// Walks to an object, and through all of a collection in which it lies far back.
    fn walk(&self, file: &[u8], reference: Reference) -> Result<Option<Span>> {
        let address = reference.address;
        let mut objects = Objects::at(file, address)?;
        for _ in 0..STEPS_WITHOUT_TABLE {
            match objects.next().transpose()? {
                Some((number, span)) if number == reference.object => return Ok(Some(span)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        self.admit(address, objects.bytes.len(), file.len())?;
        let table: HashMap<u32, Span> = Objects::at(file, address)?.collect::<Result<_>>()?;
        let found = table.get(&reference.object).copied();
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.objects + table.len() > MOST_TABLED {
            tables.by_address.clear();
            tables.objects = 0;
        }
        tables.objects += table.len();
        tables.by_address.insert(address, Arc::new(table));
        Ok(found)
    }

    /// Counts the `bytes` of a collection of a file of `length` before it is parsed for the first time, and refuses those that share bytes: each would be
    /// parsed to the end of the file.
    fn admit(&self, address: u64, bytes: usize, length: usize) -> Result<()> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.parsed.insert(address) {
            tables.bytes = tables.bytes.saturating_add(bytes);
        }
        if tables.bytes > MOST_OVERLAP * length {
            return Err(broken(address, "bytes that belong to other collections too"));
        }
        Ok(())
    }
}

/// The objects of a collection.
struct Objects<'a> {
    address: u64,
    /// The collection, its header included.
    bytes: &'a [u8],
    /// Where it starts in the file.
    start: usize,
    at: usize,
}

impl<'a> Objects<'a> {
    fn at(file: &'a [u8], address: u64) -> Result<Self> {
        let outside = || broken(address, "an address outside the file");
        let start = usize::try_from(address).map_err(|_| outside())?;
        let rest = file.get(start..).ok_or_else(outside)?;
        if !rest.starts_with(SIGNATURE) {
            return Err(broken(address, "no signature"));
        }
        let size = read_u64(rest, 8).and_then(|size| usize::try_from(size).ok());
        let bytes = size.and_then(|size| rest.get(..size)).ok_or_else(|| broken(address, "a size beyond the file"))?;
        Ok(Self { address, bytes, start, at: COLLECTION_HEADER })
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<(u32, Span)>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = read_u16(self.bytes, self.at)?;
        let length = read_u64(self.bytes, self.at + 8)?;
        if number == 0 {
            // Object 0 is the free space, which ends the collection.
            return None;
        }
        let data = self.at + OBJECT_HEADER;
        let room = self.bytes.len().saturating_sub(data);
        let Some(length) = usize::try_from(length).ok().filter(|&length| length <= room) else {
            self.at = self.bytes.len();
            return Some(Err(broken(self.address, "an object larger than the collection")));
        };
        self.at = data + length.next_multiple_of(8);
        Some(Ok((number.into(), Span { start: self.start + data, length })))
    }
}

fn broken(address: u64, found: &str) -> Error {
    Error::corrupt(format!("the heap collection at byte {address} of the HDF5 file"), found, "a sound collection")
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A collection of objects of the given lengths at byte 8, each filled with its number.
    fn collection(lengths: &[usize]) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, &length) in (1_u16..).zip(lengths) {
            body.extend(number.to_le_bytes());
            body.extend([0; 6]);
            body.extend((length as u64).to_le_bytes());
            body.extend(vec![number as u8; length]);
            body.resize(body.len().next_multiple_of(8), 0);
        }
        let size = (COLLECTION_HEADER + body.len() + OBJECT_HEADER) as u64;
        [&[0; 8][..], b"GCOL\x01\0\0\0", &size.to_le_bytes(), &body, &[0; OBJECT_HEADER]].concat()
    }

    fn reference(object: u32) -> Reference {
        Reference { count: 1, address: 8, object }
    }

    #[test]
    fn references_are_read_in_the_order_of_the_file() {
        let bytes = [&3_u32.to_le_bytes()[..], &(7_u64 << 40).to_le_bytes(), &9_u32.to_le_bytes()].concat();
        let read = Reference::read(bytes.try_into().unwrap());
        assert_eq!(read, Reference { count: 3, address: 7 << 40, object: 9 });
    }

    #[test]
    fn objects_are_found_near_and_far_with_and_without_a_table() {
        let lengths: Vec<usize> = (0..200).map(|i| i % 13).collect();
        let file = collection(&lengths);
        let heap = Heap::default();
        for object in (1..=200).chain([1, 150, 3]) {
            let length = lengths[object as usize - 1];
            let span = heap.find(&file, reference(object), length).unwrap();
            assert!(file[span.start..span.start + span.length].iter().all(|&byte| u32::from(byte) == object));
            assert!(heap.find(&file, reference(object), length + 1).is_err());
        }
        assert!(heap.find(&file, reference(201), 0).is_err());
        assert!(heap.find(&file, reference(0), 0).is_err());
        assert!(Heap::default().find(&file, Reference { address: 16, ..reference(1) }, 0).is_err());
        assert!(Heap::default().find(&file, Reference { address: u64::MAX, ..reference(1) }, 0).is_err());
    }

    /// Collections of which each begins in the data of an object of the one before and reaches to the end of the file.
    #[test]
    fn collections_that_share_bytes_are_refused() {
        let count = 400_usize;
        let size = |number: usize| (32 * (count - number) + 16 + 48) as u64;
        let mut file = Vec::new();
        for number in 0..count {
            file.extend([b"GCOL\x01\0\0\0", &size(number).to_le_bytes()[..]].concat());
            file.extend([&1_u64.to_le_bytes()[..], &16_u64.to_le_bytes()].concat());
        }
        // What the objects before lead to.
        file.extend([b"GCOL\x01\0\0\0", &64_u64.to_le_bytes()[..]].concat());
        file.extend([&9_u64.to_le_bytes()[..], &16_u64.to_le_bytes(), &[7; 16], &[0; 16]].concat());
        let heap = Heap::default();
        let find = |number: usize| heap.find(&file, Reference { count: 4, address: 32 * number as u64, object: 9 }, 16);
        assert_eq!(find(0).unwrap().start, file.len() - 32);
        let error = (1..count / 2).find_map(|number| find(number).err()).unwrap().to_string();
        assert!(error.contains("belong to other collections too"), "{error}");
        assert!(find(0).is_ok(), "a table that was made before");
    }

    proptest! {
        #[test]
        fn damaged_collections_never_panic(at in 0..400_usize, byte in any::<u8>(), cut in 0..400_usize, object in 0..70_u32) {
            let mut file = collection(&[24; 60]);
            file[8 + at] = byte;
            file.truncate(file.len() - cut);
            if let Ok(span) = Heap::default().find(&file, reference(object), 24) {
                prop_assert!(span.start + span.length <= file.len());
            }
        }
    }
}
