//! Names that people give: parsed once, valid ever after.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name, in characters. One DNS label, so that a name can be a host name too.
pub const MAX_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character outside letters, digits, `-`, `_` and `.`.
    #[error("`{0}` is not allowed in a name: use letters, digits, `-`, `_` and `.`")]
    Character(char),
    /// Nothing there.
    #[error("a name is empty")]
    Empty,
    /// A node name of 16 hexadecimal digits could be taken for a node id.
    #[error("a name of 16 hexadecimal digits looks like a node id: choose another")]
    LooksLikeId,
    /// `pending` is what the API calls those that wait to become peers.
    #[error("the name `pending` is taken by the program: choose another")]
    Reserved,
    /// A name begins with a letter or a digit, so that it is never taken for an option or a hidden file.
    #[error("a name starts with a letter or a digit")]
    Start,
    /// More than [`MAX_NAME`] characters.
    #[error("a name has at most {MAX_NAME} characters, this one has {0}")]
    TooLong(usize),
}

fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(NameError::Character(bad));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.len()));
    }
    Ok(())
}

fn check_node(text: &str) -> Result<(), NameError> {
    check(text)?;
    if text == "pending" {
        return Err(NameError::Reserved);
    }
    if text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(NameError::LooksLikeId);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// What the operator calls a node, e.g. `rig-alpha`.
    NodeName,
    check_node
);
name!(
    /// What the operator calls a profile, e.g. `monero-main`. Also its file name.
    ProfileName,
    check
);
name!(
    /// One running mining program on a rig, e.g. `xmrig-1`.
    MinerName,
    check
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_host_name_may_be() {
        for good in ["rig-alpha", "a", "0", "Rig_1.barn", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn what_could_be_a_path_an_option_or_markup_is_no_name() {
        for (bad, why) in [
            ("", NameError::Empty),
            ("../x", NameError::Character('/')),
            ("..", NameError::Start),
            (".hidden", NameError::Start),
            ("-o", NameError::Start),
            ("a b", NameError::Character(' ')),
            ("<b>", NameError::Character('<')),
            ("rig\u{e9}", NameError::Character('\u{e9}')),
            ("a\n", NameError::Character('\n')),
        ] {
            assert_eq!(bad.parse::<ProfileName>(), Err(why), "{bad:?}");
        }
        assert_eq!("x".repeat(64).parse::<NodeName>(), Err(NameError::TooLong(64)));
    }

    #[test]
    fn a_node_name_is_never_mistaken_for_an_id() {
        assert_eq!("0123456789abcdef".parse::<NodeName>(), Err(NameError::LooksLikeId));
        assert!("0123456789abcdeg".parse::<NodeName>().is_ok());
    }
}
