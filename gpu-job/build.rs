//! Hands the git revision to the program, where there is one, and compiles the CUDA kernels for a build with CUDA.
#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts this way")]

use std::path::Path;
use std::process::Command;

fn main() -> Result<(), String> {
    revision();
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        kernels()?;
    }
    Ok(())
}

/// PTX for the least compute capability that the program is to run on; drivers compile it for every later one.
fn kernels() -> Result<(), String> {
    const SOURCES: [(&str, &str); 3] = [
        ("src/raki/tensor/kernels.cu", "raki.ptx"),
        ("src/cuda/nwg.cu", "nwg.ptx"),
        ("src/cuda/image.cu", "image.ptx"),
    ];
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let capability = std::env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "75".to_owned());
    let out = std::env::var_os("OUT_DIR").ok_or("cargo has named no OUT_DIR")?;
    for (source, ptx) in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        let mut compiler = Command::new("nvcc");
        compiler.args(["--ptx", "-O3", &format!("-arch=compute_{capability}"), source, "-o"]);
        match compiler.arg(Path::new(&out).join(ptx)).status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("nvcc refused {source} with {status}, see its messages above")),
            Err(error) => {
                return Err(format!("nvcc cannot be run ({error}): install it as gpu-job/cuda/README.md says"));
            }
        }
    }
    Ok(())
}

fn revision() {
    // Set by an image build, whose context has no .git.
    println!("cargo::rerun-if-env-changed=RAKI_GIT_REVISION");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    if std::env::var_os("RAKI_GIT_REVISION").is_some_and(|revision| !revision.is_empty()) {
        return;
    }
    let (Some(revision), Some(log)) = (
        git(&["rev-parse", "--short=12", "HEAD"]),
        git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]),
    ) else {
        // Without a file to watch, the whole package would be watched and rebuilt too often.
        println!("cargo::rerun-if-changed=build.rs");
        return;
    };
    println!("cargo::rustc-env=RAKI_GIT_REVISION={revision}");
    println!("cargo::rerun-if-changed={log}");
}
