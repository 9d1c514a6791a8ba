//! Directions of a readout.
//!
//! The header of a readout holds a rotation whose columns are the directions of the phase encoding, the readout and the
//! slice gradient, in patient coordinates (left, posterior, head). Two things follow from how the scanner works.
//!
//! * Its samples are meant to be brought to the image by a forward transform. All of this crate uses the inverse one,
//!   which turns every axis around: pixels run against each gradient. mrpro came to the same by comparison with the images
//!   of the scanner (<https://github.com/PTB-MR/mrpro/pull/833>), and twixtools negates readout and phase too. A phantom
//!   scanned with a sequence of the maker has what looks like its air bubble on the upper side only so. Sequences of
//!   researchers may choose other signs of their gradients than the header says, and one phantom of theirs shows the
//!   opposite. No comparison with DICOM images of the scanner was made here.
//! * Readout, phase and slice gradient, in this order, make a left-handed system. With all three negated the directions
//!   of the pixels make a right-handed one.

/// Norms further from 1 than this belong to no rotation.
const TOLERANCE: f32 = 1e-2;

/// Directions of increasing index in the image along readout, phase and slice for a quaternion W, X, Y, Z. Zeros, which stand
/// for "unknown", where the quaternion is no rotation.
pub(super) fn directions(quaternion: [f32; 4]) -> [[f32; 3]; 3] {
    let norm = quaternion.iter().map(|part| part * part).sum::<f32>().sqrt();
    if !norm.is_finite() || (norm - 1.0).abs() > TOLERANCE {
        return [[0.0; 3]; 3];
    }
    let [w, x, y, z] = quaternion.map(|part| part / norm);
    let phase = [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)];
    let read = [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)];
    let slice = [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)];
    // Zero minus a zero is a zero without a sign.
    [read, phase, slice].map(|direction| direction.map(|part| 0.0 - part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    }

    #[test]
    fn a_transversal_slice_runs_to_the_left_and_to_the_front() {
        // What a transversal slice without rotation holds: phase encoding to the back, readout to the right.
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let [read, phase, slice] = directions([half, 0.0, 0.0, half]);
        for (found, expected) in [(read, [1.0, 0.0, 0.0]), (phase, [0.0, -1.0, 0.0]), (slice, [0.0, 0.0, -1.0])] {
            assert!(found.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_rotation_is_unknown() {
        for quaternion in [[0.0; 4], [2.0, 0.0, 0.0, 0.0], [f32::NAN, 0.0, 0.0, 1.0]] {
            assert_eq!(directions(quaternion), [[0.0; 3]; 3]);
        }
    }

    proptest! {
        #[test]
        fn directions_are_a_right_handed_system(parts in prop::array::uniform4(-1f32..1.0)) {
            let norm = parts.iter().map(|part| part * part).sum::<f32>().sqrt();
            prop_assume!(norm > 0.1);
            let [read, phase, slice] = directions(parts.map(|part| part / norm));
            for (a, b, expected) in [(read, read, 1.0), (phase, phase, 1.0), (read, phase, 0.0), (phase, slice, 0.0)] {
                prop_assert!((dot(a, b) - expected).abs() < 1e-5);
            }
            prop_assert!((dot(cross(read, phase), slice) - 1.0).abs() < 1e-5);
        }
    }
}
