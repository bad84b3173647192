//! The local socket: the dashboard's router served on a Unix socket, and its client.
//!
//! What lives here: who may connect (this user, or root), and how one asks. What may not enter: what the requests
//! mean; the router knows that. The socket is the only way in without a login, so everything about it is checked:
//! the directory, the file's mode, and the user of each connection.

mod client;
mod server;

pub use client::{Client, ClientError, segment};
pub use server::{BindError, ControlSocket, bind, check};
