//! Finds the noise scan of an image.

use std::collections::BTreeSet;

use super::Image;
use super::coils::Coils;
use super::lend::{Fit, Lender, Loan, choose};
use crate::format::{Kind, RawScan, ReadoutHead, calibrates_only};

const WHAT: &str = "noise scan";

/// Whether a readout is noise.
pub(super) fn is_noise(head: &ReadoutHead) -> bool {
    head.kind() == Kind::Noise
}

/// Which of all scans only lend noise: those that are noise throughout, and those with noise readouts and no image worth the
/// name that the header of another scan names, or that come beside a scan without noise. Adjustments of the coils acquire a few
/// lines besides, with other coils than the noise.
pub(super) fn sources(scans: &[Image]) -> Vec<bool> {
    let lacking = |(_, scan): &Image| !scan.heads().iter().any(is_noise) && !calibrates_only(scan.heads());
    let beside = scans.iter().any(lacking);
    let named: BTreeSet<&String> =
        scans.iter().filter_map(|(_, scan)| scan.header().noise_dependency.as_ref()).collect();
    let lends = |(_, scan): &Image| {
        let heads = scan.heads();
        let wanted = beside || scan.header().measurement_id.as_ref().is_some_and(|id| named.contains(id));
        heads.iter().all(is_noise)
            || wanted && heads.iter().any(is_noise) && !calibrates_only(heads) && !is_image(heads)
    };
    scans.iter().map(lends).collect()
}

/// Whether the lines of a scan can be an image: all of them are of the same number of coils, and of several phase encoding steps.
fn is_image(heads: &[ReadoutHead]) -> bool {
    let lines = || heads.iter().filter(|head| head.is_line());
    let of_one_coil_set = lines().map(|head| head.channels).collect::<BTreeSet<_>>().len() == 1;
    let steps: BTreeSet<_> = lines().map(|head| (head.counters.step_1, head.counters.step_2)).collect();
    of_one_coil_set && steps.len() > 1
}

/// The noise readouts for a scan without any of its own: of the noise scan that its header names; else of the last one, of the
/// same file before others, that has all of its coils, by name or, where neither names them, by number. `None` where there
/// is none or none is needed; the reason where none fits.
pub(super) fn find(image: &dyn RawScan, file: usize, noises: &[Lender]) -> Option<Fit<Loan>> {
    if image.heads().iter().any(is_noise) {
        return None;
    }
    let coils = Coils::of(image, ReadoutHead::is_imaging);
    let named = image.header().noise_dependency.as_ref();
    let found = choose(
        noises,
        file,
        |header| named.is_some() && header.measurement_id.as_ref() == named,
        |noise, stated| {
            // Adjustments measure the noise of several sets of coils: those of most coils first.
            let sets = Coils::all_of(noise.scan.as_ref(), is_noise);
            let mut tried = sets.iter().map(|set| coils.order(set, WHAT, stated).map(|order| (set.channels, order)));
            let first = tried.next().unwrap_or_else(|| Err(format!("{WHAT} has no readouts")));
            first.or_else(|reason| tried.find_map(Result::ok).ok_or(reason))
        },
    )?;
    Some(found.map(|(number, (channels, order))| {
        let noise = &noises[number];
        Loan::new(&noise.scan, channels, order, |head| is_noise(head).then_some(ReadoutHead { encoding: 0, ..*head }))
    }))
}
