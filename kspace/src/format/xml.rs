//! Reads the ISMRMRD XML header.
//!
//! Elements are found by their local names, whatever the prefix; unknown ones are passed over. Numbers are read
//! leniently, since converters write counts as `300.000000`. Document types and entities are refused.

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
    fn number(&self, path: &[&str]) -> Result<Option<f64>> {
        self.text_at(path).map(|text| number(path, &text)).transpose()
    }

    /// The count at `path`: a whole number that is not negative.
    fn count<T: TryFrom<u64>>(&self, path: &[&str]) -> Result<Option<T>> {
        let Some(value) = self.number(path)? else { return Ok(None) };
        let whole = value.fract() == 0.0 && (0.0..9e15).contains(&value);
        match T::try_from(value as u64) {
            Ok(count) if whole => Ok(Some(count)),
            _ => Err(Error::corrupt(element_name(path), value, "a whole number that is not negative")),
        }
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        self.all(name).map(|element| number(&[name], element.text.trim())).collect()
    }
}

fn element_name(path: &[&str]) -> String {
    format!("header element {}", path.join("/"))
}

fn number(path: &[&str], text: &str) -> Result<f64> {
    match f64::from_str(text) {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Error::corrupt(element_name(path), "text", "a number")),
    }
}

/// Reads a header.
///
/// # Errors
/// [`Error::Limit`] for more than 16 MiB, [`Error::Corrupt`] for text that is not XML or lacks what a
/// reconstruction needs: at least one encoding with its matrix and field of view.
pub fn parse(text: &str) -> Result<Header> {
    if text.len() > MAX_BYTES {
        let (found, limit) = (text.len() as u64, MAX_BYTES as u64);
        return Err(Error::Limit { what: "the length of the XML header", found, limit });
    }
    let root = tree(text)?;
    let encodings = root.all("encoding").map(encoding).collect::<Result<Vec<_>>>()?;
    if encodings.is_empty() {
        return Err(Error::corrupt("the XML header", "no element `encoding`", "at least one"));
    }
    let system = match root.child("acquisitionSystemInformation") {
        Some(element) => System {
            vendor: element.text_at(&["systemVendor"]),
            model: element.text_at(&["systemModel"]),
            field_strength_t: element.number(&["systemFieldStrength_T"])?,
            relative_noise_bandwidth: element.number(&["relativeReceiverNoiseBandwidth"])?,
            channels: element.count(&["receiverChannels"])?,
            coil_names: coil_names(element)?,
        },
        None => System::default(),
    };
    let sequence = match root.child("sequenceParameters") {
        Some(element) => Sequence {
            tr_ms: element.numbers("TR")?,
            te_ms: element.numbers("TE")?,
            ti_ms: element.numbers("TI")?,
            flip_angle_deg: element.numbers("flipAngle_deg")?,
        },
        None => Sequence::default(),
    };
    Ok(Header {
        h1_frequency_hz: root.number(&["experimentalConditions", "H1resonanceFrequency_Hz"])?,
        system,
        encodings,
        sequence,
        patient_position: root.text_at(&["measurementInformation", "patientPosition"]),
        measurement_id: root.text_at(&["measurementInformation", "measurementID"]),
        noise_dependency: root.child("measurementInformation").and_then(noise_dependency),
    })
}

/// Names of the coil elements by their number, as converters write them in any order.
fn coil_names(system: &Element) -> Result<Vec<String>> {
    let mut labels = Vec::new();
    for label in system.all("coilLabel") {
        let number: Option<u32> = label.count(&["coilNumber"])?;
        labels.push((number.unwrap_or(0), label.text_at(&["coilName"]).unwrap_or_default()));
    }
    labels.sort_by_key(|(number, _)| *number);
    Ok(labels.into_iter().map(|(_, name)| name).collect())
}

/// The measurement that a scan names as its noise scan.
fn noise_dependency(information: &Element) -> Option<String> {
    let is_noise =
        |it: &&Element| it.text_at(&["dependencyType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("noise"));
    information.all("measurementDependency").find(is_noise)?.text_at(&["measurementID"])
}

/// Ramp sampling of an echo planar readout, as the converters describe it: `trajectoryDescription` with the parameters
/// `rampUpTime`, `flatTopTime`, `rampDownTime`, `acqDelayTime` and `dwellTime`, in us.
fn ramp(encoding: &Element) -> Result<Option<Ramp>> {
    let Some(description) = encoding.child("trajectoryDescription") else { return Ok(None) };
    let value = |wanted: &str| {
        let of = |it: &&Element| it.text_at(&["name"]).as_deref() == Some(wanted);
        let kinds = ["userParameterLong", "userParameterDouble"];
        let found = kinds.iter().find_map(|kind| description.all(kind).find(of));
        found.map_or(Ok(None), |it| it.number(&["value"]))
    };
    let (up, flat, down) = (value("rampUpTime")?, value("flatTopTime")?, value("rampDownTime")?);
    let (delay, dwell) = (value("acqDelayTime")?, value("dwellTime")?);
    Ok(match (up, flat, down, delay, dwell) {
        (Some(up_us), Some(flat_us), Some(down_us), Some(delay_us), Some(dwell_us)) => {
            Some(Ramp { up_us, flat_us, down_us, delay_us, dwell_us })
        }
        _ => None,
    })
}

fn encoding(element: &Element) -> Result<Encoding> {
    let trajectory = match element.text_at(&["trajectory"]).map(|name| name.to_ascii_lowercase()).as_deref() {
        None | Some("cartesian") => Trajectory::Cartesian,
        Some("epi") => Trajectory::Epi,
        Some(other) => Trajectory::Other(known_trajectory(other).to_owned()),
    };
    let parallel = element.child("parallelImaging");
    let factor = |name: &str| parallel.map_or(Ok(None), |p| p.number(&["accelerationFactor", name]));
    let acceleration = match (factor("kspace_encoding_step_1")?, factor("kspace_encoding_step_2")?) {
        (None, None) => None,
        (first, second) => Some([first.unwrap_or(1.0), second.unwrap_or(1.0)]),
    };
    Ok(Encoding {
        encoded: space(element, "encodedSpace")?,
        recon: space(element, "reconSpace")?,
        limits: limits(element.child("encodingLimits"))?,
        trajectory,
        acceleration,
        calibration_mode: parallel.and_then(|p| p.text_at(&["calibrationMode"])),
        multiband: parallel.map_or(Ok(None), |p| p.number(&["multiband", "multiband_factor"]))?,
        ramp: ramp(element)?,
    })
}

/// The names of the standard; free text of a header never reaches an error message.
fn known_trajectory(name: &str) -> &'static str {
    ["radial", "goldenangle", "spiral"].into_iter().find(|known| *known == name).unwrap_or("other")
}

fn space(element: &Element, name: &'static str) -> Result<Space> {
    let space = element.child(name).ok_or_else(|| {
        Error::corrupt("the XML header", format!("an encoding without `{name}`"), "its matrix and field of view")
    })?;
    let mut result = Space::default();
    for (axis, letter) in ["x", "y", "z"].into_iter().enumerate() {
        let missing =
            |what: &str| Error::corrupt(format!("header element {name}/{what}/{letter}"), "nothing", "a number");
        result.matrix[axis] = space.count(&["matrixSize", letter])?.ok_or_else(|| missing("matrixSize"))?;
        result.field_of_view_mm[axis] =
            space.number(&["fieldOfView_mm", letter])?.ok_or_else(|| missing("fieldOfView_mm"))?;
    }
    Ok(result)
}

fn limits(element: Option<&Element>) -> Result<Limits> {
    let Some(element) = element else { return Ok(Limits::default()) };
    let limit = |name: &str| -> Result<Option<Limit>> {
        let Some(range) = element.child(name) else { return Ok(None) };
        let value = |part: &str| range.count(&[part]).map(|count| count.unwrap_or(0));
        Ok(Some(Limit { minimum: value("minimum")?, maximum: value("maximum")?, center: value("center")? }))
    };
    Ok(Limits {
        step_1: limit("kspace_encoding_step_1")?,
        step_2: limit("kspace_encoding_step_2")?,
        average: limit("average")?,
        slice: limit("slice")?,
        contrast: limit("contrast")?,
        phase: limit("phase")?,
        repetition: limit("repetition")?,
        set: limit("set")?,
    })
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
        let header = parse(MINIMAL)?;
        let encoding = &header.encodings[0];
        assert_eq!(encoding.encoded.matrix, [640, 320, 1]);
        assert_eq!(encoding.recon.field_of_view_mm, [220.0, 220.0, 3.0]);
        assert_eq!(encoding.limits.step_1, Some(Limit { minimum: 0, maximum: 319, center: 160 }));
        assert_eq!(encoding.acceleration, Some([4.0, 1.0]));
        assert_eq!(header.sequence.te_ms, [10.0, 20.5]);
        assert_eq!(header.patient_position.as_deref(), Some("HFS"));
        assert_eq!(parse(&MINIMAL.replace("i:", "").replace(":i=", "="))?, header);
        Ok(())
    }

    #[test]
    fn trajectories_keep_only_names_of_the_standard() -> Result<()> {
        let with = |name: &str| parse(&MINIMAL.replace(">cartesian<", &format!(">{name}<")));
        assert_eq!(with("radial   ")?.encodings[0].trajectory, Trajectory::Other("radial".to_owned()));
        assert_eq!(with("EPI")?.encodings[0].trajectory, Trajectory::Epi);
        assert_eq!(with("Jane Doe")?.encodings[0].trajectory, Trajectory::Other("other".to_owned()));
        Ok(())
    }

    #[test]
    fn a_header_without_what_is_needed_says_what_is_missing() {
        let missing = |from: &str| parse(&MINIMAL.replacen(from, "", 1)).map_err(|error| error.to_string());
        let error = missing("<i:y>320.000000</i:y>");
        assert!(error.is_err_and(|text| text.contains("encodedSpace/matrixSize/y")));
        assert!(parse("<ismrmrdHeader/>").is_err_and(|error| error.to_string().contains("encoding")));
        let negative = parse(&MINIMAL.replace(">320.000000<", ">-3<")).map_err(|error| error.to_string());
        assert!(negative.is_err_and(|text| text.contains("not negative")));
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
