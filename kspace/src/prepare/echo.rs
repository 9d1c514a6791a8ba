//! Where the samples of a readout lie around the centre of k-space: asymmetric echoes, samples to discard and lines that were
//! acquired from right to left.

use crate::Complex32;
use crate::format::{Flags, ReadoutHead};

/// Which samples of a readout go where, relative to the centre of k-space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    /// First sample used.
    pub(super) first: usize,
    /// Samples used.
    pub(crate) count: usize,
    /// Index of the first used sample on the encoded readout.
    pub(crate) start: usize,
    /// Whether the samples run from right to left.
    pub(super) reversed: bool,
}

impl Placement {
    /// All samples of a readout of `points`, from left to right.
    pub(super) const fn whole(points: usize) -> Self {
        Self { first: 0, count: points, start: 0, reversed: false }
    }

    /// The used samples from left to right.
    pub(super) fn used(self, samples: &[Complex32]) -> impl Iterator<Item = Complex32> {
        let Self { first, count, reversed, .. } = self;
        let last = samples.len() - 1;
        (first..first + count).map(move |at| samples[if reversed { last - at } else { at }])
    }
}

/// Where the samples of a readout go among `encoded` points whose middle is the centre of k-space, or what does not fit.
pub(crate) fn place(head: &ReadoutHead, encoded: usize) -> std::result::Result<Placement, String> {
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
    let start = if count == encoded { Some(0) } else { (encoded / 2 + pre).checked_sub(centre) };
    let placement = start.map(|start| Placement { first: pre, count, start, reversed });
    placement
        .filter(|it| it.start + it.count <= encoded)
        .ok_or_else(|| format!("{count} samples with the centre of k-space at sample {centre}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(samples: u16, center_sample: u16) -> ReadoutHead {
        ReadoutHead { samples, channels: 1, center_sample, ..ReadoutHead::default() }
    }

    fn run(encoded: usize, head: &ReadoutHead, samples: &[Complex32]) -> Vec<Complex32> {
        let mut row = vec![Complex32::default(); encoded];
        let placement = place(head, encoded).unwrap();
        row[placement.start..].iter_mut().zip(placement.used(samples)).for_each(|(to, from)| *to = from);
        row
    }

    #[test]
    fn asymmetric_echoes_meet_at_the_centre() {
        let samples: Vec<_> = (0..6).map(|at| Complex32::new(at as f32 + 1.0, 0.0)).collect();
        // Sample 2 of 6 is the centre, so the first two points were not acquired.
        let row = run(8, &head(6, 2), &samples);
        let real: Vec<f32> = row.iter().map(|value| value.re).collect();
        assert_eq!(real, [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let discarded = ReadoutHead { discard_pre: 1, discard_post: 2, ..head(6, 2) };
        let real: Vec<f32> = run(8, &discarded, &samples).iter().map(|value| value.re).collect();
        assert_eq!(real, [0.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    }

    #[test]
    fn reversed_lines_are_mirrored() {
        let samples: Vec<_> = (1..=4).map(|at| Complex32::new(at as f32, 0.0)).collect();
        let reversed = ReadoutHead { flags: Flags::default().with(Flags::REVERSE), ..head(4, 2) };
        let real: Vec<f32> = run(4, &reversed, &samples).iter().map(|value| value.re).collect();
        assert_eq!(real, [4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn lines_that_do_not_fit_are_named() {
        assert!(place(&head(9, 4), 8).unwrap_err().contains("9 samples"));
        assert!(place(&head(6, 7), 8).unwrap_err().contains("sample 7"));
        let nothing = ReadoutHead { discard_pre: 4, discard_post: 4, ..head(8, 4) };
        assert!(place(&nothing, 8).unwrap_err().contains("discarded"));
    }
}
