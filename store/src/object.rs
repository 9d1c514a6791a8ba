//! What is known of an object, and on which condition one is written.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;

/// What a `HEAD` tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectInfo {
    /// Length in bytes.
    pub len: u64,
    /// ETag without quotes; in a folder it changes with every write as well.
    pub etag: String,
    /// Version id, where the bucket keeps versions.
    pub version: Option<String>,
    /// User metadata with lowercase names; always empty in a folder.
    pub metadata: HashMap<String, String>,
    /// When it was written.
    pub modified: Option<SystemTime>,
}

impl ObjectInfo {
    /// What a scan id is made of: the version id, or the ETag where there are no versions.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.version.as_deref().unwrap_or(&self.etag)
    }
}

/// An object with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// What is known of it; the ETag is the one of these bytes.
    pub info: ObjectInfo,
}

/// When a write may take effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// Only if there is no object (`If-None-Match: *`).
    IfAbsent,
    /// Only if the object still has this ETag (`If-Match`).
    IfMatch(String),
}

impl Condition {
    /// The write that replaces what was seen and nothing else: `None` stands for "there was no object".
    #[must_use]
    pub fn unchanged(seen: Option<&ObjectInfo>) -> Self {
        seen.map_or(Self::IfAbsent, |info| Self::IfMatch(info.etag.clone()))
    }
}

/// How an object is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// User metadata: lowercase names, ASCII values. A folder does not keep it.
    pub metadata: HashMap<String, String>,
    /// When the write may take effect.
    pub condition: Condition,
    /// Media type. A folder does not keep it.
    pub content_type: Option<String>,
}

impl PutOptions {
    /// Options of a JSON record.
    #[must_use]
    pub fn json(condition: Condition) -> Self {
        Self { metadata: HashMap::new(), condition, content_type: Some("application/json".to_owned()) }
    }
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was written.
    Written {
        /// Its ETag, without quotes.
        etag: String,
    },
    /// The condition did not hold: somebody else wrote. Read again and decide again. A write that succeeded, whose
    /// answer was lost and that the SDK repeated, ends here as well.
    Conflict,
}

impl PutOutcome {
    /// Whether the object was written.
    #[must_use]
    pub const fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }
}
