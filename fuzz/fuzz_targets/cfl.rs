//! BART arrays: the header up to the first zero byte, the samples after it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let path = folder.path().join("0.hdr");
    std::fs::write(&path, &bytes[..end]).expect("room in memory");
    std::fs::write(path.with_extension("cfl"), bytes.get(end + 1..).unwrap_or_default()).expect("room in memory");
    fuzz::exhaust_all(kspace::format::open_all(&path));
});
