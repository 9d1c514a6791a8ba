//! One error type that answers what happens next.

use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_batch::operation::RequestId;
use contract::{Disposition, ExitCode};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a message could not be dealt with. No message names a person, a key or a path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// The object store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The data.
    #[error(transparent)]
    Data(#[from] kspace::Error),
    /// A record of the contract.
    #[error(transparent)]
    Contract(#[from] contract::ContractError),
    /// A service refused or did not answer.
    #[error("{what}: {cause}")]
    Service {
        /// What was being done.
        what: &'static str,
        /// Error code, status and request id.
        cause: String,
        /// Whether another try may succeed.
        retryable: bool,
    },
    /// An event that is not of the expected form.
    #[error("the event cannot be read: {0}")]
    Event(String),
    /// The function would be stopped before it is done.
    #[error("the time of this function is used up")]
    OutOfTime,
    /// The unpacked file does not fit.
    #[error("the temporary disk is full")]
    NoSpace,
    /// The object ends early and may still be growing.
    #[error("the object is not complete yet")]
    Incomplete(std::time::Duration),
    /// Somebody else is at it; what they do is known soon.
    #[error("{0}")]
    Busy(&'static str),
    /// A defect of this software.
    #[error("{0}: this is a defect, please report it")]
    Bug(&'static str),
}

impl Error {
    /// What happens next with the message.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Store(error) => error.disposition(),
            Self::Data(error) => error.disposition(),
            Self::Service { retryable, .. } => {
                if *retryable {
                    Disposition::Retry
                } else {
                    Disposition::Fatal
                }
            }
            Self::OutOfTime | Self::NoSpace | Self::Incomplete(_) | Self::Busy(_) => Disposition::Retry,
            Self::Config(_) | Self::Contract(_) | Self::Event(_) | Self::Bug(_) => Disposition::Fatal,
        }
    }

    /// How a job ends that met this error.
    #[must_use]
    pub const fn exit(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Event(_) => ExitCode::Usage,
            _ => match self.disposition() {
                Disposition::Done => ExitCode::Done,
                Disposition::Retry => ExitCode::Transient,
                Disposition::Reject => ExitCode::BadData,
                Disposition::Fatal => ExitCode::Bug,
            },
        }
    }

    /// Sorts an error of the SDK into retryable and final. The service's text is left out: it can quote names.
    pub(crate) fn service<E: ProvideErrorMetadata>(what: &'static str, error: &SdkError<E>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().unwrap_or(match error {
            SdkError::TimeoutError(_) => "no answer in time",
            SdkError::DispatchFailure(_) => "no connection",
            SdkError::ResponseError(_) => "an answer that could not be read",
            SdkError::ConstructionFailure(_) => "the request could not be built",
            _ => "unknown error",
        });
        let retryable = match error {
            SdkError::ConstructionFailure(_) => false,
            SdkError::ServiceError(_) => {
                status.is_none_or(|s| s >= 500 || s == 429)
                    || code.contains("Throttl")
                    || code.contains("TooManyRequests")
            }
            _ => true,
        };
        let status = status.map(|s| format!(", status {s}")).unwrap_or_default();
        let request = error.request_id().map(|id| format!(", request {id}")).unwrap_or_default();
        Self::Service { what, cause: format!("{code}{status}{request}"), retryable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_job_ends_with_the_code_that_the_retry_strategy_knows() {
        let cut = kspace::Error::Truncated { what: "the archive".into(), found: 1, expected: 2 };
        let radial = kspace::Error::unsupported("a radial trajectory", "only Cartesian scans are reconstructed");
        let gone = store::Error::Retryable { what: "reading an object", cause: "SlowDown".into() };
        let forbidden = store::Error::Final { what: "reading an object", cause: "AccessDenied".into() };
        for (error, exit) in [
            (Error::Data(cut), ExitCode::Transient),
            (Error::Data(radial), ExitCode::BadData),
            (Error::Store(gone), ExitCode::Transient),
            (Error::Store(forbidden), ExitCode::Bug),
            (Error::OutOfTime, ExitCode::Transient),
            (Error::Event("no bucket".into()), ExitCode::Usage),
        ] {
            assert_eq!(error.exit(), exit, "{error}");
        }
    }
}
