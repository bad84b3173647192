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
    /// Whether the operator says where it lies.
    pub named: bool,
}

/// Looks for a program as a start would, and asks it for its version.
pub async fn look_for(program: Program, programs: &BTreeMap<Program, ProgramPath>) -> ProgramFound {
    let named = programs.contains_key(&program);
    let nothing = ProgramFound { program, path: None, version: None, problem: None, named };
    let driver = driver(program);
    match find(programs, driver) {
        Ok(found) => match process::first_line(&found, "--version").await {
            Ok(line) => {
                let problem = driver.check_version(&line).err();
                ProgramFound { path: Some(found.path), version: word(line.trim()), problem, ..nothing }
            }
            Err(error) => ProgramFound { path: Some(found.path), problem: Some(error.to_string()), ..nothing },
        },
        Err(LaunchError::NoProgram(why)) => ProgramFound { problem: Some(why), ..nothing },
        Err(error) => ProgramFound { problem: Some(error.to_string()), ..nothing },
    }
}

/// What is wrong with the programs that are named: where one lies that is none, no other is looked for.
pub fn wrongly_named(programs: &BTreeMap<Program, ProgramPath>) -> Vec<String> {
    let found = programs.keys().map(|program| find(programs, driver(*program)));
    found.filter_map(|found| found.err().map(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_named_path_that_is_no_program_is_told() {
        let programs = BTreeMap::from([(Program::Xmrig, PathBuf::from("/nope").into())]);
        assert!(wrongly_named(&programs)[0].contains("`/nope`, which is not there"));
        assert!(look_for(Program::Xmrig, &programs).await.named);
        assert!(!look_for(Program::TtMiner, &programs).await.named);
        assert!(wrongly_named(&BTreeMap::from([(Program::Xmrig, PathBuf::from("/bin/sh").into())])).is_empty());
    }

    async fn found(version: &str) -> ProgramFound {
        let prefix_args = vec!["-c".to_owned(), format!("echo '{version}'")];
        let program = ProgramPath { path: "/bin/sh".into(), prefix_args };
        look_for(Program::Xmrig, &BTreeMap::from([(Program::Xmrig, program)])).await
    }

    #[tokio::test]
    async fn a_program_that_is_too_old_is_found_and_told() {
        let old = found("XMRig 2.8.3").await;
        assert_eq!(old.version.as_deref(), Some("XMRig 2.8.3"));
        assert!(old.problem.is_some_and(|why| why.contains("XMRig 6 is needed")));
        for fine in ["XMRig 6.26.0", "XMRig 10.0", "XMRig of another kind"] {
            assert_eq!(found(fine).await.problem, None, "{fine}");
        }
    }
}
