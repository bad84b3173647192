//! Keeps hashrates over time: this node's own miners, and on a controller those of all rigs and their sums.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use miner_ctrl_dashboard::Node as _;
use miner_ctrl_dashboard::node::RigView;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::handle::{NodeHandle, chain};
use crate::store::clock::unix_now;
use crate::store::history::{self, FLEET, IN_A_MINUTE, Minute};

/// How often it looks: the finest step that is kept.
const LOOK: Duration = Duration::from_secs(10);

/// Miners of one rig that are kept. A rig runs a handful; its own word must not fill the disk.
const MINERS_OF_A_RIG: usize = 32;

/// Algorithms whose sums over the fleet are kept. A rig says itself what it computes, and few fleets do more than four.
const ALGORITHMS: usize = 16;

/// Longest name of an algorithm in a sum, bytes: as long as a profile may name it.
const ALGORITHM_BYTES: usize = 48;

/// Seconds between two times that old numbers are let go of.
const PRUNE: u64 = 3600;

/// The minute that is being gathered.
#[derive(Debug, Default)]
struct Gathering {
    /// Where it begins, Unix seconds.
    at: u64,
    miners: HashMap<(String, String), [Option<f32>; IN_A_MINUTE]>,
}

/// Records until `stop`, then writes what it has.
pub(crate) async fn run(node: NodeHandle, stop: CancellationToken) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gathering = Gathering::default();
    let mut pruned = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = looks.tick() => {}
        }
        let now = unix_now();
        if let Some(full) = gathering.take(&node.fleet().await, now) {
            write(&node, full).await;
        }
        if now.abs_diff(pruned) >= PRUNE {
            pruned = now;
            if let Err(error) = history::prune(node.database(), now).await {
                tracing::warn!(error = chain(&error), "old history could not be let go of");
            }
        }
    }
    write(&node, gathering).await;
}

impl Gathering {
    /// Takes a look in; gives back the minute before when this one begins another.
    fn take(&mut self, fleet: &[RigView], now: u64) -> Option<Self> {
        let minute = now - now % 60;
        let full = (self.at != minute).then(|| std::mem::replace(self, Self { at: minute, miners: HashMap::new() }));
        let place = usize::try_from(now % 60 / LOOK.as_secs()).unwrap_or(0);
        let mut sums: HashMap<&str, (usize, f64)> = HashMap::new();
        // Of a rig that is away nothing is known: a gap, not its last word again and again.
        for rig in fleet.iter().filter(|rig| rig.peer.online) {
            for miner in rig.stats.iter().flat_map(|stats| &stats.miners).take(MINERS_OF_A_RIG) {
                let Some(rate) = miner.hashrate else { continue };
                let key = (rig.peer.id.to_string(), miner.name.to_string());
                self.miners.entry(key).or_default()[place] = Some(rate.hashes_per_second() as f32);
                if let Some(algorithm) = miner.algorithm.as_deref().filter(|name| name.len() <= ALGORITHM_BYTES) {
                    let (miners, sum) = sums.entry(algorithm).or_default();
                    *miners += 1;
                    *sum += rate.hashes_per_second();
                }
            }
        }
        // Those that most miners compute; by name where as many do.
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_unstable_by_key(|&(algorithm, (miners, _))| (Reverse(miners), algorithm));
        for (algorithm, (_, sum)) in sums.into_iter().take(ALGORITHMS) {
            let key = (FLEET.to_owned(), algorithm.to_owned());
            self.miners.entry(key).or_default()[place] = Some(sum as f32);
        }
        full.filter(|full| !full.miners.is_empty())
    }
}

async fn write(node: &NodeHandle, full: Gathering) {
    let minutes = full.miners.into_iter().map(|((rig, miner), numbers)| Minute { rig, miner, numbers }).collect();
    if let Err(error) = history::write(node.database(), full.at, minutes).await {
        tracing::warn!(error = chain(&error), "a minute of history is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miner_ctrl_dashboard::memory::{peer, rig};
    use miner_ctrl_protocol::stats::MinerStatus;

    #[test]
    fn a_minute_is_full_when_the_next_begins() {
        let fleet = [rig(peer(1, "rig-alpha"), true)];
        let mut gathering = Gathering::default();
        for second in [0, 10, 30, 59] {
            assert!(gathering.take(&fleet, 6000 + second).is_none());
        }
        let full = gathering.take(&fleet, 6061).expect("a minute is over");
        let numbers = full.miners.values().next().expect("one miner");
        assert_eq!((full.at, *numbers), (6000, [Some(2500.0), Some(2500.0), None, Some(2500.0), None, Some(2500.0)]));
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
        let sum = |algorithm: &str| full.miners[&(FLEET.to_owned(), algorithm.to_owned())][0];
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
        let algorithms: Vec<_> = full.miners.keys().filter(|(rig, _)| rig == FLEET).map(|(_, name)| name).collect();
        assert_eq!(algorithms.len(), ALGORITHMS);
        assert!(algorithms.iter().any(|name| *name == "rx/0"), "what two rigs compute comes before what one says");
    }

    #[test]
    fn of_who_is_away_or_does_not_mine_nothing_is_kept() {
        let mut away = peer(1, "rig-alpha");
        away.online = false;
        let fleet = [rig(away, true), rig(peer(2, "rig-beta"), false)];
        let mut gathering = Gathering::default();
        assert!(gathering.take(&fleet, 6000).is_none());
        assert!(gathering.take(&fleet, 6060).is_none());
        assert!(gathering.miners.is_empty());
    }
}
