//! The program: mesh, fleet, miners, store, command line.
//!
//! ```text
//!   cli ──► control ──► (dashboard's router) ──► handle ──► mesh ══ SMSG over libp2p ══► mesh ──► worker ──► miners
//!                                                  │                                                          │
//!                                                fleet ◄── who we know, how they are          store ◄── files, SQLite
//! ```

mod asking;
mod causes;
#[cfg_attr(not(feature = "dashboard"), expect(dead_code, reason = "only the setting is read"))]
mod certificate;
pub mod cli;
pub mod config;
pub mod control;
#[cfg_attr(not(feature = "dashboard"), path = "no_door.rs")]
mod door;
mod engine;
mod files;
pub mod fleet;
mod gaps;
pub mod handle;
mod house;
pub mod identity;
mod internals;
pub mod mesh;
pub mod miners;
mod news;
pub mod node;
mod orders;
mod places;
mod recorded;
mod recorder;
mod records;
pub mod simulate;
pub mod store;
mod watchers;
pub mod worker;
