//! The readout: asymmetric echoes placed around the centre of k-space, and readout oversampling removed.
//!
//! Scanners sample the readout twice as densely as the image needs, because it costs nothing. A centred inverse
//! transform, a crop around the centre and a transform back keep the field of view that was asked for.

use std::sync::Arc;

use rustfft::{Fft, FftDirection};
use serde_json::json;

use super::Log;
use super::triage::Triage;
use crate::format::{Flags, RawScan, ReadoutHead};
use crate::numerics::fft;
use crate::{Complex32, Error, Result};

/// Fields of view closer than this are the same.
const SAME_FIELD_OF_VIEW: f64 = 0.01;
/// No scanner samples a readout more often.
const MAX_POINTS: usize = 1 << 16;

/// How readouts become rows of the matrix.
pub(super) struct Readout {
    encoded: usize,
    kept: usize,
}

/// Which samples of a readout go where, relative to the centre of k-space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    /// First sample used.
    first: usize,
    /// Samples used.
    count: usize,
    /// Index of the first used sample on the encoded readout.
    start: usize,
    /// Whether the samples run from right to left.
    reversed: bool,
}

impl Readout {
    /// Finds the oversampling and checks that every line fits.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a line that does not fit the encoded matrix, [`Error::Limit`] for an absurd matrix.
    pub(super) fn new(raw: &dyn RawScan, triage: &Triage<'_>, log: &mut Log) -> Result<Self> {
        let encoded = triage.encoding.encoded.matrix[0];
        if encoded > MAX_POINTS {
            return Err(Error::Limit {
                what: "encoded readout in points",
                found: encoded as u64,
                limit: MAX_POINTS as u64,
            });
        }
        let [from, to] = [triage.encoding.encoded, triage.encoding.recon].map(|space| space.field_of_view_mm[0]);
        let ratio = from / to;
        let mut kept = encoded;
        if !(ratio.is_finite() && ratio > 0.0) {
            log.warn("field of view along the readout unknown: readout oversampling, if any, is not removed");
        } else if ratio > 1.0 + SAME_FIELD_OF_VIEW {
            kept = ((encoded as f64 / ratio).round() as usize).clamp(1, encoded);
        }
        let it = Self { encoded, kept };

        let (mut asymmetric, mut ignored) = (0usize, 0usize);
        for index in triage.imaging.iter().chain(&triage.calibration) {
            let Some(head) = raw.heads().get(*index) else { continue };
            let placement = it.place(head).map_err(|found| {
                let expected = format!("at most {encoded} samples, the encoded matrix, around the centre of k-space");
                Error::corrupt(format!("readout {index}"), found, expected)
            })?;
            asymmetric += usize::from(placement.count < encoded);
            ignored += usize::from(placement.count == encoded && usize::from(head.center_sample) != encoded / 2);
        }
        if ignored > 0 {
            log.warn(format!(
                "{ignored} complete readouts state another centre than their middle; the middle is taken"
            ));
        }
        if asymmetric > 0 {
            log.step("place_readout", [("encoded", json!(encoded)), ("incomplete_lines", json!(asymmetric))]);
        }
        if kept < encoded {
            log.step("remove_oversampling", [("from", json!(encoded)), ("to", json!(kept)), ("ratio", json!(ratio))]);
        }
        Ok(it)
    }

    /// Points of a row afterwards.
    pub(super) const fn kept(&self) -> usize {
        self.kept
    }

    /// Where the samples of a readout go, or what does not fit.
    pub(super) fn place(&self, head: &ReadoutHead) -> std::result::Result<Placement, String> {
        let [samples, mut pre, mut post, mut centre] =
            [head.samples, head.discard_pre, head.discard_post, head.center_sample].map(usize::from);
        let reversed = head.flags.has(Flags::REVERSE);
        if reversed {
            std::mem::swap(&mut pre, &mut post);
            centre = samples.saturating_sub(centre);
        }
        let used = samples.checked_sub(pre + post).filter(|used| *used > 0);
        let Some(count) = used else {
            return Err(format!("{samples} samples of which {pre} and {post} are to be discarded"));
        };
        // A readout of the full width can lie in one place only, and some writers never fill the centre in.
        let start = if count == self.encoded { Some(0) } else { (self.encoded / 2 + pre).checked_sub(centre) };
        let placement = start.map(|start| Placement { first: pre, count, start, reversed });
        placement
            .filter(|it| it.start + it.count <= self.encoded)
            .ok_or_else(|| format!("{count} samples with the centre of k-space at sample {centre}"))
    }

    /// A worker with its own memory.
    pub(super) fn worker(&self) -> Worker {
        let inverse = fft::plan(self.encoded, FftDirection::Inverse);
        let forward = fft::plan(self.kept, FftDirection::Forward);
        let scratch = inverse.get_inplace_scratch_len().max(forward.get_inplace_scratch_len());
        Worker {
            wide: vec![Complex32::default(); self.encoded],
            narrow: vec![Complex32::default(); self.kept],
            scratch: vec![Complex32::default(); scratch],
            inverse,
            forward,
        }
    }
}

/// Turns readouts of one coil into rows.
pub(super) struct Worker {
    wide: Vec<Complex32>,
    narrow: Vec<Complex32>,
    scratch: Vec<Complex32>,
    inverse: Arc<dyn Fft<f32>>,
    forward: Arc<dyn Fft<f32>>,
}

impl Worker {
    /// Adds `weight` times a readout to `row`.
    pub(super) fn add(&mut self, samples: &[Complex32], placement: Placement, weight: f32, row: &mut [Complex32]) {
        let Placement { first, count, start, reversed } = placement;
        let (encoded, kept) = (self.wide.len(), self.narrow.len());
        let line = |at: usize| if reversed { samples[samples.len() - 1 - first - at] } else { samples[first + at] };
        if encoded == kept {
            row[start..start + count].iter_mut().enumerate().for_each(|(at, to)| *to += line(at) * weight);
            return;
        }
        // The transforms want the centre at index 0: the negative half of the readout goes behind the positive one,
        // and the crop keeps both ends.
        self.wide.fill(Complex32::default());
        let rotate = encoded - encoded / 2;
        for at in 0..count {
            let to = start + at + rotate;
            self.wide[if to < encoded { to } else { to - encoded }] = line(at);
        }
        self.inverse.process_with_scratch(&mut self.wide, &mut self.scratch);
        let (left, right) = (kept / 2, kept - kept / 2);
        self.narrow[..right].copy_from_slice(&self.wide[..right]);
        self.narrow[right..].copy_from_slice(&self.wide[encoded - left..]);
        self.forward.process_with_scratch(&mut self.narrow, &mut self.scratch);
        let scale = weight / ((encoded * kept) as f32).sqrt();
        row[..left].iter_mut().zip(&self.narrow[right..]).for_each(|(to, from)| *to += from * scale);
        row[left..].iter_mut().zip(&self.narrow[..right]).for_each(|(to, from)| *to += from * scale);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};
    use proptest::prelude::*;

    use super::*;
    use crate::numerics::fft::{fft2c, ifft2c};

    fn head(samples: u16, center_sample: u16) -> ReadoutHead {
        ReadoutHead { samples, channels: 1, center_sample, ..ReadoutHead::default() }
    }

    fn run(readout: &Readout, head: &ReadoutHead, samples: &[Complex32]) -> Vec<Complex32> {
        let mut row = vec![Complex32::default(); readout.kept];
        readout.worker().add(samples, readout.place(head).unwrap(), 1.0, &mut row);
        row
    }

    proptest! {
        #[test]
        fn equals_transform_crop_transform(encoded in 2usize..40, share in 0.1f64..1.0, seed in 0u32..100) {
            let kept = ((encoded as f64 * share) as usize).max(1);
            let value = |at: usize| Complex32::from_polar(1.0 + (at as u32 * seed % 7) as f32, at as f32 * 1.7);
            let samples: Vec<_> = (0..encoded).map(value).collect();
            let row = run(&Readout { encoded, kept }, &head(encoded as u16, encoded as u16 / 2), &samples);
            let image = ifft2c(&Array3::from_shape_vec((1, 1, encoded), samples).unwrap());
            let first = encoded / 2 - kept / 2;
            let expected = fft2c(&image.slice(s![.., .., first..first + kept]).to_owned());
            for (found, expected) in row.iter().zip(&expected) {
                prop_assert!((found - expected).norm() < 1e-4);
            }
        }
    }

    #[test]
    fn asymmetric_echoes_meet_at_the_centre() {
        let readout = Readout { encoded: 8, kept: 8 };
        let samples: Vec<_> = (0..6).map(|at| Complex32::new(at as f32 + 1.0, 0.0)).collect();
        // Sample 2 of 6 is the centre, so the first two points were not acquired.
        let row = run(&readout, &head(6, 2), &samples);
        let real: Vec<f32> = row.iter().map(|value| value.re).collect();
        assert_eq!(real, [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let discarded = ReadoutHead { discard_pre: 1, discard_post: 2, ..head(6, 2) };
        let real: Vec<f32> = run(&readout, &discarded, &samples).iter().map(|value| value.re).collect();
        assert_eq!(real, [0.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    }

    #[test]
    fn reversed_lines_are_mirrored() {
        let readout = Readout { encoded: 4, kept: 4 };
        let samples: Vec<_> = (1..=4).map(|at| Complex32::new(at as f32, 0.0)).collect();
        let reversed = ReadoutHead { flags: Flags::default().with(Flags::REVERSE), ..head(4, 2) };
        let real: Vec<f32> = run(&readout, &reversed, &samples).iter().map(|value| value.re).collect();
        assert_eq!(real, [4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn lines_that_do_not_fit_are_named() {
        let readout = Readout { encoded: 8, kept: 8 };
        assert!(readout.place(&head(9, 4)).unwrap_err().contains("9 samples"));
        assert!(readout.place(&head(6, 7)).unwrap_err().contains("sample 7"));
        let nothing = ReadoutHead { discard_pre: 4, discard_post: 4, ..head(8, 4) };
        assert!(readout.place(&nothing).unwrap_err().contains("discarded"));
    }
}
