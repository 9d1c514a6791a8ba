//! Programs of others that tests compare with, where they are installed.

use std::path::PathBuf;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "tests that need Python are switched on by the environment")]
pub(crate) fn python() -> Option<PathBuf> {
    std::env::var_os("RAKI_CLOUD_PYTHON").map(PathBuf::from)
}

/// Whether a program of Debian is there.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--help").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
