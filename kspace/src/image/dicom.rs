//! Classic MR Image Storage (DICOM PS3.3 A.4): a file for each slice, a series for each contrast.
//!
//! Values come from an allow-list: nothing in a file names a person, the patient is the scan id. Identifiers are made of the scan id, so
//! that the same scan, method and seed give the same bytes. One scale holds for all images of a scan: 4095 is the 99.9 percentile, and rescale
//! slope and intercept lead back to the unit of the raw data.

use contract::ScanId;
use contract::prepared::Header;
use contract::scan::digest_of_texts;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use ndarray::{ArrayView2, ArrayView4, s};

use super::geometry::Stack;
use crate::numerics::quality::percentile;
use crate::{Error, Result};

/// Largest stored value.
const LARGEST: f32 = 4095.0;
/// Percentile of the voxels that has it.
const BRIGHT: f64 = 0.999;

/// What is written.
pub struct Study<'a> {
    /// The scan.
    pub scan: &'a ScanId,
    /// How it was acquired.
    pub header: &'a Header,
    /// Method and what tells one reconstruction of a scan from another, such as `auto, sparse, seed 0`.
    pub method: &'a str,
    /// Release of the software.
    pub version: &'a str,
    /// Where the slices are.
    pub stack: &'a Stack,
    /// Contrast of each frame, from 0.
    pub contrasts: &'a [u16],
    /// Magnitude `[frame, slice, y, x]`.
    pub volume: ArrayView4<'a, f32>,
}

/// Name and content of every file, by series and in it by frame and slice.
///
/// # Errors
/// [`Error::Limit`] for images that are larger than DICOM can hold, [`Error::Corrupt`] for ones without voxels.
pub fn classic(study: &Study<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let (frames, slices, rows, columns) = study.volume.dim();
    if study.volume.is_empty() || study.contrasts.len() != frames {
        return Err(Error::corrupt("image", "no voxels, or frames of no contrast", "at least one image"));
    }
    let largest = rows.max(columns);
    if largest > usize::from(u16::MAX) {
        return Err(Error::Limit {
            what: "rows or columns of a DICOM image",
            found: largest as u64,
            limit: u16::MAX.into(),
        });
    }
    let scale = Scale::of(study.volume);
    let mut files = Vec::with_capacity(frames * slices);
    for frame in 0..frames {
        let earlier = study.contrasts[..frame].iter().filter(|it| **it == study.contrasts[frame]).count();
        for slice in 0..slices {
            let image = study.volume.slice(s![frame, slice, .., ..]);
            let name = format!("dicom/{:06}.dcm", files.len() + 1);
            files.push((name, file(study, &scale, (frame, earlier, slice), image)?));
        }
    }
    Ok(files)
}

/// One scale and one window for all images.
struct Scale {
    slope: f32,
    centre: f32,
    width: f32,
}

impl Scale {
    fn of(volume: ArrayView4<'_, f32>) -> Self {
        let mut values: Vec<f32> = volume.iter().copied().filter(|value| value.is_finite()).collect();
        let mut at = |share: f64| percentile(&mut values, share).unwrap_or(0.0);
        let slope = at(BRIGHT) / LARGEST;
        let (dark, bright) = (at(0.01), at(0.99));
        let width = (bright - dark).max(f32::MIN_POSITIVE);
        Self { slope: if slope > 0.0 { slope } else { 1.0 }, centre: dark + width / 2.0, width }
    }
}

/// `2.25.` and a UUID as one number (PS3.5 B.2), made of a hash.
fn uid(parts: &[&str]) -> String {
    let digest = digest_of_texts(parts);
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 8, made by a rule of our own, and the usual variant (RFC 9562).
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

/// A decimal string of at most 16 bytes.
fn decimal(value: f64) -> String {
    (0..=10)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .chain(std::iter::once(format!("{value:.8e}")))
        .find(|text| text.len() <= 16)
        .unwrap_or_else(|| "0".to_owned())
}

fn decimals(values: &[f64]) -> String {
    values.iter().map(|value| decimal(*value)).collect::<Vec<_>>().join("\\")
}

fn file(
    study: &Study<'_>,
    scale: &Scale,
    (frame, earlier, slice): (usize, usize, usize),
    image: ArrayView2<'_, f32>,
) -> Result<Vec<u8>> {
    let (rows, columns) = image.dim();
    let slices = study.volume.dim().1;
    let (scan, contrast) = (study.scan.as_str(), study.contrasts[frame]);
    let numbers = [contrast.to_string(), earlier.to_string(), slice.to_string()];
    let instance = uid(&[scan, study.method, study.version, "image", &numbers[0], &numbers[1], &numbers[2]]);
    let mut object = InMemDicomObject::new_empty();
    let mut text = |tag: Tag, vr: VR, value: &str| {
        object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    };
    text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY\\M\\NONE");
    text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE);
    text(tags::SOP_INSTANCE_UID, VR::UI, &instance);
    text(tags::STUDY_INSTANCE_UID, VR::UI, &uid(&[scan, "study"]));
    text(tags::SERIES_INSTANCE_UID, VR::UI, &uid(&[scan, study.method, study.version, "series", &numbers[0]]));
    text(tags::FRAME_OF_REFERENCE_UID, VR::UI, &uid(&[scan, "frame of reference"]));
    for (tag, vr) in [
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_ID, VR::SH),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO),
        // Required where the body part may be one of a pair, and nobody says which it is.
        (tags::LATERALITY, VR::CS),
    ] {
        text(tag, vr, "");
    }
    text(tags::MODALITY, VR::CS, "MR");
    text(tags::MANUFACTURER, VR::LO, study.header.vendor.as_deref().unwrap_or_default());
    if let Some(model) = &study.header.model {
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, model);
    }
    text(tags::PATIENT_ID, VR::LO, scan);
    text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES");
    text(tags::DEIDENTIFICATION_METHOD, VR::LO, "written from an allow-list of acquisition values");
    text(tags::SOFTWARE_VERSIONS, VR::LO, &format!("raki-cloud {}", study.version));
    text(tags::SERIES_DESCRIPTION, VR::LO, &format!("raki-cloud {}", study.method));
    let derivation = format!("raki-cloud {}, {}; not for diagnostic use", study.version, study.method);
    text(tags::DERIVATION_DESCRIPTION, VR::ST, &derivation);
    text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    text(tags::SERIES_NUMBER, VR::IS, &(u32::from(contrast) + 1).to_string());
    text(tags::ACQUISITION_NUMBER, VR::IS, &(earlier + 1).to_string());
    text(tags::INSTANCE_NUMBER, VR::IS, &(earlier * slices + slice + 1).to_string());
    text(tags::PATIENT_POSITION, VR::CS, study.header.patient_position.as_deref().unwrap_or_default());
    text(tags::SCANNING_SEQUENCE, VR::CS, "RM");
    text(tags::SEQUENCE_VARIANT, VR::CS, "NONE");
    text(tags::SCAN_OPTIONS, VR::CS, "");
    let three = study.header.recon_matrix[2] > 1;
    text(tags::MR_ACQUISITION_TYPE, VR::CS, if three { "3D" } else { "2D" });
    let of_contrast = |values: &[f64]| values.get(usize::from(contrast)).or(values.first()).map(|it| decimal(*it));
    text(tags::REPETITION_TIME, VR::DS, &of_contrast(&study.header.tr_ms).unwrap_or_default());
    text(tags::ECHO_TIME, VR::DS, &of_contrast(&study.header.te_ms).unwrap_or_default());
    if let Some(inversion) = of_contrast(&study.header.ti_ms) {
        text(tags::INVERSION_TIME, VR::DS, &inversion);
    }
    if let Some(angle) = of_contrast(&study.header.flip_angle_deg) {
        text(tags::FLIP_ANGLE, VR::DS, &angle);
    }
    text(tags::ECHO_TRAIN_LENGTH, VR::IS, "");
    if let Some(field) = study.header.field_strength_t {
        text(tags::MAGNETIC_FIELD_STRENGTH, VR::DS, &decimal(field));
    }
    if let Some(frequency) = study.header.h1_frequency_hz {
        text(tags::IMAGING_FREQUENCY, VR::DS, &decimal(frequency / 1e6));
    }
    if !study.stack.affine.known {
        text(
            tags::IMAGE_COMMENTS,
            VR::LT,
            "orientation unknown: position and orientation are not those of the patient",
        );
    }

    // The position is that of the centre of the first voxel of this slice.
    let [across, down, through, first] = [0, 1, 2, 3].map(|column| study.stack.affine.lps(column));
    let length = |v: [f64; 3]| v.iter().map(|it| it * it).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let place: [f64; 3] = std::array::from_fn(|at| first[at] + through[at] * slice as f64);
    let directions: Vec<f64> =
        across.map(|it| it / length(across)).into_iter().chain(down.map(|it| it / length(down))).collect();
    let step = length(through);
    let location: f64 = (0..3).map(|at| place[at] * through[at] / step).sum();
    text(tags::IMAGE_POSITION_PATIENT, VR::DS, &decimals(&place));
    text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &decimals(&directions));
    text(tags::PIXEL_SPACING, VR::DS, &decimals(&[length(down), length(across)]));
    text(tags::SLICE_THICKNESS, VR::DS, &decimal(study.header.field_of_view_mm[2].max(0.0)));
    text(tags::SPACING_BETWEEN_SLICES, VR::DS, &decimal(step));
    text(tags::SLICE_LOCATION, VR::DS, &decimal(location));

    text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    text(tags::RESCALE_INTERCEPT, VR::DS, "0");
    text(tags::RESCALE_SLOPE, VR::DS, &decimal(f64::from(scale.slope)));
    text(tags::RESCALE_TYPE, VR::LO, "US");
    text(tags::WINDOW_CENTER, VR::DS, &decimal(f64::from(scale.centre)));
    text(tags::WINDOW_WIDTH, VR::DS, &decimal(f64::from(scale.width)));
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, rows as u16),
        (tags::COLUMNS, columns as u16),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    // The few voxels above the 99.9 percentile have room up to 65535.
    let stored = |value: &f32| (value / scale.slope).round().clamp(0.0, f32::from(u16::MAX)) as u16;
    let pixels = PrimitiveValue::U16(image.iter().map(stored).collect());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, pixels));

    let refused = |error: &dyn std::fmt::Display| Error::corrupt("DICOM image", error, "values that DICOM can hold");
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(&instance);
    let file = object.with_meta(meta).map_err(|error| refused(&error))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| refused(&error))?;
    Ok(bytes)
}
