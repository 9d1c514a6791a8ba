//! Learning rates and momenta of Adam (Kingma and Ba, 2015): constant, or one cycle (Smith and Topin, 2019).

use std::f64::consts::PI;

use super::layout::Layout;
use super::parameters::{Parameters, Schedule};

/// Decay of the mean of gradients in one cycle: it falls while the rate rises.
const DECAY_1: [f64; 2] = [0.95, 0.85];
/// Decay of the mean of gradients at a constant rate.
const DECAY_1_CONSTANT: f64 = 0.9;
/// Decay of the mean of squared gradients.
const DECAY_2: f64 = 0.999;
/// Keeps a step finite where gradients vanish.
const EPSILON: f64 = 1e-8;
/// Part of the steps in which the rate rises. Of 0.1 to 0.5, 0.2 gave the best images.
const RISE: f64 = 0.2;
/// Peak over first rate.
const START_DIVISOR: f64 = 25.0;
/// First over last rate.
const END_DIVISOR: f64 = 1e4;

/// Points of a training curve, about.
const POINTS: usize = 24;

/// Whether the loss of this step of so many, from 0 on, is a point of the training curve: reading a loss back stops a GPU.
#[must_use]
pub const fn is_point(step: usize, steps: usize) -> bool {
    step + 1 == steps || step.is_multiple_of(steps.div_ceil(POINTS))
}

/// One step of Adam: `mean = decay_1 mean + (1 - decay_1) gradient`, likewise `square` with the squared gradient, then
/// `weight -= rate * mean / (sqrt(square) + epsilon)`. Rate and epsilon include the correction of both means for their
/// start at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Decay of the mean of gradients.
    pub decay_1: f64,
    /// Decay of the mean of squared gradients.
    pub decay_2: f64,
    /// Learning rate.
    pub rate: f64,
    /// Least divisor.
    pub epsilon: f64,
}

/// The steps of a training.
#[derive(Debug, Clone)]
pub struct Steps {
    schedule: Schedule,
    step: usize,
    steps: usize,
    peak: f64,
    /// What is left of the zeros that the means started with.
    rest: [f64; 2],
}

impl Steps {
    /// All steps of a training of networks of `layout`.
    #[must_use]
    pub fn new(parameters: &Parameters, layout: Layout) -> Self {
        Self {
            schedule: parameters.schedule,
            step: 0,
            steps: parameters.iterations,
            peak: parameters.learning_rate * parameters.pace(layout),
            rest: [1.0; 2],
        }
    }

    /// Uncorrected rate and decay of the mean at a step; in one cycle, half a cosine up or down.
    fn at(&self, step: usize) -> (f64, f64) {
        if self.schedule == Schedule::Constant {
            return (self.peak, DECAY_1_CONSTANT);
        }
        let first = self.peak / START_DIVISOR;
        let top = (RISE * self.steps as f64 - 1.0).max(0.0);
        let end = (self.steps as f64 - 1.0).max(top + 1.0);
        let step = step as f64;
        let between = |from: f64, to: f64, part: f64| to + (from - to) * 0.5 * (1.0 + (PI * part).cos());
        if step < top {
            (between(first, self.peak, step / top), between(DECAY_1[0], DECAY_1[1], step / top))
        } else {
            let part = (step - top) / (end - top);
            (between(self.peak, first / END_DIVISOR, part), between(DECAY_1[1], DECAY_1[0], part))
        }
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.step == self.steps {
            return None;
        }
        let (rate, decay_1) = self.at(self.step);
        self.step += 1;
        self.rest = [self.rest[0] * decay_1, self.rest[1] * DECAY_2];
        let root = (1.0 - self.rest[1]).sqrt();
        Some(Step { decay_1, decay_2: DECAY_2, rate: rate * root / (1.0 - self.rest[0]), epsilon: EPSILON * root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { coils: 8, acceleration: 4, kernel_1: 5, hidden: [32, 8] };

    #[test]
    fn networks_of_many_coils_learn_more_slowly() {
        let peak = |coils| Steps::new(&Parameters::weighted(), Layout { coils, kernel_1: 7, ..LAYOUT }).at(79).0;
        assert_eq!((peak(2), peak(8)), (1e-2, 1e-2));
        assert!((peak(32) - 5e-3).abs() < 1e-12);
    }

    fn schedule(iterations: usize) -> Steps {
        Steps::new(&Parameters { iterations, ..Parameters::paper() }, LAYOUT)
    }

    #[test]
    fn a_constant_schedule_keeps_rate_and_decay() {
        let published = Steps::new(&Parameters::published(), Layout { coils: 64, ..LAYOUT });
        assert!((0..1000).all(|step| published.at(step) == (3e-3, 0.9)));
        assert_eq!(published.count(), 1000);
    }

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_nearly_nothing() {
        let schedule = schedule(500);
        let rates: Vec<f64> = (0..500).map(|step| schedule.at(step).0).collect();
        assert!((rates[0] - 4e-4).abs() < 1e-12);
        assert!((rates[99] - 1e-2).abs() < 1e-12);
        assert!((rates[499] - 4e-8).abs() < 1e-12);
        assert!(rates[..100].is_sorted() && rates[99..].iter().rev().is_sorted());
        assert!((schedule.at(99).1 - 0.85).abs() < 1e-12 && (schedule.at(499).1 - 0.95).abs() < 1e-12);
    }

    #[test]
    fn short_schedules_are_complete_finite_and_positive() {
        for steps in 1..30 {
            let all: Vec<Step> = schedule(steps).collect();
            assert_eq!(all.len(), steps);
            assert!(all.iter().all(|step| step.rate > 0.0 && step.rate <= 0.11 && step.epsilon > 0.0), "{all:?}");
        }
    }

    #[test]
    fn with_a_constant_gradient_every_step_has_the_length_of_the_rate() {
        let schedule = schedule(200);
        let (mut mean, mut square, gradient) = (0.0, 0.0, 3.0_f64);
        for (at, step) in schedule.clone().enumerate() {
            mean = step.decay_1 * mean + (1.0 - step.decay_1) * gradient;
            square = step.decay_2 * square + (1.0 - step.decay_2) * gradient * gradient;
            let moved = step.rate * mean / (square.sqrt() + step.epsilon);
            assert!((moved / schedule.at(at).0 - 1.0).abs() < 1e-6, "step {at}: {moved}");
        }
    }
}
