//! One error type and the exit code each error ends a command with.

use contract::{Disposition, ExitCode};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command or the local stack failed. One sentence, without file names or object keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, the configuration or the machine is not as it must be.
    #[error("{0}")]
    Usage(String),
    /// The data cannot be read, prepared or reconstructed.
    #[error(transparent)]
    Data(#[from] kspace::Error),
    /// The reconstruction failed.
    #[error("{message}")]
    Reconstruction {
        /// What was found, expected and to be done.
        message: String,
        /// What the job would exit with.
        exit: ExitCode,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A service of the local stack refused or did not answer.
    #[error("{service} failed to {action}: {message}")]
    Service {
        /// Which service.
        service: &'static str,
        /// What was asked of it.
        action: &'static str,
        /// Its answer.
        message: String,
    },
    /// Something took longer than it may.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// A template that cannot be used.
    #[error("template: {0}")]
    Template(String),
    /// A record that does not follow the contract.
    #[error(transparent)]
    Contract(#[from] contract::ContractError),
    /// The scan ended without images.
    #[error("{0}")]
    Refused(String),
    /// The question was answered, and the answer is no.
    #[error("{0}")]
    Answered(String),
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] that says what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An [`Error::Service`] out of an SDK error, with the whole chain of causes.
    pub(crate) fn service<E: std::error::Error>(service: &'static str, action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| {
            let mut message = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                message = format!("{message}: {inner}");
                cause = inner.source();
            }
            Self::Service { service, action, message }
        }
    }

    /// The code a command ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::Usage,
            Self::Reconstruction { exit, .. } => *exit,
            Self::Refused(_) | Self::Answered(_) | Self::Contract(_) => ExitCode::BadData,
            // A file on a disk does not go on arriving: cut short is bad data here.
            Self::Data(kspace::Error::Truncated { .. }) => ExitCode::BadData,
            Self::Data(error) => match error.disposition() {
                Disposition::Retry => ExitCode::Transient,
                _ => ExitCode::BadData,
            },
            Self::Template(_) => ExitCode::Bug,
            Self::Io { .. } | Self::Service { .. } | Self::Timeout { .. } | Self::Interrupted => ExitCode::Transient,
        }
    }
}
