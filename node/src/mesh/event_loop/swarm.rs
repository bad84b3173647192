//! The swarm's task. Every handler is a plain `fn`: the loop waits for nobody.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::AbortHandle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, ping, swarm};
use miner_ctrl_protocol::smsg::NodeSecret;
use miner_ctrl_protocol::{NodeName, PeerKey, Role};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pairings::{PairingAsked, PairingDone};
use crate::files;
use crate::mesh::allowance::{Allowance, Rate};
use crate::mesh::behaviour::{Behaviour, BehaviourEvent};
use crate::mesh::command::{COMMANDS, Command, Counts, Event, Household, Links, MeshHandle, PairError};
use crate::mesh::convert::{self, peer_id};
use crate::mesh::dialer::Dialer;
use crate::mesh::gate::{Door, DoorEvent, Known};
use crate::mesh::handshakes::Latest;
use crate::mesh::link::{Link, LinkEnd};
use crate::mesh::listening;
use crate::mesh::pairing::Ourselves;
use crate::mesh::signer::Signer;
use crate::mesh::streams::Protocol;
use crate::mesh::transport;
use crate::mesh::turns;
use crate::mesh::words::{NOT_REGISTERED, broke, explain, pair_error, root_cause};

/// Due dials and overdue strangers are looked for this often.
const TICK: Duration = Duration::from_millis(250);
/// News of links that came up and wait for the loop.
const UPS: usize = 1024;
/// News of links that ended; those that find it full wait.
const ENDS: usize = 64;
/// A connection of a registered peer without a substream is closed after this.
const IDLE: Duration = Duration::from_secs(15);
/// Negotiations of a connection at once. We have five protocols.
const MAX_NEGOTIATING: usize = 16;

/// What the mesh starts with.
#[derive(Debug)]
pub struct MeshConfig {
    /// The node's key.
    pub secret: Arc<NodeSecret>,
    /// What its operator calls it.
    pub name: NodeName,
    /// What it is for.
    pub role: Role,
    /// Where to listen; empty for a node that lives as long as one command.
    pub listen: Vec<Multiaddr>,
    /// Peers registered from the start, with the addresses to dial.
    pub peers: Vec<(PeerKey, Vec<Multiaddr>)>,
    /// Where some of these were last: who comes from there is let in before others.
    pub last_ips: Vec<(PeerKey, IpAddr)>,
    /// How many requests each peer may make.
    pub rate: Rate,
}

/// Why the mesh did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret cannot be used as a libp2p key.
    #[error("the key cannot be used for the mesh")]
    Key,
    /// Somebody listens there already, or it may not be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The encryption could not be set up.
    #[error("cannot set up the encrypted transport")]
    Noise(#[source] libp2p::noise::Error),
}

/// Starts the mesh; it runs until `stop`.
///
/// # Errors
/// [`StartError`]: nothing is left running then.
pub async fn start(
    config: MeshConfig,
    household: Arc<dyn Household>,
    stop: CancellationToken,
) -> Result<(MeshHandle, tokio::task::JoinHandle<()>), StartError> {
    let keypair = convert::keypair(&config.secret).ok_or(StartError::Key)?;
    for address in &config.listen {
        listening::claim(address)?;
    }
    let counts = Arc::new(Counts::default());
    let (known, latest) = (Known::default(), Latest::default());
    let door = {
        let (household, known, latest) = (Arc::clone(&household), known.clone(), latest.clone());
        let pairing_possible = Box::new(move || household.pairing_possible());
        Door::new(known, latest, pairing_possible, Arc::clone(&counts), files::allowed())
    };
    let swarm = Swarm::new(
        transport::build(&keypair, known, latest).map_err(StartError::Noise)?,
        Behaviour::new(door, &keypair),
        keypair.public().to_peer_id(),
        swarm::Config::with_executor(turns::Tasks)
            .with_substream_upgrade_protocol_override(libp2p::core::upgrade::Version::V1Lazy)
            .with_max_negotiating_inbound_streams(MAX_NEGOTIATING)
            .with_idle_connection_timeout(IDLE),
    );
    let (commands, orders) = mpsc::channel(COMMANDS);
    let (ups_sender, ups) = mpsc::channel(UPS);
    let (ends_sender, ends) = mpsc::channel(ENDS);
    let links = Arc::new(Links::new());
    let listening_sender = watch::Sender::new(Vec::new());
    let handle = MeshHandle {
        commands,
        links: Arc::clone(&links),
        listening: listening_sender.subscribe(),
        counts: Arc::clone(&counts),
    };
    let key = config.secret.public();
    let mut event_loop = EventLoop {
        swarm,
        household,
        us: Ourselves { key, node_id: key.node_id(), name: config.name, role: config.role, boot: rand::rng().random() },
        signer: Signer::new(Arc::clone(&config.secret)),
        secret: config.secret,
        links,
        counts,
        rate: config.rate,
        allowances: HashMap::new(),
        listening: listening_sender,
        dialer: Dialer::default(),
        closing: Vec::new(),
        connections: HashMap::new(),
        pairings: HashMap::new(),
        served: JoinSet::new(),
        checks: JoinSet::new(),
        asked: JoinSet::new(),
        ups_sender,
        ends_sender,
        watchful: true,
    };
    for (key, addresses) in config.peers {
        event_loop.on_register(key, addresses);
    }
    for (key, ip) in config.last_ips {
        event_loop.swarm.behaviour_mut().door.moved_to(peer_id(&key), ip);
    }
    // They are known by now: who dials at once is no stranger.
    for event in listening::listen(&mut event_loop.swarm, &config.listen).await? {
        event_loop.on_event(event);
    }
    Ok((handle, tokio::spawn(event_loop.run(orders, ups, ends, stop))))
}

pub(super) struct Connection {
    pub(super) peer: PeerId,
    pub(super) key: PeerKey,
    pub(super) address: Multiaddr,
    pub(super) dialer: bool,
    /// We dialled it to pair: no link is opened on it, whatever is registered, and its end is no failed dial.
    pub(super) to_pair: bool,
    /// The pairing that was served on it last.
    pub(super) served: Option<task::AbortHandle>,
    pub(super) link: Option<LinkState>,
}

impl Connection {
    /// Whether a pairing is being served on it.
    pub(super) fn pairs(&self) -> bool {
        self.served.as_ref().is_some_and(|served| !served.is_finished())
    }

    /// We dialled it for a link, and that is not up yet.
    pub(super) fn comes_up(&self) -> bool {
        self.dialer && self.link.as_ref().is_some_and(|link| link.up.is_none())
    }
}

/// How a connection ended without a link, or with its link.
pub(super) enum Unlinked {
    /// The wire broke, or the peer fell silent. It is dialled again as quickly as one that was not reached.
    Broke(String),
    /// The peer closed it.
    Closed,
    /// What it said is not for us. It is dialled more and more rarely, as one that closes.
    Refused(String),
}

pub(super) struct LinkState {
    pub(super) task: AbortHandle,
    pub(super) up: Option<(Link, Instant)>,
}

pub(super) struct EventLoop {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) household: Arc<dyn Household>,
    pub(super) us: Ourselves,
    pub(super) secret: Arc<NodeSecret>,
    pub(super) signer: Signer,
    pub(super) links: Arc<Links>,
    pub(super) counts: Arc<Counts>,
    pub(super) rate: Rate,
    /// What is left of it to each peer that had a link: of registered ones alone.
    pub(super) allowances: HashMap<PeerKey, Arc<Mutex<Allowance>>>,
    pub(super) listening: watch::Sender<Vec<Multiaddr>>,
    pub(super) dialer: Dialer,
    /// Connections that close before their link was up, and by when they have said so. One for each dial at most.
    pub(super) closing: Vec<(ConnectionId, Instant)>,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    /// Connections that we dial to pair.
    pub(super) pairings: HashMap<ConnectionId, PairingAsked>,
    /// One for each connection at most.
    pub(super) served: JoinSet<()>,
    /// Whether those still answer whose link another program's replaces. Each ends with that link, of which the door lets in
    /// four of a peer, or after 5 s.
    pub(super) checks: JoinSet<()>,
    pub(super) asked: JoinSet<PairingDone>,
    pub(super) ups_sender: mpsc::Sender<(ConnectionId, Link)>,
    pub(super) ends_sender: mpsc::Sender<(ConnectionId, LinkEnd)>,
    /// Whether anything may become due. A node whose links are up is not woken to find nothing.
    pub(super) watchful: bool,
}

impl EventLoop {
    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Command>,
        mut ups: mpsc::Receiver<(ConnectionId, Link)>,
        mut ends: mpsc::Receiver<(ConnectionId, LinkEnd)>,
        stop: CancellationToken,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased; // finish local work before taking new work from the wire
                () = stop.cancelled() => break,
                Some((connection, link)) = ups.recv() => self.on_link_up(connection, link),
                Some((connection, end)) = ends.recv() => self.on_link_ended(connection, &end),
                Some(asked) = self.asked.join_next() => self.on_paired(asked.ok()),
                Some(_) = self.served.join_next() => {}
                Some(_) = self.checks.join_next() => {}
                Some(command) = orders.recv() => self.on_command(command),
                _ = tick.tick(), if self.watchful => self.on_tick(),
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        // No request is taken up any more, not even one that has been read.
        for connection in self.connections.values() {
            if let Some(link) = &connection.link {
                link.task.abort();
            }
        }
        // Dropping the swarm closes every connection; peers see it at once.
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Pair { address, expected, by, reply } => self.on_pair(address, expected, by, reply),
            Command::Register { key, addresses, done } => {
                self.on_register(key, addresses);
                // The caller may have given up.
                let _ = done.send(());
            }
            Command::Remove { key, done } => {
                self.on_remove(&key);
                let _ = done.send(());
            }
        }
    }

    fn on_register(&mut self, key: PeerKey, addresses: Vec<Multiaddr>) {
        self.watchful = true;
        let id = peer_id(&key);
        self.swarm.behaviour_mut().register(id, key);
        self.dialer.register(id, addresses, Instant::now());
    }

    fn on_remove(&mut self, key: &PeerKey) {
        let id = peer_id(key);
        self.swarm.behaviour_mut().remove(&id);
        self.dialer.remove(&id);
        self.links.take(key);
        self.allowances.remove(key);
        for connection in self.connections.values().filter(|connection| connection.peer == id) {
            if let Some(link) = &connection.link {
                link.task.abort();
            }
        }
        // Not connected is fine.
        let _ = self.swarm.disconnect_peer_id(id);
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for id in self.swarm.behaviour().door.overdue(now) {
            self.swarm.close_connection(id);
        }
        self.pairings.retain(|_, asked| !asked.reply.is_closed());
        let silent: Vec<_> = self.closing.extract_if(.., |(_, until)| *until <= now).collect();
        for (id, _) in silent {
            self.on_closed(id, Some("the connection broke off".to_owned()));
        }
        self.dial_due();
        self.watchful = self.dialer.is_waiting()
            || !self.closing.is_empty()
            || !self.pairings.is_empty()
            || self.swarm.behaviour().door.has_strangers();
    }

    fn dial_due(&mut self) {
        for (peer, addresses) in self.dialer.due(Instant::now()) {
            let options = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(addresses)
                .allocate_new_port()
                .build();
            let dial = options.connection_id();
            self.dialer.on_dial(peer, dial);
            if let Err(error) = self.swarm.dial(options) {
                self.on_dial_failed(peer, dial, &explain(&error));
            }
        }
    }

    /// The next dials do not wait for the tick when there are many.
    pub(super) fn dial_more(&mut self) {
        if self.watchful && self.dialer.has_room() {
            self.dial_due();
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Door(event)) => self.on_door(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                connection_id, info, ..
            })) => {
                if let Some(Connection { key, .. }) = self.connections.get(&connection_id) {
                    let agent = info.agent_version.chars().filter(|c| !c.is_control()).take(64).collect();
                    self.household.observe(*key, Event::Identified { agent });
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { connection, result: Ok(round_trip), .. })) => {
                // One whose link is not up 10 s after its connection came in a rush, and so did this: it tells of that alone.
                if let Some(Connection { key, link: Some(LinkState { up: Some(_), .. }), .. }) =
                    self.connections.get(&connection)
                {
                    self.household.observe(*key, Event::Pinged(round_trip));
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let address = convert::without_peer_id(endpoint.get_remote_address().clone());
                self.on_established(peer_id, connection_id, address, endpoint.is_dialer());
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                self.on_closed(connection_id, cause.as_ref().and_then(broke));
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(?peer_id, %error, "a dial failed");
                if let Some(asked) = self.pairings.remove(&connection_id) {
                    // The caller may have given up.
                    let _ = asked.reply.send(Err(pair_error(&error)));
                } else if let Some(peer) = peer_id
                    // Else it was to pair, and whoever wanted that has given up: the peer's own addresses are not to blame.
                    && self.dialer.dials(connection_id)
                {
                    self.on_dial_failed(peer, connection_id, &explain(&error));
                    self.dial_more();
                }
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!(from = %send_back_addr, error = %root_cause(&error), "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.listening.send_replace(listening::told(self.swarm.listeners()));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "a listener closed");
            }
            _ => {}
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, address: Multiaddr, dialer: bool) {
        // The door refuses other kinds of keys.
        let Some(key) = self.swarm.behaviour().door.key_of(&peer) else { return };
        let to_pair = self.pairings.contains_key(&id);
        self.connections.insert(id, Connection { peer, key, address, dialer, to_pair, served: None, link: None });
        let door = &mut self.swarm.behaviour_mut().door;
        self.watchful |= door.has_strangers();
        if to_pair {
            door.open(peer, id, Protocol::Pair);
        } else if dialer && door.is_registered(&peer) {
            door.open(peer, id, Protocol::Rpc);
        } else if dialer {
            // Removed while it was being dialled.
            self.swarm.close_connection(id);
        }
    }

    fn on_door(&mut self, event: DoorEvent) {
        match event {
            DoorEvent::Opened { connection, protocol: Protocol::Rpc, stream, seat: Some(seat), .. } => {
                self.open_link(connection, stream, &seat);
            }
            // Every connection has a seat; without one the stream is reset.
            DoorEvent::Opened { protocol: Protocol::Rpc, seat: None, .. } => {}
            DoorEvent::Opened { connection, protocol: Protocol::Pair, stream, inbound: true, .. } => {
                self.serve_pairing(connection, stream);
            }
            DoorEvent::Opened { connection, protocol: Protocol::Pair, stream, inbound: false, .. } => {
                self.ask_pairing(connection, stream);
            }
            DoorEvent::NotServed { connection, broke, .. } => {
                self.on_closed(connection, broke);
                self.swarm.close_connection(connection);
            }
        }
    }

    fn on_closed(&mut self, id: ConnectionId, broke: Option<String>) {
        self.closing.retain(|(closing, _)| *closing != id);
        if let Some(asked) = self.pairings.remove(&id) {
            // The caller may have given up.
            let _ = asked.reply.send(Err(PairError::NotPairing));
        }
        let end = broke.map_or(Unlinked::Closed, Unlinked::Broke);
        if let Some(connection) = self.connections.get(&id) {
            if connection.link.is_some() {
                self.end_link(id, &end);
            } else if connection.dialer && !connection.to_pair {
                let peer = connection.peer;
                self.on_unlinked(peer, id, &end);
            }
        }
        self.connections.remove(&id);
        self.dialer.on_ended(id);
    }

    fn on_dial_failed(&mut self, peer: PeerId, dial: ConnectionId, why: &str) {
        self.dialer.on_failed(dial, Instant::now(), &mut rand::rng());
        self.on_not_linked(peer, why);
    }

    /// We reached it, and no link came up.
    pub(super) fn on_unlinked(&mut self, peer: PeerId, dial: ConnectionId, end: &Unlinked) {
        let (now, rng) = (Instant::now(), &mut rand::rng());
        match end {
            Unlinked::Broke(_) => self.dialer.on_broken(dial, now, rng),
            Unlinked::Closed | Unlinked::Refused(_) => self.dialer.on_refused(dial, now, rng),
        }
        self.on_not_linked(
            peer,
            match end {
                Unlinked::Broke(why) | Unlinked::Refused(why) => why,
                Unlinked::Closed => NOT_REGISTERED,
            },
        );
    }

    fn on_not_linked(&mut self, peer: PeerId, why: &str) {
        self.watchful = true;
        let door = &self.swarm.behaviour().door;
        if door.is_registered(&peer)
            && let Some(key) = door.key_of(&peer)
            && self.links.get(&key).is_none()
        {
            self.household.observe(key, Event::DialFailed { why: why.to_owned() });
        }
    }
}
