//! The command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | every command and option |
//! | [`ui`] | lines, bars and JSON |
//! | [`stack`] | `up`, `upload`, `status` |
//! | [`demo`] | `demo` |
//! | [`compare`] | `compare` |
//! | [`inspect`] | `inspect` |
//! | [`reidentify`] | `reidentify` |
//! | [`files`] | `prepare`, `reconstruct`, `phantom` |

mod args;
mod compare;
mod demo;
mod files;
mod inspect;
mod reidentify;
mod stack;
mod ui;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;
use clap::error::ErrorKind;
use local::config::Config;
use local::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Args, Command};
use ui::Ui;

/// Parses, runs, reports, and gives the exit code of the contract.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing is left to do when even the help cannot be printed.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { contract::ExitCode::Usage.into() };
        }
    };
    let ui = Ui::new(args.json);
    let mut config = Config::from_env();
    if let Some(venv) = &args.emulator_venv {
        config.emulator_venv = Some(venv.clone());
    }
    // Silent unless asked: a command reports through its output.
    let filter = EnvFilter::try_new(if config.log_stated { &config.log_filter } else { "error" }).unwrap_or_default();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(args.command, config, ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            ui.failure(&error, code.code());
            code.into()
        }
    }
}

/// Set once a stack is complete and kept: from then on an interruption is the ordinary end.
#[derive(Debug, Default)]
pub(crate) struct Kept(AtomicBool);

impl Kept {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run(command: Command, config: Config, ui: Ui) -> Result<()> {
    let kept = &Kept::default();
    match command {
        Command::Demo(args) => interruptible(kept, demo::demo(args, config, kept, ui)),
        Command::Up(args) => interruptible(kept, stack::up(args, config, kept, ui)),
        Command::Upload(args) => interruptible(kept, stack::upload(args, config, ui)),
        Command::Status(args) => interruptible(kept, stack::status(args, config, ui)),
        Command::Inspect(args) => inspect::inspect(&args, &config, ui),
        Command::Prepare(args) => files::prepare(&args, &config, ui),
        Command::Reconstruct(args) => files::reconstruct(&args, &config, ui),
        Command::Reidentify(args) => reidentify::reidentify(&args, ui),
        Command::Compare(args) => compare::compare(&args, &config, ui),
        Command::Phantom(args) => files::phantom(&args, ui),
    }
}

/// Runs a command until it ends or is interrupted. Dropping it ends the processes it started.
fn interruptible(kept: &Kept, work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("starting"))?;
    runtime.block_on(async {
        tokio::select! {
            result = work => result,
            result = interrupted() => match result {
                Ok(()) if !kept.0.load(Ordering::Relaxed) => Err(Error::Interrupted),
                result => result,
            },
        }
    })
}

/// Returns on Ctrl-C or SIGTERM.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listening for signals"))?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(Error::io("listening for signals")),
        _ = terminate.recv() => Ok(()),
    }
}
