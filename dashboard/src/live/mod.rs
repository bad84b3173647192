//! Live events: what changed, told to every open page, encoded once for all of them.
//!
//! What lives here: the table of rows and what differs between two of its states (pure), the one task that looks at
//! the node once a second while anybody listens, and the streams. What may not enter: asking rigs; the node knows.

mod columns;
mod hub;
mod places;
mod stream;
mod table;

pub(crate) use hub::{Live, Topics};
