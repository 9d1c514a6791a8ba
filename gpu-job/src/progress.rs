//! What a caller hears of long work, and how it asks for an end.

/// Told about the work as it is done. Called from several threads.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` counts its steps.
    fn stage(&self, name: &'static str, total: u64) {
        let _ = (name, total);
    }

    /// Steps of the current stage are done.
    fn advance(&self, steps: u64) {
        let _ = steps;
    }

    /// Whether to stop at the next opportunity, a few milliseconds away.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
