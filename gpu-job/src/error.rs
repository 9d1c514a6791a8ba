//! Why a job failed, and with which code it ends.

use contract::{Disposition, ExitCode};

/// A job that did not finish. Messages hold nothing that identifies a person.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The data cannot be reconstructed; running again will not change that.
    #[error("{0}")]
    BadData(String),
    /// The command line, the configuration or the machine does not fit the request.
    #[error("{0}")]
    Usage(String),
    /// A service or the operating system refused; running again may well succeed.
    #[error("{0}")]
    Transient(String),
    /// The job was asked to stop.
    #[error("the job was asked to stop before it was done: run it again")]
    Interrupted,
    /// A device refused a computation.
    #[error("the device failed in the middle of a computation: {0}")]
    Device(#[from] candle_core::Error),
    /// A state that cannot be reached.
    #[error("this is a defect of raki-cloud: {0}")]
    Bug(String),
}

impl JobError {
    /// The code the process ends with.
    #[must_use]
    pub const fn exit(&self) -> ExitCode {
        match self {
            Self::BadData(_) => ExitCode::BadData,
            Self::Usage(_) => ExitCode::Usage,
            Self::Transient(_) | Self::Interrupted | Self::Device(_) => ExitCode::Transient,
            Self::Bug(_) => ExitCode::Bug,
        }
    }

    /// A [`JobError::Transient`] that says what was being done.
    pub fn io(what: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Transient(format!("{what}: {source}"))
    }
}

impl From<kspace::Error> for JobError {
    fn from(error: kspace::Error) -> Self {
        match error.disposition() {
            Disposition::Retry => Self::Transient(error.to_string()),
            _ => Self::BadData(error.to_string()),
        }
    }
}

impl From<store::Error> for JobError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Contract(error) => error.into(),
            error if error.is_retryable() => Self::Transient(error.to_string()),
            error => Self::Usage(error.to_string()),
        }
    }
}

impl From<contract::ContractError> for JobError {
    fn from(error: contract::ContractError) -> Self {
        // Records are written by other stages of this software, never by a person.
        Self::Bug(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_of_the_system_is_tried_again_and_bad_data_are_not() {
        let io = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let exit = |error: JobError| error.exit();
        assert_eq!(exit(kspace::Error::io("reading")(io()).into()), ExitCode::Transient);
        assert_eq!(exit(kspace::Error::corrupt("file", 1, 2).into()), ExitCode::BadData);
        assert_eq!(exit(store::Error::Changed { what: "reading" }.into()), ExitCode::Transient);
        assert_eq!(exit(store::Error::NotFound { what: "reading" }.into()), ExitCode::Usage);
        assert_eq!(exit(JobError::io("writing")(io())), ExitCode::Transient);
        assert_eq!(exit(JobError::Interrupted), ExitCode::Transient);
    }
}
