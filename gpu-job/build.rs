//! Hands the git revision to the program, where there is one.
#![expect(clippy::disallowed_methods, reason = "cargo talks to build scripts this way")]

use std::process::Command;

fn main() {
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
