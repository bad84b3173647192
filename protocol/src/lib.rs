//! What miner-ctrl nodes say to each other.
//!
//! ```text
//!   name, id, role          who: parsed once, valid ever after
//!   profile, policy, stats  what: the operator's words, with units in the types
//!   history                 what a rig recorded over time
//!   number                  fractions, as others may write them
//!   text                    foreign text, fit to be shown
//!   spelling                enums that people write and read as words
//!   pair                    how two strangers become peers
//!   message                 the whole conversation: Request, Response, Refusal
//!   codec                   CBOR under a byte limit (the only room that touches cbor4ii)
//!   smsg                    sealed, signed, once (the only room that touches ciphers)
//! ```
//!
//! This crate is pure: no IO, no clock, no async, no libp2p. Random numbers and time are arguments.
#![warn(missing_docs)]

pub mod codec;
pub mod history;
pub mod id;
pub mod message;
pub mod name;
mod number;
pub mod pair;
pub mod policy;
pub mod profile;
pub mod role;
pub mod smsg;
mod spelling;
pub mod stats;
pub mod text;

pub use history::Measure;
pub use id::{NodeId, PeerKey};
pub use message::{Refusal, Request, Response};
pub use name::{MinerName, NodeName, ProfileName};
pub use policy::Policy;
pub use profile::{Profile, ProfileDraft, Program};
pub use role::{Admitted, Permission, Role};
pub use stats::{Hashrate, MinerState, MinerStatus, RigStats, Shares};

/// libp2p protocol of the link between registered peers.
pub const RPC_PROTOCOL: &str = "/miner-ctrl/rpc/1";

/// libp2p protocol of pairing, the only one that strangers may speak.
pub const PAIR_PROTOCOL: &str = "/miner-ctrl/pair/1";

/// libp2p identify's protocol version string.
pub const IDENTIFY_PROTOCOL: &str = "/miner-ctrl/1";

/// Version of the sealed message and of the requests inside it.
pub const VERSION: u8 = 1;
