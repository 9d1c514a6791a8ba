//! Readouts of one measurement as readouts of another.

use std::borrow::Cow;
use std::sync::Arc;

use crate::format::header::{Encoding, Header};
use crate::format::{CalibrationSource, Flags, RawScan, ReadoutHead, no_such_readout};
use crate::{Complex32, Error, Result};

/// A measurement from which images take what they lack.
pub(super) struct Lender {
    /// Number of the file that it is from.
    pub(super) file: usize,
    pub(super) scan: Arc<dyn RawScan>,
}

/// What fits an image, or why it does not.
pub(super) type Fit<T> = std::result::Result<T, String>;

/// The lender that belongs to an image in `file`: the last one that its header names, else the last one, of the same file before
/// others, that fits. `fit` is told whether the header names it. `None` where there are none; with its reason the first
/// that was tried, where none fits.
pub(super) fn choose<T>(
    lenders: &[Lender],
    file: usize,
    named: impl Fn(&Header) -> bool,
    fit: impl Fn(&Lender, bool) -> Fit<T>,
) -> Option<Fit<(usize, T)>> {
    let of = |(number, lender), stated| fit(lender, stated).map(|it| (number, it));
    let mut all = lenders.iter().enumerate().rev();
    if let Some(lender) = all.clone().find(|(_, lender)| named(lender.scan.header())) {
        return Some(of(lender, true));
    }
    let (same, other): (Vec<_>, Vec<_>) = all.by_ref().partition(|(_, lender)| lender.file == file);
    let mut tried = same.into_iter().chain(other).map(|lender| of(lender, false));
    let first = tried.next()?;
    Some(first.or_else(|reason| tried.find_map(std::result::Result::ok).ok_or(reason)))
}

/// Readouts of a lender with the channels of an image.
pub(super) struct Loan {
    scan: Arc<dyn RawScan>,
    /// Which readouts of the lender they are.
    readouts: Vec<usize>,
    /// Their heads, in the encodings and slices of the image.
    heads: Vec<ReadoutHead>,
    /// Which channel of the lender each channel of the image is; `None` where they are the same.
    order: Option<Vec<usize>>,
    /// Channels of the lender.
    channels: usize,
}

impl Loan {
    /// The readouts that `adopt` gives a head among those of the image, with every one of `channels` channels in the order of
    /// the image.
    pub(super) fn new(
        scan: &Arc<dyn RawScan>,
        channels: usize,
        order: Vec<usize>,
        adopt: impl Fn(&ReadoutHead) -> Option<ReadoutHead>,
    ) -> Self {
        let (mut readouts, mut heads) = (Vec::new(), Vec::new());
        for (number, head) in scan.heads().iter().enumerate() {
            if usize::from(head.channels) != channels {
                continue;
            }
            if let Some(adopted) = adopt(head) {
                readouts.push(number);
                // The end of the lender is not the end of the image.
                let flags = head.flags.without(Flags::LAST_IN_MEASUREMENT);
                heads.push(ReadoutHead { channels: order.len() as u16, flags, ..adopted });
            }
        }
        let same = order.len() == channels && order.iter().enumerate().all(|(at, channel)| at == *channel);
        Self { scan: Arc::clone(scan), readouts, heads, order: (!same).then_some(order), channels }
    }

    fn samples(&self, number: usize) -> Result<Cow<'_, [Complex32]>> {
        let samples = self.scan.samples(number)?;
        let Some(order) = &self.order else { return Ok(samples) };
        let count = samples.len() / self.channels.max(1);
        let channels = order.iter().map(|channel| samples.get(channel * count..(channel + 1) * count));
        let ordered: Option<Vec<&[Complex32]>> = channels.collect();
        let what = "a readout of another measurement";
        let ordered = ordered.ok_or_else(|| Error::corrupt(what, samples.len(), "samples of every channel"))?;
        Ok(Cow::Owned(ordered.concat()))
    }
}

/// What an image takes from other measurements.
#[derive(Default)]
pub(super) struct Loans {
    pub(super) noise: Option<Loan>,
    /// Calibration lines, and where they are from.
    pub(super) calibration: Option<(Loan, CalibrationSource)>,
    /// What is to be said of both, after what the image says.
    pub(super) warnings: Vec<String>,
}

/// A scan, and after its own readouts those of other measurements.
pub(super) struct Joined {
    image: Box<dyn RawScan>,
    loans: Vec<Loan>,
    header: Header,
    /// Of all readouts; empty without loans.
    heads: Vec<ReadoutHead>,
    source: CalibrationSource,
    warnings: Vec<String>,
}

impl Joined {
    /// Gives an image what it takes; as it is where that is nothing.
    pub(super) fn of(image: Box<dyn RawScan>, taken: Loans) -> Box<dyn RawScan> {
        if taken.noise.is_none() && taken.calibration.is_none() && taken.warnings.is_empty() {
            return image;
        }
        let mut header = image.header().clone();
        let warnings = image.warnings().iter().cloned().chain(taken.warnings).collect();
        if let Some(noise) = &taken.noise {
            let bandwidth = &mut header.system.relative_noise_bandwidth;
            *bandwidth = bandwidth.or(noise.scan.header().system.relative_noise_bandwidth);
        }
        let (calibration, source) = taken.calibration.unzip();
        if let Some(calibration) = &calibration {
            header.encodings.extend(calibration.scan.header().encodings.iter().cloned());
        }
        let loans: Vec<Loan> = taken.noise.into_iter().chain(calibration).collect();
        let mut heads = Vec::new();
        if !loans.is_empty() {
            heads.extend_from_slice(image.heads());
            loans.iter().for_each(|loan| heads.extend_from_slice(&loan.heads));
        }
        Box::new(Self { image, loans, header, heads, source: source.unwrap_or_default(), warnings })
    }
}

impl RawScan for Joined {
    fn format(&self) -> &'static str {
        self.image.format()
    }

    fn header(&self) -> &Header {
        &self.header
    }

    fn heads(&self) -> &[ReadoutHead] {
        if self.loans.is_empty() { self.image.heads() } else { &self.heads }
    }

    fn has_ended(&self) -> bool {
        self.image.has_ended()
    }

    fn samples(&self, readout: usize) -> Result<Cow<'_, [Complex32]>> {
        let Some(mut beyond) = readout.checked_sub(self.image.heads().len()) else {
            return self.image.samples(readout);
        };
        for loan in &self.loans {
            match loan.readouts.get(beyond) {
                Some(number) => return loan.samples(*number),
                None => beyond -= loan.readouts.len(),
            }
        }
        Err(no_such_readout(readout, self.heads().len()))
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn calibration_source(&self) -> CalibrationSource {
        self.source
    }
}

/// The encoding that an image is reconstructed with.
pub(super) fn of_image(scan: &dyn RawScan) -> Option<&Encoding> {
    scan.header().encodings.first()
}
