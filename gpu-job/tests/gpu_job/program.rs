//! The program: arguments, exit codes, signals, standard output.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use contract::manifest::Source;
use contract::{DevicePreference, ExitCode, JobSpec, Manifest, Method, Record};
use store::state::JobFailure;

use crate::scans::{Recipe, scan_id};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-job"));
    command.env_clear().env("RUST_LOG", "warn").env("RAKI_IMAGE_DIGEST", "sha256:0123");
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn exit(output: &Output) -> Option<ExitCode> {
    ExitCode::from_code(output.status.code().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn reconstruct_prints_the_manifest_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe::default().write(&folder.path().join("a.safetensors"));
    let out = folder.path().join("out");
    let arguments =
        ["reconstruct", path(&prepared), "--out", path(&out), "--method", "grappa", "--seed", "7", "--json"];
    let first = run(&arguments);
    assert_eq!(exit(&first), Some(ExitCode::Done), "{}", text(&first.stderr));
    let manifest = Manifest::from_json(&first.stdout).unwrap();
    assert_eq!((manifest.method, manifest.seed), (Method::Grappa, 7));
    assert_eq!(manifest.tool.image_digest.as_deref(), Some("sha256:0123"));
    assert_eq!(run(&arguments).stdout, first.stdout);
    // Another ridge makes another result of the same method, with identifiers of its own.
    let identifier = || {
        let name = &manifest.outputs.iter().find(|output| output.name.ends_with(".dcm")).unwrap().name;
        let file = dicom_object::open_file(out.join(name)).unwrap();
        file.element(dicom_dictionary_std::tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned()
    };
    let first_identifier = identifier();
    let other = Manifest::from_json(&run(&[&arguments[..], &["--ridge", "0.01"]].concat()).stdout).unwrap();
    assert_eq!((&manifest.parameters["ridge"], &other.parameters["ridge"]), (&"noise".into(), &"0.01".into()));
    assert_ne!(identifier(), first_identifier);

    let for_people = run(&arguments[..arguments.len() - 1]);
    assert!(text(&for_people.stdout).contains("image.nii.gz"));
}

#[test]
fn failures_have_their_codes_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let garbage = folder.path().join("Meier.safetensors");
    std::fs::write(&garbage, [7; 64]).unwrap();
    let bad = run(&["reconstruct", path(&garbage), "--out", path(&out)]);
    assert_eq!(exit(&bad), Some(ExitCode::BadData));
    assert!(!text(&bad.stderr).contains("Meier"), "{}", text(&bad.stderr));

    let none = run(&["reconstruct", "s3:///key", "--out", path(&out)]);
    assert_eq!(exit(&none), Some(ExitCode::Usage));
    assert_eq!(exit(&run(&["reconstruct"])), Some(ExitCode::Usage));
    assert_eq!(exit(&run(&["--version"])), Some(ExitCode::Done));
}

#[cfg(not(feature = "cuda"))]
#[test]
fn cuda_without_cuda_is_wrong_use_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = Recipe::default().write(&folder.path().join("a.safetensors"));
    let refused = run(&["reconstruct", path(&prepared), "--out", path(&folder.path().join("out")), "--device", "cuda"]);
    assert_eq!(exit(&refused), Some(ExitCode::Usage));
    assert!(text(&refused.stderr).contains("--features cuda"), "{}", text(&refused.stderr));
}

#[test]
fn sigterm_ends_a_long_job_quickly_with_nothing_written() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { slices: 8, coils: 32, lines: 128, samples: 128, acs_lines: 40, ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let out = folder.path().join("out");
    let mut child = program()
        .args(["reconstruct", path(&prepared), "--out", path(&out), "--device", "cpu"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "the job ended before it was stopped");
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(ExitCode::Transient.code().into()));
    // After 20 seconds the program would end itself, and Batch would after 30.
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert!(!out.exists());
}

#[test]
fn sigterm_leaves_a_checkpoint_that_the_next_run_of_the_job_ends_from() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { slices: 12, coils: 4, lines: 96, samples: 64, scan: Some(scan_id("a")), ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let (spec, at) = spec(folder.path(), &prepared, Method::Auto);
    // Four groups of three slices wherever this runs. At 40 % the second is trained, so that the first is finished.
    let job = || {
        let mut command = program();
        command.args(["run", "--spec", &at]).env("RUST_LOG", "info").env("RAYON_NUM_THREADS", "2");
        command
    };
    let results = folder.path().join("results/a");
    let image = || std::fs::read(results.join("image.nii.gz")).unwrap();
    assert!(job().output().unwrap().status.success());
    let whole = image();
    std::fs::remove_dir_all(&results).unwrap();

    let mut child = job().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let percent = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("percent")?.as_u64();
    assert!(lines.any(|line| percent(&line).is_some_and(|percent| percent >= 40)));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(ExitCode::Transient.code().into()), "{rest:?}");
    let checkpoint = folder.path().join(format!("jobs/{}.checkpoint.safetensors", spec.scan));
    assert!(checkpoint.exists() && !results.exists());

    let resumed = job().output().unwrap();
    assert_eq!(exit(&resumed), Some(ExitCode::Done), "{}", text(&resumed.stderr));
    let taken = text(&resumed.stderr);
    let taken = taken.lines().find(|line| line.contains("entries taken over")).unwrap();
    let taken: serde_json::Value = serde_json::from_str(taken).unwrap();
    assert!((3..12).contains(&taken["entries"].as_u64().unwrap()), "{taken}");
    assert!(image() == whole && !checkpoint.exists());
}

fn spec(folder: &Path, prepared: &Path, method: Method) -> (JobSpec, String) {
    let spec = JobSpec {
        schema: JobSpec::SCHEMA,
        scan: scan_id("a"),
        prepared: path(prepared).to_owned(),
        results: format!("{}/results/a/", path(folder)),
        method,
        refine: None,
        seed: 3,
        device: DevicePreference::Cpu,
        source: Source { key_sha256: "k".to_owned(), ..Source::default() },
        images: contract::ImageOptions::default(),
    };
    let jobs = folder.join("jobs");
    std::fs::create_dir_all(&jobs).unwrap();
    let at = jobs.join(format!("{}.json", spec.scan));
    std::fs::write(&at, spec.to_json().unwrap()).unwrap();
    (spec, path(&at).to_owned())
}

#[test]
fn run_does_what_the_spec_says_and_leaves_the_reason_of_a_refusal_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { scan: Some(scan_id("a")), ..Recipe::default() };
    let prepared = recipe.write(&folder.path().join("a.safetensors"));
    let (spec, at) = spec(folder.path(), &prepared, Method::Grappa);
    let done = run(&["run", "--spec", &at]);
    assert_eq!(exit(&done), Some(ExitCode::Done), "{}", text(&done.stderr));
    let manifest = std::fs::read(folder.path().join("results/a/manifest.json")).unwrap();
    let manifest = Manifest::from_json(&manifest).unwrap();
    assert_eq!((manifest.scan, manifest.seed, manifest.source.key_sha256.as_str()), (spec.scan.clone(), 3, "k"));

    std::fs::remove_dir_all(folder.path().join("results")).unwrap();
    Recipe { acs_lines: 0, ..recipe }.write(&prepared);
    let refused = run(&["run", "--spec", &at]);
    assert_eq!(exit(&refused), Some(ExitCode::BadData));
    let failure = folder.path().join(store::state::job_failure_key(&spec.scan));
    let failure = JobFailure::from_json(&std::fs::read(failure).unwrap()).unwrap();
    assert_eq!((failure.scan, failure.exit), (spec.scan, ExitCode::BadData));
    assert!(failure.reason.contains("no calibration lines"), "{}", failure.reason);
}

#[test]
fn train_follows_the_sagemaker_contract() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    let (config, channel) = (base.join("input/config"), base.join("input/data/training"));
    std::fs::create_dir_all(&config).unwrap();
    std::fs::create_dir_all(&channel).unwrap();
    let recipe = Recipe { slices: 2, acceleration: 3, ..Recipe::default() };
    recipe.write(&channel.join("a.safetensors"));
    let settings = |text: &str| std::fs::write(config.join("hyperparameters.json"), text).unwrap();
    let train = || run(&["train", "--base", path(base)]);

    settings(r#"{"iterations": "200", "seed": "1", "device": "cpu", "sagemaker_program": "x"}"#);
    let trained = train();
    assert_eq!(exit(&trained), Some(ExitCode::Done), "{}", text(&trained.stderr));
    let lines: Vec<String> = text(&trained.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    for (index, line) in lines.iter().enumerate() {
        let values: Vec<(&str, f64)> = line
            .split(' ')
            .map(|part| part.split_once('=').unwrap())
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        assert_eq!(values[0], ("entry", index as f64));
        assert_eq!(
            values.iter().map(|v| v.0).collect::<Vec<_>>(),
            ["entry", "loss", "calibration_residual", "seconds"]
        );
    }
    let model =
        candle_core::safetensors::load(base.join("model/model.safetensors"), &candle_core::Device::Cpu).unwrap();
    assert_eq!(model.len(), 6);
    assert_eq!(model["file0.entry1.layer1"].dims(), [8, 32, 112]);
    assert_eq!(model["file0.entry1.layer3"].dims(), [8, 6, 2, 8]);
    assert!(!base.join("output/failure").exists());

    settings(r#"{"iteration": "3"}"#);
    assert_eq!(exit(&train()), Some(ExitCode::Usage));
    let reason = std::fs::read_to_string(base.join("output/failure")).unwrap();
    assert!(reason.contains("unknown hyperparameter \"iteration\""), "{reason}");

    settings(r#"{"iterations": "many"}"#);
    assert_eq!(exit(&train()), Some(ExitCode::Usage));

    // A fully sampled scan is undersampled and scored; other widths are a setting.
    settings(
        r#"{"method": "raki-paper", "hidden_1": "48", "iterations": "200", "acceleration": "2", "acs": "16", "device": "cpu"}"#,
    );
    Recipe { acceleration: 1, ..recipe.clone() }.write(&channel.join("a.safetensors"));
    let trained = train();
    assert_eq!(exit(&trained), Some(ExitCode::Done), "{}", text(&trained.stderr));
    let line = text(&trained.stdout).lines().next().unwrap().to_owned();
    let psnr: f64 = line.split(' ').find_map(|part| part.strip_prefix("psnr=")).unwrap().parse().unwrap();
    assert!(psnr > 15.0 && line.contains(" ssim=") && line.contains(" nrmse="), "{line}");
    let model =
        candle_core::safetensors::load(base.join("model/model.safetensors"), &candle_core::Device::Cpu).unwrap();
    assert_eq!(model["file0.entry1.layer1"].dims(), [8, 48, 80]);
    assert!(std::fs::read(base.join("model/figures/file0.entry1.png")).unwrap().starts_with(b"\x89PNG"));

    // Calibration lines of their own, of a sampled scan.
    settings(r#"{"iterations": "100", "device": "cpu"}"#);
    Recipe { slices: 1, coils: 6, lines: 72, samples: 56, acs_lines: 0, separate: Some((20, 40)), ..recipe.clone() }
        .write(&channel.join("a.safetensors"));
    let trained = train();
    assert_eq!(exit(&trained), Some(ExitCode::Done), "{}", text(&trained.stderr));
    assert!(text(&trained.stdout).starts_with("entry=0 loss="));

    Recipe { acceleration: 1, ..recipe }.write(&channel.join("a.safetensors"));
    settings(r#"{"acceleration": "40", "device": "cpu"}"#);
    assert_eq!(exit(&train()), Some(ExitCode::BadData));
}
