//! All simulated rigs: who they are, and their life until they are stopped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::profile::Pool;
use miner_ctrl_protocol::smsg::PairingCode;
use miner_ctrl_protocol::{NodeName, PeerKey, ProfileDraft, Program};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::key::FleetKey;
use super::rig::{Rig, Seat};
use crate::mesh::{Address, PairBy, PairError, Paired, StartError};

/// Between two readings of a rig's miner, as a real rig asks its own. The rigs take turns within it.
const READING: Duration = Duration::from_secs(3);
/// Turns within [`READING`]: every 100 ms a thirtieth of the fleet has news.
const TURNS: u32 = 30;
/// Rigs that connect at once. A controller on two cores greets a few hundred a second; more at once only wait longer,
/// some of them beyond the handshake's timeout.
const CONNECTING: usize = 128;
/// How long a place among those is kept by a rig that does not come up; it goes on trying without it.
const COMES_UP: Duration = Duration::from_secs(10);
/// How long a rig that goes away stays away.
const AWAY: Duration = Duration::from_secs(30);
/// How long pairing may take.
const PAIR: Duration = Duration::from_secs(15);

/// What goes wrong, as parts of the fleet from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// Rigs that cannot start a miner.
    pub fail_starts: f64,
    /// Rigs that are away at any moment, each for half a minute.
    pub offline: f64,
}

/// A fleet of simulated rigs.
#[derive(Debug)]
pub struct Hall {
    rigs: Vec<Arc<Rig>>,
    drift: f64,
    faults: Faults,
}

impl Hall {
    /// Makes `count` rigs whose rates wander by about `drift` of themselves.
    #[must_use]
    pub fn new(key: &FleetKey, count: u32, drift: f64, faults: Faults) -> Self {
        let profile = Arc::new(profile());
        let failing = (f64::from(count) * faults.fail_starts).round() as u32;
        let rigs = (1..=count)
            // Spread evenly, so that any part of the fleet has its share.
            .map(|number| (number, u64::from(number) * u64::from(failing) / u64::from(count)))
            .map(|(number, failed)| {
                let starts_fail = failed > u64::from(number - 1) * u64::from(failing) / u64::from(count);
                Arc::new(Rig::new(number, key.secret(number), &profile, starts_fail))
            })
            .collect();
        Self { rigs, drift, faults }
    }

    /// Keys and names of all rigs, to register them by.
    pub fn members(&self) -> impl Iterator<Item = (PeerKey, &NodeName)> {
        self.rigs.iter().map(|rig| (rig.key, &rig.name))
    }

    /// How many have a connection to their controller.
    #[must_use]
    pub fn online(&self) -> usize {
        self.rigs.iter().filter(|rig| *rig.online.borrow()).count()
    }

    /// Pairs one rig, by its place, with the controller that shows this code; gives the controller's key.
    ///
    /// # Errors
    /// [`PairError`], in words for the person who asked.
    pub async fn pair(
        &self,
        place: usize,
        address: &Address,
        expected: Option<PeerKey>,
        code: PairingCode,
    ) -> Result<PeerKey, PairError> {
        let Some(rig) = self.rigs.get(place) else { return Err(PairError::Unavailable) };
        let seat = rig.join(vec![]).await.map_err(|error| PairError::Connect(error.to_string()))?;
        let paired = seat.mesh.pair(address.clone(), expected, PairBy::Code(code), PAIR).await;
        seat.leave().await;
        match paired? {
            Paired::Done { key, .. } => Ok(key),
            Paired::Pending { .. } => Err(PairError::Broken("it asks its operator, although it showed a code".into())),
        }
    }

    /// Connects all rigs to the controller, in which they are registered, and lets them live until `stop`. All their
    /// connections are closed when it returns.
    ///
    /// # Errors
    /// [`StartError`] when a rig cannot join a mesh at all.
    pub async fn run(
        &self,
        controller: PeerKey,
        address: &Address,
        stop: &CancellationToken,
    ) -> Result<(), StartError> {
        let mut life = Life {
            hall: self,
            peers: vec![(controller, vec![address.clone()])],
            seats: self.rigs.iter().map(|_| None).collect(),
            waiting: (0..self.rigs.len()).collect(),
            coming: JoinSet::new(),
            away: VecDeque::new(),
            turn: 0,
            rng: StdRng::seed_from_u64(rand::random()),
        };
        let lived = life.live(stop).await;
        life.end().await;
        lived
    }
}

/// The fleet while it runs.
struct Life<'a> {
    hall: &'a Hall,
    peers: Vec<(PeerKey, Vec<Address>)>,
    seats: Vec<Option<Seat>>,
    /// Places of rigs that are to connect.
    waiting: VecDeque<usize>,
    coming: JoinSet<Result<(usize, Seat), StartError>>,
    /// Places of rigs that are away, and when they come back; the first first.
    away: VecDeque<(Instant, usize)>,
    turn: u32,
    rng: StdRng,
}

impl Life<'_> {
    async fn live(&mut self, stop: &CancellationToken) -> Result<(), StartError> {
        let mut turns = interval(READING / TURNS);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while self.coming.len() < CONNECTING
                && let Some(place) = self.waiting.pop_front()
            {
                self.connect(place);
            }
            tokio::select! {
                biased; // an end before more of the same
                () = stop.cancelled() => return Ok(()),
                Some(came) = self.coming.join_next() => match came {
                    Ok(came) => {
                        let (place, seat) = came?;
                        self.seats[place] = Some(seat);
                    }
                    Err(error) => tracing::error!(%error, "a simulated rig broke off"),
                },
                _ = turns.tick() => {
                    self.read();
                    self.come_and_go().await;
                }
            }
        }
    }

    fn connect(&mut self, place: usize) {
        let (rig, peers) = (Arc::clone(&self.hall.rigs[place]), self.peers.clone());
        self.coming.spawn(async move {
            let seat = rig.join(peers).await?;
            let mut online = rig.online.subscribe();
            // It goes on dialling by itself when it is not up by then.
            let _ = timeout(COMES_UP, online.wait_for(|online| *online)).await;
            Ok((place, seat))
        });
    }

    /// The miners of the rigs whose turn it is are read.
    fn read(&mut self) {
        let turns = usize::try_from(TURNS).unwrap_or(1);
        let first = usize::try_from(self.turn).unwrap_or_default();
        for rig in self.hall.rigs.iter().skip(first).step_by(turns) {
            rig.works.send_if_modified(|works| works.read(self.hall.drift, &mut self.rng));
        }
        self.turn = (self.turn + 1) % TURNS;
    }

    /// Some rigs go away, some come back.
    async fn come_and_go(&mut self) {
        let now = Instant::now();
        while let Some((_, place)) = self.away.front().copied().filter(|(back, _)| *back <= now) {
            self.away.pop_front();
            self.waiting.push_back(place);
        }
        let wanted = (self.seats.len() as f64 * self.hall.faults.offline) as usize;
        // A turn's part of them at a time, so that they do not all go and come together.
        let turns = AWAY.as_millis() / (READING / TURNS).as_millis();
        let at_once = wanted.div_ceil(usize::try_from(turns).unwrap_or(1));
        for _ in 0..wanted.saturating_sub(self.away.len()).min(at_once) {
            let place = self.rng.random_range(0..self.seats.len());
            if let Some(seat) = self.seats[place].take() {
                seat.leave().await;
                self.hall.rigs[place].online.send_replace(false);
                self.away.push_back((now + AWAY, place));
            }
        }
    }

    async fn end(&mut self) {
        self.coming.shutdown().await;
        let seats = self.seats.iter_mut().filter_map(Option::take);
        futures::future::join_all(seats.map(Seat::leave)).await;
    }
}

/// What every rig mines at first.
fn profile() -> ProfileDraft {
    ProfileDraft {
        name: "simulated".parse().expect("a word is a name"),
        program: Program::Xmrig,
        algorithm: Some("rx/0".to_owned()),
        coin: None,
        pools: vec![Pool { url: "pool.example:3333".to_owned(), ..Pool::default() }],
        wallet: "WALLET".to_owned(),
        password: None,
        rig_name: None,
        threads: None,
        threads_hint: None,
        huge_pages: None,
        arguments: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asked_part_of_the_fleet_cannot_start_and_all_have_names_of_their_own() {
        let key = FleetKey::generate(&mut rand::rng());
        let hall = Hall::new(&key, 40, 0.02, Faults { fail_starts: 0.25, offline: 0.0 });
        assert_eq!(hall.rigs.iter().filter(|rig| rig.starts_fail).count(), 10);
        let names: std::collections::HashSet<_> = hall.members().map(|(_, name)| name.clone()).collect();
        assert_eq!((names.len(), hall.online()), (40, 0));
    }
}
