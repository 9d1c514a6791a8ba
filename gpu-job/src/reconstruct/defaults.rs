//! Why the defaults are what they are, for the manifest.

use contract::manifest::Decision;
use contract::{Method, Refine};

use crate::engine::Recipe;

/// Mean PSNR of the images of a method, dB, without and with a refinement: eight samplings of an in vivo brain (8 coils, R = 2 to 6), see
/// docs/quality.md, where each is one of the table's last row.
const NWG: (f64, f64) = (35.46, 36.44);
const RAKI: (f64, f64) = (35.64, 36.49);
const AUTO: f64 = 36.47;
/// The better of two strengths of BART's L1-ESPIRiT in the mean.
const BART: f64 = 35.88;
/// Mean PSNR, dB, of the slices of a synthetic study with networks of their own and with shared ones, from the same document.
const SHARING: (f64, f64) = (40.43, 40.43);

/// What is as it is by default, and why the default is that; a refinement that is not was asked for. `neighbours` says whether slices follow each other
/// that can share networks.
pub(super) fn decisions(recipe: &Recipe, neighbours: bool) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut decide = |what: &str, choice: String, reason: String| {
        decisions.push(Decision { what: what.to_owned(), choice, reason });
    };
    if recipe.method == Method::Auto {
        let figures = match recipe.refine {
            Refine::Sparse => format!(
                "refined, within 0.1 dB of the better one in each of eight samplings of an in vivo brain, {AUTO:.2} dB in their mean where nwg has \
                 {:.2}, raki {:.2} and BART's L1-ESPIRiT {BART:.2}",
                NWG.1, RAKI.1
            ),
            Refine::None => format!(
                "which in the mean over eight samplings of an in vivo brain have {:.2} and {:.2} dB; which is better differs from scan to scan",
                NWG.0, RAKI.0
            ),
        };
        decide("method", recipe.method.to_string(), format!("the default, a mix of nwg and raki: {figures}"));
    }
    let reason = match (recipe.method, recipe.refine == recipe.method.refinement()) {
        (_, false) => "asked for".to_owned(),
        (Method::Auto, true) => format!(
            "the default of auto: it takes nwg from {:.2} to {:.2} dB and raki from {:.2} to {:.2} dB in the mean over eight samplings of an in \
             vivo brain",
            NWG.0, NWG.1, RAKI.0, RAKI.1
        ),
        (_, true) => "a method asked for by its name is that method and nothing more".to_owned(),
    };
    decide("refinement", recipe.refine.to_string(), reason);
    let shared = Recipe::new(recipe.method, Some(recipe.refine), recipe.training.seed);
    if neighbours && (recipe.slab, recipe.warm) == (shared.slab, shared.warm) && recipe.slab > 1 {
        decide(
            "slices that share networks",
            format!("{}, adapted in {} steps", recipe.slab, recipe.warm),
            format!(
                "the default of {}: a synthetic study has {:.2} dB with it and {:.2} dB with networks of each slice, for less time",
                recipe.method, SHARING.1, SHARING.0
            ),
        );
    }
    decisions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(recipe: &Recipe, what: &str) -> Option<(String, String)> {
        let decision = decisions(recipe, true).into_iter().find(|decision| decision.what == what)?;
        Some((decision.choice, decision.reason))
    }

    #[test]
    fn figures_are_those_of_the_document() {
        let document = include_str!("../../../docs/quality.md");
        let rows =
            |start: &str| document.lines().filter(|line| line.starts_with(start)).map(columns).collect::<Vec<_>>();
        let means = &rows("| mean |")[0];
        assert_eq!([means[3], means[5]], [NWG.0, NWG.1]);
        assert_eq!([means[4], means[6]], [RAKI.0, RAKI.1]);
        assert_eq!(means[7], AUTO);
        assert_eq!(means[10].max(means[11]), BART);
        assert_eq!([rows("| `auto` | 1 |")[0][2], rows("| `auto` | 3 |")[0][2]], [SHARING.0, SHARING.1]);
    }

    /// Numbers of a row after its name; others are no number.
    fn columns(row: &str) -> Vec<f64> {
        let cells = row.trim_matches('|').split('|').skip(1);
        cells.map(|cell| cell.trim().trim_matches('*').parse().unwrap_or(f64::NAN)).collect()
    }

    #[test]
    fn defaults_have_their_figures_and_others_were_asked_for() {
        let recipe = |method, refine| Recipe::new(method, refine, 0);
        let auto = recipe(Method::Auto, None);
        let (choice, reason) = found(&auto, "method").unwrap();
        assert!(choice == "auto" && reason.contains("36.47"), "{choice}: {reason}");
        let (_, plain) = found(&recipe(Method::Auto, Some(Refine::None)), "method").unwrap();
        assert!(plain.contains("35.46") && !plain.contains("36.47"), "{plain}");
        assert!(found(&auto, "refinement").unwrap().1.contains("36.44"));
        assert_eq!(found(&auto, "slices that share networks").unwrap().0, "3, adapted in 100 steps");
        assert_eq!(found(&Recipe { slab: 5, ..auto }, "slices that share networks"), None);
        let asked = |refine: &str, reason: &str| Some((refine.to_owned(), reason.to_owned()));
        assert_eq!(found(&recipe(Method::Auto, Some(Refine::None)), "refinement"), asked("none", "asked for"));
        assert_eq!(found(&recipe(Method::Nwg, Some(Refine::Sparse)), "refinement"), asked("sparse", "asked for"));
        let (choice, reason) = found(&recipe(Method::Raki, None), "refinement").unwrap();
        assert!(choice == "none" && reason.contains("by its name"), "{choice}: {reason}");
        assert_eq!(found(&recipe(Method::Raki, None), "method"), None);
    }
}
