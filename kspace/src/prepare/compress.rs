//! Coil compression: fewer virtual coils that hold nearly all of the signal (Buehrer et al., MRM 57:1131, 2007).
//!
//! The principal components of the calibration lines, after prewhitening. They are orthonormal, so white noise stays white, and one
//! matrix serves calibration and data.

use std::fmt;
use std::str::FromStr;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side, c64};
use serde_json::json;

use super::Log;
use super::mixing::Mixing;
use super::probe::Probe;
use crate::{Complex32, Error, Result};

/// How many virtual coils are kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Compression {
    /// All coils stay as they are.
    #[default]
    None,
    /// As many as hold this share of the energy of the calibration lines, above 0 and below 1. Gadgetron's default is 0.998.
    Energy(f64),
    /// This many, at least 1; more than there are coils leaves the coils as they are.
    Coils(usize),
}

impl FromStr for Compression {
    type Err = String;

    /// `none`, a share such as `0.998`, or a number of coils such as `12`.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let refused =
            || format!("found {text:?}, expected none, a share of the energy such as 0.998, or a number of coils");
        match text {
            "none" => Ok(Self::None),
            text => match (text.parse::<usize>(), text.parse::<f64>()) {
                (Ok(coils), _) if coils > 0 => Ok(Self::Coils(coils)),
                (Err(_), Ok(share)) if share > 0.0 && share < 1.0 => Ok(Self::Energy(share)),
                _ => Err(refused()),
            },
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Energy(share) => write!(f, "{share}"),
            Self::Coils(coils) => write!(f, "{coils}"),
        }
    }
}

/// The matrix that makes virtual coils, strongest first; `None` where all coils stay.
///
/// # Errors
/// [`Error::Corrupt`] for calibration lines without a finite spectrum.
pub(super) fn plan(probes: &[Probe], coils: usize, wanted: Compression, log: &mut Log) -> Result<Option<Mixing>> {
    if matches!(wanted, Compression::None) || coils < 2 {
        return Ok(None);
    }
    let mut moments = Mat::<c64>::zeros(coils, coils);
    for probe in probes {
        let wide: Vec<c64> = probe.samples.iter().map(|it| c64::new(it.re.into(), it.im.into())).collect();
        let wide = MatRef::from_row_major_slice(&wide, coils, wide.len() / coils);
        matmul(moments.as_mut(), Accum::Add, wide, wide.adjoint(), c64::new(1.0, 0.0), Par::Seq);
    }
    let broken = |_| Error::corrupt("calibration lines", "no finite spectrum over the coils", "finite samples");
    let spectrum = moments.self_adjoint_eigen(Side::Lower).map_err(broken)?;
    let energies: Vec<f64> = (0..coils).rev().map(|at| spectrum.S()[at].re.max(0.0)).collect();
    let total: f64 = energies.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        log.warn("calibration lines without signal: coils are not compressed");
        return Ok(None);
    }
    let share_of = |count: usize| energies[..count].iter().sum::<f64>() / total;
    let kept = match wanted {
        Compression::None => coils,
        Compression::Coils(count) => count.min(coils),
        Compression::Energy(share) => (1..coils).find(|count| share_of(*count) >= share).unwrap_or(coils),
    };
    if kept == coils {
        return Ok(None);
    }
    log.step(
        "compress_coils",
        [
            ("from", json!(coils)),
            ("to", json!(kept)),
            ("energy", json!(share_of(kept))),
            ("asked", json!(wanted.to_string())),
        ],
    );
    let vectors = spectrum.U();
    Ok(Some(Mixing::from_fn(kept, coils, |to, from| {
        let column = coils - 1 - to;
        // An eigenvector is known up to its phase: that of the strongest coil is taken to be 0.
        let strongest = (0..coils).map(|row| vectors[(row, column)]).max_by(|a, b| a.norm().total_cmp(&b.norm()));
        let phase = strongest.filter(|it| it.norm() > 0.0).map_or(c64::new(1.0, 0.0), |it| it / it.norm());
        let value = (vectors[(from, column)] * phase.conj()).conj();
        Complex32::new(value.re as f32, value.im as f32)
    })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Eight coils of which each is a mix of `sources` signals.
    fn probe(sources: usize, weak: f32) -> Probe {
        let samples = (0..8 * 40)
            .map(|at| {
                let (coil, point) = (at / 40, at % 40);
                (0..sources)
                    .map(|source| {
                        let strength = if source + 1 == sources { weak } else { 1.0 };
                        Complex32::from_polar(
                            strength,
                            (coil * (source + 2)) as f32 * 0.9 + (point * point * (source + 1)) as f32 * 0.37,
                        )
                    })
                    .sum()
            })
            .collect();
        Probe { samples, rows: 1, points: 40, of_image: true }
    }

    fn run(probe: &Probe, wanted: Compression) -> (Option<Mixing>, Log) {
        let mut log = Log::default();
        (plan(std::slice::from_ref(probe), 8, wanted, &mut log).unwrap(), log)
    }

    #[test]
    fn as_many_coils_are_kept_as_hold_the_energy() {
        let (three, log) = run(&probe(3, 1.0), Compression::Energy(0.9999));
        assert_eq!(three.unwrap().channels(), 3);
        assert!(log.steps[0].parameters["energy"].as_f64().unwrap() > 0.9999);
        assert_eq!(run(&probe(3, 0.01), Compression::Energy(0.998)).0.unwrap().channels(), 2);
        assert_eq!(run(&probe(3, 1.0), Compression::Coils(5)).0.unwrap().channels(), 5);
        assert!(
            run(&probe(3, 1.0), Compression::Coils(8)).0.is_none()
                && run(&probe(3, 1.0), Compression::None).0.is_none()
        );
        let silent = Probe { samples: vec![Complex32::default(); 80], rows: 1, points: 10, of_image: true };
        let (none, log) = run(&silent, Compression::Coils(2));
        assert!(none.is_none() && log.warnings.len() == 1);
    }

    #[test]
    fn virtual_coils_are_orthonormal_and_keep_the_energy() {
        let probe = probe(3, 1.0);
        let mixing = run(&probe, Compression::Coils(3)).0.unwrap();
        for a in 0..3 {
            for b in 0..3 {
                let dot: Complex32 = (0..8).map(|coil| mixing.value(a, coil) * mixing.value(b, coil).conj()).sum();
                assert!((dot - if a == b { 1.0 } else { 0.0 }).norm() < 1e-5, "{a} {b}: {dot}");
            }
        }
        let mut virtual_coils = vec![Complex32::default(); 3 * 40];
        mixing.apply(&probe.samples, &mut virtual_coils);
        let energy = |samples: &[Complex32]| samples.iter().map(|it| it.norm_sqr()).sum::<f32>();
        assert!((energy(&virtual_coils) / energy(&probe.samples) - 1.0).abs() < 1e-4);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(coils in 1usize..100, share in 0.001f64..0.999) {
            for choice in [Compression::None, Compression::Coils(coils), Compression::Energy(share)] {
                prop_assert_eq!(choice.to_string().parse(), Ok(choice));
            }
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_choices() {
        for text in ["", "0", "1.5", "-3", "0.0", "all", "1.0"] {
            let refused = text.parse::<Compression>().unwrap_err();
            assert!(refused.contains("0.998"), "{refused}");
        }
    }
}
