//! Each record equals its golden JSON under `events/contract/`, byte for byte, in both directions.

use std::path::PathBuf;

use contract::prepared::{PreparedMeta, Step};
use contract::{ContractError, JobSpec, Manifest, Quarantine, Record, Status};

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events/contract").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn survives<R: Record>(name: &str) -> Result<(), ContractError> {
    let bytes = golden(name);
    let record = R::from_json(&bytes)?;
    assert_eq!(String::from_utf8_lossy(&record.to_json()?), String::from_utf8_lossy(&bytes), "{name}");

    let newer = String::from_utf8_lossy(&bytes).replacen("\"schema\": 1", "\"schema\": 2", 1);
    let refused = R::from_json(newer.as_bytes());
    assert!(matches!(refused, Err(ContractError::Schema { found: 2, expected: 1, .. })), "{name}");
    Ok(())
}

#[test]
fn job_spec() -> Result<(), ContractError> {
    survives::<JobSpec>("job-spec.json")
}

#[test]
fn manifest() -> Result<(), ContractError> {
    survives::<Manifest>("manifest.json")
}

#[test]
fn status() -> Result<(), ContractError> {
    survives::<Status>("status.json")
}

#[test]
fn quarantine() -> Result<(), ContractError> {
    survives::<Quarantine>("quarantine.json")
}

#[test]
fn prepared_metadata() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = golden("prepared-metadata.json");
    let meta: PreparedMeta = serde_json::from_slice(&bytes)?;
    assert_eq!(format!("{}\n", serde_json::to_string_pretty(&meta)?), String::from_utf8_lossy(&bytes));

    assert_eq!(meta.step(Step::NORMALISE).and_then(|step| step.number("factor")), Some(2.5e-4));
    assert_eq!(meta.step(Step::AVERAGE).and_then(|step| step.number("copies")), Some(2.0));
    assert_eq!(meta.step(Step::PREWHITEN).and_then(|step| step.number("copies")), None);
    assert_eq!(meta.step("compress_coils"), None);

    let mut map = meta.to_metadata()?;
    assert_eq!(PreparedMeta::from_metadata(&map)?, meta);
    map.insert("schema".to_owned(), "7".to_owned());
    assert!(matches!(PreparedMeta::from_metadata(&map), Err(ContractError::Schema { found: 7, .. })));
    map.remove("schema");
    assert!(matches!(PreparedMeta::from_metadata(&map), Err(ContractError::MissingMetadata("schema"))));
    Ok(())
}
