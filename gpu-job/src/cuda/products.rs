//! The large products of the linear kernels on a GPU: cuBLAS on what kernels of our own gather.
//!
//! | | in | on the device | out |
//! |---|---|---|---|
//! | moments | a calibration region, its weights | `z zᴴ` of all equations z, sources and targets in one, double precision | one triangle |
//! | prediction | k-space, the weights of every step of energy | a product for each of them and each missing line, single precision, no TF32 | the missing samples |
//!
//! GPUs made for graphics compute double precision at a small part of their single precision; moments stay on the CPU beside them.
//! Factorisations stay on the CPU: thirty to forty of a few hundred unknowns a slice are too small to fill a GPU.

use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::sys;
use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, DevicePtr, DevicePtrMut, DeviceRepr, PushKernelArg, sys as sys_driver,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use faer::{Mat, c64};
use kspace::Complex32;
use kspace::numerics::Host;
use kspace::numerics::nwg::{Equations, Gaps, Products, SOURCE_LINES, Sums, TAPS};

use super::{Kernels, Lane, Outcome, each, number, upload};

/// Made by nvcc in the build script.
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/nwg.ptx"));
/// Bytes of equations, and of samples to predict, that are gathered at a time.
const GATHERED: usize = 64 << 20;
/// Single over double precision beyond which the CPU is the better place for double precision.
const GRAPHICS: i32 = 4;

/// `struct Sizes` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sizes {
    coils: u32,
    lines: u32,
    points: u32,
    acceleration: u32,
    source_lines: u32,
    taps: u32,
    shift: u32,
    places: u32,
    /// The first source line of an equation and its targets' lines, see [`kspace::numerics::nwg::Reach`]: the first `before` of these follow
    /// each other from `target` on, the others come `jump` lines later.
    source: u32,
    target: u32,
    before: u32,
    jump: u32,
    targets: u32,
}

// SAFETY: plain numbers in the order and of the types of the kernels' struct, without padding.
unsafe impl DeviceRepr for Sizes {}

/// The first source line and the point of a sample to predict: `int2` of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sample {
    anchor: i32,
    point: i32,
}

// SAFETY: two numbers without padding.
unsafe impl DeviceRepr for Sample {}

/// The kernels of these products.
pub(super) struct Gather {
    /// Whether moments are computed here.
    moments: bool,
    equations: CudaFunction,
    sources: CudaFunction,
}

impl Gather {
    pub(super) fn new(context: &Arc<CudaContext>) -> Outcome<Self> {
        let ratio = sys_driver::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO;
        let module = context.load_module(Ptx::from_src(PTX)).w()?;
        Ok(Self {
            moments: context.attribute(ratio).w()? <= GRAPHICS,
            equations: module.load_function("equations").w()?,
            sources: module.load_function("sources").w()?,
        })
    }

    fn sums(&self, lane: &Lane, equations: &Equations<'_>) -> Outcome<Vec<f64>> {
        let Equations { lines, acceleration, reach, weights } = *equations;
        let (patch, targets) = equations.sizes();
        let size = patch + targets;
        let (shifts, places) = weights.dim();
        let roots: Vec<f64> = weights.iter().map(|weight| weight.sqrt()).collect();
        let stream = &lane.stream;
        let kspace = upload(lane, lines)?;
        let roots = stream.clone_htod(&roots).w()?;
        let together = (GATHERED / (size_of::<c64>() * size * places)).clamp(1, shifts.max(1));
        let mut gathered = stream.alloc_zeros::<f64>(2 * size * places * together).w()?;
        let mut sum = stream.alloc_zeros::<f64>(2 * size * size).w()?;
        for shift in (0..shifts).step_by(together) {
            let count = together.min(shifts - shift) * places;
            let sizes = Sizes {
                shift: number(shift)?,
                places: number(places)?,
                source: number(reach.source(acceleration))?,
                target: number(reach.line(0, acceleration))?,
                before: number(acceleration - 1)?,
                jump: number((SOURCE_LINES - 1) * acceleration + 1)?,
                targets: number(targets)?,
                ..sizes(lines, acceleration)?
            };
            let entries = (size * count) as u64;
            let mut builder = stream.launch_builder(&self.equations);
            builder.arg(&mut gathered).arg(&entries).arg(&sizes).arg(&kspace).arg(&roots);
            // SAFETY: the arguments are those of the kernel, which writes `entries` complex numbers.
            unsafe { builder.launch(each(size * count)?) }.w()?;
            let (one, n) = (1.0_f64, number::<i32>(size)?);
            let (from, _gathered) = gathered.device_ptr(stream);
            let (to, _sum) = sum.device_ptr_mut(stream);
            // SAFETY: both matrices are column-major with `size` rows, `count` and `size` columns.
            unsafe {
                sys::cublasZherk_v2(
                    *lane.blas.handle(),
                    sys::cublasFillMode_t::CUBLAS_FILL_MODE_LOWER,
                    sys::cublasOperation_t::CUBLAS_OP_N,
                    n,
                    number(count)?,
                    &raw const one,
                    from as *const _,
                    n,
                    &raw const one,
                    to as *mut _,
                    n,
                )
            }
            .result()
            .w()?;
        }
        let sum = stream.clone_dtoh(&sum).w()?;
        stream.synchronize().w()?;
        Ok(sum)
    }

    fn samples(&self, lane: &Lane, gaps: &Gaps<'_>) -> Outcome<Vec<Vec<Complex32>>> {
        let (coils, _, points) = gaps.kspace.dim();
        let mut values = vec![vec![Complex32::default(); coils * points]; gaps.targets.len()];
        let Some(first) = gaps.weights.first() else { return Ok(values) };
        let patch = first.ncols();
        // Samples that share their weights: an output and a step of energy.
        let mut groups: Vec<Vec<(usize, Sample)>> = vec![Vec::new(); first.nrows() / coils.max(1) * gaps.weights.len()];
        for (at, target) in gaps.targets.iter().enumerate() {
            let anchor = i32::try_from(target.anchor).map_err(candle_core::Error::wrap)?;
            for (kx, bin) in gaps.bins.row(target.line).iter().enumerate() {
                groups[target.output * gaps.weights.len() + bin].push((at, Sample { anchor, point: number(kx)? }));
            }
        }
        let stream = &lane.stream;
        let kspace = upload(lane, gaps.kspace)?;
        let present: Vec<u8> = gaps.present.iter().map(|present| u8::from(*present)).collect();
        let present = stream.clone_htod(&present).w()?;
        let sizes = sizes(gaps.kspace, gaps.acceleration)?;
        let together = (GATHERED / (size_of::<Complex32>() * patch)).max(1);
        let most = groups.iter().map(Vec::len).max().unwrap_or(0).min(together);
        let mut gathered = stream.alloc_zeros::<f32>((2 * patch * most).max(1)).w()?;
        let mut predicted = stream.alloc_zeros::<f32>((2 * coils * most).max(1)).w()?;
        let mut read = vec![0.0_f32; 2 * coils * most];
        for (group, samples) in groups.iter().enumerate().filter(|(_, samples)| !samples.is_empty()) {
            let (output, bin) = (group / gaps.weights.len(), group % gaps.weights.len());
            let weights = gaps.weights[bin].subrows(output * coils, coils);
            let weights: Vec<Complex32> = weights.col_iter().flat_map(|column| column.iter().copied()).collect();
            let weights = stream.clone_htod(bytemuck::cast_slice::<_, f32>(&weights)).w()?;
            for samples in samples.chunks(together) {
                let places: Vec<Sample> = samples.iter().map(|(_, sample)| *sample).collect();
                let places = stream.clone_htod(&places).w()?;
                let entries = (patch * samples.len()) as u64;
                let mut builder = stream.launch_builder(&self.sources);
                builder.arg(&mut gathered).arg(&entries).arg(&sizes).arg(&kspace).arg(&present).arg(&places);
                // SAFETY: the arguments are those of the kernel, which writes `entries` complex numbers.
                unsafe { builder.launch(each(patch * samples.len())?) }.w()?;
                multiply(lane, &weights, &gathered, &mut predicted, [coils, samples.len(), patch])?;
                let read = &mut read[..2 * coils * samples.len()];
                stream.memcpy_dtoh(&predicted.slice(..read.len()), read).w()?;
                stream.synchronize().w()?;
                let columns = bytemuck::cast_slice::<_, Complex32>(read).chunks_exact(coils);
                for ((at, sample), column) in samples.iter().zip(columns) {
                    for (coil, value) in column.iter().enumerate() {
                        values[*at][coil * points + sample.point as usize] = *value;
                    }
                }
            }
        }
        Ok(values)
    }
}

/// `to = a b` of complex column-major matrices, `[m, k]` and `[k, n]`.
fn multiply(
    lane: &Lane,
    a: &CudaSlice<f32>,
    b: &CudaSlice<f32>,
    to: &mut CudaSlice<f32>,
    [m, n, k]: [usize; 3],
) -> Outcome<()> {
    let [m, n, k] = [number::<i32>(m)?, number::<i32>(n)?, number::<i32>(k)?];
    let (one, zero) = (sys::cuComplex { x: 1.0, y: 0.0 }, sys::cuComplex { x: 0.0, y: 0.0 });
    let (a, _a) = a.device_ptr(&lane.stream);
    let (b, _b) = b.device_ptr(&lane.stream);
    let (to, _to) = to.device_ptr_mut(&lane.stream);
    let plain = sys::cublasOperation_t::CUBLAS_OP_N;
    // SAFETY: the matrices hold as many numbers as their sizes say.
    unsafe {
        sys::cublasCgemm_v2(
            *lane.blas.handle(),
            plain,
            plain,
            m,
            n,
            k,
            &raw const one,
            a as *const _,
            m,
            b as *const _,
            k,
            &raw const zero,
            to as *mut _,
            m,
        )
    }
    .result()
    .w()
}

fn sizes(samples: &ndarray::Array3<Complex32>, acceleration: usize) -> Outcome<Sizes> {
    let (coils, lines, points) = samples.dim();
    Ok(Sizes {
        coils: number(coils)?,
        lines: number(lines)?,
        points: number(points)?,
        acceleration: number(acceleration)?,
        source_lines: number(SOURCE_LINES)?,
        taps: number(TAPS)?,
        ..Sizes::default()
    })
}

impl Products for Kernels {
    fn moments(&self, equations: &Equations<'_>) -> kspace::Result<Sums> {
        if !self.gather.moments {
            return Host.moments(equations);
        }
        let (patch, targets) = equations.sizes();
        let size = patch + targets;
        let sum = self.on_lane(|lane| self.gather.sums(lane, equations))?;
        let at = |row: usize, column: usize| {
            let at = 2 * (row + column * size);
            c64::new(sum[at], sum[at + 1])
        };
        Ok(Sums {
            normal: Mat::from_fn(
                patch,
                patch,
                |row, column| if row < column { c64::default() } else { at(row, column) },
            ),
            cross: Mat::from_fn(patch, targets, |row, target| at(patch + target, row).conj()),
            targets: (patch..size).map(|target| at(target, target).re).sum(),
        })
    }

    fn predict(&self, gaps: &Gaps<'_>) -> kspace::Result<Vec<Vec<Complex32>>> {
        self.on_lane(|lane| self.gather.samples(lane, gaps))
    }
}
