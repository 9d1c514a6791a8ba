//! One error type that says whether trying again helps.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use contract::Disposition;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an object could not be read or written. Messages hold no key and no path, and no text of the service, since that
/// quotes keys: the service's error code and request id tell the same without a name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object does not exist.
    #[error("{what}: there is no such object")]
    NotFound {
        /// What was being done.
        what: &'static str,
    },
    /// The object was replaced while it was read; what was read so far belongs to the old one.
    #[error("{what}: the object was replaced meanwhile")]
    Changed {
        /// What was being done.
        what: &'static str,
    },
    /// The service or the system did not answer, or asked to come back later.
    #[error("{what}: {cause}: it may work on another try")]
    Retryable {
        /// What was being done.
        what: &'static str,
        /// Error code, status and request id.
        cause: String,
    },
    /// The request was refused and will be again.
    #[error("{what}: {cause}: the name, the permission or the configuration has to change")]
    Final {
        /// What was being done.
        what: &'static str,
        /// Error code, status and request id.
        cause: String,
    },
    /// Text that is not a location.
    #[error("a location is a path or s3://bucket/key: {0}")]
    Location(&'static str),
    /// A record that does not follow the contract.
    #[error(transparent)]
    Contract(#[from] contract::ContractError),
}

impl Error {
    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Retryable { .. })
    }

    /// What happens next with the message or the job that met this error.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        if self.is_retryable() { Disposition::Retry } else { Disposition::Fatal }
    }

    pub(crate) fn io(what: &'static str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, Interrupted, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
            ReadOnlyFilesystem, TimedOut, WouldBlock,
        };
        match error.kind() {
            NotFound => Self::NotFound { what },
            AlreadyExists | InvalidInput | IsADirectory | NotADirectory | PermissionDenied | ReadOnlyFilesystem => {
                Self::Final { what, cause: error.to_string() }
            }
            Interrupted | TimedOut | WouldBlock => Self::Retryable { what, cause: error.to_string() },
            // A full or failing disk is somebody's to mend, but the data are fine.
            _ => Self::Retryable { what, cause: error.to_string() },
        }
    }

    pub(crate) fn task(what: &'static str) -> Self {
        Self::Retryable { what, cause: "the transfer was cancelled".to_owned() }
    }
}

/// The answers of a service that mean "another try may succeed".
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const RETRYABLE_CODES: [&str; 9] = [
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ConditionalRequestConflict",
    "OperationAborted",
    "ExpiredToken",
];

/// What S3 answered, reduced to what a program decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 404: no such object.
    Missing,
    /// 412: the condition does not hold. Also 404 on a conditional write.
    Precondition,
    /// 409: a write of somebody else was under way.
    Busy,
    /// Anything else.
    Other,
}

pub(crate) fn answer<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Answer {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (status, error.code()) {
        (_, Some("NoSuchBucket")) => Answer::Other,
        (Some(404), _) => Answer::Missing,
        (Some(412), _) => Answer::Precondition,
        (Some(409), _) => Answer::Busy,
        _ => Answer::Other,
    }
}

/// Sorts an error of the SDK into retryable and final and keeps only what names nobody.
pub(crate) fn sdk<E: ProvideErrorMetadata>(what: &'static str, error: &SdkError<E>) -> Error {
    let status = error.raw_response().map(|response| response.status().as_u16());
    if status == Some(412) {
        return Error::Changed { what };
    }
    if answer(error) == Answer::Missing {
        return Error::NotFound { what };
    }
    let (retryable, cause) = match error {
        SdkError::TimeoutError(_) => (true, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) => (true, format!("no connection{}", root(failure.as_connector_error()))),
        SdkError::ResponseError(_) => (true, "an answer that could not be read".to_owned()),
        SdkError::ConstructionFailure(_) => (false, "the request could not be built".to_owned()),
        _ => {
            let code = error.code().unwrap_or("unknown error");
            let retryable = RETRYABLE_CODES.contains(&code) || status.is_some_and(|s| s >= 500 || s == 429);
            (retryable, code.to_owned())
        }
    };
    let status = status.map(|s| format!(", status {s}")).unwrap_or_default();
    let request = error.request_id().map(|id| format!(", request {id}")).unwrap_or_default();
    let cause = format!("{cause}{status}{request}");
    if retryable { Error::Retryable { what, cause } } else { Error::Final { what, cause } }
}

/// The innermost cause: the outer ones only repeat that sending failed.
fn root<E: std::error::Error>(error: Option<&E>) -> String {
    let mut inner: Option<&dyn std::error::Error> = error.and_then(std::error::Error::source);
    let mut text = String::new();
    while let Some(error) = inner {
        text = format!(" ({error})");
        inner = error.source();
    }
    text
}
