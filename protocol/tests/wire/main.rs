//! What goes over the wire, seen from outside the crate: its bytes, its seal, and what it does with hostile bytes.

mod examples;
mod golden;
mod hostile;
mod link;
mod seal;
