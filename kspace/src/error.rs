//! One error type: what was found, what was expected, what to do.

use contract::Disposition;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why data could not be read, prepared or reconstructed. Every message is one sentence a physicist understands
/// and holds nothing that identifies a person: no file name, no header text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system or a service refused; the data may be fine.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The bytes are not what the format requires.
    #[error("{what}: found {found}, expected {expected}")]
    Corrupt {
        /// Which part, with its offset where that helps.
        what: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The file ends early. The rest may still be on its way.
    #[error("{what} ends after {found} bytes, at least {expected} were expected: the upload may be incomplete")]
    Truncated {
        /// Which part.
        what: String,
        /// Length found.
        found: u64,
        /// Length needed.
        expected: u64,
    },
    /// Valid data of a kind that is not reconstructed.
    #[error("{what}: {advice}")]
    Unsupported {
        /// What was found.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// A safety limit was passed.
    #[error("{what} is {found}, the limit is {limit}")]
    Limit {
        /// Which quantity.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The limit in force.
        limit: u64,
    },
    /// A record of the contract could not be read.
    #[error(transparent)]
    Contract(#[from] contract::ContractError),
}

impl Error {
    /// An [`Error::Io`] that says what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An [`Error::Corrupt`].
    pub fn corrupt(what: impl Into<String>, found: impl ToString, expected: impl ToString) -> Self {
        Self::Corrupt { what: what.into(), found: found.to_string(), expected: expected.to_string() }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), advice: advice.into() }
    }

    /// The error of a file that came whole, out of an archive: nothing more of it is on its way, so an early end is damage.
    #[must_use]
    pub fn settled(self) -> Self {
        match self {
            Self::Truncated { what, found, expected } => Self::Corrupt {
                what,
                found: format!("{found} bytes in an archive that is whole"),
                expected: format!("at least {expected}: export the scan again"),
            },
            error => error,
        }
    }

    /// What happens next: trouble of the system is tried again, and so is a file that may still be arriving;
    /// everything else will not mend itself.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } | Self::Truncated { .. } => Disposition::Retry,
            Self::Corrupt { .. } | Self::Unsupported { .. } | Self::Limit { .. } | Self::Contract(_) => {
                Disposition::Reject
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_early_in_a_whole_archive_will_not_grow() {
        let cut = || Error::Truncated { what: "the HDF5 file".to_owned(), found: 10, expected: 20 };
        assert_eq!(cut().disposition(), Disposition::Retry);
        let settled = cut().settled();
        assert_eq!(settled.disposition(), Disposition::Reject);
        let text = settled.to_string();
        assert!(text.contains("the HDF5 file") && text.contains("10") && text.contains("20"), "{text}");
        let io = Error::io("reading")(std::io::ErrorKind::NotFound.into()).settled();
        assert_eq!(io.disposition(), Disposition::Retry, "trouble of the system stays what it is");
    }
}
