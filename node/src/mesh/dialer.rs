//! Whom to dial, and when: pure, `now` and randomness are arguments.
//!
//! A node keeps a connection to every registered peer it has an address for. After a failure it waits, longer each time
//! and with jitter, so that a hall of rigs does not come back in one instant: a few seconds at first, and later a share
//! of the time the peer has been away. A peer that was reached and would not have us is asked more and more rarely: whoever
//! removed us did so on purpose, and pairing anew dials at once.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use rand::{Rng, RngExt};
use tokio::time::Instant;

/// Longest first wait after a failure, before jitter; a lost link counts as none.
const FIRST: Duration = Duration::from_secs(1);
/// Waits double to this. With it and [`super::tcp::CONNECT`] a rig that was cut off for a minute shows its hashrate
/// again within 10 s.
const SOON: Duration = Duration::from_secs(4);
/// From then on a wait is at most this part of the time the peer has been away: after five minutes 19 s, after sixteen
/// the longest wait.
const SHARE: u32 = 16;
/// Longest wait. A rig that comes back is found within a minute.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest wait for a peer that turns us away, nine times in a row by then. It takes strangers from one address at 4 a
/// second: hundreds of removed rigs behind one must leave room for one that is to be paired.
const LONGEST_REFUSED: Duration = Duration::from_secs(300);
/// Dials under way at once. More on two cores only makes every handshake slower.
const MAX_DIALS: usize = 48;
/// When one peer is reached again that was missed, the network is likely back: the others are tried within this.
const NETWORK_IS_BACK: Duration = Duration::from_secs(2);
/// Missed is who was away for so long. Before that no wait is longer than [`SOON`] that began with the same outage; and a
/// peer that comes and goes, to have all others dialled, has to stay away for as long each time.
const MISSED: Duration = SOON.saturating_mul(SHARE);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A link is up, or the peer has no address.
    Idle,
    Dialing(ConnectionId),
    Waiting {
        until: Instant,
    },
}

#[derive(Debug)]
struct Peer {
    addresses: Vec<Multiaddr>,
    state: State,
    failures: u32,
    /// How often in a row it was reached and served us no link.
    refusals: u32,
    /// Since when it has been away, as far as is known here: its link ended, or the first dial failed.
    away: Option<Instant>,
    up: bool,
}

/// The dial book of all registered peers.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    peers: HashMap<PeerId, Peer>,
    /// Every dial that has not ended, also of a peer that is waited for no more: it has dialled us, or was removed.
    under_way: HashMap<ConnectionId, PeerId>,
}

impl Dialer {
    /// Adds a peer or changes its addresses; it is dialled at once unless a link is up.
    pub(crate) fn register(&mut self, id: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let peer = self.peers.entry(id).or_insert(Peer {
            addresses: vec![],
            state: State::Idle,
            failures: 0,
            refusals: 0,
            away: None,
            up: false,
        });
        peer.addresses = addresses;
        if !peer.up && !peer.addresses.is_empty() {
            // Whatever it failed of before: who was paired anew opens the door now.
            peer.failures = 0;
            peer.refusals = 0;
            peer.away = None;
            if !peer.is_dialled() {
                peer.state = State::Waiting { until: now };
            }
        }
        if peer.addresses.is_empty() && !peer.is_dialled() {
            peer.state = State::Idle;
        }
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, id: &PeerId) {
        self.peers.remove(id);
    }

    /// Peers to dial now; each is to be told to [`Self::on_dial`].
    pub(crate) fn due(&self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut waiting: Vec<(Instant, PeerId, &[Multiaddr])> = self
            .peers
            .iter()
            .filter_map(|(id, peer)| match peer.state {
                State::Waiting { until } if until <= now => Some((until, *id, peer.addresses.as_slice())),
                _ => None,
            })
            .collect();
        // Whoever is due longest first: many that never answer must not keep the places of those that would.
        waiting.sort_unstable_by_key(|(until, ..)| *until);
        waiting.truncate(MAX_DIALS.saturating_sub(self.under_way.len()));
        waiting.into_iter().map(|(_, id, addresses)| (id, addresses.to_vec())).collect()
    }

    /// A peer is dialled; how that ended is told to [`Self::on_failed`] or its kin, or to [`Self::on_ended`].
    pub(crate) fn on_dial(&mut self, id: PeerId, dial: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.state = State::Dialing(dial);
            self.under_way.insert(dial, id);
        }
    }

    /// Whether half of the places are free: then a look through all peers for those that are due is worth it.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() <= MAX_DIALS / 2
    }

    /// Whether any peer waits to be dialled, now or later.
    pub(crate) fn is_waiting(&self) -> bool {
        self.peers.values().any(|peer| matches!(peer.state, State::Waiting { .. }))
    }

    /// Whether it is a dial of ours, and not over.
    pub(crate) fn dials(&self, dial: ConnectionId) -> bool {
        self.under_way.contains_key(&dial)
    }

    /// A dial is over: its place is free.
    pub(crate) fn on_ended(&mut self, dial: ConnectionId) {
        self.under_way.remove(&dial);
    }

    /// A link to the peer is up, whoever dialled.
    pub(crate) fn on_up(&mut self, id: &PeerId, now: Instant, rng: &mut impl Rng) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let missed = peer.failures > 0 && peer.away.is_some_and(|since| now.saturating_duration_since(since) >= MISSED);
        let addresses = std::mem::take(&mut peer.addresses);
        *peer = Peer { addresses, state: State::Idle, failures: 0, refusals: 0, away: None, up: true };
        if missed {
            for other in self.peers.values_mut().filter(|peer| peer.refusals == 0) {
                if let State::Waiting { until } = &mut other.state {
                    *until = (*until).min(now + rng.random_range(Duration::ZERO..NETWORK_IS_BACK));
                }
            }
        }
    }

    /// The link is gone.
    pub(crate) fn on_down(&mut self, id: &PeerId, now: Instant, rng: &mut impl Rng) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.up = false;
        if peer.state == State::Idle {
            peer.wait(now, rng);
        }
    }

    /// The peer was reached and serves us no link.
    pub(crate) fn on_refused(&mut self, dial: ConnectionId, now: Instant, rng: &mut impl Rng) {
        if let Some(peer) = self.dialled(dial) {
            peer.refusals = peer.refusals.saturating_add(1);
        }
        self.on_failed(dial, now, rng);
    }

    /// The peer was reached, and the wire broke before its link was up: that is no refusal, and what came before may have been
    /// none.
    pub(crate) fn on_broken(&mut self, dial: ConnectionId, now: Instant, rng: &mut impl Rng) {
        if let Some(peer) = self.dialled(dial) {
            peer.refusals = 0;
        }
        self.on_failed(dial, now, rng);
    }

    /// A dial failed, or its connection ended before its link was up. The peer may have dialled us meanwhile, or been dialled
    /// anew after that: then this says nothing of it.
    pub(crate) fn on_failed(&mut self, dial: ConnectionId, now: Instant, rng: &mut impl Rng) {
        if let Some(peer) = self.dialled(dial) {
            peer.state = State::Idle;
            if !peer.up {
                peer.failures = peer.failures.saturating_add(1);
                peer.wait(now, rng);
            }
        }
        self.on_ended(dial);
    }

    /// The peer that waits for what comes of this dial.
    fn dialled(&mut self, dial: ConnectionId) -> Option<&mut Peer> {
        let peer = self.peers.get_mut(self.under_way.get(&dial)?)?;
        (peer.state == State::Dialing(dial)).then_some(peer)
    }
}

impl Peer {
    const fn is_dialled(&self) -> bool {
        matches!(self.state, State::Dialing(_))
    }

    fn wait(&mut self, now: Instant, rng: &mut impl Rng) {
        self.state = if self.addresses.is_empty() {
            State::Idle
        } else {
            let away = now.saturating_duration_since(*self.away.get_or_insert(now));
            let soon = FIRST.saturating_mul(1 << self.failures.min(10)).min(SOON).max(away / SHARE).min(LONGEST);
            let longest = FIRST.saturating_mul(1 << self.refusals.min(10)).min(LONGEST_REFUSED).max(soon);
            State::Waiting { until: now + rng.random_range(longest / 4..=longest) }
        };
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::dial_opts::DialOpts;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::tcp::CONNECT;
    use super::*;

    /// A book whose peers are dialled as soon as they are due.
    #[derive(Default)]
    struct Book {
        dialer: Dialer,
        dials: HashMap<PeerId, ConnectionId>,
    }

    impl Book {
        fn due(&mut self, now: Instant) -> Vec<PeerId> {
            let due = self.dialer.due(now);
            for (id, addresses) in &due {
                let dial = DialOpts::peer_id(*id).addresses(addresses.clone()).build().connection_id();
                self.dialer.on_dial(*id, dial);
                self.dials.insert(*id, dial);
            }
            due.into_iter().map(|(id, _)| id).collect()
        }

        fn register(&mut self, id: PeerId, now: Instant) {
            self.dialer.register(id, vec!["/ip4/10.0.0.1/tcp/1/ws".parse().unwrap()], now);
        }

        fn on_failed(&mut self, id: &PeerId, now: Instant, rng: &mut StdRng) {
            self.dialer.on_failed(self.dials[id], now, rng);
        }

        fn on_refused(&mut self, id: &PeerId, now: Instant, rng: &mut StdRng) {
            self.dialer.on_refused(self.dials[id], now, rng);
        }

        fn on_broken(&mut self, id: &PeerId, now: Instant, rng: &mut StdRng) {
            self.dialer.on_broken(self.dials[id], now, rng);
        }

        /// On the connection that was dialled, if one was.
        fn on_up(&mut self, id: &PeerId, now: Instant, rng: &mut StdRng) {
            if let Some(dial) = self.dials.get(id) {
                self.dialer.on_ended(*dial);
            }
            self.dialer.on_up(id, now, rng);
        }

        fn on_down(&mut self, id: &PeerId, now: Instant, rng: &mut StdRng) {
            self.dialer.on_down(id, now, rng);
        }
    }

    fn book(peers: usize) -> (Book, Vec<PeerId>, Instant) {
        let now = Instant::now();
        let ids: Vec<PeerId> = (0..peers).map(|_| PeerId::random()).collect();
        let mut book = Book::default();
        for id in &ids {
            book.register(*id, now);
        }
        (book, ids, now)
    }

    #[tokio::test]
    async fn a_peer_is_dialled_at_once_and_then_ever_more_rarely() {
        let (mut dialer, ids, start) = book(1);
        let mut rng = StdRng::seed_from_u64(1);
        let mut now = start;
        // Seconds away from the first failure on, and the longest wait then.
        for (away, longest) in [(0, 2), (2, 4), (6, 4), (60, 4), (64, 4), (80, 5), (320, 20), (960, 60), (86_400, 60)] {
            now = now.max(start + Duration::from_secs(away));
            let longest = Duration::from_secs(longest);
            assert_eq!(dialer.due(now).len(), 1);
            assert!(dialer.due(now).is_empty(), "one dial at a time");
            dialer.on_failed(&ids[0], now, &mut rng);
            assert!(dialer.due(now + longest / 4 - Duration::from_millis(1)).is_empty(), "{away}");
            now += longest;
        }
        assert_eq!(dialer.due(now).len(), 1);
    }

    /// Ends with a dial under way.
    fn refused_often(dialer: &mut Book, id: &PeerId, now: &mut Instant, rng: &mut StdRng) {
        for _ in 0..10 {
            dialer.on_refused(id, *now, rng);
            *now += LONGEST_REFUSED;
            assert_eq!(dialer.due(*now).len(), 1);
        }
    }

    #[tokio::test]
    async fn a_peer_that_turns_us_away_is_asked_ever_more_rarely_and_after_pairing_at_once() {
        let (mut dialer, ids, mut now) = book(2);
        let mut rng = StdRng::seed_from_u64(1);
        let (refusing, lost) = (ids[0], ids[1]);
        dialer.dialer.remove(&lost);
        for longest in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(dialer.due(now).len(), 1);
            dialer.on_refused(&refusing, now, &mut rng);
            let longest = Duration::from_secs(longest);
            assert!(dialer.due(now + longest / 4 - Duration::from_millis(1)).is_empty(), "{longest:?}");
            now += longest;
        }
        // Out of reach meanwhile: it is asked no sooner for that, nor when another peer comes back.
        assert_eq!(dialer.due(now).len(), 1);
        dialer.on_failed(&refusing, now, &mut rng);
        dialer.register(lost, now);
        assert_eq!(dialer.due(now).len(), 1);
        dialer.on_failed(&lost, now, &mut rng);
        dialer.on_up(&lost, now, &mut rng);
        assert!(dialer.due(now + LONGEST_REFUSED / 4 - Duration::from_millis(1)).is_empty());
        // A wire that broke ends that: it may be what closed the connections before.
        assert_eq!(dialer.due(now + LONGEST_REFUSED).len(), 1);
        dialer.on_broken(&refusing, now, &mut rng);
        assert_eq!(dialer.due(now + LONGEST).len(), 1);
        refused_often(&mut dialer, &refusing, &mut now, &mut rng);
        // A link to it, dialled by it, ends that, as does pairing.
        dialer.on_up(&refusing, now, &mut rng);
        dialer.on_down(&refusing, now, &mut rng);
        assert_eq!(dialer.due(now + FIRST).len(), 1);
        refused_often(&mut dialer, &refusing, &mut now, &mut rng);
        dialer.on_refused(&refusing, now, &mut rng);
        dialer.register(refusing, now);
        assert_eq!(dialer.due(now).len(), 1);
    }

    #[tokio::test]
    async fn a_peer_that_is_cut_off_is_tried_all_the_time_for_a_minute() {
        for seed in 0..64 {
            let (mut dialer, ids, start) = book(1);
            let mut rng = StdRng::seed_from_u64(seed);
            dialer.on_up(&ids[0], start, &mut rng);
            dialer.on_down(&ids[0], start, &mut rng);
            let mut now = start;
            while now < start + Duration::from_secs(60) {
                now += SOON;
                assert_eq!(dialer.due(now).len(), 1, "{:?}", now - start);
                // A black hole: nothing answers until the dial is given up.
                now += CONNECT;
                dialer.on_failed(&ids[0], now, &mut rng);
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_registered_anew_is_dialled_at_once() {
        let (mut dialer, ids, mut now) = book(1);
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..8 {
            assert_eq!(dialer.due(now).len(), 1);
            dialer.on_failed(&ids[0], now, &mut rng);
            now += LONGEST;
        }
        assert_eq!(dialer.due(now).len(), 1);
        dialer.on_failed(&ids[0], now, &mut rng);
        dialer.register(ids[0], now);
        assert_eq!(dialer.due(now).len(), 1);
        dialer.on_failed(&ids[0], now, &mut rng);
        assert_eq!(dialer.due(now + 2 * FIRST).len(), 1, "and its failures are forgotten");
    }

    #[tokio::test]
    async fn a_peer_that_dialled_us_is_not_dialled() {
        let (mut dialer, ids, now) = book(1);
        let mut rng = StdRng::seed_from_u64(1);
        dialer.on_up(&ids[0], now, &mut rng);
        assert!(dialer.due(now + LONGEST).is_empty());
        dialer.on_down(&ids[0], now, &mut rng);
        assert_eq!(dialer.due(now + FIRST).len(), 1);
        dialer.on_up(&ids[0], now, &mut rng);
        dialer.on_failed(&ids[0], now, &mut rng);
        assert!(dialer.due(now + LONGEST).is_empty(), "our own late failure does not matter");
    }

    #[tokio::test]
    async fn dials_are_bounded_and_all_get_their_turn() {
        let (mut dialer, ids, now) = book(100);
        let mut rng = StdRng::seed_from_u64(1);
        let first = dialer.due(now);
        assert_eq!(first.len(), MAX_DIALS);
        for id in first {
            dialer.on_up(&id, now, &mut rng);
        }
        let second = dialer.due(now);
        assert_eq!(second.len(), MAX_DIALS);
        // A dial keeps its place until it has ended, also of a peer that was removed.
        for id in &second {
            dialer.dialer.remove(id);
        }
        assert!(dialer.due(now).is_empty());
        for id in &second {
            dialer.on_failed(id, now, &mut rng);
        }
        assert_eq!(dialer.due(now).len(), ids.len() - 2 * MAX_DIALS);
    }

    #[tokio::test]
    async fn what_a_dial_before_came_to_says_nothing_of_the_one_that_is_under_way() {
        let (mut dialer, ids, now) = book(1);
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(dialer.due(now).len(), 1);
        let first = dialer.dials[&ids[0]];
        // Meanwhile it dials us, and goes.
        dialer.dialer.on_up(&ids[0], now, &mut rng);
        dialer.on_down(&ids[0], now, &mut rng);
        let later = now + LONGEST;
        assert_eq!(dialer.due(later).len(), 1);
        assert_eq!(dialer.dialer.under_way.len(), 2);
        dialer.dialer.on_refused(first, later, &mut rng);
        assert!(dialer.due(later + LONGEST_REFUSED).is_empty(), "one dial is still under way");
        dialer.on_failed(&ids[0], later, &mut rng);
        assert!(dialer.dialer.under_way.is_empty());
        assert_eq!(dialer.dialer.peers[&ids[0]].refusals, 0);
        assert_eq!(dialer.due(later + SOON).len(), 1);
    }

    #[tokio::test]
    async fn peers_that_never_answer_do_not_starve_the_others() {
        let (mut dialer, ids, mut now) = book(4 * MAX_DIALS);
        let mut rng = StdRng::seed_from_u64(1);
        let mut dialled = std::collections::HashSet::new();
        for _ in 0..20 {
            let due = dialer.due(now);
            now += Duration::from_secs(20);
            for id in due {
                dialled.insert(id);
                dialer.on_failed(&id, now, &mut rng);
            }
        }
        assert_eq!(dialled.len(), ids.len());
    }

    #[tokio::test]
    async fn when_one_peer_is_back_the_others_are_tried_at_once() {
        let (mut dialer, ids, now) = book(3);
        let mut rng = StdRng::seed_from_u64(1);
        let mut at = now;
        for _ in 0..8 {
            for id in dialer.due(at) {
                dialer.on_failed(&id, at, &mut rng);
            }
            at += LONGEST;
        }
        for id in dialer.due(at) {
            dialer.on_failed(&id, at, &mut rng);
        }
        dialer.on_up(&ids[0], at, &mut rng);
        assert_eq!(dialer.due(at + NETWORK_IS_BACK).len(), 2);
    }

    /// In an hour, those of a peer that is off, while another comes and goes this often.
    fn dials_beside_one_that_comes_each(seconds: u64) -> usize {
        let (mut dialer, ids, start) = book(2);
        let mut rng = StdRng::seed_from_u64(1);
        let (comes_and_goes, off) = (ids[0], ids[1]);
        let mut dials = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            for id in dialer.due(now) {
                dials += usize::from(id == off);
                dialer.on_failed(&id, now, &mut rng);
            }
            if second % seconds == seconds - 1 {
                dialer.on_up(&comes_and_goes, now, &mut rng);
                dialer.on_down(&comes_and_goes, now, &mut rng);
            }
        }
        dials
    }

    #[tokio::test]
    async fn a_peer_that_comes_and_goes_has_the_others_dialled_no_more_often() {
        let alone = dials_beside_one_that_comes_each(3600);
        for seconds in [5, 20, 60] {
            let dials = dials_beside_one_that_comes_each(seconds);
            assert!(dials < alone * 5 / 4, "each {seconds} s: {dials}, alone {alone}");
        }
    }
}
