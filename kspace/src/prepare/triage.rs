//! Which readouts are imaging, calibration and noise, and which data are not reconstructed at all.

use std::collections::BTreeMap;

use serde_json::json;

use super::Log;
use crate::format::header::{Encoding, Trajectory};
use crate::format::separate;
use crate::format::{CalibrationSource, Kind, RawScan, ReadoutHead};
use crate::{Error, Result};

/// The largest arrays of research have 128 channels; matrices of coils by coils are made of them.
const MAX_COILS: usize = 512;
/// Counters of lines and of samples have 16 bits.
const MAX_MATRIX: usize = 1 << 16;

/// Readouts by kind, as indices into [`RawScan::heads`], in the order of the file.
pub(super) struct Triage<'a> {
    /// The encoding that is reconstructed, the first of the header.
    pub(super) encoding: &'a Encoding,
    /// Lines of the image.
    pub(super) imaging: Vec<usize>,
    /// Calibration lines that may be merged with the image.
    pub(super) calibration: Vec<usize>,
    /// Calibration lines of a scan of their own, and how they were encoded.
    pub(super) reference: Vec<usize>,
    /// The encoding of [`Self::reference`].
    pub(super) reference_encoding: &'a Encoding,
    /// Where they are from.
    pub(super) reference_source: CalibrationSource,
    /// Noise readouts.
    pub(super) noise: Vec<usize>,
    /// Phase correction lines of an echo planar scan.
    pub(super) navigators: Vec<usize>,
    /// Channels of every imaging and calibration line.
    pub(super) coils: usize,
}

/// Sorts the readouts by kind.
///
/// # Errors
/// [`Error::Unsupported`] naming the kind of data that is not reconstructed; [`Error::Corrupt`] without imaging lines.
pub(super) fn triage<'a>(raw: &'a dyn RawScan, log: &mut Log) -> Result<Triage<'a>> {
    let encodings = &raw.header().encodings;
    let Some(encoding) = encodings.first() else {
        return Err(Error::corrupt("raw data header", "no encoding", "a matrix and a field of view"));
    };
    refuse_encoding(encoding)?;

    let (mut imaging, mut calibration, mut noise, mut navigators) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut left_out = BTreeMap::<&str, usize>::new();
    let mut foreign = 0usize;
    let mut foreign_calibration = Vec::new();
    for (index, head) in raw.heads().iter().enumerate() {
        if head.is_compressed() {
            return Err(Error::unsupported(
                format!("readout {index} holds compressed samples"),
                "export the scan without compression of the raw data",
            ));
        }
        match head.kind() {
            Kind::Noise => noise.push(index),
            Kind::PhaseCorrection => navigators.push(index),
            Kind::LeftOut(name) => *left_out.entry(name).or_default() += 1,
            Kind::Calibration if head.encoding != 0 => foreign_calibration.push(index),
            Kind::Calibration => calibration.push(index),
            Kind::Imaging if head.encoding != 0 => foreign += 1,
            Kind::Imaging => imaging.push(index),
        }
    }
    let Some(first) = imaging.first().and_then(|index| raw.heads().get(*index)) else {
        return Err(Error::corrupt(
            "readouts",
            format!("{} readouts, none of them a line of the image", raw.heads().len()),
            "imaging lines of the first encoding",
        ));
    };
    if foreign > 0 {
        log.warn(format!("{foreign} readouts of further encodings are left out; the first encoding is reconstructed"));
    }
    let coils = usize::from(first.channels);
    if coils > MAX_COILS {
        return Err(Error::Limit { what: "number of receiver channels", found: coils as u64, limit: MAX_COILS as u64 });
    }
    for index in &imaging {
        if let Some(head) = raw.heads().get(*index) {
            refuse_readout(*index, head, coils)?;
        }
    }
    let mut reference = foreign_calibration;
    if reference.is_empty() && is_separate(raw, encoding, first, &calibration) {
        reference = std::mem::take(&mut calibration);
    }
    let stated = encoding.calibration_mode.as_deref().filter(|mode| *mode == "embedded");
    if stated.is_some() && !reference.is_empty() && raw.calibration_source() == CalibrationSource::SameMeasurement {
        log.warn(format!(
            "the header states embedded calibration, {} calibration lines are a scan of their own: they are kept apart",
            reference.len()
        ));
    }
    let reference_encoding = settle_reference(raw, &mut reference, coils, log)?.unwrap_or(encoding);
    for index in &calibration {
        if let Some(head) = raw.heads().get(*index) {
            refuse_readout(*index, head, coils)?;
        }
    }
    log.step(
        "triage",
        [
            ("format", json!(raw.format())),
            ("imaging", json!(imaging.len())),
            ("calibration", json!(calibration.len())),
            ("separate_calibration", json!(reference.len())),
            ("noise", json!(noise.len())),
            ("phase_correction", json!(navigators.len())),
            ("left_out", json!(left_out)),
            ("other_encodings", json!(foreign)),
        ],
    );
    let reference_source = raw.calibration_source();
    Ok(Triage {
        encoding,
        imaging,
        calibration,
        reference,
        reference_encoding,
        reference_source,
        noise,
        navigators,
        coils,
    })
}

/// Whether calibration lines of the image's encoding are a scan of their own: the header says so, they are of another
/// length, or they repeat lines of the image. Lines that were acquired apart differ in contrast and phase from the image and cannot be merged with it.
fn is_separate(raw: &dyn RawScan, encoding: &Encoding, imaging: &ReadoutHead, calibration: &[usize]) -> bool {
    let mode = encoding.calibration_mode.as_deref().unwrap_or("embedded");
    let fits = |index: &usize| raw.heads().get(*index).is_some_and(|head| head.samples == imaging.samples);
    matches!(mode, "separate" | "external") || !calibration.iter().all(fits) || separate::is_separate(raw.heads())
}

/// Keeps the lines of one encoding that the coils of the image acquired, and gives that encoding.
fn settle_reference<'a>(
    raw: &'a dyn RawScan,
    reference: &mut Vec<usize>,
    coils: usize,
    log: &mut Log,
) -> Result<Option<&'a Encoding>> {
    let heads = raw.heads();
    let Some(number) = reference.first().and_then(|index| heads.get(*index)).map(|head| head.encoding) else {
        return Ok(None);
    };
    if let Some(Trajectory::Other(name)) =
        raw.header().encodings.get(usize::from(number)).map(|encoding| &encoding.trajectory)
    {
        log.warn(format!(
            "the separate calibration lines have a {} trajectory and are left out: only Cartesian lines calibrate",
            trajectory_name(name)
        ));
        reference.clear();
        return Ok(None);
    }
    let measured = reference.len();
    let on_grid = |index: &usize| heads.get(*index).is_some_and(|head| head.trajectory_dimensions == 0);
    reference.retain(on_grid);
    if reference.len() < measured {
        log.warn(format!(
            "{} of {measured} separate calibration lines bring trajectories of their own and are left out: only lines on the \
             grid of the header calibrate",
            measured - reference.len()
        ));
    }
    let all = reference.len();
    reference.retain(|index| {
        heads.get(*index).is_some_and(|head| head.encoding == number && usize::from(head.channels) == coils)
    });
    if reference.len() < all {
        log.warn(format!(
            "{} of {all} separate calibration lines are of other coils or of a further encoding and are left out",
            all - reference.len()
        ));
    }
    for index in reference.iter() {
        if let Some(head) = heads.get(*index) {
            refuse_readout(*index, head, coils)?;
        }
    }
    raw.header().encodings.get(usize::from(number)).map(Some).ok_or_else(|| {
        let stated = raw.header().encodings.len();
        Error::corrupt(
            "separate calibration lines",
            format!("encoding {number}"),
            format!("one of the {stated} encodings of the header"),
        )
    })
}

/// The name of a trajectory. It comes from a file: only the names of the standard are repeated.
fn trajectory_name(name: &str) -> &'static str {
    ["radial", "goldenangle", "spiral"].into_iter().find(|known| *known == name).unwrap_or("non-Cartesian")
}

fn refuse_encoding(encoding: &Encoding) -> Result<()> {
    match &encoding.trajectory {
        Trajectory::Cartesian | Trajectory::Epi => {}
        Trajectory::Other(name) => {
            return Err(Error::unsupported(
                format!("{} trajectory", trajectory_name(name)),
                "only Cartesian data are reconstructed; grid the data first or use another reconstruction",
            ));
        }
    }
    if let Some(bands) = encoding.multiband.filter(|bands| *bands > 1.0) {
        return Err(Error::unsupported(
            format!("multiband factor {bands}"),
            "simultaneous slices are not separated; separate them first",
        ));
    }
    let matrix = encoding.encoded.matrix;
    if matrix[0] == 0 || matrix[1] == 0 {
        return Err(Error::corrupt("encoded matrix", format!("{matrix:?}"), "a size above zero along x and y"));
    }
    if let Some(size) = matrix.into_iter().find(|size| *size > MAX_MATRIX) {
        let (found, limit) = (size as u64, MAX_MATRIX as u64);
        return Err(Error::Limit { what: "size of the encoded matrix along one axis", found, limit });
    }
    Ok(())
}

fn refuse_readout(index: usize, head: &ReadoutHead, coils: usize) -> Result<()> {
    if head.trajectory_dimensions > 0 {
        return Err(Error::unsupported(
            format!("readout {index} brings its own trajectory"),
            "only Cartesian data on the grid of the header are reconstructed",
        ));
    }
    let channels = usize::from(head.channels);
    if channels != coils || channels == 0 || head.samples == 0 {
        let found = format!("{channels} channels of {} samples", head.samples);
        return Err(Error::corrupt(
            format!("readout {index}"),
            found,
            format!("{coils} channels as in the first line"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Flags;
    use crate::prepare::testing::Scan;

    fn run(scan: &Scan) -> Result<Triage<'_>> {
        triage(scan, &mut Log::default())
    }

    #[test]
    fn readouts_are_told_apart_by_their_flags() {
        let mut scan = Scan::new(2, 8, 6);
        scan.heads[0].flags = Flags::default().with(Flags::NOISE);
        scan.heads[1].flags = Flags::default().with(Flags::CALIBRATION);
        scan.heads[2].flags = Flags::default().with(Flags::CALIBRATION).with(Flags::CALIBRATION_AND_IMAGING);
        scan.heads[3].flags = Flags::default().with(Flags::NAVIGATION);
        let found = run(&scan).unwrap();
        assert_eq!((found.imaging, found.calibration, found.noise), (vec![2, 4, 5], vec![1], vec![0]));
        assert!(found.reference.is_empty() && found.coils == 2);
    }

    #[test]
    fn data_that_are_not_reconstructed_are_named() {
        type Change = fn(&mut Scan);
        let changes: [(&str, Change); 5] = [
            ("spiral", |scan| scan.header.encodings[0].trajectory = Trajectory::Other("spiral".into())),
            ("non-Cartesian", |scan| scan.header.encodings[0].trajectory = Trajectory::Other("Jane Doe".into())),
            ("multiband factor 2", |scan| scan.header.encodings[0].multiband = Some(2.0)),
            ("compressed", |scan| scan.heads[1].flags = Flags::default().with(54)),
            ("trajectory", |scan| scan.heads[1].trajectory_dimensions = 2),
        ];
        for (word, change) in changes {
            let mut scan = Scan::new(2, 8, 6);
            change(&mut scan);
            let error = run(&scan).err().unwrap();
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
            assert!(!error.to_string().contains("Jane"), "{error}");
        }
    }

    #[test]
    fn calibration_lines_of_another_scan_are_not_merged() {
        let mut scan = Scan::new(2, 8, 6);
        scan.heads[1].flags = Flags::default().with(Flags::CALIBRATION);
        scan.header.encodings[0].calibration_mode = Some("separate".into());
        let found = run(&scan).unwrap();
        assert_eq!((found.calibration, found.reference), (vec![], vec![1]));

        scan.header.encodings[0].calibration_mode = Some("embedded".into());
        assert_eq!(run(&scan).unwrap().calibration, [1]);
        scan.heads[1].samples = 6;
        assert_eq!(run(&scan).unwrap().reference, [1], "lines of another length");
        scan.heads[1].samples = 8;
        // A line on a place that the image holds too was acquired twice, whatever the header says.
        scan.heads[1].counters.step_1 = 2;
        let mut log = Log::default();
        assert_eq!(triage(&scan, &mut log).unwrap().reference, [1]);
        assert!(log.warnings[0].contains("states embedded calibration, 1 calibration lines"), "{:?}", log.warnings);
        for mode in [None, Some("other".to_owned())] {
            scan.header.encodings[0].calibration_mode = mode;
            assert_eq!(run(&scan).unwrap().reference, [1]);
        }
        scan.heads[1].counters.step_1 = 1;
        scan.heads[1].encoding = 1;
        let error = run(&scan).err().unwrap().to_string();
        assert!(error.contains("encoding 1") && error.contains("1 encodings"), "{error}");
        let mut other = scan.header.encodings[0].clone();
        other.encoded.matrix[1] = 3;
        scan.header.encodings.push(other);
        let found = run(&scan).unwrap();
        assert_eq!((found.reference, found.reference_encoding.encoded.matrix[1]), (vec![1], 3));
    }

    #[test]
    fn separate_calibration_lines_off_the_grid_are_left_out_and_said() {
        let mut scan = Scan::new(2, 8, 6);
        for index in [1, 2] {
            (scan.heads[index].flags, scan.heads[index].encoding) = (Flags::default().with(Flags::CALIBRATION), 1);
        }
        let own = scan.header.encodings[0].clone();
        scan.header.encodings.push(Encoding { trajectory: Trajectory::Other("radial".into()), ..own.clone() });
        let mut log = Log::default();
        assert_eq!(triage(&scan, &mut log).unwrap().reference, [0usize; 0]);
        assert!(log.warnings[0].contains("a radial trajectory and are left out"), "{:?}", log.warnings);
        scan.header.encodings[1] = own;
        scan.heads[1].trajectory_dimensions = 2;
        let mut log = Log::default();
        assert_eq!(triage(&scan, &mut log).unwrap().reference, [2]);
        assert!(log.warnings[0].contains("1 of 2 separate calibration lines bring trajectories"), "{:?}", log.warnings);
    }

    #[test]
    fn separate_calibration_lines_of_other_coils_are_left_out_and_said() {
        let mut scan = Scan::new(2, 8, 6);
        scan.header.encodings[0].calibration_mode = Some("external".into());
        scan.heads[1].flags = Flags::default().with(Flags::CALIBRATION);
        scan.heads[2].flags = Flags::default().with(Flags::CALIBRATION);
        scan.heads[2].channels = 1;
        let mut log = Log::default();
        assert_eq!(triage(&scan, &mut log).unwrap().reference, [1]);
        assert!(log.warnings[0].contains("1 of 2 separate calibration lines"), "{:?}", log.warnings);
    }

    #[test]
    fn mixed_channel_counts_and_empty_scans_are_corrupt() {
        let mut scan = Scan::new(2, 8, 6);
        scan.heads[3].channels = 3;
        assert!(matches!(run(&scan), Err(Error::Corrupt { .. })));
        assert!(matches!(run(&Scan::new(513, 2, 4)), Err(Error::Limit { .. })));
        let mut scan = Scan::new(2, 8, 6);
        scan.heads.iter_mut().for_each(|head| head.flags = Flags::default().with(Flags::NOISE));
        assert!(matches!(run(&scan), Err(Error::Corrupt { .. })));
    }
}
