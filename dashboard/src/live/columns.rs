//! A rig as a row of numbers, and rows as columns of JSON.

use miner_ctrl_protocol::{Hashrate, MinerState, MinerStatus, NodeId, NodeName, RigStats, Role, Shares};
use serde::Serialize;

use crate::node::RigView;
use crate::rates::Rates;

/// One row: what rarely changes, and what does all the time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) fixed: Fixed,
    pub(super) live: Moving,
}

/// What changes by a person's hand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fixed {
    pub(super) id: NodeId,
    name: NodeName,
    role: Role,
    address: Option<String>,
    here: u8,
}

/// Further algorithms, and their rates.
type Others = Vec<(String, f64)>;

/// What changes by itself. Numbers are as coarse as a page shows them, so that noise is no change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moving {
    pub(super) on: u8,
    ping: Option<u32>,
    score: u8,
    pub(super) seen: Option<u64>,
    hash: Option<f64>,
    algo: Option<String>,
    /// Rates of different algorithms do not add up: each has its own.
    also: Option<Others>,
    miners: Option<u32>,
    run: Option<u32>,
    state: &'static str,
    temp: Option<i32>,
    watt: Option<u32>,
    acc: Option<u64>,
    rej: Option<u64>,
    problem: Option<String>,
}

/// One column.
pub(super) struct Column<R> {
    pub(super) name: &'static str,
    pub(super) write: fn(&R, &mut Vec<u8>),
    pub(super) same: fn(&R, &R) -> bool,
}

macro_rules! columns {
    ($row:ty: $($field:ident)+) => {
        &[$(Column::<$row> {
            name: stringify!($field),
            write: |row, out| json(out, &row.$field),
            same: |one, other| one.$field == other.$field,
        }),+]
    };
}

pub(super) const FIXED: &[Column<Fixed>] = columns!(Fixed: id name role address here);

pub(super) const MOVING: &[Column<Moving>] =
    columns!(Moving: on ping score seen hash algo also miners run state temp watt acc rej problem);

/// Adds `"name":[…]` for these rows.
pub(super) fn column<'a, R: 'a>(out: &mut Vec<u8>, column: &Column<R>, rows: impl Iterator<Item = &'a R>) {
    json(out, column.name);
    out.extend_from_slice(b":[");
    for (index, row) in rows.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        (column.write)(row, out);
    }
    out.push(b']');
}

/// Adds a value. Texts and numbers always have a JSON form, and it is one line.
pub(super) fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

impl Row {
    /// A rig as the node shows it; `own` is the node itself.
    pub(super) fn new(view: &RigView, own: NodeId) -> Self {
        let RigView { peer, problem, .. } = view;
        // Of one that is away, the page shows what it said last as such; of one that is there, it takes what comes as so.
        let stats = if peer.online { view.current() } else { view.stats.as_ref() };
        let miners = || stats.iter().flat_map(|stats| &stats.miners);
        let devices = || miners().flat_map(|miner| &miner.devices);
        let hottest = devices().filter_map(|device| device.temperature_celsius).reduce(f32::max);
        let watt = miners().filter_map(MinerStatus::power_watt).reduce(|sum, watt| sum + watt);
        let Rates { algorithm, hashrate, also } = Rates::of(miners());
        let shown = |rate: Hashrate| four_digits(rate.hashes_per_second());
        let also: Others = also.into_iter().map(|other| (other.algorithm, shown(other.hashrate))).collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            fixed: Fixed {
                id: peer.id,
                name: peer.name.clone(),
                role: peer.role,
                address: peer.address.clone(),
                here: u8::from(peer.id == own),
            },
            live: Moving {
                on: u8::from(peer.online),
                ping: peer.ping_ms.map(whole),
                score: peer.score,
                seen: peer.last_seen,
                hash: hashrate.map(shown),
                algo: algorithm,
                also: (!also.is_empty()).then_some(also),
                miners: stats.map(|stats| count(stats.miners.len())),
                run: stats.map(|stats| count(stats.miners.iter().filter(|miner| miner.state.is_running()).count())),
                state: state(peer.online, stats),
                temp: hottest.map(|celsius| celsius.round() as i32),
                watt: watt.map(|watt| whole(f64::from(watt))),
                acc: stats.map(|stats| sum(stats, |shares| shares.accepted)),
                rej: stats.map(|stats| sum(stats, |shares| shares.rejected)),
                problem: problem
                    .clone()
                    .or_else(|| stats.filter(|_| peer.online).and_then(|stats| complaint(&stats.miners))),
            },
        }
    }
}

/// Over its miners. A rig says what it likes.
fn sum(stats: &RigStats, of: fn(&Shares) -> u64) -> u64 {
    stats.miners.iter().map(|miner| of(&miner.shares)).fold(0, u64::saturating_add)
}

/// The word to show. The worst miner speaks for the rig.
fn state(online: bool, stats: Option<&RigStats>) -> &'static str {
    use MinerState as Is;
    let Some(stats) = stats else { return if online { "unknown" } else { "offline" } };
    if !online {
        return "offline";
    }
    let any = |states: &[MinerState]| stats.miners.iter().any(|miner| states.contains(&miner.state));
    if any(&[Is::Failed]) {
        "fault"
    } else if any(&[Is::NoPool, Is::Paused]) {
        "degraded"
    } else if any(&[Is::Starting, Is::Connecting, Is::Warming, Is::Stopping]) {
        "wait"
    } else if any(&[Is::Mining]) {
        "mining"
    } else {
        "idle"
    }
}

/// What is wrong with its miners, of the one that is worst off: a person shall see why a rig is at fault without opening it.
fn complaint(miners: &[MinerStatus]) -> Option<String> {
    use MinerState as Is;
    let weight = |miner: &MinerStatus| match miner.state {
        Is::Failed => Some(0),
        Is::NoPool | Is::Paused => Some(1),
        _ => miner.problem.as_ref().map(|_| 2),
    };
    let (_, worst) =
        miners.iter().filter_map(|miner| Some((weight(miner)?, miner))).min_by_key(|(weight, _)| *weight)?;
    let name = &worst.name;
    Some(match (&worst.problem, worst.state) {
        (Some(why), _) => format!("{name}: {why}"),
        (None, Is::Failed) => format!("{name} has failed"),
        (None, Is::NoPool) => format!("{name} has lost its pool"),
        (None, _) => format!("{name} is paused"),
    })
}

/// A number without its fraction. What is below zero, too large or no number ends at the nearest bound.
fn whole(number: f64) -> u32 {
    number.round() as u32
}

/// Less than a hash in eleven days is none: what is far below that has no digits to keep, and would differ from itself.
const SLOWEST: f64 = 1e-6;

/// As exact as it is shown.
fn four_digits(number: f64) -> f64 {
    if number < SLOWEST || !number.is_finite() {
        return 0.0;
    }
    let unit = 10_f64.powi(number.log10().floor() as i32 - 3);
    // Divided by the inverse where that is whole: 2503.0, not 2503.0000000000005.
    if unit < 1.0 { (number / unit).round() / (1.0 / unit).round() } else { (number / unit).round() * unit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{peer, rig};

    #[test]
    fn shares_that_no_counter_holds_are_as_many_as_it_holds() {
        let mut view = rig(peer(1, "rig-alpha"), true);
        let miners = &mut view.stats.as_mut().expect("it mines").miners;
        miners.push(miners[0].clone());
        for miner in miners {
            (miner.shares.accepted, miner.shares.rejected) = (u64::MAX, 7);
        }
        let live = Row::new(&view, view.peer.id).live;
        assert_eq!((live.acc, live.rej), (Some(u64::MAX), Some(14)));
    }

    #[test]
    fn of_a_rig_that_is_connected_and_does_not_tell_its_numbers_none_is_shown() {
        let told = rig(peer(1, "rig-alpha"), true);
        let untold = RigView { age_seconds: Some(1), ..told.clone() };
        let [told, untold] = [told, untold].map(|view| Row::new(&view, view.peer.id).live);
        assert_eq!((told.state, told.hash, told.run), ("mining", Some(2500.0), Some(1)));
        assert_eq!((untold.state, untold.hash, untold.run, untold.acc), ("unknown", None, None, None));
    }

    #[test]
    fn a_rig_says_what_is_wrong_with_the_miner_that_is_worst_off() {
        let mut view = rig(peer(1, "rig-alpha"), true);
        let of = |view: &RigView| Row::new(view, view.peer.id).live.problem;
        assert_eq!(of(&view), None);
        let miners = &view.stats.as_ref().expect("it mines").miners;
        let drifted = MinerStatus { problem: Some("its pool has drifted".into()), ..miners[0].clone() };
        let poolless = MinerStatus { name: "xmrig-2".parse().unwrap(), state: MinerState::NoPool, ..miners[0].clone() };
        let failed = MinerStatus {
            name: "xmrig-3".parse().unwrap(),
            state: MinerState::Failed,
            problem: Some("exit 1".into()),
            ..miners[0].clone()
        };
        for (miner, said) in [
            (drifted, "xmrig-1: its pool has drifted"),
            (poolless, "xmrig-2 has lost its pool"),
            (failed, "xmrig-3: exit 1"),
        ] {
            view.stats.as_mut().expect("it mines").miners.push(miner);
            assert_eq!(of(&view).as_deref(), Some(said));
        }
        // What is wrong with the rig itself comes first, and what an absent one said last is not so now.
        view.problem = Some("two machines use its identity".into());
        assert_eq!(of(&view), view.problem);
        (view.problem, view.peer.online) = (None, false);
        assert_eq!(of(&view), None);
    }

    #[test]
    fn rates_of_different_algorithms_are_not_added_up() {
        let mut view = rig(peer(1, "rig-alpha"), true);
        let miners = &mut view.stats.as_mut().expect("it mines").miners;
        miners.push(miners[0].clone());
        miners.push(MinerStatus { algorithm: Some("kawpow".into()), ..miners[0].clone() });
        let live = Row::new(&view, view.peer.id).live;
        assert_eq!((live.hash, live.algo.as_deref()), (Some(5000.0), Some("rx/0")));
        assert_eq!(live.also, Some(vec![("kawpow".to_owned(), 2500.0)]));
    }

    #[test]
    fn a_rate_keeps_four_digits() {
        for (rate, shown) in [(0.0, "0.0"), (2503.4, "2503.0"), (12.3456, "12.35"), (1.23456e9, "1235000000.0")] {
            assert_eq!(serde_json::to_string(&four_digits(rate)).unwrap(), shown);
        }
    }

    #[test]
    fn a_rate_of_any_size_is_a_number_and_the_same_each_time() {
        for exponent in -330..=30 {
            let rate = four_digits(format!("2.5034e{exponent}").parse().unwrap());
            assert!(rate.is_finite() && four_digits(rate) == rate, "e{exponent}: {rate:e}");
        }
    }
}
