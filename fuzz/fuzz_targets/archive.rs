//! Archives of every kind, one in another, and what is in them.
#![no_main]

use kspace::archive::{Limits, extract};
use kspace::format::measurements::{Source, assemble};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_output_bytes: 8 << 20, max_ratio: 50, max_entries: 100, ..Limits::default() };
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let Ok(extracted) = extract(bytes, folder.path(), &limits) else { return };
    let sources: Vec<_> = extracted.files.iter().map(|file| Source { name: &file.name, path: &file.path }).collect();
    assemble(&sources).scans.iter().for_each(|found| fuzz::exhaust(&*found.scan));
});
