//! Loops with the widest vectors of the machine.

/// Runs `work` as code for the widest vectors of the machine, as far as the compiler puts what it calls into it. Loops that are
/// element-wise or keep a fixed number of sums give the same bits with every width.
pub fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
