//! A stand-in mining program, run as a real process: `miner-ctrl simulate xmrig|tt-miner [ARGUMENTS OF THE REAL ONE]`.
//!
//! It has the real programs' API, console lines, signals and exit codes, hashes nothing and connects to nobody. Faults
//! come on cue (see `cues`). The drivers cannot tell it from the real thing, which is its point; nothing of `miners`
//! may be used here, or both could agree on the same error.

mod console;
mod cues;
mod pool;
mod run;
mod tt_miner;
mod world;
mod xmrig;

pub use pool::pool;
pub use run::run;
