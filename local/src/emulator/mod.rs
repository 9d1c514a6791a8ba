//! The emulator process: started on a free port under an environment of its own, killed with everything it started.
//!
//! | module | what it does |
//! |---|---|
//! | [`venv`] | the virtual environment with the pinned emulator |

pub mod venv;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::Config;
use crate::endpoints::{ACCESS_KEY, REGION, SECRET_KEY};
use crate::{Error, Result};
use venv::Venv;

const LAUNCHER: &str = include_str!("launcher.py");
/// A cold start on two busy cores takes about 5 s.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Another program may take the free port between finding and using it.
const START_TRIES: usize = 3;

/// A running emulator. Dropping it kills the emulator and every function and job in its process group.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    group: Pid,
    port: u16,
}

impl Emulator {
    /// Starts the emulator and waits until it answers. Its log and scratch files go below `dir`. Functions inherit its
    /// environment, so that is where they learn of `shim`, the URL of Batch and Storage Gateway.
    ///
    /// # Errors
    /// [`Error::Service`] when it ends or does not answer in time; the message tells its last words.
    pub async fn start(venv: &Venv, dir: &Path, shim: &str, config: &Config) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(venv, dir, shim, config).await {
                Err(Error::Service { .. }) if tries < START_TRIES => {}
                result => return result,
            }
        }
    }

    async fn try_start(venv: &Venv, dir: &Path, shim: &str, config: &Config) -> Result<Self> {
        let scratch = dir.join("emulator");
        std::fs::create_dir_all(&scratch).map_err(Error::io("making the emulator's scratch folder"))?;
        let log = dir.join("emulator.log");
        let output = File::create(&log).map_err(Error::io("opening the emulator's log"))?;
        let errors = output.try_clone().map_err(Error::io("opening the emulator's log"))?;
        let port = free_port()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let child = Command::new(venv.python())
            .args(["-c", LAUNCHER])
            .env_clear()
            .envs(config.inherited.iter().cloned())
            .env("HOME", &scratch)
            .env("TMPDIR", &scratch)
            .env("PYTHONUNBUFFERED", "1")
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_REGION", REGION)
            .env("LAMBDA_EXECUTOR", "local")
            // Listeners nobody asks for, which would fight over their fixed ports.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_ENDPOINT_URL_BATCH", shim)
            .env("AWS_ENDPOINT_URL_STORAGE_GATEWAY", shim)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("RUST_LOG", &config.log_filter)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting the emulator"))?;
        let group = Pid::from_child(&child);
        let mut emulator = Self { child, group, port };
        emulator.wait_until_ready(&log).await?;
        Ok(emulator)
    }

    async fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned();
                let message = format!("it ended with {status}: {last}");
                return Err(Error::Service { service: "the emulator", action: "start", message });
            }
            if is_ready(self.port).await {
                return Ok(());
            }
            if start.elapsed() > START_LIMIT {
                return Err(Error::Timeout {
                    what: "starting the emulator".to_owned(),
                    seconds: START_LIMIT.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Process id, which is also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// URL of every emulated service.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and a group that is gone already is the usual one.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("looking for a free port"))?;
    Ok(listener.local_addr().map_err(Error::io("looking for a free port"))?.port())
}

/// Whether an emulator answers on `port` that it has started.
pub(crate) async fn is_ready(port: u16) -> bool {
    let probe = async {
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"GET /_ministack/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head.ends_with(b" 200"))
    };
    tokio::time::timeout(Duration::from_secs(5), probe).await.is_ok_and(|answer| answer.unwrap_or(false))
}
