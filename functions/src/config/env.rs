//! Variables, checked one at a time.
#![expect(clippy::disallowed_methods, reason = "the configuration module of this crate")]

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use store::Location;

/// A variable that is missing or wrong.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {}: expected {accepted}", found.as_ref().map_or("not set".to_owned(), |text| format!("{text:?}")))]
pub struct Error {
    /// Name of the variable.
    pub variable: &'static str,
    /// Its value, if it has one.
    pub found: Option<String>,
    /// What it may be.
    pub accepted: String,
}

// What `main` prints when it returns this: the sentence, not the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// The environment, or a map in a test.
pub(super) struct Env<'a>(pub(super) &'a dyn Fn(&'static str) -> Option<String>);

const BUCKET: &str = "the name of a bucket: 3 to 63 of a-z, 0-9, dot and hyphen";
const QUEUE_URL: &str = "the URL of an SQS queue";
const BATCH: &str = "a name or an ARN of AWS Batch";

impl Env<'_> {
    pub(super) fn read<T>(
        &self,
        variable: &'static str,
        accepted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let found = (self.0)(variable).filter(|text| !text.is_empty());
        found.as_deref().and_then(parse).ok_or_else(|| Error { variable, found, accepted: accepted.to_owned() })
    }

    pub(super) fn bucket(&self, variable: &'static str) -> Result<String> {
        self.read(variable, BUCKET, |text| {
            let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
            ((3..=63).contains(&text.len()) && text.bytes().all(valid)).then(|| text.to_owned())
        })
    }

    pub(super) fn root(&self, variable: &'static str) -> Result<Location> {
        self.bucket(variable).map(Location::bucket)
    }

    pub(super) fn url(&self, variable: &'static str) -> Result<String> {
        self.read(variable, QUEUE_URL, |text| text.starts_with("http").then(|| text.to_owned()))
    }

    pub(super) fn batch(&self, variable: &'static str) -> Result<String> {
        self.read(variable, BATCH, |text| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:/.".contains(&byte)).then(|| text.to_owned())
        })
    }

    pub(super) fn whole<T>(&self, variable: &'static str, range: RangeInclusive<T>) -> Result<T>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let accepted = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(variable, &accepted, |text| text.parse().ok().filter(|number| range.contains(number)))
    }

    pub(super) fn seconds(&self, variable: &'static str, range: RangeInclusive<u64>) -> Result<Duration> {
        self.whole(variable, range).map(Duration::from_secs)
    }
}

pub(super) fn process_environment(name: &'static str) -> Option<String> {
    std::env::var(name).ok()
}
