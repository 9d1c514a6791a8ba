//! The command line of `gpu-job`.
//!
//! | command | what it does |
//! |---|---|
//! | `reconstruct` | reconstructs a prepared file ([`reconstruct`]) |
//! | `run` | the same, as a spec says: what a Batch job runs ([`run`]) |
//! | `train` | trains networks as a SageMaker training job ([`train`]) |
//!
//! Standard output carries results only; progress and logs go to standard error. Exit codes are those of
//! [`contract::ExitCode`].

mod images;
mod output;
mod reconstruct;
mod run;
mod spot;
mod terminal;
pub mod train;
mod tuning;

pub use self::images::ImageArguments;
pub use self::tuning::Tuning;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use contract::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::error::JobError;

/// After a request to stop, the work ends within milliseconds and saves what is finished, unless a service keeps it waiting.
/// Batch kills 30 seconds after it asks.
const GRACE: Duration = Duration::from_secs(20);

/// Trains RAKI on the calibration lines of a scan and reconstructs it.
///
/// Exit codes: 0 done, 64 wrong use, 65 bad data, 70 defect of this program, 75 interrupted or a service did not answer
/// (run again).
#[derive(Debug, Parser)]
#[command(name = "gpu-job", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reconstruct(reconstruct::Arguments),
    Run(run::Arguments),
    Train(train::Arguments),
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    run_with(std::env::args_os())
}

fn run_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors to clap, but not to the caller. A closed pipe is nobody's failure.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
        }
    };
    terminal::start_logging(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")));
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = stop_on_signals(Arc::clone(&stop)) {
        tracing::warn!(%error, "signals are not heard");
    }
    let hearing = Arc::clone(&stop);
    let carried_out = std::panic::catch_unwind(|| {
        let config = Config::from_env()?;
        if config.on_batch {
            spot::listen(hearing);
        }
        match arguments.command {
            Command::Reconstruct(arguments) => arguments.run(config, stop),
            Command::Run(arguments) => arguments.run(config, stop),
            Command::Train(arguments) => arguments.run(stop),
        }
    });
    match carried_out {
        Ok(Ok(())) => ExitCode::Done,
        Ok(Err(error)) => {
            let exit = error.exit();
            tracing::error!(exit = exit.code(), "{error}");
            exit
        }
        // The panic hook has said why.
        Err(_) => ExitCode::Bug,
    }
}

/// Sets `stop` on SIGTERM (Batch, Spot, `docker stop`) and SIGINT, and ends the process if the work does not.
fn stop_on_signals(stop: Arc<AtomicBool>) -> Result<(), JobError> {
    let failed = || JobError::io("listening for signals");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
    let context = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    drop(context);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.store(true, Ordering::Relaxed);
            tokio::time::sleep(GRACE).await;
            std::process::exit(ExitCode::Transient.code().into());
        });
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_use_and_help_have_their_codes() {
        let exit = |arguments: &[&str]| {
            run_with(std::iter::once("gpu-job").chain(arguments.iter().copied()).map(OsString::from))
        };
        assert_eq!(exit(&["--help"]), ExitCode::Done);
        assert_eq!(exit(&[]), ExitCode::Usage);
        assert_eq!(exit(&["reconstruct", "a", "--out", "b", "--method", "magic"]), ExitCode::Usage);
    }
}
