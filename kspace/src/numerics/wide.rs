//! Loops with the widest vectors of the machine.

use pulp::NullaryFnOnce;

/// Runs `work` as code for the widest vectors of the machine, as far as the compiler puts what it calls into it. Loops that are
/// element-wise or keep a fixed number of sums give the same bits with every width. It leaves large closures out of it: for those
/// there are types whose `call` is always inlined.
pub fn wide<R>(work: impl NullaryFnOnce<Output = R>) -> R {
    pulp::Arch::new().dispatch(work)
}
