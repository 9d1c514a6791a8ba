//! What a reconstruction job is asked to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::manifest::Source;
use crate::{ImageOptions, Record, ScanId};

/// How missing lines are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The best that was measured: `nwg` and `raki` combined by what the scan itself says of them, then refined.
    #[default]
    Auto,
    /// Scan-specific networks with a weighted loss, which learn from the fill of `nwg`.
    Raki,
    /// Scan-specific networks as published (Akcakaya et al., MRM 81:439, 2019).
    RakiPaper,
    /// Linear kernels whose calibration knows the noise, refitted to their own fill.
    Nwg,
    /// Linear kernels with one ridge (Griswold et al., MRM 47:1202, 2002).
    Grappa,
    /// No filling: the acquired lines only.
    ZeroFilled,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] = [Self::Auto, Self::Raki, Self::RakiPaper, Self::Nwg, Self::Grappa, Self::ZeroFilled];

    /// The name used on command lines and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Raki => "raki",
            Self::RakiPaper => "raki-paper",
            Self::Nwg => "nwg",
            Self::Grappa => "grappa",
            Self::ZeroFilled => "zero-filled",
        }
    }

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

/// What follows the filling of missing lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refine {
    /// Nothing: root sum of squares of the coil images.
    #[default]
    None,
    /// An image that is sparse in wavelets and agrees with the acquired samples through coil sensitivities.
    Sparse,
}

impl Refine {
    /// Every refinement.
    pub const ALL: [Self; 2] = [Self::None, Self::Sparse];
}

impl fmt::Display for Refine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Sparse => "sparse",
        })
    }
}

impl FromStr for Refine {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name("refinement", text, &Self::ALL)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not one of the accepted ones.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} {found:?}: expected one of {expected}")]
pub struct UnknownName {
    what: &'static str,
    found: String,
    expected: String,
}

pub(crate) fn by_name<T: Copy + fmt::Display>(what: &'static str, text: &str, all: &[T]) -> Result<T, UnknownName> {
    all.iter().copied().find(|known| known.to_string() == text).ok_or_else(|| UnknownName {
        what,
        found: text.to_owned(),
        expected: all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Method {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name("method", text, &Self::ALL)
    }
}

/// Where a job is to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DevicePreference {
    /// A GPU where one is found, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA GPU; without one the job fails.
    Cuda,
}

impl DevicePreference {
    /// Every preference.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Cpu, Self::Cuda];
}

impl fmt::Display for DevicePreference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for DevicePreference {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        by_name("device", text, &Self::ALL)
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
