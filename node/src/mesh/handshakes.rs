//! Handshakes that others began and that are not done: how many there may be, and which one makes room.
//!
//! Whoever says nothing on many connections keeps nobody out: it holds more of them than others do, and loses its oldest.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::AbortHandle;
use libp2p::swarm::ConnectionId;

/// Each costs about 1 ms of CPU, and until it is done or [`super::transport`]'s timeout ends it 4 to 10 KiB; one that sends
/// as much as is read of it, 31 KiB, which are 122 MiB in all. A hall that gets its power back dials all at once, and
/// whoever is turned away waits for seconds.
const MOST: usize = 4096;

/// How many may be under way.
#[derive(Debug, Clone, Copy)]
struct Room {
    all: usize,
    /// Of these, from addresses that no registered peer came from last: whoever fills it from thousands of addresses leaves
    /// room for those that are known.
    unknown: usize,
    /// Of these, from one address: a hall behind one NAT.
    per_ip: usize,
}

impl Room {
    /// For a process that may have so many open files: strangers that say nothing take no more than half of them.
    fn of(files: u64) -> Self {
        let all = usize::try_from(files / 2).unwrap_or(usize::MAX).min(MOST);
        Self { all, unknown: all / 4 * 3, per_ip: all / 2 }
    }
}

/// Whom one is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) ip: IpAddr,
    /// Whether a registered peer came from there last.
    pub(super) known: bool,
}

/// There is no room, and nobody holds so many more that it would have to make some.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

struct Handshake {
    origin: Origin,
    stop: AbortHandle,
}

pub(super) struct Handshakes {
    room: Room,
    /// By age: the ids of connections grow.
    under_way: BTreeMap<ConnectionId, Handshake>,
    held: HashMap<Origin, usize>,
    /// Of unknown origins, all together.
    unknown: usize,
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

impl Handshakes {
    /// `files` is how many open files this process may have.
    pub(super) fn new(files: u64) -> Self {
        Self { room: Room::of(files), under_way: BTreeMap::new(), held: HashMap::new(), unknown: 0 }
    }

    /// Takes one in; what stops the one that made room for it, if one did.
    pub(super) fn begin(
        &mut self,
        id: ConnectionId,
        origin: Origin,
        stop: AbortHandle,
    ) -> Result<Option<AbortHandle>, Full> {
        let full = self.under_way.len() >= self.room.all || (!origin.known && self.unknown >= self.room.unknown);
        if self.held_by(&origin) >= self.room.per_ip {
            return Err(Full);
        }
        let let_go = if full { Some(self.make_room(&origin).ok_or(Full)?) } else { None };
        self.under_way.insert(id, Handshake { origin, stop });
        *self.held.entry(origin).or_default() += 1;
        self.unknown += usize::from(!origin.known);
        Ok(let_go)
    }

    /// It is done, or broke off, or was never taken in.
    pub(super) fn end(&mut self, id: ConnectionId) -> Option<AbortHandle> {
        let Handshake { origin, stop } = self.under_way.remove(&id)?;
        self.unknown -= usize::from(!origin.known);
        if let Some(held) = self.held.get_mut(&origin) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&origin);
            }
        }
        Some(stop)
    }

    fn held_by(&self, origin: &Origin) -> usize {
        self.held.get(origin).copied().unwrap_or_default()
    }

    /// Lets go of the oldest of whoever holds most, unless the newcomer would hold as many then: two halls would end each
    /// other's without end, and none would ever be done. One that is known never makes room for one that is not. It looks at
    /// all, which takes 40 us at most, and only when there is no room.
    fn make_room(&mut self, newcomer: &Origin) -> Option<AbortHandle> {
        let asked = self.held.iter().filter(|(origin, _)| newcomer.known || !origin.known);
        let (most, held) = asked.max_by_key(|(_, held)| **held)?;
        if *held < self.held_by(newcomer) + 2 {
            return None;
        }
        let oldest = self.under_way.iter().find(|(_, handshake)| handshake.origin == *most).map(|(id, _)| *id)?;
        self.end(oldest)
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
        fn come(&mut self, ip: [u8; 4], known: bool) -> Option<usize> {
            let (stop, _) = AbortHandle::new_pair();
            let id = self.stops.len();
            self.stops.push(stop.clone());
            let let_go = self.handshakes.begin(ConnectionId::new_unchecked(id), Origin { ip: ip.into(), known }, stop);
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
            let unknown = self.handshakes.under_way.values().filter(|handshake| !handshake.origin.known).count();
            assert_eq!(self.handshakes.unknown, unknown);
            count
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
            let silent: Vec<_> =
                (0..2 * MOST).filter_map(|n| comers.come([10, 0, (n / 250) as u8, (n % 250) as u8], false)).collect();
            assert_eq!(silent.len(), all / 4 * 3);
            let rigs: Vec<_> = (0..MOST).filter_map(|_| comers.come([127, 0, 0, 1], true)).collect();
            assert_eq!((rigs.len(), comers.under_way()), (all / 4, all));
            // And one that floods from where a rig is keeps out none that is elsewhere.
            let rig = comers.come([127, 0, 0, 2], true).unwrap();
            assert!(comers.is_let_go(rigs[0]) && !comers.is_let_go(rig));
            assert_eq!(comers.come([10, 1, 0, 1], false), None, "none that is known makes room for one that is not");
        }
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
