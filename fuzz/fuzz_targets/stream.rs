//! ISMRMRD streams.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file(bytes, ".mrd", |path| fuzz::exhaust_all(kspace::format::open_all(path)));
});
