//! One scan looked into: its report, what its reconstruction takes on this machine, and a picture of its sampling.

use contract::{DevicePreference, Method};
use gpu_job::device;
use gpu_job::engine::Recipe;
use gpu_job::engine::cost::{Machine, Work};
use kspace::format::RawScan;
use kspace::image::mask;
use kspace::inspect::Report;
use kspace::prepare::{self, Compression, Options, Plan};
use serde::Serialize;

use crate::Result;

/// What is in a scan and what will become of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Look {
    /// What is in it. Its reason is also why the default method cannot reconstruct what can be prepared.
    #[serde(flatten)]
    pub report: Report,
    /// Whether the default method reconstructs it.
    pub reconstructs: bool,
    /// What that takes; absent where it does not.
    pub cost: Option<Cost>,
    /// Picture of the sampling, a PNG; absent for a scan that cannot be prepared.
    #[serde(skip)]
    pub mask: Option<Vec<u8>>,
}

/// What the reconstruction with the default method takes, without reading and preparing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Where networks would be trained: `cpu` or `cuda:0`.
    pub device: String,
    /// This machine.
    pub cpu: Machine,
    /// Operations by stage, 10^9.
    pub gflop: Work,
    /// Estimated seconds, right within a factor of two on an idle machine; `None` on a GPU, whose time is not estimated.
    pub seconds: Option<f64>,
}

/// Looks into a scan as it is with these virtual coils. One that cannot be reconstructed is not an error: the report says why.
///
/// # Errors
/// [`crate::Error::Data`] when the picture cannot be drawn.
pub fn look(raw: &dyn RawScan, compression: Compression) -> Result<Look> {
    // The hash of the source is of no interest here and costs a pass over the file.
    let plan = prepare::plan(raw, &Options { compression, ..Options::default() });
    let mut report = Report::new(raw, plan.as_ref());
    let Ok(plan) = plan else { return Ok(Look { report, reconstructs: false, cost: None, mask: None }) };
    let mut picture = Vec::new();
    mask::encode(&mut picture, &plan.patterns())?;
    let recipe = Recipe::new(Method::default(), None, 0);
    let shape = plan.shape();
    let refused = |sampling| recipe.check(sampling, &shape).err();
    report.reason = report.sampling.iter().find_map(refused);
    let reconstructs = report.reason.is_none();
    let cost = reconstructs.then(|| cost(&recipe, &plan));
    Ok(Look { report, reconstructs, cost, mask: Some(picture) })
}

fn cost(recipe: &Recipe, plan: &Plan) -> Cost {
    let gflop = Work::of(recipe, plan.meta(), &plan.shape());
    // Without a GPU this is the CPU; it is never refused.
    let device = device::choose(DevicePreference::Auto).map_or_else(|_| "cpu".to_owned(), |chosen| chosen.name);
    let cpu = Machine::measure();
    let seconds = (device == "cpu").then(|| gflop.seconds(&cpu));
    Cost { device, cpu, gflop, seconds }
}
