//! How images are made of filled k-space.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::{UnknownName, named};

named! {
    /// How coil images become one.
    pub enum Combine: "combination" {
        /// Sensitivities from the coil images themselves (Walsh et al., MRM 43:682, 2000).
        #[default]
        Adaptive = "adaptive",
        /// Sensitivities from the calibration lines (Uecker et al., MRM 71:990, 2014).
        Espirit = "espirit",
        /// Root sum of squares: needs no sensitivities, has no phase, and noise lifts it where the signal is weak.
        Rss = "rss",
    }
}

named! {
    /// What is done about lines beyond one end of k-space that were never measured.
    pub enum PartialFourier: "way with partial Fourier" {
        /// They stay zero, behind a smooth edge.
        ZeroFill = "zero-fill",
        /// Conjugate symmetry with the phase of the symmetric centre (Noll et al., IEEE TMI 10:154, 1991).
        Homodyne = "homodyne",
        /// Projections onto the measured lines and the phase of the centre (Haacke et al., JMR 92:126, 1991).
        #[default]
        Pocs = "pocs",
    }
}

named! {
    /// What DICOM files are written.
    pub enum Dicom: "kind of DICOM files" {
        /// MR Image Storage: a file for each slice.
        #[default]
        Classic = "classic",
        /// Enhanced MR Image Storage: a file for each series.
        Enhanced = "enhanced",
        /// None.
        None = "none",
    }
}

/// From coil images to files. As text `default`, or a list of what differs from it, such as `combine=rss,phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageOptions {
    /// How coil images become one.
    pub combine: Combine,
    /// What is done about lines that were never measured.
    pub partial_fourier: PartialFourier,
    /// Whether images have the matrix that the scanner would reconstruct, by zeros around k-space, and not the acquired one.
    pub interpolate: bool,
    /// Whether the brightness near the coils is evened out.
    pub flatten: bool,
    /// Whether the phase is written as well.
    pub phase: bool,
    /// Whether the images are written as an ISMRMRD file as well.
    pub ismrmrd: bool,
    /// What DICOM files are written.
    pub dicom: Dicom,
}

impl ImageOptions {
    /// Why these do not go together.
    ///
    /// # Errors
    /// One sentence for a person.
    pub fn check(&self) -> Result<(), String> {
        if self.phase && self.combine == Combine::Rss {
            return Err("a root sum of squares has no phase: choose the combination adaptive or espirit, or leave the phase out"
                .to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for ImageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Self::default();
        let mut parts = Vec::new();
        if self.combine != plain.combine {
            parts.push(format!("combine={}", self.combine));
        }
        if self.partial_fourier != plain.partial_fourier {
            parts.push(format!("partial-fourier={}", self.partial_fourier));
        }
        if self.dicom != plain.dicom {
            parts.push(format!("dicom={}", self.dicom));
        }
        let Self { interpolate, flatten, phase, ismrmrd, .. } = *self;
        let set = [("interpolate", interpolate), ("flatten", flatten), ("phase", phase), ("ismrmrd", ismrmrd)];
        parts.extend(set.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned()));
        if parts.is_empty() {
            parts.push(DEFAULT.to_owned());
        }
        f.write_str(&parts.join(","))
    }
}

/// The text of the default.
const DEFAULT: &str = "default";

/// What [`ImageOptions`] accept as text.
pub const IMAGE_OPTIONS: &str = "default, or a list such as combine=rss,interpolate of combine=adaptive|espirit|rss, \
                                 partial-fourier=zero-fill|homodyne|pocs, dicom=classic|enhanced|none, interpolate, flatten, phase, ismrmrd";

impl FromStr for ImageOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut options = Self::default();
        if text == DEFAULT {
            return Ok(options);
        }
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let named = |error: UnknownName| error.to_string();
            match part.split_once('=') {
                Some(("combine", value)) => options.combine = value.parse().map_err(named)?,
                Some(("partial-fourier", value)) => options.partial_fourier = value.parse().map_err(named)?,
                Some(("dicom", value)) => options.dicom = value.parse().map_err(named)?,
                None if part == "interpolate" => options.interpolate = true,
                None if part == "flatten" => options.flatten = true,
                None if part == "phase" => options.phase = true,
                None if part == "ismrmrd" => options.ismrmrd = true,
                _ => return Err(format!("unknown image option {part:?}: expected {IMAGE_OPTIONS}")),
            }
        }
        options.check()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> impl Strategy<Value = ImageOptions> {
        let choices = (
            prop::sample::select(&Combine::ALL),
            prop::sample::select(&PartialFourier::ALL),
            prop::sample::select(&Dicom::ALL),
        );
        (choices, any::<[bool; 4]>()).prop_map(
            |((combine, partial_fourier, dicom), [interpolate, flatten, phase, ismrmrd])| {
                let phase = phase && combine != Combine::Rss;
                ImageOptions { combine, partial_fourier, interpolate, flatten, phase, ismrmrd, dicom }
            },
        )
    }

    proptest! {
        #[test]
        fn text_and_json_come_back(options in options()) {
            prop_assert_eq!(options.to_string().parse(), Ok(options));
            let json = serde_json::to_string(&options).unwrap();
            prop_assert_eq!(serde_json::from_str::<ImageOptions>(&json).unwrap(), options);
        }
    }

    #[test]
    fn other_text_is_refused_with_the_choices() {
        assert_eq!("default".parse(), Ok(ImageOptions::default()));
        let both = ImageOptions { phase: true, flatten: true, ..ImageOptions::default() };
        assert_eq!(" phase , flatten ".parse(), Ok(both));
        let bare = ImageOptions { dicom: Dicom::None, ..ImageOptions::default() };
        assert_eq!(("dicom=none".parse(), bare.to_string().as_str()), (Ok(bare), "dicom=none"));
        let old = r#"{"combine":"rss","partial_fourier":"pocs","interpolate":false,"flatten":false,"phase":false}"#;
        assert_eq!(serde_json::from_str::<ImageOptions>(old).unwrap().dicom, Dicom::Classic);
        let refused = |text: &str| text.parse::<ImageOptions>().unwrap_err();
        assert!(refused("sharpen").contains("combine=adaptive|espirit|rss"));
        assert!(refused("phase=yes").contains("\"phase=yes\""));
        assert!(refused("dicom=yes").contains("classic, enhanced, none"));
        assert!(refused("combine=sum").contains("adaptive, espirit, rss"));
        assert!(refused("combine=rss,phase").contains("has no phase"));
    }
}
