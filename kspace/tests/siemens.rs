//! Siemens raw data of our own writer and of scanners are read as they were written, and damage never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

mod twix;

use std::io::Write;

use kspace::archive::Content;
use kspace::format::header::Trajectory;
use kspace::format::{Flags, RawScan, open_all};
use kspace::{Complex32, Error, Result};
use proptest::prelude::*;
use twix::{Block, Layout, Measurement, PATIENT, Readout, elements, protocol, write};

const NOISE: u32 = 25;

fn open_bytes(bytes: &[u8]) -> Result<Vec<Box<dyn RawScan>>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    // The map outlives the name.
    open_all(file.path())
}

/// Opens a file and reads everything in it; what it says of itself names no person.
pub(crate) fn read_all(bytes: &[u8]) -> Result<usize> {
    let read = || {
        let mut samples = 0;
        for scan in open_bytes(bytes)? {
            // The shortest readout of any layout has 136 bytes: heads never outgrow the file.
            assert!(scan.heads().len() * 136 <= bytes.len());
            assert_anonymous(&format!("{:?} {:?} {:?}", scan.header(), scan.heads(), scan.warnings()));
            for index in 0..scan.heads().len() {
                samples += scan.samples(index)?.len();
            }
        }
        Ok(samples)
    };
    let found = read();
    if let Err(error) = &found {
        assert_anonymous(&format!("{error} {error:?}"));
    }
    found
}

fn assert_anonymous(text: &str) {
    assert!(!text.contains("Jane") && !text.contains("Doe"), "{text}");
}

/// A study with everything: noise, synchronous data, lines for phase correction, slices and partitions.
fn study(channels: u16, samples: u16, [lines, partitions, slices]: [u16; 3], sync: usize) -> Measurement {
    let mut blocks = vec![Block::Readout(Readout::new(channels, samples + 3, 900).bit(NOISE))];
    for (slice, line, partition) in (0..slices).flat_map(|slice| {
        (0..lines).flat_map(move |line| (0..partitions).map(move |partition| (slice, line, partition)))
    }) {
        if sync > 0 && line % 2 == 0 {
            blocks.push(Block::Sync(sync));
        }
        let mut readout = Readout::new(channels, samples, u32::from(line) * 100 + u32::from(partition));
        readout.counters = [line, 1, slice, partition, 2, 3, 4, 5, 6];
        readout.center = [lines / 2, partitions / 2];
        readout.position[2] = f32::from(slice) * 4.0;
        if line == 0 {
            readout.counters[0] = lines / 2;
            blocks.push(Block::Readout(readout.clone().bit(21)));
            readout.counters[0] = 0;
        }
        blocks.push(Block::Readout(if line % 2 == 1 { readout.bit(24) } else { readout }));
    }
    Measurement { buffers: protocol(""), blocks, ended: true }
}

/// Everything in `scan` is what was written, without the blocks that are no readouts.
fn assert_same(scan: &dyn RawScan, written: &[&Readout]) {
    assert_eq!(scan.heads().len(), written.len());
    for (index, (head, readout)) in scan.heads().iter().zip(written).enumerate() {
        let c = head.counters;
        let found = [c.step_1, c.average, c.slice, c.step_2, c.contrast, c.phase, c.repetition, c.set, c.segment];
        assert_eq!(found, readout.counters);
        assert_eq!((head.channels, head.samples), (readout.channels, readout.samples));
        assert_eq!([head.discard_pre, head.discard_post], readout.cut_off);
        assert_eq!((head.center_sample, head.position), (readout.center_column, readout.position));
        for (bit, flag) in [(21, Flags::PHASE_CORRECTION), (24, Flags::REVERSE), (NOISE, Flags::NOISE)] {
            assert_eq!(head.flags.has(flag), readout.mask & (1 << bit) != 0);
        }
        let expected: Vec<Complex32> = (0..readout.channels)
            .flat_map(|channel| (0..readout.samples).map(move |place| readout.sample(channel, place)))
            .collect();
        assert_eq!(scan.samples(index).unwrap().as_ref(), expected);
    }
    assert!(scan.samples(written.len()).is_err());
}

fn readouts(measurement: &Measurement) -> Vec<&Readout> {
    fn readout(block: &Block) -> Option<&Readout> {
        match block {
            Block::Readout(readout) => Some(readout),
            Block::Sync(_) => None,
        }
    }
    measurement.blocks.iter().filter_map(readout).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_written_is_read(
        layout in prop::sample::select(vec![Layout::Vb, Layout::Vd, Layout::VdOpen]),
        channels in 1u16..=64,
        samples in 1u16..40,
        size in (1u16..8, 1u16..4, 1u16..4),
        sync in prop::sample::select(vec![0usize, 192, 216, 1000]),
        with_noise in any::<bool>(),
    ) {
        let scan = study(channels, samples, [size.0, size.1, size.2], sync);
        let mut adjustment = study(channels, samples, [2, 1, 1], 0);
        adjustment.blocks.push(Block::Readout(Readout::new(channels, 17, 5).bit(NOISE)));
        let with_noise = with_noise && layout != Layout::Vb;
        let all: Vec<Measurement> = if with_noise { vec![adjustment.clone(), scan.clone()] } else { vec![scan.clone()] };
        let file = write(layout, &all, PATIENT);
        let head = &file[..file.len().min(Content::HEAD_LENGTH as usize)];
        prop_assert_eq!(Content::of(head), Content::SiemensDat, "a file of another vendor");
        let found = open_bytes(&file).unwrap();
        prop_assert_eq!(found.len(), all.len());
        assert_same(found.last().unwrap().as_ref(), &readouts(&scan));
        if with_noise {
            let noise: Vec<&Readout> = readouts(&adjustment).into_iter().filter(|it| it.mask & (1 << NOISE) != 0).collect();
            prop_assert_eq!(noise.len(), 2);
            assert_same(found[0].as_ref(), &noise);
        }
        let last = found.last().unwrap();
        prop_assert!(last.heads().last().unwrap().flags.has(Flags::LAST_IN_MEASUREMENT));
        let encoded = &last.header().encodings[0].encoded;
        prop_assert_eq!(encoded.matrix, [samples.into(), size.0.into(), size.1.into()].map(|n: usize| n));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_never_panic(
        layout in prop::sample::select(vec![Layout::Vb, Layout::Vd, Layout::VdOpen]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_front in any::<bool>(),
    ) {
        let mut file = small(layout);
        for (place, byte) in changes {
            // Between the table and the first measurement lies nothing.
            let at = if in_front { place.index(800) } else { 10_240 + place.index(file.len() - 10_240) };
            file[at] = byte;
        }
        let _ = read_all(&file);
    }
}

/// A file of a few hundred lines of text and a few readouts.
fn small(layout: Layout) -> Vec<u8> {
    let scan = study(2, 6, [4, 1, 1], 200);
    let all = if layout == Layout::Vb { vec![scan] } else { vec![study(2, 6, [1, 1, 1], 0), scan] };
    write(layout, &all, PATIENT)
}

#[test]
fn a_cut_file_is_an_error_or_ends_between_readouts() {
    for layout in [Layout::Vb, Layout::Vd, Layout::VdOpen] {
        let whole = small(layout);
        let complete = read_all(&whole).unwrap();
        let mut between = 0;
        // The end mark and what fills up the last block may be missing without harm.
        let readouts = whole.len() - 1200;
        for length in (0..10_000).step_by(61).chain(10_000..readouts) {
            match read_all(&whole[..length]) {
                Err(Error::Truncated { found, expected, .. }) => assert!(found < expected, "{layout:?} at {length}"),
                Err(error) => assert!(length < 10_400, "{layout:?} at {length}: {error}"),
                Ok(samples) => {
                    assert!(layout != Layout::Vd && samples < complete, "{layout:?} at {length}");
                    let scans = open_bytes(&whole[..length]).unwrap();
                    let warnings = scans.last().unwrap().warnings();
                    assert!(warnings.iter().any(|warning| warning.contains("not marked")), "{layout:?} at {length}");
                    between += 1;
                }
            }
        }
        // Where the rest could be the zeros that fill up a block there is more than one such place for each readout.
        assert_eq!(between > 0, layout != Layout::Vd, "{layout:?}");
    }
}

#[test]
fn noise_of_an_adjustment_goes_with_the_scan() {
    let dwell = |ns: u32| {
        protocol(&format!("sRXSPEC.alDwellTime[0] = {ns}\n{}", elements("sCoilSelectMeas.aRxCoilSelectData[0]", 6)))
    };
    let adjustment = Measurement {
        buffers: dwell(4800),
        blocks: vec![Block::Readout(Readout::new(6, 256, 1).bit(NOISE))],
        ended: true,
    };
    let nothing = Measurement { blocks: vec![Block::Readout(Readout::new(6, 8, 1))], ..adjustment.clone() };
    let scan = Measurement { buffers: dwell(10_000), ..study(6, 8, [4, 1, 1], 0) };
    let found = open_bytes(&write(Layout::Vd, &[nothing, adjustment, scan], PATIENT)).unwrap();
    assert_eq!(found.len(), 2);
    let names = &found[1].header().system.coil_names;
    assert_eq!(names, &["Head:1:H0", "Head:1:H1", "Head:1:H2", "Head:1:H3", "Head:1:H4", "Head:1:H5"]);
    assert_eq!(names, &found[0].header().system.coil_names);
    assert_eq!(found[0].heads()[0].sample_time_us, 4.8);
    // 7.68 ms for 11 samples; lines as in the protocol.
    assert_eq!((found[1].heads()[0].sample_time_us, found[1].heads()[1].sample_time_us), (698.1, 10.0));
    assert!(found[1].warnings().iter().any(|warning| warning.contains("698.1 us is assumed")));
}

#[test]
fn an_adjustment_that_cannot_be_read_is_left_out() {
    let scan = study(2, 6, [4, 1, 1], 0);
    let mut file = write(Layout::Vd, &[scan.clone(), scan.clone()], PATIENT);
    // No channels in the first readout of the first measurement, and a length that passes over nothing.
    let length = u32::from_le_bytes(file[10_240..10_244].try_into().unwrap()) as usize;
    file[10_240 + length + 50] = 0;
    file[10_240 + length..10_240 + length + 2].copy_from_slice(&[8, 0]);
    let found = open_bytes(&file).unwrap();
    assert_eq!(found.len(), 1);
    assert_same(found[0].as_ref(), &readouts(&scan));
    assert!(
        found[0].warnings().iter().any(|warning| warning.contains("adjustment 0") && warning.contains("0 channels"))
    );
}

#[test]
fn readouts_without_samples_are_passed_over_and_counted() {
    for layout in [Layout::Vb, Layout::VdOpen] {
        let scan = study(2, 6, [4, 1, 1], 0);
        let mut with_empty = scan.clone();
        let channels = if layout == Layout::Vb { 1 } else { 0 };
        with_empty.blocks.insert(3, Block::Readout(Readout::new(channels, 0, 0)));
        with_empty.blocks.push(Block::Readout(Readout::new(channels, 0, 0)));
        let found = open_bytes(&write(layout, &[with_empty], PATIENT)).unwrap();
        assert_same(found[0].as_ref(), &readouts(&scan));
        assert!(found[0].warnings().iter().any(|warning| warning.starts_with("2 readouts have no samples")));
    }
}

#[test]
fn a_table_that_cannot_be_true_is_named() {
    let file = write(Layout::Vd, &[study(1, 4, [2, 1, 1], 0), study(1, 4, [2, 1, 1], 0)], PATIENT);
    let change = |at: usize, value: u64| {
        let mut file = file.clone();
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        read_all(&file).expect_err("a refusal").to_string()
    };
    // The second measurement: over the first, and beyond the file.
    assert!(change(168, 10_240).contains("measurement 1 in the table at byte 160"));
    assert!(change(176, 1 << 40).contains("incomplete"));
    assert!(change(176, u64::MAX).contains("incomplete"));
    assert!(change(24, 3).contains("found 3 bytes, expected a header of 8 bytes"));
}

#[test]
fn values_of_the_protocol_reach_the_header() {
    let lines = format!(
        "sKSpace.lBaseResolution = 8\nsKSpace.lPhaseEncodingLines = 16\nsKSpace.lPartitions = 4\nsKSpace.ucDimension = 0x4\n\
         sKSpace.lImagesPerSlab = 3\nsKSpace.dPhaseOversamplingForDialog = 0.25\nsKSpace.ucTrajectory = 1\n\
         sSliceArray.asSlice[0].dReadoutFOV = 200.0\nsSliceArray.asSlice[0].dPhaseFOV = 150.0\nsSliceArray.asSlice[0].dThickness = 40\n\
         sPat.lAccelFactPE = 2\nsPat.lAccelFact3D = 1\nsPat.ucRefScanMode = 0x2\nlContrasts = 2\nalTR[0] = 5000\nalTE[0] = 2000\n\
         alTE[1] = 4500\nalTE[2] = 9000\nalTI[0] = 100000\nsPrepPulses.ucInversion = 2\nadFlipAngleDegree[0] = 12\n\
         sTXSPEC.asNucleusInfo[0].lFrequency = 63500000\nsProtConsistencyInfo.flNominalB0 = 1.494\n\
         sSliceAcceleration.lMultiBandFactor = 3\nsRXSPEC.alDwellTime[0] = 2600\n{}",
        elements("asCoilSelectMeas[0]", 2)
    );
    let mut scan = study(2, 16, [12, 4, 1], 0);
    // 6/8 partial Fourier.
    for block in &mut scan.blocks {
        if let Block::Readout(readout) = block {
            readout.center[0] = 4;
            readout.mask &= !(1 << 21);
        }
    }
    scan.buffers = protocol(&lines);
    scan.buffers[0].1 +=
        "<ParamString.\"tPatientPosition\"> { \"FFS\" }<ParamString.\"ManufacturersModelName\"> { \"Trio\" }";
    let found = open_bytes(&write(Layout::Vb, &[scan], PATIENT)).unwrap();
    let header = found[0].header();
    let encoding = &header.encodings[0];
    assert_eq!((encoding.encoded.matrix, encoding.recon.matrix), ([16, 16, 4], [8, 6, 3]));
    assert_eq!(encoding.encoded.field_of_view_mm, [400.0, 187.5, 40.0]);
    assert_eq!(encoding.recon.field_of_view_mm, [200.0, 150.0, 40.0]);
    let limit = encoding.limits.step_1.unwrap();
    assert_eq!((limit.minimum, limit.maximum, limit.center), (0, 11, 4));
    assert_eq!(encoding.limits.step_2.unwrap().center, 2);
    assert_eq!((encoding.acceleration, encoding.multiband), (Some([2.0, 1.0]), Some(3.0)));
    assert_eq!(encoding.calibration_mode.as_deref(), Some("embedded"));
    assert_eq!(encoding.trajectory, Trajectory::Cartesian);
    let sequence = &header.sequence;
    assert_eq!(
        (&sequence.tr_ms[..], &sequence.te_ms[..], &sequence.ti_ms[..]),
        (&[5.0][..], &[2.0, 4.5][..], &[100.0][..])
    );
    assert_eq!((&sequence.flip_angle_deg[..], header.h1_frequency_hz), (&[12.0][..], Some(63_500_000.0)));
    assert_eq!((header.system.model.as_deref(), header.patient_position.as_deref()), (Some("Trio"), Some("FFS")));
    assert_eq!((header.system.field_strength_t, header.system.channels), (Some(1.494), Some(2)));
    assert_eq!(header.system.coil_names, ["Head:1:H0", "Head:1:H1"]);
    // 1 / (130 Hz x 19 samples) for noise within a VB scan.
    let noise = found[0].heads()[0].sample_time_us;
    assert!((noise - 404.86).abs() < 0.01 && found[0].heads()[1].sample_time_us == 2.6, "{noise}");
}

#[test]
fn a_calibration_scan_of_its_own_has_a_matrix_of_its_own() {
    let mut scan = study(2, 16, [12, 1, 1], 0);
    for line in 0..6 {
        let mut readout = Readout::new(2, 8, 50 + u32::from(line)).bit(22);
        (readout.counters[0], readout.center[0]) = (line + 20, 23);
        scan.blocks.push(Block::Readout(readout));
    }
    let lines = "sKSpace.lBaseResolution = 8\nsKSpace.lPhaseEncodingLines = 12\nsPat.ucRefScanMode = 4\n";
    scan.buffers = protocol(lines);
    let open =
        |scan: &Measurement| open_bytes(&write(Layout::Vd, std::slice::from_ref(scan), PATIENT)).unwrap().remove(0);
    let found = open(&scan);
    let encodings = &found.header().encodings;
    assert_eq!(encodings.iter().map(|it| it.encoded.matrix).collect::<Vec<_>>(), [[16, 12, 1], [8, 6, 1]]);
    assert_eq!((encodings[1].recon.matrix, encodings[1].limits.step_1.unwrap().center), ([4, 6, 1], 23));
    let own = found.heads().iter().filter(|head| head.encoding == 1);
    assert!(own.clone().all(|head| head.flags.has(Flags::CALIBRATION)) && own.count() == 6);

    // Calibration lines among those of the image share their matrix.
    scan.buffers = protocol(&lines.replace("= 4\n", "= 2\n"));
    let found = open(&scan);
    assert!(found.header().encodings.len() == 1 && found.heads().iter().all(|head| head.encoding == 0));
}

#[test]
fn what_the_scanner_would_do_to_samples_is_said() {
    let mut scan = study(1, 4, [2, 1, 1], 0);
    scan.blocks.push(Block::Readout(Readout::new(1, 4, 1).bit(10).bit(17).bit(38)));
    scan.ended = false;
    let found = open_bytes(&write(Layout::VdOpen, &[scan], PATIENT)).unwrap();
    assert_eq!(found[0].header().encodings[0].multiband, Some(2.0));
    assert!(!found[0].heads().last().unwrap().flags.has(Flags::SURFACE_COIL_CORRECTION));
    for part in
        ["gain of each channel", "change the sign", "single-band", "not marked", "does not state: base resolution"]
    {
        assert!(found[0].warnings().iter().any(|warning| warning.contains(part)), "{part}: {:?}", found[0].warnings());
    }
}

#[test]
fn single_channels_are_borrowed_from_the_file() {
    let found = open_bytes(&write(Layout::VdOpen, &[study(1, 4, [2, 1, 1], 0)], PATIENT)).unwrap();
    assert!(matches!(found[0].samples(0).unwrap(), std::borrow::Cow::Borrowed(_)));
}
