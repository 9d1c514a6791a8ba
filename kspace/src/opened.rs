//! The scans of an upload: the files that were extracted of it, opened and sorted out.

use crate::archive::{Extracted, RawFile, Refused};
use crate::format::measurements::{Measurement, Source, assemble};

/// What is in an upload.
pub struct Opened {
    /// Its scans, in the order of the files.
    pub scans: Vec<Measurement>,
    /// Files that are not read: those that do not open, then those that could not be extracted.
    pub refused: Vec<Refused>,
    /// The files that the scans are of.
    pub files: Vec<RawFile>,
}

impl Opened {
    /// Opens what was extracted. The folder with the files is the caller's, who keeps it as long as the scans.
    #[must_use]
    pub fn of(extracted: Extracted) -> Self {
        let Extracted { files, refused, .. } = extracted;
        let sources: Vec<_> = files.iter().map(|file| Source { name: &file.name, path: &file.path }).collect();
        let found = assemble(&sources);
        let unread = found.refused.into_iter().map(|(number, error)| match files.get(number) {
            Some(file) => Refused { name: file.name.clone(), error: file.explain(error) },
            None => Refused { name: String::new(), error },
        });
        Self { scans: found.scans, refused: unread.chain(refused).collect(), files }
    }

    /// Names of the scans, then of the files that are not read.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let scans = self.scans.iter().map(|scan| scan.name.as_str());
        scans.chain(self.refused.iter().map(|refused| refused.name.as_str()))
    }
}
