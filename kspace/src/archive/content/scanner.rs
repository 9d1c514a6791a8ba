//! Files of scanners that have no signature.

use super::{Content, PHILIPS, VARIAN};

/// Bytes of a label of Philips raw data, and where in it its type stands.
const LABEL: (usize, usize) = (64, 14);
/// Types of labels: standard ones and those of geometry and coils.
const LABEL_TYPES: std::ops::RangeInclusive<u16> = 0x7f00..=0x7f05;
/// Fewer labels could be chance.
const FEWEST_LABELS: usize = 4;
/// Revisions of GE P-files, the first number in them: 7 of 2003 to some 30 of today.
const REVISIONS: std::ops::Range<f32> = 5.0..100.0;

/// Siemens raw data have no signature.
///
/// VD, VE and XA start with a small number and the count of measurements (1 to 64); the entry of the first holds two
/// identifiers and its offset, after the superheader. VB starts with the length of its header and the count of the
/// buffers in it, of which the first is `Config`.
pub(super) fn is_siemens(head: &[u8]) -> bool {
    let (Some(first), Some(count), Some(offset), Some(high)) =
        (word(head, 0), word(head, 4), word(head, 16), word(head, 20))
    else {
        return false;
    };
    if !(1..=64).contains(&count) {
        return false;
    }
    let is_vd = first < 10_000 && high == 0 && offset >= 10_240 && offset % 512 == 0;
    let is_vb = first >= 10_000 && head[8..].starts_with(b"Config\0");
    is_vd || is_vb
}

/// Text files of scanners that have no signature.
///
/// Every line of a Philips `.sin` file is three numbers, a name and values, with colons between. Agilent and Varian
/// begin a parameter with its name and ten numbers.
pub(super) fn text(head: &[u8]) -> Content {
    let head = String::from_utf8_lossy(head);
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let of_sin = |line: &str| {
        let mut parts = line.split(':').map(str::trim);
        let numbers = parts
            .next()
            .is_some_and(|part| part.split_whitespace().count() == 3 && part.split_whitespace().all(is_number));
        let name = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && !part.contains(' ');
        numbers && parts.next().is_some_and(name) && parts.next().is_some()
    };
    // The last line may be cut.
    let lines = head.lines().count().saturating_sub(1);
    if head.lines().take(lines).filter(|line| of_sin(line)).count() >= 3 {
        return Content::OtherRaw(&PHILIPS);
    }
    let mut first = head.lines().next().unwrap_or_default().split_whitespace();
    let named = first.next().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
    if named && first.clone().count() == 10 && first.all(is_number) {
        return Content::OtherRaw(&VARIAN);
    }
    Content::Text
}

/// Philips `.lab` files are labels of the readouts in the `.raw` file beside them, which itself has nothing to be told by.
pub(super) fn is_philips_labels(head: &[u8]) -> bool {
    let (size, at) = LABEL;
    let is_label = |label: &[u8]| LABEL_TYPES.contains(&u16::from_le_bytes([label[at], label[at + 1]]));
    head.len() >= FEWEST_LABELS * size && head.chunks_exact(size).all(is_label)
}

/// P-files whose signature was overwritten: a revision, and day and time of the scan as text, `MM/DD/YYY` and `HH:MM`.
pub(super) fn is_p_file(head: &[u8]) -> bool {
    let Some(revision) = word(head, 0).map(f32::from_bits) else { return false };
    let matches = |at: usize, pattern: &[u8]| {
        let fits = |(byte, wanted): (&u8, &u8)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
        head.get(at..at + pattern.len()).is_some_and(|text| text.iter().zip(pattern).all(fits))
    };
    REVISIONS.contains(&revision) && matches(16, b"00/00/00") && matches(26, b"00:00")
}

fn word(head: &[u8], at: usize) -> Option<u32> {
    head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::GE;
    use super::*;

    #[test]
    fn siemens_data_are_told_by_their_first_numbers() {
        let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(Content::of(&words(&[0, 2, 243, 33_257, 10_240, 0, 0, 0])), Content::SiemensDat);
        assert_eq!(Content::of(&words(&[0, 2, 243, 33_257, 10_241, 0, 0, 0])), Content::Unknown);
        assert_eq!(Content::of(&words(&[0, 65, 243, 33_257, 10_240, 0, 0, 0])), Content::Unknown);
        let vb = [words(&[40_000, 5]), b"Config\0\x10\x27\0\0<XProtocol>".to_vec()].concat();
        assert_eq!(Content::of(&vb), Content::SiemensDat);
    }

    #[test]
    fn text_files_of_scanners_are_told_by_their_lines() {
        let list = b"# === DATA DESCRIPTION FILE ======\n#\n# CAUTION - Investigational device.\n";
        assert_eq!(Content::of(list), Content::OtherRaw(&PHILIPS));
        let sin = b"0.3\n\n  1  0  0: recon_part : 1\n  1  0  0: max_measured_channels : 8\n  1  0  1: echo_times : 4.6\n 1 0";
        assert_eq!(Content::of(sin), Content::OtherRaw(&PHILIPS));
        let procpar = b"acqcycles 1 1 32767 0 1 2 1 0 1 64\n1 1 \n0 \n";
        assert_eq!(Content::of(procpar), Content::OtherRaw(&VARIAN));
        let p_file = [&[0; 34][..], b"GE_MED_NMR", &[0; 60]].concat();
        assert_eq!(Content::of(&p_file), Content::OtherRaw(&GE));
        assert_eq!(Content::of(b"12 11 2026: measured: 3\nnotes 1 2 3\n"), Content::Text);
    }

    /// Labels of `types`, each with other fields of its own.
    fn labels(types: &[u16]) -> Vec<u8> {
        let label = |(number, kind): (usize, &u16)| {
            let mut label = [number as u8; 64];
            label[14..16].copy_from_slice(&kind.to_le_bytes());
            label
        };
        types.iter().enumerate().flat_map(label).collect()
    }

    #[test]
    fn labels_of_philips_are_told_by_the_types_of_all() {
        assert_eq!(Content::of(&labels(&[0x7f01; 40])[..Content::HEAD_LENGTH as usize]), Content::OtherRaw(&PHILIPS));
        assert_eq!(Content::of(&labels(&[0x7f02, 0x7f01, 0x7f01, 0x7f00])), Content::OtherRaw(&PHILIPS));
        assert_eq!(Content::of(&labels(&[0x7f01; 3])), Content::Unknown, "too few");
        assert_eq!(Content::of(&labels(&[0x7f01, 0x7f01, 0x7f06, 0x7f01])), Content::Unknown);
    }

    #[test]
    fn p_files_are_told_by_their_revision_and_day() {
        let file = |revision: f32, day: &[u8; 10], time: &[u8; 8]| {
            [&revision.to_le_bytes()[..], &[7; 12], day, time, b"anonymous\0", &[0; 2000]].concat()
        };
        for revision in [7.0, 14.3, 26.002, 30.1] {
            assert_eq!(Content::of(&file(revision, b"09/12/124\0", b"14:05\0\0\0")), Content::OtherRaw(&GE));
        }
        assert_eq!(Content::of(&file(7000.0, b"09/12/124\0", b"14:05\0\0\0")), Content::Unknown);
        assert_eq!(Content::of(&file(26.0, b"\0\0\0\0\0\0\0\0\0\0", b"14:05\0\0\0")), Content::Unknown);
    }
}
