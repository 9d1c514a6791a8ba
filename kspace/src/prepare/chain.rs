//! How readouts become the arrays of a prepared file: what the steps found out, in one place.

use contract::prepared::{Entry, GEOMETRY_LENGTH, Sampling};
use ndarray::Array2;

use super::calibration::{Apart, Origin};
use super::mixing::Mixing;
use super::oversampling::Readout;
use super::probe::Estimate;
use super::shots::Shots;
use super::sort::{self, Line};
use super::volume::Axes;
use super::{Log, Options, average, compress, normalise, probe, stream, whiten};
use crate::format::header::{Encoding, Space};
use crate::format::{RawScan, ReadoutHead};
use crate::prepared::Shape;
use crate::{Error, Result};

/// How readouts become the arrays of the prepared file.
pub(super) struct Chain {
    pub(super) shape: Shape,
    /// Channels of the raw data.
    pub(super) coils: usize,
    pub(super) groups: Vec<Group>,
    pub(super) axes: Axes,
    pub(super) readout: Readout,
    /// The readout of a separate calibration scan.
    pub(super) reference: Option<Readout>,
    /// Phase correction of reversed lines.
    pub(super) shots: Shots,
    /// What is applied to the coils.
    pub(super) mixing: Option<Mixing>,
    /// What samples are multiplied by.
    pub(super) scale: f32,
}

/// Lines that become one image, or the slices of one slab.
pub(super) struct Group {
    pub(super) key: sort::Key,
    /// Head of its first imaging line.
    pub(super) head: ReadoutHead,
    /// By partition and row, repeated places next to each other.
    pub(super) lines: Vec<Line>,
    /// Calibration lines that are not part of the image.
    pub(super) calibration: Option<Apart>,
    /// Sampling of the rows.
    pub(super) sampling: Sampling,
}

/// Position and directions of slice `at` of a group, as a row of the geometry array: the slices of a slab lie around its
/// centre, which is at half of the partitions.
fn pose(head: &ReadoutHead, axes: &Axes, thickness_mm: f64, at: usize) -> [f32; GEOMETRY_LENGTH] {
    let (phase, slice) = match axes.exchanged {
        true => (head.slice_dir, head.phase_dir),
        false => (head.phase_dir, head.slice_dir),
    };
    let steps = (axes.kept.start + at) as f64 - (axes.partitions / 2) as f64;
    let shift = if axes.partitions > 1 { steps * thickness_mm } else { 0.0 };
    let position = std::array::from_fn(|axis| head.position[axis] + (shift * f64::from(slice[axis])) as f32);
    let mut row = [0.0; GEOMETRY_LENGTH];
    let values = [position, head.read_dir, phase, slice].into_iter().flatten();
    row.iter_mut().zip(values).for_each(|(to, from): (_, f32)| *to = if from.is_finite() { from } else { 0.0 });
    row
}

impl Chain {
    /// Looks at some calibration lines and decides on the coils and the size of the samples.
    pub(super) fn look(
        &mut self,
        raw: &dyn RawScan,
        options: &Options,
        whitening: Option<&whiten::Whitening>,
        log: &mut Log,
    ) -> Result<Option<Estimate>> {
        let mut probes = probe::look(self, stream::Source { raw, coils: self.coils })?;
        let copies = self.groups.iter().flat_map(|group| average::copies(&group.lines)).map(<[Line]>::len).min();
        let variance = whitening.filter(|it| it.sized).map(|_| whiten::VARIANCE / copies.unwrap_or(1) as f64);
        let estimate = probe::estimate(&probes, self.coils, &self.axes, variance);
        if let Some(fewer) = compress::plan(&probes, self.coils, options.compression, log)? {
            self.shape.coils = fewer.channels();
            probes.iter_mut().for_each(|probe| probe.mix(&fewer));
            self.mixing = Some(self.mixing.as_ref().map_or_else(|| fewer.clone(), |first| fewer.after(first)));
        }
        self.scale = 1.0 / normalise::plan(&probes, log);
        Ok(estimate)
    }

    /// What each entry is, its acquired lines and its place.
    pub(super) fn describe(&self, encoding: &Encoding) -> Result<(Vec<Entry>, Array2<u8>, Array2<f32>)> {
        let depth = self.axes.depth();
        let along = |space: &Space| space.field_of_view_mm[self.axes.slice_axis()];
        let slab_mm = if along(&encoding.encoded) > 0.0 { along(&encoding.encoded) } else { along(&encoding.recon) };
        let thickness_mm = slab_mm / self.axes.partitions as f64;
        let mut entries = Vec::with_capacity(self.shape.entries);
        let mut mask = Array2::zeros((self.shape.entries, self.shape.ky));
        let mut geometry = Array2::zeros((self.shape.entries, GEOMETRY_LENGTH));
        for (group, at) in self.groups.iter().flat_map(|group| (0..depth).map(move |at| (group, at))) {
            let index = entries.len();
            group.lines.iter().for_each(|line| mask[[index, line.row]] = 1);
            let pose = pose(&group.head, &self.axes, thickness_mm, at);
            geometry.row_mut(index).iter_mut().zip(pose).for_each(|(to, from)| *to = from);
            let sort::Key { slice, contrast, phase, repetition, set } = group.key;
            let number = usize::from(slice) * depth + at;
            let limit = u64::from(u16::MAX);
            let slice = u16::try_from(number).map_err(|_| Error::Limit {
                what: "number of slices",
                found: number as u64,
                limit,
            })?;
            entries.push(Entry { slice, contrast, phase, repetition, set, sampling: group.sampling });
        }
        Ok((entries, mask, geometry))
    }

    /// How lines of this origin become rows.
    pub(super) fn readout_of(&self, origin: Origin) -> &Readout {
        match (origin, &self.reference) {
            (Origin::Reference, Some(reference)) => reference,
            _ => &self.readout,
        }
    }
}
