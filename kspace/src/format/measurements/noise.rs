//! Finds the noise scan of an image.

use super::coils::Coils;
use super::lend::{Fit, Lender, Loan, choose};
use crate::format::{Kind, RawScan, ReadoutHead};

const WHAT: &str = "noise scan";

/// Whether a readout is noise.
pub(super) fn is_noise(head: &ReadoutHead) -> bool {
    head.kind() == Kind::Noise
}

/// The noise readouts for a scan without any of its own: of the noise scan that its header names; else of the last one, of the
/// same file before others, that has all of its coils, by name or, where neither names them, by number. `None` where there
/// is none or none is needed; the reason where none fits.
pub(super) fn find(image: &dyn RawScan, file: usize, noises: &[Lender]) -> Option<Fit<Loan>> {
    if image.heads().iter().any(is_noise) {
        return None;
    }
    let coils = Coils::of(image, ReadoutHead::is_imaging);
    let of = |noise: &Lender| Coils::of(noise.scan.as_ref(), is_noise).channels;
    let named = image.header().noise_dependency.as_ref();
    let found = choose(
        noises,
        file,
        |header| named.is_some() && header.measurement_id.as_ref() == named,
        |noise, stated| coils.order(&Coils::of(noise.scan.as_ref(), is_noise), WHAT, stated),
    )?;
    Some(found.map(|(number, order)| {
        let noise = &noises[number];
        Loan::new(&noise.scan, of(noise), order, |head| is_noise(head).then_some(ReadoutHead { encoding: 0, ..*head }))
    }))
}
