//! Echo planar readouts: samples taken on the ramps of the gradient, lines travelled from right to left, and the
//! difference of phase between the two directions, which without correction puts a ghost of the object half a field of
//! view away.
//!
//! | module | what it does |
//! |---|---|
//! | [`regrid`] | samples of a trapezoidal gradient to points evenly spaced in k-space, always from left to right |
//! | [`phase`] | constant and linear phase between the directions from navigator lines, and its removal |
//!
//! Both see a line from left to right. A line that was travelled from right to left is mirrored in time: the last sample
//! becomes the first, the falling ramp becomes the rising one, and the time between the last sample and the end of the
//! gradient becomes the delay. Either way k-space is zero where half of the area of the trapezoid is passed.

pub mod phase;
pub mod regrid;

pub use phase::{Navigator, PhaseCorrection, ShotCorrection};
pub use regrid::Regrid;
