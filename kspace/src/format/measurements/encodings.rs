//! One scan for each encoding that holds an image.
//!
//! Preparation takes the first encoding of a header for the image and readouts of others for its separate calibration. Most
//! scans are like that; some have a second image with a matrix of its own.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::format::header::Header;
use crate::format::{Flags, RawScan, ReadoutHead, no_such_readout};
use crate::{Complex32, Result};

/// Splits a scan that has images in other encodings than the first.
pub(super) fn split(scan: Box<dyn RawScan>) -> Vec<Box<dyn RawScan>> {
    let encodings = scan.header().encodings.len();
    let imaging: BTreeSet<usize> = scan
        .heads()
        .iter()
        .filter(|head| head.is_imaging())
        .map(|head| usize::from(head.encoding))
        .filter(|encoding| *encoding < encodings)
        .collect();
    if imaging.iter().all(|encoding| *encoding == 0) {
        return vec![scan];
    }
    let scan: Arc<dyn RawScan> = Arc::from(scan);
    let view = |encoding: &usize| Box::new(View::of(&scan, *encoding, &imaging)) as Box<dyn RawScan>;
    imaging.iter().map(view).collect()
}

/// A scan seen from one of its encodings, which is the first of its header.
struct View {
    scan: Arc<dyn RawScan>,
    header: Header,
    heads: Vec<ReadoutHead>,
    /// Which readout of the scan each one is.
    readouts: Vec<usize>,
    warnings: Vec<String>,
}

impl View {
    /// Leaves the readouts of other images out; noise, and encodings that only calibrate, belong to every image.
    fn of(scan: &Arc<dyn RawScan>, encoding: usize, imaging: &BTreeSet<usize>) -> Self {
        let all = scan.header();
        let others = (0..all.encodings.len()).filter(|other| !imaging.contains(other));
        let order: Vec<usize> = std::iter::once(encoding).chain(others).collect();
        let encodings = order.iter().filter_map(|other| all.encodings.get(*other).cloned()).collect();
        let (mut heads, mut readouts) = (Vec::new(), Vec::new());
        for (number, head) in scan.heads().iter().enumerate() {
            let own = order.iter().position(|other| *other == usize::from(head.encoding));
            let place = if head.flags.has(Flags::NOISE) { Some(0) } else { own };
            if let Some(place) = place.and_then(|place| u16::try_from(place).ok()) {
                heads.push(ReadoutHead { encoding: place, ..*head });
                readouts.push(number);
            }
        }
        let mut warnings = scan.warnings().to_vec();
        if imaging.len() > 1 {
            let (number, of) = (encoding + 1, imaging.len());
            warnings.push(format!(
                "the scan has images in {of} encodings, each of which is reconstructed by itself: this is encoding {number}"
            ));
        }
        Self { scan: Arc::clone(scan), header: Header { encodings, ..all.clone() }, heads, readouts, warnings }
    }
}

impl RawScan for View {
    fn format(&self) -> &'static str {
        self.scan.format()
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn has_ended(&self) -> bool {
        self.scan.has_ended()
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let number = self.readouts.get(readout).ok_or_else(|| no_such_readout(readout, self.readouts.len()))?;
        self.scan.samples(*number)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
