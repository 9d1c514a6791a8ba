//! Which readouts are imaging, calibration and noise, and which data are not reconstructed at all.

use std::collections::BTreeMap;

use serde_json::json;

use super::Log;
use crate::format::header::{Encoding, Trajectory};
use crate::format::{Flags, RawScan, ReadoutHead};
use crate::{Error, Result};

/// Readouts that belong to no image, and their names.
const LEFT_OUT: [(u32, &str); 8] = [
    (Flags::NAVIGATION, "navigator"),
    (Flags::PHASE_CORRECTION, "phase correction"),
    (Flags::HP_FEEDBACK, "feedback"),
    (Flags::DUMMY, "dummy"),
    (Flags::RT_FEEDBACK, "real-time feedback"),
    (Flags::SURFACE_COIL_CORRECTION, "surface coil correction"),
    (Flags::PHASE_STABILISATION_REFERENCE, "phase stabilisation reference"),
    (Flags::PHASE_STABILISATION, "phase stabilisation"),
];

/// Readouts by kind, as indices into [`RawScan::heads`], in the order of the file.
pub(super) struct Triage<'a> {
    /// The encoding that is reconstructed, the first of the header.
    pub(super) encoding: &'a Encoding,
    /// Lines of the image.
    pub(super) imaging: Vec<usize>,
    /// Calibration lines that may be merged with the image.
    pub(super) calibration: Vec<usize>,
    /// Noise readouts.
    pub(super) noise: Vec<usize>,
    /// Channels of every imaging and calibration line.
    pub(super) coils: usize,
    /// Whether calibration lines exist that cannot be merged.
    pub(super) separate_calibration: bool,
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

    let (mut imaging, mut calibration, mut noise) = (Vec::new(), Vec::new(), Vec::new());
    let mut left_out = BTreeMap::<&str, usize>::new();
    let (mut foreign, mut foreign_calibration) = (0usize, 0usize);
    for (index, head) in raw.heads().iter().enumerate() {
        let flags = head.flags;
        if (Flags::COMPRESSION_1..=Flags::COMPRESSION_4).any(|number| flags.has(number)) {
            return Err(Error::unsupported(
                format!("readout {index} holds compressed samples"),
                "export the scan without compression of the raw data",
            ));
        }
        let calibrates = flags.has(Flags::CALIBRATION) && !flags.has(Flags::CALIBRATION_AND_IMAGING);
        if flags.has(Flags::NOISE) {
            noise.push(index);
        } else if let Some((_, name)) = LEFT_OUT.iter().find(|(number, _)| flags.has(*number)) {
            *left_out.entry(name).or_default() += 1;
        } else if head.encoding != 0 {
            *(if calibrates { &mut foreign_calibration } else { &mut foreign }) += 1;
        } else if calibrates {
            calibration.push(index);
        } else {
            imaging.push(index);
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

    let mode = encoding.calibration_mode.as_deref().unwrap_or("embedded");
    let stated_separate = matches!(mode, "separate" | "external");
    let fits = |index: &usize| raw.heads().get(*index).is_some_and(|head| head.samples == first.samples);
    let separate_calibration =
        foreign_calibration > 0 || !calibration.is_empty() && (stated_separate || !calibration.iter().all(fits));
    if separate_calibration {
        calibration.clear();
    }

    let coils = usize::from(first.channels);
    for index in imaging.iter().chain(&calibration) {
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
            ("noise", json!(noise.len())),
            ("left_out", json!(left_out)),
            ("other_encodings", json!(foreign + foreign_calibration)),
        ],
    );
    Ok(Triage { encoding, imaging, calibration, noise, coils, separate_calibration })
}

fn refuse_encoding(encoding: &Encoding) -> Result<()> {
    match &encoding.trajectory {
        Trajectory::Cartesian => {}
        Trajectory::Epi => {
            return Err(Error::unsupported(
                "echo planar (EPI) data",
                "their phase correction is not available yet; reconstruct them elsewhere",
            ));
        }
        Trajectory::Other(name) => {
            // The name comes from a file: only the names of the standard are repeated.
            let known = ["radial", "goldenangle", "spiral"].into_iter().find(|known| known == name);
            return Err(Error::unsupported(
                format!("{} trajectory", known.unwrap_or("non-Cartesian")),
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
    if matrix[2] > 1 {
        return Err(Error::unsupported(
            format!("3-D encoding with {} partitions", matrix[2]),
            "only 2-D slices are reconstructed so far; transform along the partitions first",
        ));
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
    if head.counters.step_2 > 0 {
        return Err(Error::unsupported(
            format!("readout {index} of partition {}", head.counters.step_2),
            "only 2-D slices are reconstructed so far; transform along the partitions first",
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
        assert!(!found.separate_calibration && found.coils == 2);
    }

    #[test]
    fn data_that_are_not_reconstructed_are_named() {
        type Change = fn(&mut Scan);
        let changes: [(&str, Change); 8] = [
            ("spiral", |scan| scan.header.encodings[0].trajectory = Trajectory::Other("spiral".into())),
            ("non-Cartesian", |scan| scan.header.encodings[0].trajectory = Trajectory::Other("Jane Doe".into())),
            ("EPI", |scan| scan.header.encodings[0].trajectory = Trajectory::Epi),
            ("multiband factor 2", |scan| scan.header.encodings[0].multiband = Some(2.0)),
            ("3-D encoding with 4", |scan| scan.header.encodings[0].encoded.matrix[2] = 4),
            ("partition 3", |scan| scan.heads[5].counters.step_2 = 3),
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
        assert!(found.calibration.is_empty() && found.separate_calibration);

        scan.header.encodings[0].calibration_mode = Some("embedded".into());
        assert!(!run(&scan).unwrap().separate_calibration);
        scan.heads[1].encoding = 1;
        assert!(run(&scan).unwrap().separate_calibration);
    }

    #[test]
    fn mixed_channel_counts_and_empty_scans_are_corrupt() {
        let mut scan = Scan::new(2, 8, 6);
        scan.heads[3].channels = 3;
        assert!(matches!(run(&scan), Err(Error::Corrupt { .. })));
        let mut scan = Scan::new(2, 8, 6);
        scan.heads.iter_mut().for_each(|head| head.flags = Flags::default().with(Flags::NOISE));
        assert!(matches!(run(&scan), Err(Error::Corrupt { .. })));
    }
}
