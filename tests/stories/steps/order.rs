//! What an operator does, and how it ends.

use std::cell::RefCell;
use std::process::Command;

use miner_ctrl_tests::{Home, Ran, wait_for};
use serde_json::Value;

use crate::LONGEST;

/// What an operator does.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Types the command that forgets this peer.
    Forget(String),
    /// Begins a job over the API, and looks at it until it is over or forgotten.
    Job(Value),
    /// Types a command.
    Line(String),
    /// Types a command about a peer: that may be called something else after it, or not be known yet.
    Peer(String),
    /// Asks as one whom the other side's operator denied: it is done when that is told.
    Refused(String),
    /// Types a command and what it reads, or what its editor saves.
    Typed(&'static str, &'static str),
}

impl From<String> for Order {
    fn from(line: String) -> Self {
        Self::Line(line)
    }
}

impl Order {
    /// Whether the controller knows the rig after it as it did before.
    pub(crate) fn leaves_peers_alone(&self) -> bool {
        match self {
            Self::Job(_) | Self::Line(_) | Self::Typed(..) => true,
            Self::Forget(_) | Self::Peer(_) | Self::Refused(_) => false,
        }
    }

    /// The command of one that is typed.
    pub(crate) fn command(&self, home: &Home) -> Command {
        match self {
            Self::Forget(peer) => home.command(&["peer", "remove", peer]),
            Self::Job(job) => panic!("nobody types {job}"),
            Self::Line(line) | Self::Peer(line) | Self::Refused(line) => {
                home.command(&line.split_whitespace().collect::<Vec<_>>())
            }
            Self::Typed(line, typed) => home.typing(line, typed),
        }
    }

    /// Gives it to the node of this home, and says how it ended. A job is said as a command to many is.
    pub(crate) async fn give(&self, home: &Home) -> Ran {
        let job = match self {
            Self::Forget(peer) => return home.run(&format!("peer remove {peer}")).await,
            Self::Job(job) => job,
            Self::Line(line) | Self::Peer(line) => return home.run(line).await,
            Self::Refused(line) => {
                let ran = home.run(line).await;
                let is_told = ran.stderr.contains("its operator denied it");
                return Ran { code: Some(i32::from(!is_told)), ..ran };
            }
            Self::Typed(line, typed) => return home.run_typing(line, typed).await,
        };
        let seen = RefCell::new(document(home.call("POST", "/api/v1/mining/jobs", Some(job)).await));
        wait_for("the job is over or forgotten", LONGEST, async || {
            let id = match seen.borrow().as_ref() {
                Some(job) if job["ended"].is_null() => job["id"].as_str()?.to_owned(),
                _ => return Some(()),
            };
            match document(home.call("GET", &format!("/api/v1/mining/jobs/{id}"), None).await) {
                Some(now) => drop(seen.replace(Some(now))),
                None => return Some(()),
            }
            None
        })
        .await;
        let job_seen = seen.take().unwrap_or_default();
        let rigs = job_seen["rigs"].as_array().cloned().unwrap_or_default();
        let is_done = |rig: &&Value| rig["state"] == "done";
        let line = |rig: &Value| {
            let sign = if is_done(&rig) { '✓' } else { '✗' };
            let [name, detail] = ["name", "detail"].map(|field| rig[field].as_str().unwrap_or_default());
            format!("{sign} {name}: {detail}\n")
        };
        let all = !rigs.is_empty() && rigs.iter().filter(is_done).count() == rigs.len();
        Ran {
            line: format!("POST /jobs {job}"),
            code: Some(i32::from(!all)),
            stdout: rigs.iter().map(line).collect(),
            // Whoever asks for a job that nobody knows is told to look for himself.
            stderr: if all { String::new() } else { "hint: look at the rigs".to_owned() },
        }
    }
}

/// The job of an answer; none when there was no answer, or it is no job.
fn document(answer: std::io::Result<String>) -> Option<Value> {
    let answer = answer.ok().filter(|answer| answer.starts_with("HTTP/1.1 20"))?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}
