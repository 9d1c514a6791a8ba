//! Writes the few parts of HDF5 that an ISMRMRD file needs, in the oldest layout, which every reader knows.
//!
//! Superblock 0, groups of symbol tables, object headers 1, arrays in one piece or one chunk per record under a version 1 B-tree,
//! variable-length data in global heap collections. Everything is appended; the superblock, which says where the rest is, comes last.
//! Sections are those of the HDF5 File Format Specification Version 3.0.

use std::io::{self, Seek, SeekFrom, Write};

/// Bytes of superblock 0 with eight-byte addresses (II.A).
const SUPERBLOCK_BYTES: u64 = 96;
/// Libraries expect heap collections of at least this size (III.E).
const SMALLEST_COLLECTION: usize = 4096;
/// Entries of a symbol table node are at most twice this, children of a group node twice the second (II.A).
const GROUP_LEAF_K: u16 = 4;
const GROUP_INTERNAL_K: u16 = 16;
/// Children of a chunk node are at most twice this; not stored in superblock 0, 32 by default.
const CHUNK_K: usize = 32;
const UNDEFINED: u64 = u64::MAX;

/// Object header messages (IV.A.2).
const DATASPACE: u16 = 0x01;
const DATATYPE: u16 = 0x03;
const FILL_VALUE: u16 = 0x05;
const LAYOUT: u16 = 0x08;
const SYMBOL_TABLE: u16 = 0x11;

/// A file being written.
pub(crate) struct Writer<W> {
    file: W,
    position: u64,
}

/// A variable-length value as records refer to it: count of elements, address of the collection, number in it.
pub(crate) type Reference = [u8; 16];

/// A child of a group: a dataset or, with the addresses of its B-tree and heap, another group.
pub(crate) struct Link {
    name: &'static str,
    header: u64,
    tables: Option<[u64; 2]>,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file at the start of `file`, which is empty.
    pub(crate) fn new(mut file: W) -> io::Result<Self> {
        file.write_all(&[0; SUPERBLOCK_BYTES as usize])?;
        Ok(Self { file, position: SUPERBLOCK_BYTES })
    }

    /// Appends `bytes` at the next multiple of eight and returns their address.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let address = self.position.next_multiple_of(8);
        self.file.write_all(&[0; 8][..(address - self.position) as usize])?;
        self.file.write_all(bytes)?;
        self.position = address + bytes.len() as u64;
        Ok(address)
    }

    /// Stores `bytes`, `count` elements, in a heap collection of their own; none need no room.
    pub(crate) fn variable(&mut self, count: u32, bytes: &[u8]) -> io::Result<Reference> {
        let mut reference = [0; 16];
        if bytes.is_empty() {
            return Ok(reference);
        }
        let used = 32 + bytes.len().next_multiple_of(8);
        let size = used.max(SMALLEST_COLLECTION);
        let mut head = Bytes::default();
        head.raw(b"GCOL\x01\0\0\0").u64(size as u64);
        head.u16(1).u16(1).u32(0).u64(bytes.len() as u64);
        let address = self.append(&head.0)?;
        self.append(bytes)?;
        let mut rest = Bytes::default();
        rest.pad(used - 32 - bytes.len());
        if size - used >= 16 {
            // Object 0 is what is free, its own header included.
            rest.u16(0).u16(0).u32(0).u64((size - used) as u64).pad(size - used - 16);
        } else {
            rest.pad(size - used);
        }
        self.file.write_all(&rest.0)?;
        self.position += rest.0.len() as u64;
        reference[..4].copy_from_slice(&count.to_le_bytes());
        reference[4..12].copy_from_slice(&address.to_le_bytes());
        reference[12..].copy_from_slice(&1_u32.to_le_bytes());
        Ok(reference)
    }

    /// A dataset of `shape` in one piece, the last axis fastest.
    pub(crate) fn array(
        &mut self,
        name: &'static str,
        datatype: &[u8],
        shape: &[usize],
        elements: &[u8],
    ) -> io::Result<Link> {
        let address = self.append(elements)?;
        let mut layout = Bytes::default();
        layout.raw(&[3, 1]).u64(address).u64(elements.len() as u64);
        self.dataset(name, datatype, shape, false, &layout.0)
    }

    /// A dataset of records, each a chunk of its own, that other programs can append to.
    pub(crate) fn records(
        &mut self,
        name: &'static str,
        datatype: &[u8],
        record: usize,
        records: &[u8],
    ) -> io::Result<Link> {
        let count = records.len() / record;
        let first = self.append(records)?;
        let chunk = |index: usize| first + (index * record) as u64;
        let mut children: Vec<(usize, u64)> = (0..count).map(|index| (index, chunk(index))).collect();
        let mut level = 0;
        loop {
            children = self.chunk_nodes(level, &children, record, count)?;
            if children.len() <= 1 {
                break;
            }
            level += 1;
        }
        let root = children.first().map_or(UNDEFINED, |(_, address)| *address);
        let mut layout = Bytes::default();
        layout.raw(&[3, 2, 2]).u64(root).u32(1).u32(record as u32);
        self.dataset(name, datatype, &[count], true, &layout.0)
    }

    /// One level of the B-tree over `children`, given by first record and address (III.A.1).
    fn chunk_nodes(
        &mut self,
        level: u8,
        children: &[(usize, u64)],
        record: usize,
        count: usize,
    ) -> io::Result<Vec<(usize, u64)>> {
        const NODE_BYTES: usize = 24 + 2 * CHUNK_K * 8 + (2 * CHUNK_K + 1) * 24;
        let start = self.position.next_multiple_of(8);
        let groups = children.chunks(2 * CHUNK_K);
        let place = |node: usize| start + (node * NODE_BYTES) as u64;
        let last = groups.len().saturating_sub(1);
        let mut nodes = Vec::with_capacity(groups.len());
        for (node, group) in groups.enumerate() {
            let mut bytes = Bytes::default();
            bytes.raw(b"TREE").raw(&[1, level]).u16(group.len() as u16);
            bytes.u64(if node == 0 { UNDEFINED } else { place(node - 1) });
            bytes.u64(if node == last { UNDEFINED } else { place(node + 1) });
            for &(index, address) in group {
                bytes.u32(record as u32).u32(0).u64(index as u64).u64(0).u64(address);
            }
            match children.get((node + 1) * 2 * CHUNK_K) {
                Some(&(index, _)) => bytes.u32(record as u32).u32(0).u64(index as u64).u64(0),
                // One past the last chunk in every dimension, the bytes of a record being the last one.
                None => bytes.u32(0).u32(0).u64(count as u64).u64(record as u64),
            };
            let unused = NODE_BYTES - bytes.0.len();
            bytes.pad(unused);
            self.append(&bytes.0)?;
            nodes.push((group[0].0, place(node)));
        }
        Ok(nodes)
    }

    fn dataset(
        &mut self,
        name: &'static str,
        datatype: &[u8],
        shape: &[usize],
        endless: bool,
        layout: &[u8],
    ) -> io::Result<Link> {
        let mut dataspace = Bytes::default();
        dataspace.raw(&[1, shape.len() as u8, u8::from(endless), 0, 0, 0, 0, 0]);
        for length in shape {
            dataspace.u64(*length as u64);
        }
        if endless {
            // What one can append to has no largest length.
            dataspace.u64(UNDEFINED);
        }
        // Version 2: space is allocated as it is written, and no fill value is defined.
        let fill = [2, 3, 2, 0];
        let messages = [
            (DATASPACE, dataspace.0.as_slice()),
            (DATATYPE, datatype),
            (FILL_VALUE, fill.as_slice()),
            (LAYOUT, layout),
        ];
        Ok(Link { name, header: self.object_header(&messages)?, tables: None })
    }

    /// A group of `links`, which must be sorted by name and fit one node.
    pub(crate) fn group(&mut self, name: &'static str, links: &[Link]) -> io::Result<Link> {
        let mut names = Bytes::default();
        names.pad(8);
        let mut node = Bytes::default();
        node.raw(b"SNOD\x01\0").u16(links.len() as u16);
        let mut last = 0;
        for link in links {
            last = names.0.len() as u64;
            node.entry(last, link);
            names.raw(link.name.as_bytes()).raw(&[0]);
            names.pad(names.0.len().next_multiple_of(8) - names.0.len());
        }
        node.pad(8 + 2 * usize::from(GROUP_LEAF_K) * 40 - node.0.len());
        let node = self.append(&node.0)?;

        let mut tree = Bytes::default();
        tree.raw(b"TREE\0\0").u16(1).u64(UNDEFINED).u64(UNDEFINED).u64(0).u64(node).u64(last);
        tree.pad(24 + (4 * usize::from(GROUP_INTERNAL_K) + 1) * 8 - tree.0.len());
        let tree = self.append(&tree.0)?;

        let segment = self.append(&names.0)?;
        let mut heap = Bytes::default();
        // 1 marks a list of free blocks that is empty.
        heap.raw(b"HEAP\0\0\0\0").u64(names.0.len() as u64).u64(1).u64(segment);
        let heap = self.append(&heap.0)?;

        let mut table = Bytes::default();
        table.u64(tree).u64(heap);
        let header = self.object_header(&[(SYMBOL_TABLE, &table.0)])?;
        Ok(Link { name, header, tables: Some([tree, heap]) })
    }

    fn object_header(&mut self, messages: &[(u16, &[u8])]) -> io::Result<u64> {
        let mut body = Bytes::default();
        for (kind, message) in messages {
            let size = message.len().next_multiple_of(8);
            body.u16(*kind).u16(size as u16).u32(0).raw(message).pad(size - message.len());
        }
        let mut header = Bytes::default();
        header.raw(&[1, 0]).u16(messages.len() as u16).u32(1).u32(body.0.len() as u32).u32(0).raw(&body.0);
        self.append(&header.0)
    }

    /// Writes the superblock, with `root` as the root group, and hands the file back.
    pub(crate) fn finish(mut self, root: &Link) -> io::Result<W> {
        let mut block = Bytes::default();
        block.raw(b"\x89HDF\r\n\x1a\n").raw(&[0, 0, 0, 0, 0, 8, 8, 0]);
        block.u16(GROUP_LEAF_K).u16(GROUP_INTERNAL_K).u32(0);
        block.u64(0).u64(UNDEFINED).u64(self.position).u64(UNDEFINED);
        block.entry(0, root);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&block.0)?;
        self.file.flush()?;
        Ok(self.file)
    }
}

/// Little-endian bytes.
#[derive(Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn pad(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// A symbol table entry (III.C).
    fn entry(&mut self, name: u64, link: &Link) {
        self.u64(name).u64(link.header);
        match link.tables {
            Some([tree, heap]) => self.u32(1).u32(0).u64(tree).u64(heap),
            None => self.u32(0).u32(0).pad(16),
        };
    }
}
