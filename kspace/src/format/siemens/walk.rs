//! From one scan header to the next, through a measurement.

use super::mdh::{self, Generation, Mdh, bit, has, u16_at};
use super::orientation;
use super::raid::Measurement;
use crate::format::{ReadoutHead, check_readouts};
use crate::{Error, Result};

/// Measurements start at multiples of this; what precedes is filled up.
const ALIGNMENT: usize = 512;

/// The readouts of a measurement.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// What their headers say; dwell times are still to be filled in.
    pub(super) heads: Vec<ReadoutHead>,
    /// Where each starts in the file.
    pub(super) places: Vec<usize>,
    /// Line and partition that each states to be at the centre of k-space.
    pub(super) centers: Vec<[u16; 2]>,
    /// Evaluation bits that are set in any of them.
    pub(super) bits: u64,
    /// Readouts without samples or channels, which are passed over.
    pub(super) empty: usize,
    /// Whether the end of the measurement is marked.
    pub(super) ended: bool,
}

impl Walk {
    /// Keeps the readouts that `keep` accepts.
    pub(super) fn retain(&mut self, keep: impl Fn(&ReadoutHead) -> bool) {
        let kept: Vec<bool> = self.heads.iter().map(keep).collect();
        let mut heads = kept.iter();
        self.heads.retain(|_| heads.next().is_some_and(|kept| *kept));
        let mut places = kept.iter();
        self.places.retain(|_| places.next().is_some_and(|kept| *kept));
        let mut centers = kept.iter();
        self.centers.retain(|_| centers.next().is_some_and(|kept| *kept));
    }
}

/// Visits every readout. Blocks of synchronous data, which are no readouts, are passed over.
///
/// # Errors
/// [`Error::Truncated`] where the file ends within a readout, [`Error::Corrupt`] for a header that cannot be true.
pub(super) fn walk(file: &[u8], measurement: Measurement, generation: Generation) -> Result<Walk> {
    let mut found = Walk::default();
    let mut at = measurement.readouts;
    // Number of the measurement, where the block before does not state its length as it should.
    let mut doubt = None;
    loop {
        let rest = &file[at..measurement.end];
        if rest.len() < generation.header() && is_zero(rest) {
            return Ok(found);
        }
        inside(file, measurement, at, generation.header())?;
        let mdh = Mdh::parse(rest, generation);
        if mdh.length == 0 && is_zero(rest) {
            return padding(found, at, measurement);
        }
        if let Some(number) = doubt.filter(|number| *number != mdh.measurement) {
            let found = format!("measurement {}", mdh.measurement);
            return Err(Error::corrupt(format!("scan header at byte {at}"), found, format!("measurement {number}")));
        }
        if has(mdh.mask, bit::END) {
            found.ended = true;
            return Ok(found);
        }
        if has(mdh.mask, bit::SYNC_DATA) {
            if mdh.length < generation.header() {
                let expected = format!("at least {}", generation.header());
                return Err(Error::corrupt(format!("length of the block at byte {at}"), mdh.length, expected));
            }
            inside(file, measurement, at, mdh.length)?;
            at += mdh.length;
            continue;
        }
        if mdh.samples == 0 || mdh.channels == 0 {
            let fits = mdh.length >= generation.header() && at + mdh.length <= measurement.end;
            if !fits {
                let found = format!("{} samples of {} channels in {} bytes", mdh.samples, mdh.channels, mdh.length);
                return Err(Error::corrupt(format!("readout at byte {at}"), found, "at least one of both"));
            }
            // The next header tells whether the length was right.
            doubt = Some(mdh.measurement);
            found.empty += 1;
            at += mdh.length;
            continue;
        }
        // Readouts that travel together state the length of all, so that of each is computed. Where both differ the next
        // header tells whether that was right.
        let length = mdh.readout_length(generation);
        doubt = (mdh.length != length).then_some(mdh.measurement);
        inside(file, measurement, at, length)?;
        if generation == Generation::Vb {
            check_channels(file, at, &mdh)?;
        }
        found.bits |= mdh.mask;
        found.heads.push(head(&mdh));
        check_readouts(found.heads.len() as u64)?;
        found.places.push(at);
        found.centers.push(mdh.center);
        at += length;
    }
}

fn head(mdh: &Mdh) -> ReadoutHead {
    let [read_dir, phase_dir, slice_dir] = orientation::directions(mdh.quaternion);
    ReadoutHead {
        flags: mdh::flags(mdh.mask),
        scan_counter: mdh.scan_counter,
        samples: mdh.samples,
        channels: mdh.channels,
        discard_pre: mdh.cut_off[0],
        discard_post: mdh.cut_off[1],
        center_sample: mdh.center_column,
        position: mdh.position,
        read_dir,
        phase_dir,
        slice_dir,
        counters: mdh.counters,
        ..ReadoutHead::default()
    }
}

/// In VB every channel repeats the header.
fn check_channels(file: &[u8], at: usize, first: &Mdh) -> Result<()> {
    let generation = Generation::Vb;
    let step = generation.channel_header() + 8 * usize::from(first.samples);
    for channel in 1..usize::from(first.channels) {
        let place = at + channel * step;
        let mdh = Mdh::parse(&file[place..], generation);
        if (mdh.scan_counter, mdh.samples) != (first.scan_counter, first.samples) {
            let found = format!("{} samples of readout {}", mdh.samples, mdh.scan_counter);
            let expected = format!("{} samples of readout {}", first.samples, first.scan_counter);
            return Err(Error::corrupt(format!("channel {channel} at byte {place}"), found, expected));
        }
    }
    Ok(())
}

/// Whether `length` bytes from `at` belong to the measurement.
fn inside(file: &[u8], measurement: Measurement, at: usize, length: usize) -> Result<()> {
    let (end, expected) = (measurement.end, at + length);
    if expected <= end {
        return Ok(());
    }
    if end == file.len() {
        let what = format!("the file with its readout at byte {at}");
        return Err(Error::Truncated { what, found: end as u64, expected: expected as u64 });
    }
    let found = format!("{} bytes to the end of the measurement", end - at);
    Err(Error::corrupt(format!("readout at byte {at}"), found, format!("{length} bytes")))
}

/// Zeros after the last readout: some fill up a block, more are what is still to come.
fn padding(found: Walk, at: usize, measurement: Measurement) -> Result<Walk> {
    if measurement.end - at < ALIGNMENT {
        return Ok(found);
    }
    let what = "the measurement, but for zeros,".to_owned();
    Err(Error::Truncated { what, found: at as u64, expected: measurement.end as u64 })
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Numbers of the channels of the readout that starts at `at`, in the order of its samples.
pub(super) fn channel_ids(file: &[u8], at: usize, head: &ReadoutHead, generation: Generation) -> Vec<u16> {
    let step = generation.channel_header() + 8 * usize::from(head.samples);
    let first = at + generation.lead() + generation.channel_id();
    (0..usize::from(head.channels)).map(|channel| u16_at(file, first + channel * step)).collect()
}
