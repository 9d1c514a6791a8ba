//! Packs the 3-D viewer that `make viewer` fetched from npm; without it the report has no 3-D view.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

const SCRIPT: &str = "node_modules/@niivue/niivue/dist/niivue.umd.js";
/// The package has no licence file; this is the text that its repository has.
const LICENCE: &str = "LICENSE-niivue.txt";

#[allow(clippy::disallowed_methods, reason = "cargo tells a build script where to write by the environment")]
fn main() -> Result<(), Failure> {
    let viewer = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // The folder and not the script: cargo takes a missing file for changed and would build everything again each time.
    println!("cargo:rerun-if-changed=viewer");
    let declaration = match fs::read(viewer.join(SCRIPT)) {
        Ok(script) => {
            fs::write(out.join("viewer.txt"), pack(&script)?)?;
            fs::write(out.join("licences.txt"), licences(&viewer)?)?;
            let hash = STANDARD.encode(Sha256::digest(&script));
            format!("Some((include_str!(\"viewer.txt\"), \"sha256-{hash}\", include_str!(\"licences.txt\")))")
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "None".to_owned(),
        Err(error) => return Err(error.into()),
    };
    let code = format!("const VIEWER: Option<(&str, &str, &str)> = {declaration};\n");
    fs::write(out.join("viewer.rs"), code)?;
    Ok(())
}

fn pack(script: &[u8]) -> Result<String, Failure> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(script)?;
    Ok(STANDARD.encode(gzip.finish()?))
}

/// The licences of the viewer and of the packages that are bundled in it.
fn licences(viewer: &Path) -> Result<String, Failure> {
    let mut out = format!("@niivue/niivue\n\n{}", fs::read_to_string(viewer.join(LICENCE))?);
    let mut packages = Vec::new();
    for folder in subfolders(&viewer.join("node_modules"))? {
        let scope = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('@'));
        packages.extend(if scope { subfolders(&folder)? } else { vec![folder] });
    }
    packages.sort();
    for package in packages {
        let mut files: Vec<PathBuf> = fs::read_dir(&package)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            path.is_file() && (name.starts_with("license") || name.starts_with("licence"))
        });
        files.sort();
        for file in files {
            let name = package.strip_prefix(viewer.join("node_modules"))?.display();
            write!(out, "\n\n{name}\n\n{}", fs::read_to_string(file)?.trim())?;
        }
    }
    Ok(out)
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            found.push(path);
        }
    }
    Ok(found)
}
