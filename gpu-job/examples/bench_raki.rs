//! How fast a training step runs on the CPU: matrix products with fused loops against candle tensors, in one run.
//!
//!     cargo run -p gpu-job --example bench_raki -- [coils] [acceleration] [calibration lines] [samples]
//!
//! Prints one JSON line. Both train the same networks on the same data; `ratio` is above 1 where the fused path is faster.
#![allow(clippy::print_stdout, reason = "the result of a program")]

use std::time::Instant;

use gpu_job::JobError;
use gpu_job::progress::Silent;
use gpu_job::raki::layout::{HIDDEN_1, HIDDEN_2, TAPS};
use gpu_job::raki::{Backend, Cpu, Domain, Layout, Parameters, Planes, Problem, TensorBackend};
use kspace::Complex32;
use ndarray::Array3;

/// Steps of one measurement, and measurements of each backend. Backends take turns, so that other work on the machine
/// meets both; the fastest one counts.
const STEPS: usize = 12;
const ROUNDS: usize = 4;

/// Floating-point operations of a step: two products in layer 1, three in each of the others.
fn operations(layout: Layout, domain: Domain, columns: usize) -> f64 {
    let layer_1 = 2 * 2 * HIDDEN_1 * layout.inputs();
    let others = 3 * 2 * (HIDDEN_1 * HIDDEN_2 + HIDDEN_2 * TAPS * layout.outputs());
    (layout.channels() * (layer_1 + others) * domain.positions(columns)) as f64
}

fn main() -> Result<(), JobError> {
    let defaults = [16, 4, 32, 256];
    let mut sizes = defaults;
    for (size, given) in sizes.iter_mut().zip(std::env::args().skip(1)) {
        *size = given.parse().map_err(|_| JobError::Usage(format!("{given:?} is not a number")))?;
    }
    let [coils, acceleration, lines, samples] = sizes;
    let layout = Layout { coils, acceleration };
    let domain = Domain { lines, width: samples, step: acceleration };
    domain.check(layout).map_err(JobError::Usage)?;
    let kspace = Array3::from_shape_fn((coils, lines, samples), |(coil, ky, kx)| {
        let turn = (coil * 7919 + ky * 104_729 + kx * 1_299_709) as f32;
        Complex32::new(turn.sin(), turn.cos())
    });
    let all: Vec<Option<usize>> = (0..lines).map(Some).collect();
    let problem = [Problem::new(&Planes::new(kspace.view(), layout, acceleration, &all, 0, 0.015), 0)];
    let parameters = Parameters { iterations: STEPS, ..Parameters::default() };

    let tensor = TensorBackend::new(candle_core::Device::Cpu);
    let backends: [&dyn Backend; 2] = [&Cpu, &tensor];
    let mut seconds = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for (backend, seconds) in backends.iter().zip(&mut seconds) {
            let started = Instant::now();
            backend.fit(&problem, &parameters, &Silent)?;
            *seconds = seconds.min(started.elapsed().as_secs_f64());
        }
    }
    let columns = parameters.window(domain.valid_columns());
    let work = operations(layout, domain, columns) * STEPS as f64 / 1e9;
    println!(
        "{{\"coils\":{coils},\"acceleration\":{acceleration},\"calibration_lines\":{lines},\"samples\":{samples},\
         \"gflop_per_step\":{:.3},\"fused_gflop_per_s\":{:.1},\"candle_gflop_per_s\":{:.1},\"ratio\":{:.2}}}",
        work / STEPS as f64,
        work / seconds[0],
        work / seconds[1],
        seconds[1] / seconds[0]
    );
    Ok(())
}
