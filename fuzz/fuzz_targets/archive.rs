//! Archives of every kind.
#![no_main]

use kspace::archive::{Limits, extract};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_output_bytes: 8 << 20, max_ratio: 50, max_entries: 100, deadline: None };
    let mut file = tempfile::tempfile_in("/dev/shm").expect("a file in memory");
    let _ = extract(bytes, &mut file, &limits);
});
