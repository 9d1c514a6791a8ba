//! The Bessel function of the first kind and order one, to about 1e-10.

use std::f64::consts::FRAC_PI_4;

/// Up to here the power series loses less than five digits to cancellation; from here the asymptotic series is exact
/// to the same degree.
const SPLIT: f64 = 12.0;
/// Terms of each asymptotic sum; at [`SPLIT`] the next ones are below 1e-11.
const TERMS: usize = 7;

/// `J1(x)` for `x >= 0`.
pub(super) fn j1(x: f64) -> f64 {
    if x < SPLIT { series(x) } else { asymptotic(x) }
}

/// Sum of `(-1)^m (x/2)^(2m+1) / (m! (m+1)!)`.
fn series(x: f64) -> f64 {
    let square = x * x / 4.0;
    let mut term = x / 2.0;
    let mut sum = term;
    let mut m = 1.0;
    while term.abs() > 1e-17 {
        term *= -square / (m * (m + 1.0));
        sum += term;
        m += 1.0;
    }
    sum
}

/// Hankel's expansion: `sqrt(2 / (pi x)) (P cos(x - 3 pi/4) - Q sin(x - 3 pi/4))`, whose terms are
/// `a_k = prod (4 - (2j-1)^2) / (k! (8x)^k)`, even ones in P and odd ones in Q, each with alternating sign.
fn asymptotic(x: f64) -> f64 {
    let (mut p, mut q) = (1.0, 0.0);
    let mut term = 1.0;
    for k in 1..2 * TERMS {
        let odd = (2 * k - 1) as f64;
        term *= (4.0 - odd * odd) / (k as f64 * 8.0 * x);
        match k % 4 {
            0 => p += term,
            1 => q += term,
            2 => p -= term,
            _ => q -= term,
        }
    }
    let (sin, cos) = (x - 3.0 * FRAC_PI_4).sin_cos();
    (2.0 / (std::f64::consts::PI * x)).sqrt() * (p * cos - q * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1/pi * integral over 0..pi of cos(t - x sin t)`, exact to rounding for a periodic integrand.
    fn integral(x: f64) -> f64 {
        let steps = 400;
        let sum: f64 = (0..steps)
            .map(|i| {
                let t = std::f64::consts::TAU * f64::from(i) / f64::from(steps);
                (t - x * t.sin()).cos()
            })
            .sum();
        sum / f64::from(steps)
    }

    #[test]
    fn agrees_with_its_integral_everywhere() {
        for i in 0..3000 {
            let x = f64::from(i) * 0.05;
            assert!((j1(x) - integral(x)).abs() < 1e-10, "J1({x}) = {} but {}", j1(x), integral(x));
        }
    }

    #[test]
    fn known_values() {
        // Abramowitz and Stegun, table 9.1; and the first zero.
        for (x, value) in [(1.0, 0.440_050_585_7), (5.0, -0.327_579_137_6), (10.0, 0.043_472_746_2)] {
            assert!((j1(x) - value).abs() < 1e-10);
        }
        assert!(j1(3.831_705_970_207_512).abs() < 1e-12);
    }
}
