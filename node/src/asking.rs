//! How a peer is asked, and what its silence means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use miner_ctrl_dashboard::NodeError;
use miner_ctrl_dashboard::node::RigView;
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{NodeId, NodeName, PeerKey, Refusal, Request, Response};
use tokio::time::Instant;

use crate::fleet::snapshot::Heard;
use crate::fleet::{FleetSnapshot, Observation, PeerSnapshot, begins};
use crate::handle::NodeHandle;
use crate::house::dialable;
use crate::mesh::AskError;

/// A node that lives for one command gives rigs this long to answer.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// What a rig just said is in the snapshot after this at the latest, for whoever looks next.
const SHOWN: Duration = Duration::from_millis(500);
/// Rigs asked at once by a node that lives for one command.
const SETTLE_AT_ONCE: usize = 64;

/// Whom a person named.
pub(crate) enum Target {
    Peer(Arc<PeerSnapshot>),
    /// This node itself.
    Here,
}

impl NodeHandle {
    pub(crate) fn resolve(&self, text: &str) -> Result<Target, NodeError> {
        let (record, text) = (&self.inner.record, text.trim());
        let ours = record.name.as_str().eq_ignore_ascii_case(text);
        if ours || text == record.peer_id || text.parse().is_ok_and(|id: NodeId| id == record.id) {
            return Ok(Target::Here);
        }
        match self.resolve_peer(text) {
            Err(NodeError::UnknownPeer { .. }) if begins(&record.id, text) => Ok(Target::Here),
            // A peer chooses its name, which may be the beginning of our id.
            Ok(peer) if begins(&record.id, text) => Err(NodeError::AmbiguousPeer {
                asked: text.to_owned(),
                candidates: vec![
                    format!("{} ({})", record.name, record.id),
                    format!("{} ({})", peer.peer.name, peer.peer.id),
                ],
            }),
            resolved => resolved.map(Target::Peer),
        }
    }

    pub(crate) fn resolve_peer(&self, text: &str) -> Result<Arc<PeerSnapshot>, NodeError> {
        self.inner.fleet.now().resolve(text).cloned()
    }

    /// A node that lives for one command has not dialled anybody yet.
    pub(crate) async fn reach(&self, peer: &PeerSnapshot) {
        if !self.inner.serving {
            self.inner.mesh.register(peer.peer.key, dialable(&peer.peer.addresses)).await;
        }
    }

    pub(crate) async fn ask(
        &self,
        peer: &PeerSnapshot,
        request: Request,
        limit: Duration,
    ) -> Result<Response, NodeError> {
        self.reach(peer).await;
        let key = peer.peer.key;
        let answer = self.inner.mesh.ask(&key, &request, limit).await;
        let fleet = &self.inner.fleet;
        match &answer {
            Ok(_) | Err(AskError::Refused(_)) => fleet.observe(key, Observation::Answered),
            Err(AskError::Timeout) => fleet.observe(key, Observation::TimedOut),
            Err(AskError::BadAnswer | AskError::Lost) => fleet.observe(key, Observation::Failed),
            Err(AskError::Busy | AskError::TooLarge | AskError::Unreachable) => {}
        }
        answer.map_err(|error| self.explain(peer, error, limit))
    }

    /// Asks a registered peer, by its id.
    pub(crate) async fn ask_rig(&self, rig: NodeId, request: Request, limit: Duration) -> Result<Response, NodeError> {
        let peer = self.resolve_peer(&rig.to_string())?;
        self.ask(&peer, request, limit).await
    }

    pub(crate) fn explain(&self, peer: &PeerSnapshot, error: AskError, limit: Duration) -> NodeError {
        let name = peer.peer.name.clone();
        match error {
            AskError::BadAnswer => NodeError::BadAnswer { peer: name },
            // Our own queue is full: the rig was not asked.
            AskError::Busy => NodeError::RefusedHere(Refusal::Busy { retry_after_ms: 1000 }),
            AskError::Lost => NodeError::Lost { peer: name },
            AskError::Timeout => NodeError::Timeout { peer: name, seconds: limit.as_secs() },
            AskError::Refused(refusal) => NodeError::Refused { peer: name, refusal },
            AskError::TooLarge => NodeError::Invalid(Invalid::new("request", error.to_string())),
            AskError::Unreachable => {
                let problem = self.inner.fleet.now().peer(&peer.peer.key).and_then(|peer| peer.state.problem.clone());
                let why = problem.or_else(|| {
                    peer.peer.addresses.is_empty().then(|| "it has no address here, so it must dial this node".into())
                });
                NodeError::Unreachable { peer: name.to_string(), why }
            }
        }
    }

    /// Asks a peer, or this node itself; says who answered.
    pub(crate) async fn ask_target(
        &self,
        target: &Target,
        request: Request,
        limit: Duration,
    ) -> Result<(NodeName, Response), NodeError> {
        match target {
            Target::Here => {
                let answer = self.inner.worker.carry_out(request).await.map_err(NodeError::RefusedHere)?;
                Ok((self.inner.record.name.clone(), answer))
            }
            Target::Peer(peer) => Ok((peer.peer.name.clone(), self.ask(peer, request, limit).await?)),
        }
    }

    /// A node that lives for one command watches nobody: it asks.
    pub(crate) async fn settle(&self, rigs: Vec<Arc<PeerSnapshot>>) -> BTreeMap<PeerKey, NodeError> {
        stream::iter(rigs)
            .map(|rig| async move { self.refresh(&rig).await.err().map(|error| (rig.peer.key, error)) })
            .buffer_unordered(SETTLE_AT_ONCE)
            .filter_map(|failed| async { failed })
            .collect()
            .await
    }

    pub(crate) async fn rig_views(&self, rigs: Vec<Arc<PeerSnapshot>>) -> Vec<RigView> {
        let keys: Vec<PeerKey> = rigs.iter().map(|rig| rig.peer.key).collect();
        let failures = if self.inner.serving { BTreeMap::new() } else { self.settle(rigs).await };
        let (fleet, now) = (self.inner.fleet.now(), Instant::now());
        keys.iter()
            .filter_map(|key| {
                let mut view = fleet.peer(key)?.rig_view(now);
                if let Some(error) = failures.get(key) {
                    view.problem = Some(error.to_string());
                }
                Some(view)
            })
            .collect()
    }

    /// Waits until the snapshot shows something; what does not come in time is seen later.
    pub(crate) async fn shown(&self, limit: Duration, what: impl Fn(&FleetSnapshot) -> bool) {
        let mut snapshots = self.inner.fleet.snapshot();
        // No answer in time, or a node that is stopping.
        let _ = tokio::time::timeout(limit, snapshots.wait_for(|fleet| what(fleet))).await;
    }

    /// Asks a rig for its statistics, so that whoever looks next sees what a command did.
    pub(crate) async fn refresh(&self, peer: &PeerSnapshot) -> Result<(), NodeError> {
        let Response::Stats(stats) = self.ask(peer, Request::Stats, SETTLE).await? else {
            return Err(out_of_turn(&peer.peer.name));
        };
        let (key, revision) = (peer.peer.key, stats.revision);
        self.inner.fleet.observe(key, Observation::Stats(Arc::from(stats)));
        let same = |heard: &Heard| heard.stats.revision >= revision;
        self.shown(SHOWN, |fleet| fleet.peer(&key).is_none_or(|peer| peer.state.stats.as_ref().is_some_and(same)))
            .await;
        Ok(())
    }
}

/// An answer of another kind than the request's; no honest node sends one.
pub(crate) fn out_of_turn(rig: &NodeName) -> NodeError {
    NodeError::BadAnswer { peer: rig.clone() }
}
