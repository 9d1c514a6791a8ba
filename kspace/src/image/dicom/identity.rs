//! Who the patient is, put back into files that were written without it.
//!
//! Nothing here shows a value: [`Identity`] cannot be printed, and errors say what is expected and not what was found.

use contract::ScanId;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::common::uid;
use super::item::{Item, vr};
use crate::{Error, Result};

/// An attribute of patient or study that can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name in side files.
    pub name: &'static str,
    tag: Tag,
}

/// Every attribute that can be put back.
pub const FIELDS: [Field; 10] = [
    Field { name: "patient_name", tag: tags::PATIENT_NAME },
    Field { name: "patient_id", tag: tags::PATIENT_ID },
    Field { name: "birth_date", tag: tags::PATIENT_BIRTH_DATE },
    Field { name: "sex", tag: tags::PATIENT_SEX },
    Field { name: "accession_number", tag: tags::ACCESSION_NUMBER },
    Field { name: "study_id", tag: tags::STUDY_ID },
    Field { name: "referring_physician", tag: tags::REFERRING_PHYSICIAN_NAME },
    Field { name: "study_date", tag: tags::STUDY_DATE },
    Field { name: "study_time", tag: tags::STUDY_TIME },
    Field { name: "study_instance_uid", tag: tags::STUDY_INSTANCE_UID },
];

/// What is put back.
#[derive(Default)]
pub struct Identity(Vec<(Tag, String)>);

impl Identity {
    /// Adds a value; space around it is left out, and an empty one adds nothing.
    ///
    /// # Errors
    /// What the value has to be, where it is not.
    pub fn set(&mut self, field: Field, value: &str) -> std::result::Result<(), &'static str> {
        let value = value.trim();
        if !value.is_empty() {
            self.0.push((field.tag, accepted(field.tag, value)?));
        }
        Ok(())
    }

    fn get(&self, tag: Tag) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, value)| value.as_str())
    }
}

/// The value as DICOM has it (PS3.5 6.2).
fn accepted(tag: Tag, value: &str) -> std::result::Result<String, &'static str> {
    let plain = !value.chars().any(|it| it.is_control() || it == '\\');
    let short = |most: usize| plain && value.chars().count() <= most;
    let (found, expected) = match vr(tag) {
        VR::PN => (person(value, plain), "a name as FAMILY^GIVEN of at most 64 characters, without backslashes"),
        VR::DA => (date(value), "a date as YYYYMMDD or YYYY-MM-DD"),
        VR::TM => (time(value), "a time as HHMM, HHMMSS, HH:MM or HH:MM:SS"),
        VR::UI => (is_uid(value).then(|| value.to_owned()), "an identifier of at most 64 digits and points"),
        VR::CS => (["M", "F", "O"].contains(&value).then(|| value.to_owned()), "M, F or O"),
        VR::SH => (short(16).then(|| value.to_owned()), "at most 16 characters, without backslashes"),
        _ => (short(64).then(|| value.to_owned()), "at most 64 characters, without backslashes"),
    };
    found.ok_or(expected)
}

/// Up to three spellings of a name, each of at most 64 characters and five parts.
fn person(value: &str, plain: bool) -> Option<String> {
    let groups: Vec<&str> = value.split('=').collect();
    let fits = |group: &&str| group.chars().count() <= 64 && group.split('^').count() <= 5;
    (plain && groups.len() <= 3 && groups.iter().all(fits)).then(|| value.to_owned())
}

fn digits(value: &str) -> Option<u32> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

fn date(value: &str) -> Option<String> {
    let parts: Vec<&str> = match value.split('-').collect::<Vec<_>>()[..] {
        [whole] if value.is_ascii() && whole.len() == 8 => vec![&whole[..4], &whole[4..6], &whole[6..]],
        [year, month, day] => vec![year, month, day],
        _ => return None,
    };
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let (year, month, day) = (digits(parts[0])?, digits(parts[1])?, digits(parts[2])?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let valid = lengths == [4, 2, 2] && year > 0 && (1..=12).contains(&month) && (1..=days).contains(&day);
    valid.then(|| parts.concat())
}

fn time(value: &str) -> Option<String> {
    let (whole, fraction) = value.split_once('.').map_or((value, None), |(whole, fraction)| (whole, Some(fraction)));
    let bare = whole.replace(':', "");
    let colons = whole.match_indices(':').map(|(at, _)| at).collect::<Vec<_>>();
    let spelt = match bare.len() {
        // Below, pairs of bytes are pairs of digits.
        _ if digits(&bare).is_none() => false,
        4 => fraction.is_none() && (colons.is_empty() || colons == [2]),
        6 => colons.is_empty() || colons == [2, 5],
        _ => false,
    };
    let below =
        |from: usize, limit: u32| bare.get(from..from + 2).is_none_or(|it| digits(it).is_some_and(|it| it < limit));
    let fine = fraction.is_none_or(|it| (1..=6).contains(&it.len()) && digits(it).is_some());
    let point = if fraction.is_some() { "." } else { "" };
    (spelt && fine && below(0, 24) && below(2, 60) && below(4, 60))
        .then(|| [&bare, point, fraction.unwrap_or("")].concat())
}

fn is_uid(value: &str) -> bool {
    let part = |part: &str| {
        let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        number && (part.len() == 1 || !part.starts_with('0'))
    };
    value.len() <= 64 && value.contains('.') && value.split('.').all(part)
}

/// A copy of a file of `scan` that names its patient. Image and series have identifiers of their own, since one that is
/// de-identified and one that is not are two.
///
/// # Errors
/// [`Error::Corrupt`] for a file that this software did not write without names, or of another scan.
pub fn identify(file: &[u8], scan: &ScanId, identity: &Identity) -> Result<Vec<u8>> {
    let refused =
        |found: &str| Error::corrupt("DICOM file", found, "a de-identified one of this scan, as it was written");
    let object = dicom_object::from_reader(file).map_err(|_| refused("what cannot be read"))?;
    let plain = object.meta().transfer_syntax.trim_end_matches('\0') == uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let mut object: InMemDicomObject = object.into_inner();
    let text = |object: &InMemDicomObject, tag: Tag| {
        let value = object.element(tag).ok().and_then(|element| element.to_str().ok().map(|text| text.into_owned()));
        value.map(|text| text.trim_end_matches(['\0', ' ']).to_owned()).unwrap_or_default()
    };
    if !plain || text(&object, tags::PATIENT_IDENTITY_REMOVED) != "YES" {
        return Err(refused("another one"));
    }
    if text(&object, tags::PATIENT_ID) != scan.as_str() {
        return Err(refused("one of another scan"));
    }
    let study = identity.get(tags::STUDY_INSTANCE_UID).unwrap_or_default();
    let class = text(&object, tags::SOP_CLASS_UID);
    let [instance, series] =
        [tags::SOP_INSTANCE_UID, tags::SERIES_INSTANCE_UID].map(|tag| uid(&["identified", &text(&object, tag), study]));
    let dated = object.element(tags::CONTENT_DATE).is_ok();
    object.remove_element(tags::DEIDENTIFICATION_METHOD);
    let mut item = Item::of(object);
    item.text(tags::PATIENT_IDENTITY_REMOVED, "NO");
    item.text(tags::SOP_INSTANCE_UID, &instance);
    item.text(tags::SERIES_INSTANCE_UID, &series);
    identity.0.iter().for_each(|(tag, value)| item.text(*tag, value));
    if dated {
        item.known(tags::CONTENT_DATE, identity.get(tags::STUDY_DATE));
        item.known(tags::CONTENT_TIME, identity.get(tags::STUDY_TIME));
    }
    item.into_file(&class, &instance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(name: &str) -> Field {
        FIELDS.into_iter().find(|field| field.name == name).unwrap()
    }

    fn value(name: &str, given: &str) -> std::result::Result<String, &'static str> {
        let mut identity = Identity::default();
        identity.set(field(name), given)?;
        Ok(identity.0.pop().map(|(_, value)| value).unwrap_or_default())
    }

    #[test]
    fn values_become_what_dicom_has() {
        for (name, given, expected) in [
            ("patient_name", " M\u{fc}ller^Anna ", "M\u{fc}ller^Anna"),
            (
                "patient_name",
                "Yamada^Tarou=\u{5c71}\u{7530}^\u{592a}\u{90ce}",
                "Yamada^Tarou=\u{5c71}\u{7530}^\u{592a}\u{90ce}",
            ),
            ("birth_date", "2000-02-29", "20000229"),
            ("study_date", "20261123", "20261123"),
            ("study_time", "08:15", "0815"),
            ("study_time", "08:15:30.25", "081530.25"),
            ("sex", "F", "F"),
            ("study_instance_uid", "1.2.840.0.1", "1.2.840.0.1"),
            ("accession_number", "", ""),
        ] {
            assert_eq!(value(name, given), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn other_values_are_refused_with_what_is_expected() {
        let long = "x".repeat(65);
        for (name, given) in [
            ("patient_name", long.as_str()),
            ("patient_name", "a\\b"),
            ("patient_name", "a^b^c^d^e^f"),
            ("patient_id", &long),
            ("patient_id", "a\tb"),
            ("study_id", "12345678901234567"),
            ("birth_date", "1999-02-29"),
            ("birth_date", "29.2.2000"),
            ("birth_date", "2000-2-029"),
            ("study_date", "20261301"),
            ("study_date", "2026112\u{b2}"),
            ("study_time", "24:00"),
            ("study_time", "0:815"),
            ("study_time", "0815.5"),
            ("study_time", "0\u{20ac}"),
            ("sex", "female"),
            ("study_instance_uid", "1.02.3"),
            ("study_instance_uid", "1..2"),
            ("study_instance_uid", "12"),
        ] {
            let refused = value(name, given).unwrap_err();
            assert!(!refused.contains(given), "{name}");
        }
    }

    proptest! {
        #[test]
        fn dates_times_and_identifiers_never_panic_and_fit(text in ".{0,20}", digits in "[0-9:.-]{0,20}") {
            for (name, most) in [("birth_date", 8), ("study_time", 13), ("study_instance_uid", 64)] {
                for given in [&text, &digits] {
                    if let Ok(value) = value(name, given) {
                        prop_assert!(value.is_ascii() && value.len() <= most);
                    }
                }
            }
        }
    }
}
