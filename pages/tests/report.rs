//! The report: whole, small enough, and safe whatever the records say.

use std::error::Error;
use std::sync::OnceLock;

use contract::manifest::{Check, Decision};
use pages::report::{HAS_VIEWER, render};
use proptest::prelude::*;
use study::Study;

#[path = "../examples/sample/pictures.rs"]
mod pictures;
#[path = "../examples/sample/study.rs"]
mod study;

static STUDY: OnceLock<Study> = OnceLock::new();

/// Leaves room on the share, and in a mail.
const LARGEST: usize = 8_000_000;

#[test]
fn thirty_slices_of_320_make_less_than_8_mb() -> Result<(), Box<dyn Error>> {
    let study = Study::new(320, 30, 1, true)?;
    let length = render(&study.report()).len();
    // The 3-D view, where this build has none, would add as much.
    let viewer = if HAS_VIEWER { 0 } else { 1_100_000 };
    println!("report of 30 slices of 320 x 320: {} bytes", length + viewer);
    assert!(length + viewer < LARGEST, "{length} bytes");
    Ok(())
}

#[test]
fn the_top_says_whether_it_is_fine() -> Result<(), Box<dyn Error>> {
    let fine = Study::new(64, 2, 1, false)?;
    let page = render(&fine.report());
    assert!(page.contains("No doubts found") && !page.contains("Check this"));
    assert!(page.contains("Not for diagnostic use"));
    let doubtful = Study::new(64, 2, 1, true)?;
    let page = render(&doubtful.report());
    assert!(page.contains("Check this") && !page.contains("No doubts found"));
    let (verdict, numbers) =
        (page.find("Aliases of the object").unwrap_or(usize::MAX), page.find("id=\"quality\"").unwrap_or(0));
    assert!(verdict < numbers, "the sentence stands before the numbers");
    Ok(())
}

#[test]
fn the_same_report_is_the_same_page() -> Result<(), Box<dyn Error>> {
    let study = Study::new(64, 3, 2, true)?;
    assert_eq!(render(&study.report()), render(&study.report()));
    Ok(())
}

#[test]
fn a_report_with_nothing_but_a_montage_is_whole() -> Result<(), Box<dyn Error>> {
    let study = Study::new(64, 2, 1, false)?;
    let mut report = study.report();
    report.slices = Default::default();
    (report.compared, report.maps, report.mask) = (Vec::new(), Vec::new(), None);
    (report.curves, report.series, report.steps) = (Vec::new(), Vec::new(), &[]);
    let mut manifest = study.manifest.clone();
    (manifest.losses, manifest.timings) = (Vec::new(), Vec::new());
    (manifest.quality, manifest.checks) = Default::default();
    report.manifest = &manifest;
    let page = render(&report);
    for absent in ["id=\"compare\"", "id=\"maps\"", "id=\"quality\"", "id=\"sampling\"", "id=\"viewer-code\""] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("id=\"montage\"") && !page.contains(">CPU "));
    assert!(render(&study.report()).contains(">CPU "));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn text_of_records_stays_text(text in "(</script>|<script>alert\\(1\\)</script>|<!--|\"|'|&|<img src=x onerror=alert\\(1\\)>|[a-z ]){1,6}", value in prop::num::f64::ANY) {
        let study = STUDY.get_or_init(|| Study::new(64, 2, 1, true).unwrap());
        let scripts = render(&study.report()).matches("<script").count();
        let mut manifest = study.manifest.clone();
        manifest.warnings.push(text.clone());
        manifest.device.clone_from(&text);
        manifest.decisions.push(Decision { what: text.clone(), choice: text.clone(), reason: text.clone() });
        manifest.parameters.insert(text.clone(), text.clone().into());
        manifest.quality.insert(text.clone(), value);
        manifest.checks.push(Check { name: text.clone(), value, limit: value, passed: false, sentence: text.clone() });
        let mut report = study.report();
        report.manifest = &manifest;
        report.slices.labels = vec![text.clone(); 2];
        report.maps[0].name.clone_from(&text);
        report.compared[0].label.clone_from(&text);
        report.series[0].name = text;
        report.series[0].values = vec![value; 3];
        let page = render(&report);
        prop_assert_eq!(page.matches("<script").count(), scripts);
        prop_assert_eq!(page.matches("</script").count(), scripts);
        prop_assert!(!page.contains("<img src=x") && !page.contains(">NaN") && !page.contains(">inf"));
    }
}
