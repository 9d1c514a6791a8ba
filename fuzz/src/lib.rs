//! What every target does with a file: open it, read every sample, prepare it. Errors are answers; panics, endless loops and memory
//! out of proportion are findings.

use std::io::Write;
use std::path::Path;

use kspace::Result;
use kspace::format::RawScan;
use kspace::prepare::{Options, plan};

/// Prepared bytes beyond which a small input claims too much to be worth the fuzzer's time.
const MOST_PREPARED: u64 = 64 << 20;

/// Puts bytes into a file in memory and hands its path on.
pub fn with_file<T>(bytes: &[u8], ending: &str, then: impl FnOnce(&Path) -> T) -> T {
    let mut file = tempfile::Builder::new().suffix(ending).tempfile_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("room in memory");
    then(file.path())
}

/// Reads all of a scan and prepares it.
pub fn exhaust(scan: &dyn RawScan) {
    for readout in 0..scan.heads().len() {
        if scan.samples(readout).is_err() {
            break;
        }
    }
    if let Ok(plan) = plan(scan, &Options::default())
        && plan.byte_len() < MOST_PREPARED
    {
        let _ = plan.write(scan, std::io::sink(), &mut |_, _| {});
    }
}

/// As [`exhaust`], for what a reader answers.
pub fn exhaust_all(scans: Result<Vec<Box<dyn RawScan>>>) {
    scans.into_iter().flatten().for_each(|scan| exhaust(&*scan));
}
