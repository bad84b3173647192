//! What a node is for, and what a peer may ask of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a node does in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Commands others, runs no miner.
    Controller,
    /// Both.
    #[default]
    Dual,
    /// Runs mining programs, commands nobody.
    Worker,
}

impl Role {
    /// Whether the node runs mining programs.
    #[must_use]
    pub const fn mines(self) -> bool {
        matches!(self, Self::Dual | Self::Worker)
    }

    /// Whether the node may command others.
    #[must_use]
    pub const fn commands(self) -> bool {
        matches!(self, Self::Controller | Self::Dual)
    }
}

/// What a registered peer may ask of this node. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Nothing but Ping.
    #[default]
    None,
    /// Read: statistics, logs, profiles.
    View,
    /// Act: start, stop, deploy.
    Control,
}

/// A word that is not one of the expected ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {expected}")]
pub struct UnknownWord {
    found: String,
    expected: &'static str,
}

macro_rules! words {
    ($type:ident, $expected:literal, $($variant:ident = $word:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
        impl FromStr for $type {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { found: text.chars().take(32).collect(), expected: $expected }),
                }
            }
        }
    };
}

words!(Role, "controller, dual, worker", Controller = "controller", Dual = "dual", Worker = "worker");
words!(Permission, "none, view, control", None = "none", View = "view", Control = "control");

impl Permission {
    /// What a new peer is granted when nobody says otherwise.
    ///
    /// A worker commands nobody. A controller that the operator paired commands. Between two dual nodes the one
    /// that was added (its operator gave the code or approved) is commanded by the one that added it, and not the
    /// other way round; a worker that adds a dual node is looking for its controller.
    #[must_use]
    pub const fn by_default(own: Role, other: Role, other_added_us: bool) -> Self {
        match (own, other) {
            (_, Role::Worker) => Self::None,
            (_, Role::Controller) | (Role::Worker, Role::Dual) => Self::Control,
            (_, Role::Dual) if other_added_us => Self::Control,
            (_, Role::Dual) => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_never_granted_anything_by_default() {
        for own in [Role::Controller, Role::Dual, Role::Worker] {
            for added in [false, true] {
                assert_eq!(Permission::by_default(own, Role::Worker, added), Permission::None);
            }
        }
    }

    #[test]
    fn between_two_dual_nodes_the_adder_commands() {
        assert_eq!(Permission::by_default(Role::Dual, Role::Dual, true), Permission::Control);
        assert_eq!(Permission::by_default(Role::Dual, Role::Dual, false), Permission::None);
    }
}
