//! Enums that people write and read as words.

/// Gives an enum its words: `as_str`, `Display`, and `FromStr`, which refuses others and says which there are. The refusal
/// is that sentence, without a subject, or what a function makes of the refused word and it.
#[macro_export]
macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+) => {
        $crate::words!(@shown $type: $($variant = $word),+);

        impl ::std::str::FromStr for $type {
            type Err = &'static str;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::spelled(word)
            }
        }
    };
    ($type:ident: $($variant:ident = $word:literal),+; $refused:path as $error:ty) => {
        $crate::words!(@shown $type: $($variant = $word),+);

        impl ::std::str::FromStr for $type {
            type Err = $error;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::spelled(word).map_err(|why| $refused(word, why))
            }
        }
    };
    (@shown $type:ident: $first:ident = $word:literal $(, $variant:ident = $other:literal)*) => {
        impl $type {
            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $word,
                    $(Self::$variant => $other,)*
                }
            }

            fn spelled(word: &str) -> Result<Self, &'static str> {
                match word {
                    $word => Ok(Self::$first),
                    $($other => Ok(Self::$variant),)*
                    _ => Err(concat!("is not one of ", $word $(, ", ", $other)*)),
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
