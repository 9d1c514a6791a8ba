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
/// An image, its calibration scan and a few more.
const MAX_ENCODINGS: usize = 64;
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
    let encodings = root.all("encoding").count();
    if encodings > MAX_ENCODINGS {
        let (found, limit) = (encodings as u64, MAX_ENCODINGS as u64);
        return Err(Error::Limit { what: "the number of encodings of the XML header", found, limit });
    }
    let (noise, others) = root.child("measurementInformation").map(dependencies).unwrap_or_default();
    let header = Header {
        h1_frequency_hz: root.number(&["experimentalConditions", "H1resonanceFrequency_Hz"], log),
        system,
        encodings: root.all("encoding").map(|element| encoding(element, log)).collect(),
        sequence,
        patient_position: root.text_at(&["measurementInformation", "patientPosition"]),
        measurement_id: root.text_at(&["measurementInformation", "measurementID"]),
        noise_dependency: noise.into_iter().next(),
        dependencies: others,
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

/// The measurements that a scan depends on: those of its noise, and all others.
fn dependencies(information: &Element) -> (Vec<String>, Vec<String>) {
    let is_noise =
        |it: &&Element| it.text_at(&["dependencyType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("noise"));
    let (noise, others): (Vec<&Element>, Vec<&Element>) = information.all("measurementDependency").partition(is_noise);
    let ids = |of: Vec<&Element>| of.into_iter().filter_map(|it| it.text_at(&["measurementID"])).collect();
    (ids(noise), ids(others))
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
        against_read_dir: false,
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
mod tests;
