//! One file per noun. A route is one call: parse, ask the node, answer.
//!
//! What may not enter: decisions. What a rig or a peer may do is the node's to say.

pub(crate) mod access;
pub(crate) mod activity;
pub(crate) mod contract;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod peers;
pub(crate) mod profiles;
pub(crate) mod remote;
pub(crate) mod session;
