//! One file or folder per mining program. A new one is a line here, a line in `all`, and nothing else.
//!
//! What may not enter: processes, clocks of the supervisor, other programs' words.

mod all;
mod tt_miner;
mod xmrig;

pub use all::driver;
pub(super) use xmrig::is_algorithm as is_xmrig_algorithm;
pub(super) use xmrig::is_coin as is_xmrig_coin;
