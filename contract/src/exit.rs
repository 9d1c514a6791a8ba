//! Process exit codes and what happens next.
//!
//! The codes follow BSD `sysexits.h`. This is the only table: the job returns it, the retry strategy of the Batch
//! job definition and the `outcome` function read it, and a test holds `template.yaml` to it.

use serde::{Deserialize, Serialize};

/// How a process of raki-cloud ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// The result exists, written by this run or an earlier one.
    Done,
    /// The command line or the configuration is wrong.
    Usage,
    /// The data cannot be reconstructed; running it again will not change that.
    BadData,
    /// A defect of this software.
    Bug,
    /// Interrupted, or a service did not answer; running it again may well succeed.
    Transient,
}

/// What happens next with a message or a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Nothing is left to do.
    Done,
    /// Leave the message where it is; it is delivered again, in the end to the dead-letter queue.
    Retry,
    /// Quarantine the scan with its reason and acknowledge the message.
    Reject,
    /// Acknowledge nothing and raise an alarm: a person has to look.
    Fatal,
}

impl ExitCode {
    /// Every code, in ascending order.
    pub const ALL: [Self; 5] = [Self::Done, Self::Usage, Self::BadData, Self::Bug, Self::Transient];

    /// The number a process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 64,
            Self::BadData => 65,
            Self::Bug => 70,
            Self::Transient => 75,
        }
    }

    /// The meaning of a number; `None` for one that is not ours, such as 137 for a killed process.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| i32::from(exit.code()) == code)
    }

    /// What happens next.
    #[must_use]
    pub const fn disposition(self) -> Disposition {
        match self {
            Self::Done => Disposition::Done,
            Self::BadData => Disposition::Reject,
            Self::Transient => Disposition::Retry,
            Self::Usage | Self::Bug => Disposition::Fatal,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(exit: ExitCode) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_meanings_are_one_to_one() {
        for exit in ExitCode::ALL {
            assert_eq!(ExitCode::from_code(i32::from(exit.code())), Some(exit));
        }
        assert_eq!(ExitCode::from_code(137), None);
    }

    #[test]
    fn the_table_equals_its_golden() {
        let table: std::collections::BTreeMap<u8, (ExitCode, Disposition)> =
            ExitCode::ALL.into_iter().map(|exit| (exit.code(), (exit, exit.disposition()))).collect();
        let golden = include_str!("../../events/contract/exit-codes.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&table).unwrap_or_default());
        assert_eq!(text, golden);
    }
}
