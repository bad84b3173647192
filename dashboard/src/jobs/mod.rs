//! One command to many rigs, carried out by the node: whoever began it may go away, and finds each rig's result later.
//!
//! `job` is one job and what its rigs came to; `board` keeps the last of them; `run` carries one out. Kept in memory: a
//! restart of the node forgets results, and the log of activities keeps them.

mod board;
mod job;
mod run;

pub(crate) use board::{JobPage, Jobs};
pub(crate) use job::{JobChange, NewJob, Order, RigLine, Verb};
pub use job::{JobSummary, JobView};
