//! What of a method can be chosen besides its name.

use clap::Args;
use contract::Method;
use kspace::numerics::grappa::Ridge;

use crate::engine::Recipe;
use crate::error::JobError;

/// Choices within a method; `None` for what goes with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Args)]
pub struct Tuning {
    /// Slices that follow each other and share the networks of the middle one [default: 3 for auto, else 1].
    #[arg(long, value_name = "SLICES", value_parser = clap::value_parser!(u16).range(1..))]
    pub slab: Option<u16>,
    /// Steps of training in which the other slices of a slab adapt these networks [default: 100 for auto, else 0].
    #[arg(long, value_name = "STEPS")]
    pub warm: Option<u16>,
    /// Sets of networks, each from initial weights of its own, whose predictions are averaged, up to 16 [default: 1].
    #[arg(long, value_name = "SETS")]
    pub ensemble: Option<u16>,
    /// Ridge of GRAPPA: noise for the one that the noise in the data asks for, or a factor of the root mean square
    /// of the eigenvalues of the normal matrix [default: noise].
    #[arg(long, value_name = "noise|FACTOR")]
    pub ridge: Option<Ridge>,
}

impl Tuning {
    /// The recipe with these choices.
    ///
    /// # Errors
    /// [`JobError::Usage`] for a choice that the method does not have.
    pub fn of(self, recipe: Recipe) -> Result<Recipe, JobError> {
        let networks = [("slab", self.slab), ("warm", self.warm), ("ensemble", self.ensemble)];
        let foreign = match networks.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) if !recipe.trains() => Some((*name, "auto, raki and raki-paper")),
            _ if self.ridge.is_some() && recipe.method != Method::Grappa => Some(("ridge", "grappa")),
            _ => None,
        };
        if let Some((name, methods)) = foreign {
            return Err(JobError::Usage(format!(
                "found --{name} with the method {}, expected it with {methods}: leave it out or choose another method",
                recipe.method
            )));
        }
        let mut recipe = recipe;
        let counts = [
            (&mut recipe.slab, self.slab),
            (&mut recipe.warm, self.warm),
            (&mut recipe.training.ensemble, self.ensemble),
        ];
        for (to, value) in counts {
            *to = value.map_or(*to, usize::from);
        }
        recipe.grappa.ridge = self.ridge.unwrap_or(recipe.grappa.ridge);
        recipe.training.check()?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_take_the_place_of_what_goes_with_a_method() {
        let recipe = |method| Recipe::new(method, None, 0);
        for method in Method::ALL {
            assert_eq!(Tuning::default().of(recipe(method)).unwrap(), recipe(method));
        }
        let auto =
            Tuning { slab: Some(5), warm: Some(0), ensemble: Some(4), ridge: None }.of(recipe(Method::Auto)).unwrap();
        assert_eq!((auto.slab, auto.warm, auto.training.ensemble), (5, 0, 4));
        let grappa = Tuning { ridge: Some(Ridge::Relative(0.01)), ..Tuning::default() };
        assert_eq!(grappa.of(recipe(Method::Grappa)).unwrap().grappa.ridge, Ridge::Relative(0.01));
    }

    #[test]
    fn choices_of_other_methods_are_refused() {
        let refused = |method, tuning: Tuning| tuning.of(Recipe::new(method, None, 0)).unwrap_err().to_string();
        let sets = Tuning { ensemble: Some(2), ..Tuning::default() };
        let message = refused(Method::Nwg, sets);
        assert!(message.contains("--ensemble with the method nwg") && message.contains("raki-paper"), "{message}");
        let ridge = Tuning { ridge: Some(Ridge::Noise), ..Tuning::default() };
        assert!(refused(Method::Auto, ridge).contains("expected it with grappa"));
        let many = Tuning { ensemble: Some(17), ..Tuning::default() };
        assert!(refused(Method::Raki, many).contains("1 to 16"));
    }
}
