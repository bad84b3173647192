//! One file or folder per mining program. A new one is a line here, a line in `all`, and nothing else.
//!
//! What may not enter: processes, clocks of the supervisor, other programs' words.

mod all;
mod tt_miner;
mod xmrig;

pub use all::{checked, driver};
pub(super) use xmrig::{
    algorithm as xmrig_algorithm, is_coin as is_xmrig_coin, suggest as suggest_xmrig_algorithm,
    take as take_xmrig_arguments,
};
