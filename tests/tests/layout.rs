//! The layout that `docs/architecture.md` promises: who may depend on whom.

#![allow(clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Names of every package that `package` is built with, itself left out. Development dependencies do not count.
fn dependencies(metadata: &Value, package: &str) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> =
        list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let edges: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let built = list(&node["deps"])
                .iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].as_str() != Some("dev")))
                .map(|dep| text(&dep["pkg"]))
                .collect();
            (text(&node["id"]), built)
        })
        .collect();
    let root = names.iter().find(|(_, name)| *name == package).map(|(id, _)| id.clone());
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = root.into_iter().collect();
    assert!(!open.is_empty(), "{package} is not in the workspace");
    while let Some(id) = open.pop() {
        for next in edges.get(&id).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found.iter().map(|id| names[id].clone()).collect()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let metadata = metadata();
    let forbidden: [(&str, &[&str]); 6] = [
        ("contract", &["aws-", "aws_", "tokio", "candle-", "lambda_runtime"]),
        ("kspace", &["aws-", "aws_", "tokio", "candle-", "lambda_runtime"]),
        ("pages", &["aws-", "aws_", "tokio", "candle-", "lambda_runtime", "kspace"]),
        ("store", &["candle-", "lambda_runtime"]),
        ("functions", &["candle-"]),
        ("gpu-job", &["lambda_runtime", "aws_lambda_events"]),
    ];
    for (package, prefixes) in forbidden {
        let found = dependencies(&metadata, package);
        let wrong: Vec<_> = found.iter().filter(|name| prefixes.iter().any(|p| name.starts_with(p))).collect();
        assert!(wrong.is_empty(), "{package} depends on {wrong:?}");
    }
    assert!(dependencies(&metadata, "functions").contains("lambda_runtime"), "the walk finds what is there");
    assert!(dependencies(&metadata, "gpu-job").contains("candle-core"), "the walk finds what is there");
}

#[test]
fn the_six_functions_are_thin() {
    let bins = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/src/bin");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(bins).expect("functions has binaries") {
        let path = entry.expect("the folder can be read").path();
        let lines = std::fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(lines <= 40, "{} has {lines} lines: a binary only wires, at most 40", path.display());
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    let expected = ["decompress", "metrics", "outcome", "prepare-job", "refresh", "scale", "submit"];
    assert_eq!(names, expected.map(str::to_owned).into());
}
