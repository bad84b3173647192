//! The gateway: one REST API for the browser, scripts and the command line.
//!
//! ```text
//!   request ──► surround ──► routes ──► Node (a trait: this crate knows the node only through it)
//!                  │            │
//!                  │          extract   bodies, queries, names: parsed once, at the door
//!               answers ◄──── error     problem+json: one status, one code and one hint per kind of failure
//! ```
//!
//! The router knows no login. Whoever serves it says who gets in: the local socket lets in its own user alone.
#![warn(missing_docs)]

pub mod error;
mod extract;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod node;
mod router;
mod routes;
mod surround;

#[cfg(test)]
mod tests;

pub use error::{Code, FieldError, ProblemDetails};
pub use node::{Node, NodeError};
pub use router::{API, router};
pub use surround::REQUEST_TIMEOUT;
