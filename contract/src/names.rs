//! Choices that have a name each, on command lines, in templates and in records.

use std::fmt;

/// A name that is not one of the accepted ones.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} {found:?}: expected one of {expected}")]
pub struct UnknownName {
    what: &'static str,
    found: String,
    expected: String,
}

pub(crate) fn by_name<T: Copy + fmt::Display>(what: &'static str, text: &str, all: &[T]) -> Result<T, UnknownName> {
    all.iter().copied().find(|known| known.to_string() == text).ok_or_else(|| UnknownName {
        what,
        found: text.to_owned(),
        expected: all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })
}

/// An enum whose values have one name each: that of its records, of [`Display`](fmt::Display) and of
/// [`FromStr`](std::str::FromStr), which refuses others with the choices. The text after the enum's name says what it is in that sentence.
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $type:ident: $what:literal {
            $($(#[$of_value:meta])* $value:ident = $name:literal),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$of_value])* #[serde(rename = $name)] $value),+
        }

        impl $type {
            /// Every choice.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$value),+];

            /// The name used on command lines and in records.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::names::by_name($what, text, &Self::ALL)
            }
        }
    };
}

pub(crate) use named;
