//! Siemens raw data.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file(bytes, ".dat", |path| fuzz::exhaust_all(kspace::format::open_all(path)));
});
