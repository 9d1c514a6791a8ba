//! The measurements of a file.
//!
//! From VD on a file starts with a table of up to 64 measurements: adjustments first, the scan last. Its entries hold the
//! patient's name too, which is never looked at. Files of VB are one measurement.

use super::mdh::{Generation, u32_at, u64_at};
use crate::{Error, Result};

/// Entries that the table has room for.
const MOST_MEASUREMENTS: u32 = 64;
/// Bytes of an entry of the table; the first starts after two numbers.
const ENTRY: usize = 152;
/// Smallest first number that is the length of a VB header and not the kind of a table.
const SMALLEST_VB_HEADER: u32 = 10_000;

/// Where a measurement lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measurement {
    /// First byte, where its header starts.
    pub(super) start: usize,
    /// First byte of its readouts.
    pub(super) readouts: usize,
    /// End of its readouts.
    pub(super) end: usize,
}

/// Finds the measurements, in the order of the file.
///
/// # Errors
/// [`Error::Truncated`] for a file that ends before a measurement does, [`Error::Corrupt`] for a table that cannot be true.
pub(super) fn measurements(file: &[u8]) -> Result<(Generation, Vec<Measurement>)> {
    require(file, 8)?;
    let (kind, count) = (u32_at(file, 0), u32_at(file, 4));
    if kind >= SMALLEST_VB_HEADER {
        return Ok((Generation::Vb, vec![measurement(file, 0, file.len())?]));
    }
    if !(1..=MOST_MEASUREMENTS).contains(&count) {
        let what = "the table of measurements at byte 4";
        return Err(Error::corrupt(what, format!("{count} measurements"), format!("1 to {MOST_MEASUREMENTS}")));
    }
    let table = 8 + ENTRY * count as usize;
    require(file, table)?;
    let entry = |number: usize| {
        let at = 8 + ENTRY * number;
        (at, u64_at(file, at + 8), u64_at(file, at + 16))
    };
    let mut found = Vec::with_capacity(count as usize);
    let mut free = table as u64;
    for number in 0..count as usize {
        let (at, start, length) = entry(number);
        let end = match length {
            // Not filled in, as XA and exported files leave it: up to the next measurement or the end of the file.
            0 if number + 1 < count as usize => entry(number + 1).1,
            0 => (file.len() as u64).max(start.saturating_add(1)),
            _ => start.saturating_add(length),
        };
        if start < free || end <= start {
            let what = format!("measurement {number} in the table at byte {at}");
            let expected = format!("bytes after {free}, where the one before ends");
            return Err(Error::corrupt(what, format!("bytes {start} to {end}"), expected));
        }
        if end > file.len() as u64 {
            let what = format!("the file with its measurement {number}");
            return Err(Error::Truncated { what, found: file.len() as u64, expected: end });
        }
        found.push(measurement(file, start as usize, end as usize)?);
        free = end;
    }
    Ok((Generation::Vd, found))
}

/// The measurement from `start` to `end`, which lies in the file.
fn measurement(file: &[u8], start: usize, end: usize) -> Result<Measurement> {
    let inside = |length: usize| {
        if end - start >= length {
            Ok(())
        } else if end == file.len() {
            let what = "the header of a measurement in the file".to_owned();
            Err(Error::Truncated { what, found: end as u64, expected: (start + length) as u64 })
        } else {
            let what = format!("the measurement at byte {start}");
            Err(Error::corrupt(what, format!("{} bytes", end - start), format!("a header of {length} bytes")))
        }
    };
    inside(8)?;
    let length = u32_at(file, start) as usize;
    if length < 8 {
        let what = format!("the length of the measurement header at byte {start}");
        return Err(Error::corrupt(what, length, "at least 8"));
    }
    inside(length)?;
    Ok(Measurement { start, readouts: start + length, end })
}

fn require(file: &[u8], length: usize) -> Result<()> {
    if file.len() < length {
        let what = "the Siemens raw data file".to_owned();
        return Err(Error::Truncated { what, found: file.len() as u64, expected: length as u64 });
    }
    Ok(())
}
