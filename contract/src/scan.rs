//! The name of a scan.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ContractError;

/// Hex digits of a scan id: 64 bits, so that a site with a million scans has a chance of 3e-8 of one collision.
pub const SCAN_ID_LENGTH: usize = 16;

/// The first 16 hex digits of SHA-256 over bucket, key and revision of a raw object.
///
/// Object keys can hold a patient's name; logs, metrics and job names carry this instead.
///
/// ```
/// let scan = contract::ScanId::of_object("raw", "2026-11-23/brain.h5", "v1");
/// assert_eq!(scan.as_str().len(), contract::scan::SCAN_ID_LENGTH);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScanId(String);

impl ScanId {
    /// The id of one revision of a raw object; `revision` is its version id, or its ETag where the bucket has no versions.
    #[must_use]
    pub fn of_object(bucket: &str, key: &str, revision: &str) -> Self {
        Self::of_texts(&[bucket, key, revision])
    }

    /// The id of one of several scans of an upload, by the name that tells it from the others.
    #[must_use]
    pub fn of_part(upload: &Self, name: &str) -> Self {
        Self::of_texts(&[upload.as_str(), name])
    }

    fn of_texts(texts: &[&str]) -> Self {
        Self(hex(&digest_of_texts(texts))[..SCAN_ID_LENGTH].to_owned())
    }

    /// The 16 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 over texts, each with its length in front, which keeps ("a", "bc") and ("ab", "c") apart.
#[must_use]
pub fn digest_of_texts(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

impl fmt::Display for ScanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ScanId {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ScanId {
    type Error = ContractError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = text.len() == SCAN_ID_LENGTH && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text)) } else { Err(ContractError::ScanId(text)) }
    }
}

impl From<ScanId> for String {
    fn from(scan: ScanId) -> Self {
        scan.0
    }
}

/// SHA-256 of a raw object's key: tells two records that they speak of the same file without naming it.
#[must_use]
pub fn key_sha256(bucket: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(bucket.as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    hex(&hash.finalize())
}

/// Lowercase hex digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_stable_across_releases() {
        let scan = ScanId::of_object("raw", "2026-11-23/brain_t2.tar.gz", "3sL4kqtJlcpXroDTDmJ");
        assert_eq!(scan.as_str(), "c24e7075994eddbe");
        assert_eq!(ScanId::of_part(&scan, "t2_tse").as_str(), "29f7d3b53ab1ab90");
    }

    #[test]
    fn id_depends_on_every_part_and_on_where_it_ends() {
        let id = |b, k, r| ScanId::of_object(b, k, r);
        assert_ne!(id("raw", "a", "1"), id("raw", "a", "2"));
        assert_ne!(id("raw", "ab", "c"), id("raw", "a", "bc"));
        assert_ne!(id("rawa", "b", "1"), id("raw", "ab", "1"));
    }

    #[test]
    fn only_sixteen_lowercase_hex_digits_are_an_id() {
        assert!("0123456789abcdef".parse::<ScanId>().is_ok());
        for bad in ["", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdefg", "../../etc/passwd"] {
            assert!(bad.parse::<ScanId>().is_err(), "{bad}");
        }
    }
}
