//! The task that owns registry, reputation and admission.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use miner_ctrl_protocol::{Admitted, NodeName, PeerKey, Permission, Role};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Code;
use super::admission::{Admission, Knock, PairingMode};
use super::handle::{Change, Command, FleetError, FleetHandle, Observation, Reply};
use super::mailbox::{Mailbox, Presence};
use super::registry::{NewPeer, Peer, Registry, RegistryError};
use super::reputation::Outcome;
use super::rows;
use super::snapshot::{FleetSnapshot, Heard, PeerSnapshot, PeerState, Places};
use crate::store::{Database, DatabaseError, peers};

/// Changes that wait, and commands that do. They come from people and from the few strangers that are let in; more is a flood, and waits
/// outside.
const MAX_COMMANDS: usize = 64;

/// Observations that wait: two of each of 4 000 rigs that report at once while a registration is published. What finds no
/// place of more is asked for again.
const MAX_OBSERVATIONS: usize = 8192;

/// Observations taken before anything else gets its turn.
const OBSERVATION_BATCH: usize = 256;

/// Shortest time between snapshots of what merely happened: ten a second are more than an eye follows, and cost
/// nothing to speak of with 10 000 peers.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// How often scores and last-seen times are written: what a power loss may cost of them.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

/// How long a stop waits for the disk: once for another program's lock on a change, once for it on the last scores (5 s
/// each), and a little. Systemd gives the whole node a minute.
const LAST_WRITES: Duration = Duration::from_secs(15);

/// How much one ping counts in the smoothed round trip: they are rare, and a line that became slow is to show in minutes.
const PING_SHARE: u32 = 4;

/// Longest problem that is kept for showing, characters.
const MAX_PROBLEM: usize = 300;

/// What the fleet task must know of this node.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// This node's key, which is never registered.
    pub own_key: PeerKey,
    /// This node's name, which no peer takes by itself.
    pub own_name: NodeName,
    /// This node's role, from which a new peer's permission follows when nobody says otherwise.
    pub own_role: Role,
    /// How strangers can pair.
    pub pairing: PairingMode,
    /// The wall clock, [`crate::store::clock::unix_now`] outside tests. Only stored and shown.
    pub clock: fn() -> u64,
}

/// Starts the fleet task with what the database holds. It ends, with everything written, after `stop`.
///
/// # Errors
/// [`DatabaseError`] when the peers cannot be read: a node that forgot its peers would be a stranger to them.
pub fn spawn(
    database: Database,
    settings: FleetSettings,
    stop: CancellationToken,
) -> Result<(FleetHandle, JoinHandle<()>), DatabaseError> {
    let mut registry = rows::load(&database)?;
    registry.reserve(&settings.own_name);
    let (changes, change_queue) = mpsc::channel(MAX_COMMANDS);
    let (commands, command_queue) = mpsc::channel(MAX_COMMANDS);
    let (observations, observation_queue) = mpsc::channel(MAX_OBSERVATIONS);
    let mailbox = Arc::new(Mailbox::default());
    let mut fleet = Fleet {
        admission: Admission::new(settings.pairing),
        database,
        registry,
        settings,
        states: HashMap::new(),
        changed: HashSet::new(),
        unwritten: HashSet::new(),
        writing: None,
        publish_at: None,
        knocked: Vec::new(),
        snapshot: watch::Sender::default(),
    };
    fleet.publish_members();
    let handle = FleetHandle {
        changes,
        commands,
        observations,
        mailbox: mailbox.clone(),
        snapshot: fleet.snapshot.subscribe(),
        turns: Arc::default(),
    };
    let task = tokio::spawn(fleet.run(change_queue, command_queue, observation_queue, mailbox, stop));
    Ok((handle, task))
}

struct Fleet {
    settings: FleetSettings,
    database: Database,
    registry: Registry,
    admission: Admission,
    /// Of registered peers only; a missing one is that of a peer of which nothing was seen.
    states: HashMap<PeerKey, PeerState>,
    /// What the next snapshot must show anew.
    changed: HashSet<PeerKey>,
    /// What the next flush must write.
    unwritten: HashSet<PeerKey>,
    /// What is being written: one thing at a time, so that the disk hears of all in the order in which it was decided.
    writing: Option<Writing>,
    /// When what merely happened is published.
    publish_at: Option<Instant>,
    /// Strangers that wait for an operator, who hear so once he can see them: a script that asks here and approves there
    /// goes on at once. No more than come within [`PUBLISH_INTERVAL`].
    knocked: Vec<Reply<Knock>>,
    snapshot: watch::Sender<Arc<FleetSnapshot>>,
}

/// A write under way. The disk may take its time; the task goes on.
struct Writing {
    work: BoxFuture<'static, Result<(), DatabaseError>>,
    then: Then,
}

/// What follows when it is written.
enum Then {
    Flushed(HashSet<PeerKey>),
    Removed { key: PeerKey, reply: Reply<Peer> },
    Stored { peer: Peer, plan: Plan, reply: Reply<Peer> },
}

/// What a peer becomes. Asked twice, before it is written and after, since more may be seen of it in between.
type Plan = Box<dyn Fn(&Registry) -> Result<Peer, RegistryError> + Send>;

impl Fleet {
    async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut commands: mpsc::Receiver<Command>,
        mut observations: mpsc::Receiver<(PeerKey, Observation)>,
        mailbox: Arc<Mailbox>,
        stop: CancellationToken,
    ) {
        let mut flush = tokio::time::interval(FLUSH_INTERVAL);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(OBSERVATION_BATCH);
        loop {
            let publish_at = self.publish_at;
            let admission_ends = self.admission.next_end();
            let idle = self.writing.is_none();
            tokio::select! {
                biased; // links before what was seen on them; people before rigs; what is due before all
                () = stop.cancelled() => break,
                done = written(&mut self.writing) => self.on_written(done),
                () = due(publish_at) => self.publish(),
                () = due(admission_ends) => self.on_admission_end(),
                _ = flush.tick(), if idle => self.flush(),
                () = mailbox.wait() => self.on_presence(&mailbox),
                Some(change) = changes.recv(), if idle => self.on_change(change),
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break, // every handle is gone
                },
                _ = observations.recv_many(&mut batch, OBSERVATION_BATCH) => self.on_observations(&mut batch),
            }
        }
        // Whoever was let in gets an answer; whoever comes now hears that the node is stopping.
        changes.close();
        commands.close();
        while let Some(command) = commands.recv().await {
            self.on_command(command);
        }
        self.on_presence(&mailbox);
        observations.close();
        while observations.recv_many(&mut batch, OBSERVATION_BATCH).await > 0 {
            self.on_observations(&mut batch);
        }
        if tokio::time::timeout(LAST_WRITES, self.last_writes(changes)).await.is_err() {
            tracing::error!("the disk does not answer: what was to be stored last may be lost");
        }
        self.publish();
    }

    async fn last_writes(&mut self, mut changes: mpsc::Receiver<Change>) {
        self.settle().await;
        while let Some(change) = changes.recv().await {
            self.on_change(change);
            self.settle().await;
        }
        self.flush();
        self.settle().await;
    }

    /// Waits for the disk.
    async fn settle(&mut self) {
        if self.writing.is_some() {
            let done = written(&mut self.writing).await;
            self.on_written(done);
        }
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        // An asker may have given up; what it asked for is done all the same.
        match command {
            Command::CodeForTry { key, reply } => {
                let _ = reply.send(Ok(self.admission.code_for_try(&key, now)));
            }
            Command::CurrentCode { reply } => {
                let _ = reply.send(Ok(self.admission.current_code(now).cloned()));
            }
            Command::Knock { stranger, reply } => {
                let knock = match self.registry.peer(&stranger.key) {
                    Some(_) => Knock::Registered,
                    None => self.admission.knock(stranger, now),
                };
                if knock == Knock::Pending {
                    // Strangers set this pace, so it is the slow one.
                    self.publish_soon();
                    self.knocked.push(reply);
                } else {
                    let _ = reply.send(Ok(knock));
                }
            }
            Command::ShowCode { reply } => {
                let shown = self.show_code(now);
                self.publish();
                let _ = reply.send(shown);
            }
            Command::WrongCode { key, number, reply } => {
                // Its answer is always that the code was wrong.
                let _ = self.admission.code_tried(&key, number, false, now);
                self.publish();
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn on_change(&mut self, change: Change) {
        let now = Instant::now();
        match change {
            Change::Alter { key, name, permission, reply } => {
                if permission.is_some() {
                    self.admission.end_code_of(&key);
                }
                self.store(Box::new(move |registry| registry.altered(&key, name.clone(), permission)), reply);
            }
            Change::Admit { number, new, reply } => {
                let tried = self.admission.code_tried(&new.key, number, true, now);
                self.publish();
                match tried {
                    Ok(()) => {
                        // A peer that pairs again, because its answer was lost, keeps what it was granted.
                        let known = self.registry.peer(&new.key).map_or(new.permission, |known| known.permission);
                        self.register(NewPeer { permission: known, ..new }, reply);
                    }
                    Err(refusal) => {
                        let _ = reply.send(Err(refusal.into()));
                    }
                }
            }
            Change::Approve { text, permission, reply } => match self.approved(&text, permission, now) {
                Ok(new) => self.register(new, reply),
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            Change::Deny { text, reply } => {
                let denied = self.admission.deny(&text, now);
                self.publish();
                let _ = reply.send(denied.map_err(FleetError::from));
            }
            Change::Register { new, reply } => self.register(new, reply),
            Change::Remove { key, reply } => self.remove(key, reply),
        }
    }

    fn show_code(&mut self, now: Instant) -> Result<Code, FleetError> {
        let code = Code::generate(&mut rand::rng());
        self.admission.show_code(code.clone(), now)?;
        Ok(code)
    }

    fn approved(&self, text: &str, permission: Option<Permission>, now: Instant) -> Result<NewPeer, FleetError> {
        let stranger = &self.admission.find(text, now)?.stranger;
        Ok(NewPeer {
            key: stranger.key,
            name: None,
            own_name: stranger.name.clone(),
            role: stranger.role,
            // It came to us from a port that nobody listens on; it will dial again.
            addresses: Vec::new(),
            permission: permission
                .unwrap_or_else(|| Permission::by_default(self.settings.own_role, stranger.role, Admitted::ByThem)),
            now: (self.settings.clock)(),
        })
    }

    fn register(&mut self, new: NewPeer, reply: Reply<Peer>) {
        if new.key == self.settings.own_key {
            let _ = reply.send(Err(FleetError::OwnKey));
            return;
        }
        self.store(Box::new(move |registry| registry.admit(new.clone())), reply);
    }

    fn remove(&mut self, key: PeerKey, reply: Reply<Peer>) {
        if self.registry.peer(&key).is_none() {
            let _ = reply.send(Err(RegistryError::Unknown(key.node_id()).into()));
            return;
        }
        // Before it is written: it shall not come back by its code in between.
        self.admission.end_code_of(&key);
        let database = self.database.clone();
        let work = async move { peers::remove(&database, *key.as_bytes()).await };
        self.writing = Some(Writing { work: Box::pin(work), then: Then::Removed { key, reply } });
    }

    /// Stores a decision, and only then goes by it.
    fn store(&mut self, plan: Plan, reply: Reply<Peer>) {
        match plan(&self.registry) {
            Ok(peer) => {
                let (database, row) = (self.database.clone(), rows::to_row(&peer));
                let work = async move { peers::put(&database, row).await };
                self.writing = Some(Writing { work: Box::pin(work), then: Then::Stored { peer, plan, reply } });
            }
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    fn on_written(&mut self, done: Result<(), DatabaseError>) {
        let Some(Writing { then, .. }) = self.writing.take() else { return };
        match (then, done) {
            (Then::Flushed(_), Ok(())) => {}
            // They stay marked, and are written with the next flush if the disk allows.
            (Then::Flushed(keys), Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "scores of peers are not stored");
                self.unwritten.extend(keys);
            }
            (Then::Removed { key, reply }, Ok(())) => {
                let removed = self.registry.remove(&key).map(Arc::unwrap_or_clone);
                self.states.remove(&key);
                self.unwritten.remove(&key);
                self.publish_members();
                let _ = reply.send(removed.ok_or_else(|| RegistryError::Unknown(key.node_id()).into()));
            }
            (Then::Stored { peer: written, plan, reply }, Ok(())) => {
                // What was seen of it meanwhile counts, too.
                let peer = plan(&self.registry).unwrap_or_else(|_| written.clone());
                self.admission.forget(&peer.key);
                if peer == written {
                    self.unwritten.remove(&peer.key);
                } else {
                    self.unwritten.insert(peer.key);
                }
                self.registry.put(peer.clone());
                self.publish_members();
                let _ = reply.send(Ok(peer));
            }
            (Then::Removed { reply, .. } | Then::Stored { reply, .. }, Err(error)) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    fn on_presence(&mut self, mailbox: &Mailbox) {
        let now = (self.settings.clock)();
        for (key, presence) in mailbox.take() {
            let Some(peer) = self.registry.peer_mut(&key) else { continue };
            let state = self.states.entry(key).or_default();
            peer.last_seen = Some(now);
            match presence {
                Presence::Connected(address) => {
                    if let Some(address) = address {
                        peer.prefer_address(&address);
                    }
                    state.online = true;
                    state.problem = None;
                }
                Presence::Disconnected => {
                    state.online = false;
                    state.ping = None;
                }
            }
            // A link that came up has told nothing yet, also when it took another's place: the rig may have been started anew.
            if let Some(heard) = &mut state.stats {
                heard.stale_since.get_or_insert_with(Instant::now);
            }
            self.touch(key);
        }
    }

    fn on_observations(&mut self, batch: &mut Vec<(PeerKey, Observation)>) {
        for (key, observation) in batch.drain(..) {
            self.on_observation(key, observation);
        }
    }

    fn on_observation(&mut self, key: PeerKey, observation: Observation) {
        let Some(peer) = self.registry.peer_mut(&key) else { return };
        let state = self.states.entry(key).or_default();
        let alive = !matches!(
            observation,
            Observation::DialFailed { .. }
                | Observation::Failed
                | Observation::TimedOut
                | Observation::Unreadable { .. }
        );
        if alive {
            // Not the later of the two: a clock that once ran ahead would pin it there.
            peer.last_seen = Some((self.settings.clock)());
        }
        match observation {
            Observation::Answered => peer.reputation.record(Outcome::Answered),
            Observation::DialFailed { why } => {
                peer.reputation.record(Outcome::DialFailed);
                state.problem = Some(for_people(&why));
            }
            Observation::Copied { hosts: [one, other] } => {
                let why = format!("two machines use its identity, as copies of one disk do: {one} and {other}");
                state.copied = Some((for_people(&why), Instant::now()));
            }
            Observation::Failed => peer.reputation.record(Outcome::Failed),
            Observation::Greeted { ip, role, agent } => {
                peer.ip = ip.or(peer.ip);
                peer.role = role;
                peer.set_agent(&agent);
            }
            Observation::Identified { agent } => peer.set_agent(&agent),
            Observation::Pinged(ping) if state.online => {
                state.ping = Some(state.ping.map_or(ping, |old| (old * (PING_SHARE - 1) + ping) / PING_SHARE));
            }
            Observation::Stats(stats) => {
                let at = Instant::now();
                state.problem = None;
                state.stats = Some(Heard { stats, at, stale_since: (!state.online).then_some(at) });
            }
            Observation::TimedOut => peer.reputation.record(Outcome::TimedOut),
            Observation::Unreadable { why } => {
                state.problem = Some(for_people(&why));
                // What it said before is shown on, with its age.
                if let Some(heard) = &mut state.stats {
                    heard.stale_since.get_or_insert(heard.at);
                }
            }
            // Links come by the mailbox; a ping of a link that is down by now tells nothing.
            Observation::Connected { .. } | Observation::Disconnected | Observation::Pinged(_) => {}
        }
        self.touch(key);
    }

    fn on_admission_end(&mut self) {
        self.admission.sweep(Instant::now());
        self.publish();
    }

    fn touch(&mut self, key: PeerKey) {
        self.changed.insert(key);
        self.unwritten.insert(key);
        self.publish_soon();
    }

    fn publish_soon(&mut self) {
        self.publish_at.get_or_insert_with(|| Instant::now() + PUBLISH_INTERVAL);
    }

    /// Publishes after a change of membership: order, places and everything else anew.
    fn publish_members(&mut self) {
        let before = self.snapshot.borrow().clone();
        let mut peers = Vec::with_capacity(self.registry.len());
        for peer in self.registry.peers() {
            let same = |known: &&Arc<PeerSnapshot>| Arc::ptr_eq(&known.peer, peer) && !self.changed.contains(&peer.key);
            let known = before.peer(&peer.key).filter(same);
            peers.push(known.cloned().unwrap_or_else(|| self.show(peer)));
        }
        let places = Arc::new(Places::of(&peers));
        self.send(&before, peers, places, before.membership + 1);
    }

    /// Publishes what has changed about the same peers.
    fn publish(&mut self) {
        let before = self.snapshot.borrow().clone();
        let mut peers = before.peers.clone();
        for key in &self.changed {
            if let (Some(place), Some(peer)) = (before.places.of_key(key), self.registry.peer(key)) {
                peers[place] = self.show(peer);
            }
        }
        self.send(&before, peers, before.places.clone(), before.membership);
    }

    fn show(&self, peer: &Arc<Peer>) -> Arc<PeerSnapshot> {
        let state = self.states.get(&peer.key).cloned().unwrap_or_default();
        Arc::new(PeerSnapshot { peer: peer.clone(), state })
    }

    fn send(&mut self, before: &FleetSnapshot, peers: Vec<Arc<PeerSnapshot>>, places: Arc<Places>, membership: u64) {
        let now = Instant::now();
        self.changed.clear();
        self.publish_at = None;
        self.snapshot.send_replace(Arc::new(FleetSnapshot {
            revision: before.revision + 1,
            membership,
            peers,
            pending: self.admission.pending(now).cloned().collect(),
            code_showing: self.admission.current_code(now).is_some(),
            pairing_possible: self.admission.pairing_possible(now),
            places,
        }));
        for reply in self.knocked.drain(..) {
            let _ = reply.send(Ok(Knock::Pending));
        }
    }

    fn flush(&mut self) {
        let keys = std::mem::take(&mut self.unwritten);
        let rows: Vec<_> =
            keys.iter().filter_map(|key| self.registry.peer(key)).map(|peer| rows::to_row(peer)).collect();
        if rows.is_empty() {
            return;
        }
        let database = self.database.clone();
        let work = async move { peers::update(&database, rows).await };
        self.writing = Some(Writing { work: Box::pin(work), then: Then::Flushed(keys) });
    }
}

/// Waits until it is written; for ever when nothing is being written.
async fn written(writing: &mut Option<Writing>) -> Result<(), DatabaseError> {
    match writing {
        Some(writing) => writing.work.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits until then; for ever when there is no then.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A problem as it is kept for showing: bounded, and nothing that a terminal would obey.
fn for_people(why: &str) -> String {
    why.chars().filter(|c| !c.is_control()).take(MAX_PROBLEM).collect()
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
