//! The gateway: one REST API for the browser, scripts and the command line.
#![warn(missing_docs)]

pub mod node;

pub use node::{Node, NodeError};
