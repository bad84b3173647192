//! Keeps numbers over time: of this node's own miners, and on a controller of all rigs, with the sums of hashrates.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use miner_ctrl_dashboard::Node as _;
use miner_ctrl_dashboard::node::RigView;
use miner_ctrl_protocol::stats::DeviceStats;
use miner_ctrl_protocol::{Measure, MinerStatus, NodeId};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::gaps::Gaps;
use crate::handle::NodeHandle;
use crate::store::clock::{unix_millis, unix_now};
use crate::store::history::{self, FLEET, IN_A_MINUTE, Minute};

/// How often it looks: the finest step that is kept.
const LOOK: Duration = Duration::from_secs(10);

/// Algorithms whose sums over the fleet are kept, of one moment. A rig says itself what it computes, and few fleets do more
/// than four.
const ALGORITHMS: usize = 16;

/// Algorithms of one rig that count in a day: those that switch to what pays best know a dozen. One that names others each
/// time would take the places of what runs.
const ALGORITHMS_OF_A_RIG: usize = 16;

/// After so long a rig may name others.
const DAY: u64 = 24 * 3600;

/// Longest name of an algorithm in a sum, bytes: as long as a profile may name it.
const ALGORITHM_BYTES: usize = 48;

/// Between two times that old numbers are let go of.
const PRUNE: Duration = Duration::from_secs(3600);

/// What the first time after a start counts as: a node that never runs for an hour lets go, too.
const FIRST_PRUNE: Duration = Duration::from_secs(600);

/// The minute that is being gathered.
#[derive(Debug, Default)]
struct Gathering {
    /// Where it begins, Unix seconds.
    at: u64,
    miners: HashMap<(String, String, Measure), [Option<f32>; IN_A_MINUTE]>,
    /// Shares that each miner had at the last look, and when that was.
    accepted: HashMap<(String, String), u64>,
    looked_at: u64,
    /// What each rig has computed since that time, Unix seconds; below 1 KiB for each.
    named: HashMap<NodeId, (u64, Vec<String>)>,
}

/// Records until `stop`, then writes what it has.
pub(crate) async fn run(node: NodeHandle, stop: CancellationToken) {
    let look = sleep(Duration::ZERO);
    tokio::pin!(look);
    let mut gathering = Gathering::default();
    let mut gaps = Gaps::of(&node).await;
    let mut pruned: Option<Instant> = None;
    // Series that found no place in a minute, the most since old ones were let go of.
    let mut homeless = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = gaps.one_is_done() => {}
            () = &mut look => {
                look.as_mut().reset(Instant::now() + to_next_look(unix_millis()));
                let (now, fleet) = (unix_now(), node.fleet().await);
                if let Some(full) = gathering.take(&fleet, now) {
                    homeless = homeless.max(write(&node, full).await);
                }
                gaps.look(&fleet, now);
                gaps.keep(&node).await;
            }
        }
        let now = unix_now();
        gaps.fill(&node, now);
        let ran = pruned.map(|at| at.elapsed());
        if ran.is_none_or(|ran| ran >= PRUNE) {
            pruned = Some(Instant::now());
            let homeless = std::mem::take(&mut homeless);
            match history::prune(node.database(), now, ran.unwrap_or(FIRST_PRUNE), homeless).await {
                Ok(room) if room < homeless => {
                    tracing::warn!(homeless, room, "the history is full of what ran in the last day: some is not kept");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = chain(&error), "old history could not be let go of"),
            }
        }
    }
    write(&node, gathering).await;
}

/// How long it is to the middle of the next ten seconds by the clock, whose number the next look is: each of them gets one,
/// though looks come late.
fn to_next_look(now: u64) -> Duration {
    let (step, half) = (LOOK.as_secs() * 1000, LOOK.as_secs() * 500);
    let left = step - (now + half) % step;
    // A look that came a moment early is not taken twice.
    Duration::from_millis(if left < step / 10 { left + step } else { left })
}

impl Gathering {
    /// Takes a look in; gives back the minute before when this one begins another.
    fn take(&mut self, fleet: &[RigView], now: u64) -> Option<Self> {
        let minute = now - now % 60;
        let full = (self.at != minute).then(|| {
            let full = Self { at: self.at, miners: std::mem::take(&mut self.miners), ..Self::default() };
            self.at = minute;
            full
        });
        let (before, since) = (std::mem::take(&mut self.accepted), now.saturating_sub(self.looked_at));
        self.looked_at = now;
        let place = usize::try_from(now % 60 / LOOK.as_secs()).unwrap_or(0);
        let mut sums: HashMap<&str, (usize, f64)> = HashMap::new();
        // Also for a clock that was set back.
        self.named.retain(|_, (since, _)| since.abs_diff(now) < DAY);
        // Of a rig that is away, or does not tell, nothing is known: a gap, not its last word again and again.
        for (rig, stats) in fleet.iter().filter_map(|rig| Some((rig, rig.current()?))) {
            let mut rates: BTreeMap<&str, f64> = BTreeMap::new();
            for miner in &stats.miners {
                let name = (rig.peer.id.to_string(), miner.name.to_string());
                for (measure, number) in measured(miner) {
                    let key = (name.0.clone(), name.1.clone(), measure);
                    self.miners.entry(key).or_default()[place] = Some(number);
                }
                if let Some(shares) = before.get(&name).and_then(|before| in_a_minute(miner, *before, since)) {
                    let key = (name.0.clone(), name.1.clone(), Measure::Shares);
                    self.miners.entry(key).or_default()[place] = Some(shares);
                }
                if miner.state.is_running() {
                    self.accepted.insert(name, miner.shares.accepted);
                }
                let Some(rate) = miner.hashrate else { continue };
                if let Some(algorithm) = miner.algorithm.as_deref().filter(|name| name.len() <= ALGORITHM_BYTES) {
                    *rates.entry(algorithm).or_default() += rate.hashes_per_second();
                }
            }
            for (algorithm, rate) in rates {
                if self.counts(rig.peer.id, algorithm, now) {
                    let (rigs, sum) = sums.entry(algorithm).or_default();
                    *rigs += 1;
                    *sum += rate;
                }
            }
        }
        // Those that most rigs compute; by name where as many do.
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_unstable_by_key(|&(algorithm, (rigs, _))| (Reverse(rigs), algorithm));
        for (algorithm, (_, sum)) in sums.into_iter().take(ALGORITHMS) {
            let key = (FLEET.to_owned(), algorithm.to_owned(), Measure::Hashrate);
            self.miners.entry(key).or_default()[place] = Some(sum as f32);
        }
        full.filter(|full| !full.miners.is_empty())
    }

    /// Whether what a rig says that it computes is one of those of this rig that are summed.
    fn counts(&mut self, rig: NodeId, algorithm: &str, now: u64) -> bool {
        let (_, named) = self.named.entry(rig).or_insert_with(|| (now, Vec::new()));
        let known = named.iter().any(|one| one == algorithm);
        if !known && named.len() < ALGORITHMS_OF_A_RIG {
            named.push(algorithm.to_owned());
            return true;
        }
        known
    }
}

/// What a miner says of itself now, but for its shares: those are counted, not measured.
fn measured(miner: &MinerStatus) -> impl Iterator<Item = (Measure, f32)> {
    let known = |value: fn(&DeviceStats) -> Option<f32>| {
        miner.devices.iter().filter_map(value).filter(|number| number.is_finite() && *number >= 0.0)
    };
    let all = [
        (Measure::Hashrate, miner.hashrate.map(|rate| rate.hashes_per_second() as f32)),
        (Measure::Power, miner.power_watt()),
        (Measure::Temperature, known(|device| device.temperature_celsius).reduce(f32::max)),
    ];
    // A sum of what fits may not.
    all.into_iter().filter_map(|(measure, number)| Some((measure, number.filter(|number| number.is_finite())?)))
}

/// Shares in a minute since the last look; none when the count began anew, or that look is too long ago.
fn in_a_minute(miner: &MinerStatus, before: u64, since: u64) -> Option<f32> {
    let more = miner.shares.accepted.checked_sub(before)?;
    (1..3 * LOOK.as_secs()).contains(&since).then(|| more as f32 * 60.0 / since as f32)
}

/// Gives how many series found no place.
async fn write(node: &NodeHandle, full: Gathering) -> usize {
    let minute = |((rig, miner, measure), numbers)| Minute { rig, miner, measure, numbers };
    let minutes = full.miners.into_iter().map(minute).collect();
    history::write(node.database(), full.at, minutes).await.unwrap_or_else(|error| {
        tracing::warn!(error = chain(&error), "a minute of history is lost");
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_dashboard::memory::{peer, rig};

    #[test]
    fn a_look_is_in_the_middle_of_each_ten_seconds_however_late_the_one_before_was() {
        let next = |now: u64| now + u64::try_from(to_next_look(now).as_millis()).unwrap();
        for (now, at) in [(0, 5000), (3999, 5000), (4999, 15_000), (5000, 15_000), (5003, 15_000), (13_500, 15_000)] {
            assert_eq!(next(now), at, "{now}");
        }
        let mut now = 1_796_423_297_123;
        for _ in 0..1000 {
            let late = next(now) + 40;
            assert_eq!(late / 10_000 - now / 10_000, 1, "none is left out, and none twice");
            now = late;
        }
    }

    #[test]
    fn a_minute_is_full_when_the_next_begins() {
        let fleet = [rig(peer(1, "rig-alpha"), true)];
        let mut gathering = Gathering::default();
        for second in [0, 10, 30, 59] {
            assert!(gathering.take(&fleet, 6000 + second).is_none());
        }
        let full = gathering.take(&fleet, 6061).expect("a minute is over");
        let numbers = of_alpha(&full, Measure::Hashrate).expect("one miner");
        assert_eq!((full.at, numbers), (6000, [Some(2500.0), Some(2500.0), None, Some(2500.0), None, Some(2500.0)]));
    }

    fn of_alpha(full: &Gathering, measure: Measure) -> Option<[Option<f32>; IN_A_MINUTE]> {
        let rig = peer(1, "rig-alpha").id.to_string();
        full.miners.get(&(rig, "xmrig-1".to_owned(), measure)).copied()
    }

    #[test]
    fn the_hottest_device_the_power_of_all_and_the_shares_of_a_minute_are_kept() {
        let device =
            |temperature_celsius, power_watt| DeviceStats { temperature_celsius, power_watt, ..DeviceStats::default() };
        let with = |accepted, devices: Vec<DeviceStats>| {
            let mut rig = rig(peer(1, "rig-alpha"), true);
            let miner = &mut rig.stats.as_mut().expect("it mines").miners[0];
            (miner.shares.accepted, miner.devices) = (accepted, devices);
            [rig]
        };
        let mut gathering = Gathering::default();
        let both = vec![device(Some(60.0), Some(100.0)), device(Some(70.5), Some(110.0))];
        assert!(gathering.take(&with(100, both), 6000).is_none());
        assert!(gathering.take(&with(102, vec![device(None, Some(100.0)), device(Some(65.0), None)]), 6010).is_none());
        // Started again: its count begins anew.
        assert!(gathering.take(&with(1, vec![device(Some(f32::NAN), Some(-1.0))]), 6020).is_none());
        assert!(gathering.take(&with(2, vec![]), 6030).is_none());
        let full = gathering.take(&with(9, vec![]), 6100).expect("a minute is over");
        let of = |measure| of_alpha(&full, measure).expect("it is known")[..4].to_vec();
        assert_eq!(of(Measure::Temperature), [Some(70.5), Some(65.0), None, None]);
        assert_eq!(of(Measure::Power), [Some(210.0), None, None, None]);
        assert_eq!(of(Measure::Shares), [None, Some(12.0), None, Some(6.0)]);
        assert_eq!(of_alpha(&gathering, Measure::Shares), None, "what came in between is not of ten seconds");
    }

    #[test]
    fn the_sums_of_the_fleet_are_kept_by_algorithm() {
        let mut other = rig(peer(3, "rig-gamma"), true);
        for miner in other.stats.iter_mut().flat_map(|stats| &mut stats.miners) {
            miner.algorithm = Some("kawpow".to_owned());
        }
        let mut away = peer(4, "rig-delta");
        away.online = false;
        let fleet = [rig(peer(1, "rig-alpha"), true), rig(peer(2, "rig-beta"), true), other, rig(away, true)];
        let mut gathering = Gathering::default();
        assert!(gathering.take(&fleet, 6000).is_none());
        let full = gathering.take(&[], 6060).expect("a minute is over");
        let sum = |algorithm: &str| full.miners[&(FLEET.to_owned(), algorithm.to_owned(), Measure::Hashrate)][0];
        assert_eq!((sum("rx/0"), sum("kawpow")), (Some(5000.0), Some(2500.0)));
    }

    #[test]
    fn a_rig_that_invents_algorithms_fills_no_more_than_its_share() {
        let mut inventor = rig(peer(1, "rig-alpha"), true);
        let stats = inventor.stats.as_mut().expect("it mines");
        let miner = stats.miners[0].clone();
        stats.miners = (0..32)
            .map(|number| MinerStatus { algorithm: Some(format!("made-up-{number:02}")), ..miner.clone() })
            .chain([MinerStatus { algorithm: Some("x".repeat(ALGORITHM_BYTES + 1)), ..miner.clone() }])
            .collect();
        let fleet = [inventor, rig(peer(2, "rig-beta"), true), rig(peer(3, "rig-gamma"), true)];
        let mut gathering = Gathering::default();
        assert!(gathering.take(&fleet, 6000).is_none());
        let full = gathering.take(&[], 6060).expect("a minute is over");
        let algorithms: Vec<_> =
            full.miners.keys().filter(|(rig, _, _)| rig == FLEET).map(|(_, name, _)| name).collect();
        assert_eq!(algorithms.len(), ALGORITHMS);
        assert!(algorithms.iter().any(|name| *name == "rx/0"), "what two rigs compute comes before what one says");
    }

    #[test]
    fn a_rig_that_invents_others_each_time_is_heard_of_a_day_s_algorithms_only() {
        let computes = |names: [String; 2]| {
            let mut rig = rig(peer(1, "rig-alpha"), true);
            let stats = rig.stats.as_mut().expect("it mines");
            let miner = stats.miners[0].clone();
            stats.miners = names.map(|name| MinerStatus { algorithm: Some(name), ..miner.clone() }).to_vec();
            [rig]
        };
        let mut gathering = Gathering::default();
        let mut kept = std::collections::BTreeSet::new();
        let mut look = |gathering: &mut Gathering, names, now| {
            let _ = gathering.take(&computes(names), now);
            let fleet = gathering.miners.keys().filter(|(rig, _, _)| rig == FLEET);
            kept.extend(fleet.map(|(_, name, _)| name.clone()));
            kept.len()
        };
        for number in 0..100 {
            look(&mut gathering, ["rx/0".to_owned(), format!("made-up-{number:02}")], 6000 + 10 * number);
        }
        assert_eq!(look(&mut gathering, ["rx/0".to_owned(), "made-up-99".to_owned()], 7000), ALGORITHMS_OF_A_RIG);
        assert_eq!(look(&mut gathering, ["rx/0".to_owned(), "kawpow".to_owned()], 6000 + DAY), ALGORITHMS_OF_A_RIG + 1);
    }

    #[test]
    fn of_who_is_away_or_does_not_mine_or_does_not_tell_nothing_is_kept() {
        let mut away = peer(1, "rig-alpha");
        away.online = false;
        let untold = RigView { age_seconds: Some(1), ..rig(peer(3, "rig-gamma"), true) };
        let fleet = [rig(away, true), rig(peer(2, "rig-beta"), false), untold];
        let mut gathering = Gathering::default();
        assert!(gathering.take(&fleet, 6000).is_none());
        assert!(gathering.take(&fleet, 6060).is_none());
        assert!(gathering.miners.is_empty());
    }
}
