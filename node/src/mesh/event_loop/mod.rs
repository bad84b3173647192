//! The task that owns the swarm.
//!
//! ```text
//!   swarm     the loop: whom to dial, what became of a connection
//!   links     one for each peer at last, whoever dialled
//!   pairings  what we ask of others, and what we serve
//! ```

mod links;
mod pairings;
mod swarm;

pub use swarm::{MeshConfig, StartError, start};
