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
    #[error("cannot start {path}{}", hint(source, path))]
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
    /// Whether it has been seen at one of the profile's pools: where that sends it later is the pool's business.
    #[serde(default)]
    pub(super) settled: bool,
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
            settled: false,
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
        if let Err(why) = is_executable(&given.path) {
            let by = named_by(driver, &given.path, std::env::var_os(driver.variable()).as_deref());
            let path = given.path.display();
            return Err(LaunchError::NoProgram(format!("no {program}: {by} names `{path}`, {why}")));
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
        .find(|path| is_executable(path).is_ok());
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

    /// Writes down that its process is at one of the profile's pools.
    pub(super) fn settle(directory: &Path) {
        let Some(record) = Self::read(directory) else { return };
        if let Err(error) = (Self { settled: true, ..record }).write(directory) {
            tracing::warn!(directory = %directory.display(), %error, "cannot record where a process mines");
        }
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

/// Whether a file can be a program; else what it is, for the operator.
fn is_executable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("which is not there".to_owned()),
        Err(error) => Err(format!("which cannot be looked at: {error}")),
        Ok(file) if !file.is_file() => Err("which is no file".to_owned()),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            Err(format!("which is not executable: chmod +x {}", path.display()))
        }
        Ok(_) => Ok(()),
    }
}

/// What the system's word leaves open about a program that it did not start.
fn hint(source: &io::Error, path: &Path) -> &'static str {
    match source.kind() {
        // The system names no file, and means the one that is named in this one.
        io::ErrorKind::NotFound if path.is_file() => {
            ", which is there: the loader or interpreter that it names is missing, as of a program that was built for another system"
        }
        _ if source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            ": it is no program for this machine, or was not copied whole"
        }
        _ => "",
    }
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
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("xmrig");
        std::fs::File::create(&plain).unwrap();
        for (path, why) in [
            (directory.path().join("nowhere"), "which is not there".to_owned()),
            (directory.path().to_owned(), "which is no file".to_owned()),
            (plain.clone(), format!("which is not executable: chmod +x {}", plain.display())),
        ] {
            let refused = find(&BTreeMap::from([(Program::Xmrig, path.clone().into())]), xmrig);
            let why = format!("no xmrig: the configuration names `{}`, {why}", path.display());
            assert_eq!(refused.unwrap_err().to_string(), why);
        }
        let by = |variable| named_by(xmrig, Path::new("/nope"), variable);
        assert_eq!(by(Some(OsStr::new("/nope"))), "MINER_CTRL_XMRIG");
        assert_eq!((by(Some(OsStr::new("/other"))), by(None)), ("the configuration", "the configuration"));
    }

    #[tokio::test]
    async fn why_the_system_does_not_start_a_program_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xmrig");
        for (bytes, told) in [
            (&b"#!/no/such/interpreter\n"[..], ", which is there: the loader or interpreter that it names is missing"),
            (
                b"\x7fELF of another machine",
                ": it is no program for this machine, or was not copied whole: Exec format",
            ),
        ] {
            // Written by another process: held open here it would be busy for what another test starts meanwhile.
            let text = directory.path().join("text");
            atomic::write(&text, bytes).unwrap();
            std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o700)).unwrap();
            assert!(std::process::Command::new("cp").arg(&text).arg(&path).status().unwrap().success());
            let launcher = Launcher {
                node_name: "rig-alpha".parse().unwrap(),
                miners: directory.path().join("miners"),
                programs: BTreeMap::from([(Program::Xmrig, path.clone().into())]),
                policy: Policy::default(),
            };
            let draft: ProfileDraft = serde_json::from_value(serde_json::json!({
                "name": "p", "program": "xmrig", "wallet": "44AFFq5kSiGBoZ", "pools": [{"url": "a.example:1"}],
            }))
            .unwrap();
            let launched = launcher.launch(&"xmrig-1".parse().unwrap(), &draft.check().unwrap(), &Console::default());
            let why = crate::causes::chain(&launched.unwrap_err());
            assert!(why.starts_with(&format!("cannot start {}{told}", path.display())), "{why}");
        }
    }
}
