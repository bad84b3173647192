//! The whole conversation between two nodes, on one screen.
//!
//! Encoded by [`crate::codec`]. New fields are optional, so that an older node ignores them; a request that a node
//! does not know is refused as [`Refusal::Unsupported`].

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::history::HistoryPage;
use crate::id::NodeId;
use crate::name::{MinerName, NodeName, ProfileName};
use crate::policy::{Policy, Verb};
use crate::profile::{Invalid, MAX_POOL_URL, MAX_POOLS, MAX_PROFILES, ProfileDraft, Program};
use crate::role::{Permission, Role};
use crate::smsg::LinkNonce;
use crate::stats::{self, MAX_MINERS, MinerStatus, RigStats};

/// Longest time a `Watch` or a following `Logs` may wait for something to change, seconds.
pub const MAX_WAIT_SECONDS: u32 = 30;

/// Most console lines in an answer; with [`MAX_LINE`] a page stays inside one sealed message.
pub const MAX_LOG_LINES: u32 = 1000;

/// Longest console line kept, bytes. Mining programs write tables of some 120 columns.
pub const MAX_LINE: usize = 240;

/// Longest reason in a refusal, bytes: more than any of ours has, and less than a screen.
pub const MAX_REASON: usize = 2048;

/// The first frame each way on every link, inside Noise and not sealed: there is no session yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions of the sealed message that the node understands.
    pub versions: Vec<u8>,
    /// Its handle. Informative: the receiver computes it from the connection's key and refuses another.
    pub node_id: NodeId,
    /// What its operator calls it.
    pub name: NodeName,
    /// What it is for.
    pub role: Role,
    /// Fresh for this connection: sessions sealed for another connection do not open here.
    pub nonce: LinkNonce,
    /// Program and version, e.g. `miner-ctrl/0.1.0`.
    pub agent: String,
    /// Optional abilities, by name. None yet.
    #[serde(default)]
    pub features: Vec<String>,
    /// Random at each start of the program. Two of them at one time, with one key, are a disk and its copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<u64>,
}

/// What one node asks of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Store a profile on the rig. The same profile twice is stored once.
    DeployProfile {
        /// The profile; the rig checks it, and its policy, itself.
        profile: ProfileDraft,
    },
    /// What the rig has recorded over time.
    History {
        /// From when on, by the rig's own clock, Unix seconds.
        since: u64,
        /// Seconds from one number to the next, one of 10, 60 and 900.
        step: u64,
    },
    /// Console lines of a miner.
    Logs {
        /// Which one; may be left out when there is one.
        miner: Option<MinerName>,
        /// At most this many, the newest.
        lines: u32,
        /// Only lines with a number above this.
        after: Option<u64>,
        /// Seconds to wait for a line when there is none.
        wait: u32,
    },
    /// An answer at once; what it took is the round trip through every layer.
    Ping {
        /// The asker's own clock or counter, returned as it came.
        sent_at: u64,
    },
    /// What the rig allows.
    Policy,
    /// The profiles that the rig holds.
    Profiles,
    /// Forget a profile. Running miners go on.
    RemoveProfile {
        /// Which.
        name: ProfileName,
    },
    /// Stop, then start with the same profile.
    RestartMiner {
        /// Which one; may be left out when there is one.
        miner: Option<MinerName>,
    },
    /// Start a miner, or find it running with this profile already.
    StartMiner {
        /// Name of a profile on the rig, or a whole one.
        profile: ProfileChoice,
        /// Instance to start; left out, the one that runs this profile or the first free name.
        miner: Option<MinerName>,
    },
    /// The rig's statistics now.
    Stats,
    /// Stop one miner or all, or find them stopped.
    StopMiner {
        /// Which.
        miner: MinerChoice,
    },
    /// The rig's statistics when they differ from what the asker has, within a second.
    Watch {
        /// The revision that the asker has.
        after: u64,
        /// Seconds to wait at most; then the answer is the unchanged statistics.
        wait: u32,
    },
}

/// Which profile to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ProfileChoice {
    /// This one, not stored.
    Inline(Box<ProfileDraft>),
    /// The rig's own of this name.
    Stored(ProfileName),
}

/// Which miners to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MinerChoice {
    /// Every one.
    All,
    /// This one.
    Named(MinerName),
    /// The only one there is.
    Only,
}

impl Request {
    /// Names of all requests as they stand on the wire, for telling an unknown one from a damaged one.
    pub const NAMES: [&'static str; 12] = [
        "DeployProfile",
        "History",
        "Logs",
        "Ping",
        "Policy",
        "Profiles",
        "RemoveProfile",
        "RestartMiner",
        "StartMiner",
        "Stats",
        "StopMiner",
        "Watch",
    ];

    /// What the asker must have been granted.
    #[must_use]
    pub const fn needs(&self) -> Permission {
        match self {
            Self::Ping { .. } => Permission::None,
            Self::History { .. } | Self::Logs { .. } | Self::Profiles | Self::Stats | Self::Watch { .. } => {
                Permission::View
            }
            // A policy lists wallets, which nothing else tells to one who may only look.
            Self::DeployProfile { .. }
            | Self::Policy
            | Self::RemoveProfile { .. }
            | Self::RestartMiner { .. }
            | Self::StartMiner { .. }
            | Self::StopMiner { .. } => Permission::Control,
        }
    }

    /// What a rig's policy calls this, for requests that a policy can forbid.
    #[must_use]
    pub const fn verb(&self) -> Option<Verb> {
        match self {
            Self::DeployProfile { .. } => Some(Verb::Deploy),
            Self::Logs { .. } => Some(Verb::Logs),
            Self::Ping { .. } | Self::Policy | Self::Profiles => None,
            Self::RemoveProfile { .. } => Some(Verb::Remove),
            Self::RestartMiner { .. } => Some(Verb::Restart),
            Self::StartMiner { .. } => Some(Verb::Start),
            Self::History { .. } | Self::Stats | Self::Watch { .. } => Some(Verb::Stats),
            Self::StopMiner { .. } => Some(Verb::Stop),
        }
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The profile is stored; `changed` is false when it was there already.
    Deployed {
        /// Whether anything was written.
        changed: bool,
        /// Miners that go on with another profile of this name, the one that they were started with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<MinerName>,
    },
    /// What was recorded.
    History(HistoryPage),
    /// Console lines.
    Logs(LogPage),
    /// The miner's state, found or reached.
    Miner {
        /// Where it stands now.
        status: Box<MinerStatus>,
        /// False when it was found so.
        changed: bool,
    },
    /// The miners' states, found or reached.
    Miners {
        /// Where they stand now.
        statuses: Vec<MinerStatus>,
        /// False when all were found so.
        changed: bool,
    },
    /// What the rig allows.
    Policy(Policy),
    /// To Ping.
    Pong {
        /// As it came.
        sent_at: u64,
    },
    /// What the rig holds.
    Profiles(Vec<ProfileSummary>),
    /// Not done, and why.
    Refused(Refusal),
    /// The profile is gone; `changed` is false when it was not there.
    Removed {
        /// Whether anything was removed.
        changed: bool,
    },
    /// To Stats and Watch.
    Stats(Box<RigStats>),
}

impl Response {
    /// Of a request that was sent twice, and perhaps carried out the first time: what the second found so is not said to
    /// have been so before.
    #[must_use]
    pub fn as_changed(mut self) -> Self {
        match &mut self {
            Self::Deployed { changed, .. }
            | Self::Miner { changed, .. }
            | Self::Miners { changed, .. }
            | Self::Removed { changed } => *changed = true,
            Self::History(_)
            | Self::Logs(_)
            | Self::Policy(_)
            | Self::Pong { .. }
            | Self::Profiles(_)
            | Self::Refused(_)
            | Self::Stats(_) => {}
        }
        self
    }

    /// Whether it has the size that an honest peer's has. A message can hold much that nobody should keep, or be shown.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        match self {
            Self::History(page) => page.is_plausible(),
            Self::Logs(page) => page.is_plausible(),
            Self::Miner { status, .. } => status.is_plausible(),
            Self::Miners { statuses, .. } => stats::are_plausible(statuses),
            Self::Refused(refusal) => refusal.is_plausible(),
            Self::Stats(stats) => stats.is_plausible(),
            Self::Profiles(stored) => are_plausible(stored),
            // Nobody shows these, or there is nothing in them.
            Self::Deployed { others, .. } => others.len() <= MAX_MINERS,
            Self::Policy(_) | Self::Pong { .. } | Self::Removed { .. } => true,
        }
    }
}

/// Each of another name, and with what a profile may hold.
fn are_plausible(stored: &[ProfileSummary]) -> bool {
    let names: HashSet<_> = stored.iter().map(|profile| &profile.name).collect();
    stored.len() <= MAX_PROFILES && names.len() == stored.len() && stored.iter().all(ProfileSummary::is_plausible)
}

/// A stored profile without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileSummary {
    /// Its name.
    pub name: ProfileName,
    /// Which program runs it.
    pub program: Program,
    /// Algorithm or coin.
    pub algorithm: Option<String>,
    /// Pool addresses in order.
    pub pools: Vec<String>,
}

impl From<ProfileDraft> for ProfileSummary {
    fn from(profile: ProfileDraft) -> Self {
        Self {
            name: profile.name,
            program: profile.program,
            algorithm: profile.algorithm.or(profile.coin),
            pools: profile.pools.into_iter().map(|pool| pool.url).collect(),
        }
    }
}

impl ProfileSummary {
    fn is_plausible(&self) -> bool {
        self.algorithm.as_ref().is_none_or(|text| text.len() <= stats::MAX_TEXT)
            && self.pools.len() <= MAX_POOLS
            && self.pools.iter().all(|pool| pool.len() <= MAX_POOL_URL)
    }
}

/// A piece of a miner's console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Whose console.
    pub miner: MinerName,
    /// Lines in order.
    pub lines: Vec<LogLine>,
    /// Number of the newest line there is; ask with `after` set to it for what follows.
    pub newest: u64,
    /// Lines after `after` that had left the ring before they could be given.
    pub lost: u64,
}

impl LogPage {
    fn is_plausible(&self) -> bool {
        self.lines.len() <= MAX_LOG_LINES as usize && self.lines.iter().all(|line| line.text.len() <= MAX_LINE)
    }
}

/// One line of a console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Goes up by one. A console that begins anew, with its node, goes on above the one before.
    pub number: u64,
    /// Without colours and control characters.
    pub text: String,
}

/// Why something was not done. A value, never a text to parse: each has one exit code, one HTTP status and one hint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Several miners could be meant.
    #[error("several miners could be meant: {}", join(miners))]
    AmbiguousMiner {
        /// Which.
        miners: Vec<MinerName>,
    },
    /// Too much at once; nothing was done.
    #[error("busy, try again in {retry_after_ms} ms")]
    Busy {
        /// Milliseconds after which trying again makes sense.
        retry_after_ms: u32,
    },
    /// It contradicts what is there; nothing was done.
    #[error("{why}")]
    Conflict {
        /// What is there.
        why: String,
    },
    /// Something broke at the other side, and is in its log under this number.
    #[error("internal error {id}{}", because(why.as_ref()))]
    Internal {
        /// Number in that node's log.
        id: u64,
        /// What its system said, such as that the disk is full: the log may be far away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A value cannot be taken.
    #[error(transparent)]
    Invalid(Invalid),
    /// A mining program cannot be started at the rig.
    #[error("{why}")]
    MinerUnavailable {
        /// What is missing and where it was looked for.
        why: String,
    },
    /// The peer was not granted this.
    #[error("not allowed: it needs the permission `{needs}`, and this peer was granted `{granted}`")]
    NotAllowed {
        /// What the request needs.
        needs: Permission,
        /// What the asker has.
        granted: Permission,
    },
    /// The asker is not registered there.
    #[error("not registered")]
    NotRegistered,
    /// The rig's policy forbids it.
    #[error("the rig's policy forbids it: {rule}")]
    PolicyForbids {
        /// The rule in words.
        rule: String,
    },
    /// A sealed message that was accepted before, or is too old to tell.
    #[error("a message that was accepted before, or is too old to tell")]
    Replayed,
    /// A pure controller runs no miner.
    #[error("it is a controller and runs no miner")]
    RunsNoMiner,
    /// The message was sealed for another connection, or by a session that has ended; seal it anew for this nonce.
    #[error("sealed for an earlier connection")]
    Stale {
        /// The nonce to seal for.
        nonce: LinkNonce,
    },
    /// More than fits one message.
    #[error("too large: at most {limit} bytes")]
    TooLarge {
        /// Bytes that fit.
        limit: u32,
    },
    /// No such miner there.
    #[error("no miner `{miner}` there{}", candidates(miners))]
    UnknownMiner {
        /// The name asked for.
        miner: String,
        /// What there is.
        miners: Vec<MinerName>,
    },
    /// No such profile there.
    #[error("no profile `{name}` there")]
    UnknownProfile {
        /// The name asked for.
        name: ProfileName,
    },
    /// The bytes do not open: damaged, altered, or sealed for somebody else.
    #[error("a message that cannot be opened")]
    Unreadable,
    /// A request that this version does not know.
    #[error("not supported by that version")]
    Unsupported,
}

impl Refusal {
    /// Whether it has the size of a reason.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        match self {
            Self::AmbiguousMiner { miners } => miners.len() <= MAX_MINERS,
            Self::Conflict { why } | Self::MinerUnavailable { why } | Self::PolicyForbids { rule: why } => {
                why.len() <= MAX_REASON
            }
            Self::Internal { why, .. } => why.as_ref().is_none_or(|why| why.len() <= MAX_REASON),
            Self::Invalid(Invalid { field, why }) => field.len() + why.len() <= MAX_REASON,
            Self::UnknownMiner { miner, miners } => miner.len() <= MAX_REASON && miners.len() <= MAX_MINERS,
            Self::Busy { .. }
            | Self::NotAllowed { .. }
            | Self::NotRegistered
            | Self::Replayed
            | Self::RunsNoMiner
            | Self::Stale { .. }
            | Self::TooLarge { .. }
            | Self::UnknownProfile { .. }
            | Self::Unreadable
            | Self::Unsupported => true,
        }
    }
}

fn join(miners: &[MinerName]) -> String {
    miners.iter().map(MinerName::as_str).collect::<Vec<_>>().join(", ")
}

fn because(why: Option<&String>) -> String {
    why.map_or_else(String::new, |why| format!(": {why}"))
}

fn candidates(miners: &[MinerName]) -> String {
    if miners.is_empty() { "; none is known".to_owned() } else { format!("; there are: {}", join(miners)) }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_anybody_says_is_not_plausible() {
        let page = |lines: usize, length: usize| {
            let text = "x".repeat(length);
            let lines = (1..=lines as u64).map(|number| LogLine { number, text: text.clone() }).collect();
            Response::Logs(LogPage { miner: "m".parse().unwrap(), lines, newest: 1, lost: 0 })
        };
        assert!(page(1000, 240).is_plausible());
        assert!(!page(1001, 1).is_plausible() && !page(1, 241).is_plausible());
        let refused = |length| Response::Refused(Refusal::Conflict { why: "x".repeat(length) });
        assert!(refused(MAX_REASON).is_plausible() && !refused(MAX_REASON + 1).is_plausible());
        let stored = |name: &str, pools: usize, length: usize| ProfileSummary {
            name: name.parse().unwrap(),
            program: Program::Xmrig,
            algorithm: Some("rx/0".to_owned()),
            pools: vec!["x".repeat(length); pools],
        };
        let profiles = |count: usize| (0..count).map(|n| stored(&format!("p{n}"), 1, 1)).collect();
        let whole = stored("p", MAX_POOLS, MAX_POOL_URL);
        for honest in [profiles(MAX_PROFILES), vec![whole.clone()]] {
            assert!(Response::Profiles(honest).is_plausible());
        }
        let talkative = ProfileSummary { algorithm: Some("x".repeat(stats::MAX_TEXT + 1)), ..whole.clone() };
        let larger = [vec![stored("p", MAX_POOLS + 1, 1)], vec![stored("p", 1, MAX_POOL_URL + 1)], vec![talkative]];
        for more in larger.into_iter().chain([profiles(MAX_PROFILES + 1), vec![whole.clone(), whole]]) {
            assert!(!Response::Profiles(more).is_plausible());
        }
        let miners = vec!["m".parse().unwrap(); MAX_MINERS + 1];
        assert!(!Refusal::UnknownMiner { miner: "m".to_owned(), miners }.is_plausible());
    }
}
