//! The door: who may connect, and which of our protocols each connection is served.
//!
//! A registered peer is served the link and pairing (it may have lost its registration of us). A stranger is served
//! pairing alone, while pairing is possible; otherwise it is refused when its connection is established. Strangers
//! are counted apart from registered peers, so that a flood of them never costs a registered peer its place.
//!
//! The first field of the composed behaviour, so that nothing behind it ever hears of a connection refused here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use miner_ctrl_protocol::PeerKey;
use tokio::time::Instant;

use super::allowance::Allowance;
use super::command::Counts;
use super::convert::peer_key;
use super::link::RequestRate;
use super::streams::{Opened, Protocol, Streams};
use super::turns::Seat;

/// Handshakes under way. Each costs about 1 ms of CPU, and 15 KB until it is done or [`super::transport`]'s timeout
/// ends it. A hall that gets its power back dials all at once, and whoever is turned away waits for seconds.
const MAX_HANDSHAKES: usize = 4096;
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
const STRANGER_RATE: RequestRate = RequestRate { per_second: 4.0, burst: 60.0 };
/// Addresses whose rate is remembered; the ones that were quiet longest are forgotten first.
const MAX_RATES: usize = 1024;

/// Addresses of registered peers that are remembered: as many as peers may be registered.
const MAX_TRUSTED: usize = 10_000;

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
    ip: IpAddr,
    since: Instant,
}

/// How many handshakes may be under way.
#[derive(Debug, Clone, Copy)]
struct Room {
    all: usize,
    /// Of these, from addresses that no registered peer ever came from: whoever says nothing on many connections leaves
    /// room for those that are known.
    unknown: usize,
    /// Of these, from one address: a hall behind one NAT.
    per_ip: usize,
}

impl Room {
    /// For a process that may have so many open files: strangers that say nothing take no more than half of them.
    fn of(files: u64) -> Self {
        let all = usize::try_from(files / 2).unwrap_or(usize::MAX).min(MAX_HANDSHAKES);
        Self { all, unknown: all / 4 * 3, per_ip: all / 2 }
    }
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
    room: Room,
    registered: Known,
    pairing_possible: Box<dyn Fn() -> bool + Send>,
    handshakes: HashMap<ConnectionId, IpAddr>,
    handshakes_per_ip: HashMap<IpAddr, usize>,
    strangers: HashMap<ConnectionId, Stranger>,
    rates: HashMap<IpAddr, Allowance>,
    /// Addresses that registered peers came from since the start: strangers there never cost them the handshake.
    trusted: HashSet<IpAddr>,
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
        pairing_possible: Box<dyn Fn() -> bool + Send>,
        counts: Arc<Counts>,
        files: u64,
    ) -> Self {
        Self {
            room: Room::of(files),
            registered,
            pairing_possible,
            handshakes: HashMap::new(),
            handshakes_per_ip: HashMap::new(),
            strangers: HashMap::new(),
            rates: HashMap::new(),
            trusted: HashSet::new(),
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

    fn admit_stranger(&mut self, id: ConnectionId, ip: IpAddr) -> Result<(), TurnedAway> {
        let now = Instant::now();
        if !self.within_rate(ip, now) {
            return Err(TurnedAway::TooOften);
        }
        if !(self.pairing_possible)() {
            return Err(TurnedAway::NotPairing);
        }
        let same_ip = self.strangers.values().filter(|stranger| stranger.ip == ip).count();
        if self.strangers.len() >= MAX_STRANGERS || same_ip >= MAX_STRANGERS_PER_IP {
            return Err(TurnedAway::TooManyStrangers);
        }
        self.strangers.insert(id, Stranger { ip, since: now });
        Ok(())
    }

    fn end_handshake(&mut self, id: ConnectionId) {
        if let Some(ip) = self.handshakes.remove(&id) {
            take_one(&mut self.handshakes_per_ip, &ip);
        }
    }

    fn forget(&mut self, id: ConnectionId) {
        self.end_handshake(id);
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

/// Whom limits are counted by: an IPv4 address, or the /64 that one IPv6 host may choose its addresses from. Addresses
/// without an IP share one place.
fn ip_of(address: &Multiaddr) -> IpAddr {
    match super::convert::ip_of(address) {
        Some(IpAddr::V6(ip)) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        Some(ip) => ip,
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
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
        let ip = ip_of(remote);
        let same_ip = self.handshakes_per_ip.get(&ip).copied().unwrap_or_default();
        let known = self.trusted.contains(&ip);
        let of_unknown = |(ip, count): (&IpAddr, &usize)| if self.trusted.contains(ip) { 0 } else { *count };
        let unknown: usize = self.handshakes_per_ip.iter().map(of_unknown).sum();
        if self.handshakes.len() >= self.room.all
            || same_ip >= self.room.per_ip
            || (!known && unknown >= self.room.unknown)
        {
            return Err(self.turn_away(TurnedAway::TooManyHandshakes));
        }
        if !known && self.allowance_used_up(&ip, Instant::now()) {
            return Err(self.turn_away(TurnedAway::TooOften));
        }
        self.handshakes.insert(id, ip);
        *self.handshakes_per_ip.entry(ip).or_default() += 1;
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.end_handshake(id);
        let ip = ip_of(remote);
        if self.registered.has(&peer) {
            let count = self.per_peer.entry(peer).or_default();
            if *count >= MAX_PER_PEER {
                return Err(self.turn_away(TurnedAway::TooManyConnections));
            }
            *count += 1;
            if self.trusted.len() < MAX_TRUSTED {
                self.trusted.insert(ip);
            }
            self.connections.insert(id, peer);
            return Ok(Streams::serving(&[Protocol::Rpc, Protocol::Pair]));
        }
        if peer_key(&peer).is_none() {
            return Err(self.turn_away(TurnedAway::AnotherKind));
        }
        match self.admit_stranger(id, ip) {
            Ok(()) => Ok(Streams::serving(&[Protocol::Pair])),
            Err(why) => Err(self.turn_away(why)),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.registered.has(&peer) {
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
    fn silent_strangers_leave_room_for_addresses_that_are_known() {
        for (files, room) in [(1024, 384), (20_000, 3072), (u64::MAX, 3072)] {
            let mut door = Door::new(Known::default(), Box::new(|| true), Arc::default(), files);
            door.trusted.insert(IpAddr::from([127, 0, 0, 1]));
            let taken = (0..2 * MAX_HANDSHAKES).filter(|n| knock(&mut door, *n, &format!("10.0.0.{}", n % 4))).count();
            assert_eq!(taken, room);
            assert!(knock(&mut door, 2 * MAX_HANDSHAKES, "127.0.0.1"));
        }
    }

    #[test]
    fn a_handshake_that_ends_leaves_its_place_to_another() {
        let mut door = Door::new(Known::default(), Box::new(|| true), Arc::default(), 1024);
        for round in 0..3 {
            let ids: Vec<_> = (round * 1000..).take(256).collect();
            assert!(ids.iter().all(|id| knock(&mut door, *id, "10.0.0.1")));
            assert!(!knock(&mut door, 999_999, "10.0.0.1"), "one address has its part");
            for id in ids {
                door.forget(ConnectionId::new_unchecked(id));
                door.forget(ConnectionId::new_unchecked(id));
            }
        }
        assert!(door.handshakes.is_empty() && door.handshakes_per_ip.is_empty());
    }

    fn knock(door: &mut Door, id: usize, ip: &str) -> bool {
        let (local, remote) = ("/ip4/127.0.0.1/tcp/9091/ws".parse().unwrap(), format!("/ip4/{ip}/tcp/1/ws"));
        let remote = remote.parse().unwrap();
        door.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &local, &remote).is_ok()
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_are_counted_together() {
        let ip = |text: &str| ip_of(&format!("/ip6/{text}/tcp/1/ws").parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
    }
}
