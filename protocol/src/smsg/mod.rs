//! The seal: what lives here is key agreement, seal and open, signature, replay window, and pairing's PAKE.
//!
//! The only room that touches ciphers. No IO, no clock: random numbers and time are arguments.

mod keys;

pub use keys::{KeyError, LinkNonce, NodeSecret, fingerprint_words};
