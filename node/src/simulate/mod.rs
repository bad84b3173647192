//! What is not there: stand-ins for a mining program and a pool, and whole fleets of rigs.
//!
//! `miner-ctrl simulate xmrig|tt-miner [ARGUMENTS OF THE REAL ONE]` runs the stand-in as a real process. It has the real
//! programs' API, console lines, signals and exit codes, hashes nothing and connects to nobody. Faults come on cue (see
//! `cues`). The drivers cannot tell it from the real thing, which is its point; nothing of `miners` may be used here, or
//! both could agree on the same error.
//!
//! `miner-ctrl simulate fleet` runs thousands of rigs in one process (see `fleet`): real nodes of the mesh whose miners
//! are numbers.

mod console;
mod cues;
pub mod fleet;
mod pool;
mod run;
mod tt_miner;
mod world;
mod xmrig;

pub use pool::{job, pool};
pub use run::run;
pub use xmrig::ALGORITHMS;
