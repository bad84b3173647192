//! Files and SQLite: the only room that writes to disk.
//!
//! What lives here: the places on disk and the lock on them, whole-or-nothing files, the database and its tables as
//! plain rows, or as the gateway's plain records. What may not enter: what the stored things mean; rooms keep their files
//! and rows through these doors.

pub mod access;
pub mod activity;
pub mod atomic;
pub mod clock;
pub mod data_dir;
pub mod database;
pub mod file;
pub mod history;
pub mod peers;
pub mod permissions;
mod schema;

pub use data_dir::{Lock, LockError, Places, PlacesError};
pub use database::{Database, DatabaseError};
