//! Progress and logs, on standard error.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

use crate::progress::Progress;

/// How often a log says how far the work is: every so many parts of a hundred.
const LOG_PERCENT: u64 = 10;
const BAR: &str = "{msg} [{bar:40}] {percent}% {elapsed} (about {eta} left)";

/// People get text, machines get JSON.
pub(super) fn start_logging(filter: EnvFilter) {
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A program that calls this library may have started logging itself.
    let _ = if std::io::stderr().is_terminal() { logs.try_init() } else { logs.json().flatten_event(true).try_init() };
}

/// A bar on a terminal, else a log line now and then; stops when a signal came.
pub(super) struct Reporter {
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
    stage: Mutex<&'static str>,
    total: AtomicU64,
    done: AtomicU64,
}

impl Reporter {
    pub(super) fn new(stop: Arc<AtomicBool>) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { stop, bar, stage: Mutex::new("start"), total: AtomicU64::new(0), done: AtomicU64::new(0) }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Reporter {
    fn stage(&self, name: &'static str, total: u64) {
        self.bar.set_message(name);
        if let Ok(mut stage) = self.stage.lock() {
            *stage = name;
        }
        self.bar.set_length(total);
        self.bar.set_position(0);
        self.total.store(total, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
    }

    fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        let total = self.total.load(Ordering::Relaxed).max(1);
        let before = self.done.fetch_add(steps, Ordering::Relaxed);
        let percent = |done: u64| done * 100 / total;
        if self.bar.is_hidden() && percent(before) / LOG_PERCENT < percent(before + steps) / LOG_PERCENT {
            let stage = self.stage.lock().map_or("", |stage| *stage);
            tracing::info!(stage, percent = percent(before + steps), done = before + steps, total, "progress");
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
