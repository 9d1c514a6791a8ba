//! Results of real runs of `raki-cloud`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod opened;
#[path = "../../../kspace/tests/peers/mod.rs"]
mod peers;
mod reidentify;

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in `dir` as a person does.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raki-cloud"));
    command.current_dir(dir).env("XDG_CACHE_HOME", dir).args(arguments).output().unwrap()
}
