//! Hashrates by algorithm: those of different algorithms do not add up.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use miner_ctrl_protocol::{Hashrate, MinerStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::shape;

/// What miners of one algorithm compute together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlgorithmRate {
    /// The algorithm.
    pub algorithm: String,
    /// Sum over its miners.
    #[schemars(with = "shape::Hashrate")]
    pub hashrate: Hashrate,
}

/// What some miners compute.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rates {
    /// The algorithm with the highest rate; none when no miner tells what it hashes.
    pub(crate) algorithm: Option<String>,
    /// Of that algorithm, or of all miners when none tells what it hashes; none while not known.
    pub(crate) hashrate: Option<Hashrate>,
    /// The others whose rate is known, by name.
    pub(crate) also: Vec<AlgorithmRate>,
}

impl Rates {
    pub(crate) fn of<'a>(miners: impl Iterator<Item = &'a MinerStatus> + Clone) -> Self {
        let mut sums = BTreeMap::<&str, Option<Hashrate>>::new();
        for miner in miners.clone() {
            if let Some(algorithm) = &miner.algorithm {
                let sum = sums.entry(algorithm).or_default();
                *sum = sum.iter().copied().chain(miner.hashrate).reduce(added);
            }
        }
        // What is not known is below every rate, and of equal ones the last by name is taken.
        let fastest = sums.iter().max_by(|(_, one), (_, other)| one.partial_cmp(other).unwrap_or(Ordering::Equal));
        let Some((fastest, hashrate)) = fastest.map(|(name, sum)| (*name, *sum)) else {
            return Self { hashrate: miners.filter_map(|miner| miner.hashrate).reduce(added), ..Self::default() };
        };
        let others = sums.into_iter().filter(|(algorithm, _)| *algorithm != fastest);
        let also = others.filter_map(|(name, sum)| Some(AlgorithmRate { algorithm: name.to_owned(), hashrate: sum? }));
        Self { algorithm: Some(fastest.to_owned()), hashrate, also: also.collect() }
    }
}

fn added(one: Hashrate, other: Hashrate) -> Hashrate {
    [one, other].into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{peer, rig};
    use crate::node::{PeerView, RigView};

    #[test]
    fn a_rig_tells_the_rate_of_its_fastest_algorithm_and_the_others_beside_it() {
        let RigView { peer, stats, .. } = rig(peer(1, "rig-alpha"), true);
        let mut stats = stats.expect("it mines");
        let first = stats.miners[0].clone();
        let other = |algorithm: Option<&str>, rate: f64| MinerStatus {
            algorithm: algorithm.map(str::to_owned),
            hashrate: Hashrate::per_second(rate),
            ..first.clone()
        };
        stats.miners.extend([other(Some("rx/0"), 500.0), other(Some("kawpow"), 31.0), other(Some("ghostrider"), -1.0)]);
        let view = RigView::new(peer.clone(), Some(stats.clone()), Some(0), None);
        assert_eq!((view.algorithm.as_deref(), view.hashrate), (Some("rx/0"), Hashrate::per_second(3000.0)));
        let kawpow = Hashrate::per_second(31.0).map(|hashrate| AlgorithmRate { algorithm: "kawpow".into(), hashrate });
        assert_eq!(view.also, Vec::from_iter(kawpow));
        stats.miners = vec![other(None, 1.0), other(None, 2.0)];
        let view = RigView::new(peer, Some(stats), Some(0), None);
        assert_eq!((view.algorithm, view.hashrate, view.also), (None, Hashrate::per_second(3.0), vec![]));
    }

    #[test]
    fn what_a_rig_said_last_is_not_its_hashrate() {
        let RigView { peer, stats, .. } = rig(peer(1, "rig-alpha"), true);
        let away = PeerView { online: false, ..peer.clone() };
        for (peer, age) in [(away, Some(0)), (peer.clone(), Some(1)), (peer, None)] {
            let view = RigView::new(peer, stats.clone(), age, None);
            assert!(view.stats.is_some(), "it is told with its age");
            assert_eq!((view.algorithm, view.hashrate, view.also), (None, None, vec![]), "{age:?}");
        }
    }
}
