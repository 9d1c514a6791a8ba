//! What is written to standard output.

use std::io::{self, Write};

use contract::{Manifest, Record};
use store::Location;

use crate::error::JobError;

/// The manifest, as JSON or as a few lines for a person. `out` is where that person asked the results to go; a job, whose
/// output is a log, gives none, since an object key may name a patient.
pub(super) fn manifest(manifest: &Manifest, out: Option<&Location>, json: bool) -> Result<(), JobError> {
    let mut stdout = io::stdout().lock();
    let written = if json { stdout.write_all(&manifest.to_json()?) } else { summary(&mut stdout, manifest, out) };
    written.and_then(|()| stdout.flush()).map_err(JobError::io("writing to standard output"))
}

fn summary(to: &mut impl Write, manifest: &Manifest, out: Option<&Location>) -> io::Result<()> {
    for output in &manifest.outputs {
        let name = out.map_or_else(|| output.name.clone(), |out| out.join(&output.name).to_string());
        writeln!(to, "{:>12}  {name}", output.bytes)?;
    }
    writeln!(to, "method {}, seed {}, device {}", manifest.method, manifest.seed, manifest.device)?;
    for timing in &manifest.timings {
        writeln!(to, "{:>12}  {:.2} s", timing.stage, timing.seconds)?;
    }
    for (name, value) in &manifest.quality {
        writeln!(to, "{name}: {value:.4}")?;
    }
    for decision in &manifest.decisions {
        writeln!(to, "{}: {} ({})", decision.what, decision.choice, decision.reason)?;
    }
    for warning in &manifest.warnings {
        writeln!(to, "warning: {warning}")?;
    }
    Ok(())
}

/// One line of training metrics. SageMaker finds numbers in it with `name=([0-9.e+-]+)`.
pub(super) fn metrics(values: &[(&str, f64)]) -> Result<(), JobError> {
    let line: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", line.join(" "))
        .and_then(|()| stdout.flush())
        .map_err(JobError::io("writing to standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_files_times_and_quality() {
        let golden = include_bytes!("../../../events/contract/manifest.json");
        let manifest = Manifest::from_json(golden).unwrap();
        let print = |out: Option<&Location>| {
            let mut text = Vec::new();
            summary(&mut text, &manifest, out).unwrap();
            String::from_utf8(text).unwrap()
        };
        let text = print(Some(&Location::Path("out".into())));
        for part in
            ["out/image.nii.gz", "train  12.50 s", "calibration_residual: 0.0625", "device: cuda:0", "warning: "]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(print(None).contains("1048576  image.nii.gz\n"), "a log has names of ours only");
    }
}
