//! What readers see: the fleet at one moment, never changed, shared instead of copied.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_dashboard::NodeError;
use miner_ctrl_dashboard::node::{PeerView, PendingView, RigView};
use miner_ctrl_protocol::{NodeId, PeerKey, RigStats};
use tokio::time::Instant;

use super::admission::PendingRequest;
use super::registry::Peer;
use super::resolve;

/// The fleet at one moment.
#[derive(Debug, Clone, Default)]
pub struct FleetSnapshot {
    /// Grows with each snapshot.
    pub revision: u64,
    /// Grows when a peer is registered, removed, renamed, or its permission or addresses change: while it stands
    /// still, whoever keeps a list of keys need not look.
    pub membership: u64,
    /// Registered peers, by name.
    pub peers: Vec<Arc<PeerSnapshot>>,
    /// Strangers that wait for a person, oldest first.
    pub pending: Vec<PendingRequest>,
    /// Whether a pairing code is showing.
    pub code_showing: bool,
    /// Whether a stranger that connects now could possibly pair.
    pub pairing_possible: bool,
    /// Where each stands in `peers`.
    pub(super) places: Arc<Places>,
}

/// Where peers stand in a list: by key, and by id, as a job to thousands names them.
#[derive(Debug, Default)]
pub(super) struct Places {
    keys: HashMap<PeerKey, usize>,
    ids: HashMap<NodeId, usize>,
}

impl Places {
    pub(super) fn of(peers: &[Arc<PeerSnapshot>]) -> Self {
        let places = || peers.iter().map(|peer| &peer.peer).zip(0..);
        Self {
            keys: places().map(|(peer, place)| (peer.key, place)).collect(),
            ids: places().map(|(peer, place)| (peer.id, place)).collect(),
        }
    }

    pub(super) fn of_key(&self, key: &PeerKey) -> Option<usize> {
        self.keys.get(key).copied()
    }
}

/// A registered peer at one moment.
#[derive(Debug, Clone)]
pub struct PeerSnapshot {
    /// Who it is and what we know for good.
    pub peer: Arc<Peer>,
    /// How it is.
    pub state: PeerState,
}

/// How a peer is right now; gone with the process.
#[derive(Debug, Clone, Default)]
pub struct PeerState {
    /// Whether its link is up.
    pub online: bool,
    /// Smoothed round trip of libp2p's ping; none when offline or not measured yet.
    pub ping: Option<Duration>,
    /// Its last statistics.
    pub stats: Option<Heard>,
    /// Why it is not online, when the last dial told; or what went wrong last.
    pub problem: Option<String>,
    /// That two machines use its key, in words, and when that was last seen.
    pub copied: Option<(String, Instant)>,
}

/// Two machines with one key drive each other out each second or two while they mine, and each 32 s at most while they do not: a
/// link that lost waits for our open Watch. When they have not for so long, one has gone.
const COPIED: Duration = Duration::from_secs(60);

impl PeerState {
    fn copied(&self, now: Instant) -> Option<&String> {
        self.copied
            .as_ref()
            .filter(|(_, at)| self.online && now.saturating_duration_since(*at) < COPIED)
            .map(|(why, _)| why)
    }
}

/// Statistics and when they came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// What the rig said.
    pub stats: Arc<RigStats>,
    /// When it said so.
    pub at: Instant,
    /// When its link went down or was replaced, or since when nothing came after them that could be read; none while these
    /// statistics are current. A rig of which nothing changes says nothing for half a minute, and is.
    pub stale_since: Option<Instant>,
}

impl FleetSnapshot {
    /// A registered peer by its key.
    #[must_use]
    pub fn peer(&self, key: &PeerKey) -> Option<&Arc<PeerSnapshot>> {
        self.peers.get(self.places.of_key(key)?)
    }

    /// Which peer a person means: exact id, exact peer id, exact name, or the beginning of an id.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn resolve(&self, text: &str) -> Result<&Arc<PeerSnapshot>, NodeError> {
        let id = text.trim().parse().ok();
        if let Some(peer) = id.and_then(|id: NodeId| self.peers.get(*self.places.ids.get(&id)?)) {
            return Ok(peer);
        }
        let key = resolve::resolve(self.peers.iter().map(|peer| &*peer.peer), text)?;
        self.peer(&key).ok_or_else(|| NodeError::unknown_peer(text))
    }

    /// How many are online.
    #[must_use]
    pub fn online(&self) -> usize {
        self.peers.iter().filter(|peer| peer.state.online).count()
    }
}

impl PeerSnapshot {
    /// As the gateway shows a peer.
    #[must_use]
    pub fn view(&self, now: Instant) -> PeerView {
        let Peer { id, peer_id, name, role, permission, addresses, paired_at, last_seen, agent, reputation, .. } =
            &*self.peer;
        let copied = self.state.copied(now).cloned();
        PeerView {
            id: *id,
            name: name.clone(),
            role: *role,
            peer_id: peer_id.clone(),
            address: addresses.first().cloned(),
            addresses: addresses.clone(),
            permission: *permission,
            online: self.state.online,
            ping_ms: self.state.ping.map(|ping| ping.as_secs_f64() * 1000.0),
            score: reputation.score(),
            last_seen: *last_seen,
            paired_at: *paired_at,
            agent: agent.clone(),
            problem: copied.or_else(|| self.state.problem.clone().filter(|_| !self.state.online)),
        }
    }

    /// As the gateway shows a rig.
    #[must_use]
    pub fn rig_view(&self, now: Instant) -> RigView {
        let heard = self.state.stats.as_ref();
        let passed = |since: Instant| now.saturating_duration_since(since).as_secs();
        // 0 is the word for current.
        let age = |heard: &Heard| heard.stale_since.map_or(0, |since| passed(since).max(1));
        // Times go on while a rig has no reason to say more; nobody knows how they went on when it cannot.
        let aged = |heard: &Heard| {
            let seconds = if heard.stale_since.is_none() { passed(heard.at) } else { 0 };
            RigStats::clone(&heard.stats).aged(seconds)
        };
        let problem = match (self.state.copied(now).or(self.state.problem.as_ref()), heard, self.state.online) {
            (Some(problem), ..) => Some(problem.clone()),
            (None, _, false) => Some("not connected".to_owned()),
            // Of one that has told nothing yet there are no statistics, and nothing is wrong.
            (None, _, true) => None,
        };
        RigView::new(self.view(now), heard.map(aged), heard.map(age), problem)
    }
}

impl PendingRequest {
    /// As the gateway shows a request; its words should be spelled before.
    #[must_use]
    pub fn view(&self, now: Instant) -> PendingView {
        PendingView {
            id: self.id,
            name: self.stranger.name.clone(),
            role: self.stranger.role,
            address: self.stranger.address.clone(),
            age_seconds: now.saturating_duration_since(self.since).as_secs(),
            words: self.stranger.words.text().to_owned(),
        }
    }
}
