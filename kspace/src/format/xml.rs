//! Reads the ISMRMRD XML header.
//!
//! Elements are found by their local names, whatever the prefix; unknown ones are passed over. Numbers are read
//! leniently, since converters write counts as `300.000000`; what is missing stays zero or empty, and what is not a number
//! is left out with a warning, since [`super::mend`] takes the most of it from the readouts. Document types and entities are
//! refused.

use std::str::FromStr;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::header::{Encoding, Header, Limit, Limits, Ramp, Sequence, Space, System, Trajectory};
use crate::{Error, Result};

/// Real headers have a few kilobytes; vendor protocols copied into them some hundred.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// The schema nests six deep.
const MAX_DEPTH: usize = 64;
/// Real headers have some hundred elements; parameters of vendors make it thousands.
const MAX_ELEMENTS: u64 = 200_000;

/// An element with the text and the elements in it.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn text_at(&self, path: &[&str]) -> Option<String> {
        self.at(path).map(|element| element.text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The number at `path`, if the element is there.
    fn number(&self, path: &[&str], warnings: &mut Vec<String>) -> Option<f64> {
        number(path, &self.text_at(path)?, warnings)
    }

    /// The count at `path`: a whole number that is not negative.
    fn count<T: TryFrom<u64>>(&self, path: &[&str], warnings: &mut Vec<String>) -> Option<T> {
        let value = self.number(path, warnings)?;
        let whole = value.fract() == 0.0 && (0.0..9e15).contains(&value);
        let count = T::try_from(value as u64).ok().filter(|_| whole);
        if count.is_none() {
            warn(warnings, path, "a whole number of its range");
        }
        count
    }

    fn numbers(&self, name: &str, warnings: &mut Vec<String>) -> Vec<f64> {
        self.all(name).filter_map(|element| number(&[name], element.text.trim(), warnings)).collect()
    }
}

fn number(path: &[&str], text: &str, warnings: &mut Vec<String>) -> Option<f64> {
    let value = f64::from_str(text).ok().filter(|value| value.is_finite());
    if value.is_none() {
        warn(warnings, path, "a number");
    }
    value
}

/// Says once that an element is not used.
fn warn(warnings: &mut Vec<String>, path: &[&str], expected: &str) {
    let text = format!("header element {} is not {expected} and is not used", path.join("/"));
    if !warnings.contains(&text) {
        warnings.push(text);
    }
}

/// Reads a header. Beside it stands what could not be read in it.
///
/// # Errors
/// [`Error::Limit`] for more than 16 MiB, [`Error::Corrupt`] for text that is not XML.
pub fn parse(text: &str) -> Result<(Header, Vec<String>)> {
    if text.len() > MAX_BYTES {
        let (found, limit) = (text.len() as u64, MAX_BYTES as u64);
        return Err(Error::Limit { what: "the length of the XML header", found, limit });
    }
    let root = tree(text)?;
    let mut warnings = Vec::new();
    let log = &mut warnings;
    let system = match root.child("acquisitionSystemInformation") {
        Some(element) => System {
            vendor: element.text_at(&["systemVendor"]),
            model: element.text_at(&["systemModel"]),
            field_strength_t: element.number(&["systemFieldStrength_T"], log),
            relative_noise_bandwidth: element.number(&["relativeReceiverNoiseBandwidth"], log),
            channels: element.count(&["receiverChannels"], log),
            coil_names: coil_names(element, log),
        },
        None => System::default(),
    };
    let sequence = match root.child("sequenceParameters") {
        Some(element) => Sequence {
            tr_ms: element.numbers("TR", log),
            te_ms: element.numbers("TE", log),
            ti_ms: element.numbers("TI", log),
            flip_angle_deg: element.numbers("flipAngle_deg", log),
        },
        None => Sequence::default(),
    };
    let header = Header {
        h1_frequency_hz: root.number(&["experimentalConditions", "H1resonanceFrequency_Hz"], log),
        system,
        encodings: root.all("encoding").map(|element| encoding(element, log)).collect(),
        sequence,
        patient_position: root.text_at(&["measurementInformation", "patientPosition"]),
        measurement_id: root.text_at(&["measurementInformation", "measurementID"]),
        noise_dependency: root.child("measurementInformation").and_then(noise_dependency),
    };
    Ok((header, warnings))
}

/// Names of the coil elements by their number, as converters write them in any order.
fn coil_names(system: &Element, warnings: &mut Vec<String>) -> Vec<String> {
    let mut labels = Vec::new();
    for label in system.all("coilLabel") {
        let number: Option<u32> = label.count(&["coilNumber"], warnings);
        labels.push((number.unwrap_or(0), label.text_at(&["coilName"]).unwrap_or_default()));
    }
    labels.sort_by_key(|(number, _)| *number);
    labels.into_iter().map(|(_, name)| name).collect()
}

/// The measurement that a scan names as its noise scan.
fn noise_dependency(information: &Element) -> Option<String> {
    let is_noise =
        |it: &&Element| it.text_at(&["dependencyType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("noise"));
    information.all("measurementDependency").find(is_noise)?.text_at(&["measurementID"])
}

/// Ramp sampling of an echo planar readout, as the converters describe it: `trajectoryDescription` with the parameters
/// `rampUpTime`, `flatTopTime`, `rampDownTime`, `acqDelayTime` and `dwellTime`, in us.
fn ramp(encoding: &Element, warnings: &mut Vec<String>) -> Option<Ramp> {
    let description = encoding.child("trajectoryDescription")?;
    let mut value = |wanted: &str| {
        let of = |it: &&Element| it.text_at(&["name"]).as_deref() == Some(wanted);
        let kinds = ["userParameterLong", "userParameterDouble"];
        kinds.iter().find_map(|kind| description.all(kind).find(of))?.number(&["value"], warnings)
    };
    Some(Ramp {
        up_us: value("rampUpTime")?,
        flat_us: value("flatTopTime")?,
        down_us: value("rampDownTime")?,
        delay_us: value("acqDelayTime")?,
        dwell_us: value("dwellTime")?,
    })
}

fn encoding(element: &Element, log: &mut Vec<String>) -> Encoding {
    let trajectory = match element.text_at(&["trajectory"]).map(|name| name.to_ascii_lowercase()).as_deref() {
        None | Some("cartesian") => Trajectory::Cartesian,
        Some("epi") => Trajectory::Epi,
        Some(other) => Trajectory::Other(known_trajectory(other).to_owned()),
    };
    let parallel = element.child("parallelImaging");
    let mut factor = |name: &str| parallel?.number(&["accelerationFactor", name], log);
    let acceleration = match (factor("kspace_encoding_step_1"), factor("kspace_encoding_step_2")) {
        (None, None) => None,
        (first, second) => Some([first.unwrap_or(1.0), second.unwrap_or(1.0)]),
    };
    Encoding {
        encoded: space(element, "encodedSpace", log),
        recon: space(element, "reconSpace", log),
        limits: limits(element.child("encodingLimits"), log),
        trajectory,
        acceleration,
        calibration_mode: parallel.and_then(|p| p.text_at(&["calibrationMode"])),
        multiband: parallel.and_then(|p| p.number(&["multiband", "multiband_factor"], log)),
        ramp: ramp(element, log),
    }
}

/// The names of the standard; free text of a header never reaches an error message.
fn known_trajectory(name: &str) -> &'static str {
    ["radial", "goldenangle", "spiral"].into_iter().find(|known| *known == name).unwrap_or("other")
}

/// A space, zero where the header has nothing.
fn space(element: &Element, name: &'static str, warnings: &mut Vec<String>) -> Space {
    let mut result = Space::default();
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        result.matrix[axis] = element.count(&[name, "matrixSize", letter], warnings).unwrap_or(0);
        result.field_of_view_mm[axis] = element.number(&[name, "fieldOfView_mm", letter], warnings).unwrap_or(0.0);
    }
    result
}

/// Limits that are complete; the centre of a counter that is not spatial is often left out.
fn limits(element: Option<&Element>, warnings: &mut Vec<String>) -> Limits {
    let mut limit = |name: &str| -> Option<Limit> {
        let element = element?;
        element.child(name)?;
        let mut value = |part: &str| element.count(&[name, part], warnings);
        let (minimum, maximum, center) = (value("minimum"), value("maximum"), value("center"));
        Some(Limit { minimum: minimum.unwrap_or(0), maximum: maximum?, center: center.unwrap_or(0) })
    };
    Limits {
        step_1: limit("kspace_encoding_step_1"),
        step_2: limit("kspace_encoding_step_2"),
        average: limit("average"),
        slice: limit("slice"),
        contrast: limit("contrast"),
        phase: limit("phase"),
        repetition: limit("repetition"),
        set: limit("set"),
    }
}

/// The root element. Text of entities other than the five of XML is refused, so nothing can expand.
fn tree(text: &str) -> Result<Element> {
    let broken = |found: String| Error::corrupt("the XML header", found, "well-formed XML");
    let local = |name: &str| name.rsplit(':').next().unwrap_or(name).to_owned();
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    let mut elements = 0;
    loop {
        // The parser's own message may quote the header.
        let event = reader.read_event();
        let event = event.map_err(|_| broken(format!("something else at byte {}", reader.error_position())))?;
        elements += u64::from(matches!(event, Event::Start(_) | Event::Empty(_)));
        if elements > MAX_ELEMENTS {
            let what = "the number of elements of the XML header";
            return Err(Error::Limit { what, found: elements, limit: MAX_ELEMENTS });
        }
        if open.len() > MAX_DEPTH {
            return Err(broken(format!("elements nested more than {MAX_DEPTH} deep")));
        }
        match event {
            Event::Start(tag) => {
                let name = local(tag.name().as_ref());
                open.push(Element { name, ..Element::default() });
            }
            Event::Empty(tag) => {
                let name = local(tag.name().as_ref());
                if let Some(parent) = open.last_mut() {
                    parent.children.push(Element { name, ..Element::default() });
                }
            }
            Event::End(_) => {
                let (Some(done), Some(parent)) = (open.pop(), open.last_mut()) else {
                    return Err(broken("an end without a start".to_owned()));
                };
                parent.children.push(done);
            }
            Event::Text(piece) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&piece);
                }
            }
            Event::GeneralRef(reference) => {
                let resolved =
                    quick_xml::escape::unescape(&format!("&{};", &*reference)).map(std::borrow::Cow::into_owned);
                let resolved = resolved.map_err(|_| broken("an entity that XML does not define".to_owned()))?;
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&resolved);
                }
            }
            Event::DocType(_) => return Err(broken("a document type".to_owned())),
            Event::Eof => break,
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match open.pop().map(|mut document| document.children.pop()) {
        Some(Some(root)) if open.is_empty() => Ok(root),
        _ => Err(broken("an element that does not end".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"<?xml version="1.0"?>
<i:ismrmrdHeader xmlns:i="http://www.ismrm.org/ISMRMRD">
 <i:measurementInformation><i:patientPosition>HFS</i:patientPosition></i:measurementInformation>
 <i:encoding>
  <i:encodedSpace><i:matrixSize><i:x>640</i:x><i:y>320.000000</i:y><i:z>1</i:z></i:matrixSize>
   <i:fieldOfView_mm><i:x>440</i:x><i:y>220</i:y><i:z>3</i:z></i:fieldOfView_mm></i:encodedSpace>
  <i:reconSpace><i:matrixSize><i:x>320</i:x><i:y>320</i:y><i:z>1</i:z></i:matrixSize>
   <i:fieldOfView_mm><i:x>220</i:x><i:y>220</i:y><i:z>3</i:z></i:fieldOfView_mm></i:reconSpace>
  <i:encodingLimits><i:kspace_encoding_step_1><i:minimum>0</i:minimum><i:maximum>319</i:maximum><i:center>160</i:center></i:kspace_encoding_step_1></i:encodingLimits>
  <i:trajectory>cartesian</i:trajectory><i:unheardOf><i:x>y</i:x></i:unheardOf>
  <i:parallelImaging><i:accelerationFactor><i:kspace_encoding_step_1>4</i:kspace_encoding_step_1></i:accelerationFactor></i:parallelImaging>
 </i:encoding>
 <i:sequenceParameters><i:TE>10</i:TE><i:TE>20.5</i:TE></i:sequenceParameters>
</i:ismrmrdHeader>"#;

    #[test]
    fn elements_are_found_under_any_prefix() -> Result<()> {
        let (header, warnings) = parse(MINIMAL)?;
        assert!(warnings.is_empty());
        let encoding = &header.encodings[0];
        assert_eq!(encoding.encoded.matrix, [640, 320, 1]);
        assert_eq!(encoding.recon.field_of_view_mm, [220.0, 220.0, 3.0]);
        assert_eq!(encoding.limits.step_1, Some(Limit { minimum: 0, maximum: 319, center: 160 }));
        assert_eq!(encoding.acceleration, Some([4.0, 1.0]));
        assert_eq!(header.sequence.te_ms, [10.0, 20.5]);
        assert_eq!(header.patient_position.as_deref(), Some("HFS"));
        assert_eq!(parse(&MINIMAL.replace("i:", "").replace(":i=", "="))?.0, header);
        Ok(())
    }

    #[test]
    fn trajectories_keep_only_names_of_the_standard() -> Result<()> {
        let with = |name: &str| parse(&MINIMAL.replace(">cartesian<", &format!(">{name}<"))).map(|(header, _)| header);
        assert_eq!(with("radial   ")?.encodings[0].trajectory, Trajectory::Other("radial".to_owned()));
        assert_eq!(with("EPI")?.encodings[0].trajectory, Trajectory::Epi);
        assert_eq!(with("Jane Doe")?.encodings[0].trajectory, Trajectory::Other("other".to_owned()));
        Ok(())
    }

    #[test]
    fn what_is_missing_is_zero_and_what_is_no_number_is_left_out() -> Result<()> {
        let (header, warnings) = parse(&MINIMAL.replacen("<i:y>320.000000</i:y>", "", 1))?;
        assert_eq!((header.encodings[0].encoded.matrix, warnings.len()), ([640, 0, 1], 0));
        assert_eq!(parse("<ismrmrdHeader/>")?, (Header::default(), Vec::new()));
        for wrong in [">-3<", ">Jane Doe<", ">1.5<", ">1e30<", ">nan<"] {
            let (header, warnings) = parse(&MINIMAL.replace(">320.000000<", wrong))?;
            assert_eq!(header.encodings[0].encoded.matrix, [640, 0, 1], "{wrong}");
            assert!(warnings[0].contains("encodedSpace/matrixSize/y") && !warnings[0].contains("Jane"), "{warnings:?}");
        }
        let (header, _) = parse(&MINIMAL.replace("<i:maximum>319</i:maximum>", ""))?;
        assert_eq!(header.encodings[0].limits.step_1, None);
        let (_, warnings) = parse(&MINIMAL.replace("<i:TE>10</i:TE>", &"<i:TE>fast</i:TE>".repeat(1000)))?;
        assert_eq!(warnings.len(), 1);
        Ok(())
    }

    /// As `siemens_to_ismrmrd` writes what this reader asks for.
    const CONVERTED: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD" xmlns:xs="http://www.w3.org/2001/XMLSchema">
 <measurementInformation><measurementID>66048_100_101_103</measurementID><patientPosition>HFS</patientPosition>
  <measurementDependency><dependencyType>SenMap</dependencyType><measurementID>66048_100_101_99</measurementID></measurementDependency>
  <measurementDependency><dependencyType>Noise</dependencyType><measurementID>66048_100_101_98</measurementID></measurementDependency>
 </measurementInformation>
 <acquisitionSystemInformation><relativeReceiverNoiseBandwidth>0.79</relativeReceiverNoiseBandwidth>
  <receiverChannels>2</receiverChannels>
  <coilLabel><coilNumber>1</coilNumber><coilName>HeadNeck_20:1:H12</coilName></coilLabel>
  <coilLabel><coilNumber>0</coilNumber><coilName>HeadNeck_20:1:H11</coilName></coilLabel>
 </acquisitionSystemInformation>
 <encoding><trajectory>epi</trajectory>
  <trajectoryDescription><identifier>ConventionalEPI</identifier>
   <userParameterLong><name>etl</name><value>64</value></userParameterLong>
   <userParameterLong><name>numberOfNavigators</name><value>3</value></userParameterLong>
   <userParameterLong><name>rampUpTime</name><value>130</value></userParameterLong>
   <userParameterLong><name>rampDownTime</name><value>140</value></userParameterLong>
   <userParameterLong><name>flatTopTime</name><value>360</value></userParameterLong>
   <userParameterLong><name>echoSpacing</name><value>630</value></userParameterLong>
   <userParameterLong><name>acqDelayTime</name><value>33</value></userParameterLong>
   <userParameterLong><name>numSamples</name><value>188</value></userParameterLong>
   <userParameterDouble><name>dwellTime</name><value>3.0</value></userParameterDouble>
   <comment>Conventional 2D EPI sequence</comment></trajectoryDescription>
 </encoding>
</ismrmrdHeader>"#;

    #[test]
    fn ramps_coils_and_dependencies_of_converted_scans_are_read() -> Result<()> {
        let (header, warnings) = parse(CONVERTED)?;
        let ramp = Ramp { up_us: 130.0, flat_us: 360.0, down_us: 140.0, delay_us: 33.0, dwell_us: 3.0 };
        assert_eq!(header.encodings[0].ramp, Some(ramp));
        assert_eq!(header.encodings[0].trajectory, Trajectory::Epi);
        assert_eq!(header.system.coil_names, ["HeadNeck_20:1:H11", "HeadNeck_20:1:H12"]);
        assert_eq!(header.noise_dependency.as_deref(), Some("66048_100_101_98"));
        assert_eq!(header.measurement_id.as_deref(), Some("66048_100_101_103"));
        assert!(warnings.is_empty(), "{warnings:?}");
        let (header, _) = parse(&CONVERTED.replace(">acqDelayTime<", ">other<"))?;
        assert_eq!(header.encodings[0].ramp, None);
        Ok(())
    }

    #[test]
    fn hostile_text_is_refused() {
        let bomb = r#"<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY c "&a;&a;">]><ismrmrdHeader>&c;</ismrmrdHeader>"#;
        let many = format!("<a>{}</a>", "<b/>".repeat(300_000));
        for text in [bomb, "<a>&c;</a>", "<a>", "", "not xml", "<a></b>", &"<a>".repeat(100_000), &many] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
        let error = parse("<a><Jane></Doe></a>").map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("at byte") && !text.contains("Jane") && !text.contains("Doe")));
    }

    proptest::proptest! {
        #[test]
        fn damaged_headers_never_panic(at in 0..MINIMAL.len(), byte in proptest::prelude::any::<char>(), cut in proptest::prelude::any::<bool>()) {
            let mut text: Vec<char> = MINIMAL.chars().collect();
            let at = at.min(text.len() - 1);
            text[at] = byte;
            if cut {
                text.truncate(at);
            }
            let _ = parse(&text.into_iter().collect::<String>());
        }
    }
}
