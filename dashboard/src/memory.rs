//! A node in memory: no mesh, no files. For tests of this crate and of the crates right of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miner_ctrl_protocol::message::{LogLine, LogPage, MinerChoice};
use miner_ctrl_protocol::stats::HostStats;
use miner_ctrl_protocol::{
    Hashrate, Measure, MinerName, MinerState, MinerStatus, NodeId, NodeName, Permission, ProfileDraft, ProfileName,
    Program, Refusal, RigStats, Role, Shares,
};

use crate::node::{
    AddPeer, Added, DeployOutcome, History, HistoryQuery, HistorySeries, InitNode, Initialised, Internals, LogQuery,
    MinerCommand, MinerOutcome, Node, NodeError, NodeInfo, PeerChange, PeerView, PendingView, Pinged, Process,
    RigProfile, RigView, StoredProfile,
};
use crate::records::{AccessRecord, Activity, ActivityQuery, Records};

/// A node with one worker (`rig-alpha`, which runs `xmrig-1`), one stranger waiting (`rig-beta`), and no profile.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    serving: bool,
    peers: Vec<PeerView>,
    pending: Vec<PendingView>,
    running: bool,
    profiles: BTreeMap<ProfileName, ProfileDraft>,
    commands: Vec<(String, MinerCommand)>,
    logs: Vec<String>,
    /// What every call that can fail answers, while set.
    failure: Option<NodeError>,
    panics: bool,
    deaf: bool,
    /// How often it was to hear anew how a rig stands.
    heard: usize,
    code: Option<String>,
    looks: u64,
    named: Option<Initialised>,
    access: AccessRecord,
    activity: Vec<Activity>,
}

impl Default for Memory {
    fn default() -> Self {
        let pending = PendingView {
            id: id(2),
            name: name("rig-beta"),
            role: Role::Worker,
            address: "192.0.2.7:51000".into(),
            age_seconds: 12,
            words: "amber-birch-cedar-delta-ember-fjord".into(),
        };
        Self(Arc::new(Mutex::new(State {
            serving: true,
            peers: vec![peer(1, "rig-alpha")],
            pending: vec![pending],
            running: true,
            profiles: BTreeMap::new(),
            commands: vec![],
            logs: (1..=5).map(|number| format!("line {number}")).collect(),
            failure: None,
            panics: false,
            deaf: false,
            heard: 0,
            code: None,
            looks: 0,
            named: None,
            access: AccessRecord::default(),
            activity: vec![],
        })))
    }
}

impl Memory {
    /// From now on every call that can fail answers this; with `None`, none does.
    pub fn fail_with(&self, failure: Option<NodeError>) {
        self.state().failure = failure;
    }

    /// From now on hearing a rig anew panics.
    pub fn panic_at_hearing(&self) {
        self.state().deaf = true;
    }

    /// From now on every call that can fail panics.
    pub fn panic_from_now_on(&self) {
        self.state().panics = true;
    }

    /// Whether it says that it serves.
    pub fn set_serving(&self, serving: bool) {
        self.state().serving = serving;
    }

    /// What is stored about who may come in.
    #[must_use]
    pub fn stored_access(&self) -> AccessRecord {
        self.state().access.clone()
    }

    /// Stores who may come in, behind the gateway's back.
    pub fn store_access(&self, access: AccessRecord) {
        self.state().access = access;
    }

    /// From now on a pairing code is showing.
    pub fn show_pairing_code(&self) {
        self.state().code = Some("7KQ2-M9XD".to_owned());
    }

    /// How often somebody looked at the whole fleet.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.state().looks
    }

    /// What was recorded, oldest first.
    #[must_use]
    pub fn recorded(&self) -> Vec<Activity> {
        self.state().activity.clone()
    }

    /// Sets the round trip of every peer.
    pub fn set_ping(&self, ping_ms: Option<f64>) {
        self.state().peers.iter_mut().for_each(|peer| peer.ping_ms = ping_ms);
    }

    /// The miner writes a line on its console.
    pub fn write_line(&self, line: &str) {
        self.state().logs.push(line.to_owned());
    }

    /// Makes a peer known.
    pub fn register(&self, peer: PeerView) {
        self.state().peers.push(peer);
    }

    /// The stored profile as it is, with its passwords.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<ProfileDraft> {
        self.state().profiles.iter().find(|(key, _)| key.as_str() == name).map(|(_, draft)| draft.clone())
    }

    /// How often it was to hear anew how a rig stands.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.state().heard
    }

    /// What rigs were told, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<(String, MinerCommand)> {
        self.state().commands.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked(&self) -> Result<MutexGuard<'_, State>, NodeError> {
        let state = self.state();
        assert!(!state.panics, "told to panic");
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(state),
        }
    }
}

impl State {
    fn find(&self, asked: &str) -> Result<PeerView, NodeError> {
        let fits = |peer: &&PeerView| peer.name.as_str() == asked || peer.id.to_string() == asked;
        self.peers.iter().find(fits).cloned().ok_or_else(|| NodeError::unknown_peer(asked))
    }

    fn take_pending(&mut self, request: &str) -> Result<PendingView, NodeError> {
        let fits = |pending: &PendingView| pending.words == request || pending.id.to_string() == request;
        match self.pending.iter().position(fits) {
            Some(index) => Ok(self.pending.remove(index)),
            None => Err(NodeError::UnknownPending(request.to_owned())),
        }
    }
}

impl Records for Memory {
    async fn access(&self) -> Result<AccessRecord, NodeError> {
        Ok(self.checked()?.access.clone())
    }

    async fn put_access(&self, access: AccessRecord) -> Result<(), NodeError> {
        self.checked()?.access = access;
        Ok(())
    }

    async fn put_activity(&self, entry: Activity) -> Result<Activity, NodeError> {
        let mut state = self.state();
        let entry = Activity { id: state.activity.len() as u64 + 1, ..entry };
        state.activity.push(entry.clone());
        Ok(entry)
    }

    async fn activity(&self, query: ActivityQuery) -> Result<Vec<Activity>, NodeError> {
        let state = self.state();
        let fits = |entry: &&Activity| {
            query.before.is_none_or(|before| entry.id < before)
                && (query.target.is_none() || query.target == entry.target)
                && (query.who.is_none() || query.who == entry.who)
                && query.action.as_ref().is_none_or(|action| *action == entry.action)
                && query.result.as_ref().is_none_or(|result| *result == entry.result)
        };
        Ok(state.activity.iter().rev().filter(fits).take(query.limit as usize).cloned().collect())
    }
}

impl Node for Memory {
    async fn info(&self) -> NodeInfo {
        let state = self.state();
        NodeInfo {
            id: id(0),
            name: name("desk"),
            role: Role::Controller,
            peer_id: "12D3KooWDesk".into(),
            public_key: "AAAA".into(),
            fingerprint: "one-two-three-four-five-six".into(),
            created_at: 1_700_000_000,
            version: "0.1.0".into(),
            serving: state.serving,
            dashboard: None,
            certificate: None,
            certificate_expires_at: None,
            addresses: vec!["/ip4/127.0.0.1/tcp/9091/ws/p2p/12D3KooWDesk".into()],
            peers: state.peers.len(),
            peers_online: state.peers.iter().filter(|peer| peer.online).count(),
            pairing: "ask".into(),
            pairing_code: state.code.clone(),
            data_dir: "/data".into(),
            config_dir: "/config".into(),
        }
    }

    async fn internals(&self) -> Internals {
        let process = Process { cpu_seconds: 1.25, open_files: 12, resident_bytes: 4096, started_at: 1_700_000_000.5 };
        Internals {
            connections_refused: 3,
            messages_refused: vec![("replayed", 1), ("stale", 2)],
            database_bytes: Some(8192),
            tasks: 21,
            process: Some(process),
        }
    }

    /// It was never named, and is so by the first that asks.
    async fn init(&self, init: InitNode) -> Result<Initialised, NodeError> {
        let mut state = self.checked()?;
        let InitNode { name, role } = init;
        let done = Initialised { name, role: role.unwrap_or(Role::Controller), restart_needed: true };
        match state.named.get_or_insert_with(|| done.clone()) {
            named if *named == done => Ok(done),
            named => Err(NodeError::Conflict(format!("this is already node {}", named.name))),
        }
    }

    async fn peers(&self) -> Vec<PeerView> {
        self.state().peers.clone()
    }

    async fn peer(&self, peer: &str) -> Result<PeerView, NodeError> {
        self.checked()?.find(peer)
    }

    async fn named(&self, rig: &str) -> Result<(NodeId, NodeName), NodeError> {
        let own = self.info().await;
        if rig == own.name.as_str() || rig == own.id.to_string() {
            return Ok((own.id, own.name));
        }
        self.peer(rig).await.map(|peer| (peer.id, peer.name))
    }

    /// An address that begins with `pending` waits for approval until it is asked twice.
    async fn add_peer(&self, add: AddPeer) -> Result<Added, NodeError> {
        let mut state = self.checked()?;
        let view = PeerView { address: Some(add.address.clone()), ..peer(3, "rig-gamma") };
        let view =
            PeerView { name: add.name.unwrap_or(view.name), permission: add.permission.unwrap_or_default(), ..view };
        let asked_before = state.logs.contains(&add.address);
        if add.address.starts_with("pending") && !asked_before {
            state.logs.push(add.address);
            return Ok(Added::Pending { id: view.id, peer_id: view.peer_id, words: "amber-birch".into() });
        }
        state.peers.push(view.clone());
        Ok(Added::Paired { peer: Box::new(view) })
    }

    async fn change_peer(&self, peer: &str, change: PeerChange) -> Result<PeerView, NodeError> {
        let mut state = self.checked()?;
        let mut found = state.find(peer)?;
        found.name = change.name.unwrap_or(found.name);
        found.permission = change.permission.unwrap_or(found.permission);
        state.peers.retain(|peer| peer.id != found.id);
        state.peers.push(found.clone());
        Ok(found)
    }

    async fn remove_peer(&self, peer: &str) -> Result<PeerView, NodeError> {
        let mut state = self.checked()?;
        let found = state.find(peer)?;
        state.peers.retain(|peer| peer.id != found.id);
        Ok(found)
    }

    async fn ping_peer(&self, peer: &str) -> Result<Pinged, NodeError> {
        let found = self.checked()?.find(peer)?;
        Ok(Pinged { id: found.id, name: found.name, round_trip_ms: 1.5 })
    }

    async fn pending(&self) -> Vec<PendingView> {
        self.state().pending.clone()
    }

    async fn approve(&self, request: &str, permission: Option<Permission>) -> Result<PeerView, NodeError> {
        let mut state = self.checked()?;
        let pending = state.take_pending(request)?;
        let view = PeerView {
            id: pending.id,
            permission: permission.unwrap_or_default(),
            role: pending.role,
            ..peer(2, pending.name.as_str())
        };
        state.peers.push(view.clone());
        Ok(view)
    }

    async fn deny(&self, request: &str) -> Result<PendingView, NodeError> {
        self.checked()?.take_pending(request)
    }

    async fn pairing_code(&self) -> Result<String, NodeError> {
        self.checked().map(|_| "7KQ2-M9XD".to_owned())
    }

    async fn rigs(&self) -> Vec<RigView> {
        let state = self.state();
        state.peers.iter().map(|peer| rig(peer.clone(), state.running)).collect()
    }

    async fn fleet(&self) -> Vec<RigView> {
        self.state().looks += 1;
        self.rigs().await
    }

    async fn rig(&self, peer: &str) -> Result<RigView, NodeError> {
        let state = self.checked()?;
        Ok(rig(state.find(peer)?, state.running))
    }

    /// One number, of the one miner.
    async fn history(&self, peer: &str, query: HistoryQuery) -> Result<History, NodeError> {
        self.checked()?.find(peer)?;
        Ok(history(&query, HistorySeries { id: miner_name().to_string(), v: vec![Some(2500.5), None] }))
    }

    /// One number, of the one algorithm.
    async fn fleet_history(&self, query: HistoryQuery) -> Result<History, NodeError> {
        Ok(history(&query, HistorySeries { id: "rx/0".to_owned(), v: vec![Some(2500.5)] }))
    }

    async fn hear(&self, _: &str) {
        let mut state = self.state();
        state.heard += 1;
        assert!(!state.deaf, "told to panic");
    }

    /// A rig whose name begins with `silent` never answers, and what one runs does not get going that begins with `broken`.
    async fn command(&self, peer: &str, command: MinerCommand) -> Result<MinerOutcome, NodeError> {
        let is_silent = self.checked()?.find(peer)?.name.as_str().starts_with("silent");
        if is_silent {
            std::future::pending::<()>().await;
        }
        let mut state = self.checked()?;
        let peer = state.find(peer)?;
        if let MinerCommand::Restart(Some(name)) | MinerCommand::Stop(MinerChoice::Named(name)) = &command
            && *name != miner_name()
        {
            let refusal = Refusal::UnknownMiner { miner: name.to_string(), miners: vec![miner_name()] };
            return Err(NodeError::Refused { peer: peer.name, refusal });
        }
        if peer.name.as_str().starts_with("broken") {
            let refusal = Refusal::MinerUnavailable { why: "exit 1".to_owned() };
            return Err(NodeError::Refused { peer: peer.name, refusal });
        }
        let runs = !matches!(command, MinerCommand::Stop(_));
        let changed = matches!(command, MinerCommand::Restart(_)) || runs != state.running;
        state.running = runs;
        state.commands.push((peer.name.to_string(), command));
        Ok(MinerOutcome { rig: peer.name, miners: vec![miner(runs)], changed })
    }

    async fn deploy(&self, peer: &str, profile: &ProfileName) -> Result<DeployOutcome, NodeError> {
        let state = self.checked()?;
        let peer = state.find(peer)?;
        if !state.profiles.contains_key(profile) {
            return Err(NodeError::UnknownProfile(profile.clone()));
        }
        Ok(DeployOutcome { rig: peer.name, profile: profile.clone(), changed: true, others: vec![] })
    }

    /// There is one store for all: what this node has, every rig has.
    async fn rig_profiles(&self, peer: &str) -> Result<Vec<RigProfile>, NodeError> {
        let state = self.checked()?;
        state.find(peer)?;
        let stored = state.profiles.values().map(|draft| RigProfile {
            name: draft.name.clone(),
            program: draft.program,
            algorithm: draft.algorithm.clone().or_else(|| draft.coin.clone()),
            pools: draft.pools.iter().map(|pool| pool.url.clone()).collect(),
        });
        Ok(stored.collect())
    }

    async fn undeploy(&self, peer: &str, profile: &ProfileName) -> Result<DeployOutcome, NodeError> {
        let mut state = self.checked()?;
        let peer = state.find(peer)?;
        let changed = state.profiles.remove(profile).is_some();
        Ok(DeployOutcome { rig: peer.name, profile: profile.clone(), changed, others: vec![] })
    }

    async fn logs(&self, peer: &str, query: LogQuery) -> Result<LogPage, NodeError> {
        let state = self.checked()?;
        state.find(peer)?;
        let after = query.after.unwrap_or(0);
        let lines = (1..).zip(&state.logs).filter(|(number, _)| *number > after);
        let mut lines: Vec<_> = lines.map(|(number, text)| LogLine { number, text: text.clone() }).collect();
        let surplus = lines.len().saturating_sub(query.lines as usize);
        lines.drain(..surplus);
        Ok(LogPage { miner: miner_name(), lines, newest: state.logs.len() as u64, lost: 0 })
    }

    async fn profiles(&self) -> Result<Vec<ProfileDraft>, NodeError> {
        Ok(self.checked()?.profiles.values().cloned().collect())
    }

    async fn profile(&self, name: &ProfileName) -> Result<ProfileDraft, NodeError> {
        let state = self.checked()?;
        state.profiles.get(name).cloned().ok_or_else(|| NodeError::UnknownProfile(name.clone()))
    }

    async fn put_profile(&self, draft: ProfileDraft, replace: bool) -> Result<StoredProfile, NodeError> {
        let mut state = self.checked()?;
        let profile = draft.check()?.into_draft();
        if !replace && state.profiles.contains_key(&profile.name) {
            return Err(NodeError::Conflict(format!("there is a profile `{}` already", profile.name)));
        }
        let created = state.profiles.insert(profile.name.clone(), profile.clone()).is_none();
        Ok(StoredProfile { profile, created })
    }

    async fn remove_profile(&self, name: &ProfileName) -> Result<(), NodeError> {
        let removed = self.checked()?.profiles.remove(name);
        removed.map(drop).ok_or_else(|| NodeError::UnknownProfile(name.clone()))
    }
}

fn history(query: &HistoryQuery, series: HistorySeries) -> History {
    History {
        t0: query.since.unwrap_or(1_700_000_000),
        step: query.step.unwrap_or(60),
        measure: query.measure,
        measures: vec![Measure::Hashrate, Measure::Temperature],
        series: vec![series],
    }
}

/// An online worker with this name; `number` tells its id from others.
#[must_use]
pub fn peer(number: u8, called: &str) -> PeerView {
    PeerView {
        id: id(number),
        name: name(called),
        role: Role::Worker,
        peer_id: format!("12D3KooW{number}"),
        address: Some(format!("192.0.2.{number}:9091")),
        addresses: vec![format!("/ip4/192.0.2.{number}/tcp/9091/ws")],
        permission: Permission::None,
        online: true,
        ping_ms: Some(2.25),
        score: 100,
        last_seen: Some(1_700_000_000),
        paired_at: 1_690_000_000,
        agent: Some("miner-ctrl/0.1.0".into()),
        problem: None,
    }
}

/// A rig of one miner, as it is heard.
#[must_use]
pub fn rig(peer: PeerView, running: bool) -> RigView {
    let stats = RigStats {
        revision: 1,
        name: peer.name.clone(),
        version: "0.1.0".into(),
        host: HostStats::default(),
        miners: vec![miner(running)],
    };
    let stats = peer.online.then_some(stats);
    let problem = if peer.online { None } else { Some("connection refused".to_owned()) };
    RigView::new(peer, stats, Some(0), problem)
}

fn miner(running: bool) -> MinerStatus {
    let hashrate = if running { Hashrate::per_second(2_500.0) } else { None };
    MinerStatus {
        name: miner_name(),
        program: Program::Xmrig,
        profile: "monero".parse().ok(),
        state: if running { MinerState::Mining } else { MinerState::Stopped },
        state_seconds: 60,
        uptime_seconds: if running { 60 } else { 0 },
        hashrate,
        hashrates: [hashrate, None, None],
        shares: Shares { accepted: 7, rejected: 1 },
        algorithm: Some("rx/0".into()),
        pool: Some("pool.example:3333".into()),
        version: Some("6.24.0".into()),
        devices: vec![],
        restarts: 0,
        problem: None,
    }
}

fn miner_name() -> MinerName {
    "xmrig-1".parse().expect("letters, a digit and a dash")
}

fn name(text: &str) -> NodeName {
    text.parse().expect("names in tests are names")
}

/// An id by a number.
///
/// # Panics
/// Never: every number has 16 hexadecimal digits.
#[must_use]
pub fn id(number: u8) -> NodeId {
    format!("{number:016x}").parse().expect("16 hexadecimal digits")
}
