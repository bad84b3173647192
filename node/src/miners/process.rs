//! The only place that starts child processes and sends signals.
//!
//! A miner is a process group with a mark in its environment. The mark survives this program: after a crash of the
//! node the next one finds its miners by it (see `adoption`). Signals go to groups whose leader is known to live: a
//! child that has not been reaped, or a process whose start time is the recorded one; never to a bare number.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::console::Console;
use super::driver::ProgramPath;

/// Environment variable that marks a miner's processes; its value is the instance's directory.
pub const MARK: &str = "MINER_CTRL_INSTANCE";

/// Environment that a miner inherits by name; nothing else does: the node's own may hold secrets such as an invite.
const INHERITED: [&str; 8] = ["LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"];

/// Environment that a miner inherits by prefix: GPU runtimes, and the faults of the stand-in program.
const INHERITED_PREFIXES: [&str; 8] = ["AMD_", "CUDA_", "GPU_", "HSA_", "MINER_CTRL_FAULTS", "NVIDIA_", "OCL_", "ROC"];

/// After its exit, how long the rest of a miner's console is waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often a process that is not our child is looked at: the system does not tell us of its end.
const LOOK: Duration = Duration::from_millis(250);

/// Signals waiting for a process task; a stop sends one each few seconds.
const QUEUE: usize = 8;

/// Keeps a console pipe that nobody reads from killing a program that does not ignore SIGPIPE itself: an ignored
/// signal stays ignored in the program that the shell turns into.
const SHIELD: &str = "trap '' PIPE; exec \"$0\" \"$@\"";

/// A process, told from a later one of the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number, which is its group's number, too.
    pub pid: i32,
    /// Start, in clock ticks since boot (proc(5), field 22).
    pub start_time: u64,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Spawn {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The instance's directory: the mark. Its folder `home` is the process's home.
    pub directory: PathBuf,
    /// Whether to shield it from a broken console pipe.
    pub shield: bool,
}

/// A process that was started or taken over. Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Process {
    /// Which.
    pub id: ProcessId,
    signals: mpsc::Sender<Signal>,
}

/// The watch over one process; run it to learn how it ended.
#[derive(Debug)]
pub struct Watch {
    id: ProcessId,
    directory: PathBuf,
    child: Option<Child>,
    readers: JoinSet<()>,
    signals: mpsc::Receiver<Signal>,
}

impl Process {
    /// Asks its group to end.
    pub fn term(&self) {
        self.send(Signal::TERM);
    }

    /// Ends its group.
    pub fn kill(&self) {
        self.send(Signal::KILL);
    }

    fn send(&self, signal: Signal) {
        // Full means that the same was sent moments ago; closed, that the process is gone.
        let _ = self.signals.try_send(signal);
    }
}

/// In a miner's directory: its home and working directory.
pub(super) const HOME: &str = "home";

/// Starts a process in its own group, with a clean environment, no input, and its output into the console.
///
/// # Errors
/// What the system said.
pub fn spawn(spawn: &Spawn, console: &Console) -> io::Result<(Process, Watch)> {
    let home = spawn.directory.join(HOME);
    let mut command = if spawn.shield {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SHIELD]).arg(&spawn.program);
        shell
    } else {
        Command::new(&spawn.program)
    };
    command
        .args(&spawn.args)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_inherited(name)))
        .env("HOME", &home)
        .env(MARK, &spawn.directory)
        .current_dir(&home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(false);
    let mut child = command.spawn()?;
    let mut readers = JoinSet::new();
    if let Some(stream) = child.stdout.take() {
        readers.spawn(console.clone().drink(stream));
    }
    if let Some(stream) = child.stderr.take() {
        readers.spawn(console.clone().drink(stream));
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    // A child that was not reaped has its entry in /proc; 0 would only cost its adoption after a crash.
    let start_time = start_time(pid).unwrap_or_default();
    Ok(watch(ProcessId { pid, start_time }, spawn.directory.clone(), Some(child), readers))
}

/// Takes over a process that an earlier node started; nothing if it is not that one any more.
#[must_use]
pub fn adopt(id: ProcessId, directory: &Path) -> Option<(Process, Watch)> {
    id.is_alive().then(|| watch(id, directory.to_owned(), None, JoinSet::new()))
}

fn watch(id: ProcessId, directory: PathBuf, child: Option<Child>, readers: JoinSet<()>) -> (Process, Watch) {
    let (sender, signals) = mpsc::channel(QUEUE);
    (Process { id, signals: sender }, Watch { id, directory, child, readers, signals })
}

/// How long a program may take to say its version; the real ones take 20 ms.
const VERSION_TIMEOUT: Duration = Duration::from_secs(3);

/// A child that is not reaped yet, so that the number is its own: dropped, it goes with whatever it has started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program with one argument and gives the first line that it prints. It is killed when it takes too long.
///
/// # Errors
/// What the system said, or that it printed nothing in time.
pub async fn first_line(program: &ProgramPath, argument: &str) -> io::Result<String> {
    let mut command = Command::new(&program.path);
    command.args(&program.prefix_args).arg(argument);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn()?;
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let mut printed = Vec::new();
    let read = async {
        if let Some(stdout) = child.stdout.take() {
            // A version takes one line; more than this is no version.
            stdout.take(4096).read_to_end(&mut printed).await?;
        }
        child.wait().await
    };
    tokio::time::timeout(VERSION_TIMEOUT, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // Reaped: the number may be another's by now.
    group.0 = None;
    let text = String::from_utf8_lossy(&printed);
    match text.lines().next() {
        Some(line) if !line.trim().is_empty() => Ok(line.to_owned()),
        _ => Err(io::Error::other("it does not tell its version")),
    }
}

impl ProcessId {
    /// Whether this very process lives; a zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time && !stat.is_dead())
    }

    /// How long ago it was started.
    #[must_use]
    pub fn age(self) -> Duration {
        let ticks = rustix::param::clock_ticks_per_second();
        // The system counts both from boot, and goes on counting while it is suspended.
        let up = u64::try_from(rustix::system::sysinfo().uptime).unwrap_or(0);
        Duration::from_secs(up.saturating_sub(self.start_time / ticks.max(1)))
    }

    fn signal_group(self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // Gone already is what we want; not allowed cannot be helped. Both show in what follows.
        let _ = rustix::process::kill_process_group(pid, signal);
        if stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time && stat.group != self.pid) {
            // It has left its group.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Watch {
    /// Waits for the end of the process, passing signals on to its group meanwhile. Then ends what is left with its
    /// mark, and says in words how it ended.
    pub async fn run(mut self) -> String {
        let status = loop {
            tokio::select! {
                biased;
                status = exit(self.id, self.child.as_mut()) => break status,
                signal = self.signals.recv() => match signal {
                    // Not reaped, or of the recorded start time: the number is still this process's.
                    Some(signal) if self.child.is_some() || self.id.is_alive() => self.id.signal_group(signal),
                    Some(_) => {}
                    // The supervisor is gone without a word: miners go on without it.
                    None => return "left alone".to_owned(),
                },
            }
        };
        // Helpers that it left; they would also hold its console open.
        end_marked(&self.directory, None).await;
        let _ = tokio::time::timeout(LAST_WORDS, async { while self.readers.join_next().await.is_some() {} }).await;
        match status {
            None => "it ended".to_owned(),
            Some(Ok(status)) => in_words(status),
            Some(Err(error)) => format!("it ended, and the system does not say how: {error}"),
        }
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended by itself with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// Resolves once a process is dead; a child is reaped by it, and says how it ended.
///
/// A child's group ends with it: until it is reaped the group's number is its own. The mark alone does not find all
/// of the group, for between fork and exec a process shows no environment.
async fn exit(id: ProcessId, child: Option<&mut Child>) -> Option<io::Result<ExitStatus>> {
    if let Some(child) = child {
        if dead(id).await.is_ok() {
            id.signal_group(Signal::KILL);
        }
        return Some(child.wait().await);
    }
    while id.is_alive() {
        tokio::time::sleep(LOOK).await;
    }
    None
}

/// Waits for the end of a child without reaping it.
async fn dead(id: ProcessId) -> io::Result<()> {
    let pid = Pid::from_raw(id.pid).ok_or(io::ErrorKind::NotFound)?;
    // Listened for before the first look, so that no end falls between.
    let mut ends = signal(SignalKind::child())?;
    while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG)?.is_none() {
        ends.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
    }
    Ok(())
}

/// Ends every process with this instance's mark, except one leader's group and what descends from it: KILL until none
/// is left. A wrapper may give the program a session of its own.
pub async fn end_marked(directory: &Path, except_leader: Option<i32>) {
    /// Rounds before giving up on a process that the kernel holds.
    const ROUNDS: u32 = 20;
    for _ in 0..ROUNDS {
        let left: Vec<_> = marked_processes(directory.parent().unwrap_or(directory))
            .into_iter()
            .filter(|found| found.directory == directory)
            .filter(|found| {
                except_leader.is_none_or(|leader| found.group != leader && !descends_from(found.id.pid, leader))
            })
            .collect();
        if left.is_empty() {
            return;
        }
        for found in left {
            found.kill();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a process was started by another, or by what that had started.
fn descends_from(mut pid: i32, ancestor: i32) -> bool {
    /// Generations looked through: a wrapper in a wrapper has a handful. Numbers that are used anew could form a ring.
    const GENERATIONS: u32 = 64;
    for _ in 0..GENERATIONS {
        match stat(pid) {
            Some(stat) if stat.parent == ancestor => return true,
            Some(stat) => pid = stat.parent,
            None => return false,
        }
    }
    false
}

/// A living process that carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Which.
    pub id: ProcessId,
    /// Its process group.
    pub group: i32,
    /// The instance's directory.
    pub directory: PathBuf,
}

impl Marked {
    fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.id.pid)
            && let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            && self.id.is_alive()
        {
            // The descriptor was opened before the check: it is this process, or one that is dead.
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        } else if self.id.is_alive()
            && let Some(pid) = Pid::from_raw(self.id.pid)
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// All living processes of this user with the mark of an instance directly below a directory.
#[must_use]
pub fn marked_processes(miners: &Path) -> Vec<Marked> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let directory = mark_of(pid).filter(|directory| directory.parent() == Some(miners))?;
        if !sees_the_same(pid, miners) {
            return None;
        }
        let stat = stat(pid).filter(|stat| !stat.is_dead())?;
        Some(Marked { id: ProcessId { pid, start_time: stat.start_time }, group: stat.group, directory })
    })
    .collect()
}

/// Whether a path means for a process what it means for us. In a container, or another mount namespace, it may be another
/// node's directory of the same name (`/proc/PID/root`, proc(5)).
fn sees_the_same(pid: i32, path: &Path) -> bool {
    let theirs = Path::new("/proc").join(pid.to_string()).join("root").join(path.strip_prefix("/").unwrap_or(path));
    match (std::fs::metadata(path), std::fs::metadata(theirs)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        (Ok(_), Err(error)) => error.kind() != io::ErrorKind::NotFound,
        // It was removed under us, and nothing tells them apart.
        (Err(_), _) => true,
    }
}

/// The mark in a process's environment; nothing for processes of other users.
fn mark_of(pid: i32) -> Option<PathBuf> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(PathBuf::from(OsStr::from_bytes(value)))
    })
}

fn is_inherited(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    INHERITED.contains(&name) || INHERITED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

struct Stat {
    state: u8,
    parent: i32,
    group: i32,
    threads: u32,
    start_time: u64,
}

impl Stat {
    /// A zombie whose threads live is a process whose first thread has ended.
    const fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

fn stat(pid: i32) -> Option<Stat> {
    if pid <= 0 {
        return None;
    }
    // The name is cut off at 15 bytes, be it within a character.
    parse_stat(&String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/stat")).ok()?))
}

fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_time)
}

/// Fields after the program's name, which stands in parentheses and may hold spaces and parentheses itself.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let threads = fields.nth(14)?.parse().ok()?;
    let start_time = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, group, threads, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_name_is_cut_within_a_character_is_known_again() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("xmrig-barn-nrd\u{fc}-x");
        // By another process: a file that this one wrote may be open for writing in a third when it is executed.
        assert!(std::process::Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
        let mut child = std::process::Command::new(&program).arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // The parent goes on a moment before the child has its new name.
        let began = std::time::Instant::now();
        let name = loop {
            let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap();
            if name.starts_with(b"xmrig") || began.elapsed() > Duration::from_secs(10) {
                break name;
            }
            std::thread::yield_now();
        };
        let found = start_time(pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(String::from_utf8(name).is_err());
        assert!(found.is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn the_start_time_is_found_behind_a_malicious_name() {
        let text = "42 (x) R 1 (evil) S 1 41 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group), (b'S', 1, 41));
        assert_eq!((stat.threads, stat.start_time), (1, 987_654));
        let dead = |state: &str, threads: u32| {
            let text = format!("42 (x) {state} 1 41 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {threads} 0 987654 1 1");
            parse_stat(&text).unwrap().is_dead()
        };
        assert_eq!([dead("Z", 1), dead("Z", 3), dead("S", 1)], [true, false, false]);
        assert!(parse_stat("42 (x) R 1").is_none());
    }

    #[test]
    fn this_process_lives_and_one_of_another_start_time_does_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let id = ProcessId { pid, start_time: start_time(pid).unwrap() };
        assert!(id.is_alive());
        assert!(!ProcessId { start_time: id.start_time + 1, ..id }.is_alive());
        assert!(!ProcessId { pid: 0, ..id }.is_alive());
        // Nobody runs this for a day.
        assert!(id.age() < Duration::from_secs(24 * 3600), "{:?}", id.age());
        assert!(ProcessId { start_time: 0, ..id }.age() > id.age());
    }

    fn shell(script: &str, directory: &Path, shield: bool) -> Spawn {
        std::fs::create_dir_all(directory.join("home")).unwrap();
        Spawn {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            directory: directory.to_owned(),
            shield,
        }
    }

    #[tokio::test]
    async fn a_process_is_marked_clean_and_reaped_with_its_helpers() {
        let miners = tempfile::tempdir().unwrap();
        let directory = miners.path().join("sh-1");
        let console = Console::default();
        let script = "env | sort; sleep 600 & echo helper; exit 7";
        let (process, watch) = spawn(&shell(script, &directory, false), &console).unwrap();
        assert_eq!(watch.run().await, "it ended by itself with exit code 7");
        assert!(!process.id.is_alive());
        assert_eq!(marked_processes(miners.path()), [], "the helper is gone, too");
        let page = console.page("sh-1".parse().unwrap(), None, 1000, Duration::ZERO).await;
        let lines: Vec<_> = page.lines.iter().map(|line| line.text.as_str()).collect();
        assert!(lines.contains(&format!("{MARK}={}", directory.display()).as_str()));
        assert!(!lines.iter().any(|line| line.starts_with("CARGO")), "{lines:?}");
    }

    #[tokio::test]
    async fn a_helper_that_shows_no_mark_ends_with_its_leader() {
        let miners = tempfile::tempdir().unwrap();
        let console = Console::default();
        // Between fork and exec a helper shows no environment; this one never does.
        let script = r#"env -i sleep 600 & until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done; echo $!"#;
        let (_process, watch) = spawn(&shell(script, &miners.path().join("sh-1"), false), &console).unwrap();
        assert_eq!(watch.run().await, "it ended by itself with exit code 0");
        let page = console.page("sh-1".parse().unwrap(), None, 1, Duration::ZERO).await;
        let helper = page.lines[0].text.parse().unwrap();
        assert!(stat(helper).is_none_or(|stat| stat.is_dead()));
    }

    #[tokio::test]
    async fn a_signal_reaches_the_whole_group() {
        let miners = tempfile::tempdir().unwrap();
        let directory = miners.path().join("sh-1");
        let (process, watch) = spawn(&shell("sleep 600 & wait", &directory, true), &Console::default()).unwrap();
        process.term();
        assert_eq!(watch.run().await, "it was ended by signal 15");
        assert_eq!(marked_processes(miners.path()), []);
    }

    #[tokio::test]
    async fn what_a_spared_leader_has_started_in_a_session_of_its_own_is_spared() {
        let miners = tempfile::tempdir().unwrap();
        let directory = miners.path().join("sh-1");
        let console = Console::default();
        let script = "setsid sleep 600 & wait";
        let (process, watch) = spawn(&shell(script, &directory, false), &console).unwrap();
        let watch = tokio::spawn(watch.run());
        let leader = process.id.pid;
        let apart = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                if let Some(found) = marked_processes(miners.path()).into_iter().find(|found| found.group != leader) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        });
        let apart = apart.await.unwrap();
        end_marked(&directory, Some(leader)).await;
        assert!(apart.id.is_alive() && process.id.is_alive());
        end_marked(&directory, None).await;
        assert!(!apart.id.is_alive() && !process.id.is_alive());
        watch.await.unwrap();
    }

    #[tokio::test]
    async fn a_foreign_process_is_watched_and_ended_by_its_start_time() {
        let miners = tempfile::tempdir().unwrap();
        let directory = miners.path().join("sh-1");
        let (process, _watch) = spawn(&shell("exec sleep 600", &directory, false), &Console::default()).unwrap();
        let (adopted, watch) = adopt(process.id, &directory).unwrap();
        assert!(adopt(ProcessId { start_time: 1, ..process.id }, &directory).is_none());
        adopted.kill();
        assert_eq!(watch.run().await, "it ended");
        assert!(!process.id.is_alive());
    }
}
