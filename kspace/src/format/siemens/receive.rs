//! The receiver: names of its channels and time between its samples.

use std::collections::{BTreeMap, BTreeSet};

use super::header::Notes;
use super::mdh::Generation;
use super::protocol::Protocol;
use crate::format::{Flags, ReadoutHead};

/// More elements than any list has.
const MOST_ELEMENTS: usize = 512;
/// Longest part of a name.
const NAME_LENGTH: usize = 64;

/// Names of the channels with the numbers `ids`, as `coil:copy:element`, which is how converters to ISMRMRD write them.
/// Empty where the protocol does not tell them apart.
pub(super) fn coil_names(protocol: &Protocol<'_>, ids: &[u16], notes: &mut Notes) -> Vec<String> {
    // A measurement may have its channels numbered by the converter or by the receiver that they are plugged into.
    let lists = ["sCoilSelectMeas.aRxCoilSelectData[0].asList[", "asCoilSelectMeas[0].asList["];
    let numbers = ["lADCChannelConnected", "lRxChannelConnected"];
    let ways = lists.into_iter().flat_map(|list| numbers.map(|number| (list, number)));
    let names = ways.into_iter().find_map(|(list, number)| {
        let elements = elements(protocol, list, number);
        // Readouts count channels from 0, the protocol from 1.
        let names: Option<Vec<String>> = ids.iter().map(|id| elements.get(&(u32::from(*id) + 1)).cloned()).collect();
        names.filter(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len())
    });
    names.unwrap_or_else(|| {
        notes.warn("the protocol does not name the coil elements of the channels");
        Vec::new()
    })
}

/// Selected elements of a list, by the number that is called `number`.
fn elements(protocol: &Protocol<'_>, list: &str, number: &str) -> BTreeMap<u32, String> {
    let clean = |text: &str| text.chars().filter(char::is_ascii_graphic).take(NAME_LENGTH).collect::<String>();
    let element = |index: usize| {
        let key = |name: &str| format!("{list}{index}].{name}");
        let text = |name: &str| protocol.text(&key(&format!("sCoilElementID.{name}")));
        let element = clean(text("tElement")?);
        let coil = clean(text("tCoilID").unwrap_or_default());
        let copy = protocol.number(&key("sCoilElementID.lCoilCopy")).unwrap_or(1.0);
        let selected = protocol.number(&key("lElementSelected")) != Some(0.0);
        Some((selected, protocol.number(&key(number)), format!("{coil}:{copy}:{element}")))
    };
    let elements = (0..MOST_ELEMENTS).map_while(element).filter(|(selected, ..)| *selected);
    elements.filter_map(|(_, number, name)| Some((number? as u32, name))).collect()
}

/// Which measurement readouts belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An adjustment in front of the image, of which noise is kept.
    Adjustment,
    /// Calibration lines in front of the image, noise among them maybe.
    Calibration,
    /// The scan itself.
    Image,
}

/// Fills in the time between samples.
///
/// The protocol lists one for every contrast. It is also that of noise in an adjustment of its own. Noise that is acquired
/// within the scan has another one, which is written nowhere: the rule of the converter siemens_to_ismrmrd is used, since
/// the noise variance of scans was scaled with it for years.
pub(super) fn dwell_times(
    heads: &mut [ReadoutHead],
    protocol: &Protocol<'_>,
    generation: Generation,
    role: Role,
    notes: &mut Notes,
) {
    let stated = |number: u16| protocol.positive(&format!("sRXSPEC.alDwellTime[{number}]")).map(|ns| ns / 1000.0);
    let mut usual = stated(0);
    match (role, usual, adjustment(protocol)) {
        (Role::Adjustment, None, known) => {
            let us = known.unwrap_or(5.0);
            notes.warn(format!("the noise scan does not state its dwell time: {us} us is assumed"));
            usual = Some(us);
        }
        (Role::Adjustment, Some(found), Some(known)) if found != known => notes.warn(format!(
            "the noise scan states a dwell time of {found} us, scanners usually take {known} us: {found} us is used"
        )),
        (Role::Image, None, _) => notes.warn("the protocol does not state the dwell time: noise is not scaled by it"),
        _ => {}
    }
    let mut assumed = None;
    for head in heads {
        let us = if role != Role::Adjustment && head.flags.has(Flags::NOISE) {
            let us = noise_within(head.samples, generation);
            assumed = assumed.or(Some(us));
            us
        } else {
            stated(head.counters.contrast).or(usual).unwrap_or(0.0)
        };
        head.sample_time_us = us as f32;
    }
    if let Some(us) = assumed {
        notes
            .warn(format!("noise was acquired within the scan, whose dwell time is not stated: {us:.1} us is assumed"));
    }
}

/// Dwell time of noise readouts within a scan, us: a bandwidth of 130 Hz per sample up to VB; 7.68 ms for a readout from
/// VD on, in steps of 0.1 us.
fn noise_within(samples: u16, generation: Generation) -> f64 {
    let samples = f64::from(samples.max(1));
    match generation {
        Generation::Vb => 1e6 / samples / 130.0,
        Generation::Vd => (76_800.0 / samples).floor() / 10.0,
    }
}

/// Known dwell times of adjustments, us, by the name of their protocol.
fn adjustment(protocol: &Protocol<'_>) -> Option<f64> {
    match protocol.text("tProtocolName")? {
        "AdjCoilSens" => Some(5.0),
        "AdjQuietCoilSens" => Some(4.0),
        _ => None,
    }
}
