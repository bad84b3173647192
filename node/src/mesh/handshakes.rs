//! Handshakes that others began and that are not done: how many there may be, and which one makes room.
//!
//! Whoever says nothing on many connections keeps nobody out: it holds more of them than others do, and loses its oldest.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::AbortHandle;
use libp2p::swarm::ConnectionId;

use crate::places;

/// Each costs about 1 ms of CPU, and until it is done or [`super::transport`]'s timeout ends it 4 to 10 KiB; one that sends
/// as much as is read of it, 31 KiB, which are 122 MiB in all. A hall that gets its power back dials all at once, and
/// whoever is turned away waits for seconds.
const MOST: usize = 4096;

/// How many may be under way.
#[derive(Debug, Clone, Copy)]
struct Room {
    all: usize,
    /// Of these, kept for networks where a registered peer was last, and as many for those where none was: those who fill
    /// the house from thousands of networks leave room for who is known, and those who are known for who is not.
    kept: usize,
    /// From one network: a hall behind one NAT.
    per_network: usize,
}

impl Room {
    /// For a process that may have so many open files: strangers that say nothing take no more than half of them.
    fn of(files: u64) -> Self {
        let all = usize::try_from(files / 2).unwrap_or(usize::MAX).min(MOST);
        Self { all, kept: all / 4, per_network: all / 2 }
    }
}

/// Whom one is counted for: where a registered peer was last an IPv4 address or a /64, which one IPv6 host has; elsewhere
/// an IPv4 address or the /48 of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network {
    ip: IpAddr,
    known: bool,
}

impl Network {
    fn of(ip: IpAddr, known: bool) -> Self {
        Self { ip: if known { ip } else { places::site(ip) }, known }
    }
}

/// There is no room, and nobody who would have to make some.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

struct Handshake {
    /// An IPv6 host by its /64.
    ip: IpAddr,
    network: Network,
    stop: AbortHandle,
}

pub(super) struct Handshakes {
    room: Room,
    /// By age: the ids of connections grow.
    under_way: BTreeMap<ConnectionId, Handshake>,
    held: HashMap<Network, usize>,
    /// Of known networks, all together.
    known: usize,
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

impl Handshakes {
    /// `files` is how many open files this process may have.
    pub(super) fn new(files: u64) -> Self {
        Self { room: Room::of(files), under_way: BTreeMap::new(), held: HashMap::new(), known: 0 }
    }

    /// Takes one in; what stops the one that made room for it, if one did. `known` says whether a registered peer was last at
    /// `ip`.
    pub(super) fn begin(
        &mut self,
        id: ConnectionId,
        ip: IpAddr,
        known: bool,
        stop: AbortHandle,
    ) -> Result<Option<AbortHandle>, Full> {
        let network = Network::of(ip, known);
        let all = self.under_way.len();
        let is_full = all >= self.room.all || !known && all - self.known >= self.room.all - self.room.kept;
        let let_go = if self.held_by(&network) >= self.room.per_network {
            Some(self.make_room_within(&network, ip).ok_or(Full)?)
        } else if is_full {
            Some(self.make_room(&network, ip).ok_or(Full)?)
        } else {
            None
        };
        self.under_way.insert(id, Handshake { ip, network, stop });
        self.count(network);
        Ok(let_go)
    }

    /// It is done, or broke off, or was never taken in.
    pub(super) fn end(&mut self, id: ConnectionId) -> Option<AbortHandle> {
        let Handshake { network, stop, .. } = self.under_way.remove(&id)?;
        self.discount(&network);
        Some(stop)
    }

    /// A registered peer is at `ip`, or none any more. It looks at all under way from a network that has some.
    pub(super) fn relabel(&mut self, ip: IpAddr, known: bool) {
        let [before, now] = [!known, known].map(|known| Network::of(ip, known));
        if !self.held.contains_key(&before) {
            return;
        }
        let same = self.under_way.values_mut().filter(|handshake| handshake.ip == ip && handshake.network == before);
        let moved = same.map(|handshake| handshake.network = now).count();
        for _ in 0..moved {
            self.discount(&before);
            self.count(now);
        }
    }

    fn count(&mut self, network: Network) {
        *self.held.entry(network).or_default() += 1;
        self.known += usize::from(network.known);
    }

    fn discount(&mut self, network: &Network) {
        self.known -= usize::from(network.known);
        if let Some(held) = self.held.get_mut(network) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(network);
            }
        }
    }

    fn held_by(&self, network: &Network) -> usize {
        self.held.get(network).copied().unwrap_or_default()
    }

    /// Lets go of the oldest of whoever holds most, unless the newcomer would hold as many then: two halls would end each
    /// other's without end, and none would ever be done. Who is known makes room for who is not only where these have less
    /// than is kept for them. What is kept for those that are known they have however few each of the others holds. Where
    /// nobody goes so, the same holds among the hosts of the newcomer's site. It looks at all, which takes 40 us at most, and only when there is no room.
    fn make_room(&mut self, newcomer: &Network, ip: IpAddr) -> Option<AbortHandle> {
        let all = self.under_way.len();
        let is_kept = if newcomer.known { self.known } else { all - self.known } < self.room.kept;
        let takes_of_all = newcomer.known && is_kept && self.known < all;
        let asked = self.held.iter().filter(|(network, _)| match network.known {
            true => !takes_of_all && (newcomer.known || is_kept),
            false => true,
        });
        let (most, held) = asked.max_by_key(|(network, held)| (**held, !network.known))?;
        if takes_of_all || *held >= self.held_by(newcomer) + 2 {
            let most = *most;
            self.end_oldest(|handshake| handshake.network == most)
        } else {
            self.make_room_within(newcomer, ip)
        }
    }

    /// The same among the hosts of one site.
    fn make_room_within(&mut self, network: &Network, ip: IpAddr) -> Option<AbortHandle> {
        let mut held = HashMap::<IpAddr, usize>::new();
        for handshake in self.under_way.values().filter(|handshake| handshake.network == *network) {
            *held.entry(handshake.ip).or_default() += 1;
        }
        let own = held.get(&ip).copied().unwrap_or_default();
        let (most, held) = held.into_iter().max_by_key(|(_, held)| *held)?;
        if held < own + 2 {
            return None;
        }
        self.end_oldest(|handshake| handshake.ip == most)
    }

    fn end_oldest(&mut self, of: impl Fn(&Handshake) -> bool) -> Option<AbortHandle> {
        let id = *self.under_way.iter().find(|(_, handshake)| of(handshake))?.0;
        self.end(id)
    }
}

/// What stops the handshake that was begun last. The transport makes it; the swarm asks the door about each before it hears
/// of the next, and has no way of its own to end one.
#[derive(Clone)]
pub(crate) struct Latest(Arc<Mutex<AbortHandle>>);

impl Latest {
    pub(super) fn put(&self, stop: AbortHandle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }

    pub(super) fn stop(&self) -> AbortHandle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Latest {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(AbortHandle::new_pair().0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that come, one after the other.
    struct Comers {
        handshakes: Handshakes,
        stops: Vec<AbortHandle>,
    }

    impl Comers {
        fn at(files: u64) -> Self {
            Self { handshakes: Handshakes::new(files), stops: Vec::new() }
        }

        /// Its number, if it is let in.
        fn come(&mut self, ip: impl Into<IpAddr>, known: bool) -> Option<usize> {
            let (stop, _) = AbortHandle::new_pair();
            let id = self.stops.len();
            self.stops.push(stop.clone());
            let let_go = self.handshakes.begin(ConnectionId::new_unchecked(id), ip.into(), known, stop);
            if let Some(other) = let_go.as_ref().ok()?.as_ref() {
                other.abort();
            }
            Some(id)
        }

        fn is_let_go(&self, id: usize) -> bool {
            self.stops[id].is_aborted()
        }

        fn under_way(&self) -> usize {
            let count = self.handshakes.under_way.len();
            assert_eq!(self.handshakes.held.values().sum::<usize>(), count);
            let known = self.handshakes.under_way.values().filter(|handshake| handshake.network.known).count();
            assert_eq!(self.handshakes.known, known);
            count
        }

        /// Thousands of networks, of which each holds one.
        fn come_from_everywhere(&mut self) -> usize {
            (0..2 * MOST).filter(|n| self.come([10, 9, (n / 250) as u8, (n % 250) as u8], false).is_some()).count()
        }
    }

    const SILENT: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];

    #[test]
    fn however_many_say_nothing_whoever_comes_from_elsewhere_is_let_in() {
        let mut comers = Comers::at(u64::MAX);
        let taken = (0..2 * MOST).filter(|n| comers.come(SILENT[n % 2], false).is_some()).count();
        assert_eq!((taken, comers.under_way()), (MOST / 4 * 3, MOST / 4 * 3));
        // A hall of rigs that is not known yet, too, has its part: a third here.
        let mut rigs = Vec::new();
        for round in 0..MOST {
            rigs.extend(comers.come([10, 0, 0, 3], false));
            // Whoever is let go of comes again.
            comers.come(SILENT[round % 2], false);
        }
        assert_eq!((rigs.len(), comers.under_way()), (MOST / 4, MOST / 4 * 3));
        assert!(!rigs.iter().any(|id| comers.is_let_go(*id)));
        assert!((0..500).all(|id| comers.is_let_go(id)), "the oldest go first");
    }

    #[test]
    fn silent_strangers_of_many_addresses_leave_room_for_those_that_are_known() {
        for (files, all) in [(1024, 512), (20_000, MOST), (u64::MAX, MOST)] {
            let mut comers = Comers::at(files);
            assert_eq!(comers.come_from_everywhere(), all / 4 * 3);
            let rigs: Vec<_> = (0..MOST).filter_map(|_| comers.come([127, 0, 0, 1], true)).collect();
            assert_eq!((rigs.len(), comers.under_way()), (all / 4, all));
            // And one that floods from where a rig is keeps out none that is elsewhere.
            let rig = comers.come([127, 0, 0, 2], true).unwrap();
            assert!(comers.is_let_go(rigs[0]) && !comers.is_let_go(rig));
            assert_eq!(comers.come([10, 1, 0, 1], false), None, "none that is known makes room for one that is not");
        }
    }

    /// A registered peer may turn hostile, and go from one address to another.
    #[test]
    fn who_was_known_and_who_is_leave_room_for_who_is_not() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for moves in [true, false] {
            let mut comers = Comers::at(u64::MAX);
            assert_eq!((0..MOST).filter(|_| comers.come(one, true).is_some()).count(), MOST / 2);
            if moves {
                comers.handshakes.relabel(one, false);
                assert_eq!(comers.handshakes.known, 0);
                assert_eq!(comers.come(one, false), None, "it has its part already");
            }
            assert_eq!((0..MOST).filter(|_| comers.come(other, true).is_some()).count(), MOST / 2);
            let rigs: Vec<_> = (0..200).filter_map(|n| comers.come([10, 1, 0, n], false)).collect();
            assert_eq!((rigs.len(), comers.under_way()), (200, MOST));
            assert!(!rigs.iter().any(|id| comers.is_let_go(*id)));
        }
    }

    #[test]
    fn who_is_known_has_what_is_kept_however_few_each_of_the_others_holds() {
        let mut comers = Comers::at(1024);
        assert_eq!(comers.come_from_everywhere(), 384);
        // It was known at each of these for a moment.
        for n in 0..120 {
            let ip = IpAddr::from([10, 8, 0, n]);
            assert!(comers.come(ip, true).is_some());
            comers.handshakes.relabel(ip, false);
        }
        let hall: Vec<_> = (0..8).filter_map(|_| comers.come([10, 2, 0, 1], true)).collect();
        assert_eq!((comers.under_way(), comers.handshakes.known), (512, 8));
        assert_eq!((0..120).filter(|n| comers.come([10, 1, 0, *n], true).is_some()).count(), 120);
        assert_eq!((comers.under_way(), comers.handshakes.known), (512, 128));
        assert!(!hall.iter().any(|id| comers.is_let_go(*id)), "strangers go first");
    }

    #[test]
    fn the_networks_of_one_ipv6_site_are_one_while_nobody_is_known_there() {
        let ip = |site: u16, network: u16| IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 0]);
        let mut comers = Comers::at(1024);
        assert_eq!((0..1000).filter(|n| comers.come(ip(1, *n), false).is_some()).count(), 256);
        assert_eq!(
            (0..1000).filter(|n| comers.come(ip(2, *n), false).is_some()).count(),
            192,
            "one makes room for one"
        );
        let rig = comers.come(ip(3, 1), false).unwrap();
        assert!(!comers.is_let_go(rig));
        // One of a site becomes known, and is counted by itself.
        comers.handshakes.relabel(ip(2, 7), true);
        comers.handshakes.relabel(ip(3, 1), true);
        assert_eq!(comers.handshakes.held.get(&Network::of(ip(3, 1), true)), Some(&1));
        comers.under_way();
    }

    #[test]
    fn who_floods_from_one_network_of_a_site_keeps_out_its_neighbours_no_more_than_others() {
        let ip = |site: u16, network: u16| IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 0]);
        let mut comers = Comers::at(1024);
        assert_eq!((0..1000).filter(|_| comers.come(ip(1, 7), false).is_some()).count(), 256);
        let neighbour = comers.come(ip(1, 8), false).unwrap();
        assert_eq!((0..1000).filter(|_| comers.come(ip(2, 7), false).is_some()).count(), 192);
        let others = [ip(1, 9), ip(2, 8)].map(|ip| comers.come(ip, false).unwrap());
        assert!(![neighbour, others[0], others[1]].iter().any(|id| comers.is_let_go(*id)));
        comers.under_way();
    }

    #[test]
    fn two_that_hold_as_many_do_not_end_each_others() {
        let mut comers = Comers::at(1024);
        for _ in 0..2000 {
            comers.come(SILENT[0], false);
            comers.come(SILENT[1], false);
        }
        assert!(!(0..4000).any(|id| comers.is_let_go(id)));
    }

    #[test]
    fn one_that_ends_leaves_its_place_to_another() {
        let mut comers = Comers::at(1024);
        for _ in 0..3 {
            let ids: Vec<_> = (0..256).map(|_| comers.come(SILENT[0], false).unwrap()).collect();
            assert_eq!(comers.come(SILENT[0], false), None, "one address has its part");
            for id in ids {
                assert!(comers.handshakes.end(ConnectionId::new_unchecked(id)).is_some());
                assert!(comers.handshakes.end(ConnectionId::new_unchecked(id)).is_none());
            }
        }
        assert_eq!(comers.under_way(), 0);
        assert!(comers.handshakes.held.is_empty());
    }
}
