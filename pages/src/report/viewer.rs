//! The code of the 3-D view, as the build script found it.

include!(concat!(env!("OUT_DIR"), "/viewer.rs"));

/// Whether this build carries the 3-D view.
pub const HAS_VIEWER: bool = VIEWER.is_some();

/// A script in the page.
pub(super) struct Viewer {
    /// Base64 of the gzip of the script.
    pub(super) code: &'static str,
    /// What the content security policy calls the script by.
    pub(super) hash: &'static str,
    /// The licences that come with it.
    pub(super) licences: &'static str,
}

/// The 3-D view, where npm had brought it.
pub(super) fn viewer() -> Option<Viewer> {
    VIEWER.map(|(code, hash, licences)| Viewer { code, hash, licences })
}
