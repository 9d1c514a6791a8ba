//! Calibration lines in the measurement of their image, and in a measurement in front of it.

use std::io::Write as _;

use kspace::format::measurements::{Measurements, Source, assemble};
use kspace::format::{CalibrationSource, Flags};
use kspace::prepare::{Options, plan};
use kspace::prepared::Reader;
use ndarray::Array3;

use super::{Block, Layout, Measurement, PATIENT, Readout, elements, protocol, write};

const NOISE: u32 = 25;
const PATREFSCAN: u32 = 22;
const SEPARATE: &str = "sPat.ucRefScanMode = 4\nsPat.lAccelFactPE = 3\n";

/// Noise, calibration lines and an accelerated image of two slices.
fn blocks() -> [Vec<Block>; 3] {
    let line = |slice: u16, line: u16, samples: u16, seed: u32| {
        let mut readout = Readout::new(2, samples, seed);
        (readout.counters[0], readout.counters[2], readout.center[0]) = (line, slice, 18);
        readout.position[2] = 30.0 + 5.0 * f32::from(slice);
        readout
    };
    let of = |lines: Vec<Readout>| lines.into_iter().map(Block::Readout).collect();
    let noise = (0..3).map(|seed| Readout::new(2, 40, 7 * seed).bit(NOISE)).collect();
    let slices = || (0..2_u16).flat_map(|slice| (0..36).map(move |line| (slice, line)));
    let calibration = slices().filter(|(_, line)| (12..24).contains(line));
    let calibration = calibration.map(|(slice, at)| line(slice, at, 24, 100 + u32::from(at)).bit(PATREFSCAN));
    let image = slices().filter(|(_, line)| line % 3 == 0).map(|(slice, at)| line(slice, at, 32, 200 + u32::from(at)));
    [of(noise), of(calibration.collect()), of(image.collect())]
}

fn buffers(base: u16, lines: u16) -> Vec<(&'static str, String)> {
    protocol(&format!(
        "sKSpace.lBaseResolution = {base}\nsKSpace.lPhaseEncodingLines = {lines}\n{SEPARATE}\
         sSliceArray.asSlice[0].dReadoutFOV = 200.0\nsSliceArray.asSlice[0].dPhaseFOV = 200.0\n\
         sRXSPEC.alDwellTime[0] = 5000\n{}",
        elements("sCoilSelectMeas.aRxCoilSelectData[0]", 2)
    ))
}

fn measurement(base: u16, blocks: Vec<Block>) -> Measurement {
    Measurement { buffers: buffers(base, 36), blocks, ended: true }
}

fn opened(files: &[Vec<u8>]) -> Measurements {
    let files: Vec<_> = files
        .iter()
        .map(|bytes| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            file
        })
        .collect();
    let sources: Vec<_> = files.iter().map(|file| Source { name: "scan", path: file.path() }).collect();
    assemble(&sources)
}

/// k-space and calibration lines of the only scan, and where these are from.
fn prepared(files: &[Vec<u8>]) -> (Vec<[Array3<kspace::Complex32>; 2]>, CalibrationSource) {
    let found = opened(files);
    assert_eq!((found.scans.len(), found.refused.len()), (1, 0));
    let scan = found.scans[0].scan.as_ref();
    let bytes = plan(scan, &Options::default()).unwrap().write(scan, Vec::new(), &mut |_, _| {}).unwrap();
    let reader = Reader::open(bytes).unwrap();
    assert_eq!((reader.shape.entries, reader.shape.kx, reader.shape.acs), (2, 16, Some((12, 12))));
    let arrays = |entry| [reader.entry(entry).unwrap(), reader.calibration(entry).unwrap().unwrap()];
    ((0..2).map(arrays).collect(), scan.calibration_source())
}

#[test]
fn a_calibration_measurement_in_front_of_the_image_calibrates_it() {
    let one = blocks().concat();
    let (expected, source) = prepared(&[write(Layout::Vd, &[measurement(16, one)], PATIENT)]);
    assert_eq!(source, CalibrationSource::SameMeasurement);
    let [noise, calibration, image] = blocks();
    // The noise stays with the image, whose dwell time of noise is another one than that of an adjustment.
    let image = || measurement(16, [noise.clone(), image.clone()].concat());
    let calibration = || measurement(12, calibration.clone());
    let raid = write(Layout::Vd, &[calibration(), image()], PATIENT);
    assert!(prepared(&[raid]) == (expected.clone(), CalibrationSource::OtherMeasurement));
    let of = |measurement| write(Layout::VdOpen, &[measurement], PATIENT);
    assert!(prepared(&[of(calibration()), of(image())]) == (expected, CalibrationSource::OtherFile));

    let alone = opened(&[of(calibration())]);
    assert!(alone.scans.is_empty() && alone.refused[0].1.to_string().contains("a calibration scan and no image"));
}

/// Protocols of echo planar sequences have modes that say nothing, or the wrong thing: lines that were acquired twice tell.
#[test]
fn lines_on_places_of_the_image_are_a_scan_of_their_own_whatever_the_protocol_says() {
    let [noise, calibration, image] = blocks();
    let long = |block: Block| match block {
        // As long as those of the image, so that their length tells nothing.
        Block::Readout(readout) => {
            Block::Readout(Readout { samples: 32, center_column: 16, seed: readout.seed + 50, ..readout })
        }
        sync @ Block::Sync(_) => sync,
    };
    let calibration: Vec<Block> = calibration.into_iter().map(long).collect();
    let with = |mode: &str| {
        let mut scan = measurement(16, [noise.clone(), calibration.clone(), image.clone()].concat());
        scan.buffers[1].1 = scan.buffers[1].1.replace("ucRefScanMode = 4", &format!("ucRefScanMode = {mode}"));
        let found = opened(&[write(Layout::Vd, &[scan], PATIENT)]);
        let scan = found.scans[0].scan.as_ref();
        let plan = plan(scan, &Options::default()).unwrap();
        let reader = Reader::open(plan.write(scan, Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
        assert_eq!((reader.shape.acs, reader.meta.entries[0].sampling.acceleration), (Some((12, 16)), 3));
        let said = reader.meta.warnings.iter().any(|warning| warning.contains("states embedded calibration"));
        (
            (0..2).map(|at| (reader.entry(at).unwrap(), reader.calibration(at).unwrap().unwrap())).collect::<Vec<_>>(),
            said,
        )
    };
    let (expected, said) = with("4");
    assert!(!said);
    for mode in ["1", "2", "64", "256"] {
        assert!(with(mode) == (expected.clone(), mode == "2"), "mode {mode}");
    }
}

#[test]
fn adjustments_with_images_of_their_own_calibrate_nothing() {
    let [noise, calibration, image] = blocks();
    // Lines of an image among those for calibration: noise is all that is taken of it.
    let adjustment = measurement(12, [noise, calibration, image.clone()].concat());
    let found = opened(&[write(Layout::Vd, &[adjustment, measurement(16, image)], PATIENT)]);
    let scan = &found.scans[0].scan;
    assert_eq!((found.scans.len(), scan.calibration_source()), (1, CalibrationSource::SameMeasurement));
    let count = |flag: u32| scan.heads().iter().filter(|head| head.flags.has(flag)).count();
    assert_eq!((count(Flags::NOISE), count(Flags::CALIBRATION)), (3, 0));
}
