//! Where an object lies.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::Error;

const SCHEME: &str = "s3://";

/// An object or a prefix: in a bucket or in a folder. Keys are literal: nothing in them is percent-decoded.
///
/// [`fmt::Display`] gives the URL or path, for records and command lines; [`fmt::Debug`] leaves the name out, so that a
/// log line cannot tell it.
///
/// ```
/// let results = store::Location::parse("s3://results/2026-11-23/")?;
/// assert_eq!(results.join("brain t2/manifest.json").to_string(), "s3://results/2026-11-23/brain t2/manifest.json");
/// # Ok::<(), store::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// In a bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key, or a prefix; empty for the bucket itself.
        key: String,
    },
    /// On a disk.
    Path(PathBuf),
}

impl Location {
    /// Reads `s3://bucket/key`, or takes the text as a path.
    ///
    /// # Errors
    /// [`Error::Location`] for empty text, a bucket without a name, or a URL of another scheme.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(rest) = text.strip_prefix(SCHEME) {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(Error::Location("the bucket has no name"));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() });
        }
        if text.is_empty() {
            return Err(Error::Location("it is empty"));
        }
        if text.contains("://") {
            return Err(Error::Location("no other scheme than s3:// is known"));
        }
        Ok(Self::Path(PathBuf::from(text)))
    }

    /// A bucket.
    pub fn bucket(name: impl Into<String>) -> Self {
        Self::S3 { bucket: name.into(), key: String::new() }
    }

    /// The object or prefix `below` this one. On a disk, parts that would leave the folder (`/`, `..`) are left out; in
    /// a bucket every key is literal.
    #[must_use]
    pub fn join(&self, below: &str) -> Self {
        match self {
            Self::S3 { bucket, key } => {
                let gap = if key.is_empty() || key.ends_with('/') { "" } else { "/" };
                Self::S3 { bucket: bucket.clone(), key: format!("{key}{gap}{below}") }
            }
            Self::Path(path) => {
                let inside = Path::new(below).components().filter(|part| matches!(part, Component::Normal(_)));
                Self::Path(path.join(inside.collect::<PathBuf>()))
            }
        }
    }

    /// Whether this is in a bucket.
    #[must_use]
    pub const fn is_s3(&self) -> bool {
        matches!(self, Self::S3 { .. })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "{SCHEME}{bucket}/{key}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "Location({SCHEME}{bucket}/… {} bytes)", key.len()),
            Self::Path(_) => write!(f, "Location(path)"),
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_and_paths_are_told_apart() -> Result<(), Error> {
        let parsed = Location::parse("s3://raw/a b/köpf+1.h5")?;
        assert_eq!(parsed, Location::S3 { bucket: "raw".into(), key: "a b/köpf+1.h5".into() });
        assert_eq!(Location::parse("s3://raw")?, Location::bucket("raw"));
        assert_eq!(Location::parse("out/a")?, Location::Path("out/a".into()));
        for bad in ["", "s3://", "s3:///key", "https://example.org/a", "file:///a"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_joined_path_stays_inside_its_folder() {
        let folder = Location::Path("/out".into());
        for below in ["../../etc/passwd", "/etc/passwd", "./etc/../passwd"] {
            let Location::Path(joined) = folder.join(below) else { panic!("a path stays a path") };
            assert!(joined.starts_with("/out") && joined.components().all(|c| c != Component::ParentDir), "{below}");
        }
        assert_eq!(folder.join("a/b.h5"), Location::Path("/out/a/b.h5".into()));
    }

    #[test]
    fn debug_tells_no_name() {
        let shown = format!("{:?} {:?}", Location::bucket("raw").join("Meier^Anna.h5"), Location::Path("Meier".into()));
        assert!(!shown.contains("Meier"), "{shown}");
    }

    proptest! {
        #[test]
        fn text_form_parses_back(bucket in "[a-z0-9.-]{3,20}", key in "[ -~äöüÄÖÜß+%?#&/]{0,40}") {
            let location = Location::S3 { bucket, key };
            prop_assert_eq!(Location::parse(&location.to_string()).ok(), Some(location));
        }

        #[test]
        fn joining_twice_is_joining_once(first in "[a-zäöü+ ]{1,12}", second in "[a-zäöü+ ]{1,12}") {
            for root in [Location::bucket("raw"), Location::Path("/out".into())] {
                prop_assert_eq!(root.join(&first).join(&second), root.join(&format!("{first}/{second}")));
            }
        }
    }
}
