//! How fast a training step runs on the CPU: against candle tensors, against the machine, and against published training.
//!
//!     cargo run --workspace --example bench_raki -- [coils] [acceleration] [calibration lines] [samples]
//!
//! Prints one JSON line. Everything is measured in turns, so that other work on the machine meets all of it; the
//! fastest of several rounds counts.
//!
//! | field | |
//! |---|---|
//! | `seconds_per_step` | a step of the published networks on a quarter of the readout, on all threads |
//! | `ratio` | candle tensors over that, the same networks on the same data |
//! | `gemm_share` | achieved over what square products achieve on as many threads |
//! | `megabytes_per_step`, `memory_share` | what a step reads and writes, caches or not, over what copies of large arrays achieve |
//! | `slice` | CPU seconds for a slice of 8 coils, R = 4, 32 lines of 320 samples: published training, and weighted training on 64 lines with its share of products |
#![allow(clippy::print_stdout, reason = "the result of a program")]

use std::time::{Duration, Instant};

use gpu_job::JobError;
use gpu_job::engine::cost::training_step;
use gpu_job::progress::Silent;
use gpu_job::raki::cpu::{NETWORKS, product_rate};
use gpu_job::raki::layout::TAPS;
use gpu_job::raki::{Backend, Cpu, Domain, Layout, Parameters, Planes, Problem, TensorBackend};
use kspace::Complex32;
use ndarray::Array3;
use rayon::prelude::*;

/// Steps of one measurement, and measurements: short and many, so that some meet an idle machine.
const STEPS: usize = 4;
const ROUNDS: usize = 24;
/// How long products are measured in a round, and numbers in a copied array.
const PRODUCTS: Duration = Duration::from_millis(10);
const COPIED: usize = 1 << 25;

/// Bytes a step reads and writes: patches twice for every group of networks, features and taps as often as a loop or
/// product passes over them, weights with their gradient and means.
fn bytes(layout: Layout, positions: usize) -> f64 {
    let ([hidden_1, hidden_2], networks) = (layout.hidden, layout.channels());
    let patches = 2 * networks.div_ceil(NETWORKS) * layout.inputs();
    let features = networks * (10 * hidden_1 + 9 * hidden_2 + 5 * TAPS * layout.outputs());
    let weights = networks * 9 * layout.weights().iter().sum::<usize>();
    (size_of::<f32>() * ((patches + features) * positions + weights)) as f64
}

fn problem(layout: Layout, lines: usize, samples: usize) -> Result<Problem, JobError> {
    let domain = layout.domain(lines, samples, layout.acceleration);
    domain.check(layout).map_err(JobError::Usage)?;
    let kspace = Array3::from_shape_fn((layout.coils, lines, samples), |(coil, ky, kx)| {
        let turn = (coil * 7919 + ky * 104_729 + kx * 1_299_709) as f32;
        Complex32::new(turn.sin(), turn.cos())
    });
    let all: Vec<Option<usize>> = (0..lines).map(Some).collect();
    Ok(Problem::new(Planes::new(kspace.view(), layout, domain.step, &all, 0, 0.015), 0, |_, _, _| 1.0))
}

/// Keeps the least of `seconds` and what `work` takes.
fn time<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    *seconds = seconds.min(started.elapsed().as_secs_f64());
    result
}

/// CPU seconds of this thread, which other work on the machine does not lengthen as it does wall seconds.
fn cpu_seconds() -> Result<f64, JobError> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).map_err(JobError::io("reading the CPU time of a thread"))?;
    let nanoseconds: Option<f64> = text.split_whitespace().next().and_then(|first| first.parse().ok());
    Ok(nanoseconds.ok_or_else(|| JobError::Usage(format!("{path} holds {text:?}, expected numbers")))? / 1e9)
}

/// Least seconds of what is done once and of a step after it, by trainings of one step and of more.
#[derive(Clone, Copy)]
struct Training {
    few: f64,
    many: f64,
}

impl Training {
    const UNKNOWN: Self = Self { few: f64::INFINITY, many: f64::INFINITY };

    fn measure(&mut self, backend: &dyn Backend, problem: &[Problem], parameters: Parameters) -> Result<(), JobError> {
        time(&mut self.few, || backend.fit(problem, &Parameters { iterations: 1, ..parameters }, &Silent))?;
        time(&mut self.many, || backend.fit(problem, &Parameters { iterations: 1 + STEPS, ..parameters }, &Silent))?;
        Ok(())
    }

    fn step(self) -> f64 {
        (self.many - self.few) / STEPS as f64
    }
}

/// CPU seconds of a slice with published and with weighted training, on one thread: of one step and what is done once, and
/// of more steps, the least of several rounds.
fn slices() -> Result<[f64; 2], JobError> {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| JobError::Usage(e.to_string()))?;
    // With the steps that take about as long.
    let cases = [(Parameters::published(), 32, STEPS), (Parameters::weighted(), 64, 40 * STEPS)];
    let mut seconds = [[f64::INFINITY; 2]; 2];
    for _ in 0..ROUNDS / 2 {
        for ((parameters, lines, steps), seconds) in cases.iter().zip(&mut seconds) {
            let problem = [problem(parameters.layout(8, 4), *lines, 320)?];
            for (iterations, least) in [1, 1 + steps].into_iter().zip(seconds) {
                let training = Parameters { iterations, ..*parameters };
                let used = one.install(|| -> Result<f64, JobError> {
                    let started = cpu_seconds()?;
                    Cpu.fit(&problem, &training, &Silent)?;
                    Ok(cpu_seconds()? - started)
                })?;
                *least = least.min(used);
            }
        }
    }
    Ok(std::array::from_fn(|at| {
        let ([once, more], (parameters, _, steps)) = (seconds[at], cases[at]);
        once + (more - once) / steps as f64 * (parameters.iterations - 1) as f64
    }))
}

fn main() -> Result<(), JobError> {
    let mut sizes = [16, 4, 32, 256];
    for (size, given) in sizes.iter_mut().zip(std::env::args().skip(1)) {
        *size = given.parse().map_err(|_| JobError::Usage(format!("{given:?} is not a number")))?;
    }
    let [coils, acceleration, lines, samples] = sizes;
    let parameters = Parameters::paper();
    let layout = parameters.layout(coils, acceleration);
    let problem = [problem(layout, lines, samples)?];
    let domain: Domain = problem[0].domain;

    let tensor = TensorBackend::new(candle_core::Device::Cpu)?;
    let threads = rayon::current_num_threads();
    let mut copies = vec![(vec![1.0_f32; COPIED], vec![0.0_f32; COPIED]); threads];
    let (mut gemm_rate, mut copy) = (0.0_f64, f64::INFINITY);
    let [mut fused, mut candle] = [Training::UNKNOWN; 2];
    for _ in 0..ROUNDS {
        fused.measure(&Cpu, &problem, parameters)?;
        candle.measure(&tensor, &problem, parameters)?;
        gemm_rate = gemm_rate.max(product_rate(PRODUCTS) / 1e9);
        time(&mut copy, || copies.par_iter_mut().for_each(|(from, to)| to.copy_from_slice(from)));
    }
    let positions = domain.positions(parameters.columns(domain));
    let (work, moved) = (training_step(layout, positions) / 1e9, bytes(layout, positions) / 1e6);
    let (fused, candle) = (fused.step(), candle.step());
    let memory_rate = (threads * 2 * COPIED * size_of::<f32>()) as f64 / copy / 1e6;
    let [published, weighted] = slices()?;
    let training = Parameters::weighted();
    let layout = training.layout(8, 4);
    let domain = layout.domain(64, 320, 4);
    let step = training_step(layout, domain.positions(training.columns(domain))) / 1e9;
    let weighted_rate = training.iterations as f64 * step / weighted;
    println!(
        "{{\"coils\":{coils},\"acceleration\":{acceleration},\"calibration_lines\":{lines},\"samples\":{samples},\
         \"threads\":{threads},\"seconds_per_step\":{fused:.6},\"gflop_per_step\":{work:.3},\"fused_gflop_per_s\":{:.1},\
         \"candle_gflop_per_s\":{:.1},\"ratio\":{:.2},\"gemm_gflop_per_s\":{gemm_rate:.1},\"gemm_share\":{:.2},\
         \"megabytes_per_step\":{moved:.1},\"memory_gb_per_s\":{:.1},\"memory_share\":{:.2},\
         \"slice\":{{\"published_seconds\":{published:.2},\"weighted_seconds\":{weighted:.3},\"ratio\":{:.1},\"weighted_gemm_share\":{:.2}}}}}",
        work / fused,
        work / candle,
        candle / fused,
        work / fused / gemm_rate,
        memory_rate / 1e3,
        moved / fused / memory_rate,
        published / weighted,
        weighted_rate / (gemm_rate / threads as f64)
    );
    Ok(())
}
