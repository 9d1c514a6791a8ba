//! A compiled function as the archive Lambda takes: one executable file named `bootstrap`.

use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{Error, Result};

const EXECUTABLE: u32 = 0o755;

/// The archive of the program at `path`. Stored, not deflated: on one machine reading costs less than inflating.
///
/// # Errors
/// [`Error::Usage`] when the program has not been compiled.
pub fn zip(path: &Path) -> Result<Vec<u8>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut program = File::open(path)
        .map_err(|_| Error::Usage(format!("the compiled function {name:?} was not found: run `make build` first")))?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(EXECUTABLE);
    let packed = archive
        .start_file("bootstrap", options)
        .and_then(|()| io::copy(&mut program, &mut archive).map_err(Into::into))
        .and_then(|_| archive.finish());
    Ok(packed.map_err(|error| Error::io("packing a function")(error.into()))?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_archive_holds_an_executable_bootstrap() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("decompress");
        std::fs::write(&program, b"#!/bin/sh\n").unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(super::zip(&program).unwrap())).unwrap();
        let mut file = archive.by_name("bootstrap").unwrap();
        assert_eq!(file.unix_mode().map(|mode| mode & 0o777), Some(EXECUTABLE));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "#!/bin/sh\n");
        assert!(super::zip(&dir.path().join("submit")).unwrap_err().to_string().contains("make build"));
    }
}
