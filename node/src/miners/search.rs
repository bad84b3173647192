//! Which mining programs this machine has, for the operator who asks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use miner_ctrl_protocol::Program;

use super::driver::{ProgramPath, word};
use super::drivers::driver;
use super::launch::{LaunchError, find};
use super::process;

/// A mining program as it was looked for on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFound {
    /// Which.
    pub program: Program,
    /// Where it lies; none when it was not found.
    pub path: Option<PathBuf>,
    /// What it says of itself.
    pub version: Option<String>,
    /// Why it cannot run.
    pub problem: Option<String>,
}

/// Looks for a program as a start would, and asks it for its version.
pub async fn look_for(program: Program, programs: &BTreeMap<Program, ProgramPath>) -> ProgramFound {
    let nothing = ProgramFound { program, path: None, version: None, problem: None };
    match find(programs, driver(program)) {
        Ok(found) => match process::first_line(&found, "--version").await {
            Ok(line) => ProgramFound { path: Some(found.path), version: word(line.trim()), ..nothing },
            Err(error) => ProgramFound { path: Some(found.path), problem: Some(error.to_string()), ..nothing },
        },
        Err(LaunchError::NoProgram(why)) => ProgramFound { problem: Some(why), ..nothing },
        Err(error) => ProgramFound { problem: Some(error.to_string()), ..nothing },
    }
}
