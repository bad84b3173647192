//! How two strangers become peers: the only conversation that a stranger may have.
//!
//! ```text
//!   adder ── Knock { by code: SPAKE2 message } ─► shower         adder ── Knock { by approval } ─► asked
//!   adder ◄─ Code { SPAKE2 message } ─────────── shower          adder ◄─ Pending | Paired | Refused
//!   adder ── Confirm { mac } ──────────────────► shower          (asks again every few seconds)
//!   adder ◄─ Paired { name, role, mac } | Refused
//! ```
//!
//! The adder confirms first: a shower that does not know the code learns nothing from the adder's message, and an
//! adder that does not know it is found out before the shower's confirmation leaves. Both keys are bound into the
//! exchange, so a node in between gets one guess.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::name::NodeName;
use crate::role::Role;

/// Largest pairing message, bytes.
pub const MAX_PAIR_MESSAGE: usize = 2048;

/// The adder's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Versions of pairing that the adder understands.
    pub versions: Vec<u8>,
    /// What its operator calls it.
    pub name: NodeName,
    /// What it is for.
    pub role: Role,
    /// By which door.
    pub door: Door,
}

/// How the adder wants to be admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// By the other side's operator, who compares the words.
    Approval,
    /// By the code that the other side shows.
    Code {
        /// SPAKE2 message.
        message: ByteBuf,
    },
}

/// The adder's proof that it knows the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Over the whole exchange.
    pub mac: ByteBuf,
}

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Its SPAKE2 message; the adder confirms next.
    Code {
        /// SPAKE2 message.
        message: ByteBuf,
    },
    /// Both are peers now.
    Paired {
        /// What its operator calls it.
        name: NodeName,
        /// What it is for.
        role: Role,
        /// Its proof that it knows the code, when that was the door.
        mac: Option<ByteBuf>,
        /// As in its Hello.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<u64>,
    },
    /// Its operator has been asked; ask again.
    Pending,
    /// No.
    Refused(PairRefusal),
}

/// Why pairing did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PairRefusal {
    /// Too many wait for approval already.
    #[error("too many nodes ask there at once")]
    Busy,
    /// Its operator said no.
    #[error("its operator denied it")]
    Denied,
    /// Something broke there.
    #[error("something broke there; its log has the cause")]
    Internal,
    /// It shows no code, or the one it showed was used, was burned by three wrong tries, or is too old.
    #[error("it shows no code, or the code was used, burned or is too old")]
    NoCode,
    /// It does not pair, or not in this way.
    #[error("it does not pair in this way")]
    Off,
    /// No common version.
    #[error("it speaks another version of pairing")]
    Version,
    /// Another code than the one it shows.
    #[error("the code is wrong")]
    WrongCode,
}
