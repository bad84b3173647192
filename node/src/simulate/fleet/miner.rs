//! The miner of a simulated rig. Pure: `now` and randomness are arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use miner_ctrl_protocol::message::MinerChoice;
use miner_ctrl_protocol::{
    Hashrate, MinerName, MinerState, MinerStatus, ProfileDraft, ProfileName, Program, Refusal, Shares,
};
use rand::{Rng, RngExt};
use tokio::time::Instant;

use crate::news::Tells;

/// Until it is connected to the pool that is not there.
const CONNECT: Duration = Duration::from_secs(1);
/// Until it has a rate, as the real XMRig.
const WARMUP: Duration = Duration::from_secs(10);
/// Readings between two shares, about: a share a minute.
const READINGS_PER_SHARE: u32 = 20;
/// One share of so many is refused.
const REJECTED: u32 = 200;
/// How a rate of 10 s, 60 s and 15 min jitters between readings, as parts of it: a longer window is calmer.
const JITTER: [f64; 3] = [0.004, 0.0015, 0.0003];
/// How much of the slow wander is left at the next reading: with one each 3 s it takes ten minutes to forget.
const MEMORY: f64 = 0.995;
/// Profiles of one simulated rig: ten thousand rigs share one process's memory.
const MAX_PROFILES: usize = 16;

/// What a simulated rig runs and holds.
#[derive(Debug)]
pub(super) struct Works {
    /// Grows with each change.
    pub(super) revision: u64,
    /// H/s of this machine at rest.
    base: f64,
    profiles: BTreeMap<ProfileName, Arc<ProfileDraft>>,
    miner: Option<Miner>,
}

#[derive(Debug)]
struct Miner {
    name: MinerName,
    profile: Arc<ProfileDraft>,
    /// Since when it runs, or stands still.
    since: Instant,
    running: bool,
    /// Of the rate, the part by which it has wandered.
    wander: f64,
    /// H/s over 10 s, 60 s and 15 min.
    rates: [f64; 3],
    shares: Shares,
}

impl Works {
    /// At work with `profile` since `since`.
    pub(super) fn mining(base: f64, profile: Arc<ProfileDraft>, since: Instant) -> Self {
        let mut works = Self { revision: 1, base, profiles: BTreeMap::new(), miner: None };
        works.profiles.insert(profile.name.clone(), Arc::clone(&profile));
        works.miner = Some(Miner::new(first_name(profile.program), profile, base, since));
        works
    }

    /// Starts a profile, or finds it running; says whether anything was done.
    pub(super) fn start(
        &mut self,
        profile: ProfileDraft,
        name: Option<MinerName>,
        now: Instant,
    ) -> Result<(MinerStatus, bool), Refusal> {
        if let Some(miner) = self.miner.as_ref().filter(|miner| miner.running) {
            if *miner.profile == profile && name.as_ref().is_none_or(|name| *name == miner.name) {
                return Ok((miner.status(now), false));
            }
            let why = format!("a simulated rig runs one miner, and {} runs already: stop it first", miner.name);
            return Err(Refusal::Conflict { why });
        }
        let name = name.unwrap_or_else(|| first_name(profile.program));
        let miner = self.miner.insert(Miner::new(name, Arc::new(profile), self.base, now));
        self.revision += 1;
        Ok((miner.status(now), true))
    }

    /// A profile that it holds.
    pub(super) fn profile(&self, name: &ProfileName) -> Result<ProfileDraft, Refusal> {
        let known = self.profiles.get(name).map(|profile| (**profile).clone());
        known.ok_or_else(|| Refusal::UnknownProfile { name: name.clone() })
    }

    /// Every profile that it holds.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &ProfileDraft> {
        self.profiles.values().map(|profile| &**profile)
    }

    /// Stores a profile; says whether anything was changed, and who goes on with another of its name.
    pub(super) fn deploy(&mut self, profile: ProfileDraft) -> Result<(bool, Vec<MinerName>), Refusal> {
        let other = self
            .miner
            .as_ref()
            .filter(|miner| miner.running && miner.profile.name == profile.name && *miner.profile != profile);
        let others = other.map(|miner| miner.name.clone()).into_iter().collect();
        match self.profiles.get(&profile.name) {
            Some(known) if **known == profile => return Ok((false, others)),
            None if self.profiles.len() >= MAX_PROFILES => {
                let why = format!("a simulated rig holds {MAX_PROFILES} profiles: remove one first");
                return Err(Refusal::Conflict { why });
            }
            _ => {}
        }
        self.profiles.insert(profile.name.clone(), Arc::new(profile));
        Ok((true, others))
    }

    /// Forgets a profile; says whether it was there.
    pub(super) fn remove(&mut self, name: &ProfileName) -> bool {
        self.profiles.remove(name).is_some()
    }

    /// Stops what is named, or finds it stopped; says whether anything was done.
    pub(super) fn stop(&mut self, choice: &MinerChoice, now: Instant) -> Result<(Vec<MinerStatus>, bool), Refusal> {
        let named = match choice {
            MinerChoice::All if self.miner.is_none() => return Ok((vec![], false)),
            MinerChoice::All | MinerChoice::Only => None,
            MinerChoice::Named(name) => Some(name),
        };
        let revision = &mut self.revision;
        let miner = Self::find(&mut self.miner, named)?;
        let changed = miner.running;
        if changed {
            (miner.running, miner.since) = (false, now);
            *revision += 1;
        }
        Ok((vec![miner.status(now)], changed))
    }

    /// Starts its miner anew.
    pub(super) fn restart(&mut self, name: Option<&MinerName>, now: Instant) -> Result<MinerStatus, Refusal> {
        let base = self.base;
        let miner = Self::find(&mut self.miner, name)?;
        *miner = Miner::new(miner.name.clone(), Arc::clone(&miner.profile), base, now);
        let status = miner.status(now);
        self.revision += 1;
        Ok(status)
    }

    /// The miner that is meant.
    pub(super) fn named(&self, name: Option<&MinerName>) -> Result<MinerName, Refusal> {
        let known = self.miner.as_ref().map(|miner| &miner.name);
        match known.filter(|known| name.is_none_or(|name| name == *known)) {
            Some(known) => Ok(known.clone()),
            None => Err(Self::unknown(known, name)),
        }
    }

    fn find<'a>(miner: &'a mut Option<Miner>, name: Option<&MinerName>) -> Result<&'a mut Miner, Refusal> {
        match miner {
            Some(miner) if name.is_some_and(|name| *name != miner.name) => Err(Self::unknown(Some(&miner.name), name)),
            Some(miner) => Ok(miner),
            None => Err(Self::unknown(None, name)),
        }
    }

    fn unknown(known: Option<&MinerName>, name: Option<&MinerName>) -> Refusal {
        let miner = name.map(ToString::to_string).unwrap_or_default();
        Refusal::UnknownMiner { miner, miners: known.into_iter().cloned().collect() }
    }

    /// The next reading of its miner: the rate wanders by about `drift` of it in the long run. Says whether there is
    /// anything new.
    pub(super) fn read(&mut self, drift: f64, rng: &mut impl Rng) -> bool {
        let Some(miner) = self.miner.as_mut().filter(|miner| miner.running) else { return false };
        miner.read(self.base, drift, rng);
        self.revision += 1;
        true
    }

    /// What its miner says now.
    pub(super) fn statuses(&self, now: Instant) -> Vec<MinerStatus> {
        self.miner.iter().map(|miner| miner.status(now)).collect()
    }
}

impl Tells for Works {
    type State = Option<(bool, Instant)>;

    fn revision(&self) -> u64 {
        self.revision
    }

    fn state(&self) -> Self::State {
        self.miner.as_ref().map(|miner| (miner.running, miner.since))
    }
}

impl Miner {
    fn new(name: MinerName, profile: Arc<ProfileDraft>, base: f64, since: Instant) -> Self {
        Self { name, profile, since, running: true, wander: 0.0, rates: [base; 3], shares: Shares::default() }
    }

    fn read(&mut self, base: f64, drift: f64, rng: &mut impl Rng) {
        // Scaled so that the spread of the wander settles at `drift`.
        self.wander = MEMORY * self.wander + (1.0 - MEMORY * MEMORY).sqrt() * drift * normal(rng);
        for (rate, jitter) in self.rates.iter_mut().zip(JITTER) {
            *rate = (base * (1.0 + self.wander) * (1.0 + jitter * normal(rng))).max(0.0);
        }
        if rng.random_range(0..READINGS_PER_SHARE) == 0 {
            let taken = rng.random_range(0..REJECTED) > 0;
            *(if taken { &mut self.shares.accepted } else { &mut self.shares.rejected }) += 1;
        }
    }

    fn status(&self, now: Instant) -> MinerStatus {
        let age = now.saturating_duration_since(self.since);
        let state = match self.running {
            false => MinerState::Stopped,
            true if age < CONNECT => MinerState::Connecting,
            true if age < WARMUP => MinerState::Warming,
            true => MinerState::Mining,
        };
        let mines = state == MinerState::Mining;
        let [ten, minute, quarter] = self.rates.map(|rate| Hashrate::per_second((rate * 100.0).round() / 100.0));
        // As the real program: a window that has not passed has no rate.
        let after = |rate: Option<Hashrate>, seconds: u64| rate.filter(|_| mines && age.as_secs() >= seconds);
        let hashrates = [after(ten, 10), after(minute, 60), after(quarter, 900)];
        let pool = self.profile.pools.first().map(|pool| pool.url.clone());
        MinerStatus {
            name: self.name.clone(),
            program: self.profile.program,
            profile: Some(self.profile.name.clone()),
            state,
            state_seconds: age.as_secs(),
            uptime_seconds: if self.running { age.as_secs() } else { 0 },
            hashrate: hashrates[0],
            hashrates,
            shares: self.shares,
            algorithm: self.profile.algorithm.clone().or_else(|| self.profile.coin.clone()),
            pool: pool.filter(|_| matches!(state, MinerState::Mining | MinerState::Warming)),
            version: Some("6.26.0 simulated".to_owned()),
            devices: vec![],
            restarts: 0,
            problem: None,
        }
    }
}

fn first_name(program: Program) -> MinerName {
    format!("{program}-1").parse().expect("a program's word and a number are a name")
}

/// A number around zero with a spread of one, near enough to a normal one.
fn normal(rng: &mut impl Rng) -> f64 {
    2.0 * (rng.random::<f64>() + rng.random::<f64>() + rng.random::<f64>() - 1.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn draft(name: &str) -> ProfileDraft {
        serde_json::from_value(serde_json::json!({
            "name": name, "program": "xmrig", "algorithm": "rx/0", "wallet": "W", "pools": [{"url": "pool.example:1"}],
        }))
        .unwrap()
    }

    fn works() -> (Works, Instant) {
        let now = Instant::now();
        (Works::mining(1000.0, Arc::new(draft("monero")), now), now)
    }

    #[tokio::test]
    async fn it_connects_warms_up_and_mines() {
        let (works, now) = works();
        let states = [0, 5, 10, 60].map(|second| {
            let status = &works.statuses(now + Duration::from_secs(second))[0];
            (status.state, status.hashrate.is_some(), status.hashrates[1].is_some())
        });
        assert_eq!(states[0], (MinerState::Connecting, false, false));
        assert_eq!(states[1], (MinerState::Warming, false, false));
        assert_eq!(states[2], (MinerState::Mining, true, false));
        assert_eq!(states[3], (MinerState::Mining, true, true));
    }

    #[tokio::test]
    async fn its_rate_wanders_by_about_the_drift_and_never_below_zero() {
        let (mut works, now) = works();
        let mut rng = StdRng::seed_from_u64(1);
        let mut squares = 0.0;
        for _ in 0..20_000 {
            assert!(works.read(0.02, &mut rng));
            let rate = works.statuses(now + WARMUP)[0].hashrate.unwrap().hashes_per_second();
            squares += (rate / 1000.0 - 1.0).powi(2);
        }
        let spread = (squares / 20_000.0_f64).sqrt();
        assert!((0.01..0.03).contains(&spread), "{spread}");
        assert!(works.statuses(now)[0].shares.accepted > 800);
        for _ in 0..1000 {
            assert!(works.read(5.0, &mut rng));
        }
    }

    #[tokio::test]
    async fn starts_and_stops_find_or_reach_a_state() {
        let (mut works, now) = works();
        let revision = works.revision;
        assert!(!works.start(draft("monero"), None, now).unwrap().1);
        assert!(matches!(works.start(draft("other"), None, now), Err(Refusal::Conflict { .. })));
        assert_eq!(works.revision, revision, "nothing was done");
        let (stopped, changed) = works.stop(&MinerChoice::Only, now).unwrap();
        assert_eq!((stopped[0].state, changed), (MinerState::Stopped, true));
        assert!(!works.stop(&MinerChoice::All, now).unwrap().1);
        assert!(!works.read(0.1, &mut StdRng::seed_from_u64(1)), "what stands has no news");
        let (started, changed) = works.start(draft("other"), None, now).unwrap();
        assert_eq!((started.profile.unwrap().as_str(), changed), ("other", true));
        let unknown = MinerChoice::Named("rocket".parse().unwrap());
        assert!(matches!(works.stop(&unknown, now), Err(Refusal::UnknownMiner { .. })));
    }

    #[tokio::test]
    async fn profiles_are_stored_once_and_are_bounded() {
        let (mut works, _) = works();
        assert_eq!(works.deploy(draft("monero")), Ok((false, vec![])));
        for number in 1..MAX_PROFILES {
            assert_eq!(works.deploy(draft(&format!("p{number}"))), Ok((true, vec![])));
        }
        assert!(matches!(works.deploy(draft("one-more")), Err(Refusal::Conflict { .. })));
        assert!(works.remove(&"p1".parse().unwrap()) && !works.remove(&"p1".parse().unwrap()));
        assert_eq!(works.deploy(draft("one-more")), Ok((true, vec![])));
        assert!(works.profile(&"p1".parse().unwrap()).is_err());
    }
}
