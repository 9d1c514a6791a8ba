//! A real echo planar scan: its image up to the correction of phase, and what that correction does.

use std::borrow::Cow;
use std::path::Path;

use kspace::Complex32;
use kspace::format::header::{Header, Ramp};
use kspace::format::{Flags, RawScan, ReadoutHead};
use kspace::numerics::combine::rss;
use kspace::numerics::fft::{Centred, ifft2c};
use kspace::prepare::{Options, plan};
use kspace::prepared::Reader;
use ndarray::{Array2, Array3};
use serde_json::Value;

use super::real::{difference, numbers, open_real, switched_on};

/// Compares the image before phase correction with what `check_twix.py` makes of the file.
///
/// Its `exact` image is the definition, solved for the pixels of each line; ours differs from it by how both weigh the noise.
/// twixtools interpolates linearly between samples, which dims the object towards the edges, spreads its points from the first
/// to the last sample, which makes the field of view smaller than that of the protocol, and mirrors reversed lines after
/// it halved the readout, which moves them by half a point. Done to our readouts, the same gives its image.
pub(super) fn compare(scan: &dyn RawScan, found: &Value) {
    let steps: Vec<String> =
        plan(scan, &Options::default()).unwrap().meta().steps.iter().map(|step| step.name.clone()).collect();
    assert!(["regrid_ramps", "correct_phase"].iter().all(|name| steps.iter().any(|step| step == name)), "{steps:?}");
    let (exact, regridded) = (numbers(&found["exact"]), numbers(&found["regridded"]));
    let uncorrected = Without::navigators(scan);
    let ours = prepared_image(&uncorrected);
    let as_twixtools = linear(scan);
    let (own, other) = (difference(&ours, &exact), difference(&as_twixtools, &exact));
    let same = difference(&as_twixtools, &regridded);
    eprintln!(
        "before phase correction: ours {own:.1e} from the exact image, twixtools {other:.1e}; its way {same:.1e} from it"
    );
    assert!(own < 2e-3, "{own}");
    assert!(same < 1e-4, "{same}");
    assert!(other > 50.0 * own, "twixtools became exact: compare with it directly ({other})");
}

/// The image of the one slice, made of our readouts as twixtools regrids them, `[y, x]`.
fn linear(scan: &dyn RawScan) -> Array2<f32> {
    let encoding = &scan.header().encodings[0];
    let [samples, lines, _] = encoding.encoded.matrix;
    let Ramp { up_us, flat_us, down_us, delay_us, dwell_us, .. } = encoding.ramp.unwrap();
    let gradient: Vec<f64> = (0..samples)
        .map(|sample| delay_us + dwell_us * (sample as f64 + 0.5))
        .map(|time| (time / up_us).min((up_us + flat_us + down_us - time) / down_us).min(1.0))
        .collect();
    // Areas by the trapezoidal rule, in points across the encoded field of view.
    let mut k = vec![0.0];
    gradient.windows(2).for_each(|pair| k.push(k[k.len() - 1] + (pair[0] + pair[1]) / 2.0));
    let middle = (k[samples / 2 - 1] + k[samples / 2]) / 2.0;
    let scale = samples as f64 / gradient.iter().sum::<f64>();
    k.iter_mut().for_each(|k| *k = (*k - middle) * scale);
    let plateau = k[samples / 2 + 1] - k[samples / 2];
    let (first, last) = (k[0], k[samples - 1]);
    let keep = samples / 2;
    let mut image: Array3<Complex32> = Array3::default((usize::from(scan.heads()[0].channels), lines, keep));
    for (number, head) in scan.heads().iter().enumerate().filter(|(_, head)| head.is_imaging()) {
        let offset: f32 = head.position.iter().zip(head.read_dir).map(|(a, b)| a * b).sum();
        // Pixels run against the gradient.
        let offset = -f64::from(offset) / encoding.encoded.field_of_view_mm[0];
        for (coil, samples) in scan.samples(number).unwrap().chunks_exact(samples).enumerate() {
            let turn = |at: usize| std::f64::consts::TAU * offset * (plateau * at as f64 - k[at]);
            let turned: Vec<Complex32> =
                samples.iter().enumerate().map(|(at, sample)| sample * Complex32::cis(turn(at) as f32)).collect();
            let between = |point: usize| {
                let wanted = first + (last - first) * point as f64 / (samples.len() - 1) as f64;
                let right = k.partition_point(|k| *k < wanted).clamp(1, samples.len() - 1);
                let share = ((wanted - k[right - 1]) / (k[right] - k[right - 1])) as f32;
                turned[right - 1] * (1.0 - share) + turned[right] * share
            };
            let mut row: Vec<Complex32> = (0..samples.len()).map(between).collect();
            Centred::inverse(samples.len()).apply(&mut row);
            let mut row = row[keep / 2..keep / 2 + keep].to_vec();
            Centred::forward(keep).apply(&mut row);
            if head.flags.has(Flags::REVERSE) {
                row.reverse();
            }
            let mut line = image.slice_mut(ndarray::s![coil, usize::from(head.counters.step_1), ..]);
            line.iter_mut().zip(row).for_each(|(to, from)| *to = from);
        }
    }
    rss(&ifft2c(&image))
}

/// The image of a prepared slice, `[y, x]`, in the unit of its samples.
fn prepared_image(scan: &dyn RawScan) -> Array2<f32> {
    let plan = plan(scan, &Options::default()).unwrap();
    let prepared = Reader::open(plan.write(scan, Vec::new(), &mut |_, _| {}).unwrap()).unwrap();
    rss(&ifft2c(&prepared.entry(0).unwrap())) * prepared.meta.factor() as f32
}

/// A scan without some of its readouts.
struct Without<'a> {
    raw: &'a dyn RawScan,
    kept: Vec<usize>,
    heads: Vec<ReadoutHead>,
}

impl<'a> Without<'a> {
    fn navigators(raw: &'a dyn RawScan) -> Self {
        let is_kept = |at: &usize| !raw.heads()[*at].flags.has(Flags::PHASE_CORRECTION);
        let kept: Vec<usize> = (0..raw.heads().len()).filter(is_kept).collect();
        let heads = kept.iter().map(|at| raw.heads()[*at]).collect();
        Self { raw, kept, heads }
    }
}

impl RawScan for Without<'_> {
    fn format(&self) -> &'static str {
        self.raw.format()
    }

    fn header(&self) -> &Header {
        self.raw.header()
    }

    fn heads(&self) -> &[ReadoutHead] {
        &self.heads
    }

    fn samples(&self, readout: usize) -> kspace::Result<Cow<'_, [Complex32]>> {
        self.raw.samples(self.kept[readout])
    }
}

/// Root mean square of the corners, where the round phantom is not, over that of the middle of the image.
fn corners(scan: &dyn RawScan) -> f64 {
    let image = prepared_image(scan);
    let (rows, columns) = image.dim();
    let radius = |(row, column): (usize, usize)| {
        (row as f64 - rows as f64 / 2.0).hypot(column as f64 - columns as f64 / 2.0) / (rows.min(columns) as f64 / 2.0)
    };
    let rms = |inside: &dyn Fn(f64) -> bool| {
        let values: Vec<f64> = image
            .indexed_iter()
            .filter(|(at, _)| inside(radius(*at)))
            .map(|(_, value)| f64::from(*value).powi(2))
            .collect();
        (values.iter().sum::<f64>() / values.len() as f64).sqrt()
    };
    rms(&|radius| radius > 1.1) / rms(&|radius| radius < 0.8)
}

#[test]
fn navigators_take_most_of_the_ghost_of_a_real_echo_planar_scan() {
    let Some(folder) = switched_on("RAKI_CLOUD_DATA", "the folder of real scans") else { return };
    let scan = open_real(Path::new(&folder), "twixtools_epi.dat");
    let (before, after) = (corners(&Without::navigators(&*scan)), corners(&*scan));
    println!("signal of the corners over that of the phantom: {before:.3} without navigators, {after:.3} with them");
    assert!(after < 0.5 * before, "{before} {after}");
}
