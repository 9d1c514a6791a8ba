//! Classic MR Image Storage (PS3.3 A.4): a file for each slice.

use dicom_dictionary_std::{tags, uids};
use ndarray::s;
use rayon::prelude::*;

use super::common::{Places, Scale};
use super::{Series, Study};
use crate::Result;

/// A magnitude that the console would have made otherwise (C.8.3.1.1.1).
const IMAGE_TYPE: &str = "DERIVED\\PRIMARY\\M\\NONE";

/// Name and content of every file, by series and in it by time and slice.
///
/// # Errors
/// [`crate::Error::Limit`] for images that are larger than DICOM can hold, [`crate::Error::Corrupt`] for ones without voxels.
pub fn classic(study: &Study<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let all = study.series()?;
    let (scale, places) = (Scale::of(study.volume), Places::of(study.stack));
    let slices = study.volume.dim().1;
    let times = all.iter().flat_map(|series| (0..series.frames.len()).map(move |time| (series, time)));
    let images: Vec<_> = times.flat_map(|(series, time)| (0..slices).map(move |slice| (series, time, slice))).collect();
    let file = |(at, (series, time, slice)): (usize, (&Series, usize, usize))| {
        Ok((study.name(at + 1), study.image(series, (&scale, &places), time, slice)?))
    };
    images.into_par_iter().enumerate().map(file).collect()
}

impl Study<'_> {
    fn image(&self, series: &Series, (scale, places): (&Scale, &Places), time: usize, slice: usize) -> Result<Vec<u8>> {
        let (header, times) = (self.header(), series.frames.len());
        let slices = self.volume.dim().1;
        let of_contrast = |values: &[f64]| Self::of_contrast(values, series);
        let numbers = [series.contrast.into(), series.set.into(), time, slice].map(|number: usize| number.to_string());
        let instance = self.uid(&["image", &numbers[0], &numbers[1], &numbers[2], &numbers[3]]);
        let class = uids::MR_IMAGE_STORAGE;
        let mut item = self.describe(series, (class, "classic", IMAGE_TYPE), &instance);
        // Required where the body part may be one of a pair, and nobody says which it is.
        item.text(tags::LATERALITY, "");
        item.text(tags::DERIVATION_DESCRIPTION, &self.derivation());
        item.number(tags::ACQUISITION_NUMBER, (time + 1) as f64);
        item.number(tags::INSTANCE_NUMBER, (time * slices + slice + 1) as f64);
        if times > 1 {
            item.number(tags::TEMPORAL_POSITION_IDENTIFIER, (time + 1) as f64);
            item.number(tags::NUMBER_OF_TEMPORAL_POSITIONS, times as f64);
        }
        if series.phases > 1 {
            item.number(tags::CARDIAC_NUMBER_OF_IMAGES, series.phases as f64);
        }

        // C.8.3.1
        // An inversion time may only be there where the sequence is known to invert; raw data state one of others, too.
        item.text(tags::SCANNING_SEQUENCE, "RM");
        item.text(tags::SEQUENCE_VARIANT, "NONE");
        item.text(tags::SCAN_OPTIONS, "");
        item.text(tags::MR_ACQUISITION_TYPE, if self.is_volume() { "3D" } else { "2D" });
        item.text(tags::IN_PLANE_PHASE_ENCODING_DIRECTION, "COL");
        for (tag, values) in [(tags::REPETITION_TIME, &header.tr_ms), (tags::ECHO_TIME, &header.te_ms)] {
            match of_contrast(values) {
                Some(value) => item.number(tag, value),
                None => item.text(tag, ""),
            }
        }
        for (tag, value) in [
            (tags::NUMBER_OF_AVERAGES, self.averages()),
            (tags::FLIP_ANGLE, of_contrast(&header.flip_angle_deg)),
            (tags::IMAGING_FREQUENCY, header.h1_frequency_hz.map(|frequency| frequency / 1e6)),
        ] {
            if let Some(value) = value {
                item.number(tag, value);
            }
        }
        item.text(tags::ECHO_TRAIN_LENGTH, "");

        places.position(&mut item, slice);
        places.orientation(&mut item, slice);
        places.measures(&mut item, self);
        item.number(tags::SLICE_LOCATION, places.location(slice));
        scale.rescale(&mut item);
        scale.window(&mut item);
        item.pixels(scale.stored(self.volume.slice(s![series.frames[time], slice, .., ..])));
        item.into_file(class, &instance)
    }
}
