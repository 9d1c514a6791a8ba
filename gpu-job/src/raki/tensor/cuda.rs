//! Launches the kernels of `kernels.cu`.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::{CudaStorage, Layout, Result};

use super::Batch;
use super::ops::Op;
use crate::cuda::{blocks, each, number};

/// Made by nvcc in the build script.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/raki.ptx"));

/// `struct Arguments` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Arguments {
    lines: u32,
    width: u32,
    step: u32,
    kernel_1: u32,
    channels: u32,
    outputs: u32,
    networks: u32,
    columns: u32,
    first: u32,
    all_columns: u32,
    decay_1: f32,
    new_1: f32,
    decay_2: f32,
    new_2: f32,
    rate: f32,
    epsilon: f32,
}

// SAFETY: plain numbers in the order and of the types of the kernels' struct, without padding.
unsafe impl DeviceRepr for Arguments {}

impl Arguments {
    fn of(op: &Op) -> Result<Self> {
        match op {
            Op::Relu | Op::ThroughRelu => Ok(Self::default()),
            Op::Patches(batch) | Op::SumTaps(batch) | Op::Residual(batch) | Op::Spread(batch) => Self::sizes(batch),
            Op::Adam(step) => Ok(Self {
                decay_1: step.decay_1 as f32,
                new_1: (1.0 - step.decay_1) as f32,
                decay_2: step.decay_2 as f32,
                new_2: (1.0 - step.decay_2) as f32,
                rate: step.rate as f32,
                epsilon: step.epsilon as f32,
                ..Self::default()
            }),
        }
    }

    fn sizes(batch: &Batch) -> Result<Self> {
        Ok(Self {
            lines: number(batch.domain.lines)?,
            width: number(batch.domain.width)?,
            step: number(batch.domain.step)?,
            kernel_1: number(batch.layout.kernel_1)?,
            channels: number(batch.layout.channels())?,
            outputs: number(batch.layout.outputs())?,
            networks: number(batch.networks)?,
            columns: number(batch.columns)?,
            first: number(batch.first)?,
            all_columns: number(batch.domain.valid_columns())?,
            ..Self::default()
        })
    }
}

/// Runs the kernel of `op` on candle's stream.
pub(super) fn launch(
    op: &Op,
    to: &mut CudaStorage,
    to_layout: &Layout,
    from: &[(&CudaStorage, &Layout)],
) -> Result<()> {
    let range = |layout: &Layout| {
        let (start, end) = layout.contiguous_offsets().ok_or_else(|| candle_core::Error::msg(op.kernel()))?;
        Ok::<_, candle_core::Error>(start..end)
    };
    let function = to.device().get_or_load_custom_func(op.kernel(), "raki", PTX)?;
    let arguments = Arguments::of(op)?;
    let sources = from.iter().map(|(storage, layout)| Ok(storage.as_cuda_slice::<f32>()?.slice(range(layout)?)));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let mut to = to.as_cuda_slice_mut::<f32>()?.slice_mut(range(to_layout)?);
    let count = match op {
        // One block sums the loss of a network.
        Op::Residual(batch) => to_layout.shape().elem_count() / (batch.output() + 1),
        Op::Adam(_) => to_layout.shape().elem_count() / 3,
        _ => to_layout.shape().elem_count(),
    };
    let config = if matches!(op, Op::Residual(_)) { blocks(count)? } else { each(count)? };
    let count = count as u64;
    let mut builder = function.builder();
    builder.arg(&mut to).arg(&count).arg(&arguments);
    for source in &sources {
        builder.arg(source);
    }
    // SAFETY: the arguments are those of the kernel of this name, whose indices stay below `count` and the sizes of the tensors.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}
