//! A raw data file in memory, read in place.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::{Complex32, Error, Result};

#[cfg(target_endian = "big")]
compile_error!("samples are borrowed from little-endian files");

/// The mapped file; copies share the map.
#[derive(Clone)]
pub(super) struct Mapped(Arc<Mmap>);

impl Mapped {
    /// Maps a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("the raw data file cannot be opened"))?;
        // SAFETY: the map is read-only. A file that another process shortens meanwhile would fault; raw data files are
        // written once, and the functions map a private copy.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("the raw data file cannot be mapped"))?;
        Ok(Self(Arc::new(map)))
    }

    /// All bytes of the file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The complex samples in `bytes`, whose length is a multiple of their size: borrowed where they lie at a multiple of four
/// bytes, else copied.
pub(super) fn samples(bytes: &[u8]) -> Cow<'_, [Complex32]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(samples) => Cow::Borrowed(samples),
        Err(_) => Cow::Owned(bytes.chunks_exact(size_of::<Complex32>()).map(bytemuck::pod_read_unaligned).collect()),
    }
}
