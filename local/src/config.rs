//! What is read of the environment, once, and handed on.
#![allow(clippy::disallowed_methods, reason = "the one module that reads the environment")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the environment of the caller says.
#[derive(Debug, Clone)]
pub struct Config {
    /// `RAKI_CLOUD_EMULATOR_VENV`: a virtual environment to use instead of the default one.
    pub emulator_venv: Option<PathBuf>,
    /// `RAKI_CLOUD_BIN`: folder of the compiled functions and jobs.
    pub bin_dir: Option<PathBuf>,
    /// `$XDG_CACHE_HOME/raki-cloud` or `$HOME/.cache/raki-cloud`.
    pub cache_dir: PathBuf,
    /// Folder for scratch files.
    pub temp_dir: PathBuf,
    /// Variables that functions and jobs inherit: everything else of the caller's environment stays outside.
    pub inherited: Vec<(String, OsString)>,
    /// `RUST_LOG`, or `info`.
    pub log_filter: String,
    /// Whether `RUST_LOG` was given.
    pub log_stated: bool,
}

/// Where programs and shared libraries lie, how many threads to use, which GPU to use.
const INHERITED: [&str; 6] =
    ["PATH", "LD_LIBRARY_PATH", "RAYON_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "LANG"];

impl Config {
    /// Reads the environment.
    #[must_use]
    pub fn from_env() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let temp_dir = std::env::temp_dir();
        let log_filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
        let cache = path("XDG_CACHE_HOME")
            .or_else(|| path("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| temp_dir.clone());
        Self {
            emulator_venv: path("RAKI_CLOUD_EMULATOR_VENV"),
            bin_dir: path("RAKI_CLOUD_BIN"),
            cache_dir: cache.join("raki-cloud"),
            temp_dir,
            inherited: INHERITED
                .into_iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (name.to_owned(), value)))
                .collect(),
            log_stated: log_filter.is_some(),
            log_filter: log_filter.unwrap_or_else(|| "info".to_owned()),
        }
    }

    /// The root of the source tree this program was built in, if it still runs there.
    #[must_use]
    pub fn workspace_root(&self) -> Option<PathBuf> {
        let exe = std::env::current_exe().ok()?;
        exe.ancestors()
            .find(|dir| dir.join("template.yaml").is_file() && dir.join("local/Cargo.toml").is_file())
            .map(Path::to_path_buf)
    }

    /// The folder that holds the compiled `name`: stated, beside the running program, or one above it, where cargo puts
    /// programs in respect to its test binaries.
    #[must_use]
    pub fn find_bin_dir(&self, name: &str) -> Option<PathBuf> {
        if let Some(dir) = &self.bin_dir {
            return Some(dir.clone());
        }
        let exe = std::env::current_exe().ok()?;
        exe.ancestors().skip(1).take(2).find(|dir| dir.join(name).is_file()).map(Path::to_path_buf)
    }
}
