//! Enhanced MR Image Storage (PS3.3 A.36.2): a file for each series, whose frames are slices at each time.

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use ndarray::s;

use super::common::{Places, Scale};
use super::item::Item;
use super::{Series, Study};
use crate::{Error, Result};

/// The format cannot leave out when the images were made, and the same scan is to give the same bytes.
const NO_DATE: &str = "19000101";
const NO_TIME: &str = "000000";
/// A volume that the console would have made otherwise (C.8.16.1).
const IMAGE_TYPE: &str = "DERIVED\\PRIMARY\\VOLUME\\NONE";
/// The only stack.
const STACK: &str = "1";
/// Bytes of voxels in one file: lengths have 32 bits, and the largest one means another thing (PS3.5 7.1.1).
const MOST_BYTES: u64 = 0xffff_fffe;
/// No raw data say which part of the body it is.
const SOME_BODY_PART: (&str, &str, &str) = ("123037004", "SCT", "Body structure");

/// Name and content of every file, by series.
///
/// # Errors
/// [`Error::Limit`] for images that are larger than DICOM can hold, [`Error::Corrupt`] for ones without voxels.
pub fn enhanced(study: &Study<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let (scale, places) = (Scale::of(study.volume), Places::of(study.stack));
    let file = |series: &Series| Ok((study.name(series.number), study.file(series, &scale, &places)?));
    study.series()?.iter().map(file).collect()
}

impl Study<'_> {
    fn file(&self, series: &Series, scale: &Scale, places: &Places) -> Result<Vec<u8>> {
        let (_, slices, rows, columns) = self.volume.dim();
        let frames = series.frames.len() * slices;
        let bytes = (frames * rows * columns * size_of::<u16>()) as u64;
        if bytes > MOST_BYTES {
            return Err(Error::Limit { what: "size of a multi-frame DICOM image", found: bytes, limit: MOST_BYTES });
        }
        let [contrast, set] = [series.contrast, series.set].map(|number| number.to_string());
        let instance = self.uid(&["frames", &contrast, &set]);
        let class = uids::ENHANCED_MR_IMAGE_STORAGE;
        let mut item = self.describe(series, (class, "enhanced", IMAGE_TYPE), &instance);
        self.image_module(&mut item, series);
        self.dimensions(&mut item, series);
        item.number(tags::NUMBER_OF_FRAMES, frames as f64);
        item.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, [self.shared(series, scale, places)]);
        let of_frame = |at: usize| frame(series, places, at / slices, at % slices);
        item.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, (0..frames).map(of_frame));
        let mut pixels = Vec::with_capacity(frames * rows * columns);
        for frame in &series.frames {
            for slice in 0..slices {
                pixels.extend(scale.stored(self.volume.slice(s![*frame, slice, .., ..])));
            }
        }
        item.pixels(pixels);
        item.into_file(class, &instance)
    }

    /// Enhanced equipment, multi-frame, acquisition context and image (C.7.5.2, C.7.6.16, C.7.6.14, C.8.13.1). Pulse sequence, timing and
    /// modifiers need to be there in images of the console only, as a whole, and raw data do not state all of them.
    fn image_module(&self, item: &mut Item, series: &Series) {
        // Software has none, and the format requires a text.
        item.text(tags::DEVICE_SERIAL_NUMBER, "none");
        item.number(tags::INSTANCE_NUMBER, 1);
        item.text(tags::CONTENT_DATE, NO_DATE);
        item.text(tags::CONTENT_TIME, NO_TIME);
        item.sequence(tags::ACQUISITION_CONTEXT_SEQUENCE, []);
        item.number(tags::ACQUISITION_NUMBER, 1);
        item.text(tags::CONTENT_QUALIFICATION, "RESEARCH");
        item.text(tags::RESONANT_NUCLEUS, "1H");
        // Of IEC 60601-2-33, which MR scanners follow.
        item.text(tags::APPLICABLE_SAFETY_STANDARD_AGENCY, "IEC");
        item.text(tags::LOSSY_IMAGE_COMPRESSION, "00");
        item.text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY");
        frame_type(item);
        // What readers look for, without the rest of its functional group.
        for (tag, values) in
            [(tags::REPETITION_TIME, &self.header().tr_ms), (tags::FLIP_ANGLE, &self.header().flip_angle_deg)]
        {
            if let Some(value) = Self::of_contrast(values, series) {
                item.number(tag, value);
            }
        }
        if series.phases > 1 {
            item.number(tags::CARDIAC_NUMBER_OF_IMAGES, series.phases as f64);
        }
    }

    /// By what the frames differ (C.7.6.17): the place in the stack, and the time where there are several.
    fn dimensions(&self, item: &mut Item, series: &Series) {
        let organization = self.uid(&["dimensions"]);
        item.group(tags::DIMENSION_ORGANIZATION_SEQUENCE, |it| {
            it.text(tags::DIMENSION_ORGANIZATION_UID, &organization)
        });
        let several = series.frames.len() > 1;
        item.text(tags::DIMENSION_ORGANIZATION_TYPE, if several { "3D_TEMPORAL" } else { "3D" });
        let dimension = |pointer: Tag, label: &str| {
            let mut item = Item::new();
            item.pointer(tags::DIMENSION_INDEX_POINTER, pointer);
            item.pointer(tags::FUNCTIONAL_GROUP_POINTER, tags::FRAME_CONTENT_SEQUENCE);
            item.text(tags::DIMENSION_ORGANIZATION_UID, &organization);
            item.text(tags::DIMENSION_DESCRIPTION_LABEL, label);
            item
        };
        let place = [dimension(tags::STACK_ID, "Stack"), dimension(tags::IN_STACK_POSITION_NUMBER, "Slice")];
        let time = several.then(|| dimension(tags::TEMPORAL_POSITION_INDEX, "Time"));
        item.sequence(tags::DIMENSION_INDEX_SEQUENCE, place.into_iter().chain(time));
    }

    /// What all frames of a series share (C.7.6.16.2, C.8.13.5).
    fn shared(&self, series: &Series, scale: &Scale, places: &Places) -> Item {
        let header = self.header();
        let of_contrast = |values: &[f64]| Self::of_contrast(values, series);
        let mut shared = Item::new();
        shared.group(tags::PIXEL_MEASURES_SEQUENCE, |it| places.measures(it, self));
        if places.parallel() {
            shared.group(tags::PLANE_ORIENTATION_SEQUENCE, |it| places.orientation(it, 0));
        }
        shared.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, |it| scale.rescale(it));
        shared.group(tags::FRAME_VOILUT_SEQUENCE, |it| scale.window(it));
        shared.group(tags::FRAME_ANATOMY_SEQUENCE, |it| {
            it.text(tags::FRAME_LATERALITY, "U");
            it.code(tags::ANATOMIC_REGION_SEQUENCE, SOME_BODY_PART);
        });
        shared.group(tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, |it| {
            it.text(tags::FRAME_TYPE, IMAGE_TYPE);
            frame_type(it);
        });
        shared.group(tags::MR_ECHO_SEQUENCE, |it| {
            if let Some(echo) = of_contrast(&header.te_ms) {
                it.number(tags::EFFECTIVE_ECHO_TIME, echo);
            }
        });
        shared.group(tags::MR_AVERAGES_SEQUENCE, |it| {
            if let Some(averages) = self.averages() {
                it.number(tags::NUMBER_OF_AVERAGES, averages);
            }
        });
        shared.group(tags::MRFOV_GEOMETRY_SEQUENCE, |it| self.encoding(it, series));
        shared
    }

    /// How k-space was sampled (C.8.13.5.3).
    fn encoding(&self, item: &mut Item, series: &Series) {
        let Some(sampling) = self.sampled(series).map(|entry| entry.sampling) else { return };
        let ([columns, lines, _], [x, y, _]) = (self.header().matrix, self.header().field_of_view_mm);
        let block = sampling.acs_first..sampling.acs_first + sampling.acs_lines;
        let on_grid = |line: usize| line % sampling.acceleration.max(1) == sampling.offset;
        let acquired = (sampling.first..=sampling.last).filter(|line| on_grid(*line) || block.contains(line)).count();
        item.text(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, "COLUMN");
        item.number(tags::MR_ACQUISITION_FREQUENCY_ENCODING_STEPS, columns as f64);
        item.number(tags::MR_ACQUISITION_PHASE_ENCODING_STEPS_IN_PLANE, acquired as f64);
        item.number(tags::PERCENT_SAMPLING, 100.0 * acquired as f64 / lines.max(1) as f64);
        item.number(tags::PERCENT_PHASE_FIELD_OF_VIEW, 100.0 * y / x.max(f64::MIN_POSITIVE));
    }
}

/// What the voxels are (C.8.16.2, C.8.13.3.1).
fn frame_type(item: &mut Item) {
    item.text(tags::PIXEL_PRESENTATION, "MONOCHROME");
    item.text(tags::VOLUMETRIC_PROPERTIES, "VOLUME");
    item.text(tags::VOLUME_BASED_CALCULATION_TECHNIQUE, "NONE");
    item.text(tags::COMPLEX_IMAGE_COMPONENT, "MAGNITUDE");
    item.text(tags::ACQUISITION_CONTRAST, "UNKNOWN");
}

/// What tells a frame from the others: its place in time and space (C.7.6.16.2.2, C.7.6.16.2.3).
fn frame(series: &Series, places: &Places, time: usize, slice: usize) -> Item {
    let mut frame = Item::new();
    let (time, position) = ((time + 1) as f64, (slice + 1) as f64);
    frame.group(tags::FRAME_CONTENT_SEQUENCE, |it| {
        it.number(tags::FRAME_ACQUISITION_NUMBER, time);
        it.text(tags::STACK_ID, STACK);
        it.number(tags::IN_STACK_POSITION_NUMBER, position);
        if series.frames.len() > 1 {
            it.number(tags::TEMPORAL_POSITION_INDEX, time);
            it.numbers(tags::DIMENSION_INDEX_VALUES, &[1.0, position, time]);
        } else {
            it.numbers(tags::DIMENSION_INDEX_VALUES, &[1.0, position]);
        }
    });
    frame.group(tags::PLANE_POSITION_SEQUENCE, |it| places.position(it, slice));
    if !places.parallel() {
        frame.group(tags::PLANE_ORIENTATION_SEQUENCE, |it| places.orientation(it, slice));
    }
    frame
}
