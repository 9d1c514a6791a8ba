//! What every image holds, whatever its storage class.

use contract::scan::digest_of_texts;
use dicom_dictionary_std::tags;
use ndarray::{ArrayView2, ArrayView4};

use super::item::{Item, decimal};
use super::{Series, Study};
use crate::image::geometry::Stack;
use crate::numerics::quality::percentile;

/// Maker of what made the images.
const MAKER: &str = "raki-cloud";
/// Largest stored value.
const LARGEST: f32 = 4095.0;
/// Percentile of the voxels that has it.
const BRIGHT: f64 = 0.999;
/// Digits after the point of a millimetre or a direction that mean something; less is the rounding of `f64`.
const GRAIN: f64 = 1e9;

/// One scale and one window for all images.
pub(super) struct Scale {
    /// What a stored value is multiplied by: what its text says, so that readers come to the same numbers.
    slope: f64,
    centre: f64,
    width: f64,
}

impl Scale {
    pub(super) fn of(volume: ArrayView4<'_, f32>) -> Self {
        let mut values: Vec<f32> = volume.iter().copied().filter(|value| value.is_finite()).collect();
        let mut at = |share: f64| percentile(&mut values, share).unwrap_or(0.0);
        let slope = decimal(f64::from(at(BRIGHT) / LARGEST)).parse().unwrap_or(0.0);
        let (dark, bright) = (f64::from(at(0.01)), f64::from(at(0.99)));
        let width = (bright - dark).max(f64::from(f32::MIN_POSITIVE));
        Self { slope: if slope > 0.0 { slope } else { 1.0 }, centre: dark + width / 2.0, width }
    }

    /// Stored values of an image. The few voxels above the 99.9 percentile have room up to 65535.
    pub(super) fn stored(&self, image: ArrayView2<'_, f32>) -> Vec<u16> {
        let stored = |value: &f32| (f64::from(*value) / self.slope).round().clamp(0.0, f64::from(u16::MAX)) as u16;
        image.iter().map(stored).collect()
    }

    /// From stored values to the unit of the raw data (C.11.1, C.7.6.16.2.9).
    pub(super) fn rescale(&self, item: &mut Item) {
        item.text(tags::RESCALE_INTERCEPT, "0");
        item.number(tags::RESCALE_SLOPE, self.slope);
        item.text(tags::RESCALE_TYPE, "US");
    }

    /// What is worth a grey (C.11.2, C.7.6.16.2.10).
    pub(super) fn window(&self, item: &mut Item) {
        item.number(tags::WINDOW_CENTER, self.centre);
        item.number(tags::WINDOW_WIDTH, self.width);
        // The other functions take a width below 1, as raw units may have it, for none.
        item.text(tags::VOILUT_FUNCTION, "LINEAR_EXACT");
    }
}

/// `2.25.` and a UUID as one number (PS3.5 B.2), made of a hash.
pub(super) fn uid(parts: &[&str]) -> String {
    let digest = digest_of_texts(parts);
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 8, made by a rule of our own, and the usual variant (RFC 9562).
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

/// Where the slices of a stack are, LPS, mm.
pub(super) struct Places<'a> {
    stack: &'a Stack,
    /// From slice to slice.
    through: [f64; 3],
    /// Distances from row to row and column to column.
    spacing: [f64; 2],
}

fn length(v: [f64; 3]) -> f64 {
    v.iter().map(|it| it * it).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
}

fn rounded(value: f64) -> f64 {
    // Adding zero turns -0 into 0.
    (value * GRAIN).round() / GRAIN + 0.0
}

impl<'a> Places<'a> {
    pub(super) fn of(stack: &'a Stack) -> Self {
        let [columns, rows, through] = [0, 1, 2].map(|column| stack.affine.lps(column));
        Self { stack, through, spacing: [length(rows), length(columns)] }
    }

    /// Whether every slice lies as the first does.
    pub(super) fn parallel(&self) -> bool {
        self.stack.poses.iter().all(|pose| pose.directions == self.stack.poses[0].directions)
    }

    /// Centre of the first voxel of a slice (C.7.6.2, C.7.6.16.2.3).
    pub(super) fn position(&self, item: &mut Item, slice: usize) {
        item.numbers(tags::IMAGE_POSITION_PATIENT, &self.at(slice));
    }

    fn at(&self, slice: usize) -> [f64; 3] {
        self.stack.pose(slice).first.map(rounded)
    }

    /// Distance along the normal, mm.
    pub(super) fn location(&self, slice: usize) -> f64 {
        let step = length(self.through);
        rounded(self.at(slice).iter().zip(self.through).map(|(at, through)| at * through / step).sum())
    }

    /// Directions along a row and along a column (C.7.6.2, C.7.6.16.2.4).
    pub(super) fn orientation(&self, item: &mut Item, slice: usize) {
        let directions = self.stack.pose(slice).directions.map(|direction| direction.map(rounded));
        item.numbers(tags::IMAGE_ORIENTATION_PATIENT, &directions.concat());
    }

    /// Distances from row to row, column to column and slice to slice, and how thick a slice is (C.7.6.2, C.7.6.16.2.1).
    pub(super) fn measures(&self, item: &mut Item, study: &Study<'_>) {
        item.numbers(tags::PIXEL_SPACING, &self.spacing.map(rounded));
        // Of a slab the header holds the share of one partition.
        item.number(tags::SLICE_THICKNESS, study.header().field_of_view_mm[2].max(0.0));
        item.number(tags::SPACING_BETWEEN_SLICES, rounded(length(self.through)));
    }
}

impl Study<'_> {
    /// An identifier of this reconstruction, told from others by `parts`.
    pub(super) fn uid(&self, parts: &[&str]) -> String {
        uid(&[&[self.scan.as_str(), self.method, self.options, self.version], parts].concat())
    }

    /// What a reader must know of the images.
    pub(super) fn derivation(&self) -> String {
        format!("{MAKER} {}, {}, {}; not for diagnostic use", self.version, self.method, self.options)
    }

    /// Patient, study, series, frame of reference, equipment, image and SOP common (C.7.1, C.7.2, C.7.3, C.7.4, C.7.5, C.12.1).
    /// `class` and `kind` tell the storage classes apart, whose series must not share an identifier.
    pub(super) fn describe(
        &self,
        series: &Series,
        (class, kind, image_type): (&str, &str, &str),
        instance: &str,
    ) -> Item {
        let (scan, header) = (self.scan.as_str(), self.header());
        let [contrast, set] = [series.contrast, series.set].map(|number| number.to_string());
        let mut item = Item::new();
        item.text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192");
        item.text(tags::IMAGE_TYPE, image_type);
        item.text(tags::SOP_CLASS_UID, class);
        item.text(tags::SOP_INSTANCE_UID, instance);
        item.text(tags::STUDY_INSTANCE_UID, &uid(&[scan, "study"]));
        item.text(tags::SERIES_INSTANCE_UID, &self.uid(&["series", kind, &contrast, &set]));
        item.text(tags::FRAME_OF_REFERENCE_UID, &uid(&[scan, "frame of reference"]));
        for tag in [
            tags::STUDY_DATE,
            tags::STUDY_TIME,
            tags::ACCESSION_NUMBER,
            tags::REFERRING_PHYSICIAN_NAME,
            tags::PATIENT_NAME,
            tags::PATIENT_BIRTH_DATE,
            tags::PATIENT_SEX,
            tags::STUDY_ID,
            tags::POSITION_REFERENCE_INDICATOR,
        ] {
            item.text(tag, "");
        }
        item.text(tags::MODALITY, "MR");
        item.text(tags::PATIENT_ID, scan);
        item.text(tags::PATIENT_IDENTITY_REMOVED, "YES");
        item.text(tags::DEIDENTIFICATION_METHOD, "written from an allow-list of acquisition values");
        item.text(tags::SERIES_DESCRIPTION, &format!("{MAKER} {}", self.method));
        item.number(tags::SERIES_NUMBER, series.number as f64);
        item.text(tags::PATIENT_POSITION, header.patient_position.as_deref().unwrap_or_default());
        item.text(tags::BURNED_IN_ANNOTATION, "NO");
        if self.stack.poses.is_empty() {
            item.text(
                tags::IMAGE_COMMENTS,
                "orientation unknown: position and orientation are not those of the patient",
            );
        }
        self.equipment(&mut item);

        let (_, _, rows, columns) = self.volume.dim();
        item.text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2");
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, rows),
            (tags::COLUMNS, columns),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            item.number(tag, value as f64);
        }
        item
    }

    /// What made the images is the equipment, and the scanner has contributed to it (C.12.1.1.5, note 1).
    fn equipment(&self, item: &mut Item) {
        item.text(tags::MANUFACTURER, MAKER);
        item.text(tags::MANUFACTURER_MODEL_NAME, MAKER);
        item.text(tags::SOFTWARE_VERSIONS, self.version);
        if let Some(field) = self.header().field_strength_t {
            item.number(tags::MAGNETIC_FIELD_STRENGTH, field);
        }
        let Some(vendor) = self.header().vendor.as_deref().filter(|vendor| !vendor.is_empty()) else { return };
        item.group(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE, |scanner| {
            let purpose = ("109101", "DCM", "Acquisition Equipment");
            scanner.code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, purpose);
            scanner.text(tags::MANUFACTURER, vendor);
            scanner.known(tags::MANUFACTURER_MODEL_NAME, self.header().model.as_deref());
            scanner.text(tags::CONTRIBUTION_DESCRIPTION, "measured the k-space");
        });
    }
}
