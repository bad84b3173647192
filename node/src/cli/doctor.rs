//! `miner-ctrl doctor`: what is found, what is wrong, what to do.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use miner_ctrl_dashboard::node::{NodeInfo, PeerView};
use serde::Serialize;

use crate::cli::app::to_start;
use crate::cli::engine::{Engine, Page};
use crate::cli::render::{Output, clean};
use crate::cli::{Exit, Failure};
use crate::control::{Client, ClientError};
use crate::miners::ProgramFound;
use crate::store::clock::{NEVER_BEFORE, unix_now};
use crate::store::permissions::ClosedToUs;

/// Seconds.
const DAY: u64 = 24 * 3600;

/// Days that a certificate has left when it is time to renew it: what renews them does so a month before, as a rule.
const SOON: u64 = 14;

/// How good it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Bad,
    Fine,
    Note,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    grade: Grade,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

pub(crate) async fn run<E: Engine>(engine: &E, output: &mut Output) -> Result<Exit, Failure> {
    if let Err(wrong) = engine.check_home() {
        // Of what lies there no more can be said.
        let exit = if wrong.exit == Exit::NotAllowed { Exit::NotAllowed } else { Exit::Error };
        let finding = [as_found("home", "", Err(wrong))];
        let width = output.width();
        return output.data_and_end(&finding, || text(&finding, width), exit);
    }
    let mut findings = vec![
        directory("configuration", engine.config_dir(), &["profiles"]),
        directory("data", engine.data_dir(), &["node", "miners"]),
    ];
    let key = identity(&engine.key_file());
    findings.push(match engine.check_identity() {
        Err(failure) if key.grade != Grade::Bad => as_found("identity", "", Err(failure)),
        _ => key,
    });
    if let wrong @ Err(_) = engine.check_permissions() {
        findings.push(as_found("permissions", "", wrong));
    }
    if let wrong @ Err(_) = engine.check_wanted() {
        findings.push(as_found("miners", "", wrong));
    }
    if let wrong @ Err(_) = engine.check_profiles() {
        findings.push(as_found("profiles", "", wrong));
    }
    findings.push(as_found("settings", "they can be understood", engine.check_settings()));
    match engine.check_socket() {
        Ok(()) => findings.extend(of_node(&Client::Socket(engine.socket()), engine).await),
        unsafe_socket => findings.push(as_found("node", "", unsafe_socket)),
    }
    if engine.mines() {
        findings.extend(output.waiting("looking for mining programs", engine.programs()).await.iter().map(program));
        findings.push(huge_pages(&fs::read_to_string("/proc/meminfo")));
    }
    findings.push(clock(unix_now()));
    let exit = if findings.iter().any(|finding| finding.grade == Grade::Bad) { Exit::Error } else { Exit::Done };
    let width = output.width();
    output.data_and_end(&findings, || text(&findings, width), exit)
}

/// What the node itself tells, or what there is without one.
async fn of_node<E: Engine>(client: &Client, engine: &E) -> Vec<Finding> {
    let node = match client.check().await {
        Ok(()) => client.fetch::<NodeInfo>("/node/info").await,
        Err(error) => Err(error),
    };
    let mut findings = vec![running(&node, to_start(engine))];
    match &node {
        Ok(info) => {
            findings.push(listening(info));
            findings.extend(info.certificate_expires_at.map(|end| certificate(end, unix_now())));
            findings.extend(peers(client.fetch("/peers").await.unwrap_or_default()));
        }
        Err(_) => {
            if let wrong @ Err(_) = engine.check_files() {
                findings.push(as_found("node", "", wrong));
            }
            findings.extend(engine.listens().into_iter().map(place));
            findings.extend(page(engine.check_page().await));
            findings.push(as_found(
                "database",
                "it can be read, or is made by the first start",
                engine.check_database(),
            ));
        }
    }
    findings
}

/// What a command would say of it.
fn as_found(check: &'static str, good: &str, found: Result<(), Failure>) -> Finding {
    match found {
        Ok(()) => fine(check, good),
        Err(failure) => Finding { check, grade: Grade::Bad, found: failure.causes.join(": "), todo: failure.hint },
    }
}

fn fine(check: &'static str, found: impl Into<String>) -> Finding {
    Finding { check, grade: Grade::Fine, found: found.into(), todo: None }
}

fn note(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { check, grade: Grade::Note, found: found.into(), todo: Some(todo.into()) }
}

fn bad(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { check, grade: Grade::Bad, found: found.into(), todo: Some(todo.into()) }
}

/// A directory, and those in it that a node writes to, as far as they are there.
fn directory(check: &'static str, path: &Path, below: &[&str]) -> Finding {
    let shown = path.display();
    let below = below.iter().map(|name| path.join(name)).filter(|path| path.is_dir());
    let closed = || std::iter::once(path.to_owned()).chain(below).find_map(|path| ClosedToUs::find(&path));
    let found = fs::metadata(path);
    if found.as_ref().map_or(true, fs::Metadata::is_dir)
        && let Some(closed) = closed()
    {
        return bad(check, closed.found(), closed.remedy());
    }
    match found {
        Ok(metadata) if !metadata.is_dir() => bad(check, format!("{shown} is not a directory"), "move it away"),
        Ok(_) => fine(check, shown.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note(check, format!("{shown} is missing"), "it is made by `miner-ctrl node init`")
        }
        Err(error) => bad(check, format!("{shown}: {error}"), "give this user access to it"),
    }
}

fn identity(path: &Path) -> Finding {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => bad(
            "identity",
            format!("{shown} is not a file"),
            "move it away, and restore the key from a copy: a new one would make this node a stranger to its peers",
        ),
        Ok(metadata) if metadata.mode() & 0o077 != 0 => bad(
            "identity",
            format!("{shown} can be read by others (mode {:o})", metadata.mode() & 0o777),
            format!("chmod 600 {shown}; if others did read it, make a new identity"),
        ),
        Ok(_) => fine("identity", shown.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note("identity", "none yet", "make one with `miner-ctrl node init --name NAME --role ROLE`")
        }
        Err(error) => bad("identity", format!("{shown}: {error}"), "give this user access to it"),
    }
}

fn running(node: &Result<NodeInfo, ClientError>, to_start: &'static str) -> Finding {
    match node {
        Ok(info) => fine("node", format!("{} ({}) is running", info.name, info.role)),
        Err(ClientError::NoNode { .. }) => note("node", "not running", to_start),
        Err(error) => bad("node", format!("it does not answer: {error}"), "look at its log, or start it again"),
    }
}

fn listening(info: &NodeInfo) -> Finding {
    if info.addresses.is_empty() {
        note("listening", "nowhere: only this node dials", "start it with `--listen :9091`")
    } else {
        fine("listening", info.addresses.join(", "))
    }
}

/// The page's. One of ours is made anew before it comes so far.
fn certificate(end: u64, now: u64) -> Finding {
    let renew = "renew the files that `tls_certificate` and `tls_key` name (one of our own is made anew by itself); look at the clock, too";
    match end.checked_sub(now).map(|left| left / DAY) {
        None => bad("certificate", "it is past its end: browsers do not take it", renew),
        Some(0) => note("certificate", "it ends within a day", renew),
        Some(days) if days < SOON => note("certificate", format!("it ends in {days} days"), renew),
        Some(days) => fine("certificate", format!("good for {days} days")),
    }
}

fn place(address: SocketAddr) -> Finding {
    let shown = if address.ip().is_unspecified() { format!("port {}", address.port()) } else { address.to_string() };
    match TcpListener::bind(address) {
        Ok(_) => fine("listening", format!("{shown} is free")),
        Err(error) => bad(
            "listening",
            format!("{shown} cannot be used: {error}"),
            "stop what uses it (`ss -ltnp`), or serve with another `--listen`",
        ),
    }
}

/// Where none is wanted, nothing.
fn page(found: Result<Page, Failure>) -> Option<Finding> {
    Some(match found {
        Ok(Page::Nowhere) => return None,
        Ok(Page::At(address)) => fine("dashboard", format!("{address} is free")),
        Ok(Page::Doubtful(failure)) => Finding { grade: Grade::Note, ..as_found("dashboard", "", Err(failure)) },
        Err(failure) => as_found("dashboard", "", Err(failure)),
    })
}

fn peers(peers: Vec<PeerView>) -> Vec<Finding> {
    let online = peers.iter().filter(|peer| peer.online).count();
    let summary = fine("peers", format!("{}, {online} online", peers.len()));
    let (here, gone): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.online);
    let wrong = here.into_iter().filter_map(|peer| {
        let todo = "see \"Rigs from one image\" in docs/operating.md";
        Some(bad("peer", format!("{}: {}", peer.name, peer.problem?), todo))
    });
    let gone = gone.into_iter().map(|peer| {
        let why = peer.problem.unwrap_or_else(|| "no reason known".to_owned());
        let todo = format!("check that it runs, and its address: {}", peer.address.as_deref().unwrap_or("none known"));
        note("peer", format!("{} is offline: {why}", peer.name), todo)
    });
    std::iter::once(summary).chain(wrong).chain(gone).collect()
}

fn program(found: &ProgramFound) -> Finding {
    match (&found.path, &found.problem) {
        (None, Some(problem)) if found.named => {
            bad("program", problem.clone(), "name it where it lies, or name nothing to have it looked for")
        }
        (None, Some(problem)) => note("program", problem.clone(), "install it to mine with it, or mend what is named"),
        (None, None) => note("program", format!("{} was not found", found.program), "install it to mine with it"),
        (Some(path), Some(problem)) => bad(
            "program",
            format!("{} at {}: {problem}", found.program, path.display()),
            "install one that runs on this machine",
        ),
        (Some(path), None) => {
            let version = found.version.as_deref().unwrap_or("of unknown version");
            fine("program", format!("{} {version} at {}", found.program, path.display()))
        }
    }
}

fn huge_pages(meminfo: &io::Result<String>) -> Finding {
    let total = meminfo.as_ref().ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("HugePages_Total:")?.trim().parse::<u64>().ok())
    });
    match total {
        None => note("huge pages", "not known on this system", "RandomX is slower without them"),
        Some(0) => note("huge pages", "none reserved", "for RandomX: `sysctl -w vm.nr_hugepages=1280`"),
        Some(pages) => fine("huge pages", format!("{pages} reserved")),
    }
}

fn clock(now: u64) -> Finding {
    if now < NEVER_BEFORE {
        bad("clock", "it stands before 2026", "set it: `timedatectl set-ntp true`")
    } else {
        fine("clock", "plausible")
    }
}

fn text(findings: &[Finding], width: Option<usize>) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.grade {
            Grade::Bad => "✗",
            Grade::Fine => "✓",
            Grade::Note => "!",
        };
        text += &format!("{mark} {:<14}{}\n", finding.check, folded(&clean(&finding.found), 16, width));
        if let Some(todo) = &finding.todo {
            text += &format!("  {:<14}→ {}\n", "", folded(&clean(todo), 18, width));
        }
    }
    text
}

/// Lines of no more than the width, where words allow it, under the one that begins at `indent`.
fn folded(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let (mut folded, mut column) = (String::new(), indent);
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            folded += &format!("\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            folded.push(' ');
            column += 1;
        }
        folded += word;
        column += length;
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_that_others_can_read_is_bad() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join("private.key");
        assert_eq!(identity(&key).grade, Grade::Note);
        crate::store::atomic::write(&key, b"seed").unwrap();
        assert_eq!(identity(&key).grade, Grade::Fine);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let found = identity(&key);
        assert_eq!(found.grade, Grade::Bad);
        assert!(text(&[found], None).contains("mode 640"));
    }

    #[test]
    fn a_long_finding_goes_on_under_its_beginning() {
        let finding = note("program", "no xmrig on this rig: looked in PATH and /usr/local/bin", "install it");
        assert_eq!(
            text(&[finding], Some(40)),
            "\
! program       no xmrig on this rig:
                looked in PATH and
                /usr/local/bin
                → install it
"
        );
    }

    #[test]
    fn an_address_in_use_is_bad_and_its_port_at_another_is_not() {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let taken = listener.local_addr().unwrap();
        assert_eq!(place(taken).grade, Grade::Bad);
        assert_eq!(place(SocketAddr::from(([0; 4], taken.port()))).grade, Grade::Bad);
        assert_eq!(place(SocketAddr::from(([127, 0, 0, 3], taken.port()))).grade, Grade::Fine);
    }

    #[test]
    fn a_certificate_is_told_two_weeks_before_its_end() {
        let left = |left: u64| certificate(NEVER_BEFORE + left, NEVER_BEFORE);
        assert_eq!(left(14 * DAY), fine("certificate", "good for 14 days"));
        for (seconds, found) in [(14 * DAY - 1, "in 13 days"), (DAY - 1, "within a day"), (0, "within a day")] {
            let finding = left(seconds);
            assert!(finding.grade == Grade::Note && finding.found.contains(found), "{finding:?}");
        }
        assert_eq!(certificate(NEVER_BEFORE - 1, NEVER_BEFORE).grade, Grade::Bad);
    }

    #[test]
    fn a_clock_that_was_never_set_and_missing_huge_pages_are_told() {
        assert_eq!(clock(0).grade, Grade::Bad);
        assert_eq!(clock(NEVER_BEFORE).grade, Grade::Fine);
        assert_eq!(huge_pages(&Ok("HugePages_Total:     128\n".into())).grade, Grade::Fine);
        assert_eq!(huge_pages(&Ok("HugePages_Total:       0\n".into())).grade, Grade::Note);
    }
}
