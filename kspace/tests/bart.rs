//! BART's arrays: what is written is read, images agree with BART's own, and damage never panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on what it does not expect")]

use std::path::Path;
use std::process::Command;

use kspace::format::bart::{self, DIMENSIONS, Dims};
use kspace::format::{RawScan, open};
use kspace::numerics::{combine, fft};
use kspace::phantom::Phantom;
use kspace::prepare::{Options, plan};
use kspace::prepared::Reader;
use kspace::{Complex32, Error};
use ndarray::Array2;
use proptest::prelude::*;

fn dims(lengths: &[(usize, usize)]) -> Dims {
    let mut dims = [1; DIMENSIONS];
    lengths.iter().for_each(|(dimension, length)| dims[*dimension] = *length);
    dims
}

/// Samples that tell their places apart; none is zero.
fn numbered(dims: &Dims) -> Vec<Complex32> {
    (0..dims.iter().product()).map(|at: usize| Complex32::new(at as f32 + 1.0, -0.5)).collect()
}

/// Runs BART in a folder; `None`, with a word about it, where it is not installed.
fn run(folder: &Path, arguments: &[&str]) -> Option<()> {
    match Command::new("bart").current_dir(folder).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(())
        }
        Err(_) => {
            eprintln!("skipped: there is no program bart");
            None
        }
    }
}

/// The samples of an array.
fn load(stem: &Path) -> Vec<Complex32> {
    let bytes = std::fs::read(stem.with_extension("cfl")).unwrap();
    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    bytes.chunks_exact(8).map(|sample| Complex32::new(float(&sample[..4]), float(&sample[4..]))).collect()
}

fn prepare(scan: &dyn RawScan) -> Reader<Vec<u8>> {
    let plan = plan(scan, &Options::default()).unwrap();
    Reader::open(plan.write(scan, Vec::new(), &mut |_, _| {}).unwrap()).unwrap()
}

/// Root sum of squares of the coil images of an entry, `[y, x]`.
fn image(prepared: &Reader<Vec<u8>>, entry: usize) -> Array2<f32> {
    combine::rss(&fft::ifft2c(&prepared.entry(entry).unwrap())) * prepared.meta.factor() as f32
}

/// Largest difference to BART's image, which has x first too, relative to the largest value.
fn difference(ours: &Array2<f32>, theirs: &[Complex32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = ours.iter().fold(0_f32, |largest, value| largest.max(*value));
    ours.iter().zip(theirs).fold(0_f32, |worst, (a, b)| worst.max((a - b.norm()).abs())) / largest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read(
        read in 2_usize..40, phase in 1_usize..30, partitions in 1_usize..4, coils in 1_usize..65, slices in 1_usize..4,
        echoes in 1_usize..3, times in 1_usize..3, skipped in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let dims = dims(&[(0, read), (1, phase), (2, partitions), (3, coils), (5, echoes), (10, times), (13, slices)]);
        let mut samples = numbered(&dims);
        let lines = read * phase * partitions;
        let place = |line: usize, coil: usize, rest: usize| line * read + coil * lines + rest * lines * coils;
        let skipped: Vec<usize> = skipped.iter().map(|index| index.index(phase * partitions)).collect();
        for (line, coil) in skipped.iter().flat_map(|line| (0..coils).map(move |coil| (*line, coil))) {
            samples[place(line, coil, 0)..][..read].fill(Complex32::new(0.0, -0.0));
        }
        let folder = tempfile::tempdir().unwrap();
        // A stem with a dot is kept whole.
        let stem = folder.path().join("array.v1");
        let bytes = bart::write(&stem, &dims, &samples).unwrap();
        let paths = ["cfl", "hdr"].map(|ending| folder.path().join(format!("array.v1.{ending}")));
        prop_assert_eq!(bytes, paths.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());

        let distinct: std::collections::BTreeSet<usize> = skipped.iter().copied().collect();
        let count = phase * partitions * echoes * times * slices - distinct.len();
        if count == 0 {
            prop_assert!(open(&paths[0]).is_err());
            return Ok(());
        }
        for path in &paths {
            let scan = open(path).unwrap();
            prop_assert_eq!(scan.format(), "BART");
            prop_assert_eq!(scan.header().encodings[0].encoded.matrix, [read, phase, partitions]);
            prop_assert_eq!(scan.heads().len(), count);
            for (index, head) in scan.heads().iter().enumerate() {
                let c = &head.counters;
                let line = usize::from(c.step_1) + phase * usize::from(c.step_2);
                let rest = usize::from(c.contrast) + echoes * (usize::from(c.repetition) + times * usize::from(c.slice));
                let found = scan.samples(index).unwrap();
                prop_assert_eq!(found.len(), read * coils);
                for coil in 0..coils {
                    prop_assert_eq!(&found[coil * read..][..read], &samples[place(line, coil, rest)..][..read]);
                }
            }
        }
    }

    #[test]
    fn damaged_headers_never_panic(at in 0_usize..40, byte: u8, cut in 0_usize..60, short in 0_usize..64) {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("array");
        let dims = dims(&[(0, 4), (1, 3), (3, 2)]);
        bart::write(&stem, &dims, &numbered(&dims)).unwrap();
        let [header, array] = ["hdr", "cfl"].map(|ending| stem.with_extension(ending));
        let mut text = std::fs::read(&header).unwrap();
        let at = at.min(text.len() - 1);
        text[at] = byte;
        text.truncate(text.len().saturating_sub(cut));
        std::fs::write(&header, text).unwrap();
        let mut samples = std::fs::read(&array).unwrap();
        samples.truncate(samples.len() - short);
        std::fs::write(&array, samples).unwrap();
        if let Ok(scan) = open(&array) {
            for index in 0..scan.heads().len() {
                scan.samples(index).unwrap();
            }
        }
    }
}

#[test]
fn a_file_that_is_missing_or_of_another_length_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("array");
    let dims = dims(&[(0, 8), (1, 6), (3, 2)]);
    bart::write(&stem, &dims, &numbered(&dims)).unwrap();
    let [header, array] = ["hdr", "cfl"].map(|ending| stem.with_extension(ending));
    let whole = std::fs::read(&array).unwrap();
    std::fs::write(&array, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(open(&header), Err(Error::Truncated { .. })));
    std::fs::write(&array, [&whole[..], b"more"].concat()).unwrap();
    assert!(matches!(open(&header), Err(Error::Corrupt { .. })));
    std::fs::write(&array, vec![0; whole.len()]).unwrap();
    assert!(open(&header).err().unwrap().to_string().contains("nothing but zeros"));
    let text = std::fs::read(&header).unwrap();
    std::fs::remove_file(&header).unwrap();
    assert!(open(&array).err().unwrap().to_string().contains("the .hdr file is missing"));
    std::fs::write(&header, text).unwrap();
    std::fs::remove_file(&array).unwrap();
    let error = open(&header).err().unwrap();
    assert!(
        matches!(error, Error::Unsupported { .. }) && error.to_string().contains("the .cfl file is missing"),
        "{error}"
    );
}

#[test]
fn a_writer_that_is_not_done_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let stem = folder.path().join("array");
    let dims = dims(&[(0, 4), (1, 2)]);
    assert!(bart::write(&stem, &dims, &[Complex32::default(); 7]).is_err());
    assert!(bart::write(&stem, &dims, &[Complex32::default(); 9]).is_err());
    assert!(bart::write(&stem, &[usize::MAX; DIMENSIONS], &[]).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn images_of_an_exported_scan_are_those_of_bart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.h5");
    let phantom = Phantom { slices: 2, coils: 3, matrix: 50, acceleration: 1, acs: 0, ..Phantom::default() };
    phantom.write_full_ismrmrd(&path).unwrap();
    let prepared = prepare(&*open(&path).unwrap());
    let stem = folder.path().join("kspace");
    let mut told = Vec::new();
    bart::export(&prepared, &stem, &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!(told, [(1, 2), (2, 2)]);

    // Read again, the array prepares to the same k-space.
    let again = prepare(&*open(&stem.with_extension("hdr")).unwrap());
    assert_eq!(again.shape, prepared.shape);
    for entry in 0..2 {
        assert_eq!(again.entry(entry).unwrap(), prepared.entry(entry).unwrap());
    }

    let fft = ["fft", "-i", "-u", "3", "kspace", "coils"];
    let Some(()) = run(folder.path(), &fft) else { return };
    run(folder.path(), &["rss", "8", "coils", "image"]);
    let theirs = load(&folder.path().join("image"));
    let pixels = theirs.len() / 2;
    for entry in 0..2 {
        let worst = difference(&image(&prepared, entry), &theirs[entry * pixels..(entry + 1) * pixels]);
        assert!(worst < 1e-4, "slice {entry}: {worst}");
    }
}

#[test]
fn images_of_a_phantom_of_bart_are_those_of_bart() {
    let folder = tempfile::tempdir().unwrap();
    // Odd and not square.
    let Some(()) = run(folder.path(), &["phantom", "-k", "-s8", "-x", "97", "square"]) else { return };
    run(folder.path(), &["resize", "-c", "1", "80", "square", "kspace"]);
    run(folder.path(), &["fft", "-i", "-u", "3", "kspace", "coils"]);
    run(folder.path(), &["rss", "8", "coils", "image"]);
    let scan = open(&folder.path().join("kspace.cfl")).unwrap();
    assert_eq!((scan.heads().len(), scan.heads()[0].channels), (80, 8));
    let prepared = prepare(&*scan);
    assert!(!prepared.meta.header.geometry_known);
    let worst = difference(&image(&prepared, 0), &load(&folder.path().join("image")));
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn what_bart_has_no_place_for_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let dims = dims(&[(0, 16), (1, 12), (3, 2), (5, 2), (10, 3), (13, 2)]);
    let stem = folder.path().join("array");
    bart::write(&stem, &dims, &numbered(&dims)).unwrap();
    let mut prepared = prepare(&*open(&stem.with_extension("hdr")).unwrap());
    let out = folder.path().join("out");
    bart::export(&prepared, &out, &mut |_, _| {}).unwrap();
    assert_eq!(load(&out), numbered(&dims), "contrasts, repetitions and slices come back to their places");
    let text = |prepared: &Reader<Vec<u8>>| bart::export(prepared, &out, &mut |_, _| {}).unwrap_err().to_string();
    prepared.meta.entries[3].set = 1;
    assert!(text(&prepared).contains("2 sets"));
    prepared.meta.entries[3].set = 0;
    prepared.meta.entries[3].slice = 7;
    assert!(text(&prepared).contains("12 images are not every combination of 3 slices"), "{}", text(&prepared));
}
