//! The whole stack on one machine, and the commands for single files.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | what is read of the environment |
//! | [`emulator`] | the emulator's packages and its process |
//! | [`template`] | `template.yaml`: its JSON form, the values of its expressions |
//! | [`deploy`] | packages the functions and creates the stack |
//! | [`shim`] | Batch, which runs the real jobs, and `RefreshCache` |
//! | [`stack`] | all of that, started and ended together |
//! | [`remote`] | a running stack seen through its services: upload, status, results |
//! | [`chain`] | follows one scan and measures each stage |
//! | [`compare`] | methods side by side on one file |
//! | [`files`] | inspect, prepare, reconstruct and phantom, without a stack |
//! | [`inspect`] | what is in one scan, what it takes, and a picture of its sampling |
//! | [`reidentify`](mod@reidentify) | copies of DICOM results that name their patients |
//! | [`endpoints`] | makes the SDK clients |
//! | [`error`] | the one error type and its exit codes |
//!
//! A stack is one value: [`Stack::start`] starts it, dropping it ends every process.
//!
//! ```no_run
//! # async fn demo() -> local::Result<()> {
//! use local::{Options, Outcome, Stack, config::Config};
//!
//! let stack = Stack::start(Options::new(Config::from_env())).await?;
//! let uploaded = stack.upload("brain.tar.gz".as_ref(), "2026-11-23/brain.tar.gz", None).await?;
//! let outcome = stack.wait(&uploaded.scan, std::time::Duration::from_secs(60)).await?;
//! assert!(matches!(outcome, Outcome::Reconstructed(_)));
//! # Ok(())
//! # }
//! ```

pub mod chain;
pub mod compare;
pub mod config;
pub mod deploy;
pub mod emulator;
pub mod endpoints;
pub mod error;
pub mod files;
pub mod inspect;
pub mod reidentify;
pub mod remote;
pub mod shim;
pub mod stack;
pub mod template;

pub use error::{Error, Result};
pub use remote::{Depth, Outcome, Remote, Uploaded};
pub use stack::{Options, Stack};
