//! Tests of the job as its users see it: the networks against their definition, filled k-space, whole jobs, the program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod definition;
mod filling;
mod gradients;
mod jobs;
mod lessons;
mod markers;
#[path = "../../../kspace/tests/placed/mod.rs"]
mod placed;
mod places;
mod program;
mod scans;
mod separate;
#[path = "../../../kspace/tests/twix/writer.rs"]
#[allow(dead_code, reason = "tests of the reader write more")]
mod twix;
mod undersampled;
