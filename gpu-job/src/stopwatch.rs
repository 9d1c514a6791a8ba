//! Time that stages take.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use contract::manifest::Timing;
use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process so far.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}

/// Seconds spent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// On the clock at the wall.
    pub wall: f64,
    /// By all threads of the process together.
    pub cpu: f64,
}

impl Spent {
    /// The record of a stage.
    #[must_use]
    pub fn by(self, stage: &str) -> Timing {
        Timing { stage: stage.to_owned(), seconds: self.wall, cpu_seconds: Some(self.cpu) }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// Runs from its creation on.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_time() }
    }

    /// What was spent since.
    #[must_use]
    pub fn spent(&self) -> Spent {
        Spent { wall: self.wall.elapsed().as_secs_f64(), cpu: cpu_time().saturating_sub(self.cpu).as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_other_threads_is_counted_and_adds_up() {
        let watch = Stopwatch::start();
        let work = || {
            let begun = cpu_time();
            let mut sum = 0u64;
            // Other tests may run meanwhile: until this much was spent by all together.
            while cpu_time() - begun < Duration::from_millis(20) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
        });
        let mut sum = watch.spent();
        assert!(sum.cpu >= 0.02 && sum.wall > 0.0, "{sum:?}");
        sum += Spent { wall: 1.0, cpu: 2.0 };
        assert!(sum.cpu >= 2.02 && sum.wall > 1.0);
        assert_eq!(Spent { wall: 1.5, cpu: 3.0 }.by("fill").cpu_seconds, Some(3.0));
    }
}
