//! What a reconstruction job is asked to do.

use serde::{Deserialize, Serialize};

use crate::manifest::Source;
use crate::names::named;
use crate::{ImageOptions, Record, ScanId};

named! {
    /// How missing lines are filled.
    pub enum Method: "method" {
        /// The best that was measured: `nwg` and `raki` combined by what the scan itself says of them, then refined.
        #[default]
        Auto = "auto",
        /// Scan-specific networks with a weighted loss, which learn from the fill of `nwg`.
        Raki = "raki",
        /// Scan-specific networks as published (Akcakaya et al., MRM 81:439, 2019).
        RakiPaper = "raki-paper",
        /// Linear kernels whose calibration knows the noise, refitted to their own fill.
        Nwg = "nwg",
        /// Linear kernels with one ridge (Griswold et al., MRM 47:1202, 2002).
        Grappa = "grappa",
        /// No filling: the acquired lines only.
        ZeroFilled = "zero-filled",
    }
}

impl Method {
    /// What follows the filling where nobody asks for something else: `auto` is refined, a method asked for by its name is
    /// that method and nothing more.
    #[must_use]
    pub const fn refinement(self) -> Refine {
        match self {
            Self::Auto => Refine::Sparse,
            _ => Refine::None,
        }
    }
}

named! {
    /// What follows the filling of missing lines.
    pub enum Refine: "refinement" {
        /// Nothing: root sum of squares of the coil images.
        #[default]
        None = "none",
        /// An image that is sparse in wavelets and agrees with the acquired samples through coil sensitivities.
        Sparse = "sparse",
    }
}

named! {
    /// Where a job is to compute.
    pub enum DevicePreference: "device" {
        /// A GPU where one is found, else the CPU.
        #[default]
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// A CUDA GPU; without one the job fails.
        Cuda = "cuda",
    }
}

/// One reconstruction job. It lies in the state bucket; the job is started with its URL, because a Batch
/// payload is limited and shown in consoles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Layout of this record.
    pub schema: u32,
    /// The scan.
    pub scan: ScanId,
    /// URL or path of the prepared file.
    pub prepared: String,
    /// URL or path below which the results go, with a final `/`.
    pub results: String,
    /// How missing lines are filled.
    pub method: Method,
    /// What follows; absent for what goes with the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refine: Option<Refine>,
    /// Seed of everything random.
    pub seed: u64,
    /// Where to compute.
    pub device: DevicePreference,
    /// How images are made of filled k-space.
    #[serde(default)]
    pub images: ImageOptions,
    /// The raw object, for the manifest.
    pub source: Source,
}

impl Record for JobSpec {
    const NAME: &'static str = "job spec";
    const SCHEMA: u32 = 1;

    fn schema(&self) -> u32 {
        self.schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_refused_with_the_choices() {
        for method in Method::ALL {
            assert_eq!(method.name().parse::<Method>().ok(), Some(method));
            assert_eq!(serde_json::to_value(method).ok(), Some(method.name().into()));
        }
        for refine in Refine::ALL {
            assert_eq!(refine.to_string().parse::<Refine>().ok(), Some(refine));
        }
        for device in DevicePreference::ALL {
            assert_eq!(device.to_string().parse::<DevicePreference>().ok(), Some(device));
        }
        let message = "magic".parse::<Method>().map_err(|e| e.to_string());
        assert_eq!(
            message,
            Err("unknown method \"magic\": expected one of auto, raki, raki-paper, nwg, grappa, zero-filled".to_owned())
        );
    }
}
