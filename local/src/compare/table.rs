//! A comparison as text.

use super::{Comparison, Figures, Row, Section};

const REFERENCE_FREE: &str = "\
Without a reference nothing here measures image quality. A background or a round trip far above that of other methods or scans
tells of noise, aliasing or a fill that failed; low numbers promise nothing, since a smoothed image has them too. The calibration
residual compares scans, not methods: a fit that knows the noise does not follow the strongest lines.";

/// One table for each sampling.
#[must_use]
pub fn text(comparison: &Comparison) -> String {
    let mut parts: Vec<String> =
        comparison.cells.iter().map(|section| section_text(section, comparison.reference)).collect();
    if !comparison.reference {
        parts.push(REFERENCE_FREE.to_owned());
    }
    parts.join("\n\n")
}

/// A column: its heading, and what is in it for a method.
type Column = (&'static str, fn(&Figures) -> Option<String>);

const SCORES: [Column; 3] = [
    ("PSNR dB", |f| f.scores.map(|scores| format!("{:.2}", scores.psnr))),
    ("NRMSE", |f| f.scores.map(|scores| format!("{:.4}", scores.nrmse))),
    ("SSIM", |f| f.scores.map(|scores| format!("{:.4}", scores.ssim))),
];
const SECONDS: [Column; 2] =
    [("CPU s", |f| Some(format!("{:.2}", f.cpu_seconds))), ("wall s", |f| Some(format!("{:.2}", f.wall_seconds)))];
const CALIBRATION: Column = ("calibration", |f| f.calibration_residual.map(|value| format!("{value:.4}")));
const ROUND_TRIP: Column = ("round trip", |f| f.round_trip.map(|trip| format!("{:.4}", trip.mix)));
const NOISE: Column = ("noise", |f| f.noise_level.map(|value| format!("{value:.3e}")));
const NETWORKS: Column = ("networks", |f| f.networks.map(|value| format!("{value:.2}")));
const LOSS: Column = ("loss", |f| f.loss.map(|value| format!("{value:.3e}")));
const FILLED: Column = ("filled", |f| Some(format!("{:.4}", f.filled_energy)));
const BACKGROUND: Column = ("background", |f| f.background.map(|value| format!("{value:.5}")));

fn section_text(section: &Section, reference: bool) -> String {
    let columns = if reference {
        [&SCORES[..], &SECONDS, &[NOISE, NETWORKS, ROUND_TRIP, LOSS]].concat()
    } else {
        [&[CALIBRATION, ROUND_TRIP, NOISE, FILLED, BACKGROUND, NETWORKS, LOSS][..], &SECONDS].concat()
    };
    let heading = format!(
        "R = {}, {} calibration lines, {:.1} % of the lines",
        section.acceleration,
        section.acs,
        100.0 * section.acquired_fraction
    );
    let mut lines = vec![heading];
    lines.extend(aligned(&columns, &section.methods));
    lines.extend(section.methods.iter().flat_map(notes));
    lines.join("\n")
}

/// Headings and rows; a reason takes the place of the figures. Columns that no method fills are left out.
fn aligned(columns: &[Column], rows: &[Row]) -> Vec<String> {
    let cells: Vec<(&'static str, Vec<Option<String>>)> = columns
        .iter()
        .map(|(name, of)| (*name, rows.iter().map(|row| row.figures.as_ref().and_then(of)).collect()))
        .filter(|(_, cells): &(_, Vec<Option<String>>)| cells.iter().any(Option::is_some))
        .collect();
    let names = rows.iter().map(|row| row.method.len()).chain(["method".len()]).max().unwrap_or_default();
    let mut lines = vec![format!("  {:<names$}", "method")];
    lines.extend(rows.iter().map(|row| format!("  {:<names$}", row.method)));
    for (name, cells) in cells {
        let width = cells.iter().flatten().map(String::len).chain([name.len()]).max().unwrap_or_default();
        let texts = std::iter::once(Some(name)).chain(cells.iter().map(|cell| Some(cell.as_deref().unwrap_or("-"))));
        let results = std::iter::once(true).chain(rows.iter().map(|row| row.figures.is_some()));
        for ((line, text), result) in lines.iter_mut().zip(texts.flatten()).zip(results) {
            if result {
                line.push_str(&format!("  {text:>width$}"));
            }
        }
    }
    for (line, row) in lines.iter_mut().skip(1).zip(rows) {
        if let Some(reason) = &row.reason {
            line.push_str(&format!("  {reason}"));
        }
    }
    lines
}

/// What a number in a column cannot say.
fn notes(row: &Row) -> Vec<String> {
    let Some(figures) = &row.figures else { return Vec::new() };
    let mut notes = Vec::new();
    let mut note = |text: String| notes.push(format!("  {}: {text}", row.method));
    if let Some(trip) = figures.round_trip {
        note(format!(
            "acquired outer lines are predicted with a relative error of {:.4} from nwg, {:.4} from the networks, {:.4} from the mix",
            trip.nwg, trip.networks, trip.mix
        ));
    }
    if figures.diverged > 0 {
        note(format!("the networks of {} slices did not converge, nwg filled these", figures.diverged));
    }
    if figures.unrefined > 0 {
        note(format!("{} slices have no sensitivities and are not refined", figures.unrefined));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::{RoundTrip, Scores};
    use super::*;

    fn section() -> Section {
        let nwg = Figures {
            scores: Some(Scores { psnr: 35.211, nrmse: 0.062_57, ssim: 0.916_04 }),
            cpu_seconds: 0.404,
            wall_seconds: 0.213,
            noise_level: Some(5.312e-4),
            calibration_residual: Some(0.123_45),
            filled_energy: 0.05,
            background: Some(0.0131),
            ..Figures::default()
        };
        let auto = Figures {
            scores: Some(Scores { psnr: 36.1, nrmse: 0.0561, ssim: 0.9331 }),
            cpu_seconds: 12.0,
            wall_seconds: 6.5,
            networks: Some(0.4567),
            round_trip: Some(RoundTrip { nwg: 0.31, networks: 0.3, mix: 0.29 }),
            loss: Some(0.000_123),
            unrefined: 1,
            ..nwg.clone()
        };
        let row = |method: &str, figures| Row { method: method.to_owned(), figures, ..Row::default() };
        let refused = Row { reason: Some("found 4 calibration lines".to_owned()), ..row("raki-paper", None) };
        Section {
            acceleration: 4,
            acs: 32,
            acquired_fraction: 0.3929,
            methods: vec![row("nwg", Some(nwg)), refused, row("auto", Some(auto))],
            reference: None,
        }
    }

    #[test]
    fn scores_times_and_reasons_stand_in_columns() {
        let expected = "\
R = 4, 32 calibration lines, 39.3 % of the lines
  method      PSNR dB   NRMSE    SSIM  CPU s  wall s      noise  networks  round trip      loss
  nwg           35.21  0.0626  0.9160   0.40    0.21  5.312e-4         -           -         -
  raki-paper  found 4 calibration lines
  auto          36.10  0.0561  0.9331  12.00    6.50  5.312e-4      0.46      0.2900  1.230e-4
  auto: acquired outer lines are predicted with a relative error of 0.3100 from nwg, 0.3000 from the networks, 0.2900 from the mix
  auto: 1 slices have no sensitivities and are not refined";
        assert_eq!(section_text(&section(), true), expected.replace("      noise", "     noise"));
    }

    #[test]
    fn without_a_reference_other_numbers_are_shown_and_columns_nobody_fills_are_left_out() {
        let mut section = section();
        section.methods.truncate(2);
        let expected = "\
R = 4, 32 calibration lines, 39.3 % of the lines
  method      calibration     noise  filled  background  CPU s  wall s
  nwg              0.1235  5.312e-4  0.0500     0.01310   0.40    0.21
  raki-paper  found 4 calibration lines";
        assert_eq!(section_text(&section, false), expected);
    }
}
