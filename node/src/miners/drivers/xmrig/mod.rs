//! XMRig (6.x): one generated configuration file per instance, read back through its HTTP API.
//!
//! XMRig merges its sources per top-level key, the last source winning whole; an option after `-c` throws away its
//! whole section of the file. So everything goes into the file, extra arguments are translated into its keys, and
//! the command line is `-c FILE` alone, which also keeps wallet and token out of the process list.

mod algorithms;
mod api;
mod arguments;
mod config;
mod driver;
mod summary;

pub(in crate::miners) use algorithms::{algorithm, is_coin, suggest};
pub(in crate::miners) use arguments::take;
pub(super) use driver::Xmrig;
