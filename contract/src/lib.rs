//! What the stages of raki-cloud say to each other.
//!
//! Every record that crosses a process boundary is defined here once, with serde and nothing else, so
//! that a function, the GPU job and the command line cannot disagree about it. One golden JSON of each
//! lies under `events/contract/` and is compared byte for byte by the tests.
//!
//! | module | what it holds |
//! |---|---|
//! | [`scan`] | [`ScanId`], the only name of a scan in logs, metrics and job names |
//! | [`keys`] | where every object lies: prepared file, results, status, claims, quarantine |
//! | [`prepared`] | the schema of the prepared file between preparation and reconstruction |
//! | [`job`] | [`JobSpec`], what a reconstruction job is asked to do |
//! | [`manifest`] | [`Manifest`], written last beside the results, the provenance of an image |
//! | [`status`] | [`Status`], the history of one scan |
//! | [`quarantine`] | [`Quarantine`], why a scan was refused and how to run it again |
//! | [`names`] | choices with a name each, and the refusal of other names |
//! | [`exit`] | [`ExitCode`], the one table of process exit codes and what happens next |
//!
//! Records carry a `schema` number. A reader refuses a number it does not know
//! ([`check_schema`]); a field added with a default does not raise it.

pub mod exit;
pub mod images;
pub mod job;
pub mod keys;
pub mod manifest;
pub mod names;
pub mod prepared;
pub mod quarantine;
pub mod scan;
pub mod status;

pub use exit::{Disposition, ExitCode};
pub use images::ImageOptions;
pub use job::{DevicePreference, JobSpec, Method, Refine};
pub use keys::{Naming, ScanKeys};
pub use manifest::Manifest;
pub use prepared::PreparedMeta;
pub use quarantine::Quarantine;
pub use scan::ScanId;
pub use status::{Stage, State, Status};

/// A record or a name that does not follow the contract.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// A record of a newer or unknown layout.
    #[error("{record} has schema {found}, this version reads schema {expected}: use the same release for all stages")]
    Schema {
        /// Which record.
        record: &'static str,
        /// The number in the record.
        found: u32,
        /// The number this build reads and writes.
        expected: u32,
    },
    /// A record that is not JSON of the expected form.
    #[error("{record} cannot be read: {source}")]
    Json {
        /// Which record.
        record: &'static str,
        /// Where the parser stopped.
        source: serde_json::Error,
    },
    /// A prepared file without a metadata entry that the schema requires.
    #[error("prepared file has no `{0}` in its metadata: prepare the raw file again with this release")]
    MissingMetadata(&'static str),
    /// Text that is not a scan id.
    #[error("scan id must be 16 lowercase hex digits, found {0:?}")]
    ScanId(String),
}

/// Refuses a record whose `schema` is not the one this build writes.
///
/// # Errors
/// [`ContractError::Schema`] with both numbers.
pub fn check_schema(record: &'static str, found: u32, expected: u32) -> Result<(), ContractError> {
    if found == expected {
        return Ok(());
    }
    Err(ContractError::Schema { record, found, expected })
}

/// A record with a schema number, read and written as JSON.
pub trait Record: serde::Serialize + serde::de::DeserializeOwned {
    /// Name used in errors.
    const NAME: &'static str;
    /// The schema number this build reads and writes.
    const SCHEMA: u32;

    /// The number found in this record.
    fn schema(&self) -> u32;

    /// Reads a record and refuses an unknown schema.
    ///
    /// # Errors
    /// [`ContractError::Json`] or [`ContractError::Schema`].
    fn from_json(bytes: &[u8]) -> Result<Self, ContractError> {
        let record: Self =
            serde_json::from_slice(bytes).map_err(|source| ContractError::Json { record: Self::NAME, source })?;
        check_schema(Self::NAME, record.schema(), Self::SCHEMA)?;
        Ok(record)
    }

    /// The record as indented JSON with a final newline, fields in declaration order.
    ///
    /// # Errors
    /// [`ContractError::Json`] when a number in it is not finite.
    fn to_json(&self) -> Result<Vec<u8>, ContractError> {
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|source| ContractError::Json { record: Self::NAME, source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
