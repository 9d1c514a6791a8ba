//! What a GPU computes beside the training: the large products of the linear kernels ([`products`]) and images ([`imaging`]).
//!
//! Slices are computed side by side on the CPU, which does the rest meanwhile; a few streams keep their copies and computations apart.

mod imaging;
mod launch;
mod products;

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use candle_core::CudaDevice;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::CudaBlas;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream};
use kspace::{Complex32, Error};
use ndarray::{Array, Dimension};

use self::imaging::{Images, Transform};
pub(crate) use self::launch::{blocks, each, number};
use self::products::Gather;
use crate::error::JobError;
use crate::raki::tensor::LANES;

pub(crate) type Outcome<T> = Result<T, candle_core::Error>;

/// A stream with handles of its own.
struct Lane {
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    /// The last one, since the slices of a scan have one shape.
    transform: Option<Transform>,
}

/// The kernels and streams of a device.
pub(crate) struct Kernels {
    lanes: Vec<Mutex<Lane>>,
    gather: Gather,
    images: Images,
}

fn failed(error: candle_core::Error) -> Error {
    Error::io("a computation on the GPU")(std::io::Error::other(error))
}

impl Kernels {
    /// Loads the kernels.
    ///
    /// # Errors
    /// [`JobError::Device`] when the driver refuses them.
    pub(crate) fn new(device: &CudaDevice) -> Result<Self, JobError> {
        // SAFETY: no memory is used on another stream than the one that it was taken from.
        unsafe { device.disable_event_tracking() };
        let context = device.cuda_stream().context().clone();
        let lane = || -> Outcome<Mutex<Lane>> {
            let stream = context.new_stream().w()?;
            Ok(Mutex::new(Lane { blas: CudaBlas::new(stream.clone()).w()?, transform: None, stream }))
        };
        Ok(Self {
            lanes: (0..LANES).map(|_| lane()).collect::<Outcome<_>>()?,
            gather: Gather::new(&context)?,
            images: Images::new(&context)?,
        })
    }

    /// Runs `work` on a lane that is free, or on that of this thread once it is.
    fn on_lane<T>(&self, work: impl FnOnce(&mut Lane) -> Outcome<T>) -> kspace::Result<T> {
        // A panic leaves nothing half-done: every computation brings its own memory.
        let free = self.lanes.iter().find_map(|lane| match lane.try_lock() {
            Ok(lane) => Some(lane),
            Err(TryLockError::Poisoned(lane)) => Some(lane.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let at = rayon::current_thread_index().unwrap_or(0) % self.lanes.len();
        let mut lane = free.unwrap_or_else(|| self.lanes[at].lock().unwrap_or_else(PoisonError::into_inner));
        lane.stream.context().bind_to_thread().w().map_err(failed)?;
        work(&mut lane).map_err(failed)
    }
}

/// Complex samples on the device, in the order of their axes.
fn upload<D: Dimension>(lane: &Lane, samples: &Array<Complex32, D>) -> Outcome<CudaSlice<f32>> {
    let samples = samples.as_standard_layout();
    let flat = samples.as_slice().ok_or_else(|| candle_core::Error::msg("samples are not contiguous"))?;
    lane.stream.clone_htod(bytemuck::cast_slice::<_, f32>(flat)).w()
}

/// Complex samples from the device, when everything before is done.
fn download(lane: &Lane, samples: &CudaSlice<f32>) -> Outcome<Vec<Complex32>> {
    let flat = lane.stream.clone_dtoh(samples).w()?;
    lane.stream.synchronize().w()?;
    Ok(bytemuck::cast_slice(&flat).to_vec())
}
