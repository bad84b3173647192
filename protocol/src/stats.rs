//! What a rig reports: units live in the types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{MinerName, NodeName, ProfileName};
use crate::number::{self, Number};
use crate::profile::Program;
use crate::words;

/// Hashes per second. Never negative, and never above [`Hashrate::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "Number", into = "f64")]
pub struct Hashrate(f64);

/// Why a number is not a hashrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hashrate is a number of hashes per second from 0 to 1e24")]
pub struct NotAHashrate;

impl Hashrate {
    /// No hashes at all; not to be confused with "not known yet", which is `None`.
    pub const ZERO: Self = Self(0.0);

    /// A thousand times what all of Bitcoin computes. Sums over fleets of such rates can still be kept in 32 bits.
    pub const MAX: Self = Self(1e24);

    /// From hashes per second.
    #[must_use]
    pub fn per_second(hashes: f64) -> Option<Self> {
        // The zero below zero is added away: it would be shown with its sign.
        (0.0..=Self::MAX.0).contains(&hashes).then_some(Self(hashes + 0.0))
    }

    /// Hashes per second.
    #[must_use]
    pub const fn hashes_per_second(self) -> f64 {
        self.0
    }
}

impl TryFrom<Number> for Hashrate {
    type Error = NotAHashrate;
    fn try_from(hashes: Number) -> Result<Self, NotAHashrate> {
        Self::per_second(hashes.into()).ok_or(NotAHashrate)
    }
}

impl From<Hashrate> for f64 {
    fn from(rate: Hashrate) -> Self {
        rate.0
    }
}

impl std::iter::Sum for Hashrate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        Self(rates.map(|rate| rate.0).sum::<f64>().min(Self::MAX.0))
    }
}

impl fmt::Display for Hashrate {
    /// Three significant steps of the unit that people use for this size: `220.2 H/s`, `4.00 MH/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0, "H/s");
        for larger in ["kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"] {
            if value < 1000.0 {
                break;
            }
            value /= 1000.0;
            unit = larger;
        }
        let text = match value {
            v if v >= 100.0 => format!("{v:.1} {unit}"),
            v => format!("{v:.2} {unit}"),
        };
        f.pad(&text)
    }
}

/// Shares sent to the pool since the mining program started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shares {
    /// Taken by the pool.
    pub accepted: u64,
    /// Refused by the pool.
    pub rejected: u64,
}

/// Where a mining program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinerState {
    /// The process runs and has no job from a pool yet.
    Connecting,
    /// It ended by itself; it is started again after a pause, or given up when it never gets going.
    Failed,
    /// It hashes: connected, not paused, rate above zero.
    Mining,
    /// It lost its pool.
    NoPool,
    /// Paused by hand, by battery or by user activity.
    Paused,
    /// The process was spawned and its API has not answered yet.
    Starting,
    /// Stopped on purpose.
    Stopped,
    /// A stop is under way.
    Stopping,
    /// It has a job and no rate yet: building its dataset, or in its first seconds.
    Warming,
}

impl MinerState {
    /// Whether a process exists, or is about to, for this miner.
    #[must_use]
    pub const fn is_running(self) -> bool {
        !matches!(self, Self::Stopped | Self::Failed)
    }
}

words!(MinerState: Connecting = "connecting", Failed = "failed", Mining = "mining", NoPool = "no-pool", Paused = "paused",
    Starting = "starting", Stopped = "stopped", Stopping = "stopping", Warming = "warming");

/// One GPU or other device of a mining program, as far as the program tells.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceStats {
    /// Name, when the program gives one.
    pub name: Option<String>,
    /// Its part of the rate.
    pub hashrate: Option<Hashrate>,
    /// Degrees Celsius.
    #[serde(deserialize_with = "number::measured")]
    pub temperature_celsius: Option<f32>,
    /// Fan speed, percent.
    #[serde(deserialize_with = "number::amount")]
    pub fan_percent: Option<f32>,
    /// Watt.
    #[serde(deserialize_with = "number::amount")]
    pub power_watt: Option<f32>,
}

/// One mining program on a rig.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerStatus {
    /// Instance name, e.g. `xmrig-1`.
    pub name: MinerName,
    /// Which program.
    pub program: Program,
    /// What it was told to mine.
    pub profile: Option<ProfileName>,
    /// Where it stands.
    pub state: MinerState,
    /// How long it has been in this state, seconds.
    pub state_seconds: u64,
    /// How long the process has been running, seconds; 0 without a process.
    pub uptime_seconds: u64,
    /// The rate to show: the shortest window that has a value. `None` means not known, which is not zero.
    pub hashrate: Option<Hashrate>,
    /// Over 10 s, 60 s and 15 min, as far as the program has them.
    pub hashrates: [Option<Hashrate>; 3],
    /// Shares of this process.
    pub shares: Shares,
    /// What it is hashing, by the program's word or else by the profile's.
    pub algorithm: Option<String>,
    /// `host:port` of the pool it is connected to.
    pub pool: Option<String>,
    /// Version of the mining program.
    pub version: Option<String>,
    /// GPUs, where the program reports them.
    #[serde(default)]
    pub devices: Vec<DeviceStats>,
    /// How often it was started again by itself since it was last started on purpose.
    #[serde(default)]
    pub restarts: u32,
    /// What went wrong, in words, when something did.
    #[serde(default)]
    pub problem: Option<String>,
}

impl MinerStatus {
    /// What its devices take together, watts; none unless each of them tells: a sum of some is no power of the miner's.
    #[must_use]
    pub fn power_watt(&self) -> Option<f32> {
        let known = self.devices.iter().map(|device| device.power_watt.filter(|watt| watt.is_finite() && *watt >= 0.0));
        if self.devices.is_empty() { None } else { known.sum() }
    }
}

/// The machine under the miners.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostStats {
    /// Operating system and kernel, e.g. `Linux 6.1.0`.
    pub os: String,
    /// Processor, by its own name.
    pub cpu: String,
    /// Logical processors.
    pub threads: u32,
    /// Load average over 1 min.
    #[serde(deserialize_with = "number::amount")]
    pub load: Option<f32>,
    /// Bytes.
    pub memory_total: u64,
    /// Bytes.
    pub memory_available: u64,
    /// Seconds since boot.
    pub uptime_seconds: u64,
}

/// What a rig answers to `Stats` and `Watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RigStats {
    /// Grows with each change; a watcher asks for what comes after the one it has.
    pub revision: u64,
    /// The rig's own name.
    pub name: NodeName,
    /// Version of miner-ctrl on the rig.
    pub version: String,
    /// The machine.
    pub host: HostStats,
    /// Its mining programs, by name.
    pub miners: Vec<MinerStatus>,
}

/// Mining programs that a rig may report, and may run: one per program and purpose, or one per GPU on a full board.
pub const MAX_MINERS: usize = 16;
/// Devices of one mining program; mining boards have up to 19 slots.
pub const MAX_DEVICES: usize = 64;
/// Longest text in a report, bytes.
pub const MAX_TEXT: usize = 512;

impl MinerStatus {
    /// How it stands when this many seconds have passed in which nothing changed.
    #[must_use]
    pub const fn aged(mut self, seconds: u64) -> Self {
        self.state_seconds = self.state_seconds.saturating_add(seconds);
        if self.state.is_running() {
            self.uptime_seconds = self.uptime_seconds.saturating_add(seconds);
        }
        self
    }

    /// Whether it has the size of what an honest rig says of a miner.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MAX_TEXT);
        self.devices.len() <= MAX_DEVICES
            && self.devices.iter().all(|device| short(&device.name))
            && [&self.algorithm, &self.pool, &self.version, &self.problem].into_iter().all(short)
    }
}

/// Whether these can be the miners of one rig: no more than it runs, and each by a name of its own.
pub(crate) fn are_plausible(miners: &[MinerStatus]) -> bool {
    let alone = |(index, miner): (usize, &MinerStatus)| miners[..index].iter().all(|other| other.name != miner.name);
    miners.len() <= MAX_MINERS && miners.iter().all(MinerStatus::is_plausible) && miners.iter().enumerate().all(alone)
}

impl RigStats {
    /// Whether a report has the size that an honest rig's has. A small message can hold a quarter of a million empty
    /// devices; whoever keeps reports of many rigs must not keep that.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        are_plausible(&self.miners)
            && [&self.version, &self.host.os, &self.host.cpu].into_iter().all(|text| text.len() <= MAX_TEXT)
    }

    /// What it would say when this many seconds have passed in which nothing changed.
    #[must_use]
    pub fn aged(mut self, seconds: u64) -> Self {
        self.host.uptime_seconds = self.host.uptime_seconds.saturating_add(seconds);
        self.miners = self.miners.into_iter().map(|miner| miner.aged(seconds)).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn a_rate_is_shown_in_the_unit_of_its_size() {
        for (rate, text) in [
            (0.0, "0.00 H/s"),
            (-0.0, "0.00 H/s"),
            (14.4, "14.40 H/s"),
            (220.21, "220.2 H/s"),
            (4_003_571.0, "4.00 MH/s"),
            (1.5e12, "1.50 TH/s"),
            (9e21, "9000.0 EH/s"),
        ] {
            assert_eq!(Hashrate::per_second(rate).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_report_that_no_rig_would_write_is_not_plausible() {
        let report = |names: &[&str], devices: usize| {
            let miner = |name: &&str| {
                serde_json::json!({
                    "name": name, "program": "xmrig", "profile": null, "state": "mining", "state_seconds": 1,
                    "uptime_seconds": 1, "hashrate": null, "hashrates": [null, null, null],
                    "shares": {"accepted": 0, "rejected": 0}, "algorithm": null, "pool": null, "version": null,
                    "devices": vec![serde_json::json!({}); devices],
                })
            };
            let miners: Vec<_> = names.iter().map(miner).collect();
            serde_json::from_value::<RigStats>(serde_json::json!({
                "revision": 1, "name": "rig", "version": "0.1.0", "host": {}, "miners": miners,
            }))
            .unwrap()
        };
        assert!(report(&["a", "b"], MAX_DEVICES).is_plausible());
        assert!(!report(&["a", "b"], MAX_DEVICES + 1).is_plausible());
        assert!(!report(&["a", "b", "a"], 0).is_plausible(), "which of them is a?");
        let many: Vec<String> = (0..=MAX_MINERS).map(|number| format!("m{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(report(&many[1..], 0).is_plausible() && !report(&many, 0).is_plausible());
    }

    #[test]
    fn what_can_be_no_measurement_is_not_known() {
        // A barn in winter is below zero; no power is.
        for (sent, temperature, power) in [
            (61.5, Some(61.5), Some(61.5)),
            (0.0, Some(0.0), Some(0.0)),
            (-1.0, Some(-1.0), None),
            (f32::NAN, None, None),
            (f32::INFINITY, None, None),
        ] {
            let device =
                DeviceStats { temperature_celsius: Some(sent), power_watt: Some(sent), ..DeviceStats::default() };
            let bytes = codec::encode(&device, codec::MAX_BODY).unwrap();
            let read: DeviceStats = codec::decode(&bytes, codec::MAX_BODY).unwrap();
            assert_eq!((read.temperature_celsius, read.power_watt), (temperature, power), "{sent}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for bad in [-0.1, 1.1e24, f64::NAN, f64::INFINITY] {
            assert_eq!(Hashrate::per_second(bad), None);
        }
    }
}
