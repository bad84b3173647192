//! The command line: parse, ask the node over its socket, show the answer.
//!
//! What lives here: clap, texts for people, exit codes. What may not enter: decisions about peers or rigs; those are
//! the node's, and the browser and scripts get the same ones. Only `render` prints.

mod app;
mod demo;
mod doctor;
mod editor;
mod engine;
mod exit;
mod failure;
mod fleet;
mod lines;
mod node;
mod peer;
mod profile;
mod remote;
mod render;
mod rigs;
mod stops;
mod ui;
mod view;

#[cfg(test)]
mod tests;

pub use app::{main, start};
pub use engine::{Engine, Local, Made, Page, ServeOptions, Serving};
pub use exit::Exit;
pub use failure::Failure;
