//! What a watcher must hear at once, and what may wait for company.
//!
//! A rate jitters with each reading. Told each time, a thousand rigs that do nothing but mine keep their controller busy
//! with numbers that nobody can tell apart; told each 10 s, which is what a miner's shortest rate is a mean over, nothing
//! is lost. Everything else is told as soon as it happens.

use std::time::Duration;

use miner_ctrl_protocol::stats::DeviceStats;
use miner_ctrl_protocol::{Hashrate, MinerStatus};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How long small changes wait.
const CALM: Duration = Duration::from_secs(10);
/// A rate or a power is told at once when it moved by this part of what was told.
const MOVED: f64 = 0.01;
/// As is a temperature that moved by so many degrees, or a fan by so many percent.
const DEGREES: f32 = 1.0;
const FAN: f32 = 5.0;

/// Finds news among changes: compares with what was news last, so that what creeps is told, too.
#[derive(Debug, Default)]
pub(crate) struct Told {
    revision: u64,
    told: Vec<MinerStatus>,
}

impl Told {
    /// Looks at the miners of a new revision; the revision of the latest news.
    pub(crate) fn see(&mut self, revision: u64, miners: &[MinerStatus]) -> u64 {
        let same = self.told.len() == miners.len()
            && self.told.iter().zip(miners).all(|(told, now)| told.name == now.name && !is_news(told, now));
        if !same || self.revision == 0 {
            miners.clone_into(&mut self.told);
            self.revision = revision;
        }
        self.revision
    }
}

/// Waits until there is news after a revision, or small changes have waited long enough, or `wait` has passed. `read`
/// gives the revision, and that of the latest news.
pub(crate) async fn changed<T>(
    mut seen: watch::Receiver<T>,
    after: u64,
    wait: Duration,
    read: impl Fn(&T) -> (u64, u64),
) {
    let until = Instant::now() + wait;
    let news = |state: &T| {
        let (revision, news) = read(state);
        // Below: the watcher knew an earlier life of this node.
        revision < after || news > after
    };
    // Either may end without a change, or because the node is stopping: the asker is told what there is.
    if timeout(wait.min(CALM), seen.wait_for(news)).await.is_err() {
        let _ = timeout_at(until, seen.wait_for(|state| read(state).0 != after)).await;
    }
}

fn is_news(told: &MinerStatus, now: &MinerStatus) -> bool {
    moved(told.hashrate, now.hashrate)
        || told.hashrates.iter().zip(&now.hashrates).any(|(told, now)| moved(*told, *now))
        || told.devices.len() != now.devices.len()
        || told.devices.iter().zip(&now.devices).any(|(told, now)| is_device_news(told, now))
        || lasting(told) != lasting(now)
}

fn is_device_news(told: &DeviceStats, now: &DeviceStats) -> bool {
    let power = |device: &DeviceStats| device.power_watt.map(f64::from);
    told.name != now.name
        || moved(told.hashrate, now.hashrate)
        || by(told.temperature_celsius, now.temperature_celsius, DEGREES)
        || by(told.fan_percent, now.fan_percent, FAN)
        || moved_by_part(power(told), power(now))
}

/// Without what passes with time, and what was compared by how far it moved.
fn lasting(status: &MinerStatus) -> MinerStatus {
    let rates = (None, [None; 3]);
    let (hashrate, hashrates) = rates;
    MinerStatus { state_seconds: 0, uptime_seconds: 0, hashrate, hashrates, devices: vec![], ..status.clone() }
}

fn moved(told: Option<Hashrate>, now: Option<Hashrate>) -> bool {
    moved_by_part(told.map(Hashrate::hashes_per_second), now.map(Hashrate::hashes_per_second))
}

fn moved_by_part(told: Option<f64>, now: Option<f64>) -> bool {
    match (told, now) {
        (Some(told), Some(now)) => (now - told).abs() > told.abs() * MOVED,
        (told, now) => told.is_some() != now.is_some(),
    }
}

fn by(told: Option<f32>, now: Option<f32>, step: f32) -> bool {
    match (told, now) {
        (Some(told), Some(now)) => (now - told).abs() >= step,
        (told, now) => told.is_some() != now.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mining(rate: Option<f64>) -> MinerStatus {
        let rate = rate.and_then(Hashrate::per_second);
        serde_json::from_value(serde_json::json!({
            "name": "xmrig-1", "program": "xmrig", "profile": "main", "state": "mining", "state_seconds": 1,
            "uptime_seconds": 1, "hashrate": rate, "hashrates": [rate, null, null],
            "shares": {"accepted": 0, "rejected": 0}, "algorithm": null, "pool": null, "version": null,
            "devices": [{"hashrate": rate, "temperature_celsius": 60.0, "fan_percent": 40.0, "power_watt": 100.0}],
        }))
        .unwrap()
    }

    fn changed_by(change: impl FnOnce(&mut MinerStatus)) -> MinerStatus {
        let mut status = mining(Some(1000.0));
        change(&mut status);
        status
    }

    #[test]
    fn jitter_and_the_clock_are_no_news_and_all_else_is() {
        let told = mining(Some(1000.0));
        for quiet in [
            mining(Some(1009.0)),
            mining(Some(991.0)),
            changed_by(|now| (now.state_seconds, now.uptime_seconds) = (9, 9)),
            changed_by(|now| now.devices[0].temperature_celsius = Some(60.9)),
            changed_by(|now| now.devices[0].fan_percent = Some(43.0)),
            changed_by(|now| now.devices[0].power_watt = Some(100.5)),
        ] {
            assert!(!is_news(&told, &quiet), "{quiet:?}");
        }
        for news in [
            mining(Some(1011.0)),
            mining(Some(0.0)),
            mining(None),
            changed_by(|now| now.hashrates[1] = now.hashrate),
            changed_by(|now| now.shares.accepted = 1),
            changed_by(|now| now.restarts = 1),
            changed_by(|now| now.problem = Some("no connection".into())),
            changed_by(|now| now.pool = Some("other:1".into())),
            changed_by(|now| now.state = miner_ctrl_protocol::MinerState::Paused),
            changed_by(|now| now.devices[0].temperature_celsius = Some(61.0)),
            changed_by(|now| now.devices[0].temperature_celsius = None),
            changed_by(|now| now.devices[0].power_watt = Some(102.0)),
            changed_by(|now| now.devices.clear()),
        ] {
            assert!(is_news(&told, &news), "{news:?}");
        }
        assert!(is_news(&mining(Some(0.0)), &mining(Some(0.1))), "it began to hash");
    }

    #[test]
    fn what_creeps_is_told_when_it_has_come_far_enough() {
        let mut news = Told::default();
        assert_eq!(news.see(1, &[mining(Some(1000.0))]), 1);
        let told: Vec<_> =
            (2..=8).map(|revision| news.see(revision, &[mining(Some(1000.0 + 4.0 * revision as f64))])).collect();
        // 1012 at revision 3, then 1 % above that at 6.
        assert_eq!(told, [1, 3, 3, 3, 6, 6, 6]);
        assert_eq!(news.see(9, &[]), 9, "one is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn news_is_told_at_once_and_small_changes_when_they_have_waited() {
        let waited = async |state: (u64, u64), after| {
            let (_publisher, seen) = watch::channel(state);
            let begun = Instant::now();
            changed(seen, after, Duration::from_secs(30), |state| *state).await;
            begun.elapsed().as_secs()
        };
        assert_eq!(waited((7, 7), 6).await, 0, "news");
        assert_eq!(waited((7, 6), 6).await, 10, "a small change");
        assert_eq!(waited((7, 6), 7).await, 30, "nothing");
        assert_eq!(waited((2, 1), 40).await, 0, "another life");
        assert_eq!(waited((1, 1), 0).await, 0, "the first look");
    }
}
