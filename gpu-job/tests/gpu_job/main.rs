//! Tests of the job as its users see it: the networks against their definition, filled k-space, whole jobs, the program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod definition;
mod filling;
mod gradients;
mod groups;
mod imaging;
mod jobs;
mod lessons;
mod markers;
#[path = "../../../kspace/tests/placed/mod.rs"]
mod placed;
mod places;
mod products;
mod program;
mod scans;
mod separate;
#[path = "../../../kspace/tests/twix/writer.rs"]
#[allow(dead_code, reason = "tests of the reader write more")]
mod twix;
mod undersampled;

/// The GPU. Where there is none, or no CUDA in the build, it says so and tests of it are skipped.
fn cuda() -> Option<&'static dyn gpu_job::raki::Backend> {
    match gpu_job::device::choose(contract::DevicePreference::Cuda) {
        Ok(chosen) => Some(chosen.backend),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}
