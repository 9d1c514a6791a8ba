//! What the linear stages of a slice cost: operations and bytes, and the rates achieved against those of the machine.
//!
//!     cargo run --workspace --example bench_stages -- FILE [rounds]
//!
//! FILE is an undersampled ISMRMRD file, such as `raki-cloud phantom` writes; its middle slice is measured, on one thread. Prints
//! one JSON line. Operations are those of the mathematics, real additions and multiplications; bytes are what a stage must read
//! and write if caches hold only what one loop uses. The fastest round counts; stages and machine take turns.
#![allow(clippy::print_stdout, reason = "the result of a program")]

use std::time::{Duration, Instant};

use faer::{Accum, Mat, Par, c64};
use gpu_job::JobError;
use gpu_job::engine::cost;
use gpu_job::raki::cpu::product_rate;
use kspace::numerics::{Host, combine, espirit, fft, nwg, sparse};
use kspace::prepared::Reader;
use kspace::{format, prepare};
use ndarray::s;

/// Rows of the square matrices of the machine's rate, and numbers in a copied array.
const SQUARE: usize = 512;
const COPIED: usize = 1 << 25;
/// Taps and lines of a source patch of `nwg`.
const PATCH: usize = 14;
/// How long single-precision products are measured in a round.
const PRODUCTS: Duration = Duration::from_millis(10);

/// A stage: its name, operations, bytes and least seconds.
struct Stage {
    name: &'static str,
    operations: f64,
    bytes: f64,
    seconds: f64,
}

impl Stage {
    const fn new(name: &'static str, operations: f64, bytes: f64) -> Self {
        Self { name, operations, bytes, seconds: f64::INFINITY }
    }

    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.seconds = self.seconds.min(started.elapsed().as_secs_f64());
        result
    }
}

fn main() -> Result<(), JobError> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or_else(|| JobError::Usage("give an undersampled ISMRMRD file".to_owned()))?;
    let rounds: usize = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let raw = format::open(std::path::Path::new(&file))?;
    let plan = prepare::plan(raw.as_ref(), &prepare::Options::default())?;
    let reader = Reader::open(plan.write(raw.as_ref(), Vec::new(), &mut |_, _| {})?)?;
    let index = reader.shape.entries / 2;
    let (kspace, sampling) = (reader.entry(index)?, reader.meta.entries[index].sampling);
    let mask: Vec<bool> = reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect();
    let (coils, rows, columns) = kspace.dim();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|e| JobError::Usage(e.to_string()))?;

    let size = |values: usize| (8 * values) as f64;
    let (patch, targets) = (PATCH * coils, (sampling.acceleration - 1) * coils);
    let region = nwg::refit_region(&sampling);
    let equations = |lines: usize| (lines - sampling.acceleration) * (columns - PATCH / 2 + 1);
    let (first, refit) = (equations(sampling.acs_lines), equations(region.1 - region.0));
    let read = |count: usize| 2.0 * size((patch + targets) * count);
    let apply = |lines: usize| size(patch * columns * (lines / sampling.acceleration)) + size(coils * lines * columns);
    let refits = 2.0 * (read(refit) + apply(region.1 - region.0));
    // The operations of a step are counted, so that every run has as many: nothing is put back, and no step follows the first ones.
    let options = sparse::Options::default();
    let options = sparse::Options { most: options.iterations, ..options };
    let maps_options = espirit::Options::default();
    let window = maps_options.window.pow(2) * coils;
    let windows =
        (sampling.acs_lines + 1 - maps_options.window) * (maps_options.points.min(columns) + 1 - maps_options.window);
    let pixels = (rows * columns) as f64;
    let shape = [coils, rows, columns];
    let once = nwg::Options { refits: 0, ..nwg::Options::default() };
    let kernels = |options: &nwg::Options| cost::kernels(options, &sampling, shape);
    let mut stages = [
        Stage::new("nwg", kernels(&once), read(first) + apply(rows)),
        Stage::new("nwg with refits", kernels(&nwg::Options::default()), read(first) + refits + apply(rows)),
        Stage::new(
            "maps",
            cost::maps(&maps_options, sampling.acs_lines, shape),
            size(windows * window) + size(coils) * 2.0 * pixels,
        ),
        Stage::new("refine", 0.0, 0.0),
        Stage::new("transform and combine", cost::transform(shape), size(4 * coils) * pixels),
    ];
    let mut machine =
        [Stage::new("gemm", 8.0 * (SQUARE as f64).powi(3), 0.0), Stage::new("copy", 0.0, (8 * COPIED) as f64)];
    let matrix = Mat::<c64>::from_fn(SQUARE, SQUARE, |row, column| c64::new(row as f64, column as f64));
    let mut product = Mat::<c64>::zeros(SQUARE, SQUARE);
    let (from, mut to) = (vec![1f32; COPIED], vec![0f32; COPIED]);
    let mut single = 0.0_f64;
    one.install(|| -> Result<(), JobError> {
        for _ in 0..rounds {
            stages[0].time(|| nwg::fill(&kspace, &mask, &sampling, &once))?;
            let filled = stages[1].time(|| nwg::fill(&kspace, &mask, &sampling, &nwg::Options::default()))?;
            let block = kspace.slice(s![.., sampling.acs_first..sampling.acs_first + sampling.acs_lines, ..]);
            let maps = stages[2]
                .time(|| espirit::maps(block, filled.noise_variance, (rows, columns), &maps_options, &Host))?;
            let count = maps.maps.dim().0;
            stages[3].operations = cost::refinement(options.iterations + 1, count, shape);
            stages[3].bytes = (options.iterations + 1) as f64
                * pixels
                * (size(2 * count * coils) + size(5 * coils) + size(8 * count));
            let problem = sparse::Problem {
                kspace: &filled.kspace,
                mask: &mask,
                range: nwg::range(&sampling, rows),
                noise_variance: filled.noise_variance,
                error_variance: &filled.error_variance,
                checked: false,
                maps: &maps.maps,
            };
            stages[3].time(|| sparse::refine(&problem, &options));
            stages[4].time(|| combine::rss(&fft::ifft2c(&filled.kspace)));
            machine[0].time(|| {
                let factor = c64::new(1.0, 0.0);
                faer::linalg::matmul::matmul(&mut product, Accum::Replace, &matrix, &matrix, factor, Par::Seq);
            });
            machine[1].time(|| to.copy_from_slice(&from));
            single = single.max(product_rate(PRODUCTS));
        }
        Ok(())
    })?;
    let gemm = machine[0].operations / machine[0].seconds;
    let memory = machine[1].bytes / machine[1].seconds;
    let rows: Vec<serde_json::Value> = stages
        .iter()
        .map(|stage| {
            serde_json::json!({
                "stage": stage.name,
                "seconds": stage.seconds,
                "gflop": stage.operations / 1e9,
                "gigabytes": stage.bytes / 1e9,
                "gemm_share": stage.operations / stage.seconds / gemm,
                "single_gemm_share": stage.operations / stage.seconds / single,
                "memory_share": stage.bytes / stage.seconds / memory,
            })
        })
        .collect();
    let machine = serde_json::json!({"complex_double_gemm_gflop_per_s": gemm / 1e9, "single_gemm_gflop_per_s": single / 1e9, "copy_gb_per_s": memory / 1e9});
    println!(
        "{}",
        serde_json::json!({"coils": coils, "lines": kspace.dim().1, "points": columns, "machine": machine, "stages": rows})
    );
    Ok(())
}
