//! Reconstructs a prepared scan: fills missing lines, transforms, combines, writes.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@reconstruct`] | from a prepared file to images and their manifest |
//! | [`engine`] | the methods: a slice filled, refined, combined |
//! | [`raki`] | networks trained on the calibration lines of a slice |
//! | [`device`] | finds the GPU, or says why not |
//! | [`progress`] | what a caller hears, and how it asks for an end |
//! | [`stopwatch`] | what stages cost |
//! | [`error`] | why a job failed, and with which exit code |
//! | [`config`] | what the environment and the build say |
//! | [`cli`] | the command line of the program |
//!
//! [`reconstruct()`] is the whole job as one call; the program and the command line of `raki-cloud` are thin around it.

pub mod cli;
pub mod config;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
pub mod engine;
pub mod error;
pub mod progress;
pub mod raki;
pub mod reconstruct;
pub mod stopwatch;

pub use error::JobError;
pub use progress::{Progress, Silent};
pub use reconstruct::{Request, reconstruct};
