//! Observation → changes, without side effects.
//!
//! The target is AWS's own for queue workers: backlog per worker = acceptable latency ÷ mean time of one job
//! (<https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking-metric-math.html>).

use std::time::Duration;

/// Limits and targets, for each environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// vCPUs kept without work, in the first environment.
    pub min_vcpus: u32,
    /// The most vCPUs of an environment.
    pub max_vcpus: u32,
    /// vCPUs of one job.
    pub vcpus_per_job: u32,
    /// Promise from prepared scan to image.
    pub latency_target: Duration,
    /// Mean time of one job.
    pub job_time: Duration,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    /// Scans and jobs that wait.
    pub waiting: u64,
    /// Jobs that start or run.
    pub at_work: u64,
    /// How long the oldest job has waited for an instance.
    pub longest_wait: Duration,
}

/// A compute environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Name or ARN, as configured.
    pub name: String,
    /// `minvCpus`.
    pub min: u32,
    /// `maxvCpus`.
    pub max: u32,
    /// `desiredvCpus`, what Batch runs or is about to run.
    pub desired: u32,
    /// Whether it is enabled, valid and not being changed.
    pub steady: bool,
}

/// New limits of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Name or ARN, as configured.
    pub name: String,
    /// `minvCpus`.
    pub min: u32,
    /// `maxvCpus`.
    pub max: u32,
}

/// vCPUs that meet the promise with this load; room for one job at least, so that the next scan starts at once.
fn wanted(policy: &Policy, load: &Load) -> u32 {
    let per_worker = (policy.latency_target.as_secs() / policy.job_time.as_secs().max(1)).max(1);
    let workers = load.waiting.saturating_add(load.at_work).div_ceil(per_worker).max(1);
    u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(policy.vcpus_per_job).min(policy.max_vcpus)
}

/// The changes to make, none where all is well. `environments` are in the order of the job queue, Spot first.
///
/// The first environment follows the load. The others keep room for one job and are opened to the whole load when the first starves,
/// which a job tells that has waited for half of the promise: Spot has no capacity then.
///
/// A limit rises at once and sinks only when it is twice what is wanted or over the hard one, so that a load that trembles
/// moves nothing; it never sinks below what runs.
#[must_use]
pub fn decide(policy: &Policy, load: &Load, environments: &[Environment]) -> Vec<Change> {
    let wanted = wanted(policy, load);
    let starved = load.longest_wait > policy.latency_target / 2;
    let changes =
        environments.iter().enumerate().filter(|(_, environment)| environment.steady).map(|(at, environment)| {
            let first = at == 0;
            let room = if first || starved { wanted } else { policy.vcpus_per_job.min(policy.max_vcpus) };
            let target = room.max(environment.desired);
            let sinks = target <= environment.max / 2 || environment.max > policy.max_vcpus;
            let max = if target > environment.max || sinks { target } else { environment.max };
            let min = if first { policy.min_vcpus.min(max) } else { 0 };
            (environment, Change { name: environment.name.clone(), min, max })
        });
    changes.filter(|(now, change)| (now.min, now.max) != (change.min, change.max)).map(|(_, change)| change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> Policy {
        Policy {
            min_vcpus: 0,
            max_vcpus: 64,
            vcpus_per_job: 4,
            latency_target: Duration::from_secs(600),
            job_time: Duration::from_secs(40),
        }
    }

    fn environment(min: u32, max: u32, desired: u32) -> Environment {
        Environment { name: "spot".into(), min, max, desired, steady: true }
    }

    fn load(waiting: u64, at_work: u64) -> Load {
        Load { waiting, at_work, longest_wait: Duration::ZERO }
    }

    fn maxima(load: &Load, environments: &[Environment]) -> Vec<u32> {
        decide(&policy(), load, environments).into_iter().map(|change| change.max).collect()
    }

    #[test]
    fn fifteen_scans_are_one_worker() {
        assert_eq!(maxima(&load(15, 0), &[environment(0, 1, 0)]), [4]);
        assert_eq!(maxima(&load(16, 0), &[environment(0, 4, 0)]), [8]);
        assert_eq!(maxima(&load(100_000, 0), &[environment(0, 4, 0)]), [64]);
    }

    #[test]
    fn a_trembling_load_moves_nothing_and_an_ended_one_does() {
        assert_eq!(decide(&policy(), &load(45, 0), &[environment(0, 16, 0)]), []);
        assert_eq!(maxima(&load(0, 0), &[environment(0, 16, 0)]), [4]);
        assert_eq!(maxima(&load(0, 1), &[environment(0, 16, 12)]), Vec::<u32>::new(), "12 are running");
    }

    #[test]
    fn the_second_environment_opens_when_the_first_starves() {
        let both = [environment(0, 16, 0), environment(0, 4, 0)];
        assert_eq!(decide(&policy(), &load(60, 0), &both), []);
        let starving = Load { longest_wait: Duration::from_secs(301), ..load(60, 0) };
        assert_eq!(maxima(&starving, &both), [16]);
    }

    #[test]
    fn the_floor_is_kept_in_the_first_environment() {
        let policy = Policy { min_vcpus: 4, ..policy() };
        let changes = decide(&policy, &load(0, 0), &[environment(0, 4, 0), environment(4, 4, 0)]);
        assert_eq!(changes.iter().map(|change| change.min).collect::<Vec<_>>(), [4, 0]);
    }

    prop_compose! {
        fn policies()(min in 0_u32..32, per_job in 1_u32..16, more in 0_u32..200, latency in 1_u64..4000, job in 1_u64..400) -> Policy {
            Policy {
                min_vcpus: min,
                max_vcpus: min.max(per_job) + more,
                vcpus_per_job: per_job,
                latency_target: Duration::from_secs(latency),
                job_time: Duration::from_secs(job),
            }
        }
    }

    prop_compose! {
        fn loads()(waiting in 0_u64..5000, at_work in 0_u64..200, wait in 0_u64..4000) -> Load {
            Load { waiting, at_work, longest_wait: Duration::from_secs(wait) }
        }
    }

    prop_compose! {
        fn environments()(all in proptest::collection::vec((0_u32..64, 0_u32..300, 0_u32..300, any::<bool>()), 0..4)) -> Vec<Environment> {
            all.into_iter()
                .enumerate()
                .map(|(n, (min, max, desired, steady))| Environment { name: n.to_string(), min, max, desired, steady })
                .collect()
        }
    }

    fn apply(environments: &[Environment], changes: &[Change]) -> Vec<Environment> {
        let mut after = environments.to_vec();
        for change in changes {
            let changed = after.iter_mut().find(|environment| environment.name == change.name).expect("a known name");
            (changed.min, changed.max) = (change.min, change.max);
        }
        after
    }

    proptest! {
        #[test]
        fn limits_hold(policy in policies(), load in loads(), before in environments()) {
            for change in decide(&policy, &load, &before) {
                let environment = before.iter().find(|it| it.name == change.name).expect("a known name");
                prop_assert!(environment.steady);
                prop_assert!(change.min <= change.max && change.min <= policy.min_vcpus);
                prop_assert!(change.max >= environment.desired, "never below what runs");
                prop_assert!(change.max <= policy.max_vcpus.max(environment.desired), "never above the hard limit");
                prop_assert!(change.max >= policy.vcpus_per_job, "always room for one job");
            }
        }

        #[test]
        fn a_decision_settles(policy in policies(), load in loads(), before in environments()) {
            let after = apply(&before, &decide(&policy, &load, &before));
            prop_assert_eq!(decide(&policy, &load, &after), []);
        }

        #[test]
        fn more_work_never_means_less_room(policy in policies(), load in loads(), more in 0_u64..500, before in environments()) {
            let heavier = Load { waiting: load.waiting + more, ..load.clone() };
            let (light, heavy) = (apply(&before, &decide(&policy, &load, &before)), apply(&before, &decide(&policy, &heavier, &before)));
            for (light, heavy) in light.iter().zip(&heavy) {
                prop_assert!(light.max <= heavy.max);
            }
        }
    }
}
