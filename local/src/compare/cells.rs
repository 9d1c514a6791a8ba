//! What is compared: samplings and methods, as a person writes them.

use std::fmt;
use std::str::FromStr;

use contract::names::UnknownName;
use contract::prepared::Sampling;
use contract::{Method, Refine};
use kspace::undersample;

use crate::Error;

/// A way to undersample: every R-th line and a block of calibration lines. Written `4/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Distance R of the lines that are kept.
    pub acceleration: usize,
    /// Lines of the block at the centre that are kept as well.
    pub acs: usize,
}

impl Default for Cell {
    fn default() -> Self {
        Self { acceleration: 4, acs: 32 }
    }
}

impl Cell {
    /// The kept ones of `lines` lines, and their sampling.
    ///
    /// # Errors
    /// [`Error::Usage`] when so many lines are kept that no grid is left.
    pub fn sample(self, lines: usize) -> Result<(Vec<bool>, Sampling), Error> {
        undersample::sample(lines, self.acceleration, self.acs).map_err(|error| Error::Usage(error.to_string()))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.acceleration, self.acs)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(r, acs)| Some((r.parse().ok()?, acs.parse().ok()?)));
        match numbers {
            Some((acceleration, acs)) if acceleration >= 2 => Ok(Self { acceleration, acs }),
            Some((acceleration, _)) => Err(format!(
                "found acceleration {acceleration} in {text:?}: nothing is missing below 2, give 2 or more"
            )),
            None => {
                Err(format!("found {text:?}, expected acceleration and calibration lines with a slash, such as 4/32"))
            }
        }
    }
}

/// A method and what follows it. Written as the method, with `+sparse` or `+none` where that is not what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// What fills.
    pub method: Method,
    /// What follows.
    pub refine: Refine,
}

impl Choice {
    /// Every method as it is, and `nwg` refined, which tells what the networks of `auto` add.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let [auto, raki, paper, nwg, grappa, zero_filled] = Method::ALL.map(Self::from);
        let refined = Self { refine: Refine::Sparse, ..nwg };
        vec![zero_filled, grappa, paper, nwg, raki, refined, auto]
    }
}

impl From<Method> for Choice {
    fn from(method: Method) -> Self {
        Self { method, refine: method.refinement() }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refine == self.method.refinement() {
            true => write!(f, "{}", self.method),
            false => write!(f, "{}+{}", self.method, self.refine),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let said = |error: UnknownName| error.to_string();
        match text.split_once('+') {
            Some((method, refine)) => {
                Ok(Self { method: method.parse().map_err(said)?, refine: refine.parse().map_err(said)? })
            }
            None => Ok(text.parse::<Method>().map_err(said)?.into()),
        }
    }
}

/// Which slices of a file are compared. Written as a number from 0 on, or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slices {
    /// The one in the middle.
    #[default]
    Middle,
    /// One, in the order of the prepared file.
    One(usize),
    /// All; figures are means over them.
    All,
}

impl FromStr for Slices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(number)) => Ok(Self::One(number)),
            _ => Err(format!("found {text:?}, expected the number of a slice, from 0 on, or all")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cells_parse_back(acceleration in 2usize..40, acs in 0usize..400) {
            let cell = Cell { acceleration, acs };
            prop_assert_eq!(cell.to_string().parse(), Ok(cell));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,12}") {
            let _ = (text.parse::<Cell>(), text.parse::<Choice>(), text.parse::<Slices>());
        }
    }

    #[test]
    fn what_is_not_a_cell_is_told_how_one_looks() {
        for text in ["4", "4/", "/32", "4/32/1", "4x32", "-4/32", ""] {
            let message = text.parse::<Cell>().unwrap_err();
            assert!(message.contains(&format!("{text:?}")) && message.contains("such as 4/32"), "{message}");
        }
        assert!("1/32".parse::<Cell>().unwrap_err().contains("give 2 or more"));
    }

    #[test]
    fn choices_parse_back_and_name_a_refinement_only_where_it_is_not_the_usual_one() {
        for method in Method::ALL {
            for refine in Refine::ALL {
                let choice = Choice { method, refine };
                assert_eq!(choice.to_string().parse(), Ok(choice));
            }
        }
        assert_eq!(Choice { method: Method::Nwg, refine: Refine::Sparse }.to_string(), "nwg+sparse");
        assert_eq!(Choice { method: Method::Auto, refine: Refine::Sparse }.to_string(), "auto");
        assert_eq!("auto+none".parse(), Ok(Choice { method: Method::Auto, refine: Refine::None }));
        let message = "nwg+soft".parse::<Choice>().unwrap_err();
        assert!(message.contains("\"soft\"") && message.contains("sparse"), "{message}");
        assert!("magic".parse::<Choice>().unwrap_err().contains("grappa"));
    }

    #[test]
    fn the_default_list_has_every_method_once_and_nwg_refined() {
        let choices = Choice::defaults();
        assert!(Method::ALL.iter().all(|method| choices.contains(&(*method).into())));
        assert!(choices.contains(&Choice { method: Method::Nwg, refine: Refine::Sparse }));
        assert_eq!(choices.len(), Method::ALL.len() + 1);
    }

    #[test]
    fn slices_are_a_number_or_all() {
        assert_eq!(("3".parse(), "all".parse()), (Ok(Slices::One(3)), Ok(Slices::All)));
        assert!("some".parse::<Slices>().unwrap_err().contains("or all"));
    }
}
