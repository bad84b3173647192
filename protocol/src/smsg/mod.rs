//! The seal: what lives here is key agreement, seal and open, signature, replay window, and pairing's PAKE.
//!
//! ```text
//!   keys         the node's one secret, and what follows from a public key
//!   hpke         RFC 9180: one session's keys between two nodes
//!   envelope     the bytes of a sealed message, and the statement that its author signs
//!   batch        one signature for all messages of a moment
//!   author       one author's key, faster when it is heard often
//!   multiples    tables of a point's multiples, and sums out of two
//!   curve        the points such tables are made of
//!   assembly     what another library does faster on some processors
//!   sender       seals requests, opens the answer to each          (one per link)
//!   receiver     opens requests once, seals the answer to each     (one per link)
//!   window       which sequence numbers of a session were seen
//!   fingerprint  words that two people compare
//!   code         the pairing code as it is shown and typed
//!   pairing      a code becomes two pinned keys (SPAKE2)
//! ```
//!
//! The only room that touches ciphers. No IO, no clock: random numbers and time are arguments.

mod assembly;
mod author;
mod batch;
mod code;
mod curve;
mod envelope;
mod error;
mod fingerprint;
mod hpke;
mod keys;
mod multiples;
mod pairing;
mod receiver;
mod sender;
mod session;
mod window;

pub use batch::{Leaf, MAX_BATCH, Proof, sign};
pub use code::{NotAPairingCode, PairingCode};
pub use envelope::Unsigned;
pub use error::{OpenError, SealError};
pub use fingerprint::fingerprint_words;
pub use keys::{KeyError, LinkNonce, NodeSecret};
pub use pairing::{AdderConfirm, AdderStart, PairingError, ShowerStart, WrongCode};
pub use receiver::{Answerer, Receiver};
pub use sender::{PendingAnswer, Sender};
