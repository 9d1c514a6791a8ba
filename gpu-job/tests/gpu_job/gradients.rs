//! Both backends against finite differences of the definition, against candle's autograd, and against each other.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarBuilder, VarMap};
use gpu_job::progress::Silent;
use gpu_job::raki::layout::{KERNEL_3, TAPS};
use gpu_job::raki::{Backend, Cpu, Layout, Parameters, Planes, Problem, TensorBackend, Weights};
use proptest::prelude::*;

use crate::definition::{Wide, loss, nearest_kink, random_kspace};

/// How far finite differences go to each side, in weights of all networks together.
const STEP: f64 = 1e-7;

struct Case {
    calibration: ndarray::Array3<kspace::Complex32>,
    /// `[ky, kx]`.
    of_samples: ndarray::Array2<f32>,
    problem: Problem,
    weights: Weights,
}

fn layouts() -> impl Strategy<Value = Layout> {
    let kernels = prop_oneof![Just(3usize), Just(5), Just(7)];
    let hidden = prop_oneof![Just([32usize, 8]), Just([5, 3]), Just([12, 17])];
    (1usize..=4, 2usize..=6, kernels, hidden).prop_map(|(coils, acceleration, kernel_1, hidden)| Layout {
        coils,
        acceleration,
        kernel_1,
        hidden,
    })
}

/// Lines and samples beyond the least there can be; weights of samples between 0.5 and 1.5. Two sets of networks.
fn case(layout: Layout, extra: (usize, usize), seed: u64) -> Case {
    let (lines, width) = (layout.least_calibration_lines() + extra.0, 2 * layout.margin() + 1 + extra.1);
    let calibration = random_kspace(layout.coils, lines, width, seed);
    let all: Vec<Option<usize>> = (0..lines).map(Some).collect();
    let planes = Planes::new(calibration.view(), layout, layout.acceleration, &all, 0, 1.0);
    let of_samples =
        random_kspace(1, lines, width, seed + 1).index_axis(ndarray::Axis(0), 0).mapv(|v| 1.0 + 0.5 * v.re);
    let of_sample = |output, column, row| of_samples[[row + 1 + output, column + layout.margin()]];
    let problem = Problem::new(planes, 0, of_sample);
    let weights = Weights::initial(layout, &Parameters { seed, ..Parameters::paper() }, 0, 0..2 * layout.channels());
    Case { calibration, of_samples, problem, weights }
}

fn backends() -> [(&'static str, Box<dyn Backend>); 2] {
    [("cpu", Box::new(Cpu)), ("tensor", Box::new(TensorBackend::new(Device::Cpu).unwrap()))]
}

/// The first case from `seed` on, with the window that `of` takes of its columns, in which no feature is so near to being turned on or off that
/// single precision, or a step of [`STEP`], might do so.
fn smooth(layout: Layout, extra: (usize, usize), seed: u64, of: fn(usize) -> Range<usize>) -> (Case, Range<usize>) {
    let cases = (seed..).map(|seed| {
        let case = case(layout, extra, seed);
        let window = of(case.problem.domain.valid_columns());
        (case, window)
    });
    let far = |(case, window): &(Case, Range<usize>)| {
        nearest_kink(&Wide::new(&case.weights), &case.calibration, window.clone()) > 1e-6
    };
    cases.into_iter().find(far).unwrap()
}

fn difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = square(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    error / square(&mut b.iter().map(|b| f64::from(*b))).max(1e-30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_are_those_of_the_definition(
        layout in layouts(), extra in (0usize..4, 0usize..7), seed in 0u64..1000,
    ) {
        let (case, window) = smooth(layout, extra, seed, |columns| columns / 3..columns);
        let weights = Wide::new(&case.weights);
        let loss = |weights: &Wide| {
            loss(weights, &case.calibration, |ky, kx| f64::from(case.of_samples[[ky, kx]]), window.clone())
        };
        let expected = loss(&weights);
        for (name, backend) in backends() {
            let (found, gradient) = backend.gradient(&case.problem, &case.weights, window.clone()).unwrap();
            prop_assert!((found / expected - 1.0).abs() < 1e-5, "{name}: loss {found}, expected {expected}");
            let direction = Wide::direction(&case.weights, seed + 1);
            for layer in 0..3 {
                let ahead = loss(&weights.moved(layer, &direction, STEP));
                let behind = loss(&weights.moved(layer, &direction, -STEP));
                let expected = (ahead - behind) / (2.0 * STEP);
                let found: f64 = gradient.layers[layer]
                    .iter().zip(&direction.layers[layer]).map(|(g, d)| f64::from(*g) * d).sum();
                let size = gradient.layers[layer].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                prop_assert!((found - expected).abs() < 1e-4 * size + 1e-7, "{name} layer {layer}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn backends_agree(layout in layouts(), extra in (0usize..9, 0usize..31), seed in 0u64..1000) {
        let (case, window) = smooth(layout, extra, seed, |columns| 0..columns.div_ceil(2));
        let [(loss_a, a), (loss_b, b)] =
            backends().map(|(_, backend)| backend.gradient(&case.problem, &case.weights, window.clone()).unwrap());
        prop_assert!((loss_a / loss_b - 1.0).abs() < 1e-5, "{loss_a} {loss_b}");
        for layer in 0..3 {
            let error = difference(&a.layers[layer], &b.layers[layer]);
            prop_assert!(error < 1e-4, "layer {layer}: {error}");
        }
    }
}

/// The loss in plain tensor operations, differentiated by candle.
#[test]
fn gradients_are_those_of_autograd() {
    let layout = Layout { coils: 2, acceleration: 3, kernel_1: 7, hidden: [32, 8] };
    let case = case(layout, (4, 12), 5);
    let domain = case.problem.domain;
    let (nets, outputs, [hidden_1, hidden_2]) = (case.weights.networks, layout.outputs(), layout.hidden);
    let window = 2..9;
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let shapes =
        [vec![nets * hidden_1, layout.inputs()], vec![nets, hidden_2, hidden_1], vec![nets, TAPS * outputs, hidden_2]];
    let mut layers = Vec::new();
    for (layer, shape) in shapes.iter().enumerate() {
        let name = format!("layer{layer}");
        builder.get_with_hints(shape.as_slice(), &name, Init::Const(0.0)).unwrap();
        let value = Tensor::from_slice(&case.weights.layers[layer], shape.as_slice(), &Device::Cpu).unwrap();
        let data = variables.data().lock().unwrap();
        data[&name].set(&value).unwrap();
        layers.push(data[&name].clone());
    }

    let positions = domain.positions(window.len());
    let patches = case.problem.planes.patches(&window);
    let patches = Tensor::from_vec(patches, (positions, layout.inputs()), &Device::Cpu).unwrap();
    let hidden = layers[0].matmul(&patches.t().unwrap()).unwrap().relu().unwrap();
    let hidden = hidden.reshape((nets, hidden_1, positions)).unwrap();
    let hidden = layers[1].as_tensor().matmul(&hidden).unwrap().relu().unwrap();
    let taps = layers[2].as_tensor().matmul(&hidden).unwrap();
    let taps = taps.reshape((nets, TAPS, outputs, window.len() + 2, domain.rows())).unwrap();
    let parts: Vec<Tensor> = (0..TAPS)
        .map(|tap| {
            let part = taps.narrow(1, tap, 1).unwrap().squeeze(1).unwrap();
            let part = part.narrow(2, tap % KERNEL_3, window.len()).unwrap();
            // Rows that a tap does not have are zeros, and weigh nothing.
            let row = tap / KERNEL_3 * domain.step;
            let part = part.narrow(3, row, domain.rows() - row).unwrap();
            part.pad_with_zeros(3, 0, row).unwrap()
        })
        .collect();
    let predicted = Tensor::stack(&parts, 0).unwrap().sum(0).unwrap();
    let targets: Vec<f32> = (0..nets)
        .flat_map(|network| (0..outputs).map(move |output| (network, output)))
        .flat_map(|(network, output)| case.problem.target(network, output, &window).to_vec())
        .collect();
    let targets = Tensor::from_vec(targets, predicted.shape(), &Device::Cpu).unwrap();
    let weights: Vec<f32> = (0..outputs).flat_map(|output| case.problem.weight(output, &window).to_vec()).collect();
    let weights = Tensor::from_vec(weights, &predicted.dims()[1..], &Device::Cpu).unwrap();
    let residual = (predicted - targets).unwrap().broadcast_mul(&weights).unwrap();
    let norms = residual.sqr().unwrap().flatten_from(1).unwrap().sum(1).unwrap().sqrt().unwrap();
    let gradients = norms.sum_all().unwrap().backward().unwrap();

    for (name, backend) in backends() {
        let (_, found) = backend.gradient(&case.problem, &case.weights, window.clone()).unwrap();
        for (layer, variable) in layers.iter().enumerate() {
            let expected = gradients.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let error = difference(&found.layers[layer], &expected);
            assert!(error < 1e-5, "{name} layer {layer}: {error}");
        }
    }
}

#[test]
fn a_perfect_network_stays_as_it_is() {
    let layout = Layout { coils: 1, acceleration: 2, kernel_1: 5, hidden: [32, 8] };
    let zeros = ndarray::Array3::zeros((1, 5, 9));
    let planes = Planes::new(zeros.view(), layout, 2, &[Some(0), Some(1), Some(2), Some(3), Some(4)], 0, 1.0);
    let problem = Problem::new(planes, 0, |_, _, _| 1.0);
    let weights = Weights::initial(layout, &Parameters::paper(), 0, 0..2);
    for (name, backend) in backends() {
        let (loss, gradient) = backend.gradient(&problem, &weights, 0..3).unwrap();
        assert_eq!(loss, 0.0, "{name}");
        assert!(gradient.layers.iter().flatten().all(|g| *g == 0.0), "{name}");
    }
}

/// Lets products on a GPU round to TF32, as training does, or not.
fn tf32(on: bool) {
    #[cfg(feature = "cuda")]
    candle_core::cuda::set_gemm_reduced_precision_f32(on);
    #[cfg(not(feature = "cuda"))]
    let _ = on;
}

/// Gradients on a GPU, in single precision, then training and filling, in TF32, against the CPU.
#[test]
fn cuda_agrees_with_the_cpu() {
    let Some(cuda) = crate::cuda() else { return };
    let layout = Layout { coils: 6, acceleration: 3, kernel_1: 7, hidden: [32, 8] };
    let case = case(layout, (9, 40), 3);
    let window = 3..30;
    let (loss_a, a) = Cpu.gradient(&case.problem, &case.weights, window.clone()).unwrap();
    // Rounding features to TF32 turns some of them on or off, and a gradient with them.
    tf32(false);
    let (loss_b, b) = cuda.gradient(&case.problem, &case.weights, window).unwrap();
    tf32(true);
    assert!((loss_a / loss_b - 1.0).abs() < 1e-5, "{loss_a} {loss_b}");
    for layer in 0..3 {
        let error = difference(&b.layers[layer], &a.layers[layer]);
        assert!(error < 1e-4, "layer {layer}: {error}");
    }
    let all: Vec<Option<usize>> = (0..case.calibration.dim().1).map(Some).collect();
    let planes = Planes::new(case.calibration.view(), layout, 1, &all, layout.margin(), 1.0);
    let outputs = [&Cpu as &dyn Backend, cuda].map(|on| on.predict(&case.weights, &planes).unwrap());
    let rows = planes.domain().rows();
    let valid = |values: &[f32]| -> Vec<f32> {
        values.chunks(rows).flat_map(|column| column[..planes.domain().valid_rows()].to_vec()).collect()
    };
    let error = difference(&valid(&outputs[1]), &valid(&outputs[0]));
    assert!(error < 5e-3, "predictions: {error}");

    let parameters = Parameters { iterations: 100, ensemble: 2, ..Parameters::weighted() };
    let problems = [case.problem.clone(), Problem { entry: 1, ..case.problem }];
    let fits = [&Cpu as &dyn Backend, cuda].map(|on| on.fit(&problems, &parameters, &Silent).unwrap());
    for (a, b) in fits[0].iter().zip(&fits[1]) {
        assert!((a.loss / b.loss - 1.0).abs() < 0.02 && !b.diverged, "{} {}", a.loss, b.loss);
    }
}
