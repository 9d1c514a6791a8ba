//! Whole jobs, from a prepared file to a manifest.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use contract::manifest::Source;
use contract::scan::hex;
use contract::{ExitCode, Manifest, Method, Record, Refine};
use gpu_job::raki::Parameters;
use gpu_job::reconstruct::Metrics;
use gpu_job::{JobError, Progress, Request, Silent, engine, reconstruct};
use sha2::{Digest, Sha256};

use crate::scans::{Recipe, scan_id};

fn request(prepared: &Path, out: &Path, method: Method) -> Request {
    let mut request = Request::new(prepared.to_str().unwrap(), out.to_str().unwrap()).unwrap();
    request.recipe = engine::Recipe::new(method, None, 0);
    request.recipe.training.iterations = 30;
    request
}

fn metrics(out: &Path) -> Metrics {
    Metrics::from_json(&std::fs::read(out.join("metrics.json")).unwrap()).unwrap()
}

#[test]
fn every_method_gives_a_complete_result_that_its_manifest_describes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { scan: Some(scan_id("a")), ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    for method in Method::ALL {
        let out = folder.path().join(method.name());
        let source = Source { key_sha256: "k".to_owned(), version: Some("v".to_owned()), ..Source::default() };
        let mut request = Request { source: Some(source), ..request(&prepared, &out, method) };
        (request.images.phase, request.images.ismrmrd) = (true, true);
        let manifest = reconstruct(&request, &Silent).unwrap();
        let written = Manifest::from_json(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest, written);
        assert_eq!((&manifest.scan, manifest.method), (recipe.scan.as_ref().unwrap(), method));
        assert_eq!(manifest.source.sha256, "ab".repeat(32));
        assert_eq!(manifest.source.version.as_deref(), Some("v"));
        assert_eq!(manifest.losses.len(), if request.recipe.trains() { 3 } else { 0 });
        assert_eq!(manifest.refine, method.refinement());
        assert_eq!(manifest.quality.contains_key("networks"), method == Method::Auto);
        assert_eq!(
            manifest.decisions.iter().any(|decision| decision.what == "sensitivity maps"),
            method == Method::Auto
        );
        assert!(manifest.warnings.contains(&"a warning of the preparation".to_owned()));
        assert_eq!(manifest.quality.contains_key("calibration_residual"), method != Method::ZeroFilled);
        for timing in &manifest.timings {
            assert_eq!(timing.cpu_seconds.is_some(), timing.stage != "read", "{}", timing.stage);
        }
        let slices = [1, 2, 3].map(|number| format!("dicom/{}-00000{number}.dcm", manifest.scan));
        let linear = matches!(method, Method::Auto | Method::Raki | Method::Nwg | Method::Grappa);
        let mut expected = vec!["image.nii.gz", "phase.nii.gz"];
        expected.extend(linear.then_some("gfactor.nii.gz"));
        // How the published networks pass noise on is not known.
        let told = method != Method::RakiPaper;
        expected.extend(told.then_some("noise.nii.gz"));
        expected.extend(slices.iter().map(String::as_str));
        expected.extend(["image.h5", "preview.png", "thumbnail.png", "metrics.json", "report.html"]);
        let names: Vec<&str> = manifest.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, expected);
        assert_eq!(manifest.quality.contains_key("g_factor"), linear);
        assert!(manifest.quality.contains_key("noise_level"), "{method}");
        assert_eq!(manifest.quality.contains_key("snr"), told, "{method}");
        for output in &manifest.outputs {
            let content = std::fs::read(out.join(&output.name)).unwrap();
            assert_eq!(content.len() as u64, output.bytes);
            assert_eq!(hex(&Sha256::digest(&content)), output.sha256, "{}", output.name);
        }
        let metrics = metrics(&out);
        assert_eq!(metrics.summary, manifest.quality);
        assert_eq!(metrics.entries.len(), 3);
        assert_eq!(metrics.entries[0].acquired_lines, 25);
        assert_eq!(metrics.entries[0].missing_lines, 8);
        assert_eq!(metrics.entries[0].filled_energy > 0.0, method != Method::ZeroFilled);
        let least = request.recipe.sparse.iterations;
        for entry in &metrics.entries {
            let steps = entry.refinement_steps;
            assert_eq!(steps.is_some_and(|steps| steps >= least), method == Method::Auto, "{method}: {steps:?}");
        }
        assert_eq!(metrics.summary.contains_key("refinement_steps"), method == Method::Auto);
    }
}

#[test]
fn the_calibration_residual_tells_a_fit_from_none() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe { lines: 65, samples: 48, ..Recipe::default() }.write(&folder.path().join("a.safetensors"));
    let residual = |method: Method, iterations: usize| {
        let out = folder.path().join(format!("{method}{iterations}"));
        let mut request = request(&prepared, &out, method);
        request.recipe.training.iterations = iterations;
        reconstruct(&request, &Silent).unwrap().quality["calibration_residual"]
    };
    for method in [Method::Grappa, Method::Nwg] {
        assert!(residual(method, 1) < 0.2, "{method}: {}", residual(method, 1));
    }
    for method in [Method::RakiPaper, Method::Raki] {
        let (short, long) = (residual(method, 5), residual(method, 300));
        assert!(long < 0.2 && long < short, "{method}: {short} {long}");
    }
}

#[test]
fn the_same_prepared_file_gives_the_same_bytes_anywhere_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { slices: 5, ..Recipe::default() };
    let images: Vec<[Vec<u8>; 3]> = [(1, "x"), (2, "y"), (3, "z")]
        .into_iter()
        .map(|(threads, name)| {
            // The scan differs, as it does between a local run and the chain; the data do not.
            let recipe = Recipe { scan: Some(scan_id(name)), ..recipe.clone() };
            let prepared = recipe.write(&folder.path().join(format!("{name}.safetensors")));
            let out = folder.path().join(name);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| reconstruct(&request(&prepared, &out, Method::Auto), &Silent)).unwrap();
            ["image.nii.gz", "preview.png", "gfactor.nii.gz"].map(|name| std::fs::read(out.join(name)).unwrap())
        })
        .collect();
    assert!(images.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(images[0][0].starts_with(&[0x1f, 0x8b]) && images[0][1].starts_with(b"\x89PNG"));
}

#[test]
fn a_result_is_made_once_and_made_anew_for_another_seed_or_scan() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let recipe = Recipe { slices: 1, scan: Some(scan_id("old")), ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let mut request = request(&prepared, &out, Method::Raki);
    let first = reconstruct(&request, &Silent).unwrap();
    std::fs::remove_file(out.join("preview.png")).unwrap();
    assert_eq!(reconstruct(&request, &Silent).unwrap(), first);
    assert!(!out.join("preview.png").exists(), "a result that exists was made again");

    request.recipe.training.seed = 1;
    assert_ne!(reconstruct(&request, &Silent).unwrap().outputs, first.outputs);
    assert!(out.join("preview.png").exists());

    Recipe { scan: Some(scan_id("new")), ..recipe }.write(&prepared);
    assert_eq!(reconstruct(&request, &Silent).unwrap().scan, scan_id("new"));
}

#[test]
fn a_prepared_file_of_a_newer_upload_is_not_filed_under_the_older_scan() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { scan: Some(scan_id("new")), ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let request =
        Request { scan: Some(scan_id("old")), ..request(&prepared, &folder.path().join("out"), Method::Grappa) };
    let error = reconstruct(&request, &Silent).unwrap_err();
    assert_eq!(error.exit(), ExitCode::BadData);
    assert!(error.to_string().contains("newer upload"), "{error}");
}

#[test]
fn fully_sampled_data_need_no_filling_and_accelerated_data_need_calibration_lines() {
    let folder = tempfile::tempdir().unwrap();
    let complete = Recipe { acceleration: 1, ..Recipe::default() }.write(&folder.path().join("full.safetensors"));
    let manifest = reconstruct(&request(&complete, &folder.path().join("full"), Method::Raki), &Silent).unwrap();
    assert!(manifest.decisions.iter().any(|decision| decision.reason == "they are fully sampled"));
    assert!(manifest.losses.is_empty() && !manifest.quality.contains_key("calibration_residual"));
    assert!(manifest.outputs.iter().any(|output| output.name == "noise.nii.gz"));
    assert!(manifest.decisions.iter().any(|decision| decision.choice == "of the outer lines of the image"));

    let none = Recipe { acs_lines: 0, ..Recipe::default() }.write(&folder.path().join("none.safetensors"));
    for method in Method::ALL.into_iter().filter(|method| *method != Method::ZeroFilled) {
        let out = folder.path().join(format!("none-{method}"));
        let error = reconstruct(&request(&none, &out, method), &Silent).unwrap_err();
        assert_eq!(error.exit(), ExitCode::BadData);
        assert!(error.to_string().contains("no calibration lines"), "{error}");
        assert!(!out.join("manifest.json").exists());
    }
    reconstruct(&request(&none, &folder.path().join("zero"), Method::ZeroFilled), &Silent).unwrap();

    let few =
        Recipe { acceleration: 4, acs_lines: 8, ..Recipe::default() }.write(&folder.path().join("few.safetensors"));
    let error = reconstruct(&request(&few, &folder.path().join("few"), Method::RakiPaper), &Silent).unwrap_err();
    assert!(error.to_string().contains("found 8 calibration lines"), "{error}");
    let fewer =
        Recipe { acceleration: 4, acs_lines: 4, ..Recipe::default() }.write(&folder.path().join("fewer.safetensors"));
    let error = reconstruct(&request(&fewer, &folder.path().join("fewer"), Method::Auto), &Silent).unwrap_err();
    assert!(error.to_string().contains("at least 5 are needed"), "{error}");
    let mut refined = request(&few, &folder.path().join("zero"), Method::ZeroFilled);
    refined.recipe.refine = Refine::Sparse;
    let error = reconstruct(&refined, &Silent).unwrap_err();
    assert!(error.to_string().contains("--refine none"), "{error}");
}

#[test]
fn bad_files_and_bad_parameters_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let exit = |prepared: &Path, parameters: Parameters| {
        let mut request = request(prepared, &out, Method::Raki);
        request.recipe.training = parameters;
        reconstruct(&request, &Silent).map_err(|error| error.exit())
    };
    let garbage = folder.path().join("garbage.safetensors");
    std::fs::write(&garbage, [7; 64]).unwrap();
    assert_eq!(exit(&garbage, Parameters::default()), Err(ExitCode::BadData));
    assert_eq!(exit(&folder.path().join("nothing"), Parameters::default()), Err(ExitCode::Usage));
    let good = Recipe::default().write(&folder.path().join("good.safetensors"));
    let whole = std::fs::read(&good).unwrap();
    let cut = folder.path().join("cut.safetensors");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(exit(&cut, Parameters::default()), Err(ExitCode::Transient));
    for wrong in [
        Parameters { iterations: 0, ..Parameters::default() },
        Parameters { learning_rate: f64::NAN, ..Parameters::default() },
        Parameters { window: 0.0, ..Parameters::default() },
    ] {
        assert_eq!(exit(&good, wrong), Err(ExitCode::Usage));
    }
    assert!(!out.exists() || std::fs::read_dir(&out).unwrap().next().is_none());
}

/// Stops after some progress, and counts it.
struct StopAfter {
    limit: u64,
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress for StopAfter {
    fn stage(&self, _: &'static str, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.limit
    }
}

#[test]
fn progress_is_complete_and_a_stopped_job_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe::default().write(&folder.path().join("a.safetensors"));
    let run = |limit: u64, out: &str| {
        let progress = StopAfter { limit, total: AtomicU64::new(0), done: AtomicU64::new(0) };
        let result = reconstruct(&request(&prepared, &folder.path().join(out), Method::Raki), &progress);
        (result, progress.total.into_inner(), progress.done.into_inner())
    };
    let (result, total, done) = run(u64::MAX, "whole");
    result.unwrap();
    assert_eq!(total, done);
    for limit in [0, total / 2, total - 1] {
        let (result, ..) = run(limit, "stopped");
        assert!(matches!(result, Err(JobError::Interrupted)), "{limit} of {total}");
        assert!(!folder.path().join("stopped").exists(), "{limit} of {total}");
    }
}

/// Files that hold no times.
pub(crate) fn images_of(manifest: contract::Manifest) -> Vec<contract::manifest::Output> {
    manifest.outputs.into_iter().filter(|output| output.name != "report.html").collect()
}

#[test]
fn a_stopped_job_resumes_to_the_same_bits_and_forgets_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe { slices: 7, ..Recipe::default() }.write(&folder.path().join("a.safetensors"));
    let checkpoint = folder.path().join("a.checkpoint.safetensors");
    let run = |out: &str, limit: u64, seed: u64| {
        let progress = StopAfter { limit, total: AtomicU64::new(0), done: AtomicU64::new(0) };
        let mut request = request(&prepared, &folder.path().join(out), Method::Auto);
        request.recipe.training.seed = seed;
        request.checkpoint = Some(store::Location::parse(checkpoint.to_str().unwrap()).unwrap());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        (pool.install(|| reconstruct(&request, &progress)), progress.total.into_inner(), progress.done.into_inner())
    };
    let read = |out: &str, name: &str| std::fs::read(folder.path().join(out).join(name)).unwrap();
    let (whole, total, _) = run("whole", u64::MAX, 0);
    let whole = whole.unwrap();
    assert!(!checkpoint.exists());

    let (stopped, ..) = run("stopped", total * 6 / 7, 0);
    assert!(matches!(stopped, Err(JobError::Interrupted)) && checkpoint.exists());
    assert!(!folder.path().join("stopped").exists());
    // Another seed is another job: it begins anew.
    let (other, ..) = run("other", 1, 1);
    assert!(matches!(other, Err(JobError::Interrupted)));
    let (resumed, _, done) = run("stopped", total + 1, 0);
    assert_eq!((images_of(resumed.unwrap()), done), (images_of(whole.clone()), total));
    assert!(!checkpoint.exists(), "a finished job keeps no checkpoint");
    for name in ["image.nii.gz", "preview.png", "metrics.json"] {
        assert_eq!(read("stopped", name), read("whole", name), "{name}");
    }

    std::fs::write(&checkpoint, b"not a checkpoint").unwrap();
    assert_eq!(run("garbage", u64::MAX, 0).0.unwrap().quality, whole.quality);
}

#[test]
fn slices_of_a_slab_share_the_networks_of_the_middle_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { slices: 5, lines: 65, samples: 48, ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let run = |slab: usize, warm: usize| {
        let out = folder.path().join(format!("slab{slab}.{warm}"));
        let mut request = request(&prepared, &out, Method::Raki);
        request.recipe.training.iterations = 200;
        request.recipe.slab = slab;
        request.recipe.warm = warm;
        let progress = StopAfter { limit: u64::MAX, total: AtomicU64::new(0), done: AtomicU64::new(0) };
        let quality = reconstruct(&request, &progress).unwrap().quality;
        assert_eq!(progress.total.into_inner(), progress.done.into_inner(), "slab of {slab}");
        (metrics(&out).entries.iter().map(|entry| entry.loss).collect::<Vec<_>>(), quality["calibration_residual"])
    };
    let (each, alone) = run(1, 0);
    let (shared, together) = run(3, 0);
    assert!(shared[0] == each[1] && shared[2] == each[1] && shared[3] == each[4] && shared[4] == each[4]);
    assert!(together < 2.0 * alone + 0.05, "{alone} {together}");
    let (adapted, residual) = run(3, 60);
    assert!(adapted[1] == each[1] && adapted[0] != each[1] && adapted[0] != each[0]);
    assert!(residual < together, "{residual} {together}");
}

#[test]
fn networks_that_do_not_converge_give_way_to_nwg_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe { slices: 1, ..Recipe::default() }.write(&folder.path().join("a.safetensors"));
    let run = |method: Method, learning_rate: f64| {
        let out = folder.path().join(method.name());
        let mut request = request(&prepared, &out, method);
        request.recipe.training.learning_rate = learning_rate;
        // The only step is one of the peak rate, which throws the weights far off.
        request.recipe.training.iterations = 1;
        let manifest = reconstruct(&request, &Silent).unwrap();
        (manifest, std::fs::read(out.join("image.nii.gz")).unwrap())
    };
    let (_, expected) = run(Method::Nwg, 1e-2);
    for method in [Method::Raki, Method::RakiPaper] {
        let (manifest, image) = run(method, 1.0);
        assert!(
            manifest.warnings.iter().any(|warning| warning.contains("did not converge")),
            "{:?}",
            manifest.warnings
        );
        assert_eq!(image, expected, "{method}");
    }
}
