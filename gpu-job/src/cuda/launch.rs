//! How kernels are launched.

use candle_core::cuda_backend::cudarc::driver::LaunchConfig;

use super::Outcome;

/// Threads of a block, which `kernels.cu` counts on, and the most blocks: kernels loop over what is left.
const THREADS: u32 = 256;
const BLOCKS: usize = 1 << 16;

/// A size in the type that a kernel or library takes.
pub(crate) fn number<T: TryFrom<usize>>(size: usize) -> Outcome<T> {
    T::try_from(size).map_err(|_| candle_core::Error::msg(format!("a size of {size} is too large for a kernel")))
}

/// A launch for so many elements.
pub(crate) fn each(count: usize) -> Outcome<LaunchConfig> {
    blocks(count.div_ceil(THREADS as usize).clamp(1, BLOCKS))
}

/// A launch of so many blocks.
pub(crate) fn blocks(count: usize) -> Outcome<LaunchConfig> {
    Ok(LaunchConfig { grid_dim: (number(count)?, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 })
}
