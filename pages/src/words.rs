//! Names and numbers as people read them.

use contract::{Method, Refine, Stage, State};
use jiff::Timestamp;

/// How missing lines were filled, and what followed.
#[must_use]
pub fn method(method: Method, refine: Refine) -> String {
    let name = match method {
        Method::Auto => "RAKI + nwG",
        Method::Raki => "RAKI",
        Method::RakiPaper => "RAKI as published",
        Method::Nwg => "nwG",
        Method::Grappa => "GRAPPA",
        Method::ZeroFilled => "zero-filled",
    };
    match refine {
        Refine::None => name.to_owned(),
        Refine::Sparse => format!("{name}, sparse"),
    }
}

/// What a stage does, for a person who waits.
#[must_use]
pub const fn state(stage: Stage, state: State) -> &'static str {
    match (state, stage) {
        (State::Superseded, _) => "Superseded",
        (State::Quarantined, _) => "Refused",
        (State::Failed, _) => "Failed",
        (State::Retrying, _) => "Trying again",
        (State::HandedOver, _) => "Unpacking, large",
        (State::Done, Stage::Reconstruct | Stage::Refresh) | (State::Started, Stage::Refresh) => "Done",
        (State::Done, Stage::Decompress) => "Prepared",
        (State::Done, Stage::Submit) => "Queued",
        (State::Started, Stage::Decompress) => "Unpacking",
        (State::Started, Stage::Submit) => "Handing over",
        (State::Started, Stage::Reconstruct) => "Reconstructing",
    }
}

/// A number with about three significant digits, without an exponent where it is of everyday size.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e7).contains(&size) {
        format!("{value:.2e}").replace('-', "\u{2212}")
    } else {
        let digits = (2 - size.log10().floor() as i32).clamp(0, 7);
        let text = format!("{value:.*}", digits as usize);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        text.replace('-', "\u{2212}")
    }
}

/// A share as a percentage.
#[must_use]
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{}\u{a0}%", number(share * 100.0)) } else { number(share) }
}

/// Seconds as people say them.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value.is_finite() && value >= 120.0 {
        let whole = value.round();
        format!("{} min {} s", (whole / 60.0).floor(), whole % 60.0)
    } else if value.is_finite() && value < 0.01 {
        "< 0.01 s".to_owned()
    } else {
        format!("{} s", number(value))
    }
}

/// A length of a file.
#[must_use]
pub fn bytes(length: u64) -> String {
    let length = length as f64;
    [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
        .iter()
        .find(|(unit, _)| length >= *unit)
        .map_or_else(|| format!("{length} B"), |(unit, name)| format!("{} {name}", number(length / unit)))
}

/// A time to the minute, UTC.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A name of a program as words: `learning_rate` → `Learning rate`.
#[must_use]
pub fn plain(name: &str) -> String {
    capital(&name.replace(['_', '-'], " "))
}

/// The same text with a capital letter at its front, unless its first word is a name such as `nwG`.
#[must_use]
pub fn capital(text: &str) -> String {
    let first = text.split_whitespace().next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(letter) if !first.chars().any(char::is_uppercase) => letter.to_uppercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

/// A message as a sentence: with a capital letter and a full stop.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = capital(text.trim());
    if text.is_empty() || text.ends_with(['.', '!', '?', '…']) { text } else { format!("{text}.") }
}

/// Quality numbers that are shares of something.
const SHARES: [&str; 8] = [
    "without_object",
    "acquired_fraction",
    "calibration_residual",
    "filled_energy",
    "ghosting",
    "grappa_difference",
    "networks",
    "round_trip",
];

/// A quality number of the manifest.
#[must_use]
pub fn quality(name: &str, value: f64) -> String {
    if SHARES.contains(&name) { percent(value) } else { number(value) }
}

/// What a quality number of the manifest is called.
#[must_use]
pub fn quantity(name: &str) -> String {
    match name {
        "snr" => "SNR".to_owned(),
        "snr_after" => "SNR after refinement".to_owned(),
        "noise_before" => "Noise of the linear image".to_owned(),
        "noise_after" => "Noise around the object".to_owned(),
        "g_factor_95" => "g-factor, 95th percentile".to_owned(),
        "grappa_difference" => "Difference from GRAPPA".to_owned(),
        "without_object" => "Slices without an object".to_owned(),
        "worst_ghosting" => "Ghosting of the worst slice".to_owned(),
        "replaced_entries" => "Entries done in another way".to_owned(),
        "g_factor" => "g-factor".to_owned(),
        "calibration_residual" => "Residual on calibration lines".to_owned(),
        "noise_level" => "Noise level".to_owned(),
        "networks" => "Share of the networks".to_owned(),
        "round_trip" => "Error of the round trip".to_owned(),
        "filled_energy" => "Energy in filled lines".to_owned(),
        "acquired_fraction" => "Acquired lines".to_owned(),
        name => plain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (4.0, "4"),
            (0.0625, "0.0625"),
            (12.5, "12.5"),
            (-1.234_56, "\u{2212}1.23"),
            (1536.0, "1536"),
            (0.000_012_34, "1.23e\u{2212}5"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(percent(0.0625), "6.25\u{a0}%");
        assert_eq!(seconds(0.001), "< 0.01 s");
        assert_eq!(seconds(125.2), "2 min 5 s");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_048_576), "1.05 MB");
    }
}
