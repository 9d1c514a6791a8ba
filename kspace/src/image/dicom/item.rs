//! Data elements, with the value representation that the dictionary (PS3.6) has for their tag.

use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use crate::{Error, Result};

/// Bytes of a decimal string (PS3.5 6.2).
const DECIMAL_LENGTH: usize = 16;
/// Relative error below which a decimal string is written without an exponent.
const PRECISE: f64 = 1e-8;

/// A data set, or an item of a sequence.
pub(super) struct Item(InMemDicomObject);

impl Item {
    pub(super) fn new() -> Self {
        Self(InMemDicomObject::new_empty())
    }

    pub(super) const fn of(object: InMemDicomObject) -> Self {
        Self(object)
    }

    fn put(&mut self, tag: Tag, vr: VR, value: PrimitiveValue) {
        self.0.put(DataElement::new(tag, vr, value));
    }

    /// Text; none is a value that is not known.
    pub(super) fn text(&mut self, tag: Tag, value: &str) {
        self.put(tag, vr(tag), PrimitiveValue::from(value));
    }

    /// Text, where there is some.
    pub(super) fn known(&mut self, tag: Tag, value: Option<&str>) {
        if let Some(value) = value {
            self.text(tag, value);
        }
    }

    /// Numbers as the dictionary has them: text, integers or floating point.
    pub(super) fn numbers(&mut self, tag: Tag, values: &[f64]) {
        let vr = vr(tag);
        let joined =
            |format: fn(f64) -> String| values.iter().map(|value| format(*value)).collect::<Vec<_>>().join("\\");
        let value = match vr {
            VR::FD => PrimitiveValue::F64(values.iter().copied().collect()),
            VR::US => PrimitiveValue::U16(values.iter().map(|value| *value as u16).collect()),
            VR::UL => PrimitiveValue::U32(values.iter().map(|value| *value as u32).collect()),
            VR::IS => PrimitiveValue::from(joined(|value| format!("{value:.0}"))),
            _ => PrimitiveValue::from(joined(decimal)),
        };
        self.put(tag, vr, value);
    }

    pub(super) fn number(&mut self, tag: Tag, value: impl Into<f64>) {
        self.numbers(tag, &[value.into()]);
    }

    /// The tag of another element.
    pub(super) fn pointer(&mut self, tag: Tag, to: Tag) {
        self.put(tag, VR::AT, PrimitiveValue::Tags([to].into_iter().collect()));
    }

    pub(super) fn sequence(&mut self, tag: Tag, items: impl IntoIterator<Item = Self>) {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    }

    /// A sequence of one item, left out where that would hold nothing: a functional group.
    pub(super) fn group(&mut self, tag: Tag, fill: impl FnOnce(&mut Self)) {
        let mut item = Self::new();
        fill(&mut item);
        if item.0.iter().next().is_some() {
            self.sequence(tag, [item]);
        }
    }

    /// The only item of a sequence: a coded entry (PS3.3 8.8).
    pub(super) fn code(&mut self, tag: Tag, (value, scheme, meaning): (&str, &str, &str)) {
        self.group(tag, |item| {
            item.text(tags::CODE_VALUE, value);
            item.text(tags::CODING_SCHEME_DESIGNATOR, scheme);
            item.text(tags::CODE_MEANING, meaning);
        });
    }

    /// 16 bits a voxel.
    pub(super) fn pixels(&mut self, values: Vec<u16>) {
        self.put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(values.into()));
    }

    /// The bytes of a file with this data set, little-endian with explicit representations.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for values that DICOM cannot hold.
    pub(super) fn into_file(self, class: &str, instance: &str) -> Result<Vec<u8>> {
        let refused =
            |error: &dyn std::fmt::Display| Error::corrupt("DICOM image", error, "values that DICOM can hold");
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(instance);
        let file = self.0.with_meta(meta).map_err(|error| refused(&error))?;
        let mut bytes = Vec::new();
        file.write_all(&mut bytes).map_err(|error| refused(&error))?;
        Ok(bytes)
    }
}

/// The representation of a tag; unknown to the dictionary are none of those that are written.
pub(super) fn vr(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}

/// A decimal string: with at most ten digits after the point, or with an exponent where these would say too little.
pub(super) fn decimal(value: f64) -> String {
    let short = |format: fn(f64, usize) -> String| {
        (0..=10).rev().map(|digits| format(value, digits)).find(|text| text.len() <= DECIMAL_LENGTH)
    };
    let error = |text: &str| text.parse::<f64>().map_or(f64::INFINITY, |found| (found - value).abs());
    short(|value, digits| format!("{value:.digits$}"))
        .filter(|text| error(text) <= PRECISE * value.abs())
        .or_else(|| short(|value, digits| format!("{value:.digits$e}")))
        .unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decimals_are_short_and_keep_eight_digits(mantissa in -1.0f64..1.0, exponent in -30i32..30) {
            let value = mantissa * 10f64.powi(exponent);
            let text = decimal(value);
            prop_assert!(text.len() <= DECIMAL_LENGTH, "{}", text);
            let allowed = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
            prop_assert!(allowed && (text.parse::<f64>().unwrap() - value).abs() <= PRECISE * value.abs(), "{} of {}", text, value);
        }
    }

    #[test]
    fn ordinary_numbers_have_no_exponent() {
        let texts = [0.0, 1.0, -12.5, 4.92, 123.204_567, 1e-12].map(decimal);
        assert_eq!(texts[..3], ["0.0000000000", "1.0000000000", "-12.5000000000"]);
        assert_eq!(texts[3..], ["4.9200000000", "123.2045670000", "1.0000000000e-12"]);
    }
}
