//! What is done with each entry, and what was decided.

use contract::Method;
use contract::manifest::Decision;
use contract::prepared::Sampling;
use kspace::numerics::grappa;
use kspace::prepared::Reader;

use super::{Request, Values};
use crate::device::Chosen;
use crate::error::JobError;
use crate::raki::{Domain, Layout, Parameters};

/// Below this many calibration lines, networks were measured to do worse than linear kernels.
const FEW_CALIBRATION_LINES: usize = 24;

/// How the missing lines of an entry are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Nothing is missing, or nothing is to be filled.
    Nothing,
    /// Linear kernels.
    Grappa,
    /// Networks.
    Raki,
}

/// The plan of a job.
pub(super) struct Plan {
    /// One for each entry.
    pub(super) fills: Vec<Fill>,
    pub(super) training: Parameters,
    pub(super) grappa: grappa::Options,
    /// Every parameter of the method, for the manifest.
    pub(super) parameters: Values,
    pub(super) decisions: Vec<Decision>,
    pub(super) warnings: Vec<String>,
}

impl Plan {
    /// Looks at the sampling of every entry before any work is done.
    ///
    /// # Errors
    /// [`JobError::BadData`] when an entry cannot be filled with the method, [`JobError::Usage`] for bad parameters.
    pub(super) fn new<R>(reader: &Reader<R>, request: &Request, chosen: Option<&Chosen>) -> Result<Self, JobError> {
        let mut plan = Self {
            fills: Vec::with_capacity(reader.meta.entries.len()),
            training: request.parameters,
            grappa: grappa::Options::default(),
            parameters: Values::new(),
            decisions: chosen.map(|chosen| chosen.decision.clone()).into_iter().collect(),
            warnings: Vec::new(),
        };
        request.parameters.check()?;
        for (index, entry) in reader.meta.entries.iter().enumerate() {
            let layout = request.parameters.layout(reader.shape.coils, entry.sampling.acceleration);
            let domain = layout.domain(entry.sampling.acs_lines, reader.shape.kx, layout.acceleration);
            plan.fills.push(fill_of(index, request.method, entry.sampling, layout, domain)?);
        }
        plan.describe(reader, request.method);
        Ok(plan)
    }

    fn describe<R>(&mut self, reader: &Reader<R>, method: Method) {
        let entries = self.fills.len();
        let complete = reader.meta.entries.iter().filter(|entry| entry.sampling.acceleration == 1).count();
        if complete > 0 && method != Method::ZeroFilled {
            self.decisions.push(Decision {
                what: "filling of missing lines".to_owned(),
                choice: format!("none for {complete} of {entries} entries"),
                reason: "they are fully sampled".to_owned(),
            });
        }
        let fewest = reader.meta.entries.iter().zip(&self.fills).filter(|(_, fill)| **fill == Fill::Raki);
        if let Some(fewest) = fewest.map(|(entry, _)| entry.sampling.acs_lines).min()
            && fewest < FEW_CALIBRATION_LINES
        {
            self.warnings.push(format!(
                "only {fewest} calibration lines: with fewer than {FEW_CALIBRATION_LINES}, the method grappa is often better than raki"
            ));
        }
        if self.fills.contains(&Fill::Raki) {
            let training = self.training;
            self.set("iterations", training.iterations);
            self.set("learning_rate", training.learning_rate);
            self.set("window", training.window);
            self.set("hidden_features", training.hidden);
        }
        if self.fills.contains(&Fill::Grappa) {
            let options = self.grappa;
            self.set("source_lines", options.source_lines);
            self.set("taps", options.taps);
            match options.ridge {
                grappa::Ridge::Relative(factor) => self.set("ridge", factor),
                grappa::Ridge::Noise => self.set("ridge", "noise"),
            }
        }
    }

    fn set(&mut self, name: &str, value: impl Into<ParameterValue>) {
        self.parameters.insert(name.to_owned(), value.into().0);
    }
}

/// A JSON value of one of the kinds that parameters have.
struct ParameterValue(serde_json::Value);

impl From<usize> for ParameterValue {
    fn from(value: usize) -> Self {
        Self(value.into())
    }
}

impl From<f64> for ParameterValue {
    fn from(value: f64) -> Self {
        Self(value.into())
    }
}

impl From<&str> for ParameterValue {
    fn from(value: &str) -> Self {
        Self(value.into())
    }
}

impl<const N: usize> From<[usize; N]> for ParameterValue {
    fn from(value: [usize; N]) -> Self {
        Self(value.to_vec().into())
    }
}

fn fill_of(index: usize, method: Method, sampling: Sampling, layout: Layout, domain: Domain) -> Result<Fill, JobError> {
    if sampling.acceleration == 1 || method == Method::ZeroFilled {
        return Ok(Fill::Nothing);
    }
    let acceleration = sampling.acceleration;
    if sampling.acs_lines == 0 {
        return Err(JobError::BadData(format!(
            "entry {index} is sampled at every {acceleration}th line and has no calibration lines: acquire some, or choose \
             the method zero-filled"
        )));
    }
    match method {
        Method::Raki => {
            domain.check(layout).map_err(|reason| JobError::BadData(format!("entry {index}: {reason}")))?;
            Ok(Fill::Raki)
        }
        // Its own needs are checked where the kernel is fitted.
        Method::Grappa => Ok(Fill::Grappa),
        Method::ZeroFilled => Ok(Fill::Nothing),
    }
}
