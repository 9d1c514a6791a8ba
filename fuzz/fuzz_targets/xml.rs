//! The ISMRMRD XML header.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = kspace::format::xml::parse(text);
});
