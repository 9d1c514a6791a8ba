//! The protocol of a measurement, as far as it is used.
//!
//! The header of a measurement is a list of named buffers. `MeasYaps` holds lines `name = value`; `Dicom`, `Meas`, `Config`
//! and, in XA, `Protocol` hold nested text in which a value reads `<ParamLong."name"> { 160 }`. Paths in the latter change
//! with every software version, names do not: values are found by name alone, in the first buffer that has them filled in.
//!
//! The buffers hold the patient's name, birth date and more. They stay where they are: values are borrowed, each by a
//! name from this crate, and nothing else is looked at.

use std::collections::BTreeMap;

use super::mdh::u32_at;

/// Buffers that hold nested text, the most reliable first.
const NESTED: [&[u8]; 4] = [b"Dicom", b"Meas", b"Config", b"Protocol"];
/// Starts of the names of lines that are kept.
const KEPT: [&str; 17] = [
    "adFlipAngleDegree[",
    "alTE[",
    "alTI[",
    "alTR[",
    "asCoilSelectMeas[0].asList[",
    "dFlipAngleDegree",
    "lContrasts",
    "sCoilSelectMeas.aRxCoilSelectData[0].asList[",
    "sKSpace.",
    "sPat.",
    "sPrepPulses.ucInversion",
    "sProtConsistencyInfo.flNominalB0",
    "sRXSPEC.alDwellTime[",
    "sSliceAcceleration.lMultiBandFactor",
    "sSliceArray.asSlice[0].d",
    "sTXSPEC.asNucleusInfo[0].",
    "tProtocolName",
];
/// More lines than any protocol has; a file of lines only must not fill the memory.
const MOST_LINES: usize = 1 << 14;
/// Longest name of a buffer.
const BUFFER_NAME: usize = 48;
/// Names of nested values that are kept.
const VALUES: [&str; 15] = [
    "ManufacturersModelName",
    "PatientPosition",
    "aflRegridADCDuration",
    "alRegridDelaySamplesTime",
    "alRegridDestSamples",
    "alRegridFlattopTime",
    "alRegridMode",
    "alRegridRampdownTime",
    "alRegridRampupTime",
    "flMagneticFieldStrength",
    "flReadoutOSFactor",
    "lFrequency",
    "lMultiBandFactor",
    "sPatPosition",
    "tPatientPosition",
];
/// Longest text of a nested value.
const VALUE_LENGTH: usize = 1024;
/// More places of these names than any protocol has.
const MOST_PLACES: usize = 1024;
/// More buffers than any header has.
const MOST_BUFFERS: u32 = 64;

/// Values of a protocol, borrowed from the header of the measurement.
#[derive(Default)]
pub(super) struct Protocol<'a> {
    lines: BTreeMap<&'a str, &'a str>,
    nested: BTreeMap<&'static str, &'a str>,
}

impl<'a> Protocol<'a> {
    /// Finds the buffers in the header of a measurement. What cannot be read is missing.
    pub(super) fn of(header: &'a [u8]) -> Self {
        let mut it = Self::default();
        let buffers = buffers(header);
        let named = |name: &[u8]| buffers.iter().find(|(it, _)| *it == name).map(|(_, text)| *text);
        NESTED.iter().filter_map(|name| named(name)).for_each(|text| it.keep_nested(text));
        for line in named(b"MeasYaps").unwrap_or_default().split(|byte| *byte == b'\n') {
            let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once('=')) else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim_matches(|c: char| c.is_whitespace() || c == '"'));
            if it.lines.len() < MOST_LINES && KEPT.iter().any(|start| name.starts_with(start)) {
                it.lines.insert(name, value);
            }
        }
        it
    }

    /// Text of a line of `MeasYaps`.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.lines.get(name).copied()
    }

    /// Number of a line of `MeasYaps`, decimal or hexadecimal.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        number(self.text(name)?)
    }

    /// A number above zero of a line of `MeasYaps`.
    pub(super) fn positive(&self, name: &str) -> Option<f64> {
        self.number(name).filter(|value| *value > 0.0)
    }

    /// First number of a value in nested text.
    pub(super) fn nested_number(&self, name: &str) -> Option<f64> {
        number(self.nested_text(name)?)
    }

    /// First text of a value in nested text.
    pub(super) fn nested_text(&self, name: &str) -> Option<&'a str> {
        debug_assert!(VALUES.contains(&name), "{name} is not kept");
        self.nested.get(name).copied()
    }

    /// Keeps the first of the values in the braces behind each name, where it is filled in and not yet known.
    fn keep_nested(&mut self, text: &'a [u8]) {
        let mut rest = text;
        let mut places = 0;
        while let Some(quote) = rest.iter().position(|byte| *byte == b'"').filter(|_| places < MOST_PLACES) {
            let tagged = rest[..quote].ends_with(b".");
            rest = &rest[quote + 1..];
            let name = VALUES.iter().find(|name| tagged && rest.starts_with(name.as_bytes()));
            let Some((name, behind)) = name.and_then(|name| Some((name, rest[name.len()..].strip_prefix(b"\">")?)))
            else {
                continue;
            };
            places += 1;
            if let Some(value) = braced(behind).and_then(|values| values.first().copied()) {
                self.nested.entry(name).or_insert(value);
            }
        }
    }
}

/// Named buffers of a measurement header, as far as they can be read.
fn buffers(header: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    let mut rest = header.get(8..).unwrap_or_default();
    for _ in 0..u32_at(header, 4).min(MOST_BUFFERS) {
        let Some(end) = rest.iter().take(BUFFER_NAME).position(|byte| *byte == 0) else { break };
        let length = u32_at(rest, end + 1) as usize;
        let Some((text, behind)) = rest.get(end + 5..).and_then(|rest| rest.split_at_checked(length)) else { break };
        found.push((&rest[..end], text));
        rest = behind;
    }
    found
}

/// Values between the braces that `text` starts with, without tags such as `<Precision> 6`.
fn braced(text: &[u8]) -> Option<Vec<&str>> {
    let text = &text[..text.len().min(VALUE_LENGTH)];
    let open = text.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| text[*at] == b'{')?;
    let close = text.iter().position(|byte| *byte == b'}').filter(|close| *close > open)?;
    let mut rest = std::str::from_utf8(&text[open + 1..close]).ok()?.trim_start();
    let (mut values, mut tag) = (Vec::new(), false);
    while !rest.is_empty() {
        let (value, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let named = rest.starts_with('<');
        if !named && !tag {
            values.push(value);
        }
        tag = named;
        rest = behind.trim_start();
    }
    Some(values)
}

fn number(text: &str) -> Option<f64> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|value| value as f64),
        None => text.parse().ok(),
    };
    value.filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(buffers: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = [[0; 4], (buffers.len() as u32).to_le_bytes()].concat();
        for (name, text) in buffers {
            bytes.extend([name.as_bytes(), &[0], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat());
        }
        bytes
    }

    #[test]
    fn values_are_found_however_they_are_written() {
        let header = header(&[
            ("Config", "<ParamString.\"PatientPosition\">{ \"HFS\" }"),
            (
                "Dicom",
                "<ParamDouble.\"flReadoutOSFactor\"> { <Precision> 6  2.000000 }\n<ParamLong.\"lFrequency\"> { }",
            ),
            (
                "Meas",
                "<ParamLong.\"lFrequency\"> \n { <Visible> \"true\" 42 7 } \
                 <ParamString.\"ManufacturersModelName\"> { \"MAGNETOM Cima.X\" }",
            ),
            ("MeasYaps", "sKSpace.lBaseResolution\t = \t160\nsPat.ucRefScanMode = 0x2\ntProtocolName = \"\"gre\"\"\n"),
        ]);
        let protocol = Protocol::of(&header);
        assert_eq!(protocol.number("sKSpace.lBaseResolution"), Some(160.0));
        assert_eq!(protocol.number("sPat.ucRefScanMode"), Some(2.0));
        assert_eq!(protocol.text("tProtocolName"), Some("gre"));
        assert_eq!(protocol.nested_text("PatientPosition"), Some("HFS"));
        assert_eq!(protocol.nested_number("flReadoutOSFactor"), Some(2.0));
        assert_eq!(protocol.nested_number("lFrequency"), Some(42.0));
        assert_eq!(protocol.nested_text("ManufacturersModelName"), Some("MAGNETOM Cima.X"));
        assert_eq!((protocol.number("sPat.lAccelFactPE"), protocol.nested_text("sPatPosition")), (None, None));
    }

    #[test]
    fn only_lines_that_are_used_are_kept() {
        let header = header(&[("MeasYaps", "sKSpace.lPartitions = 1\ntPatientsName = \"Jane\"\n")]);
        assert_eq!(Protocol::of(&header).lines.len(), 1);
    }

    #[test]
    fn damaged_headers_hold_less() {
        let whole = header(&[("Dicom", "<ParamLong.\"a\"> { 1 }"), ("MeasYaps", "lContrasts = 2\n")]);
        for length in 0..whole.len() {
            assert_eq!(Protocol::of(&whole[..length]).number("lContrasts"), None);
        }
        assert_eq!(Protocol::of(&whole).number("lContrasts"), Some(2.0));
        for text in ["{ \"open", "{ 1", "1 }", "", "{ <Tag>", "}{"] {
            assert!(braced(text.as_bytes()).is_none_or(|values| values.is_empty()), "{text}");
        }
    }
}
