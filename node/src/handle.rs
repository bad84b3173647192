//! All one can ask of this node: the gateway's trait on the mesh, the fleet and the worker.

use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_dashboard::node::{
    AddPeer, Added, DeployOutcome, History, HistoryQuery, InitNode, Initialised, Internals, LogQuery, MinerCommand,
    MinerOutcome, NodeInfo, PeerChange, PeerView, PendingView, Pinged, RigProfile, RigView, StoredProfile,
};
use miner_ctrl_dashboard::{Node, NodeError};
use miner_ctrl_protocol::message::{LogPage, MAX_WAIT_SECONDS, ProfileSummary};
use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{
    Admitted, NodeId, NodeName, PeerKey, Permission, Profile, ProfileDraft, ProfileName, Request, Response,
};
use tokio::time::Instant;

use crate::asking::{SETTLE, Target, out_of_turn};
use crate::causes::chain;
use crate::fleet::{FleetError, FleetHandle, FleetSnapshot, NewPeer, PairingMode, Words};
use crate::house::carried_out;
use crate::identity::{self, IdentityError, NodeRecord};
use crate::mesh::{Address, AskError, MeshHandle, PairBy, PairError, Paired, dial_address, peer_id, peer_key_of};
use crate::miners::drivers::checked;
use crate::miners::profiles::{ProfilesError, Saved};
use crate::store::activity::Journal;
use crate::store::clock::unix_now;
use crate::store::{Database, Places};
use crate::worker::Worker;

/// A request that only reads. A timeout means unknown.
const ASK: Duration = Duration::from_secs(10);
/// Start and stop: a miner that builds its dataset takes its time to stop.
const ACT: Duration = Duration::from_secs(30);
/// Pairing takes under a second; the transport's own timeout is longer.
const PAIR: Duration = Duration::from_secs(15);
/// A link comes up within milliseconds of pairing; whoever looks next shall see it.
const COMES_UP: Duration = Duration::from_secs(3);

/// All one can ask of this node.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) key: PeerKey,
    pub(crate) record: NodeRecord,
    pub(crate) places: Places,
    pub(crate) pairing: PairingMode,
    pub(crate) fleet: FleetHandle,
    pub(crate) mesh: MeshHandle,
    pub(crate) worker: Arc<Worker>,
    pub(crate) database: Database,
    pub(crate) journal: Journal,
    /// Held by whoever names this node.
    pub(crate) naming: tokio::sync::Mutex<()>,
    /// `node serve`; otherwise the node lives for one command, dials only whom it must, and watches nobody.
    pub(crate) serving: bool,
}

impl NodeHandle {
    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    /// A peer of our own name could not be named.
    fn not_our_name(&self, name: &NodeName) -> Result<(), NodeError> {
        if name.as_str().eq_ignore_ascii_case(self.inner.record.name.as_str()) {
            return Err(NodeError::Conflict(format!("this node itself is called {name}: choose another name")));
        }
        Ok(())
    }

    /// Pairing again renames nobody; told before an operator is asked in vain.
    fn not_renamed(&self, key: &PeerKey, name: Option<&NodeName>) -> Result<(), NodeError> {
        if let (Some(known), Some(name)) = (self.inner.fleet.now().peer(key), name) {
            known.peer.is_called(name).map_err(FleetError::from)?;
        }
        Ok(())
    }

    /// The fleet, with the words of every stranger that waits: somebody looks at them now.
    async fn spelled(&self) -> Arc<FleetSnapshot> {
        let fleet = self.inner.fleet.now();
        Words::spell(fleet.pending.iter().map(|pending| pending.stranger.words.clone()).collect()).await;
        fleet
    }

    /// This node's own row among the rigs.
    fn own_rig(&self) -> Option<RigView> {
        let stats = self.inner.worker.stats().ok()?;
        let NodeRecord { id, name, role, peer_id, created_at, .. } = self.inner.record.clone();
        let peer = PeerView {
            id,
            name,
            role,
            peer_id,
            address: None,
            addresses: vec![],
            permission: Permission::Control,
            online: true,
            ping_ms: None,
            score: 100,
            last_seen: Some(unix_now()),
            paired_at: created_at,
            agent: None,
            problem: None,
        };
        Some(RigView::new(peer, Some(stats), Some(0), None))
    }

    /// Why what was just paired is not registered: it would drive out a rig that is there.
    fn copy_refused(&self, key: &PeerKey, address: &Address) -> NodeError {
        let fleet = self.inner.fleet.now();
        let name = fleet.peer(key).map_or_else(|| key.node_id().to_string(), |peer| peer.peer.name.to_string());
        NodeError::Conflict(format!(
            "the node at {address} has the identity of {name}, which is connected from another machine: one is a copy of \
             the other's disk, and was not added; see \"Rigs from one image\" in docs/operating.md"
        ))
    }

    async fn stored_profile(&self, name: &ProfileName) -> Result<ProfileDraft, NodeError> {
        let (store, wanted) = (self.inner.worker.profiles.clone(), name.clone());
        let found = blocking(move || store.load(&wanted)).await?;
        found.map(Profile::into_draft).ok_or_else(|| NodeError::UnknownProfile(name.clone()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProfilesError> + Send + 'static,
) -> Result<T, NodeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(NodeError::from),
        Err(error) => Err(NodeError::Internal(error.to_string())),
    }
}

fn shown_profile(summary: ProfileSummary) -> RigProfile {
    let ProfileSummary { name, program, algorithm, pools } = summary;
    RigProfile { name, program, algorithm, pools }
}

impl Node for NodeHandle {
    async fn info(&self) -> NodeInfo {
        let inner = &self.inner;
        let fleet = inner.fleet.now();
        let NodeRecord { id, name, role, public_key, peer_id, created_at, .. } = inner.record.clone();
        let code = inner.fleet.current_code().await.ok().flatten();
        NodeInfo {
            id,
            name,
            role,
            addresses: inner.mesh.listening().iter().map(|address| format!("{address}/p2p/{peer_id}")).collect(),
            peer_id,
            public_key,
            fingerprint: inner.key.words(),
            created_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serving: inner.serving,
            peers: fleet.peers.len(),
            peers_online: fleet.online(),
            pairing: inner.pairing.to_string(),
            pairing_code: code.map(|code| code.to_string()),
            data_dir: inner.places.data_dir.display().to_string(),
            config_dir: inner.places.config_dir.display().to_string(),
            dashboard: None,
            certificate: None,
            certificate_expires_at: None,
        }
    }

    async fn internals(&self) -> Internals {
        self.look_inside().await
    }

    async fn init(&self, init: InitNode) -> Result<Initialised, NodeError> {
        let places = self.inner.places.clone();
        let InitNode { name, role } = init;
        // One after the other: of two at once the later one finds what the first chose.
        let _turn = self.inner.naming.lock().await;
        let named = tokio::task::spawn_blocking(move || identity::init(&places, Some(name), role)).await;
        let record = match named.map_err(|_| NodeError::ShuttingDown)? {
            Ok(identity) => identity.record,
            Err(error @ IdentityError::Exists { .. }) => return Err(NodeError::Conflict(error.to_string())),
            Err(error) => return Err(NodeError::Internal(chain(&error))),
        };
        let running = &self.inner.record;
        let restart_needed = record.name != running.name || record.role != running.role;
        Ok(Initialised { name: record.name, role: record.role, restart_needed })
    }

    async fn peers(&self) -> Vec<PeerView> {
        self.inner.fleet.now().peers.iter().map(|peer| peer.view(Instant::now())).collect()
    }

    async fn peer(&self, peer: &str) -> Result<PeerView, NodeError> {
        Ok(self.resolve_peer(peer)?.view(Instant::now()))
    }

    async fn named(&self, rig: &str) -> Result<(NodeId, NodeName), NodeError> {
        Ok(match self.resolve(rig)? {
            Target::Here => (self.inner.record.id, self.inner.record.name.clone()),
            Target::Peer(peer) => (peer.peer.id, peer.peer.name.clone()),
        })
    }

    async fn add_peer(&self, add: AddPeer) -> Result<Added, NodeError> {
        let (address, expected) =
            dial_address(&add.address).map_err(|error| Invalid::new("address", error.to_string()))?;
        // The one that answered before proves nothing but that it is still the same.
        let before = add.peer_id.as_deref().map(peer_key_of).transpose();
        let before = before.map_err(|error| Invalid::new("peer_id", error.to_string()))?;
        let how = if add.code.is_some() || expected.is_some() { Admitted::ByUsWithProof } else { Admitted::ByUs };
        let by = match &add.code {
            None => PairBy::Approval,
            Some(code) => PairBy::Code(
                code.parse().map_err(|_| Invalid::new("code", "is 8 letters and digits, such as 7KQ2-M9XD"))?,
            ),
        };
        if let Some(name) = &add.name {
            self.not_our_name(name)?;
        }
        let expected = expected.or(before);
        if let Some(name) = &add.name
            && let Some(taken) = self.inner.fleet.now().peers.iter().find(|peer| {
                peer.peer.name.as_str().eq_ignore_ascii_case(name.as_str())
                    && expected != Some(peer.peer.key)
                    && !peer.peer.addresses.contains(&address.to_string())
            })
        {
            let id = taken.peer.id;
            return Err(NodeError::Conflict(format!(
                "another peer is called {name} already ({id}): choose another name, or leave it out if that peer has moved"
            )));
        }
        if let Some(key) = &expected {
            self.not_renamed(key, add.name.as_ref())?;
        }
        let paired = self.inner.mesh.pair(address.clone(), expected, by, PAIR).await;
        let (key, own_name, role) = match paired.map_err(|error| pairing_failed(&error))? {
            Paired::Done { key, name, role, boot } => {
                if self.inner.mesh.is_elsewhere(&key, boot).await {
                    return Err(self.copy_refused(&key, &address));
                }
                (key, name, role)
            }
            Paired::Pending { key } => {
                self.not_renamed(&key, add.name.as_ref())?;
                let words = Words::of(self.inner.key, key);
                Words::spell(vec![words.clone()]).await;
                let peer_id = peer_id(&key).to_string();
                return Ok(Added::Pending { id: key.node_id(), peer_id, words: words.text().to_owned() });
            }
        };
        let known = self.inner.fleet.now().peer(&key).map(|known| known.peer.permission);
        let default = known.unwrap_or_else(|| Permission::by_default(self.inner.record.role, role, how));
        let new = NewPeer {
            key,
            name: add.name,
            own_name,
            role,
            addresses: vec![address.to_string()],
            permission: add.permission.unwrap_or(default),
            now: unix_now(),
        };
        let Inner { fleet, mesh, .. } = &*self.inner;
        let peer = carried_out(fleet, mesh, |fleet| async move { fleet.register(new).await }).await?;
        self.shown(COMES_UP, |fleet| fleet.peer(&key).is_some_and(|peer| peer.state.online)).await;
        Ok(Added::Paired { peer: Box::new(self.resolve_peer(&peer.peer_id)?.view(Instant::now())) })
    }

    async fn change_peer(&self, peer: &str, change: PeerChange) -> Result<PeerView, NodeError> {
        let key = self.resolve_peer(peer)?.peer.key;
        if let Some(name) = &change.name {
            self.not_our_name(name)?;
        }
        self.inner.fleet.alter(key, change.name, change.permission).await?;
        Ok(self.resolve_peer(&key.node_id().to_string())?.view(Instant::now()))
    }

    async fn remove_peer(&self, peer: &str) -> Result<PeerView, NodeError> {
        let peer = self.resolve_peer(peer)?;
        let (key, Inner { fleet, mesh, .. }) = (peer.peer.key, &*self.inner);
        let cut = mesh.clone();
        let remove = |fleet: FleetHandle| async move {
            let removed = fleet.remove(key).await?;
            // Its requests end, even if it was approved again by now.
            cut.remove(key).await;
            Ok(removed)
        };
        carried_out(fleet, mesh, remove).await?;
        Ok(peer.view(Instant::now()))
    }

    async fn ping_peer(&self, peer: &str) -> Result<Pinged, NodeError> {
        let peer = self.resolve_peer(peer)?;
        self.reach(&peer).await;
        // The link may have to come up first; that is not part of the round trip.
        let deadline = Instant::now() + SETTLE;
        if self.inner.mesh.wait_for_link(&peer.peer.key, deadline).await.is_none() {
            return Err(self.explain(&peer, AskError::Unreachable, SETTLE));
        }
        let begun = Instant::now();
        match self.ask(&peer, Request::Ping { sent_at: 0 }, ASK).await? {
            Response::Pong { .. } => Ok(Pinged {
                id: peer.peer.id,
                name: peer.peer.name.clone(),
                round_trip_ms: begun.elapsed().as_secs_f64() * 1000.0,
            }),
            _ => Err(out_of_turn(&peer.peer.name)),
        }
    }

    async fn pending(&self) -> Vec<PendingView> {
        let now = Instant::now();
        self.spelled().await.pending.iter().map(|pending| pending.view(now)).collect()
    }

    async fn approve(&self, request: &str, permission: Option<Permission>) -> Result<PeerView, NodeError> {
        self.spelled().await;
        let (request, Inner { fleet, mesh, .. }) = (request.to_owned(), &*self.inner);
        let peer = carried_out(fleet, mesh, |fleet| async move { fleet.approve(&request, permission).await }).await?;
        Ok(self.resolve_peer(&peer.peer_id)?.view(Instant::now()))
    }

    async fn deny(&self, request: &str) -> Result<PendingView, NodeError> {
        self.spelled().await;
        Ok(self.inner.fleet.deny(request).await?.view(Instant::now()))
    }

    async fn pairing_code(&self) -> Result<String, NodeError> {
        Ok(self.inner.fleet.show_code().await?.to_string())
    }

    async fn rigs(&self) -> Vec<RigView> {
        let rigs = self.inner.fleet.now().peers.iter().filter(|peer| peer.peer.role.mines()).cloned().collect();
        let mut views: Vec<RigView> = self.own_rig().into_iter().collect();
        views.extend(self.rig_views(rigs).await);
        views
    }

    async fn fleet(&self) -> Vec<RigView> {
        let now = Instant::now();
        let mut views: Vec<RigView> = self.own_rig().into_iter().collect();
        views.extend(self.inner.fleet.now().peers.iter().map(|peer| peer.rig_view(now)));
        views
    }

    async fn rig(&self, peer: &str) -> Result<RigView, NodeError> {
        match self.resolve(peer)? {
            Target::Here => {
                self.own_rig().ok_or_else(|| NodeError::RefusedHere(self.inner.worker.without_miners.clone()))
            }
            Target::Peer(peer) => {
                let key = peer.peer.key;
                // Whoever asks for one rig wants to know why there is nothing, when there is nothing.
                if peer.state.online && peer.state.stats.is_none() {
                    self.refresh(&peer).await?;
                }
                let view = self.rig_views(vec![peer]).await.pop();
                view.ok_or_else(|| NodeError::unknown_peer(key.node_id().to_string()))
            }
        }
    }

    async fn history(&self, peer: &str, query: HistoryQuery) -> Result<History, NodeError> {
        let id = match self.resolve(peer)? {
            Target::Here => self.inner.record.id,
            Target::Peer(peer) => peer.peer.id,
        };
        self.history_of(id, query).await
    }

    async fn fleet_history(&self, query: HistoryQuery) -> Result<History, NodeError> {
        self.history_of_fleet(query).await
    }

    async fn command(&self, peer: &str, command: MinerCommand) -> Result<MinerOutcome, NodeError> {
        let target = self.resolve(peer)?;
        let request = match command {
            MinerCommand::Restart(miner) => Request::RestartMiner { miner },
            MinerCommand::Start { profile, miner } => Request::StartMiner { profile, miner },
            MinerCommand::Stop(miner) => Request::StopMiner { miner },
        };
        let (rig, answer) = self.ask_target(&target, request, ACT).await?;
        match answer {
            Response::Miner { status, changed } => Ok(MinerOutcome { rig, miners: vec![*status], changed }),
            Response::Miners { statuses, changed } => Ok(MinerOutcome { rig, miners: statuses, changed }),
            _ => Err(out_of_turn(&rig)),
        }
    }

    async fn hear(&self, peer: &str) {
        if let Ok(Target::Peer(peer)) = self.resolve(peer)
            && let Err(error) = self.refresh(&peer).await
        {
            tracing::debug!(%error, "a rig was commanded and does not tell its statistics");
        }
    }

    async fn deploy(&self, peer: &str, profile: &ProfileName) -> Result<DeployOutcome, NodeError> {
        let target = self.resolve(peer)?;
        let draft = self.stored_profile(profile).await?;
        let (rig, answer) = self.ask_target(&target, Request::DeployProfile { profile: draft }, ASK).await?;
        match answer {
            Response::Deployed { changed, others } => {
                Ok(DeployOutcome { rig, profile: profile.clone(), changed, others })
            }
            _ => Err(out_of_turn(&rig)),
        }
    }

    async fn rig_profiles(&self, peer: &str) -> Result<Vec<RigProfile>, NodeError> {
        let target = self.resolve(peer)?;
        let (rig, answer) = self.ask_target(&target, Request::Profiles, ASK).await?;
        match answer {
            Response::Profiles(mut stored) => {
                stored.sort_by(|one, other| one.name.cmp(&other.name));
                Ok(stored.into_iter().map(shown_profile).collect())
            }
            _ => Err(out_of_turn(&rig)),
        }
    }

    async fn undeploy(&self, peer: &str, profile: &ProfileName) -> Result<DeployOutcome, NodeError> {
        let target = self.resolve(peer)?;
        let request = Request::RemoveProfile { name: profile.clone() };
        let (rig, answer) = self.ask_target(&target, request, ASK).await?;
        match answer {
            Response::Removed { changed } => {
                Ok(DeployOutcome { rig, profile: profile.clone(), changed, others: vec![] })
            }
            _ => Err(out_of_turn(&rig)),
        }
    }

    async fn logs(&self, peer: &str, query: LogQuery) -> Result<LogPage, NodeError> {
        let target = self.resolve(peer)?;
        let LogQuery { miner, lines, after, wait } = query;
        let wait = wait.min(MAX_WAIT_SECONDS);
        let limit = ASK + Duration::from_secs(u64::from(wait));
        let (rig, answer) = self.ask_target(&target, Request::Logs { miner, lines, after, wait }, limit).await?;
        match answer {
            Response::Logs(page) => Ok(page),
            _ => Err(out_of_turn(&rig)),
        }
    }

    async fn profiles(&self) -> Result<Vec<ProfileDraft>, NodeError> {
        let store = self.inner.worker.profiles.clone();
        Ok(blocking(move || store.readable()).await?.into_iter().map(Profile::into_draft).collect())
    }

    async fn profile(&self, name: &ProfileName) -> Result<ProfileDraft, NodeError> {
        self.stored_profile(name).await
    }

    async fn put_profile(&self, draft: ProfileDraft, replace: bool) -> Result<StoredProfile, NodeError> {
        let profile = checked(draft)?;
        let store = self.inner.worker.profiles.clone();
        let stored = blocking(move || {
            let saved = store.save(&profile, replace)?;
            Ok(StoredProfile { profile: profile.into_draft(), created: saved == Saved::Created })
        });
        stored.await
    }

    async fn remove_profile(&self, name: &ProfileName) -> Result<(), NodeError> {
        let (store, wanted) = (self.inner.worker.profiles.clone(), name.clone());
        match blocking(move || store.remove(&wanted)).await? {
            true => Ok(()),
            false => Err(NodeError::UnknownProfile(name.clone())),
        }
    }
}

fn pairing_failed(error: &PairError) -> NodeError {
    use miner_ctrl_protocol::pair::PairRefusal;
    let hint = match error {
        PairError::Connect(_) | PairError::Timeout => "check the address, and that `miner-ctrl node serve` runs there",
        PairError::NotPairing => {
            "show a code there with `miner-ctrl pair`, or start it with `--pairing ask` to take requests; where it does already, \
             others ask it at this moment: try again in ten seconds"
        }
        PairError::FalseProof | PairError::Refused(PairRefusal::WrongCode) => {
            "read the code again on the other machine; after three wrong tries ask for a new one with `miner-ctrl pair`"
        }
        PairError::OtherNode { .. } => "check the address; if the other node was set up anew, use its new peer id",
        PairError::Ourselves => "give the address of the other machine",
        PairError::Refused(PairRefusal::NoCode) => "show a new code on the other machine with `miner-ctrl pair`",
        PairError::Refused(PairRefusal::Denied) => "ask its operator; it can be asked again in ten minutes",
        PairError::Refused(PairRefusal::Off) => {
            "use a code (`miner-ctrl pair` there), or start it with `--pairing ask` to take requests"
        }
        PairError::Refused(PairRefusal::Version) => "run the same version of miner-ctrl on both machines",
        PairError::Refused(PairRefusal::Internal) => "look into its log",
        PairError::Broken(_) | PairError::Refused(PairRefusal::Busy) | PairError::Unavailable => {
            "try again in a few seconds"
        }
    };
    let (why, hint) = (error.to_string(), hint.to_owned());
    match error {
        PairError::Connect(_) | PairError::Timeout => NodeError::NobodyToPair { why, hint },
        _ => NodeError::PairingFailed { why, hint },
    }
}
