//! What `/proc` says of the processes that a test started, and signals to them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// The environment variable by which a node knows its miners, as `miners::process::MARK` has it.
const MARK: &str = "MINER_CTRL_INSTANCE=";

/// A living process with a node's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miner {
    /// Its number.
    pub pid: i32,
    /// The directory of its instance, e.g. `…/miners/xmrig-1`.
    pub directory: PathBuf,
}

/// Living processes whose mark lies under `home`, by number.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn miners_under(home: &Path) -> Vec<Miner> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut miners: Vec<Miner> = pids
        .filter_map(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let mark = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(MARK.as_bytes()))?;
            let directory = PathBuf::from(OsStr::from_bytes(mark));
            (directory.starts_with(home) && is_alive(pid)).then_some(Miner { pid, directory })
        })
        .collect();
    miners.sort_by_key(|miner| miner.pid);
    miners
}

/// Whether the process exists and is no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X' | 'x'))
}

/// The group of a process; nothing of one that is gone.
#[must_use]
pub fn group_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(2)?.parse().ok()
}

/// Resident memory, bytes; 0 of a process that is gone.
#[must_use]
pub fn resident_bytes_of(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or_default() * 1024
}

/// Open file descriptors; 0 of a process that is gone.
#[must_use]
pub fn descriptors_of(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Asks a process to stop.
pub fn terminate(pid: i32) {
    send(pid, Signal::TERM);
}

/// Ends a process at once.
pub fn kill(pid: i32) {
    send(pid, Signal::KILL);
}

/// Tells a process that its terminal is closed.
pub fn hang_up(pid: i32) {
    send(pid, Signal::HUP);
}

/// Lets a process stand still, as a machine does whose memory is full.
pub fn stand_still(pid: i32) {
    send(pid, Signal::STOP);
}

/// Lets a process that stands still go on.
pub fn proceed(pid: i32) {
    send(pid, Signal::CONT);
}

/// The children of a process with their states, `Z` for one that is dead and was not waited for.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn children_of(parent: i32) -> Vec<(i32, char)> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, of) = (fields.next()?.chars().next()?, fields.next()?.parse::<i32>().ok()?);
        (of == parent).then_some((pid, state))
    })
    .collect()
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone already is what a signal asks for.
        let _ = kill_process(pid, signal);
    }
}
