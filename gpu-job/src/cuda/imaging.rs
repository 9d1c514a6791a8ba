//! From filled k-space to an image on a GPU: transforms of cuFFT and kernels of our own between them.
//!
//! | | in | on the device | out |
//! |---|---|---|---|
//! | transform | k-space | two shifts and a transform | coil images |
//! | eigenvectors | the lags of a filter | a block of threads walks along each row of pixels, with matrix and vectors in shared memory | sensitivities |
//! | refinement | filled samples, sensitivities | all steps; every tenth image comes back, since the CPU decides whether more steps follow | images |
//!
//! Single precision without TF32. The arithmetic is that of the CPU; sums over the coils have another order.

mod refinement;

use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cufft::{CudaFft, result, sys};
use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, DevicePtrMut, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use kspace::numerics::espirit::Pixels;
use kspace::numerics::imaging::Imaging;
use kspace::numerics::sparse::{Options, Problem, Refined};
use kspace::numerics::{Host, espirit};
use kspace::{Complex32, Error};
use ndarray::{Array3, Array4, ShapeBuilder};

use super::{Kernels, Lane, Outcome, blocks, download, each, number, upload};

/// Made by nvcc in the build script.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/image.ptx"));
/// Coils whose matrix fits the shared memory of a block.
const MOST_COILS: usize = 64;

/// `struct Sizes` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sizes {
    maps: u32,
    coils: u32,
    rows: u32,
    columns: u32,
    tall: u32,
    broad: u32,
    level_rows: u32,
    level_columns: u32,
    axis: u32,
    down: u32,
    right: u32,
    lags: u32,
    steps: u32,
    first: u32,
    factor: f32,
    low: [f32; 4],
    high: [f32; 4],
}

// SAFETY: plain numbers in the order and of the types of the kernels' struct, without padding.
unsafe impl DeviceRepr for Sizes {}

/// The plain transform of some planes of one shape.
pub(super) struct Transform {
    shape: [usize; 3],
    plan: CudaFft,
}

#[derive(Clone, Copy)]
enum Direction {
    /// From image to k-space.
    Forward = -1,
    /// From k-space to image.
    Inverse = 1,
}

impl Lane {
    /// Transforms `[plane, row, column]` in place, unscaled.
    fn transform(&mut self, planes: &mut CudaSlice<f32>, shape: [usize; 3], direction: Direction) -> Outcome<()> {
        if self.transform.as_ref().is_none_or(|transform| transform.shape != shape) {
            let [count, rows, columns] = [number::<i32>(shape[0])?, number(shape[1])?, number(shape[2])?];
            let area = number(shape[1] * shape[2])?;
            let (kind, stream) = (sys::cufftType::CUFFT_C2C, self.stream.clone());
            // Its memory first: two plans of large scans would be much beside the training.
            self.transform = None;
            let plan = CudaFft::plan_many(&[rows, columns], None, 1, area, None, 1, area, kind, count, stream);
            self.transform = Some(Transform { shape, plan: plan.map_err(candle_core::Error::wrap)? });
        }
        let Some(Transform { plan, .. }) = &self.transform else { return Ok(()) };
        let (at, _planes) = planes.device_ptr_mut(&self.stream);
        // SAFETY: the plan is one of planes of this shape, which the memory holds.
        unsafe { result::exec_c2c(plan.handle(), at as *mut _, at as *mut _, direction as i32) }
            .map_err(candle_core::Error::wrap)
    }

    /// Memory for complex numbers, all zero.
    fn zeros(&self, count: usize) -> Outcome<CudaSlice<f32>> {
        self.stream.alloc_zeros(2 * count).w()
    }
}

/// Runs a kernel: what it writes, the number of its elements, sizes, what it reads.
fn run<const N: usize>(
    lane: &Lane,
    function: &CudaFunction,
    (config, count): (LaunchConfig, usize),
    outputs: [&mut CudaSlice<f32>; N],
    sizes: &Sizes,
    inputs: &[&CudaSlice<f32>],
) -> Outcome<()> {
    let count = count as u64;
    let mut builder = lane.stream.launch_builder(function);
    for output in outputs {
        builder.arg(output);
    }
    builder.arg(&count).arg(sizes);
    for input in inputs {
        builder.arg(*input);
    }
    // SAFETY: callers give the arguments of the kernel, whose indices stay below `count` and the sizes of the arrays.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// The kernels of images.
pub(super) struct Images {
    shift: CudaFunction,
    spread: CudaFunction,
    residual: CudaFunction,
    energy: CudaFunction,
    gather: CudaFunction,
    load: CudaFunction,
    split: CudaFunction,
    join: CudaFunction,
    shrink: CudaFunction,
    advance: CudaFunction,
    eigenvectors: CudaFunction,
}

/// Sizes of planes of so many rows and columns.
fn planes(rows: usize, columns: usize) -> Outcome<Sizes> {
    Ok(Sizes { rows: number(rows)?, columns: number(columns)?, factor: 1.0, ..Sizes::default() })
}

impl Sizes {
    /// Moves the centre, index n / 2, to index 0 of both axes.
    const fn to_origin(self) -> Self {
        Self { down: self.rows / 2, right: self.columns / 2, ..self }
    }

    /// Undoes [`Self::to_origin`].
    const fn from_origin(self) -> Self {
        Self { down: self.rows - self.rows / 2, right: self.columns - self.columns / 2, ..self }
    }
}

impl Images {
    pub(super) fn new(context: &Arc<CudaContext>) -> Outcome<Self> {
        // Loads the library, so that a missing one is known before a scan is begun.
        CudaFft::plan_1d(2, sys::cufftType::CUFFT_C2C, 1, context.default_stream())
            .map_err(candle_core::Error::wrap)?;
        let module = context.load_module(Ptx::from_src(PTX)).w()?;
        let function = |name: &str| module.load_function(name).w();
        Ok(Self {
            shift: function("shift")?,
            spread: function("spread")?,
            residual: function("residual")?,
            energy: function("energy")?,
            gather: function("gather")?,
            load: function("load")?,
            split: function("split")?,
            join: function("join")?,
            shrink: function("shrink")?,
            advance: function("advance")?,
            eigenvectors: function("eigenvectors")?,
        })
    }

    fn shifted(&self, lane: &Lane, from: &CudaSlice<f32>, sizes: &Sizes) -> Outcome<CudaSlice<f32>> {
        let count = from.len() / 2;
        let mut to = lane.zeros(count)?;
        run(lane, &self.shift, (each(count)?, count), [&mut to], sizes, &[from])?;
        Ok(to)
    }

    fn transform(&self, lane: &mut Lane, kspace: &Array3<Complex32>) -> Outcome<Vec<Complex32>> {
        let (coils, rows, columns) = kspace.dim();
        let sizes = planes(rows, columns)?;
        let mut samples = self.shifted(lane, &upload(lane, kspace)?, &sizes.to_origin())?;
        lane.transform(&mut samples, [coils, rows, columns], Direction::Inverse)?;
        let unitary = Sizes { factor: 1.0 / ((rows * columns) as f32).sqrt(), ..sizes };
        download(lane, &self.shifted(lane, &samples, &unitary.from_origin())?)
    }

    /// `[map, coil, y, x]` and `[map, y, x]`.
    fn eigenvectors(&self, lane: &Lane, pixels: &Pixels<'_>) -> Outcome<(Vec<Complex32>, Vec<f32>)> {
        let Pixels { filter, rows, maps, reference, .. } = *pixels;
        let espirit::Filter { coils, columns, reach, ref lags } = *filter;
        let complex = |values: &[Complex32]| lane.stream.clone_htod(bytemuck::cast_slice::<_, f32>(values)).w();
        let phases: Vec<Complex32> = (0..rows).flat_map(|row| pixels.phases(row)).collect();
        let inputs = [complex(lags)?, complex(&phases)?, complex(&pixels.start())?, complex(reference)?];
        let sizes = Sizes {
            maps: number(maps)?,
            coils: number(coils)?,
            lags: number(2 * reach + 1)?,
            steps: number(pixels.steps(1))?,
            first: number(pixels.steps(0))?,
            ..planes(rows, columns)?
        };
        let mut vectors = lane.zeros(maps * coils * rows * columns)?;
        let mut values = lane.stream.alloc_zeros(maps * rows * columns).w()?;
        let shared = size_of::<Complex32>() * (coils * coils + 2 * maps * coils);
        let config = LaunchConfig { shared_mem_bytes: number(shared)?, ..blocks(rows)? };
        let inputs: Vec<&CudaSlice<f32>> = inputs.iter().collect();
        run(lane, &self.eigenvectors, (config, rows), [&mut vectors, &mut values], &sizes, &inputs)?;
        let values = lane.stream.clone_dtoh(&values).w()?;
        Ok((download(lane, &vectors)?, values))
    }
}

/// An array of this shape.
fn shaped<A, S: ShapeBuilder>(shape: S, values: Vec<A>) -> kspace::Result<ndarray::Array<A, S::Dim>> {
    ndarray::Array::from_shape_vec(shape, values)
        .map_err(|error| Error::io("an array from the GPU")(std::io::Error::other(error)))
}

impl Imaging for Kernels {
    fn transform(&self, kspace: &Array3<Complex32>) -> kspace::Result<Array3<Complex32>> {
        if kspace.is_empty() {
            return Host.transform(kspace);
        }
        shaped(kspace.dim(), self.on_lane(|lane| self.images.transform(lane, kspace))?)
    }

    fn eigenvectors(&self, pixels: &Pixels<'_>) -> kspace::Result<(Array4<Complex32>, Array3<f32>)> {
        let (coils, columns) = (pixels.filter.coils, pixels.filter.columns);
        if coils > MOST_COILS || pixels.rows * columns == 0 {
            return Host.eigenvectors(pixels);
        }
        let (vectors, values) = self.on_lane(|lane| self.images.eigenvectors(lane, pixels))?;
        Ok((
            shaped((pixels.maps, coils, pixels.rows, columns), vectors)?,
            shaped((pixels.maps, pixels.rows, columns), values)?,
        ))
    }

    fn refine(&self, problem: &Problem<'_>, options: &Options) -> kspace::Result<Refined> {
        if problem.maps.is_empty() {
            return Host.refine(problem, options);
        }
        let (maps, _, rows, columns) = problem.maps.dim();
        let (images, steps) = self.on_lane(|lane| self.images.refine(lane, problem, options))?;
        Ok(Refined { images: shaped((maps, rows, columns), images)?, steps })
    }
}
