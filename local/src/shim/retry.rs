//! What AWS Batch does after an attempt of a job.
//!
//! <https://docs.aws.amazon.com/batch/latest/userguide/job_retries.html>

use serde::{Deserialize, Serialize};

/// Retry strategy of a job definition or of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryStrategy {
    /// How often the job is tried, 1 to 10.
    #[serde(default = "one")]
    pub attempts: u32,
    /// Conditions, the first that matches holds; at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluate_on_exit: Vec<EvaluateOnExit>,
}

fn one() -> u32 {
    1
}

impl Default for RetryStrategy {
    fn default() -> Self {
        Self { attempts: 1, evaluate_on_exit: Vec::new() }
    }
}

/// One condition. It matches when every pattern in it matches; a pattern may end in `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateOnExit {
    /// Pattern for the reason of the job's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_status_reason: Option<String>,
    /// Pattern for the reason of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_reason: Option<String>,
    /// Pattern for the exit code in decimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exit_code: Option<String>,
    /// `RETRY` or `EXIT`, in any case.
    pub action: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// Exit code of the container; absent when it never ran.
    pub exit_code: Option<i32>,
    /// Reason of the container.
    pub reason: Option<String>,
    /// Reason of the status.
    pub status_reason: Option<String>,
}

impl RetryStrategy {
    /// Whether the job is tried again after attempt number `attempt`, from 1, failed so. A failure that no condition
    /// matches is tried again.
    #[must_use]
    pub fn tries_again(&self, attempt: u32, ended: &Ended) -> bool {
        let condition = self.evaluate_on_exit.iter().find(|condition| condition.matches(ended));
        attempt < self.attempts && condition.is_none_or(|condition| condition.action.eq_ignore_ascii_case("retry"))
    }

    /// Why AWS would refuse this strategy.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        if !(1..=10).contains(&self.attempts) {
            return Some(format!("retryStrategy attempts must be between 1 and 10, found {}", self.attempts));
        }
        if self.evaluate_on_exit.len() > 5 {
            return Some(format!("evaluateOnExit has at most 5 entries, found {}", self.evaluate_on_exit.len()));
        }
        self.evaluate_on_exit.iter().find_map(|condition| {
            let known = ["retry", "exit"].contains(&condition.action.to_lowercase().as_str());
            (!known).then(|| format!("evaluateOnExit action must be RETRY or EXIT, found {}", condition.action))
        })
    }
}

impl EvaluateOnExit {
    fn matches(&self, ended: &Ended) -> bool {
        let code = ended.exit_code.map(|code| code.to_string());
        let pairs = [
            (&self.on_status_reason, ended.status_reason.as_deref()),
            (&self.on_reason, ended.reason.as_deref()),
            (&self.on_exit_code, code.as_deref()),
        ];
        pairs.into_iter().all(|(pattern, text)| {
            pattern.as_deref().is_none_or(|pattern| matches_pattern(pattern, text.unwrap_or_default()))
        })
    }
}

/// Whether `text` matches `pattern`, which may end in `*`; letter case does not matter.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strategy() -> RetryStrategy {
        let entry = |status: Option<&str>, reason: Option<&str>, code: Option<&str>, action: &str| EvaluateOnExit {
            on_status_reason: status.map(str::to_owned),
            on_reason: reason.map(str::to_owned),
            on_exit_code: code.map(str::to_owned),
            action: action.to_owned(),
        };
        RetryStrategy {
            attempts: 3,
            evaluate_on_exit: vec![
                entry(Some("Host EC2*"), None, None, "RETRY"),
                entry(None, Some("CannotPullContainerError*"), None, "RETRY"),
                entry(None, None, Some("75"), "RETRY"),
                entry(None, Some("*"), None, "EXIT"),
            ],
        }
    }

    fn ended(code: i32, status: &str) -> Ended {
        Ended { exit_code: Some(code), reason: None, status_reason: Some(status.to_owned()) }
    }

    #[test]
    fn transient_failures_and_lost_hosts_are_tried_again_until_the_attempts_are_used() {
        let strategy = strategy();
        assert!(strategy.tries_again(1, &ended(75, "Essential container in task exited")));
        assert!(strategy.tries_again(2, &ended(137, "Host EC2 (instance i-0) terminated.")));
        assert!(!strategy.tries_again(3, &ended(75, "Essential container in task exited")));
        for code in [64, 65, 70, 137] {
            assert!(!strategy.tries_again(1, &ended(code, "Essential container in task exited")), "{code}");
        }
    }

    #[test]
    fn a_failure_that_nothing_matches_is_tried_again() {
        let mut strategy = strategy();
        strategy.evaluate_on_exit.pop();
        assert!(strategy.tries_again(1, &ended(1, "x")));
        assert!(RetryStrategy { attempts: 2, ..RetryStrategy::default() }.tries_again(1, &ended(1, "x")));
        assert!(!RetryStrategy::default().tries_again(1, &ended(1, "x")));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_itself_and_with_a_star_every_longer_text(text in "[A-Za-z0-9 ]{0,12}", more in "[a-z]{0,6}") {
            let (star, longer) = (format!("{}*", text), format!("{}{}", text, more));
            prop_assert!(matches_pattern(&text, &text));
            prop_assert!(matches_pattern(&star, &longer));
            prop_assert_eq!(matches_pattern(&text, &longer), more.is_empty());
        }
    }
}
