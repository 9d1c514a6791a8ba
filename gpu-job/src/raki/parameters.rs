//! What a person can choose about networks and training.

use super::layout::{Domain, Layout};
use crate::error::JobError;

/// How the learning rate changes over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Up to the peak and down to nearly nothing.
    OneCycle,
    /// The same rate at every step.
    Constant,
}

/// Sizes of the networks and how they are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Steps of Adam.
    pub iterations: usize,
    /// The learning rate, the peak of a cycle; of networks with many inputs less, see [`Self::pace`].
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Each step sees a window of the readout, this part of its columns: above 0, up to 1.
    pub window: f64,
    /// Seed of initial weights and windows.
    pub seed: u64,
    /// Samples of kx under the kernel of layer 1, odd.
    pub kernel_1: usize,
    /// Features after layers 1 and 2.
    pub hidden: [usize; 2],
    /// Sets of networks, each from initial weights of its own, whose predictions are averaged.
    pub ensemble: usize,
}

/// Steps of Adam beyond which something was mistyped.
const MOST_ITERATIONS: usize = 1_000_000;
/// Samples that a unit of layer 1 sees where the learning rate and the initial weights are as given: those of 8 coils with seven
/// samples of kx.
const INPUTS: f64 = 224.0;
/// Columns of a training window, where the readout has as many.
const LEAST_COLUMNS: usize = 8;
/// The widest kernel of layer 1. Seven samples were measured to be enough.
const WIDEST_KERNEL: usize = 15;
/// The most features of a layer.
const MOST_FEATURES: usize = 1024;
/// The most sets of networks.
const LARGEST_ENSEMBLE: usize = 16;

impl Default for Parameters {
    fn default() -> Self {
        Self::paper()
    }
}

impl Parameters {
    /// The published networks and loss, trained in 500 steps on quarter windows: the quality of 1000 steps on everything
    /// for an eighth of the work.
    #[must_use]
    pub const fn paper() -> Self {
        Self {
            iterations: 500,
            learning_rate: 1e-2,
            schedule: Schedule::OneCycle,
            window: 0.25,
            seed: 0,
            kernel_1: 5,
            hidden: [32, 8],
            ensemble: 1,
        }
    }

    /// The published networks, loss and training: 1000 steps of one rate, each on the whole readout.
    #[must_use]
    pub const fn published() -> Self {
        Self { iterations: 1000, learning_rate: 3e-3, schedule: Schedule::Constant, window: 1.0, ..Self::paper() }
    }

    /// For a [`Lesson`](super::lesson::Lesson) and its weighted loss, whose gradient needs few samples: 400 steps on 0.03
    /// of the readout train as well as 200 on 0.12, in two thirds of the time. Seven samples of kx are 0.2 to 0.3 dB better than five.
    #[must_use]
    pub const fn weighted() -> Self {
        Self { iterations: 400, window: 0.03, kernel_1: 7, ..Self::paper() }
    }

    /// Sizes of the networks for a slice.
    #[must_use]
    pub const fn layout(&self, coils: usize, acceleration: usize) -> Layout {
        Layout { coils, acceleration, kernel_1: self.kernel_1, hidden: self.hidden }
    }

    /// What the learning rate and the initial weights of layer 1 are multiplied by. Adam moves every weight alike, and a sum over n inputs
    /// moves with the root of n or more: beyond the inputs of 8 coils both fall with that root. On 32 coils this is worth 0.7 dB. The published
    /// training has neither.
    #[must_use]
    pub fn pace(&self, layout: Layout) -> f64 {
        match self.schedule {
            Schedule::OneCycle => (INPUTS / layout.inputs() as f64).sqrt().min(1.0),
            Schedule::Constant => 1.0,
        }
    }

    /// Networks of a slice: of every channel, one in each set.
    #[must_use]
    pub const fn networks(&self, layout: Layout) -> usize {
        self.ensemble * layout.channels()
    }

    /// Columns of a training window: the part of the readout, but not so few that a step on a short readout sees next to nothing.
    #[must_use]
    pub fn columns(&self, domain: Domain) -> usize {
        let columns = domain.valid_columns();
        ((self.window * columns as f64).ceil() as usize).max(LEAST_COLUMNS).min(columns)
    }

    /// Refuses values that cannot train anything.
    ///
    /// # Errors
    /// [`JobError::Usage`] naming parameter, value and accepted range.
    pub fn check(&self) -> Result<(), JobError> {
        let refuse = |name: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(JobError::Usage(format!("{name} is {found:?}, expected {expected}")))
        };
        if !(1..=MOST_ITERATIONS).contains(&self.iterations) {
            return refuse("iterations", &self.iterations, &format!("1 to {MOST_ITERATIONS}"));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse("learning_rate", &self.learning_rate, "a number above 0 and up to 1");
        }
        if !(self.window > 0.0 && self.window <= 1.0) {
            return refuse("window", &self.window, "a part of the readout, above 0 and up to 1");
        }
        if self.kernel_1.is_multiple_of(2) || self.kernel_1 > WIDEST_KERNEL {
            return refuse("kernel_1", &self.kernel_1, &format!("an odd number from 1 to {WIDEST_KERNEL}"));
        }
        if self.hidden.iter().any(|features| !(1..=MOST_FEATURES).contains(features)) {
            return refuse("hidden", &self.hidden, &format!("two numbers from 1 to {MOST_FEATURES}"));
        }
        if !(1..=LARGEST_ENSEMBLE).contains(&self.ensemble) {
            return refuse("ensemble", &self.ensemble, &format!("1 to {LARGEST_ENSEMBLE}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_accepted_and_nonsense_is_refused_by_name() {
        let paper = Parameters::paper();
        for preset in [paper, Parameters::published(), Parameters::weighted()] {
            preset.check().unwrap();
        }
        let bad = [
            ("iterations", Parameters { iterations: 0, ..paper }),
            ("learning_rate", Parameters { learning_rate: f64::NAN, ..paper }),
            ("window", Parameters { window: 0.0, ..paper }),
            ("window", Parameters { window: 1.5, ..paper }),
            ("kernel_1", Parameters { kernel_1: 6, ..paper }),
            ("hidden", Parameters { hidden: [32, 0], ..paper }),
            ("ensemble", Parameters { ensemble: 0, ..paper }),
        ];
        for (name, parameters) in bad {
            let error = parameters.check().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("expected"), "{error}");
        }
    }
}
