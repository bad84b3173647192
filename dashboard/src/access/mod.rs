//! Who may come in over TCP, and what for.
//!
//! What lives here: the book of sessions, tokens, links and the password; the guard before every route; the limits on
//! guessing. What may not enter: what a request does once it is in, and where the book is stored.

pub(crate) mod book;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod guard;
mod limiter;
pub(crate) mod password;
mod secret;

pub(crate) use book::Access;
pub(crate) use caller::Caller;
pub(crate) use limiter::network;
pub(crate) use secret::Secret;
