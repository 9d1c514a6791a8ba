//! The virtual environment the emulator runs in, made on first use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::config::Config;
use crate::{Error, Result};

/// What is installed, with pinned versions.
pub const REQUIREMENTS: &str = include_str!("../../requirements.txt");
/// Written last, with the requirements it was made from.
const STAMP: &str = ".raki-cloud-requirements";

/// A virtual environment with the pinned emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venv {
    root: PathBuf,
}

impl Venv {
    /// The interpreter.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.root.join("bin/python")
    }

    /// Where the environment is looked for: stated, `.venv/emulator` of the source tree, or the user's cache.
    #[must_use]
    pub fn location(config: &Config) -> PathBuf {
        config.emulator_venv.clone().unwrap_or_else(|| {
            config
                .workspace_root()
                .map_or_else(|| config.cache_dir.join("emulator"), |root| root.join(".venv/emulator"))
        })
    }

    /// Finds the environment or makes it with `python3 -m venv` and `pip install`. Two programs that start at once make
    /// it once. A stated environment without the stamp is used as it is when it has the pinned emulator.
    ///
    /// # Errors
    /// [`Error::Usage`] without Python 3 or its `venv` module, or when the packages cannot be installed.
    pub async fn ensure(config: &Config) -> Result<Self> {
        let root = Self::location(config);
        let venv = Self { root: root.clone() };
        if venv.is_ready().await {
            return Ok(venv);
        }
        std::fs::create_dir_all(&root).map_err(Error::io("making the emulator's folder"))?;
        let lock = lock(root.with_extension("lock")).await?;
        if !venv.is_ready().await {
            venv.make().await?;
        }
        drop(lock);
        Ok(venv)
    }

    async fn is_ready(&self) -> bool {
        if std::fs::read_to_string(self.root.join(STAMP)).is_ok_and(|stamp| stamp == REQUIREMENTS) {
            return self.python().exists();
        }
        self.python().exists() && self.has_pinned_packages().await
    }

    async fn has_pinned_packages(&self) -> bool {
        let script = "import sys, importlib.metadata as m\nfor p in sys.argv[1:]:\n name, version = p.split('==')\n assert m.version(name) == version";
        let pins = REQUIREMENTS.lines().filter(|line| line.contains("==") && !line.starts_with('#'));
        let mut check = Command::new(self.python());
        check.args(["-c", script]).args(pins).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        check.status().await.is_ok_and(|status| status.success())
    }

    async fn make(&self) -> Result<()> {
        const VENV: &str =
            "Python 3 with its venv module is needed for the local stack (Debian: apt install python3-venv)";
        let stamp = self.root.join(STAMP);
        // Without the stamp a half-made environment is never taken for a whole one.
        let _ = std::fs::remove_file(&stamp);
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&self.root), VENV).await?;
        let requirements = self.root.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS).map_err(Error::io("writing the emulator's requirements"))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
        run(
            Command::new(self.python()).args(pip).arg(&requirements),
            "the emulator's packages could not be installed: is the Python package index reachable",
        )
        .await?;
        std::fs::write(&stamp, REQUIREMENTS).map_err(Error::io("writing the emulator's stamp"))
    }
}

async fn run(command: &mut Command, advice: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| Error::Usage(format!("{advice} ({error})")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned();
    Err(Error::Usage(format!("{advice} ({last})")))
}

async fn lock(path: PathBuf) -> Result<File> {
    let locked = tokio::task::spawn_blocking(move || open_locked(&path)).await;
    locked.map_err(|error| Error::io("locking the emulator's folder")(error.into()))?
}

fn open_locked(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(Error::io("locking the emulator's folder"))?;
    file.lock().map_err(Error::io("locking the emulator's folder"))?;
    Ok(file)
}
