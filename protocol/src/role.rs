//! What a node is for, and what a peer may ask of it.

use serde::{Deserialize, Serialize};

use crate::words;

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
#[error("`{found}` {why}")]
pub struct UnknownWord {
    found: String,
    why: &'static str,
}

impl UnknownWord {
    fn new(found: &str, why: &'static str) -> Self {
        Self { found: found.chars().take(32).collect(), why }
    }
}

words!(Role: Controller = "controller", Dual = "dual", Worker = "worker"; UnknownWord::new as UnknownWord);
words!(Permission: None = "none", View = "view", Control = "control"; UnknownWord::new as UnknownWord);

impl Permission {
    /// What a new peer is granted when nobody says otherwise.
    ///
    /// A worker commands nobody. Whom our operator let in, by giving the code or by approving it, commands, if it is
    /// one that commands. Whom we added does not: its role is its own word, and a rig that calls itself a controller
    /// would command the one that added it. Except that a worker that adds a node is looking for its controller; then
    /// the node must have proven that it is the one that was meant, by the code or by its peer id in the address.
    #[must_use]
    pub const fn by_default(own: Role, other: Role, how: Admitted) -> Self {
        match (own, other, how) {
            (_, Role::Worker, _) | (_, _, Admitted::ByUs) => Self::None,
            (_, _, Admitted::ByThem) | (Role::Worker, _, Admitted::ByUsWithProof) => Self::Control,
            (_, _, Admitted::ByUsWithProof) => Self::None,
        }
    }
}

/// How a peer came to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// It added us: our operator gave it the code, or approved it.
    ByThem,
    /// We added it, and its operator approved us; who answered at the address is its own word.
    ByUs,
    /// We added it, and it proved that it knows the code, or has the key that the address names.
    ByUsWithProof,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 3] = [Role::Controller, Role::Dual, Role::Worker];

    #[test]
    fn a_worker_is_never_granted_anything_by_default() {
        for own in ROLES {
            for how in [Admitted::ByThem, Admitted::ByUs, Admitted::ByUsWithProof] {
                assert_eq!(Permission::by_default(own, Role::Worker, how), Permission::None);
            }
        }
    }

    #[test]
    fn whom_our_operator_let_in_commands() {
        for own in ROLES {
            assert_eq!(Permission::by_default(own, Role::Controller, Admitted::ByThem), Permission::Control);
        }
    }

    #[test]
    fn what_a_node_that_we_added_calls_itself_grants_it_nothing() {
        for own in ROLES {
            for other in ROLES {
                assert_eq!(Permission::by_default(own, other, Admitted::ByUs), Permission::None);
            }
        }
        assert_eq!(Permission::by_default(Role::Dual, Role::Controller, Admitted::ByUsWithProof), Permission::None);
    }

    #[test]
    fn a_worker_finds_its_controller_by_proof() {
        assert_eq!(Permission::by_default(Role::Worker, Role::Dual, Admitted::ByUsWithProof), Permission::Control);
    }
}
