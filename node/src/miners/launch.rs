//! From a profile to a running process: where the program is, a free port, files, the record, the spawn. Blocking.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use miner_ctrl_protocol::policy::Forbidden;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{MinerName, NodeName, Policy, Profile, ProfileDraft, Program};
use serde::{Deserialize, Serialize};

use super::console::Console;
use super::driver::{Driver, Endpoint, Order, ProgramPath};
use super::drivers::driver;
use super::process::{self, Process, ProcessId, Watch};
use crate::store::atomic::{self, WriteError};

/// Bytes that the files of a start need at most; a configuration with all pools and arguments that a profile may have is a
/// fraction of it.
const ROOM: usize = 64 << 10;

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("the rig's policy forbids it")]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("{0}")]
    NoProgram(String),
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
    #[error("cannot start {path}")]
    Spawn {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What stays the same for every start.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) node_name: NodeName,
    pub(super) miners: PathBuf,
    pub(super) programs: BTreeMap<Program, ProgramPath>,
    pub(super) policy: Policy,
}

/// A started process.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) process: Process,
    pub(super) watch: Watch,
    pub(super) endpoint: Endpoint,
}

/// What was started, for the next node after a crash of this one. Written before the spawn, so that no process can
/// run unrecorded, and again with its id after it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) profile: ProfileDraft,
    pub(super) endpoint: Endpoint,
    pub(super) process: Option<ProcessId>,
    pub(super) boot: String,
    /// The directory that it was written into: in a copy of it, beside a node that still runs, it is about another's miner.
    place: Option<Place>,
}

/// A directory, by what neither a copy of it has nor moving it changes: device and inode, until the machine starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    fn of(directory: &Path) -> Option<Self> {
        let found = std::fs::metadata(directory).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }
}

impl Launcher {
    /// Starts the profile's program as an instance of this name.
    pub(super) fn launch(
        &self,
        name: &MinerName,
        profile: &Profile,
        console: &Console,
    ) -> Result<Launched, LaunchError> {
        console.keep_secret(profile, "");
        // Also for what is started again: the policy may have become stricter since.
        self.policy.allows_profile(profile)?;
        let driver = driver(profile.program);
        let program = find(&self.programs, driver)?;
        let directory = self.miners.join(name.as_str());
        atomic::make_directory(&directory.join(process::HOME))?;
        let endpoint = Endpoint {
            port: free_port().map_err(LaunchError::Port)?,
            token: hexadecimal(rand::random::<[u8; 16]>()),
            worker_id: format!("{name}-{}", hexadecimal(rand::random::<[u8; 4]>())),
        };
        console.keep_secret(profile, &endpoint.token);
        let launched = self.launch_in(&directory, profile, endpoint, program, console);
        if launched.is_err() {
            // Nothing runs that would need it, and it holds pool passwords.
            Record::remove(&directory);
        }
        launched
    }

    /// Whether a start would find its program, and room for its files.
    pub(super) fn check(&self, name: &MinerName, profile: &Profile) -> Result<(), LaunchError> {
        find(&self.programs, driver(profile.program))?;
        let directory = self.miners.join(name.as_str());
        atomic::make_directory(&directory)?;
        let probe = directory.join("room");
        let written = atomic::write(&probe, &[0; ROOM]);
        // What stays goes with the record.
        let _ = std::fs::remove_file(&probe);
        Ok(written?)
    }

    fn launch_in(
        &self,
        directory: &Path,
        profile: &Profile,
        endpoint: Endpoint,
        program: ProgramPath,
        console: &Console,
    ) -> Result<Launched, LaunchError> {
        let order = Order { profile, node: &self.node_name, directory, endpoint: &endpoint };
        let plan = driver(profile.program).plan(&order)?;
        for (path, bytes) in &plan.files {
            atomic::write(path, bytes)?;
        }
        let mut record = Record {
            profile: profile.clone().into_draft(),
            endpoint,
            process: None,
            boot: boot_id(),
            place: Place::of(directory),
        };
        record.write(directory)?;
        let spawn = process::Spawn {
            args: program.prefix_args.into_iter().map(Into::into).chain(plan.args).collect(),
            directory: directory.to_owned(),
            shield: plan.shield_from_broken_pipe,
            program: program.path,
        };
        let (process, watch) = process::spawn(&spawn, console)
            .map_err(|source| LaunchError::Spawn { path: spawn.program.clone(), source })?;
        record.process = Some(process.id);
        if let Err(error) = record.write(directory) {
            // It mines. Without its id it is still found by its mark after a crash.
            tracing::warn!(directory = %directory.display(), %error, "cannot record a started process");
        }
        Ok(Launched { process, watch, endpoint: record.endpoint })
    }
}

/// Where the program is.
pub(super) fn find(programs: &BTreeMap<Program, ProgramPath>, driver: &dyn Driver) -> Result<ProgramPath, LaunchError> {
    let program = driver.program();
    // What somebody names is taken or refused; another file of that name is not what they meant.
    if let Some(given) = programs.get(&program) {
        if !is_executable(&given.path) {
            let by = named_by(driver, &given.path, std::env::var_os(driver.variable()).as_deref());
            let path = given.path.display();
            return Err(LaunchError::NoProgram(format!("no {program}: {by} names `{path}`, which is no program")));
        }
        return accept(driver, given.clone());
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&search)
        .filter(|directory| directory.is_absolute())
        .chain(driver.directories().iter().map(PathBuf::from))
        .collect();
    let found = (directories.iter())
        .flat_map(|directory| driver.file_names().iter().map(|name| directory.join(name)))
        .find(|path| is_executable(path));
    match found {
        Some(path) => accept(driver, path.into()),
        None => Err(LaunchError::NoProgram(format!(
            "no {program} on this rig: looked for {} in PATH and {}; name it with {} or in the configuration",
            driver.file_names().join(" and "),
            driver.directories().join(", "),
            driver.variable(),
        ))),
    }
}

/// Who names a program, for the operator: of the two places the variable counts more.
fn named_by(driver: &dyn Driver, path: &Path, variable: Option<&OsStr>) -> &'static str {
    if variable == Some(path.as_os_str()) { driver.variable() } else { "the configuration" }
}

fn accept(driver: &dyn Driver, program: ProgramPath) -> Result<ProgramPath, LaunchError> {
    // With a prefix the file is a wrapper, whose neighbours mean nothing.
    if program.prefix_args.is_empty() {
        driver.check_place(&program.path).map_err(LaunchError::NoProgram)?;
    }
    // The process starts in its own directory.
    let path = std::path::absolute(&program.path).unwrap_or(program.path);
    Ok(ProgramPath { path, ..program })
}

impl Record {
    fn write(&self, directory: &Path) -> Result<(), WriteError> {
        let path = Self::path(directory);
        let bytes =
            serde_json::to_vec_pretty(self).map_err(|error| WriteError { path: path.clone(), source: error.into() })?;
        atomic::write(&path, &bytes)
    }

    /// The record of an instance; nothing when there is none that can be read, or it was written elsewhere.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&std::fs::read(Self::path(directory)).ok()?).ok()?;
        (record.place == Place::of(directory)).then_some(record)
    }

    /// Forgets it: the process is gone. What was written for it goes too, since it holds pool passwords.
    pub(super) fn remove(directory: &Path) {
        for file in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            // What stays is harmless to the next start, which writes it anew.
            if file.file_type().is_ok_and(|kind| kind.is_file()) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }

    /// Forgets the miner as well, and with it what its program keeps in its home, such as kernels compiled for its GPUs.
    pub(super) fn remove_miner(directory: &Path) {
        if let Err(error) = std::fs::remove_dir_all(directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(directory = %directory.display(), %error, "the files of a miner that is forgotten stay");
        }
    }

    /// The recorded process, if it lives.
    pub(super) fn living(&self) -> Option<ProcessId> {
        // Start times count from boot; after another boot they mean nothing.
        self.process.filter(|process| self.boot == boot_id() && process.is_alive())
    }

    fn path(directory: &Path) -> PathBuf {
        directory.join("instance.json")
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// A port that is free now. Somebody else may take it before the program does; then the answer gives them away.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn hexadecimal<const N: usize>(bytes: [u8; N]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_that_is_no_program_is_refused_by_who_names_it() {
        let xmrig = driver(Program::Xmrig);
        let refused = find(&BTreeMap::from([(Program::Xmrig, PathBuf::from("/nowhere/xmrig").into())]), xmrig);
        let why = "no xmrig: the configuration names `/nowhere/xmrig`, which is no program";
        assert_eq!(refused.unwrap_err().to_string(), why);
        let by = |variable| named_by(xmrig, Path::new("/nope"), variable);
        assert_eq!(by(Some(OsStr::new("/nope"))), "MINER_CTRL_XMRIG");
        assert_eq!((by(Some(OsStr::new("/other"))), by(None)), ("the configuration", "the configuration"));
    }
}
