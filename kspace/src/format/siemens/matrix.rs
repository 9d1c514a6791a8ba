//! Size and centre of k-space, from the counters of the lines and from what the protocol states.
//!
//! The protocol says how large the matrix was meant to be, the lines say what was acquired. Sequences of researchers often
//! leave the protocol as it was, so that the lines decide wherever both cannot be true.

/// Lines of the image along one direction of phase encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) first: u16,
    pub(super) last: u16,
    /// Counter at the centre of k-space, 0 where it was not filled in.
    pub(super) center: u16,
    /// Size of the matrix in the protocol.
    pub(super) stated: Option<usize>,
}

/// Size of a matrix and counter at its centre, index `size / 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) center: u16,
    /// What of the header was not believed.
    pub(super) doubt: Option<Doubt>,
}

/// A contradiction between header and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The matrix of the protocol cannot hold the lines.
    Size,
    /// The stated centre is not that of complete lines.
    Center,
}

impl Lines {
    /// Every line fits the axis: `line + size / 2 - center` lies in the matrix.
    pub(super) fn axis(self) -> Axis {
        let [first, last, center] = [self.first, self.last, self.center].map(usize::from);
        let span = last.saturating_sub(first) + 1;
        let axis = |size: usize, center: usize, doubt| Axis { size, center: center as u16, doubt };
        let given = center > 0 || last == 0;
        // Lines of the full number can lie in one place only.
        if self.stated == Some(span) {
            let middle = first + span / 2;
            return axis(span, middle, (center > 0 && center != middle).then_some(Doubt::Center));
        }
        if !given || !(first..=last).contains(&center) {
            let size = self.stated.filter(|size| last < *size);
            let doubt = if size.is_none() && self.stated.is_some() { Some(Doubt::Size) } else { None };
            let size = size.unwrap_or(last + 1);
            return axis(size, size / 2, doubt);
        }
        let (below, above) = (center - first, last - center + 1);
        if let Some(size) = self.stated.filter(|size| below <= size / 2 && above <= size - size / 2) {
            return axis(size, center, None);
        }
        let size = if above == below + 1 { below + above } else { 2 * below.max(above) };
        axis(size, center, self.stated.map(|_| Doubt::Size))
    }
}

/// A kind of readout: samples used before and from the centre of k-space on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reach {
    pub(super) before: usize,
    pub(super) behind: usize,
}

impl Reach {
    const fn samples(self) -> usize {
        self.before + self.behind
    }

    /// Whether the centre of k-space is in the middle.
    const fn is_symmetric(self) -> bool {
        self.before == self.samples() / 2
    }

    /// Points of the smallest readout around the centre that holds it.
    fn points(self) -> usize {
        if self.is_symmetric() { self.samples() } else { 2 * self.before.max(self.behind) }
    }
}

/// Points of the readout, and how many times more densely they lie than the image needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Points {
    pub(super) size: usize,
    pub(super) oversampling: f64,
    /// Whether the protocol states another number of points.
    pub(super) doubt: bool,
}

/// Points of the readout for all kinds of readouts of the image, from the base resolution and the readout oversampling of the
/// protocol. Oversampling is believed only where the protocol describes the data: taking it away where there is none would
/// cut the image.
pub(super) fn points(reaches: &[Reach], base: Option<usize>, oversampling: Option<f64>) -> Points {
    // Twofold is what scanners do when nobody says otherwise.
    let factor = oversampling.filter(|factor| (1.0..=16.0).contains(factor)).unwrap_or(2.0);
    let stated = base.map(|base| (base as f64 * factor).round() as usize);
    let longest = reaches.iter().map(|reach| reach.samples()).max().unwrap_or(0);
    let needed = reaches.iter().map(|reach| reach.points()).max().unwrap_or(0);
    let asymmetric = reaches.iter().all(|reach| !reach.is_symmetric());
    match stated {
        Some(size) if longest == size || asymmetric && needed <= size => {
            Points { size, oversampling: factor, doubt: false }
        }
        _ => Points { size: needed, oversampling: 1.0, doubt: base.is_some_and(|base| base != needed) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(first: u16, last: u16, center: u16, stated: usize) -> (usize, u16, Option<Doubt>) {
        let Axis { size, center, doubt } = Lines { first, last, center, stated: Some(stated) }.axis();
        (size, center, doubt)
    }

    #[test]
    fn lines_that_agree_with_the_protocol_keep_its_matrix() {
        assert_eq!(lines(0, 159, 80, 160), (160, 80, None));
        assert_eq!(lines(0, 158, 79, 159), (159, 79, None));
        // Partial Fourier, 6/8 and 7/8.
        assert_eq!(lines(0, 191, 64, 256), (256, 64, None));
        assert_eq!(lines(0, 223, 96, 256), (256, 96, None));
        // Every second line, the first or the last missing.
        assert_eq!(lines(0, 254, 128, 256), (256, 128, None));
        assert_eq!(lines(1, 255, 128, 256), (256, 128, None));
        // One partition.
        assert_eq!(lines(0, 0, 0, 1), (1, 0, None));
    }

    #[test]
    fn lines_that_contradict_the_protocol_decide() {
        assert_eq!(lines(0, 63, 0, 64), (64, 32, None));
        assert_eq!(lines(0, 127, 0, 64), (128, 64, Some(Doubt::Size)));
        assert_eq!(lines(0, 255, 127, 256), (256, 128, Some(Doubt::Center)));
        assert_eq!(lines(0, 255, 128, 128), (256, 128, Some(Doubt::Size)));
        assert_eq!(lines(10, 19, 400, 64), (64, 32, None));
    }

    #[test]
    fn readout_oversampling_is_that_of_the_protocol_where_it_describes_the_data() {
        let reach = |samples: usize, center: usize| Reach { before: center, behind: samples - center };
        let run = |reaches: &[Reach], base, factor| {
            let Points { size, oversampling, doubt } = points(reaches, base, factor);
            (size, oversampling, doubt)
        };
        assert_eq!(run(&[reach(320, 160)], Some(160), Some(2.0)), (320, 2.0, false));
        assert_eq!(run(&[reach(320, 160)], Some(160), None), (320, 2.0, false));
        // Asymmetric echoes, alone and beside complete ones, and a centre that is off by one.
        assert_eq!(run(&[reach(240, 80)], Some(160), Some(2.0)), (320, 2.0, false));
        assert_eq!(run(&[reach(240, 80), reach(320, 160)], Some(160), Some(2.0)), (320, 2.0, false));
        assert_eq!(run(&[reach(256, 127)], Some(128), Some(2.0)), (256, 2.0, false));
        // A protocol that says nothing of the data.
        assert_eq!(run(&[reach(128, 64)], Some(128), Some(2.0)), (128, 1.0, false));
        assert_eq!(run(&[reach(128, 64)], Some(64), Some(1.0)), (128, 1.0, true));
        assert_eq!(run(&[reach(101, 50)], None, None), (101, 1.0, false));
        assert_eq!(run(&[], None, None), (0, 1.0, false));
    }

    proptest! {
        #[test]
        fn every_line_fits(
            first in 0u16..300, more in 0u16..300, center in 0u16..700, stated in prop::option::of(1usize..700),
        ) {
            let last = first + more;
            let axis = Lines { first, last, center, stated }.axis();
            for line in [first, last] {
                let row = (usize::from(line) + axis.size / 2).checked_sub(usize::from(axis.center));
                prop_assert!(row.is_some_and(|row| row < axis.size), "{axis:?}");
            }
        }
    }
}
