//! Objects, on S3 and in plain folders, behind one interface.
//!
//! | module | what it does |
//! |---|---|
//! | [`location`] | [`Location`], an `s3://` URL or a path |
//! | [`config`] | SDK configuration and the S3 client, the only place that reads the environment |
//! | [`object`] | what is known of an object, and on which condition one is written |
//! | [`ports`] | one trait per verb, so that callers can be tested without a store |
//! | [`store`](mod@store) | [`Store`]: head, get, put and the start of streams |
//! | [`read`] | streams and ranges, for blocking code |
//! | [`write`] | streamed writes: multipart uploads, temporary files |
//! | [`state`] | records of the state bucket: status, quarantine, claims |
//! | [`error`] | [`Error`], which says whether trying again helps |
//!
//! Nothing here logs or puts an object's key or path into an error: they can hold a patient's name.
//!
//! A folder keeps bytes only: neither user metadata nor a content type. Conditional writes to folders are safe between
//! processes of one machine, not between machines that share a file system.

pub mod config;
mod disk;
pub mod error;
pub mod location;
pub mod object;
pub mod ports;
pub mod read;
mod s3;
pub mod state;
pub mod store;
pub mod write;

pub use config::aws_config;
pub use error::{Error, Result};
pub use location::Location;
pub use object::{Condition, Object, ObjectInfo, PutOptions, PutOutcome};
pub use read::{RangeSource, Reader, Source};
pub use store::Store;
pub use write::Writer;
