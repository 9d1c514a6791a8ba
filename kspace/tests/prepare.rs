//! Preparation of whole files: the phantom through the raw format, the prepared file and the reconstruction.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::borrow::Cow;
use std::path::Path;

use contract::PreparedMeta;
use kspace::Complex32;
use kspace::format::{Flags, RawScan, ReadoutHead};
use kspace::numerics::combine::rss;
use kspace::numerics::fft::ifft2c;
use kspace::numerics::grappa;
use kspace::numerics::metrics::psnr;
use kspace::phantom::Phantom;
use kspace::prepare::{Options, Plan, plan};
use kspace::prepared::{FileSource, Reader};
use ndarray::{Array2, Array3, s};

fn options() -> Options {
    Options { source_sha256: "ab".repeat(32), ..Options::default() }
}

/// Prepares a raw file into `to` and opens the result.
fn prepare(raw: &Path, to: &Path) -> (Plan, Reader<FileSource>) {
    let raw = kspace::format::open(raw).unwrap();
    let plan = plan(raw.as_ref(), &options()).unwrap();
    let mut told = Vec::new();
    let file = std::fs::File::create(to).unwrap();
    drop(plan.write(raw.as_ref(), file, &mut |done, all| told.push((done, all))).unwrap());
    let entries = plan.shape().entries;
    assert_eq!(told, (1..=entries).map(|done| (done, entries)).collect::<Vec<_>>());
    assert_eq!(std::fs::metadata(to).unwrap().len(), plan.byte_len());
    let reader = Reader::open(FileSource::open(to).unwrap()).unwrap();
    (plan, reader)
}

fn phantom() -> Phantom {
    Phantom { slices: 3, coils: 8, matrix: 96, acceleration: 2, acs: 24, snr: 60.0, seed: 5 }
}

#[test]
fn a_phantom_becomes_entries_in_the_order_of_its_slices() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw.h5");
    phantom().write_ismrmrd(&raw).unwrap();
    let (plan, reader) = prepare(&raw, &folder.path().join("a.safetensors"));
    assert_eq!(&reader.meta, plan.meta());
    let shape = reader.shape;
    assert_eq!((shape.entries, shape.coils, shape.ky, shape.kx), (3, 8, 96, 96));
    let names: Vec<&str> = reader.meta.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["triage", "prewhiten", "remove_oversampling", "sort", "detect_sampling", "normalise"]);
    assert!(reader.meta.warnings.is_empty(), "{:?}", reader.meta.warnings);
    assert!(reader.noise_cov.is_some() && reader.meta.header.geometry_known);
    let places: Vec<f32> = (0..3).map(|entry| reader.geometry[[entry, 2]]).collect();
    assert!(places.is_sorted() && places[0] < places[2], "{places:?}");

    for (index, entry) in reader.meta.entries.iter().enumerate() {
        assert_eq!(entry.sampling.acceleration, 2);
        assert!(entry.sampling.acs_lines >= 24);
        let kspace = reader.entry(index).unwrap();
        for ky in 0..shape.ky {
            let energy: f32 = kspace.slice(s![.., ky, ..]).iter().map(|value| value.norm_sqr()).sum();
            assert_eq!(energy > 0.0, reader.mask[[index, ky]] == 1, "entry {index}, line {ky}");
        }
    }
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw.h5");
    phantom().write_ismrmrd(&raw).unwrap();
    let (a, b) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    prepare(&raw, &a);
    prepare(&raw, &b);
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap());
}

/// What the samples were divided by.
fn factor(meta: &PreparedMeta) -> Complex32 {
    Complex32::from(meta.factor() as f32)
}

/// Mean over the air around the head of `a conj(b)`, for every pair of coils.
fn noise_covariance(images: &Array3<Complex32>, rim: usize) -> Array2<Complex32> {
    let (coils, rows, columns) = images.dim();
    let at_rim = |at: usize, length: usize| at < rim || at >= length - rim;
    let air: Vec<(usize, usize)> = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .filter(|(row, column)| at_rim(*row, rows) && at_rim(*column, columns))
        .collect();
    Array2::from_shape_fn((coils, coils), |(a, b)| {
        let sum: Complex32 = air.iter().map(|at| images[[a, at.0, at.1]] * images[[b, at.0, at.1]].conj()).sum();
        sum / air.len() as f32
    })
}

#[test]
fn noise_of_a_prepared_scan_is_white_and_of_unit_size() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw.h5");
    // So noisy that nothing else is left in the corners.
    Phantom { slices: 4, coils: 4, matrix: 192, acceleration: 1, snr: 3.0, ..phantom() }.write_ismrmrd(&raw).unwrap();
    let (_, reader) = prepare(&raw, &folder.path().join("a.safetensors"));
    let factor = factor(&reader.meta);
    let slices = (0..4).map(|entry| noise_covariance(&ifft2c(&(reader.entry(entry).unwrap() * factor)), 24));
    // Real and imaginary part have variance 1 each.
    let covariance = slices.reduce(|sum, slice| sum + slice).unwrap() / Complex32::new(4.0 * 2.0, 0.0);
    let size = covariance.diag().mean().unwrap().re;
    assert!((size - 1.0).abs() < 0.03, "{size}");
    // What is left is the uncertainty of a covariance measured with so many samples.
    let whitening = reader.meta.steps.iter().find(|step| step.name == "prewhiten").unwrap();
    let scatter = 1.0 / (whitening.parameters["noise_samples"].as_f64().unwrap() as f32).sqrt();
    for ((a, b), value) in covariance.indexed_iter() {
        let expected = if a == b { 1.0 } else { 0.0 };
        assert!((value - expected).norm() < 3.0 * scatter, "coils {a} and {b}: {value}");
    }
    let before = reader.noise_cov.as_ref().unwrap();
    let correlation = |(a, b): (usize, usize)| before[[a, b]].norm() / (before[[a, a]].re * before[[b, b]].re).sqrt();
    let strongest =
        before.indexed_iter().filter(|(at, _)| at.0 != at.1).map(|(at, _)| correlation(at)).fold(0.0, f32::max);
    assert!(strongest > 3.0 * scatter, "nothing to whiten: {strongest}");
}

#[test]
fn grappa_unfolds_the_phantom() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw.h5");
    let phantom = phantom();
    phantom.write_ismrmrd(&raw).unwrap();
    let (_, reader) = prepare(&raw, &folder.path().join("a.safetensors"));
    let full = folder.path().join("full.h5");
    phantom.write_full_ismrmrd(&full).unwrap();
    assert_eq!(phantom.truth()[0].dim(), (96, 96));
    let (_, reference) = prepare(&full, &folder.path().join("b.safetensors"));
    for (index, entry) in reader.meta.entries.iter().enumerate() {
        let kspace = reader.entry(index).unwrap();
        let mask: Vec<bool> = reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect();
        let filled = grappa::fill(&kspace, &mask, &entry.sampling, &grappa::Options::default()).unwrap();
        let scale = factor(&reference.meta) / factor(&reader.meta);
        let truth = rss(&ifft2c(&(reference.entry(index).unwrap() * scale)));
        let (found, folded) = (psnr(&rss(&ifft2c(&filled)), &truth), psnr(&rss(&ifft2c(&kspace)), &truth));
        assert!(found > folded + 6.0, "slice {index}: GRAPPA {found} dB, zero-filled {folded} dB");
    }
}

/// A scan whose readouts were combined over the coils beforehand, without its noise scan.
struct Twin<'a> {
    raw: &'a dyn RawScan,
    kept: Vec<usize>,
    heads: Vec<ReadoutHead>,
    /// `[coil, coil]`.
    matrix: Array2<Complex32>,
}

impl RawScan for Twin<'_> {
    fn format(&self) -> &'static str {
        self.raw.format()
    }

    fn header(&self) -> &kspace::format::header::Header {
        self.raw.header()
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> kspace::Result<Cow<'_, [Complex32]>> {
        let samples = self.raw.samples(self.kept[readout])?;
        let coils = self.matrix.nrows();
        let samples = Array2::from_shape_vec((coils, samples.len() / coils), samples.into_owned()).unwrap();
        Ok(Cow::Owned(self.matrix.dot(&samples).into_raw_vec_and_offset().0))
    }
}

/// Inverse of the lower Cholesky factor of a covariance, by substitution in the order of the coils.
fn whitening(covariance: &Array2<Complex32>) -> Array2<Complex32> {
    let coils = covariance.nrows();
    let (mut lower, mut inverse) =
        (Array2::<Complex32>::zeros((coils, coils)), Array2::<Complex32>::zeros((coils, coils)));
    for row in 0..coils {
        for column in 0..=row {
            let before: Complex32 = (0..column).map(|at| lower[[row, at]] * lower[[column, at]].conj()).sum();
            let rest = covariance[[row, column]] - before;
            lower[[row, column]] = if row == column { rest.sqrt() } else { rest / lower[[column, column]] };
        }
        for column in 0..=row {
            let unit = Complex32::new(if row == column { 1.0 } else { 0.0 }, 0.0);
            let before: Complex32 = (column..row).map(|at| lower[[row, at]] * inverse[[at, column]]).sum();
            inverse[[row, column]] = (unit - before) / lower[[row, row]];
        }
    }
    inverse
}

#[test]
fn a_scan_and_its_prewhitened_twin_give_the_same_image_up_to_scale() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.h5");
    phantom().write_ismrmrd(&path).unwrap();
    let (_, reader) = prepare(&path, &folder.path().join("a.safetensors"));
    let raw = kspace::format::open(&path).unwrap();
    let is_noise = |head: &ReadoutHead| head.flags.has(Flags::NOISE);
    let kept: Vec<usize> = (0..raw.heads().len()).filter(|at| !is_noise(&raw.heads()[*at])).collect();
    assert!(kept.len() < raw.heads().len());
    let heads = kept.iter().map(|at| raw.heads()[*at]).collect();
    let twin = Twin { raw: &*raw, kept, heads, matrix: whitening(reader.noise_cov.as_ref().unwrap()) };
    let plan = plan(&twin, &options()).unwrap();
    assert!(plan.meta().steps.iter().all(|step| step.name != "prewhiten"));
    let twin = Reader::open(plan.write(&twin, Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
    for (index, entry) in reader.meta.entries.iter().enumerate() {
        let mask: Vec<bool> = reader.mask.row(index).iter().map(|acquired| *acquired == 1).collect();
        let image = |kspace: Array3<Complex32>| {
            let filled = grappa::fill(&kspace, &mask, &entry.sampling, &grappa::Options::default()).unwrap();
            let image = rss(&ifft2c(&filled));
            let size = image.iter().map(|value| value * value).sum::<f32>().sqrt();
            image / size
        };
        let (ours, theirs) = (image(reader.entry(index).unwrap()), image(twin.entry(index).unwrap()));
        let apart = (&ours - &theirs).iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!(apart < 1e-4, "slice {index}: {apart}");
    }
}

#[test]
fn images_are_those_of_the_official_package() {
    #[expect(clippy::disallowed_methods, reason = "tests with programs of others are switched on by the environment")]
    let python = std::env::var_os("RAKI_CLOUD_PYTHON");
    let Some(python) = python else {
        eprintln!("skipped: RAKI_CLOUD_PYTHON does not name a Python with ismrmrd");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.h5");
    phantom().write_full_ismrmrd(&path).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image_ismrmrd.py");
    let output = std::process::Command::new(python).arg(script).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<Vec<f64>> = serde_json::from_slice(&output.stdout).unwrap();

    let raw = kspace::format::open(&path).unwrap();
    let is_noise = |head: &ReadoutHead| head.flags.has(Flags::NOISE);
    let kept: Vec<usize> = (0..raw.heads().len()).filter(|at| !is_noise(&raw.heads()[*at])).collect();
    let heads = kept.iter().map(|at| raw.heads()[*at]).collect();
    let scan = Twin { raw: &*raw, kept, heads, matrix: Array2::eye(8) };
    let plan = plan(&scan, &options()).unwrap();
    let reader = Reader::open(plan.write(&scan, Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
    assert_eq!(reader.shape.entries, expected.len());
    for (slice, expected) in expected.iter().enumerate() {
        let image = rss(&ifft2c(&(reader.entry(slice).unwrap() * factor(&reader.meta))));
        assert_eq!(image.len(), expected.len());
        let apart: f64 = image.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
        let relative = (apart / expected.iter().map(|b| b * b).sum::<f64>()).sqrt();
        assert!(relative < 1e-4, "slice {slice}: {relative}");
    }
}
