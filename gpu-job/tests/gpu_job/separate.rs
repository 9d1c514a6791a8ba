//! Calibration lines that are not part of k-space, and normalised samples: in the engine and in whole jobs.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use contract::Method;
use gpu_job::engine::{Clock, Engine, Recipe as Engaged, Slice};
use gpu_job::raki::Cpu;
use gpu_job::{JobError, Progress, Request, Silent, reconstruct};
use kspace::Complex32;
use kspace::numerics::combine::rss;
use kspace::numerics::metrics::psnr;
use ndarray::Array3;

use crate::jobs::images_of;
use crate::scans::Recipe;

const LINES: (usize, usize) = (20, 40);

fn recipe(acceleration: usize) -> Recipe {
    Recipe {
        slices: 1,
        coils: 6,
        lines: 72,
        samples: 56,
        acceleration,
        acs_lines: 0,
        separate: Some(LINES),
        ..Recipe::default()
    }
}

/// Adds noise of a variance of 2 `deviation`², with a seed.
fn noisy(mut kspace: Array3<Complex32>, mask: Option<&[bool]>, deviation: f32, seed: u64) -> Array3<Complex32> {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 12f32.sqrt()
    };
    for ((_, line, _), value) in kspace.indexed_iter_mut() {
        if mask.is_none_or(|mask| mask[line]) {
            *value += Complex32::new(random(), random()) * deviation;
        }
    }
    kspace
}

/// PSNR of a method, with the noise level and the calibration residual that it tells.
fn quality(recipe: &Recipe, method: Method) -> (f64, gpu_job::engine::Numbers) {
    let mask = recipe.mask();
    let slice = Slice {
        kspace: noisy(recipe.kspace(0), Some(&mask), 0.02, 1),
        mask,
        sampling: recipe.sampling(),
        number: 0,
        noise_variance: None,
        calibration: recipe.calibration(0).map(|lines| noisy(lines, None, 0.04, 2)),
        compare: false,
    };
    let mut engaged = Engaged::new(method, None, 0);
    engaged.training.iterations = 300;
    let engine = Engine { recipe: &engaged, backend: &Cpu, progress: &Silent };
    let done = engine.group(vec![slice], &mut Clock::default()).unwrap().remove(0);
    (psnr(&done.magnitude(), &rss(&recipe.images(0))), done.numbers)
}

#[test]
fn methods_fill_with_separate_calibration_lines() {
    for acceleration in [3, 4] {
        let separate = recipe(acceleration);
        let embedded = Recipe { acs_lines: LINES.0, separate: None, ..separate.clone() };
        let folded = quality(&separate, Method::ZeroFilled).0;
        for method in [Method::Grappa, Method::Nwg, Method::Raki, Method::Auto] {
            let (found, numbers) = quality(&separate, method);
            let (_, known) = quality(&embedded, method);
            // Plain GRAPPA has one ridge for the strong centre, which is missing here, and for the weak rest.
            let gain = if method == Method::Grappa { 1.5 } else { 3.0 };
            assert!(found > folded + gain, "R={acceleration}, {method}: {found} dB, zero-filled {folded} dB");
            assert!(numbers.calibration.is_none() && known.calibration.is_some());
            if let Some(variance) = numbers.noise_variance {
                let ratio = variance / (2.0 * 0.02f64.powi(2));
                // Filling stands a factor of 2 in the deviation.
                assert!((0.25..4.0).contains(&ratio), "R={acceleration}, {method}: noise off by {ratio}");
            }
        }
    }
}

fn request(prepared: &Path, out: &Path, method: Method) -> Request {
    let mut request = Request::new(prepared.to_str().unwrap(), out.to_str().unwrap()).unwrap();
    request.recipe = Engaged::new(method, None, 0);
    request.recipe.training.iterations = 30;
    request
}

#[test]
fn a_prepared_file_with_lines_of_its_own_is_reconstructed_by_every_method() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe { slices: 3, ..recipe(3) }.write(&folder.path().join("a.safetensors"));
    for method in Method::ALL.into_iter().filter(|method| *method != Method::RakiPaper) {
        let manifest = reconstruct(&request(&prepared, &folder.path().join(method.name()), method), &Silent).unwrap();
        let calibration = manifest.decisions.iter().find(|decision| decision.what == "calibration").unwrap();
        assert!(calibration.reason.contains("20 lines of 40 points"), "{}", calibration.reason);
        assert!(!manifest.quality.contains_key("calibration_residual"), "no acquired line lies off the grid");
        assert!(!manifest.warnings.iter().any(|warning| warning.contains("did not converge")), "{method}");
    }
    let few = Recipe { separate: Some((4, 40)), ..recipe(4) }.write(&folder.path().join("few.safetensors"));
    let narrow = Recipe { separate: Some((20, 6)), ..recipe(4) }.write(&folder.path().join("narrow.safetensors"));
    for (prepared, method, expected) in [
        (&few, Method::Auto, "found 4 calibration lines"),
        (&narrow, Method::Nwg, "found 6 points"),
        (&few, Method::RakiPaper, "found 4 calibration lines"),
        (&prepared, Method::RakiPaper, "choose auto, raki, nwg or grappa"),
    ] {
        let error = reconstruct(&request(prepared, &folder.path().join("refused"), method), &Silent).unwrap_err();
        assert!(matches!(&error, JobError::BadData(reason) if reason.contains(expected)), "{error}");
    }
}

/// Stops after some progress.
struct StopAfter(u64, AtomicU64);

impl Progress for StopAfter {
    fn advance(&self, steps: u64) {
        self.1.fetch_add(steps, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_stopped_job_with_separate_calibration_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let recipe =
        Recipe { slices: 7, lines: 40, samples: 32, factor: Some(0.25), separate: Some((16, 24)), ..recipe(2) };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let run = |out: &str, limit: u64| {
        let mut request = request(&prepared, &folder.path().join(out), Method::Auto);
        let checkpoint = folder.path().join("a.checkpoint.safetensors");
        request.checkpoint = Some(store::Location::parse(checkpoint.to_str().unwrap()).unwrap());
        let progress = StopAfter(limit, AtomicU64::new(0));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        (pool.install(|| reconstruct(&request, &progress)), progress.1.into_inner(), checkpoint.exists())
    };
    let (whole, total, _) = run("whole", u64::MAX);
    let (stopped, _, saved) = run("stopped", total * 6 / 7);
    assert!(matches!(stopped, Err(JobError::Interrupted)) && saved);
    assert_eq!(images_of(run("stopped", u64::MAX).0.unwrap()), images_of(whole.unwrap()));
}

#[test]
fn images_have_the_unit_of_the_raw_data_whatever_they_were_divided_by() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, factor: Option<f32>| {
        let recipe = Recipe { slices: 1, factor, ..Recipe::default() };
        let prepared = recipe.write(&folder.path().join(format!("{name}.safetensors")));
        let out = folder.path().join(name);
        let manifest = reconstruct(&request(&prepared, &out, Method::ZeroFilled), &Silent).unwrap();
        let said = manifest.decisions.iter().any(|decision| decision.what == "unit of the images");
        (std::fs::read(out.join("image.nii.gz")).unwrap(), said)
    };
    // Powers of two divide and multiply without rounding.
    let (plain, normalised) = (run("plain", None), run("normalised", Some(0.125)));
    assert!(plain.0 == normalised.0 && !plain.1 && normalised.1);
}
