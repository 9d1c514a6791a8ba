//! The header of an array, and what each dimension means.

use crate::{Error, Result};

/// Dimensions of an array.
pub const DIMENSIONS: usize = 16;

/// Lengths along the dimensions, the fastest first.
pub type Dims = [usize; DIMENSIONS];

pub(super) const READ: usize = 0;
pub(super) const PHASE_1: usize = 1;
pub(super) const PHASE_2: usize = 2;
pub(super) const COIL: usize = 3;
pub(super) const ECHO: usize = 5;
pub(super) const TIME: usize = 10;
pub(super) const TIME_2: usize = 11;
pub(super) const SLICE: usize = 13;
pub(super) const AVERAGE: usize = 14;

/// Names of `src/misc/mri.h`.
const NAMES: [&str; DIMENSIONS] = [
    "READ", "PHS1", "PHS2", "COIL", "MAPS", "TE", "COEFF", "COEFF2", "ITER", "CSHIFT", "TIME", "TIME2", "LEVEL",
    "SLICE", "AVG", "BATCH",
];
/// Dimensions of k-space.
const OF_KSPACE: [usize; 9] = [READ, PHASE_1, PHASE_2, COIL, ECHO, TIME, TIME_2, SLICE, AVERAGE];

/// A header is one line of numbers; the command that made the file follows.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Reads a header.
pub(super) fn parse(bytes: &[u8]) -> Result<Dims> {
    let broken = |found: &str| Error::corrupt("the BART header", found, "`# Dimensions` and a line of 1 to 16 numbers");
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_HEADER_BYTES)]);
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "# Dimensions");
    lines.next().ok_or_else(|| broken("no line `# Dimensions`"))?;
    let mut dims = [1; DIMENSIONS];
    let numbers: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if numbers.is_empty() || numbers.len() > DIMENSIONS {
        return Err(broken(&format!("{} numbers", numbers.len())));
    }
    for (length, number) in dims.iter_mut().zip(numbers) {
        *length = number.parse().map_err(|_| broken("something that is not a length"))?;
        if *length == 0 {
            return Err(broken("a dimension of length 0"));
        }
    }
    Ok(dims)
}

/// Writes a header.
pub(super) fn text(dims: &Dims) -> String {
    let numbers: Vec<String> = dims.iter().map(usize::to_string).collect();
    format!("# Dimensions\n{}\n", numbers.join(" "))
}

/// Samples of an array; `None` where the number does not fit.
pub(super) fn samples(dims: &Dims) -> Option<usize> {
    dims.iter().try_fold(1_usize, |product, length| product.checked_mul(*length))
}

/// Refuses what is not Cartesian k-space, and what counters cannot number.
pub(super) fn check(dims: &Dims) -> Result<()> {
    let others = (0..DIMENSIONS).filter(|dimension| !OF_KSPACE.contains(dimension));
    if let Some(dimension) = others.into_iter().find(|dimension| dims[*dimension] > 1) {
        return Err(Error::unsupported(
            format!("the BART array has {} along dimension {dimension} ({})", dims[dimension], NAMES[dimension]),
            "this is not k-space as a scanner measures it: send k-space, [READ, PHS1, PHS2, COIL, ...]",
        ));
    }
    if dims[READ] == 1 {
        return Err(Error::unsupported(
            "the BART array has one sample along dimension 0 (READ), as non-Cartesian k-space has",
            "only Cartesian data are reconstructed; grid the data first",
        ));
    }
    for dimension in OF_KSPACE {
        if dims[dimension] > usize::from(u16::MAX) {
            let (found, limit) = (dims[dimension] as u64, u16::MAX.into());
            return Err(Error::Limit { what: "a dimension of the BART array", found, limit });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_written() {
        let dims = parse(b"# Dimensions\n256 128 1 8 \n# Command\nphantom -k Jane Doe\n").unwrap();
        assert_eq!(&dims[..5], [256, 128, 1, 8, 1]);
        assert_eq!(parse(text(&dims).as_bytes()).unwrap(), dims);
        for wrong in
            ["", "# Dimensions", "# Dimensions\n\n", "# Dimensions\n1 2 x", "# Dimensions\n0 2", "# Command\n1 2"]
        {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(format!("# Dimensions\n{}", "1 ".repeat(17)).as_bytes()).is_err());
    }

    #[test]
    fn what_is_not_kspace_is_refused_by_name() {
        let with = |changes: &[(usize, usize)]| {
            let mut dims = [1; DIMENSIONS];
            dims[..4].copy_from_slice(&[64, 64, 1, 4]);
            changes.iter().for_each(|(dimension, length)| dims[*dimension] = *length);
            check(&dims).map_err(|error| error.to_string())
        };
        assert!(
            with(&[]).is_ok()
                && with(&[(PHASE_2, 16), (ECHO, 2), (TIME, 3), (TIME_2, 4), (SLICE, 5), (AVERAGE, 6)]).is_ok()
        );
        assert!(with(&[(4, 2)]).unwrap_err().contains("MAPS"));
        assert!(with(&[(6, 4)]).unwrap_err().contains("COEFF"));
        assert!(with(&[(READ, 1)]).unwrap_err().contains("non-Cartesian"));
        assert!(with(&[(SLICE, 65_536)]).is_err());
    }
}
