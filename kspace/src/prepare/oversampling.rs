//! The readout: readout oversampling removed.
//!
//! Scanners sample the readout twice as densely as the image needs, because it costs nothing. A centred inverse
//! transform, a crop around the centre and a transform back keep the field of view that was asked for.
//!
//! With an oversampling of two, every other sample s lies on the points of the kept matrix of N and comes out as it is, over
//! `sqrt(2)`. The ones between them add what they have at `n` in the image, half a point away:
//! `y = (s(even) + F(exp(i pi n / N) F⁻¹ s(odd))) / sqrt(2)`, which are two transforms of N points instead of one of 2 N and one of N.

use std::borrow::Cow;
use std::f32::consts::{FRAC_1_SQRT_2, PI};
use std::sync::Arc;

use rustfft::{Fft, FftDirection};
use serde_json::json;

use super::Log;
use super::echo::{Placement, place};
use super::epi::{PhaseCorrection, Regrid};
use crate::format::header::Encoding;
use crate::format::{Flags, RawScan, ReadoutHead};
use crate::numerics::fft;
use crate::{Complex32, Error, Result};

/// Fields of view closer than this are the same.
const SAME_FIELD_OF_VIEW: f64 = 0.01;
/// Part of the encoded readout that a line has at least; asymmetric echoes have more than half.
const SHORTEST: usize = 16;

/// How readouts become rows of the matrix.
pub(super) struct Readout {
    encoded: usize,
    kept: usize,
    /// Field of view of the encoded readout, mm.
    encoded_mm: f64,
    /// For samples on the ramps of an echo planar gradient.
    regrid: Option<Regrid>,
    /// Whether that gradient points against the read direction.
    against_read_dir: bool,
}

impl Readout {
    /// Finds the oversampling of `lines`, which are of `encoding`, and checks that every line fits. The field of view that is kept is
    /// that of the image, `recon_mm`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a line that does not fit the encoded matrix.
    pub(super) fn new<'a>(
        raw: &dyn RawScan,
        encoding: &Encoding,
        recon_mm: f64,
        lines: impl Iterator<Item = &'a usize>,
        log: &mut Log,
    ) -> Result<Self> {
        let encoded = encoding.encoded.matrix[0];
        let ratio = encoding.encoded.field_of_view_mm[0] / recon_mm;
        let mut kept = encoded;
        if !(ratio.is_finite() && ratio > 0.0) {
            log.warn("field of view along the readout unknown: readout oversampling, if any, is not removed");
        } else if ratio > 1.0 + SAME_FIELD_OF_VIEW {
            kept = ((encoded as f64 / ratio).round() as usize).clamp(1, encoded);
        }
        let encoded_mm = encoding.encoded.field_of_view_mm[0];
        let against_read_dir = encoding.ramp.is_some_and(|ramp| ramp.against_read_dir);
        let mut it = Self { encoded, kept, encoded_mm, regrid: None, against_read_dir };

        let (mut asymmetric, mut ignored) = (0usize, 0usize);
        for index in lines {
            let Some(head) = raw.heads().get(*index) else { continue };
            if let (Some(ramp), None) = (&encoding.ramp, &it.regrid) {
                it.regrid = Some(Regrid::new(ramp, head.samples.into(), encoded)?);
                log.step("regrid_ramps", [("samples", json!(head.samples)), ("points", json!(encoded))]);
            }
            let placement = it.place(head).map_err(|found| {
                let expected = format!("at most {encoded} samples, the encoded matrix, around the centre of k-space");
                Error::corrupt(format!("readout {index}"), found, expected)
            })?;
            if placement.count.saturating_mul(SHORTEST) < encoded {
                let found = format!("{} samples", placement.count);
                let expected = format!("at least one in {SHORTEST} of the {encoded} points of the encoded matrix");
                return Err(Error::corrupt(format!("readout {index}"), found, expected));
            }
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

    /// Points of a readout before oversampling is removed.
    pub(super) const fn encoded(&self) -> usize {
        self.encoded
    }

    /// Where the samples of a readout go, or what does not fit.
    pub(super) fn place(&self, head: &ReadoutHead) -> std::result::Result<Placement, String> {
        match &self.regrid {
            None => place(head, self.encoded),
            Some(regrid) if regrid.samples() == usize::from(head.samples) => Ok(Placement::whole(self.encoded)),
            Some(regrid) => {
                Err(format!("{} samples where other echo planar lines have {}", head.samples, regrid.samples()))
            }
        }
    }

    /// Samples `[coil, sample]` that [`Self::place`] speaks of: those on ramps evenly spaced in k-space, from left to right.
    pub(super) fn straighten<'a>(&self, head: &ReadoutHead, samples: Cow<'a, [Complex32]>) -> Cow<'a, [Complex32]> {
        let Some(regrid) = &self.regrid else { return samples };
        let along: f32 = head.position.iter().zip(head.read_dir).map(|(a, b)| a * b).sum();
        let offset = f64::from(if self.against_read_dir { -along } else { along }) / self.encoded_mm;
        let mut rows = vec![Complex32::default(); usize::from(head.channels) * self.encoded];
        let offset = if offset.is_finite() { offset } else { 0.0 };
        regrid.apply(head.flags.has(Flags::REVERSE), offset, &samples, &mut rows);
        Cow::Owned(rows)
    }

    /// A whole readout in hybrid space, `[coil, x]`, of the encoded width, with its centre in the middle; `None` for one that does
    /// not fit.
    pub(super) fn hybrid(&self, head: &ReadoutHead, samples: &[Complex32]) -> Option<Vec<Complex32>> {
        let placement = self.place(head).ok()?;
        let samples = self.straighten(head, Cow::Borrowed(samples));
        let coils = usize::from(head.channels).max(1);
        let mut rows = vec![Complex32::default(); coils * self.encoded];
        let lines = samples.chunks_exact((samples.len() / coils).max(1));
        for (row, samples) in rows.chunks_exact_mut(self.encoded).zip(lines) {
            row[placement.start..].iter_mut().zip(placement.used(samples)).for_each(|(to, from)| *to = from);
        }
        fft::Centred::inverse(self.encoded).apply(&mut rows);
        Some(rows)
    }

    /// A worker with its own memory.
    pub(super) fn worker(&self) -> Worker {
        let [inverse, halved] = [self.encoded, self.kept].map(|points| fft::plan(points, FftDirection::Inverse));
        let forward = fft::plan(self.kept, FftDirection::Forward);
        let scratch = [&inverse, &halved, &forward].map(|plan| plan.get_inplace_scratch_len());
        let scratch = scratch.into_iter().fold(0, usize::max);
        let right = self.kept - self.kept / 2;
        let half_point = |at: usize| {
            let n = if at < right { at as f32 } else { at as f32 - self.kept as f32 };
            Complex32::cis(PI * n / self.kept as f32)
        };
        Worker {
            halved,
            half_point: (0..self.kept).map(half_point).collect(),
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
    /// The same of the kept points.
    halved: Arc<dyn Fft<f32>>,
    forward: Arc<dyn Fft<f32>>,
    /// Phases of half a point at the kept pixels, the origin first.
    half_point: Vec<Complex32>,
}

impl Worker {
    /// Adds `weight` times a readout to `row`, after the phase of a reversed line was corrected in hybrid space.
    pub(super) fn add(
        &mut self,
        samples: &[Complex32],
        placement: Placement,
        phase: Option<&PhaseCorrection>,
        weight: f32,
        row: &mut [Complex32],
    ) {
        let (encoded, kept, start) = (self.wide.len(), self.narrow.len(), placement.start);
        if encoded == kept && phase.is_none() {
            row[start..].iter_mut().zip(placement.used(samples)).for_each(|(to, from)| *to += from * weight);
            return;
        }
        if encoded == 2 * kept && phase.is_none() {
            self.add_half(samples, placement, weight, row);
            return;
        }
        // The transforms want the centre at index 0: the negative half of the readout goes behind the positive one,
        // and the crop keeps both ends.
        self.wide.fill(Complex32::default());
        let rotate = encoded - encoded / 2;
        for (at, sample) in placement.used(samples).enumerate() {
            let to = start + at + rotate;
            self.wide[if to < encoded { to } else { to - encoded }] = sample;
        }
        self.inverse.process_with_scratch(&mut self.wide, &mut self.scratch);
        if let Some(phase) = phase {
            phase.apply_origin_first(&mut self.wide);
        }
        let (left, right) = (kept / 2, kept - kept / 2);
        self.narrow[..right].copy_from_slice(&self.wide[..right]);
        self.narrow[right..].copy_from_slice(&self.wide[encoded - left..]);
        self.forward.process_with_scratch(&mut self.narrow, &mut self.scratch);
        let scale = weight / ((encoded * kept) as f32).sqrt();
        row[..left].iter_mut().zip(&self.narrow[right..]).for_each(|(to, from)| *to += from * scale);
        row[left..].iter_mut().zip(&self.narrow[..right]).for_each(|(to, from)| *to += from * scale);
    }

    /// The same with an oversampling of two.
    fn add_half(&mut self, samples: &[Complex32], placement: Placement, weight: f32, row: &mut [Complex32]) {
        let (kept, end) = (self.narrow.len(), placement.start + placement.count);
        self.wide[..placement.start].fill(Complex32::default());
        self.wide[end..].fill(Complex32::default());
        let used = placement.used(samples);
        self.wide[placement.start..end].iter_mut().zip(used).for_each(|(to, from)| *to = from);
        let (left, right) = (kept / 2, kept - kept / 2);
        // The centre, at index `kept`, is even.
        let (even, odd) = (&self.wide[kept % 2..], &self.wide[1 - kept % 2..]);
        let odd = odd.iter().step_by(2);
        let (first, last) = self.narrow.split_at_mut(left);
        last.iter_mut().chain(first).zip(odd).for_each(|(to, from)| *to = *from);
        self.halved.process_with_scratch(&mut self.narrow, &mut self.scratch);
        self.narrow.iter_mut().zip(&self.half_point).for_each(|(value, turn)| *value *= turn);
        self.forward.process_with_scratch(&mut self.narrow, &mut self.scratch);
        let (own, scale) = (weight * FRAC_1_SQRT_2, weight * FRAC_1_SQRT_2 / kept as f32);
        let between = self.narrow[right..].iter().chain(&self.narrow[..right]);
        for ((to, even), between) in row.iter_mut().zip(even.iter().step_by(2)).zip(between) {
            *to += even * own + between * scale;
        }
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
        readout.worker().add(samples, readout.place(head).unwrap(), None, 1.0, &mut row);
        row
    }

    proptest! {
        #[test]
        fn equals_transform_crop_transform(encoded in 2usize..40, share in 0.1f64..1.0, halved: bool, lost in 0usize..9, seed in 0u32..100) {
            let kept = if halved { encoded.div_ceil(2) } else { ((encoded as f64 * share) as usize).max(1) };
            let encoded = if halved { 2 * kept } else { encoded };
            let value = |at: usize| Complex32::from_polar(1.0 + (at as u32 * seed % 7) as f32, at as f32 * 1.7);
            let samples: Vec<_> = (0..encoded).map(value).collect();
            // Of an asymmetric echo the first samples are missing.
            let lost = lost.min(encoded / 2 - 1);
            let readout = Readout { encoded, kept, encoded_mm: 1.0, regrid: None, against_read_dir: false };
            let head = head((encoded - lost) as u16, (encoded / 2 - lost) as u16);
            let row = run(&readout, &head, &samples[lost..]);
            let mut samples = Array3::from_shape_vec((1, 1, encoded), samples).unwrap();
            samples.slice_mut(s![.., .., ..lost]).fill(Complex32::default());
            let image = ifft2c(&samples);
            let first = encoded / 2 - kept / 2;
            let expected = fft2c(&image.slice(s![.., .., first..first + kept]).to_owned());
            for (found, expected) in row.iter().zip(&expected) {
                prop_assert!((found - expected).norm() < 1e-4);
            }
        }
    }
}
