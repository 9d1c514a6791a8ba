//! An archive of an image, its calibration scan and its noise scan, each a file of its own, is one scan.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Output};

use contract::ExitCode;
use kspace::format::{Flags, RawScan, ReadoutHead, open};
use kspace::phantom::Phantom;
use serde_json::Value;

const PHANTOM: Phantom = Phantom { slices: 2, coils: 4, matrix: 64, acceleration: 2, acs: 24, snr: 60.0, seed: 0 };

fn run(dir: &Path, arguments: &[&str], exit: ExitCode) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raki-cloud"));
    let output = command.current_dir(dir).env("XDG_CACHE_HOME", dir).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(exit.code())), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(dir: &Path, arguments: &[&str], exit: ExitCode) -> Value {
    serde_json::from_slice(&run(dir, &[arguments, &["--json"]].concat(), exit).stdout).unwrap()
}

/// The header of a phantom with lines `first` to `last` and the centre of k-space at line 32.
fn header(acceleration: usize, [first, last]: [usize; 2]) -> String {
    let space = |x: usize, mm: usize| {
        format!(
            "<matrixSize><x>{x}</x><y>64</y><z>1</z></matrixSize>\
             <fieldOfView_mm><x>{mm}</x><y>220</y><z>3</z></fieldOfView_mm>"
        )
    };
    format!(
        "<ismrmrdHeader><encoding><encodedSpace>{}</encodedSpace><reconSpace>{}</reconSpace><encodingLimits>\
         <kspace_encoding_step_1><minimum>{first}</minimum><maximum>{last}</maximum><center>32</center>\
         </kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory><parallelImaging>\
         <accelerationFactor><kspace_encoding_step_1>{acceleration}</kspace_encoding_step_1></accelerationFactor>\
         <calibrationMode>external</calibrationMode></parallelImaging></encoding></ismrmrdHeader>",
        space(128, 440),
        space(64, 220)
    )
}

/// A readout as a message of an ISMRMRD stream.
fn message(head: &ReadoutHead, samples: &[kspace::Complex32]) -> Vec<u8> {
    let mut bytes = vec![0; 340];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(2, &head.flags.0.to_le_bytes());
    for (at, value) in [(34, head.samples), (38, head.channels), (172, head.center_sample)] {
        put(at, &value.to_le_bytes());
    }
    put(178, &head.sample_time_us.to_le_bytes());
    for (at, vector) in [(182, head.position), (194, head.read_dir), (206, head.phase_dir), (218, head.slice_dir)] {
        (0..3).for_each(|axis| put(at + 4 * axis, &vector[axis].to_le_bytes()));
    }
    put(242, &head.counters.step_1.to_le_bytes());
    put(248, &head.counters.slice.to_le_bytes());
    let samples = samples.iter().flat_map(|sample| [sample.re.to_le_bytes(), sample.im.to_le_bytes()].concat());
    [&1008_u16.to_le_bytes()[..], &bytes, &samples.collect::<Vec<_>>()].concat()
}

/// A stream of the readouts to which `choose` gives flags.
fn stream(scan: &dyn RawScan, xml: &str, choose: impl Fn(Flags) -> Option<Flags>) -> Vec<u8> {
    let mut bytes = [&3_u16.to_le_bytes()[..], &(xml.len() as u32).to_le_bytes(), xml.as_bytes()].concat();
    for (number, head) in scan.heads().iter().enumerate() {
        if let Some(flags) = choose(head.flags) {
            bytes.extend(message(&ReadoutHead { flags, ..*head }, &scan.samples(number).unwrap()));
        }
    }
    bytes.extend(4_u16.to_le_bytes());
    bytes
}

/// A phantom as three files, and archives of them.
fn phantom() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("embedded.h5");
    PHANTOM.write_ismrmrd(&path).unwrap();
    let scan = open(&path).unwrap();
    let marked = |flags: Flags| flags.has(Flags::CALIBRATION) || flags.has(Flags::CALIBRATION_AND_IMAGING);
    let noise = |flags: Flags| flags.has(Flags::NOISE).then_some(flags);
    let calibration = |flags: Flags| marked(flags).then(|| Flags::default().with(Flags::CALIBRATION));
    let image = |flags: Flags| {
        let line = !flags.has(Flags::NOISE) && !flags.has(Flags::CALIBRATION);
        line.then(|| flags.without(Flags::CALIBRATION_AND_IMAGING))
    };
    let files = [
        ("a_noise", stream(&*scan, &header(1, [0, 63]), noise)),
        ("b_calibration", stream(&*scan, &header(1, [20, 43]), calibration)),
        ("c_image", stream(&*scan, &header(2, [0, 63]), image)),
    ];
    for (name, members) in [("study.tar", &files[..]), ("lone.tar", &files[..2])] {
        let mut tar = tar::Builder::new(std::fs::File::create(dir.path().join(name)).unwrap());
        for (name, bytes) in members {
            let mut head = tar::Header::new_ustar();
            head.set_size(bytes.len() as u64);
            tar.append_data(&mut head, format!("{name}.mrd"), bytes.as_slice()).unwrap();
        }
        tar.into_inner().unwrap();
    }
    dir
}

#[test]
fn image_calibration_and_noise_in_three_files_are_one_reconstruction() {
    let dir = phantom();
    let told = json(dir.path(), &["inspect", "study.tar"], ExitCode::Done);
    assert_eq!(told["scans"].as_array().map(Vec::len), Some(1));
    let calibration = &told["scans"][0]["scan"]["calibration"];
    assert_eq!((&calibration["kind"], &calibration["source"]), (&"separate".into(), &"other_file".into()));
    assert_eq!(told["scans"][0]["scan"]["noise_scan"]["used"], true);
    let text = String::from_utf8(run(dir.path(), &["inspect", "study.tar"], ExitCode::Done).stdout).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("24 lines of a separate scan in another file"), "{text}");

    let arguments = ["reconstruct", "study.tar", "--out", "images", "--method", "grappa"];
    let report = json(dir.path(), &arguments, ExitCode::Done);
    assert!(report["scans"].is_null() && dir.path().join("images/image.nii.gz").is_file(), "{report}");
    let truth = PHANTOM.truth();
    let psnr = local::files::psnr_against(&truth, &dir.path().join("images/image.nii.gz")).unwrap().unwrap();
    assert!(psnr > 25.0, "{psnr}");
}

#[test]
fn without_an_image_each_file_is_refused_by_its_name() {
    let dir = phantom();
    let told = json(dir.path(), &["inspect", "lone.tar"], ExitCode::BadData);
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("noise scan and no image") && reason.contains("in one archive"), "{reason}");
}
