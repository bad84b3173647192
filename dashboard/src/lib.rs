//! The gateway: one REST API for the browser, scripts and the command line.
//!
//! ```text
//!   TCP ───► serve ──► surround ──► guard ──► activity ──► routes ──► Node (a trait: the node is known only through it)
//!   socket ──────────► surround ──────────► activity ──► routes ─┘       │
//!                         │         │                    │  extract     live    one look a second for all open pages
//!                         │       access                 │
//!                      answers ◄──── error     problem+json: one status, one code and one hint per kind of failure
//!
//!   jobs: one command to many rigs, carried out when its asker is gone; once: a write that is sent twice is done once
//!   contract: routes describe themselves as they are registered; the OpenAPI document is made of that
//! ```
//!
//! Two doors to the same routes. The local router knows no login: the socket lets in this machine's own user alone.
//! What comes over TCP passes the guard: host, origin, credential, scope.
#![warn(missing_docs)]

mod access;
mod activity;
#[cfg(feature = "web")]
mod assets;
mod connection;
mod contract;
mod crowd;
pub mod error;
mod extract;
mod gateway;
mod gzip;
mod jobs;
mod live;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod node;
mod once;
mod paging;
mod rates;
pub mod records;
mod router;
mod routes;
mod serve;
mod surround;
pub mod tls;
mod unread;

#[cfg(test)]
mod tests;

pub use error::{Code, FieldError, ProblemDetails};
pub use gateway::Gateway;
pub use ipnet::IpNet;
pub use jobs::{JobSummary, JobView};
pub use node::{Node, NodeError};
pub use rates::AlgorithmRate;
pub use records::{Records, Scope};
pub use router::{API, router};
pub use routes::access::{NewLink, NewToken, TokenView, check_password};
pub use routes::activity::ActivityPage;
pub use serve::{Place, ServeError, WebSettings, bind, serve};
pub use surround::REQUEST_TIMEOUT;
