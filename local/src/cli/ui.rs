//! What a person or a program sees. The only module that writes to standard output.
#![allow(clippy::print_stdout, reason = "the output of the program")]

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use local::Error;
use serde::Serialize;

/// Writes for people, or one JSON document for programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    json: bool,
    terminal: bool,
}

impl Ui {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, terminal: !json && std::io::stderr().is_terminal() }
    }

    /// A line for people.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json {
            println!("{}", text.as_ref());
        }
    }

    /// The result of the command: JSON for programs, `human` for people.
    pub(crate) fn result(self, value: &impl Serialize, human: impl FnOnce() -> String) {
        if self.json {
            // Plain data of our own; it serialises.
            println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
        } else {
            println!("{}", human());
        }
    }

    /// A failure: a sentence on standard error, and for programs also JSON on standard output, unless the answer is there.
    pub(crate) fn failure(self, error: &Error, code: u8) {
        let message = error.to_string();
        eprintln!("raki-cloud: {message}");
        if self.json && !matches!(error, Error::Answered(_)) {
            println!("{}", serde_json::json!({ "error": message, "exit_code": code }));
        }
    }

    /// Work of unknown length.
    pub(crate) fn spinner(self, name: &str) -> Bar {
        let bar = if self.terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(style("{spinner:.cyan} {msg} {elapsed}"));
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar { bar: Arc::new(bar), ui: self }
    }

    /// Work of `total` steps.
    pub(crate) fn bar(self, name: &str, total: u64) -> Bar {
        let target = if self.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(style("{spinner:.cyan} {msg} [{bar:30.cyan}] {pos}/{len} {elapsed}"));
        bar.set_message(name.to_owned());
        Bar { bar: Arc::new(bar), ui: self }
    }
}

/// Shown on a terminal only; gone when dropped.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    bar: Arc<ProgressBar>,
    ui: Ui,
}

impl Bar {
    pub(crate) fn set(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }

    pub(crate) fn begin(&self, name: &str, total: u64) {
        self.bar.set_message(name.to_owned());
        self.bar.set_length(total);
        self.bar.set_position(0);
    }

    pub(crate) fn advance(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// Ends with a line that stays.
    pub(crate) fn done(&self, name: &str, seconds: f64) {
        self.bar.finish_and_clear();
        self.ui.line(timed(name, seconds));
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// A line above the bar.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| self.ui.line(format!("  {text}")));
    }
}

/// A name and its time, in columns.
pub(crate) fn timed(name: &str, seconds: f64) -> String {
    format!("  {name:<26} {seconds:>8.2} s")
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this module.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
