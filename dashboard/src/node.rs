//! All that the gateway asks of a node.
//!
//! `node` implements [`Node`] on its handle; the tests of this crate implement it in memory. Peers are named by the
//! text the person gave (name, node id or enough of its beginning): the node resolves it.

use std::future::Future;

use miner_ctrl_protocol::message::{LogPage, MinerChoice, ProfileChoice};
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{
    Hashrate, Measure, MinerName, MinerStatus, NodeId, NodeName, Permission, ProfileDraft, ProfileName, Program,
    Refusal, RigStats, Role,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::shape;
use crate::rates::{AlgorithmRate, Rates};
use crate::records::Records;

/// This node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// Its handle.
    #[schemars(with = "shape::NodeId")]
    pub id: NodeId,
    /// What its operator calls it.
    #[schemars(with = "shape::NodeName")]
    pub name: NodeName,
    /// What it is for.
    #[schemars(with = "shape::Role")]
    pub role: Role,
    /// libp2p's spelling of its public key.
    pub peer_id: String,
    /// X25519 public key, base64.
    pub public_key: String,
    /// Fingerprint of its key in words, for people.
    pub fingerprint: String,
    /// Unix time, seconds.
    pub created_at: u64,
    /// Version of miner-ctrl.
    pub version: String,
    /// Whether `node serve` is running; false when a command line started the node for one command.
    pub serving: bool,
    /// Multiaddrs it listens on, with `/p2p/`.
    pub addresses: Vec<String>,
    /// Registered peers.
    pub peers: usize,
    /// Of these, connected now.
    pub peers_online: usize,
    /// How strangers can pair: `ask`, `code` or `off`.
    pub pairing: String,
    /// The pairing code, while one is showing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pairing_code: Option<String>,
    /// Where data lies.
    pub data_dir: String,
    /// Where configuration lies.
    pub config_dir: String,
    /// Where the page is served, when it is; told by the gateway.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dashboard: Option<String>,
    /// SHA-256 of the certificate that it is served with, as browsers show it; told by the gateway.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate: Option<String>,
    /// Until when that is good, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate_expires_at: Option<u64>,
}

/// What the node knows of its own workings, for its metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Internals {
    /// Connections that the mesh turned away since the node started.
    pub connections_refused: u64,
    /// Sealed messages that the mesh refused since the node started, by the word for the cause.
    pub messages_refused: Vec<(&'static str, u64)>,
    /// Size of the database with its log, bytes; none when it cannot be told.
    pub database_bytes: Option<u64>,
    /// Asynchronous tasks that are under way: a few of the node itself, two for each connection, and some for each request.
    pub tasks: u64,
    /// The node's process; none where the system does not tell.
    pub process: Option<Process>,
}

/// What the node's process takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// User and system time since it started, seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// When it started, Unix seconds.
    pub started_at: f64,
}

/// A profile of this node that was just stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredProfile {
    /// As it is stored.
    pub profile: ProfileDraft,
    /// Whether there was none of that name.
    pub created: bool,
}

/// What to call this node, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitNode {
    /// Its name.
    #[schemars(with = "shape::NodeName")]
    pub name: NodeName,
    /// What it is for; left out, what it is already.
    #[schemars(with = "Option<shape::Role>")]
    #[serde(default)]
    pub role: Option<Role>,
}

/// What this node is called and what it is for, from its next start on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Initialised {
    /// Its name.
    #[schemars(with = "shape::NodeName")]
    pub name: NodeName,
    /// What it is for.
    #[schemars(with = "shape::Role")]
    pub role: Role,
    /// Whether the node that runs still goes by the name or the role before: start it anew.
    pub restart_needed: bool,
}

/// One registered peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// Its handle.
    #[schemars(with = "shape::NodeId")]
    pub id: NodeId,
    /// What we call it.
    #[schemars(with = "shape::NodeName")]
    pub name: NodeName,
    /// What it is for, by its own word.
    #[schemars(with = "shape::Role")]
    pub role: Role,
    /// libp2p's spelling of its key.
    pub peer_id: String,
    /// Address that works or was last given, without `/p2p/`; none when only it dials us.
    pub address: Option<String>,
    /// All addresses we would dial.
    pub addresses: Vec<String>,
    /// What it may ask of us.
    #[schemars(with = "shape::Permission")]
    pub permission: Permission,
    /// Whether its link is up.
    pub online: bool,
    /// Smoothed round trip of libp2p's ping, milliseconds; none when offline or not measured yet.
    pub ping_ms: Option<f64>,
    /// 0 to 100, see fleet/reputation.rs.
    pub score: u8,
    /// Unix time of the last sign of life, seconds; none means never.
    pub last_seen: Option<u64>,
    /// Unix time of pairing, seconds.
    pub paired_at: u64,
    /// Program and version, by its own word.
    pub agent: Option<String>,
    /// Why it is not online, when the last dial told; or that two machines use its identity.
    pub problem: Option<String>,
}

/// What to change of a registered peer; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerChange {
    /// What we call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shape::NodeName>")]
    pub name: Option<NodeName>,
    /// What it may ask of us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shape::Permission>")]
    pub permission: Option<Permission>,
}

/// A stranger that wants to pair and waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PendingView {
    /// Its handle.
    #[schemars(with = "shape::NodeId")]
    pub id: NodeId,
    /// The name it gave.
    #[schemars(with = "shape::NodeName")]
    pub name: NodeName,
    /// The role it gave.
    #[schemars(with = "shape::Role")]
    pub role: Role,
    /// Where it comes from.
    pub address: String,
    /// Seconds since it first asked.
    pub age_seconds: u64,
    /// Fingerprint words: compare them with those the other side shows.
    pub words: String,
}

/// What to add.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPeer {
    /// `host`, `host:port` or a multiaddr, with or without `/p2p/<peer id>`.
    pub address: String,
    /// What to call it; left out, the name it gives itself. One that is paired already keeps the name that it has: another
    /// one is refused.
    #[serde(default)]
    #[schemars(with = "Option<shape::NodeName>")]
    pub name: Option<NodeName>,
    /// The code that the peer shows; left out, its operator approves.
    #[serde(default)]
    pub code: Option<String>,
    /// What it may ask of us; left out, by the roles.
    #[serde(default)]
    #[schemars(with = "Option<shape::Permission>")]
    pub permission: Option<Permission>,
    /// The `peer_id` of an answer `pending`: another node that answers there now is refused.
    #[serde(default)]
    pub peer_id: Option<String>,
}

/// How adding a peer stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Added {
    /// Both sides hold each other's key.
    Paired {
        /// The new peer.
        peer: Box<PeerView>,
    },
    /// The other side's operator must approve; ask again with the same address, and this peer id: the words are those of
    /// this node alone.
    Pending {
        /// Handle of the node found at the address.
        #[schemars(with = "shape::NodeId")]
        id: NodeId,
        /// Its peer id.
        peer_id: String,
        /// Words to compare with those shown there.
        words: String,
    },
}

/// A measured round trip through every layer to a peer's worker and back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pinged {
    /// The peer.
    #[schemars(with = "shape::NodeId")]
    pub id: NodeId,
    /// Its name.
    #[schemars(with = "shape::NodeName")]
    pub name: NodeName,
    /// Milliseconds.
    pub round_trip_ms: f64,
}

/// One rig as the node last heard of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RigView {
    /// The peer.
    pub peer: PeerView,
    /// Its last statistics; none when it never answered or may not be read.
    #[schemars(with = "Option<shape::RigStats>")]
    pub stats: Option<RigStats>,
    /// The algorithm of which it computes most now; none when not known.
    pub algorithm: Option<String>,
    /// Sum over its miners of that algorithm, or over all when none tells what it hashes; none while not known, as of a
    /// rig that is away.
    #[schemars(with = "Option<shape::Hashrate>")]
    pub hashrate: Option<Hashrate>,
    /// The further algorithms that it computes now. Rates of different ones do not add up.
    pub also: Vec<AlgorithmRate>,
    /// Seconds since these statistics were current; 0 while they are. A rig can be connected and not tell its numbers.
    pub age_seconds: Option<u64>,
    /// Why there are none, or why they are old; or what is wrong with the rig.
    pub problem: Option<String>,
}

impl RigView {
    /// A rig of which this was heard, so many seconds after it was current.
    #[must_use]
    pub fn new(peer: PeerView, stats: Option<RigStats>, age_seconds: Option<u64>, problem: Option<String>) -> Self {
        let mut this = Self { peer, stats, algorithm: None, hashrate: None, also: vec![], age_seconds, problem };
        if let Some(stats) = this.current() {
            let Rates { algorithm, hashrate, also } = Rates::of(stats.miners.iter());
            (this.algorithm, this.hashrate, this.also) = (algorithm, hashrate, also);
        }
        this
    }

    /// Its statistics while they are current. What it said last is not what it does.
    #[must_use]
    pub fn current(&self) -> Option<&RigStats> {
        self.stats.as_ref().filter(|_| self.peer.online && self.age_seconds == Some(0))
    }
}

/// What a command to a rig's miner found or reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MinerOutcome {
    /// The rig.
    #[schemars(with = "shape::NodeName")]
    pub rig: NodeName,
    /// The miner or miners.
    #[schemars(with = "Vec<shape::MinerStatus>")]
    pub miners: Vec<MinerStatus>,
    /// False when they were found so already.
    pub changed: bool,
}

/// A profile that a rig has stored, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RigProfile {
    /// Its name.
    #[schemars(with = "shape::ProfileName")]
    pub name: ProfileName,
    /// Which program runs it.
    #[schemars(with = "shape::Program")]
    pub program: Program,
    /// Algorithm or coin; none when the pool says.
    pub algorithm: Option<String>,
    /// Pool addresses, in order of priority.
    pub pools: Vec<String>,
}

/// What deploying a profile, or taking it back, found or reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeployOutcome {
    /// The rig.
    #[schemars(with = "shape::NodeName")]
    pub rig: NodeName,
    /// The profile.
    #[schemars(with = "shape::ProfileName")]
    pub profile: ProfileName,
    /// False when the rig had it already, or had it no more.
    pub changed: bool,
    /// Miners that go on with another profile of this name, the one that they were started with.
    #[schemars(with = "Vec<shape::MinerName>")]
    pub others: Vec<MinerName>,
}

impl DeployOutcome {
    /// What else there is to say of it, in words, with what goes before; nothing when there is nothing.
    #[must_use]
    pub fn going_on(&self) -> String {
        let names = self.others.iter().map(MinerName::as_str).collect::<Vec<_>>().join(", ");
        match self.others.len() {
            0 => String::new(),
            1 => format!("; {names} goes on with the one it was started with: stop it, then start it"),
            _ => format!("; {names} go on with the ones they were started with: stop them, then start them"),
        }
    }
}

/// What to do with miners of a rig.
#[derive(Debug, Clone, PartialEq)]
pub enum MinerCommand {
    /// Restart one; none when there is only one.
    Restart(Option<MinerName>),
    /// Start with a profile: the rig's own, or one of this node's sent along.
    Start {
        /// Which profile.
        profile: ProfileChoice,
        /// Which instance.
        miner: Option<MinerName>,
    },
    /// Stop.
    Stop(MinerChoice),
}

/// Which console lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Whose; may be left out when there is one.
    pub miner: Option<MinerName>,
    /// At most this many.
    pub lines: u32,
    /// Only lines above this number.
    pub after: Option<u64>,
    /// Seconds to wait for a line.
    pub wait: u32,
}

/// Which numbers of a rig.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryQuery {
    /// Of this miner; left out, of all.
    pub miner: Option<MinerName>,
    /// What was measured.
    pub measure: Measure,
    /// From this Unix time on, seconds; left out, of the last day.
    pub since: Option<u64>,
    /// Seconds from one number to the next, one of [`History::STEPS`]; left out, as a chart needs it.
    pub step: Option<u64>,
}

/// Numbers over time, evenly spaced, in columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Unix time of the first number, seconds.
    pub t0: u64,
    /// Seconds from one number to the next.
    pub step: u64,
    /// What was measured.
    #[schemars(with = "shape::Measure")]
    pub measure: Measure,
    /// Which measures there are of these miners.
    #[schemars(with = "Vec<shape::Measure>")]
    pub measures: Vec<Measure>,
    /// One for each miner, or of a fleet for each algorithm.
    pub series: Vec<HistorySeries>,
}

impl History {
    /// What is kept: 10 s for a day, 1 min for 30 days, 15 min for 400 days.
    pub const STEPS: [u64; 3] = [10, 60, 900];
}

/// Numbers of one miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistorySeries {
    /// The miner, or the algorithm.
    pub id: String,
    /// Hashes per second, watts, accepted shares in a minute or degrees Celsius; null where nothing is known.
    pub v: Vec<Option<f32>>,
}

/// Why a node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NodeError {
    /// The beginning of an id that fits several.
    #[error("`{asked}` fits several peers: {}", candidates.join(", "))]
    AmbiguousPeer {
        /// What was asked for.
        asked: String,
        /// What it fits, as `name (id)`.
        candidates: Vec<String>,
    },
    /// The rig's answer to a request that was sent is none.
    #[error("{peer} sent an answer that cannot be read: whether it was done is not known")]
    BadAnswer {
        /// Who.
        peer: NodeName,
    },
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Something broke here; the log has the cause.
    #[error("{0}")]
    Internal(String),
    /// A value cannot be taken.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nobody answers where a new peer should be.
    #[error("{why}")]
    NobodyToPair {
        /// What happened.
        why: String,
        /// What to do.
        hint: String,
    },
    /// Pairing did not come about.
    #[error("{why}")]
    PairingFailed {
        /// What happened.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The rig answered with a refusal.
    #[error("{peer} refused: {refusal}")]
    Refused {
        /// Who.
        peer: NodeName,
        /// Why.
        refusal: Refusal,
    },
    /// This node itself refuses, e.g. a command to its own miners.
    #[error("{0}")]
    RefusedHere(Refusal),
    /// The connection ended after the request was sent.
    #[error("the connection to {peer} ended before its answer came: whether it was done is not known")]
    Lost {
        /// Who.
        peer: NodeName,
    },
    /// The node is stopping.
    #[error("this node is shutting down")]
    ShuttingDown,
    /// No answer in time: the command may have been carried out or not.
    #[error("no answer from {peer} within {seconds} s: whether it was done is not known")]
    Timeout {
        /// Who.
        peer: NodeName,
        /// How long we waited.
        seconds: u64,
    },
    /// No such pairing request.
    #[error("no pairing request `{0}`")]
    UnknownPending(String),
    /// No such peer.
    #[error("no peer `{asked}`{}", begin_so(similar))]
    UnknownPeer {
        /// What was asked for.
        asked: String,
        /// Some of those whose name or id begins so, as `name (id)`.
        similar: Vec<String>,
    },
    /// No such profile on this node.
    #[error("no profile `{0}` on this node")]
    UnknownProfile(ProfileName),
    /// No connection to it.
    #[error("{peer} is not connected{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Unreachable {
        /// Who.
        peer: String,
        /// What the last dial met.
        why: Option<String>,
    },
}

impl NodeError {
    /// No such peer, nor any that is called alike.
    #[must_use]
    pub fn unknown_peer(asked: impl Into<String>) -> Self {
        Self::UnknownPeer { asked: asked.into(), similar: vec![] }
    }
}

fn begin_so(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!("; perhaps {}?", similar.join(", ")) }
}

/// What the gateway needs of a node. Every call is bounded in time by the node.
pub trait Node: Records + Clone {
    /// This node.
    fn info(&self) -> impl Future<Output = NodeInfo> + Send;
    /// What goes on inside.
    fn internals(&self) -> impl Future<Output = Internals> + Send;
    /// Names a node that was made without a name of its operator's choice; one that was named is a conflict.
    fn init(&self, init: InitNode) -> impl Future<Output = Result<Initialised, NodeError>> + Send;
    /// All registered peers, by name.
    fn peers(&self) -> impl Future<Output = Vec<PeerView>> + Send;
    /// One registered peer.
    fn peer(&self, peer: &str) -> impl Future<Output = Result<PeerView, NodeError>> + Send;
    /// Which rig a person means: a registered peer, or this node itself.
    fn named(&self, rig: &str) -> impl Future<Output = Result<(NodeId, NodeName), NodeError>> + Send;
    /// Pairs with the node at an address.
    fn add_peer(&self, add: AddPeer) -> impl Future<Output = Result<Added, NodeError>> + Send;
    /// Calls a peer something else, or grants it something else.
    fn change_peer(&self, peer: &str, change: PeerChange) -> impl Future<Output = Result<PeerView, NodeError>> + Send;
    /// Forgets a peer and cuts it off.
    fn remove_peer(&self, peer: &str) -> impl Future<Output = Result<PeerView, NodeError>> + Send;
    /// Measures a round trip.
    fn ping_peer(&self, peer: &str) -> impl Future<Output = Result<Pinged, NodeError>> + Send;
    /// Strangers that wait for approval.
    fn pending(&self) -> impl Future<Output = Vec<PendingView>> + Send;
    /// Admits a stranger, named by its words or its id.
    fn approve(
        &self,
        request: &str,
        permission: Option<Permission>,
    ) -> impl Future<Output = Result<PeerView, NodeError>> + Send;
    /// Turns a stranger away, named by its words or its id.
    fn deny(&self, request: &str) -> impl Future<Output = Result<PendingView, NodeError>> + Send;
    /// Shows a new pairing code in place of the one before.
    fn pairing_code(&self) -> impl Future<Output = Result<String, NodeError>> + Send;
    /// Every rig that this node may read, as it was last heard.
    fn rigs(&self) -> impl Future<Output = Vec<RigView>> + Send;
    /// Every peer as it was last heard, whether it mines or not, and this node itself when it mines. Never asks anybody:
    /// it is called each second.
    fn fleet(&self) -> impl Future<Output = Vec<RigView>> + Send;
    /// One rig.
    fn rig(&self, peer: &str) -> impl Future<Output = Result<RigView, NodeError>> + Send;
    /// Numbers of a rig over time.
    fn history(&self, peer: &str, query: HistoryQuery) -> impl Future<Output = Result<History, NodeError>> + Send;
    /// Sums of the whole fleet's hashrates over time: a series for each algorithm. `miner` of the query is not asked for.
    fn fleet_history(&self, query: HistoryQuery) -> impl Future<Output = Result<History, NodeError>> + Send;
    /// Starts, stops or restarts miners of a rig.
    fn command(
        &self,
        peer: &str,
        command: MinerCommand,
    ) -> impl Future<Output = Result<MinerOutcome, NodeError>> + Send;
    /// Hears a rig anew, so that whoever looks next sees what a command did. Where that fails, it is seen a little later.
    fn hear(&self, peer: &str) -> impl Future<Output = ()> + Send;
    /// Sends one of this node's profiles to a rig.
    fn deploy(
        &self,
        peer: &str,
        profile: &ProfileName,
    ) -> impl Future<Output = Result<DeployOutcome, NodeError>> + Send;
    /// The profiles that a rig has stored, by name.
    fn rig_profiles(&self, peer: &str) -> impl Future<Output = Result<Vec<RigProfile>, NodeError>> + Send;
    /// Makes a rig forget a stored profile; what runs of it runs on.
    fn undeploy(
        &self,
        peer: &str,
        profile: &ProfileName,
    ) -> impl Future<Output = Result<DeployOutcome, NodeError>> + Send;
    /// Console lines of a miner on a rig.
    fn logs(&self, peer: &str, query: LogQuery) -> impl Future<Output = Result<LogPage, NodeError>> + Send;
    /// Profiles of this node, by name.
    fn profiles(&self) -> impl Future<Output = Result<Vec<ProfileDraft>, NodeError>> + Send;
    /// One profile of this node.
    fn profile(&self, name: &ProfileName) -> impl Future<Output = Result<ProfileDraft, NodeError>> + Send;
    /// Stores a profile on this node; with `replace` false, one of that name is a conflict.
    fn put_profile(
        &self,
        draft: ProfileDraft,
        replace: bool,
    ) -> impl Future<Output = Result<StoredProfile, NodeError>> + Send;
    /// Forgets a profile of this node.
    fn remove_profile(&self, name: &ProfileName) -> impl Future<Output = Result<(), NodeError>> + Send;
}
