//! Files and SQLite: the only room that writes to disk.
//!
//! What lives here: the data directory and its lock, atomic writes, the database. What may not enter: what the
//! stored things mean; rooms keep their own tables and files through these doors.

pub mod atomic;
