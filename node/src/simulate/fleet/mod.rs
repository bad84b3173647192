//! Thousands of rigs in one process. Each has an identity of its own and its own connection over the real mesh; what it
//! mines with are numbers.
//!
//! ```text
//!   hall    all rigs: brings them up, lets their rates wander, takes some away     key    their identities, from one secret
//!   rig     one of them: what it answers                                           files  room for their connections
//!   miner   its miner: starts, stops, drifts. Pure
//! ```
//!
//! What may not enter: processes, files of rigs, and `miners`.

mod hall;
mod key;
mod miner;
mod rig;

pub use crate::files::{TooFewFiles, make_room};
pub use hall::{Faults, Hall};
pub use key::FleetKey;
