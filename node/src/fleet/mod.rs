//! What we know of others: who is registered, how they behave, who may join.
//!
//! ```text
//!   registry     who: names and ids are unique; resolve: whom people mean        reputation   how well they answer
//!   admission    who may join: pairing code, requests that wait, refused keys    snapshot     what readers see
//!   task         owns the three, writes the registry to the store, publishes snapshots; `FleetHandle` is its door
//! ```
//!
//! All but the task is pure: `now` is an argument. What may not enter: libp2p, and SQL (the rows are the store's).
//! What a person decided (who is registered, under which name, with which permission) is on the disk before the call
//! returns, and only then in the snapshot; what merely happened (scores, last seen) is written now and then. The disk may
//! stall: whoever decided waits for it, and nobody else does.

pub mod admission;
mod enrol;
mod handle;
mod mailbox;
pub mod registry;
pub mod reputation;
mod resolve;
mod rows;
pub mod snapshot;
mod task;
mod words;

pub use admission::{AdmissionRefusal, Code, Knock, PairingMode, PendingRequest, Stranger};
pub use enrol::enrol;
pub use handle::{FleetError, FleetHandle, Observation};
pub use registry::{NewPeer, Peer};
pub(crate) use resolve::begins;
pub use snapshot::{FleetSnapshot, PeerSnapshot};
pub use task::{FleetSettings, spawn};
pub use words::Words;
