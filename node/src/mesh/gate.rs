//! The door: who may connect, and which of our protocols each connection is served.
//!
//! A registered peer is served the link and pairing (it may have lost its registration of us). A stranger is served
//! pairing alone, while pairing is possible; otherwise it is refused when its connection is established. Strangers
//! are counted apart from registered peers, so that a flood of them never costs a registered peer its place.
//!
//! The first field of the composed behaviour, so that nothing behind it ever hears of a connection refused here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use miner_ctrl_protocol::PeerKey;
use tokio::time::Instant;

use super::allowance::{Allowance, Rate};
use super::command::Counts;
use super::convert::{ip_of, peer_key};
use super::handshakes::{Full, Handshakes, Latest};
use super::streams::{Opened, Protocol, Streams};
use super::turns::Seat;
use crate::places;

/// Strangers connected at once. Pairing takes under a second.
const MAX_STRANGERS: usize = 16;
/// Of these, from one address.
const MAX_STRANGERS_PER_IP: usize = 4;
/// Connections that one registered peer may have: two after a simultaneous dial, one more on its way out or
/// asked whether it still answers, a pairing.
const MAX_PER_PEER: usize = 4;
/// How long a stranger's connection lives.
pub(crate) const STRANGER_LIFE: Duration = Duration::from_secs(10);
/// Strangers' connections that one address may make: a waiting `peer add` asks every 2 s, a dozen of them may share an
/// address, and come to it at once.
const STRANGER_RATE: Rate = Rate { per_second: 4.0, burst: 60.0 };
/// Addresses whose rate is remembered; the ones that were quiet longest are forgotten first.
const MAX_RATES: usize = 1024;

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TurnedAway {
    #[error("not an Ed25519 identity")]
    AnotherKind,
    #[error("pairing is not possible now")]
    NotPairing,
    #[error("too many connections of this peer")]
    TooManyConnections,
    #[error("too many handshakes at once")]
    TooManyHandshakes,
    #[error("too many strangers at once")]
    TooManyStrangers,
    #[error("too many attempts from this address")]
    TooOften,
}

/// What the door tells the mesh loop.
#[expect(clippy::large_enum_variant, reason = "nearly all are the large one; a box would cost each an allocation")]
pub(crate) enum DoorEvent {
    /// A substream of one of our protocols, ours or the peer's.
    Opened {
        peer: PeerId,
        connection: ConnectionId,
        protocol: Protocol,
        stream: Stream,
        inbound: bool,
        seat: Option<Seat>,
    },
    /// The peer does not serve the protocol; or it did not say so, and why not.
    NotServed { connection: ConnectionId, protocol: Protocol, broke: Option<String> },
}

impl fmt::Debug for DoorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { peer, protocol, .. } => write!(f, "Opened({peer}, {protocol:?})"),
            Self::NotServed { protocol, .. } => write!(f, "NotServed({protocol:?})"),
        }
    }
}

struct Stranger {
    peer: PeerId,
    ip: IpAddr,
    since: Instant,
}

/// Who is registered. The transport knows it too: what a connection may carry is settled before the door is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<RwLock<HashMap<PeerId, PeerKey>>>);

impl Known {
    pub(crate) fn has(&self, peer: &PeerId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(peer)
    }

    fn key_of(&self, peer: &PeerId) -> Option<PeerKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(peer).copied()
    }

    fn change(&self) -> RwLockWriteGuard<'_, HashMap<PeerId, PeerKey>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Door {
    registered: Known,
    pairing_possible: Box<dyn Fn() -> bool + Send>,
    handshakes: Handshakes,
    latest: Latest,
    /// By age: the ids of connections grow.
    strangers: BTreeMap<ConnectionId, Stranger>,
    rates: HashMap<IpAddr, Allowance>,
    /// Where each registered peer was last. One address of each: a peer that goes from one to the next leaves none known.
    last_ips: HashMap<PeerId, IpAddr>,
    /// How many of them were last at these addresses, which are known: strangers there never cost them the handshake.
    at: HashMap<IpAddr, usize>,
    connections: HashMap<ConnectionId, PeerId>,
    per_peer: HashMap<PeerId, usize>,
    events: VecDeque<ToSwarm<DoorEvent, Protocol>>,
    counts: Arc<Counts>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// `files` is how many open files this process may have.
    pub(crate) fn new(
        registered: Known,
        latest: Latest,
        pairing_possible: Box<dyn Fn() -> bool + Send>,
        counts: Arc<Counts>,
        files: u64,
    ) -> Self {
        Self {
            registered,
            pairing_possible,
            handshakes: Handshakes::new(files),
            latest,
            strangers: BTreeMap::new(),
            rates: HashMap::new(),
            last_ips: HashMap::new(),
            at: HashMap::new(),
            connections: HashMap::new(),
            per_peer: HashMap::new(),
            events: VecDeque::new(),
            counts,
        }
    }

    pub(crate) fn register(&mut self, peer: PeerId, key: PeerKey) {
        self.registered.change().insert(peer, key);
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) {
        self.registered.change().remove(peer);
        if let Some(ip) = self.last_ips.remove(peer) {
            self.left(ip);
        }
    }

    /// A registered peer is at this address, or was before this node started.
    pub(crate) fn moved_to(&mut self, peer: PeerId, ip: IpAddr) {
        let ip = places::host(ip);
        let before = self.last_ips.insert(peer, ip);
        if before == Some(ip) {
            return;
        }
        let peers = self.at.entry(ip).or_default();
        *peers += 1;
        if *peers == 1 {
            self.handshakes.relabel(ip, true);
        }
        if let Some(before) = before {
            self.left(before);
        }
    }

    /// A registered peer is at this address no more.
    fn left(&mut self, ip: IpAddr) {
        take_one(&mut self.at, &ip);
        if !self.is_known(&ip) {
            self.handshakes.relabel(ip, false);
        }
    }

    fn is_known(&self, ip: &IpAddr) -> bool {
        self.at.contains_key(ip)
    }

    pub(crate) fn is_registered(&self, peer: &PeerId) -> bool {
        self.registered.has(peer)
    }

    /// The key of a connected peer. Reading it out of the peer id takes several field inversions; those of registered
    /// peers are at hand.
    pub(crate) fn key_of(&self, peer: &PeerId) -> Option<PeerKey> {
        self.registered.key_of(peer).or_else(|| peer_key(peer))
    }

    /// Whether strangers are connected, whose time will be over.
    pub(crate) fn has_strangers(&self) -> bool {
        !self.strangers.is_empty()
    }

    /// Asks the peer for a substream; [`DoorEvent`] tells how it went.
    pub(crate) fn open(&mut self, peer_id: PeerId, connection: ConnectionId, protocol: Protocol) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: protocol,
        });
    }

    /// Strangers whose time is over.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<ConnectionId> {
        self.strangers
            .iter()
            .filter(|(_, stranger)| now.duration_since(stranger.since) >= STRANGER_LIFE)
            .map(|(id, _)| *id)
            .collect()
    }

    fn turn_away(&self, why: TurnedAway) -> ConnectionDenied {
        self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        ConnectionDenied::new(why)
    }

    /// Takes one attempt from the address's allowance; false when it is used up.
    fn within_rate(&mut self, ip: IpAddr, now: Instant) -> bool {
        if self.rates.len() >= MAX_RATES && !self.rates.contains_key(&ip) {
            let quietest = self.rates.iter().min_by_key(|(_, rate)| rate.at()).map(|(ip, _)| *ip);
            quietest.and_then(|ip| self.rates.remove(&ip));
        }
        self.rates.entry(ip).or_insert_with(|| Allowance::new(STRANGER_RATE, now)).take(now)
    }

    fn allowance_used_up(&self, ip: &IpAddr, now: Instant) -> bool {
        self.rates.get(ip).is_some_and(|rate| rate.is_used_up(now))
    }

    fn admit_stranger(&mut self, id: ConnectionId, peer: PeerId, ip: IpAddr) -> Result<(), TurnedAway> {
        let now = Instant::now();
        if !self.within_rate(ip, now) {
            return Err(TurnedAway::TooOften);
        }
        if !(self.pairing_possible)() {
            return Err(TurnedAway::NotPairing);
        }
        let same_ip = self.strangers.values().filter(|stranger| places::host(stranger.ip) == places::host(ip)).count();
        if same_ip >= MAX_STRANGERS_PER_IP || self.strangers.len() >= MAX_STRANGERS && !self.makes_room(ip) {
            return Err(TurnedAway::TooManyStrangers);
        }
        self.strangers.insert(id, Stranger { peer, ip, since: now });
        Ok(())
    }

    /// Takes a place from whoever holds most of them, when the one at `ip` holds fewer.
    fn makes_room(&mut self, ip: IpAddr) -> bool {
        let holders: Vec<IpAddr> = self.strangers.values().map(|stranger| stranger.ip).collect();
        let yields = places::who_yields(&holders, ip).and_then(|place| self.strangers.keys().nth(place).copied());
        let Some((id, stranger)) = yields.and_then(|id| self.strangers.remove_entry(&id)) else { return false };
        let connection = CloseConnection::One(id);
        self.events.push_back(ToSwarm::CloseConnection { peer_id: stranger.peer, connection });
        self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn forget(&mut self, id: ConnectionId) {
        self.handshakes.end(id);
        self.strangers.remove(&id);
        if let Some(peer) = self.connections.remove(&id) {
            take_one(&mut self.per_peer, &peer);
        }
    }
}

fn take_one<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Whom limits are counted by. Addresses without an IP share one place.
fn counted_as(address: &Multiaddr) -> IpAddr {
    ip_of(address).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), places::host)
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = Streams;
    type ToSwarm = DoorEvent;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let ip = counted_as(remote);
        let known = self.is_known(&ip);
        if !known && self.allowance_used_up(&ip, Instant::now()) {
            return Err(self.turn_away(TurnedAway::TooOften));
        }
        let let_go = self.handshakes.begin(id, ip, known, self.latest.stop());
        if let Some(other) = let_go.map_err(|Full| self.turn_away(TurnedAway::TooManyHandshakes))? {
            other.abort();
            self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes.end(id);
        let ip = counted_as(remote);
        if self.registered.has(&peer) {
            let count = self.per_peer.entry(peer).or_default();
            if *count >= MAX_PER_PEER {
                return Err(self.turn_away(TurnedAway::TooManyConnections));
            }
            *count += 1;
            self.moved_to(peer, ip);
            self.connections.insert(id, peer);
            return Ok(Streams::serving(&[Protocol::Rpc, Protocol::Pair]));
        }
        if peer_key(&peer).is_none() {
            return Err(self.turn_away(TurnedAway::AnotherKind));
        }
        match self.admit_stranger(id, peer, ip) {
            Ok(()) => Ok(Streams::serving(&[Protocol::Pair])),
            Err(why) => Err(self.turn_away(why)),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.registered.has(&peer) {
            // One that was dialled by a name is where it was.
            if let Some(ip) = ip_of(address) {
                self.moved_to(peer, ip);
            }
            return Ok(Streams::serving(&[Protocol::Rpc]));
        }
        if peer_key(&peer).is_none() {
            return Err(self.turn_away(TurnedAway::AnotherKind));
        }
        // We dialled it to pair: we ask, it is served nothing.
        Ok(Streams::serving(&[]))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.forget(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.forget(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: <Streams as libp2p::swarm::ConnectionHandler>::ToBehaviour,
    ) {
        let event = match event {
            Opened::Stream { protocol, stream, inbound, seat } => {
                DoorEvent::Opened { peer, connection, protocol, stream, inbound, seat }
            }
            Opened::NotServed { protocol, broke } => DoorEvent::NotServed { connection, protocol, broke },
        };
        self.events.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_makes_one_address_known_and_takes_it_along() {
        let mut door = Door::new(Known::default(), Latest::default(), Box::new(|| true), Arc::default(), 1024);
        let (one, other) = (PeerId::random(), PeerId::random());
        let ips: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let known = |door: &Door| ips.map(|ip| door.is_known(&ip));
        door.moved_to(one, ips[0]);
        door.moved_to(other, ips[0]);
        assert_eq!(known(&door), [true, false]);
        door.moved_to(one, ips[1]);
        door.moved_to(one, ips[1]);
        assert_eq!(known(&door), [true, true]);
        door.moved_to(other, ips[1]);
        assert_eq!(known(&door), [false, true]);
        door.remove(&one);
        door.remove(&other);
        assert_eq!(known(&door), [false, false]);
    }

    #[test]
    fn where_a_peer_was_dialled_is_known_too() {
        let mut door = Door::new(Known::default(), Latest::default(), Box::new(|| true), Arc::default(), 1024);
        let key = miner_ctrl_protocol::smsg::NodeSecret::from_seed(&[7; 32]).unwrap().public();
        let peer = crate::mesh::peer_id(&key);
        let ip: IpAddr = [10, 0, 0, 1].into();
        let dialled = |door: &mut Door, address: &str| {
            let (id, address) = (ConnectionId::new_unchecked(0), address.parse().unwrap());
            door.handle_established_outbound_connection(id, peer, &address, Endpoint::Dialer, PortUse::New).unwrap();
        };
        dialled(&mut door, "/ip4/10.0.0.1/tcp/9091/ws");
        assert!(!door.is_known(&ip), "a stranger");
        door.register(peer, key);
        dialled(&mut door, "/ip4/10.0.0.1/tcp/9091/ws");
        assert!(door.is_known(&ip));
        dialled(&mut door, "/dns4/rig.local/tcp/9091/ws");
        assert!(door.is_known(&ip), "a name says nothing else");
    }

    #[test]
    fn where_a_peer_was_before_its_handshakes_are_those_of_anybody() {
        let mut door = Door::new(Known::default(), Latest::default(), Box::new(|| true), Arc::default(), 32);
        let peer = PeerId::random();
        let mut ids = 0..;
        let mut come = |door: &mut Door, last: u8| {
            let id = ConnectionId::new_unchecked(ids.next().unwrap());
            let [here, from] = [9, last].map(|n| format!("/ip4/10.0.0.{n}/tcp/9091/ws").parse().unwrap());
            door.handle_pending_inbound_connection(id, &here, &from).is_ok()
        };
        for last in [1, 2] {
            door.moved_to(peer, [10, 0, 0, last].into());
            assert_eq!((0..16).filter(|_| come(&mut door, last)).count(), 8);
        }
        assert_eq!((10..99).filter(|last| come(&mut door, *last)).count(), 7, "all but one of the first address go");
    }

    #[test]
    fn who_takes_every_place_of_strangers_makes_room_for_whoever_comes_from_elsewhere() {
        let mut door = Door::new(Known::default(), Latest::default(), Box::new(|| true), Arc::default(), 1024);
        let mut ids = 0..;
        let mut comes = |door: &mut Door, ip: &str| {
            let (id, peer) = (ConnectionId::new_unchecked(ids.next().unwrap()), PeerId::random());
            door.admit_stranger(id, peer, ip.parse().unwrap()).map(|()| (id, peer))
        };
        let flood: Vec<_> = (0..16).map(|n| comes(&mut door, &format!("2001:db8:1:{n:x}::1")).unwrap()).collect();
        assert!(matches!(comes(&mut door, "2001:db8:1:ff::1"), Err(TurnedAway::TooManyStrangers)));
        let (rig, _) = comes(&mut door, "192.0.2.1").unwrap();
        let Some(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) }) = door.events.pop_front()
        else {
            panic!("{:?}", door.events)
        };
        assert_eq!((id, peer_id), flood[15]);
        // When its connection ends that takes no place from another.
        door.forget(id);
        assert_eq!(door.strangers.len(), MAX_STRANGERS);
        for n in 0..3 {
            comes(&mut door, "192.0.2.1").unwrap_or_else(|why| panic!("{n}: {why}"));
        }
        assert!(comes(&mut door, "192.0.2.1").is_err(), "no address has more than its part");
        assert!(door.strangers.contains_key(&rig));
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_are_counted_together() {
        let ip = |text: &str| counted_as(&format!("/ip6/{text}/tcp/1/ws").parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
    }
}
