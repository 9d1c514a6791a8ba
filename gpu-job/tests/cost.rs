//! What a reconstruction takes grows as it must.

use contract::prepared::{Entry, Header, Sampling};
use contract::{Method, PreparedMeta, Refine};
use gpu_job::engine::Recipe;
use gpu_job::engine::cost::{Machine, Work};
use kspace::prepared::Shape;

fn scan(slices: u16, coils: usize, size: usize, acceleration: usize) -> (PreparedMeta, Shape) {
    let sampling =
        Sampling { acceleration, offset: 0, acs_first: size / 2 - 16, acs_lines: 32, first: 0, last: size - 1 };
    let entry = |slice| Entry { slice, contrast: 0, phase: 0, repetition: 0, set: 0, sampling };
    let meta = PreparedMeta {
        schema: PreparedMeta::SCHEMA,
        scan: None,
        header: Header::default(),
        entries: (0..slices).map(entry).collect(),
        steps: Vec::new(),
        warnings: Vec::new(),
        source_sha256: String::new(),
        tool_version: String::new(),
    };
    (meta, Shape { entries: slices.into(), coils, ky: size, kx: size, acs: None })
}

fn work(method: Method, refine: Refine, (meta, shape): &(PreparedMeta, Shape)) -> Work {
    Work::of(&Recipe::new(method, Some(refine), 0), meta, shape)
}

#[test]
fn each_method_has_the_stages_that_it_has() {
    let scan = scan(3, 8, 128, 4);
    let zero = work(Method::ZeroFilled, Refine::None, &scan);
    assert_eq!((zero.total(), zero.transform > 0.0), (zero.transform, true));
    let grappa = work(Method::Grappa, Refine::None, &scan);
    let nwg = work(Method::Nwg, Refine::None, &scan);
    assert!(0.0 < grappa.kernels && grappa.kernels < nwg.kernels && nwg.training == 0.0 && nwg.maps == 0.0);
    let auto = work(Method::Auto, Refine::Sparse, &scan);
    let raki = work(Method::Raki, Refine::None, &scan);
    assert!(auto.maps > 0.0 && auto.refinement > 0.0 && auto.kernels == nwg.kernels);
    // Of three slices that share networks, one is trained in 400 steps and two in 100.
    assert!((raki.training / auto.training - 2.0).abs() < 1e-9);
    let full = self::scan(3, 8, 128, 1);
    assert_eq!(work(Method::Auto, Refine::Sparse, &full).total(), zero.transform);
}

#[test]
fn work_grows_with_the_scan_as_its_products_do() {
    let auto = |scan: (PreparedMeta, Shape)| work(Method::Auto, Refine::Sparse, &scan);
    let one = auto(scan(3, 8, 128, 4));
    let twice = auto(scan(6, 8, 128, 4));
    assert!((twice.total() / one.total() - 2.0).abs() < 1e-9);
    let coils = auto(scan(3, 16, 128, 4));
    // Inputs and networks double; so do rows and columns of what is decomposed.
    assert!((3.5..=4.0).contains(&(coils.training / one.training)));
    assert!((4.0..=8.0).contains(&(coils.kernels / one.kernels)));
    assert!((2.0..=2.1).contains(&(coils.transform / one.transform)));
    let large = auto(scan(3, 8, 256, 4));
    assert!(large.refinement > 4.0 * one.refinement && large.kernels > one.kernels);
    let several = {
        let mut scan = scan(3, 8, 128, 4);
        scan.0.entries[2].contrast = 1;
        auto(scan)
    };
    assert!((several.training / one.training - 2.0).abs() < 1e-9, "contrasts do not share networks");
}

#[test]
fn lines_of_their_own_calibrate() {
    let (mut meta, mut shape) = scan(1, 8, 128, 4);
    let embedded = work(Method::Nwg, Refine::Sparse, &(meta.clone(), shape));
    meta.entries[0].sampling.acs_lines = 0;
    shape.acs = Some((32, 64));
    let separate = work(Method::Nwg, Refine::Sparse, &(meta, shape));
    assert_eq!(separate.maps, embedded.maps);
}

#[test]
fn lines_beyond_the_grid_have_kernels_of_their_own() {
    let kernels = |last: usize, refits: usize| {
        let (mut meta, shape) = scan(1, 8, 128, 4);
        meta.entries[0].sampling.last = last;
        let mut recipe = Recipe::new(Method::Nwg, None, 0);
        recipe.nwg.refits = refits;
        Work::of(&recipe, &meta, &shape).kernels
    };
    // Three fits and one more, of twice the targets to fewer equations.
    let more = kernels(124, 2) / kernels(127, 2);
    assert!((1.3..1.5).contains(&more), "{more}");
    // One fit and one more.
    let more = kernels(124, 0) / kernels(127, 0);
    assert!((1.5..1.9).contains(&more), "{more}");
}

#[test]
fn seconds_are_positive_and_finite_and_fall_with_the_threads_that_find_work() {
    let small = work(Method::Auto, Refine::Sparse, &scan(1, 4, 64, 2));
    let seconds = small.seconds(&Machine::measure());
    assert!(seconds > 0.0 && seconds.is_finite(), "{seconds}");
    let machine = |threads: usize| Machine { threads, gflop_per_s: 50.0 * threads as f64 };
    let on = |threads: usize| small.seconds(&machine(threads));
    assert!(on(2) <= on(1) && on(8) < on(1));
    // One slice has work for so many.
    assert_eq!(on(64), on(8));
}
