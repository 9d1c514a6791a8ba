//! Which channel of one scan each channel of another is.
//!
//! Noise and calibration lines serve an image only when their channels are those of the image, one by one. Such scans are often
//! made with more coils, in another order; their names tell.

use std::collections::BTreeSet;

use crate::format::{RawScan, ReadoutHead};

/// The channels of the readouts of one kind of a scan.
pub(super) struct Coils<'a> {
    pub(super) channels: usize,
    /// Their names, where each has one of its own.
    names: Option<&'a [String]>,
}

impl<'a> Coils<'a> {
    /// Those of the first readout of a kind, else of the first of all.
    pub(super) fn of(scan: &'a dyn RawScan, kind: impl Fn(&ReadoutHead) -> bool) -> Self {
        let heads = || scan.heads().iter();
        let head = heads().find(|head| kind(head)).or_else(|| heads().next());
        Self::named(scan, head.map_or(0, |head| usize::from(head.channels)))
    }

    /// Those of each number of channels that readouts of a kind have, the most first.
    pub(super) fn all_of(scan: &'a dyn RawScan, kind: impl Fn(&ReadoutHead) -> bool) -> Vec<Self> {
        let counts: BTreeSet<u16> = scan.heads().iter().filter(|head| kind(head)).map(|head| head.channels).collect();
        counts.into_iter().rev().map(|channels| Self::named(scan, channels.into())).collect()
    }

    fn named(scan: &'a dyn RawScan, channels: usize) -> Self {
        let names = scan.header().system.coil_names.as_slice();
        let distinct = names.iter().filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().len();
        Self { channels, names: (channels > 0 && names.len() == channels && distinct == channels).then_some(names) }
    }

    /// Which channel of `other`, a scan that is called `what`, each channel is, or why they do not fit. Where the header names
    /// that scan, `stated`, coils without names are taken to be in the same order.
    pub(super) fn order(&self, other: &Coils<'_>, what: &str, stated: bool) -> Result<Vec<usize>, String> {
        let (image, of_other) = (self.channels, other.channels);
        match (self.names, other.names) {
            (Some(names), Some(others)) => {
                let place = |name: &String| others.iter().position(|other| other == name);
                let order: Vec<usize> = names.iter().filter_map(place).collect();
                if order.len() == image {
                    return Ok(order);
                }
                Err(format!("{what} lacks {} of the {image} coils of the image", image - order.len()))
            }
            _ if image != of_other => Err(format!("{what} has {of_other} channels, the image {image}")),
            (None, None) => Ok((0..image).collect()),
            _ if stated => Ok((0..image).collect()),
            (Some(_), None) => Err(format!("{what} does not name its coils as the image does")),
            (None, Some(_)) => Err(format!("{what} names its coils, the image does not")),
        }
    }
}
