//! Fully sampled k-space, undersampled afterwards.

use contract::prepared::Sampling;
use ndarray::{Array3, Axis};

use crate::prepare::sampling;
use crate::{Complex32, Error, Result};

/// Lines of ky that are kept: every R-th through the centre line `lines / 2`, and the block of `acs` lines that begins at
/// `lines / 2 - acs / 2`.
fn mask(lines: usize, acceleration: usize, acs: usize) -> Vec<bool> {
    let centre = lines / 2;
    let first = centre.saturating_sub(acs / 2);
    let block = first..first.saturating_add(acs);
    (0..lines).map(|line| line.abs_diff(centre) % acceleration == 0 || block.contains(&line)).collect()
}

/// The lines that are kept, and the sampling that a scanner which acquired only these would be found to have. Grid lines
/// that touch the block of calibration lines belong to it.
///
/// # Errors
/// [`Error::Unsupported`] for an acceleration below 2, and when so many lines are kept that no grid is left.
pub fn sample(lines: usize, acceleration: usize, acs: usize) -> Result<(Vec<bool>, Sampling)> {
    let found = || format!("R = {acceleration} with {acs} calibration lines of {lines} lines");
    if acceleration < 2 {
        return Err(Error::unsupported(found(), "give an acceleration of 2 or more"));
    }
    let mask = mask(lines, acceleration, acs);
    let sampling = sampling::find(&mask, Some(acceleration))?;
    if sampling.acceleration != acceleration {
        return Err(Error::unsupported(
            found(),
            "no regular grid is left: give fewer calibration lines or a smaller acceleration",
        ));
    }
    Ok((mask, sampling))
}

/// k-space `[coil, ky, kx]` with the lines outside `mask` set to zero.
#[must_use]
pub fn keep(full: &Array3<Complex32>, mask: &[bool]) -> Array3<Complex32> {
    let mut kspace = full.clone();
    for (mut line, _) in kspace.axis_iter_mut(Axis(1)).zip(mask).filter(|(_, kept)| !**kept) {
        line.fill(Complex32::default());
    }
    kspace
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mask_is_the_grid_and_the_block_and_the_sampling_found_in_it_is_that(
            lines in 64usize..400, acceleration in 2usize..7, acs in 8usize..32,
        ) {
            let (mask, found) = sample(lines, acceleration, acs).unwrap();
            prop_assert_eq!(mask.len(), lines);
            prop_assert!(mask[lines / 2]);
            let block = lines / 2 - acs / 2..lines / 2 - acs / 2 + acs;
            let offset = (lines / 2) % acceleration;
            for (line, kept) in mask.iter().enumerate() {
                prop_assert_eq!(*kept, line % acceleration == offset || block.contains(&line), "line {}", line);
            }
            prop_assert_eq!((found.acceleration, found.offset), (acceleration, offset));
            prop_assert!(found.acs_first <= block.start && found.acs_first + found.acs_lines >= block.end);
            // One grid line at most touches the block at either end; with R = 2 a second cannot, since a gap lies between.
            prop_assert!(found.acs_lines <= acs + 2);
            prop_assert_eq!(found.first, mask.iter().position(|kept| *kept).unwrap());
            prop_assert_eq!(found.last, mask.iter().rposition(|kept| *kept).unwrap());
        }

        #[test]
        fn kept_lines_are_untouched_and_the_others_zero(lines in 16usize..40, acceleration in 2usize..5) {
            let full = Array3::from_shape_fn((2, lines, 5), |(coil, line, kx)| Complex32::new(1.0 + coil as f32, (line * kx) as f32));
            let mask = mask(lines, acceleration, 4);
            let kspace = keep(&full, &mask);
            for ((coil, line, kx), sample) in kspace.indexed_iter() {
                let expected = if mask[line] { full[[coil, line, kx]] } else { Complex32::default() };
                prop_assert_eq!(*sample, expected);
            }
        }
    }

    #[test]
    fn what_keeps_everything_or_has_no_acceleration_is_refused() {
        let message = sample(32, 2, 40).unwrap_err().to_string();
        assert!(message.contains("R = 2") && message.contains("32 lines"), "{message}");
        assert!(sample(32, 20, 8).is_err() && sample(32, 1, 8).is_err() && sample(32, 0, 8).is_err());
    }
}
